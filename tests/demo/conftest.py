"""The demonstration's database, once for all tests that only read it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

from sa_perf.demo.data import fill

DAYS = 31
"""January: 27,004 flights."""


@pytest.fixture(scope="session")
def january(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """All tables, with the flights of January 2013."""
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('demo') / 'flights.db'}")
    fill(engine, days=DAYS)

    # sqlite3 begins no transaction before SAVEPOINT by itself; see SQLAlchemy's documentation,
    # "Enabling Non-Legacy SQLite Transactional Modes with the sqlite3 or aiosqlite driver".
    @event.listens_for(engine, "connect")
    def leave_transactions_alone(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    engine.dispose()
    yield engine
    engine.dispose()


@pytest.fixture
def session(january: Engine) -> Iterator[Session]:
    """A session whose changes are undone, also those that the application commits."""
    with january.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()
