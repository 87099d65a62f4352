"""Databases that have sa_perf's own tables, for policies to be run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from retention_world import add_own_tables
from sqlalchemy import Engine, MetaData, delete

from sa_perf import tables as own
from sa_perf.retention import tables as retention_tables


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
