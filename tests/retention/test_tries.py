"""Locks are waited for and met again, the lease is kept meanwhile, a stop is not waited for."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from retention_world import NOW, ago, fill, ids
from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from sa_perf.dialects.purging import purging_of
from sa_perf.errors import InvalidPolicy
from sa_perf.retention.archive import FileArchive
from sa_perf.retention.audit import status
from sa_perf.retention.lease import LEASE_SECONDS, Lease, acquire
from sa_perf.retention.limits import Limits
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare, declared_in
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import run
from sa_perf.retention.steps import read_step
from sa_perf.retention.tries import Ended, Tries


def _model(**options: Any) -> Table:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    limits = BatchLimits(first_rows=2, min_rows=1, max_rows=2, lock_seconds=0.05)
    declare(table, RetentionPolicy(**{"days": 30, "by": "at", "batch": limits, **options}))
    return table


def _table(engine: Engine, **options: Any) -> Table:
    table = _model(**options)
    table.create(engine)
    fill(engine, table, *({"id": at, "at": ago(40 if at < 4 else 20)} for at in range(1, 6)))
    return table


class Locks:
    """Has the database say, at some statements, that a lock stood in the way.

    Args:
        engine: whose statements are counted, from one on that begins a run.
        at: the number of the statement.
        first: what the first that is counted has in it.
    """

    def __init__(self, engine: Engine, at: int, *, first: str = "") -> None:
        self.seen = self.met = 0
        self.over = False
        self._at, self._first = at, first
        self._backend = engine.dialect.name
        event.listen(engine, "before_cursor_execute", self._look)

    def _look(self, connection: Any, _: object, statement: str, *__: object) -> None:
        if not self.over and (self.seen or self._first in statement):
            self.seen += 1
            if self._at == self.seen:
                self.met, self.over = 1, True
                self._raise(connection)

    def _raise(self, connection: Any) -> None:
        if self._backend == "postgresql":
            connection.exec_driver_sql("DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$")
        elif self._backend in ("mysql", "mariadb"):
            connection.exec_driver_sql("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1205")
        raise OperationalError("DELETE", {}, sqlite3.OperationalError("database is locked"))


# Each statement of a run


def test_a_lock_in_the_way_of_any_statement_is_met_again(shared_engine: Engine) -> None:
    engine = shared_engine
    table = _table(engine)
    outcomes: list[tuple[str, int]] = []
    at = 0
    while not outcomes or outcomes[-1][1] == 1:
        at += 1
        fill_again = [one for one in (1, 2, 3) if one not in ids(engine, table)]
        fill(engine, table, *({"id": one, "at": ago(40)} for one in fill_again))
        locks = Locks(engine, at, first="sa_perf_retention_lease")

        def end(_: object, locks: Locks = locks) -> None:
            locks.over = True

        hooks = Hooks(after_batch=end)
        (policy,) = run(
            engine, table, at=NOW, sleep=lambda _: None, hooks=hooks, progress=lambda _: None
        ).policies
        assert (at, policy.outcome, policy.reason) == (at, "done", None)
        assert ids(engine, table) == [4, 5]
        outcomes.append((policy.outcome, locks.met))
    assert at > 12


@pytest.fixture
def rollback_journal(tmp_path: Path) -> Iterator[Engine]:
    """A database whose writers keep readers away."""
    from retention_world import add_own_tables

    engine = create_engine(f"sqlite:///{tmp_path / 'journal.db'}", poolclass=NullPool)
    add_own_tables(engine)
    yield engine
    engine.dispose()


def test_a_reader_waits_for_a_writer_that_keeps_it_away(rollback_journal: Engine) -> None:
    table = _table(rollback_journal)
    other = sqlite3.connect(str(rollback_journal.url.database), isolation_level=None)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            other.execute("BEGIN EXCLUSIVE")
        elif len(slept) == 3:
            other.execute("ROLLBACK")

    (policy,) = run(rollback_journal, table, at=NOW, sleep=sleep).policies
    other.close()
    assert (policy.outcome, policy.reason) == ("done", None)
    assert ids(rollback_journal, table) == [4, 5]


# The lease


class Held:
    """A lease whose clock is moved by pauses."""

    def __init__(self, engine: Engine, connection: Any, table: Table) -> None:
        purging = purging_of(engine)
        step = read_step(declared_in(table)[0], NOW, purging)
        self.now = 0.0
        self.stop = threading.Event()
        taken = acquire(connection, purging, policy="event", run="first")
        self.lease = Lease(
            policy="event", token=taken.token, position=None, purging=purging, clock=self.clock
        )
        self.tries = Tries(
            step=step,
            limits=Limits(stop=self.stop),
            connection=connection,
            sleep=self.sleep,
            lease=self.lease,
        )

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, LEASE_SECONDS / 3)


@pytest.fixture
def held(shared_engine: Engine) -> Iterator[Held]:
    table = _table(shared_engine)
    with purging_of(shared_engine).connection(shared_engine) as connection:
        yield Held(shared_engine, connection, table)


def test_a_lock_in_the_way_of_the_lease_is_met_again(shared_engine: Engine, held: Held) -> None:
    before = status(shared_engine)[0].expires_at
    locks = Locks(shared_engine, 1)
    held.tries.pause(1.0)
    assert locks.met == 1
    assert status(shared_engine)[0].expires_at > before


def test_the_lease_is_kept_between_two_tries(shared_engine: Engine, held: Held) -> None:
    before = status(shared_engine)[0].expires_at
    calls: list[int] = []

    def function() -> str:
        calls.append(1)
        if len(calls) == 1:
            Locks(shared_engine, 1)
            with shared_engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        return "done"

    assert held.tries.of(function) == "done"
    assert status(shared_engine)[0].expires_at > before


def test_a_batch_does_not_wait_for_a_lock_longer_than_its_lease_lasts() -> None:
    with pytest.raises(InvalidPolicy, match="lock_seconds is 16; allowed is up to 15"):
        BatchLimits(lock_seconds=16)


# Stopping


def _locked() -> None:
    raise OperationalError("DELETE", {}, sqlite3.OperationalError("database is locked"))


@pytest.fixture
def stopped(engine: Engine) -> Iterator[Held]:
    if engine.dialect.name != "sqlite":
        pytest.skip("one database's error is enough")
    table = _table(engine)
    with purging_of(engine).connection(engine) as connection:
        yield Held(engine, connection, table)


def test_who_asks_to_stop_does_not_wait_for_all_tries(stopped: Held) -> None:
    calls: list[int] = []

    def function() -> None:
        calls.append(1)
        if len(calls) == 2:
            stopped.stop.set()
        _locked()

    with pytest.raises(Ended, match="it was asked to stop"):
        stopped.tries.of(function)
    assert len(calls) == 2


@pytest.mark.parametrize(("hurried", "tries"), [(False, 11), (True, 3)])
def test_a_stopped_run_is_put_away_in_few_tries(stopped: Held, hurried: bool, tries: int) -> None:
    calls: list[int] = []

    def function() -> None:
        calls.append(1)
        _locked()

    if hurried:
        stopped.stop.set()
    with pytest.raises(OperationalError):
        stopped.tries.at_last(function)
    assert len(calls) == tries


# What is done once


def test_no_batch_is_announced_that_never_is(shared_engine: Engine) -> None:
    table = _table(shared_engine)
    begun: list[int] = []
    ended: list[int] = []
    hooks = Hooks(
        before_batch=lambda _, number: begun.append(number),
        after_batch=lambda progress: ended.append(progress.batches),
    )
    assert run(shared_engine, table, at=NOW, hooks=hooks).rows_changed == 3
    assert run(shared_engine, table, at=NOW, hooks=hooks).rows_changed == 0
    assert begun == ended


def test_no_archive_is_opened_for_a_table_that_cannot_be_read(
    shared_engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    table = _model(action="archive", archive=FileArchive(folder))
    (policy,) = run(shared_engine, table, at=NOW, progress=lambda _: None).policies
    assert policy.outcome == "failed"
    assert not folder.exists()
