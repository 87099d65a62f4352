"""One runner has a policy; who comes second is told who, who is dead or late loses it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import lease_holder
import pytest
from lease_holder import NOW
from retention_world import ago, fill, ids
from sqlalchemy import Engine, update
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging import Purging, purging_of
from sa_perf.errors import LeaseLost, PolicyBusy
from sa_perf.retention.audit import batches_of, history, status
from sa_perf.retention.lease import LEASE_SECONDS, acquire, lock_all, owner_name
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import run
from sa_perf.retention.tables import leases


@pytest.fixture
def table(shared_engine: Engine) -> Any:
    found = lease_holder.model()
    found.create(shared_engine)
    fill(shared_engine, found, *({"id": at, "at": ago(60 - at)} for at in range(1, 13)))
    return found


@pytest.fixture
def others(shared_db: Any) -> None:
    """Leave out the database that no other connection sees."""
    if shared_db.name == "sqlite_memory":
        pytest.skip("another connection does not see this database")


class Holder:
    """Another process that is in the middle of a run."""

    def __init__(self, url: str) -> None:
        script = Path(lease_holder.__file__)
        self.process = subprocess.Popen(
            [sys.executable, str(script), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """At once, as by the operating system."""
        self.process.kill()
        self.process.wait(30)

    def go_on(self) -> str:
        """Let it end; how it did."""
        answer, _ = self.process.communicate("go on\n", timeout=60)
        return answer


@pytest.fixture
def holder(shared_db: Any, others: None, table: Any) -> Iterator[Holder]:
    found = Holder(shared_db.url.render_as_string(hide_password=False))
    yield found
    if found.process.poll() is None:
        found.process.send_signal(signal.SIGCONT)
        found.kill()
    for stream in (found.process.stdin, found.process.stdout):
        assert stream is not None
        stream.close()


@contextmanager
def _held(engine: Engine) -> Iterator[Any]:
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        lease = acquire(connection, purging, policy="event", run="first")
        yield lease, connection
        lease.release(connection, done=False)


def _hasty(engine: Engine) -> Purging:
    """Waits for a lock a second at most."""
    purging_type = type(purging_of(engine))

    class Hasty(purging_type):  # type: ignore[misc, valid-type]
        def transaction(self, connection: Any, *, lock_seconds: float) -> Any:
            return super().transaction(connection, lock_seconds=min(1.0, lock_seconds))

    found: Purging = Hasty(engine.dialect)
    return found


def _expire(engine: Engine) -> None:
    with engine.begin() as connection:
        past = datetime.now(timezone.utc) - timedelta(seconds=1)
        connection.execute(update(leases).values(expires_at=past))


# Two at once


def test_the_second_of_two_processes_is_told_who_runs_it(
    shared_engine: Engine, table: Any, holder: Holder
) -> None:
    (policy,) = run(shared_engine, table, at=NOW).policies
    assert policy.outcome == "busy"
    assert f":{holder.process.pid}:" in str(policy.reason)
    assert "its lease ends at" in str(policy.reason)
    assert holder.go_on() == "done: None\n"
    assert ids(shared_engine, table) == []


def test_of_threads_one_runs_and_the_others_are_busy(
    shared_engine: Engine, table: Any, others: None
) -> None:
    outcomes: list[str] = []
    ready = threading.Barrier(2)
    second = threading.Event()

    def other() -> None:
        ready.wait(60)
        outcomes.append(run(shared_engine, table, at=NOW).policies[0].outcome)
        second.set()

    def wait(_: str, number: int) -> None:
        if number == 1:
            ready.wait(60)
            second.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    (policy,) = run(shared_engine, table, at=NOW, hooks=Hooks(before_batch=wait)).policies
    thread.join(60)
    assert (policy.outcome, outcomes) == ("done", ["busy"])


def test_an_owner_is_named_to_the_second_runner(
    shared_engine: Engine, table: Any, others: None
) -> None:
    purging = purging_of(shared_engine)
    with (
        _held(shared_engine),
        purging.connection(shared_engine) as connection,
        pytest.raises(PolicyBusy) as caught,
    ):
        acquire(connection, purging, policy="event", run="second")
    assert caught.value.owner == owner_name()


def test_who_is_in_the_middle_of_a_batch_is_named_too(
    shared_db: Any, shared_engine: Engine, table: Any, others: None
) -> None:
    if shared_db.backend == "sqlite":
        pytest.skip("any writer keeps it waiting there, and is waited for")
    purging = purging_of(shared_engine)
    hasty = _hasty(shared_engine)
    with (
        _held(shared_engine) as (lease, connection),
        purging.transaction(connection, lock_seconds=5),
    ):
        lease.renew(connection, position=None)
        with purging.connection(shared_engine) as other, pytest.raises(PolicyBusy):
            acquire(other, hasty, policy="event", run="second")


def test_a_lease_is_there_for_the_next_once_it_is_released(
    shared_engine: Engine, table: Any
) -> None:
    tokens = []
    for _ in range(3):
        with _held(shared_engine) as (lease, _):
            tokens.append(lease.token)
    assert tokens == [1, 2, 3]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_no_policy_begins_while_all_are_locked(
    shared_db: Any, shared_engine: Engine, table: Any, others: None, level: str, known: bool
) -> None:
    if shared_db.backend == "sqlite" and level != "READ COMMITTED":
        pytest.skip("there is one level there")
    engine = shared_engine
    if shared_db.backend != "sqlite":
        engine = shared_db.engine(isolation_level=level)
    purging, hasty = purging_of(engine), _hasty(engine)
    if known:
        with _held(engine):
            pass
    with purging.connection(engine) as here, purging.connection(engine) as there:
        with purging.transaction(here, lock_seconds=5):
            lock_all(here, purging)
            with pytest.raises(DBAPIError) as caught:
                acquire(there, hasty, policy="event", run="new")
            assert purging.is_transient(caught.value)
        lease = acquire(there, hasty, policy="event", run="new")
        lease.release(there, done=True)
    assert [one.policy for one in status(engine)] == ["event"]


# Who does not come back


def test_the_policy_of_a_killed_runner_is_taken_over_at_once(
    shared_engine: Engine, table: Any, holder: Holder
) -> None:
    holder.kill()
    assert status(shared_engine)[0].owner is not None
    (policy,) = run(shared_engine, table, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("done", 9)
    assert ids(shared_engine, table) == []
    mine, dead = history(shared_engine)
    assert (dead.outcome, dead.error) == ("failed", "the runner did not come back")
    assert (dead.rows_changed, dead.batches) == (3, 1)
    assert sum(one.rows_changed for one in batches_of(shared_engine, mine.id)) == 9


def test_a_stopped_runner_whose_lease_is_over_loses_it_and_its_batch(
    shared_engine: Engine, table: Any, holder: Holder
) -> None:
    holder.process.send_signal(signal.SIGSTOP)
    assert run(shared_engine, table, at=NOW).policies[0].outcome == "busy"
    _expire(shared_engine)
    (policy,) = run(shared_engine, table, at=NOW, max_rows=4).policies
    assert policy.rows_changed == 4
    left = ids(shared_engine, table)
    holder.process.send_signal(signal.SIGCONT)
    answer = holder.go_on()
    assert answer.startswith("failed: LeaseLost: policy 'event' was taken over by another runner")
    assert ids(shared_engine, table) == left
    assert run(shared_engine, table, at=NOW).ok


def test_a_lease_that_was_taken_over_is_not_renewed(shared_engine: Engine, table: Any) -> None:
    purging = purging_of(shared_engine)
    with _held(shared_engine) as (lease, connection):
        lease.token -= 1
        with pytest.raises(LeaseLost), purging.transaction(connection, lock_seconds=5):
            lease.renew(connection, position="x")
        assert lease.position is None
        lease.token += 1


def test_the_place_counts_once_its_transaction_is_committed(
    shared_engine: Engine, table: Any
) -> None:
    purging = purging_of(shared_engine)
    with _held(shared_engine) as (lease, connection):
        with pytest.raises(RuntimeError), purging.transaction(connection, lock_seconds=5):
            lease.renew(connection, position="there")
            raise RuntimeError
        assert lease.position is None
    assert status(shared_engine)[0].position is None


def test_a_lease_is_kept_over_a_long_pause(shared_engine: Engine, table: Any) -> None:
    with _held(shared_engine) as (lease, connection):
        before = status(shared_engine)[0].expires_at
        lease.keep(connection)
        assert status(shared_engine)[0].expires_at == before
        late = lease.clock() + LEASE_SECONDS
        lease.clock = lambda: late
        lease.keep(connection)
        assert status(shared_engine)[0].expires_at > before


def test_the_databases_clock_says_when_a_lease_ends(
    shared_engine: Engine, table: Any, others: None
) -> None:
    purging = purging_of(shared_engine)
    with _held(shared_engine) as (_, connection):
        with purging.reading(connection):
            now = purging.utc_now(connection)
        (lease,) = status(shared_engine)
    assert lease.expires_at is not None
    assert abs((lease.expires_at - now).total_seconds() - LEASE_SECONDS) < 30


def test_two_databases_of_one_server_do_not_share_a_lock(mariadb_server: Any) -> None:
    with mariadb_server.database("one") as one, mariadb_server.database("two") as two:
        first, second = one.engine(), two.engine()
        purging = purging_of(first)
        with purging.connection(first) as here, purging.connection(second) as there:
            assert purging.lock(here, "event")
            assert purging.lock(there, "event")
            purging.unlock(here, "event")
            purging.unlock(there, "event")
