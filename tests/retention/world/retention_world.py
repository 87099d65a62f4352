"""Small things that the tests of runs have in common."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Column, Engine, MetaData, String, Table, insert, select

from sa_perf import tables as own
from sa_perf.retention import tables as retention_tables
from sa_perf.retention.policy import BatchLimits
from sa_perf.retention.results import Hooks

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
#: Many batches out of few rows.
SMALL = BatchLimits(first_rows=3, min_rows=1, max_rows=5)


def add_own_tables(engine: Engine) -> None:
    """Make them as the migrations would, which take longer and have tests of their own."""
    version = Table(own.VERSION_TABLE, MetaData(), Column("version_num", String(32)))
    with engine.begin() as connection:
        own.metadata.create_all(connection, tables=retention_tables.TABLES)
        if not connection.dialect.has_table(connection, own.VERSION_TABLE):
            version.create(connection)
            connection.execute(insert(version).values(version_num=own.SCHEMA_VERSION))


def ago(days: float) -> datetime:
    """A naive moment in UTC."""
    return (NOW - timedelta(days=days)).replace(tzinfo=None)


def make(engine: Engine, metadata: MetaData) -> None:
    """Make an application's tables."""
    metadata.create_all(engine)


def fill(engine: Engine, table: Table, *rows: dict[str, Any]) -> None:
    """Put rows into a table, each by itself: they need not have the same columns."""
    with engine.begin() as connection:
        for row in rows:
            connection.execute(insert(table).values(row))


def ids(engine: Engine, table: Table) -> list[Any]:
    """Values of the first column of the primary key, sorted."""
    key = next(iter(table.primary_key.columns))
    with engine.connect() as connection:
        return list(connection.scalars(select(key).order_by(key)))


def values(engine: Engine, column: Any) -> list[Any]:
    """A column's values in the order of the primary key."""
    keys = column.table.primary_key.columns
    with engine.connect() as connection:
        return list(connection.scalars(select(column).order_by(*keys)))


def before_batch(function: Callable[[], object], *, number: int | None = None) -> Hooks:
    """Hooks that call a function before each batch, or before one."""

    def call(_: str, at: int) -> None:
        if number is None or number == at:
            function()

    return Hooks(before_batch=call)
