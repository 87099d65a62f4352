"""Replicas that are behind are waited for: by a real standby whose replay is paused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from retention_world import add_own_tables
from sqlalchemy import (
    URL,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    insert,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool
from standby import standby_of

from sa_perf.errors import RetentionError
from sa_perf.retention import BatchLimits, RetentionPolicy, declare, run
from sa_perf.retention.limits import replica_lag_above

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


def _until(true: Callable[[], object], what: str) -> None:
    """Wait for what another process does."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    pytest.fail(f"{what} did not come")


def _tell(engine: Engine, statement: str) -> Any:
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        found = connection.exec_driver_sql(statement)
        return found.scalar() if found.returns_rows else None


def _until_equal(standby: Engine, primary: Engine) -> None:
    # Of what is inserted: the tests' server writes it, and so sends it, a little later.
    there = _tell(primary, "SELECT pg_current_wal_insert_lsn()")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{there}'"
    _until(lambda: _tell(standby, replayed), "the standby")


@pytest.fixture(scope="module")
def standby_url(postgresql_server: Any) -> Iterator[URL]:
    with standby_of(postgresql_server.url, "sa-perf-pg-") as url:
        yield url


@pytest.fixture
def standby(standby_url: URL, postgresql_database: Any) -> Engine:
    """Of the test's database; it has caught up, and keeps no connection, which DROP would meet."""
    primary = postgresql_database.engine(poolclass=NullPool)
    streams = "SELECT state = 'streaming' FROM pg_stat_replication"
    _until(lambda: _tell(primary, streams), "the stream")
    url = standby_url.set(database=postgresql_database.url.database)
    engine = create_engine(url, poolclass=NullPool)
    _until_equal(create_engine(standby_url, poolclass=NullPool), primary)
    return engine


def test_a_standby_of_an_idle_primary_is_not_behind(
    standby: Engine, postgresql_database: Any
) -> None:
    primary = postgresql_database.engine()
    _tell(primary, "CREATE TABLE t (id int)")
    _until_equal(standby, primary)
    behind = "SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())"
    _until(lambda: _tell(standby, behind) > 0.5, "half a second")
    for asked in (primary, standby):
        assert replica_lag_above(asked, 0.4)() is None


def test_a_standby_that_stands_still_is_waited_for_until_it_goes_on(
    standby: Engine, postgresql_database: Any
) -> None:
    primary = postgresql_database.engine()
    add_own_tables(primary)
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    declare(
        table,
        RetentionPolicy(days=30, by="at", batch=BatchLimits(first_rows=5, min_rows=5, max_rows=5)),
    )
    old = (NOW - timedelta(days=40)).replace(tzinfo=None)
    table.create(primary)
    with primary.begin() as connection:
        connection.execute(insert(table), [{"id": at, "at": old} for at in range(1, 21)])
    _until_equal(standby, primary)
    _tell(standby, "SELECT pg_wal_replay_pause()")
    _tell(primary, "CREATE TABLE t (id int)")
    received = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
    _until(lambda: _tell(standby, received), "the change")
    waited: list[str] = []

    def progress(step: Any) -> None:
        if step.waiting is None:
            return
        waited.append(step.waiting)
        if len(waited) == 3:
            _tell(standby, "SELECT pg_wal_replay_resume()")

    def sleep(seconds: float) -> None:
        """The standby reports at each change only, and every ten seconds."""
        _tell(primary, "SELECT pg_logical_emit_message(true, 'test', '')")
        time.sleep(0.05)

    waits = [replica_lag_above(one, 0.0) for one in (primary, standby)]
    result = run(primary, table, at=NOW, waits=waits, progress=progress, sleep=sleep)
    assert (result.ok, result.rows_changed) == (True, 20)
    assert len(waited) >= 3
    assert {reason.partition(" s ")[2] for reason in waited} == {"behind, more than 0 s"}


def test_a_standby_that_lost_its_primary_is_behind(standby: Engine) -> None:
    def connect(conninfo: str) -> None:
        _tell(standby, f"ALTER SYSTEM SET primary_conninfo = '{conninfo}'")
        _tell(standby, "SELECT pg_reload_conf()")

    before = str(_tell(standby, "SHOW primary_conninfo")).replace("'", "''")
    connect("host=/nowhere")
    try:
        gone = "SELECT NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)"
        _until(lambda: _tell(standby, gone), "the loss")
        reason = replica_lag_above(standby, 0.0)()
    finally:
        connect(before)
    assert reason is not None and "replica" in reason


def test_a_role_that_may_not_see_replicas_is_told_what_it_lacks(
    standby: Engine, postgresql_database: Any
) -> None:
    admin = postgresql_database.engine()
    _tell(admin, "CREATE ROLE sa_perf_blind LOGIN")
    try:
        blind = create_engine(
            postgresql_database.url.set(username="sa_perf_blind"), poolclass=NullPool
        )
        with pytest.raises(RetentionError, match=r"role 'sa_perf_blind' may not see .* pg_monitor"):
            replica_lag_above(blind, 1.0)()
        _tell(admin, "GRANT pg_monitor TO sa_perf_blind")
        assert replica_lag_above(blind, 60.0)() is None
    finally:
        _tell(admin, "DROP ROLE sa_perf_blind")


def test_a_replica_that_does_not_replicate_is_waited_for(mariadb_database: Any) -> None:
    engine = mariadb_database.engine()
    name = mariadb_database.url.database
    _tell(engine, f"CHANGE MASTER '{name}' TO master_host = 'nowhere.invalid', master_user = 'x'")
    try:
        reason = replica_lag_above(engine, 3600.0)()
    finally:
        _tell(engine, f"RESET SLAVE '{name}' ALL")
    assert reason == "a replica does not replicate, or is only catching up"
    assert replica_lag_above(engine, 0.0)() is None


def test_a_replica_out_of_reach_is_waited_for_but_not_for_ever(postgresql_database: Any) -> None:
    url = postgresql_database.url.update_query_dict({"host": "/nowhere"})
    wait = replica_lag_above(create_engine(url, poolclass=NullPool), 1.0)
    reasons = {wait() for _ in range(60)}
    (reason,) = reasons
    assert str(reason).startswith("how far a replica is behind cannot be asked: OperationalError")
    with pytest.raises(OperationalError):
        wait()
