from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from sa_perf.errors import InvalidSettings
from sa_perf.json_values import decoded, encoded
from sa_perf.resources.databases import DatabaseWatch
from sa_perf.resources.disks import Disks, DiskUsage
from sa_perf.resources.host import Host
from sa_perf.resources.monitor import Monitor
from sa_perf.resources.pools import PoolWatch
from sa_perf.resources.readings import Resources, resource_findings
from sa_perf.resources.thresholds import Alert

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SIZE = 1_000_000_000


class World:
    """A disk and a clock that a test moves, and a monitor of them."""

    def __init__(self, **options: object) -> None:
        self.seconds = 0.0
        self.used = 0.5
        self.fails: OSError | None = None
        self.told: list[Alert] = []
        self.faults: list[BaseException] = []
        self.monitor = Monitor(
            host=Host(Disks({"data": "/data"}, measure=self.measure)),
            now=lambda: self.seconds,
            clock=lambda: START + timedelta(seconds=self.seconds),
            jitter=lambda: 0.5,
            note=lambda place, error: self.faults.append(error),
            **{"sinks": [self.told.append], **options},
        )

    def measure(self, path: str) -> DiskUsage:
        if self.fails is not None:
            raise self.fails
        used = round(SIZE * self.used)
        return DiskUsage(
            total_bytes=SIZE, used_bytes=used, free_bytes=SIZE - used, mount="/data", device=1
        )

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.monitor.tick()


def of(resources: Resources, name: str):  # noqa: ANN201  # whatever stands there
    return {one.resource: one for one in resources.standings}[name]


def test_a_disk_that_fills_is_told_once_a_level_and_shown() -> None:
    world = World()
    world.monitor.tick()
    for used in (0.86, 0.87, 0.96, 0.97):
        world.used = used
        world.pass_time(10)
    world.used = 0.2
    world.pass_time(60)
    assert [(one.resource, one.level) for one in world.told] == [
        ("disk data", "warning"), ("disk data", "critical"), ("disk data", "ok"),
    ]  # fmt: skip
    resources = world.monitor.resources()
    assert resources.alerts == tuple(reversed(world.told))
    assert of(resources, "disk data").level == "ok"
    assert of(resources, "disk data").detail == "800.0 MB left of /data"
    (chart,) = [one for one in resources.history if one.resource == "disk data"]
    assert chart.ratios == (0.5, 0.86, 0.87, 0.96, 0.97, 0.2)
    assert resources.host.memory.rss_bytes > 0


def test_a_short_disk_is_a_finding_with_a_remedy() -> None:
    world = World()
    world.used = 0.96
    world.monitor.tick()
    (finding,) = resource_findings(world.monitor.resources())
    assert (finding.kind, finding.severity) == ("resource_short", "critical")
    assert finding.message == "disk data is 96.0 % used: 40.0 MB left of /data"
    assert "retention" in finding.remedy


def test_samples_come_at_the_interval_not_at_each_tick() -> None:
    world = World(interval_seconds=10)
    for _ in range(11):
        world.pass_time(2)
    (chart,) = [one for one in world.monitor.resources().history if one.resource == "disk data"]
    assert [at - START.timestamp() for at in chart.at] == [2.0, 12.0, 22.0]


def test_the_interval_varies_so_that_processes_drift_apart() -> None:
    world = World(interval_seconds=10)
    jitters = iter([0.0, 0.0, 1.0, 1.0])
    world.monitor._jitter = lambda: next(jitters)
    for _ in range(21):
        world.pass_time(1)
    (chart,) = [one for one in world.monitor.resources().history if one.resource == "disk data"]
    # 10 seconds less a tenth, then a tenth more.
    assert [at - START.timestamp() for at in chart.at] == [1.0, 10.0, 21.0]


def test_a_disk_that_vanishes_keeps_its_level_and_sampling_goes_on() -> None:
    world = World()
    world.used = 0.96
    world.monitor.tick()
    world.fails = FileNotFoundError(2, "No such file or directory")
    world.pass_time(10)
    resources = world.monitor.resources()
    assert [one.reason for one in resources.host.unknowns] == ["/data: No such file or directory"]
    assert [one.resource for one in resources.standings] == ["memory", "open files"]
    world.fails = None
    world.pass_time(10)
    assert of(world.monitor.resources(), "disk data").level == "critical"
    assert len(world.told) == 1
    assert world.faults == []


def test_when_a_disk_will_be_full_is_forecast() -> None:
    world = World(interval_seconds=600)
    for _ in range(100):
        world.used += 0.002
        world.pass_time(661)
    resources = world.monitor.resources()
    (soon,) = resources.forecasts
    assert soon.resource == "disk data"
    assert soon.full.per_day == pytest.approx(0.002 * 86_400 / 661, rel=0.01)
    assert soon.full.in_seconds == pytest.approx(150 * 661, rel=0.02)
    finding = resource_findings(resources)[-1]
    assert finding.kind == "resource_full_soon"
    assert finding.message.startswith("disk data will be full in 28 hours if it grows on")


def test_a_sink_that_fails_is_noted_and_the_others_are_told() -> None:
    failure = RuntimeError("no")

    def fails(_: Alert) -> None:
        raise failure

    world = World()
    world.monitor.sinks = [fails, world.told.append]
    world.used = 0.9
    world.monitor.tick()
    assert world.faults == [failure]
    assert len(world.told) == 1


