"""Databases that have sa_perf's own tables, for policies to be run on."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Engine, MetaData, String, Table, insert

from sa_perf import tables as own
from sa_perf.retention import tables as retention_tables


def add_own_tables(engine: Engine) -> None:
    """Make them as the migrations would, which take longer and have tests of their own."""
    version = Table(own.VERSION_TABLE, MetaData(), Column("version_num", String(32)))
    with engine.begin() as connection:
        own.metadata.create_all(connection, tables=retention_tables.TABLES)
        version.create(connection)
        connection.execute(insert(version).values(version_num=own.SCHEMA_VERSION))


@pytest.fixture
def engine(db) -> Engine:
    """An engine on each database in turn, with sa_perf's tables and no others."""
    made: Engine = db.engine()
    add_own_tables(made)
    return made
