"""A run lets the application's locks go first, and tries again."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from retention_world import NOW, ago, fill, ids
from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, event, update
from sqlalchemy.exc import OperationalError

from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import run


def _table(engine: Engine, *, retries: int = 10) -> Table:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    limits = BatchLimits(first_rows=4, min_rows=1, max_rows=4, lock_seconds=0.05, retries=retries)
    declare(table, RetentionPolicy(days=30, by="at", order="key", batch=limits))
    table.create(engine)
    fill(engine, table, *({"id": at, "at": ago(40)} for at in range(1, 9)))
    return table


@pytest.fixture
def others(shared_db: Any) -> None:
    """Leave out the database that has one connection."""
    if shared_db.name == "sqlite_memory":
        pytest.skip("there is no other connection")


def _lock(connection: Any, table: Table) -> None:
    connection.execute(update(table).where(table.c.id == 6).values(at=ago(41)))


def test_a_batch_that_meets_a_lock_is_tried_again(shared_engine: Engine, others: None) -> None:
    table = _table(shared_engine)
    slept: list[float] = []
    with shared_engine.connect() as other:

        def before(_: str, number: int) -> None:
            if number == 2 and not slept:
                _lock(other, table)

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) > 3:
                other.rollback()

        (policy,) = run(
            shared_engine, table, at=NOW, sleep=sleep, hooks=Hooks(before_batch=before)
        ).policies
    assert (policy.outcome, policy.reason) == ("done", None)
    assert ids(shared_engine, table) == []


def test_a_lock_that_stays_fails_the_policy_and_keeps_what_is_done(
    shared_engine: Engine, shared_db: Any, others: None
) -> None:
    if shared_db.backend == "sqlite":
        pytest.skip("there a lock is on all tables, the audit's too")
    table = _table(shared_engine, retries=1)
    with shared_engine.connect() as other:
        _lock(other, table)
        (policy,) = run(shared_engine, table, at=NOW, sleep=lambda _: None).policies
    assert policy.outcome == "failed"
    assert "lock" in str(policy.reason).lower()
    assert 6 in ids(shared_engine, table)
    assert run(shared_engine, table, at=NOW).ok
    assert ids(shared_engine, table) == []


def test_a_deadlock_is_tried_again(shared_engine: Engine, shared_db: Any) -> None:
    table = _table(shared_engine)
    failed: list[bool] = []

    @event.listens_for(shared_engine, "after_cursor_execute")
    def deadlock(connection: Any, _: object, statement: str, *__: object) -> None:
        if statement.startswith("DELETE FROM event") and not failed:
            failed.append(True)
            _raise_deadlock(connection, shared_db.backend)

    (policy,) = run(shared_engine, table, at=NOW, sleep=lambda _: None).policies
    event.remove(shared_engine, "after_cursor_execute", deadlock)
    assert failed == [True]
    assert (policy.outcome, policy.rows_changed) == ("done", 8)


def _raise_deadlock(connection: Any, backend: str) -> None:
    """Have the database say that it found one."""
    if backend == "postgresql":
        connection.exec_driver_sql("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")
    elif backend in ("mysql", "mariadb"):
        connection.exec_driver_sql("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213")
    else:
        raise OperationalError("DELETE", {}, sqlite3.OperationalError("database is locked"))
