from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import (
    AssertionPool,
    NullPool,
    Pool,
    QueuePool,
    SingletonThreadPool,
    StaticPool,
)

from sa_perf.json_values import decoded, encoded
from sa_perf.resources.pool_results import PoolStats, over_commitment, pool_findings
from sa_perf.resources.pools import PoolWatch

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

SECOND = 1_000_000_000
COVERED = {
    "_do_get",
    "_do_return_conn",
    "_create_connection",
    "recreate",
    "_sa_perf_watch",
    "_sa_perf_first",
}


class Clock:
    """Nanoseconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def watched(engine: Engine | AsyncEngine, **options: Any) -> PoolWatch:
    watch = PoolWatch(engine, database="shop", **options)
    watch.open()
    return watch


def memory_engine(poolclass: type[Pool] = QueuePool, **options: Any) -> Engine:
    return create_engine("sqlite://", poolclass=poolclass, **options)


POOLS = [
    (QueuePool, {"pool_size": 2, "max_overflow": 1}, (2, 3)),
    (QueuePool, {"pool_size": 2, "max_overflow": -1}, (2, None)),
    (NullPool, {}, (None, None)),
    (StaticPool, {}, (None, None)),
    (SingletonThreadPool, {}, (None, None)),
    (AssertionPool, {}, (None, None)),
]


@pytest.mark.parametrize(("poolclass", "options", "sizes"), POOLS, ids=str)
def test_each_pool_class_is_watched_and_left_as_it_was(poolclass, options, sizes) -> None:
    engine = memory_engine(poolclass, **options)
    watch = watched(engine)
    for _ in range(3):
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
            inside = watch.stats()
    after = watch.stats()
    assert (inside.kind, inside.size, inside.limit) == (poolclass.__name__, *sizes)
    assert (inside.checked_out, after.checked_out) == (1, 0)
    assert (after.checkouts, after.waits.total()) == (3, 3)
    assert (after.timeouts, after.failures, after.invalidations) == (0, 0, 0)
    assert (inside.oldest_seconds, inside.mean_age_seconds) != (None, None)
    assert inside.oldest_seconds >= inside.mean_age_seconds >= 0
    watch.close()
    assert COVERED & set(vars(engine.pool)) == set()
    with engine.connect():
        assert watch.stats().checkouts == 3


def test_opening_a_connection_is_no_wait() -> None:
    clock = Clock()

    def slow() -> object:
        import sqlite3

        clock.now += 2 * SECOND
        return sqlite3.connect(":memory:", check_same_thread=False)

    engine = memory_engine(creator=slow)
    watch = watched(engine, clock=clock)
    with engine.connect(), engine.connect():
        stats = watch.stats()
    assert (stats.opened, stats.checkouts) == (2, 2)
    assert stats.openings.percentile(0.5) == pytest.approx(2 * SECOND, rel=0.02)
    assert stats.waits.percentile(1.0) < SECOND / 10
    engine.dispose()


def test_a_connection_that_was_opened_beside_the_pool_is_not_counted() -> None:
    engine = memory_engine()
    watch = watched(engine)
    for _ in range(3):
        engine.pool._create_connection().close()
    with engine.connect():
        stats = watch.stats()
    assert (stats.opened, stats.checkouts) == (1, 1)
    engine.dispose()


def test_overflow_and_idle_connections_are_told() -> None:
    engine = memory_engine(pool_size=1, max_overflow=2)
    watch = watched(engine)
    with engine.connect(), engine.connect():
        inside = watch.stats()
    after = watch.stats()
    assert (inside.checked_out, inside.overflow, inside.idle) == (2, 1, 0)
    assert (after.checked_out, after.overflow, after.idle) == (0, 0, 1)
    engine.dispose()


def test_the_peak_is_held_until_a_new_one_is_asked_for() -> None:
    engine = memory_engine(pool_size=3, max_overflow=0)
    watch = watched(engine)
    with engine.connect(), engine.connect():
        pass
    occupancy = watch.stats(new_peak=True).occupancy()
    assert occupancy.resource == "pool shop"
    assert occupancy.ratio == pytest.approx(2 / 3)
    assert occupancy.detail == "2 of 3 connections in use at once, 0 timeouts"
    assert watch.stats().occupancy().ratio == 0
    engine.dispose()


def test_a_leak_is_reported_once_with_the_line_that_took_it() -> None:
    clock = Clock()
    engine = memory_engine()
    watch = watched(engine, leak_seconds=30, clock=clock)
    leaked = engine.connect()
    line = sys._getframe().f_lineno - 1
    clock.now += 29 * SECOND
    assert watch.new_leaks() == []
    clock.now += SECOND
    (leak,) = watch.new_leaks()
    assert leak.call_site.file.endswith("test_pools.py")
    assert leak.call_site.line == line
    assert leak.held_seconds == 30
    assert leak.message.startswith("shop: a connection is out of its pool for 30 s; taken at ")
    clock.now += SECOND
    assert watch.new_leaks() == []
    stats = watch.stats()
    assert ([one.held_seconds for one in stats.leaks], stats.leaked) == ([31], 1)
    (finding,) = pool_findings([stats])
    assert (finding.kind, finding.place) == ("connection_leak", "pool of shop")
    leaked.close()
    assert watch.stats().leaks == ()
    # Taken again, it is another leak.
    leaked = engine.connect()
    clock.now += 30 * SECOND
    assert len(watch.new_leaks()) == 1
    leaked.close()
    engine.dispose()


def test_a_connection_that_the_garbage_took_is_no_leak() -> None:
    clock = Clock()
    engine = memory_engine()
    watch = watched(engine, leak_seconds=1, clock=clock)
    engine.raw_connection()  # dropped at once
    gc.collect()
    clock.now += 9 * SECOND
    assert watch.new_leaks() == []
    engine.dispose()


def test_a_detached_connection_is_its_holder_s_own() -> None:
    clock = Clock()
    engine = memory_engine()
    watch = watched(engine, leak_seconds=1, clock=clock)
    with engine.connect() as connection:
        connection.detach()
        clock.now += 9 * SECOND
        assert watch.new_leaks() == []
        assert watch.stats().checked_out == 0
    engine.dispose()


def test_a_pool_that_was_made_anew_is_watched_and_the_old_one_s_leaks_are_known() -> None:
    clock = Clock()
    engine = memory_engine(pool_size=1, max_overflow=0)
    watch = watched(engine, leak_seconds=5, clock=clock)
    leaked = engine.connect()
    engine.dispose()
    clock.now += 6 * SECOND
    with engine.connect():
        stats = watch.stats()
    assert (stats.checkouts, stats.checked_out) == (2, 1)
    assert len(stats.leaks) == 1
    leaked.close()
    assert watch.stats().leaks == ()
    with engine.connect() as connection:
        connection.invalidate()
    assert watch.stats().invalidations == 1
    watch.close()
    with engine.connect() as connection:
        connection.invalidate()
    assert watch.stats().invalidations == 1
    engine.dispose()


def test_hard_and_soft_invalidations_are_counted() -> None:
    engine = memory_engine()
    watch = watched(engine)
    with engine.connect() as connection:
        connection.connection.invalidate(soft=True)
    with engine.connect() as connection:
        connection.invalidate()
    assert watch.stats().invalidations == 2
    engine.dispose()


def test_a_watch_keeps_no_engine_alive() -> None:
    engine = memory_engine()
    watch = watched(engine)
    with engine.connect():
        pass
    engine.dispose()
    with engine.connect():
        pass
    assert not watch.is_gone
    del engine
    gc.collect()
    assert watch.is_gone
    stats = watch.stats()
    assert (stats.kind, stats.checkouts, stats.checked_out) == ("QueuePool", 2, 0)
    watch.after_fork()
    watch.close()


def test_a_pool_is_watched_by_one_only() -> None:
    engine = memory_engine()
    first, second = watched(engine), watched(engine)
    first.open()
    with engine.connect():
        pass
    assert (first.stats().checkouts, second.stats().checkouts) == (1, 0)
    second.close()
    with engine.connect():
        pass
    assert first.stats().checkouts == 2
    engine.dispose()


def test_a_connection_that_cannot_be_opened_is_a_failure(tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/no/such/folder.db")
    watch = watched(engine)
    with pytest.raises(OperationalError):
        engine.connect()
    stats = watch.stats()
    assert (stats.failures, stats.checkouts, stats.timeouts) == (1, 0, 0)


def test_a_fault_of_the_watch_does_not_reach_the_application(monkeypatch) -> None:
    faults = []
    engine = memory_engine()
    watch = PoolWatch(engine, database="shop", note=lambda place, error: faults.append(error))
    failure = RuntimeError("no line")

    class Fails:
        def find(self) -> None:
            raise failure

    watch._nearest_line = Fails()
    watch.open()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    assert faults == [failure]
    engine.dispose()


def test_many_threads_lose_no_count(postgresql_database) -> None:
    engine = postgresql_database.engine(pool_size=3, max_overflow=2)
    watch = watched(engine)

    def work() -> None:
        for _ in range(50):
            with engine.connect():
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = watch.stats()
    assert (stats.checkouts, stats.waits.total(), stats.checked_out) == (400, 400, 0)
    assert 1 <= stats.peak_checked_out <= stats.limit == 5


def test_a_pool_exhausted_by_20_threads_tells_waits_timeouts_and_who_held_it(
    postgresql_database,
) -> None:
    engine = postgresql_database.engine(pool_size=3, max_overflow=2, pool_timeout=0.3)
    watch = watched(engine, leak_seconds=0.2)
    let_go = threading.Event()
    all_out = threading.Semaphore(0)
    outcomes: list[str] = []

    def hold() -> None:
        try:
            with engine.connect():
                all_out.release()
                outcomes.append("held")
                let_go.wait(30)
        except PoolTimeout:
            outcomes.append("timeout")
            all_out.release()

    threads = [threading.Thread(target=hold) for _ in range(20)]
    for some in (threads[:5], threads[5:]):
        for thread in some:
            thread.start()
        for _ in some:
            all_out.acquire()
    leaks = watch.new_leaks()
    stats = watch.stats()
    let_go.set()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["held"] * 5 + ["timeout"] * 15
    assert (stats.checkouts, stats.timeouts, stats.waits.total()) == (5, 15, 20)
    assert (stats.limit, stats.checked_out, stats.peak_checked_out, stats.overflow) == (5, 5, 5, 2)
    assert stats.occupancy().ratio == 1.0
    # What timed out has waited for its 0.3 s, and 15 of 20 did.
    assert stats.wait_p50_seconds >= 0.29
    assert len(leaks) == 5
    line = hold.__code__.co_firstlineno + 2
    assert {(one.call_site.line, os.path.basename(one.call_site.file)) for one in leaks} == {
        (line, "test_pools.py")
    }
    ((holder),) = stats.timeout_held_by
    assert (holder.call_site.line, holder.connections) == (line, 5)
    finding = pool_findings([stats])[-1]
    assert (finding.kind, finding.severity) == ("pool_exhausted", "critical")
    assert "15 checkouts got no connection in time, since all 5 were in use" in finding.message
    assert f"test_pools.py:{line}" in finding.message
    assert watch.stats().checked_out == 0


def test_an_async_pool_is_watched_alike(async_db) -> None:
    async def work() -> PoolStats:
        engine = async_db.async_engine()
        watch = watched(engine, leak_seconds=0.000001)
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1
            stats = watch.stats()
        assert watch.stats().checked_out == 0
        watch.close()
        return stats

    stats = async_db.run(work())
    assert (stats.checkouts, stats.checked_out, stats.waits.total()) == (1, 1, 1)
    (leak,) = stats.leaks
    assert leak.call_site.file.endswith("test_pools.py")
    assert "work" in leak.call_site.function


@pytest.mark.async_driver
def test_waiting_tasks_of_an_async_pool_are_timed(postgresql_database) -> None:
    async def work() -> PoolStats:
        engine = postgresql_database.async_engine(pool_size=1, max_overflow=0, pool_timeout=5)
        watch = watched(engine)
        holding, waiting = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            async with engine.connect():
                holding.set()
                await waiting.wait()
                await asyncio.sleep(0.05)

        async def second() -> None:
            await holding.wait()
            waiting.set()
            async with engine.connect():
                pass

        await asyncio.gather(first(), second())
        return watch.stats()

    stats = postgresql_database.run(work())
    assert (stats.kind, stats.limit, stats.checkouts) == ("AsyncAdaptedQueuePool", 1, 2)
    assert stats.waits.percentile(1.0) / SECOND >= 0.045


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_begins_anew() -> None:
    engine = memory_engine(StaticPool)
    watch = watched(engine, leak_seconds=0.000001)
    held = engine.connect()
    watch._lock.acquire()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watch._lock = None  # nobody gives it back in this process
            watch.after_fork()
            engine.dispose(close=False)
            before = watch.stats()
            with engine.connect():
                after = watch.stats()
            fits = (before.checkouts, before.leaks, after.checkouts) == (0, (), 1)
            code = 0 if fits else 1
        finally:
            os._exit(code)
    watch._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert watch.stats().checkouts == 1
    held.close()


def test_a_pool_s_reading_has_a_json_form() -> None:
    clock = Clock()
    engine = memory_engine(pool_size=1, max_overflow=0, pool_timeout=0.01)
    watch = watched(engine, leak_seconds=1, clock=clock)
    with engine.connect():
        clock.now += 2 * SECOND
        with pytest.raises(PoolTimeout):
            engine.connect()
        stats = watch.stats()
    value = encoded(stats)
    assert decoded(PoolStats, value).leaks == stats.leaks
    assert encoded(decoded(PoolStats, value)) == value
    assert (value["timeouts"], len(value["timeout_held_by"])) == (1, 1)
    assert value["wait_p99_seconds"] == stats.wait_p99_seconds
    engine.dispose()


def test_long_waits_are_a_finding() -> None:
    stats = PoolStats(database="shop", kind="QueuePool", size=1, limit=1)
    for _ in range(10):
        stats.waits.add(50_000_000)
    (finding,) = pool_findings([stats])
    assert finding.kind == "pool_waits"
    assert "one checkout in 20 waits 50 ms or longer for one of 1 connections" in finding.message
    assert pool_findings([PoolStats(database="shop", kind="QueuePool")]) == []


def test_pools_that_ask_for_more_than_the_server_has_are_a_finding() -> None:
    pools = [
        PoolStats(database="shop", kind="QueuePool", size=5, limit=15),
        PoolStats(database="shop", kind="NullPool"),
    ]
    assert over_commitment(pools, workers=6, max_connections=90) == []
    (finding,) = over_commitment(pools, workers=8, max_connections=97)
    assert finding.evidence["connections_at_most"] == 120
    assert "8 processes may open 120 connections to shop" in finding.message
    assert "be 12 at most in each process" in finding.remedy
