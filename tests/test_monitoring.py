from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import QueuePool

import sa_perf
from sa_perf import housekeeping, monitoring
from sa_perf.errors import NotInstalled
from sa_perf.resources.results import HostReading
from sa_perf.snapshot import Snapshot


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=2, max_overflow=0)
    yield engine
    engine.dispose()


@pytest.fixture
def perf(engine) -> Iterator[sa_perf.Instrumentation]:
    perf = sa_perf.install(engine, resources=True, disks="here=.", leak_seconds=0.1, workers=3)
    yield perf
    perf.uninstall()


def test_resources_are_in_the_snapshot_where_they_are_asked_for(engine, perf) -> None:
    monitoring.monitor().sample()
    with engine.connect():
        snapshot = perf.snapshot()
    found = snapshot.resources
    assert [one.resource.partition(" ")[0] for one in found.standings][:3] == [
        "memory", "open", "disk",
    ]  # fmt: skip
    assert found.host.disks[0].names == ("here",)
    (pool,) = found.pools
    assert (pool.database, pool.limit, pool.checkouts, pool.checked_out) == ("sqlite:///", 2, 1, 1)
    assert found.workers == 3
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def test_without_the_setting_nothing_is_watched(engine) -> None:
    perf = sa_perf.install(engine)
    assert perf.snapshot().resources is None
    assert "_do_get" not in vars(engine.pool)
    with pytest.raises(NotInstalled, match="resources=True"):
        monitoring.monitor()
    perf.uninstall()


def test_what_is_short_is_a_finding_of_the_snapshot(engine, perf) -> None:
    with engine.connect(), engine.connect():
        monitoring.monitor().sample()
        snapshot = perf.snapshot()
    (finding,) = [one for one in snapshot.findings if one.place == "pool sqlite:///"]
    assert (finding.kind, finding.severity) == ("resource_short", "critical")


def test_the_housekeeping_thread_does_what_is_due(perf) -> None:
    sampled = threading.Event()
    monitor = monitoring.monitor()
    read = monitor.host.read

    def noted() -> HostReading:
        reading = read()
        sampled.set()
        return reading

    monitor.host.read = noted
    monitor._due = 0.0
    housekeeping._wake.set()
    assert sampled.wait(60)


def test_all_engines_share_one_monitor_and_the_last_ends_it(engine, perf) -> None:
    other = create_engine("sqlite://", poolclass=QueuePool)
    second = sa_perf.install(other, resources=True, disks="/,here=.")
    shared = monitoring.monitor()
    assert len(second.snapshot().resources.pools) == 2
    second.uninstall()
    assert monitoring.monitor() is shared
    assert "_do_get" not in vars(other.pool)
    assert len(perf.snapshot().resources.pools) == 1
    perf.uninstall()
    assert monitoring.resources() is None
    other.dispose()


def test_an_engine_that_is_dropped_is_let_go() -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool)
    sa_perf.install(engine, resources=True)
    gone = weakref.ref(engine)
    with engine.connect():
        pass
    del engine
    gc.collect()
    assert gone() is None
    standing = monitoring._standing
    assert standing is None or standing.housekeep() is None
    assert monitoring.resources() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_worker_watches_itself(engine, perf) -> None:
    with engine.connect():
        pass
    monitoring.monitor().sample()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            engine.dispose(close=False)
            with engine.connect():
                pass
            monitoring.monitor().sample()
            found = perf.snapshot().resources
            fits = (found.host.process.pid, found.pools[0].checkouts) == (os.getpid(), 1)
            code = 0 if fits else 1
        finally:
            sys.stdout.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert perf.snapshot().resources.pools[0].checkouts == 1
