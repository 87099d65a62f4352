"""Rows of the JSON that the commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sa_perf.json_values import encoded

if TYPE_CHECKING:
    from sa_perf.json_values import JSONValue
    from sa_perf.queries.aggregate import QueryStats

__all__ = ["query_row", "row"]


def row(value: object) -> dict[str, JSONValue]:
    """A frozen dataclass of the snapshot, with the names that it has there."""
    return cast("dict[str, JSONValue]", encoded(value))


def query_row(query: QueryStats, total_seconds: float) -> dict[str, JSONValue]:
    """A query without its histogram, and with its share of the time of all queries.

    Args:
        query: of the snapshot.
        total_seconds: of all queries, >= 0.
    """
    values = row(query)
    del values["histogram"]
    ratio = query.total_seconds / total_seconds if total_seconds > 0 else 0.0
    return {**values, "total_ratio": ratio}