def test_a_fault_of_the_monitor_does_not_leave_it() -> None:
    world = World()
    failure = RuntimeError("broken")

    def breaks(path: str) -> DiskUsage:
        raise failure

    world.monitor.host.disks._measure = breaks
    world.monitor.tick()
    assert world.faults == [failure]


def test_pools_are_held_against_thresholds_and_their_leaks_logged_once(caplog) -> None:
    caplog.set_level(logging.WARNING, "sa_perf.resources")
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=2, max_overflow=0)
    watch = PoolWatch(engine, database="shop", leak_seconds=0.000_001)
    watch.open()
    world = World()
    world.monitor.add(pool=watch)
    with engine.connect(), engine.connect():
        world.monitor.tick()
        world.pass_time(10)
    assert [(one.resource, one.level) for one in world.told] == [("pool shop", "critical")]
    leaks = [one for one in caplog.messages if "is out of its pool" in one]
    assert len(leaks) == 2
    assert "test_monitor.py" in leaks[0]
    world.monitor.remove(pool=watch)
    assert world.monitor.resources().pools == ()
    watch.close()
    engine.dispose()


def test_a_database_is_asked_at_its_own_interval_and_its_disk_found(sqlite_database) -> None:
    engine = sqlite_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE word (id INTEGER)")
    watch = DatabaseWatch(engine, database="shop")
    world = World(limits={"table word": 4_096, "database shop": 100_000_000})
    world.monitor.add(database=watch)
    world.monitor.tick()
    assert watch.wait(60)
    world.pass_time(10)
    resources = world.monitor.resources()
    assert of(resources, "table word").level == "critical"
    assert of(resources, "database shop").detail == "0.0 MB of 100.0 MB"
    assert resources.databases[0].sizes.tables[0].name == "word"
    first = watch.reading()
    world.pass_time(200)
    assert watch.reading() is first
    world.pass_time(100)
    assert watch.wait(60)
    assert watch.reading() is not first
    # Its folder is a disk by the database's name; here the test's disk measures every path.
    assert world.monitor.resources().host.disks[0].names == ("data", "shop")


def test_a_child_begins_anew() -> None:
    world = World()
    world.used = 0.9
    world.monitor.tick()
    world.monitor._lock.acquire()  # a thread that the child does not have held it
    world.monitor.after_fork()
    assert world.monitor.resources().host is None
    assert world.monitor.resources().alerts == ()
    world.monitor.tick()
    assert world.monitor.resources().host is not None


def test_a_reading_has_a_json_form() -> None:
    world = World()
    world.used = 0.9
    world.monitor.tick()
    resources = world.monitor.resources()
    assert decoded(Resources, encoded(resources)) == resources


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interval_seconds": 0}, "interval_seconds is 0"),
        ({"database_seconds": -1}, "database_seconds is -1"),
        ({"limits": {"word": 5}}, "write 'table NAME'"),
        ({"limits": {"table word": 0}}, "allowed are bytes above 0"),
    ],
)
def test_what_cannot_work_is_refused(options, words) -> None:
    with pytest.raises(InvalidSettings, match=words):
        Monitor(**options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_goes_on_by_itself(sqlite_database) -> None:
    engine = sqlite_database.engine()
    pool, database = PoolWatch(engine, database="shop"), DatabaseWatch(engine, database="shop")
    pool.open()
    world = World()
    world.monitor.add(pool=pool, database=database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE word (id INTEGER)")
    world.monitor.tick()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            world.monitor.after_fork()
            engine.dispose(close=False)
            world.used = 0.9
            world.pass_time(10)
            with engine.connect():
                pass
            answered = database.wait(30) and database.reading().sizes is not None
            resources = world.monitor.resources()
            fits = (resources.host.process.pid, resources.pools[0].checkouts) == (os.getpid(), 1)
            code = 0 if answered and fits and of(resources, "disk data").level == "warning" else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert world.told == []
    assert world.monitor.resources().pools[0].checkouts == 1


def test_a_database_killed_under_the_monitor_is_told_and_the_rest_goes_on(
    postgresql_server,
) -> None:
    with postgresql_server.database("postgresql") as home:
        engine = home.engine()
        pool, database = PoolWatch(engine, database="shop"), DatabaseWatch(engine, database="shop")
        pool.open()
        world = World()
        world.monitor.add(pool=pool, database=database)
        world.monitor.tick()
        assert database.wait(60)
        with engine.connect() as connection:
            postgresql_server.execute(f"DROP DATABASE {home.url.database} WITH (FORCE)")
            with pytest.raises(DBAPIError):
                connection.exec_driver_sql("SELECT 1")
        world.pass_time(400)
        assert database.wait(60)
        world.used = 0.96
        world.pass_time(10)
        resources = world.monitor.resources()
        postgresql_server.execute(f"CREATE DATABASE {home.url.database}")
    assert "does not exist" in resources.databases[0].unknown.reason
    assert resources.databases[0].sizes.max_connections == 97
    assert resources.pools[0].invalidations >= 1
    assert [one.level for one in world.told] == ["critical"]
    assert world.faults == []
