"""Databases that have sa_perf's own tables, for policies to be run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Engine, MetaData, String, Table, delete, insert

from sa_perf import tables as own
from sa_perf.retention import tables as retention_tables


def add_own_tables(engine: Engine) -> None:
    """Make them as the migrations would, which take longer and have tests of their own."""
    version = Table(own.VERSION_TABLE, MetaData(), Column("version_num", String(32)))
    with engine.begin() as connection:
        own.metadata.create_all(connection, tables=retention_tables.TABLES)
        if not connection.dialect.has_table(connection, own.VERSION_TABLE):
            version.create(connection)
            connection.execute(insert(version).values(version_num=own.SCHEMA_VERSION))


@pytest.fixture
def engine(db) -> Engine:
    """An engine on each database in turn, with sa_perf's tables and no others."""
    made: Engine = db.engine()
    add_own_tables(made)
    return made


@pytest.fixture
def shared_engine(shared_db) -> Iterator[Engine]:
    """As `engine`, on databases that tests share: what they make in them is dropped after each."""
    made: Engine = shared_db.engine()
    add_own_tables(made)
    yield made
    made.dispose()  # with whatever a test left open
    if shared_db.name != "sqlite_memory":
        found = MetaData()
        found.reflect(made, only=lambda name, _: not name.startswith(own.PREFIX))
        found.drop_all(made)
        with made.begin() as connection:
            for table in reversed(retention_tables.TABLES):
                connection.execute(delete(table))
            connection.execute(delete(retention_tables.runs))
    shared_db.close()
