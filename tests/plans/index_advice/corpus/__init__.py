"""Queries with the indexes that an expert would make, over two schemas."""

from __future__ import annotations

from sqlalchemy import Engine

from corpus import (
    time_series,
    time_series_queries,
    web_shop,
    web_shop_customers,
    web_shop_goods,
    web_shop_unadvised,
)
from corpus.queries import Schema
from corpus.rows import fill

__all__ = ["SCHEMAS", "TIME_SERIES", "WEB_SHOP", "generate"]

WEB_SHOP = web_shop.schema(
    web_shop_customers.OF_CUSTOMERS + web_shop_goods.OF_GOODS + web_shop_unadvised.UNADVISED
)
TIME_SERIES = time_series.schema(time_series_queries.ADVISED + time_series_queries.UNADVISED)
SCHEMAS: tuple[Schema, ...] = (WEB_SHOP, TIME_SERIES)


def generate(
    engine: Engine, schema: Schema, *, scale: float = 1.0, statistics: bool = True
) -> None:
    """Make a schema with its rows in an empty database.

    Args:
        engine: of the database.
        schema: one of `SCHEMAS`.
        scale: 1 is full size.
        statistics: gather them.
    """
    fill(
        engine,
        schema.metadata,
        schema.rows(scale),
        schema.contents,
        views=schema.views,
        statistics=statistics,
    )
