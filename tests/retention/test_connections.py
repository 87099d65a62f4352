"""The application gets a run's connection next: it goes back as it came."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from retention_world import NOW, SMALL, add_own_tables, ago, fill, ids
from sqlalchemy import (
    TIMESTAMP,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    text,
)
from sqlalchemy.pool import StaticPool

import sa_perf
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import arun, run

SETTINGS = {
    "sqlite": ("PRAGMA busy_timeout",),
    "postgresql": ("SHOW lock_timeout", "SHOW transaction_isolation", "SHOW TimeZone"),
    "mysql": (
        "SELECT @@session.innodb_lock_wait_timeout",
        "SELECT @@session.lock_wait_timeout",
        "SELECT @@session.time_zone",
        "SELECT @@session.tx_isolation",
        "SELECT @@session.autocommit",
    ),
}


def _table(**options: Any) -> Table:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    declare(table, RetentionPolicy(**{"days": 30, "by": "at", "batch": SMALL, **options}))
    return table


def _fill(engine: Engine, table: Table) -> None:
    table.create(engine)
    fill(engine, table, *({"id": at, "at": ago(40 - at)} for at in range(1, 21)))


def _settings(engine: Engine) -> list[Any]:
    kind = {"mariadb": "mysql"}.get(engine.dialect.name, engine.dialect.name)
    with engine.connect() as connection:
        return [connection.exec_driver_sql(one).scalar() for one in SETTINGS[kind]]


@pytest.mark.parametrize("fails", [False, True])
def test_a_session_has_its_settings_again(db, fails: bool) -> None:
    engine = db.engine(pool_size=1, max_overflow=0) if db.backend != "sqlite" else db.engine()
    add_own_tables(engine)
    table = _table()
    if not fails:
        _fill(engine, table)
    if db.backend == "mariadb":

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET SESSION time_zone = '+03:00', innodb_lock_wait_timeout = 7, "
                    "lock_wait_timeout = 77"
                )

        engine.dispose()
    before = _settings(engine)
    assert run(engine, table, at=NOW).ok is not fails
    assert _settings(engine) == before


def test_a_pool_of_one_connection_is_enough(db) -> None:
    options = (
        {} if db.name == "sqlite_memory" else {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    )
    engine = db.engine(**options)
    add_own_tables(engine)
    table = _table()
    _fill(engine, table)
    assert run(engine, table, at=NOW).rows_changed == 9


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_batches_are_transactions_whatever_the_engines_level(db, level: str) -> None:
    engine = db.engine(isolation_level=level)
    add_own_tables(engine)
    table = _table()
    _fill(engine, table)

    @event.listens_for(engine, "after_cursor_execute")
    def fail(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("DELETE FROM event"):
            raise RuntimeError("in the middle of a batch")

    (policy,) = run(engine, table, at=NOW).policies
    assert policy.outcome == "failed"
    assert len(ids(engine, table)) == 20
    event.remove(engine, "after_cursor_execute", fail)
    assert run(engine, table, at=NOW).rows_changed == 9


def test_no_transaction_and_no_connection_is_left_open(db) -> None:
    engine = db.engine()
    add_own_tables(engine)
    table = _table()
    _fill(engine, table)
    out: list[int] = []
    event.listen(engine, "checkout", lambda *_: out.append(1))
    event.listen(engine, "checkin", lambda *_: out.append(-1))
    run(engine, table, at=NOW)
    assert sum(out) == 0
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        if db.backend == "sqlite":
            assert not driver.in_transaction
        elif db.backend == "postgresql":
            assert driver.info.transaction_status == 0


def test_statements_of_a_run_are_not_recorded(db) -> None:
    engine = db.engine()
    add_own_tables(engine)
    table = _table()
    _fill(engine, table)
    perf = sa_perf.install(engine)
    try:
        run(engine, table, at=NOW)
        statements = [one.statement for one in perf.snapshot().top_queries(50, by="calls")]
    finally:
        perf.uninstall()
    assert statements == []


def test_asynchronous_engines_run_the_same(async_db) -> None:
    engine = async_db.engine()
    options = {}
    if async_db.name.startswith("sqlite_memory"):
        options["poolclass"] = StaticPool
    table = _table()

    async def purge() -> int:
        asynchronous = async_db.async_engine(**options)
        async with asynchronous.connect() as connection:
            await connection.run_sync(lambda one: add_own_tables(one.engine))
            await connection.run_sync(lambda one: _fill(one.engine, table))
        changed = (await arun(asynchronous, table, at=NOW)).rows_changed
        async with asynchronous.connect() as connection:
            left = await connection.scalar(text("SELECT count(*) FROM event"))
        assert left == 11
        return changed

    assert async_db.run(purge()) == 9
    engine.dispose()


# SQLite: whoever says BEGIN


def _application_begins(engine: Engine, begin: str) -> None:
    """SQLAlchemy's recipe for transactions that begin when the application says so."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
def test_an_application_that_says_begin_itself_keeps_doing_so(sqlite_url: str, begin: str) -> None:
    engine = create_engine(sqlite_url)
    _application_begins(engine, begin)
    add_own_tables(engine)
    table = _table()
    _fill(engine, table)
    assert run(engine, table, at=NOW).rows_changed == 9
    with engine.connect() as connection:
        connection.execute(insert(table).values(id=100, at=ago(0)))
        driver: Any = connection.connection.driver_connection
        assert driver.isolation_level is None
        connection.rollback()
    assert 100 not in ids(engine, table)
    engine.dispose()


def test_a_reader_that_keeps_a_commit_waiting_is_waited_for(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'test.db'}")
    add_own_tables(engine)
    table = _table(batch=BatchLimits(first_rows=3, min_rows=1, max_rows=5, lock_seconds=0.01))
    _fill(engine, table)
    reader = sqlite3.connect(tmp_path / "test.db", isolation_level=None, check_same_thread=False)
    waits: list[float] = []

    def read(_: str, __: int) -> None:
        if not waits:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM event").fetchall()  # SHARED: no COMMIT meanwhile

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if reader.in_transaction and len(waits) > 2:
            reader.execute("ROLLBACK")

    (policy,) = run(engine, table, at=NOW, sleep=sleep, hooks=Hooks(before_batch=read)).policies
    reader.close()
    assert len(waits) > 2
    assert (policy.outcome, policy.reason) == ("done", None)
    assert policy.rows_changed == 9
    engine.dispose()


# MariaDB: TIMESTAMP is read in the session's zone


def test_a_timestamp_is_compared_in_utc_whatever_the_sessions_zone(mariadb_database) -> None:
    engine = mariadb_database.engine()
    add_own_tables(engine)
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", TIMESTAMP, nullable=False, index=True),
    )
    declare(table, RetentionPolicy(days=30, by="at"))
    table.create(engine)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION time_zone = '-05:00'")

    engine.dispose()
    with engine.begin() as connection:
        connection.execute(text("SET time_zone = '+00:00'"))
        for hour in (-2, -1, 1, 2):
            connection.execute(insert(table).values(id=hour + 3, at=ago(30 - hour / 24)))
        connection.execute(text("SET time_zone = '-05:00'"))
    run(engine, table, at=NOW)
    assert ids(engine, table) == [4, 5]
