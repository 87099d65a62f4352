"""The monitor: samples, keeps, compares with thresholds, tells.

Has no thread: whoever has one calls `Monitor.tick` now and then, and it does what is due.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone

from sa_perf.errors import InvalidSettings
from sa_perf.resources.databases import DatabaseReading, DatabaseWatch
from sa_perf.resources.forecast import forecast
from sa_perf.resources.history import History
from sa_perf.resources.host import Host
from sa_perf.resources.pools import PoolWatch
from sa_perf.resources.readings import ResourceForecast, Resources, Standing
from sa_perf.resources.results import HostReading, Occupancy
from sa_perf.resources.sinks import Sink, log_alert, tell
from sa_perf.resources.thresholds import Alert, Levels

__all__ = ["Monitor"]

_LOGGER = logging.getLogger("sa_perf.resources")
_MOST_ALERTS = 100
_JITTER = 0.1
#: Kinds of resources that fill up and stay so; the others come and go.
_GROWING = ("disk ", "inodes ", "table ", "database ")


class Monitor:
    """Watches the host, pools and databases.

    One thread calls `tick` or `sample`, any may call `resources`.

    Args:
        host: with its disks.
        pools: to watch; `add` adds more.
        databases: likewise.
        levels: thresholds; by default 85 % and 95 % for everything.
        sinks: called with each `Alert`, quickly.
        limits: bytes that a table or a database may take, by ``"table orders"`` or ``"database
            LABEL"``: such a resource has levels and a forecast as a disk has.
        interval_seconds: between two samples, > 0, within a tenth.
        database_seconds: between two questions to a database, > 0.
        note: told of faults of the monitor itself and of its sinks.
        now: monotonic seconds.
        clock: the same moment as UTC.
        jitter: a number from 0 to 1, for each interval.

    Raises:
        InvalidSettings: an interval or a limit is not above 0, or a limit has no such resource.
    """

    def __init__(
        self,
        *,
        host: Host | None = None,
        pools: Iterable[PoolWatch] = (),
        databases: Iterable[DatabaseWatch] = (),
        levels: Levels | None = None,
        sinks: Sequence[Sink] = (log_alert,),
        limits: Mapping[str, int] | None = None,
        interval_seconds: float = 10.0,
        database_seconds: float = 300.0,
        note: Callable[[str, BaseException], None] | None = None,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        _check(interval_seconds, database_seconds, limits or {})
        self.host = host or Host()
        self.levels = levels or Levels()
        self.sinks = list(sinks)
        self.history = History()
        self._pools, self._databases = list(pools), list(databases)
        self._limits = dict(limits or {})
        self._interval_seconds = interval_seconds
        self._database_seconds = database_seconds
        self._note = note or _log_fault
        self._now, self._clock, self._jitter = now, clock, jitter
        self._due = self._database_due = float("-inf")
        self._reading: HostReading | None = None
        self._occupancies: list[Occupancy] = []
        self._alerts: deque[Alert] = deque(maxlen=_MOST_ALERTS)
        self._begin_anew()

    def add(self, *, pool: PoolWatch | None = None, database: DatabaseWatch | None = None) -> None:
        """Watch one pool or one database more."""
        with self._lock:
            if pool is not None:
                self._pools.append(pool)
            if database is not None:
                self._databases.append(database)

    def remove(
        self, *, pool: PoolWatch | None = None, database: DatabaseWatch | None = None
    ) -> None:
        """Watch a pool or a database no longer."""
        with self._lock:
            self._pools = [one for one in self._pools if one is not pool]
            self._databases = [one for one in self._databases if one is not database]

    def tick(self) -> None:
        """Do what is due; never raises, and takes a millisecond when it samples."""
        try:
            now = self._now()
            if now >= self._database_due:
                self._database_due = now + self._apart(self._database_seconds)
                for database in list(self._databases):
                    database.ask()
            if now >= self._due:
                self._due = now + self._apart(self._interval_seconds)
                self.sample()
        except Exception as error:
            self._note("the monitor of resources", error)

    def sample(self) -> None:
        """Take a sample now, whatever is due."""
        now, at = self._now(), self._clock()
        databases = [one.reading() for one in list(self._databases)]
        for database in databases:
            if database.sizes is not None and database.sizes.folder is not None:
                self.host.disks.add_found(database.database, database.sizes.folder)
        reading = self.host.read()
        pools = [pool.stats(new_peak=True) for pool in list(self._pools)]
        found = [*reading.occupancies()]
        found += [one for pool in pools if (one := pool.occupancy()) is not None]
        found += [one for database in databases for one in database.occupancies()]
        found += self._limited(databases)
        with self._lock:
            self._reading = reading
            self._occupancies = found
        for one in found:
            self.history.add(one.resource, at.timestamp(), one.ratio)
            alert = self.levels.observe(one.resource, one.ratio, now=now, at=at, detail=one.detail)
            if alert is not None:
                self._alerts.appendleft(alert)
                tell(alert, self.sinks, self._note)
        self._tell_leaks()
        with self._lock:
            self._pools = [pool for pool in self._pools if not pool.is_gone]

    def resources(self, *, workers: int = 1) -> Resources:
        """The frozen reading: the last sample, pools as they are now, forecasts, courses.

        Args:
            workers: processes like this one on the same servers, >= 1.
        """
        with self._lock:
            reading, occupancies = self._reading, list(self._occupancies)
            alerts = tuple(self._alerts)
            standings = tuple(self._standing(one) for one in occupancies)
            charts = tuple(self.history.charts())
        return Resources(
            host=reading,
            pools=tuple(pool.stats() for pool in list(self._pools)),
            databases=tuple(one.reading() for one in list(self._databases)),
            standings=standings,
            alerts=alerts,
            forecasts=tuple(self._forecasts(occupancies)),
            history=charts,
            workers=workers,
        )

    def after_fork(self) -> None:
        """Begin anew in a child process."""
        self._begin_anew()
        for pool in self._pools:
            pool.after_fork()
        for database in self._databases:
            database.after_fork()

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._due = self._database_due = float("-inf")
        self._reading, self._occupancies = None, []
        self._alerts.clear()

    def _apart(self, seconds: float) -> float:
        """Processes that were started together are not to sample together."""
        return seconds * (1 - _JITTER + 2 * _JITTER * self._jitter())

    def _limited(self, databases: Iterable[DatabaseReading]) -> list[Occupancy]:
        sizes: dict[str, int] = {}
        for one in databases:
            if one.sizes is None:
                continue
            if one.sizes.total_bytes is not None:
                sizes[f"database {one.database}"] = one.sizes.total_bytes
            for table in one.sizes.tables:
                name = f"table {table.name}"
                sizes[name] = max(table.total_bytes, sizes.get(name, 0))
        return [
            Occupancy(
                resource=name,
                ratio=sizes[name] / limit,
                detail=f"{sizes[name] / 1e6:,.1f} MB of {limit / 1e6:,.1f} MB",
            )
            for name, limit in self._limits.items()
            if name in sizes
        ]

    def _tell_leaks(self) -> None:
        for pool in list(self._pools):
            for leak in pool.new_leaks():
                _LOGGER.warning("%s", leak.message)

    def _standing(self, one: Occupancy) -> Standing:
        return Standing(
            resource=one.resource,
            level=self.levels.level(one.resource),
            ratio=one.ratio,
            since=self.levels.since(one.resource),
            detail=one.detail,
        )

    def _forecasts(self, occupancies: Iterable[Occupancy]) -> Iterable[ResourceForecast]:
        for one in occupancies:
            if one.resource.startswith(_GROWING):
                with self._lock:
                    samples = self.history.samples(one.resource)
                full = forecast(samples, limit=1.0)
                if full is not None:
                    yield ResourceForecast(resource=one.resource, full=full)


def _check(interval_seconds: float, database_seconds: float, limits: Mapping[str, int]) -> None:
    times = {"interval_seconds": interval_seconds, "database_seconds": database_seconds}
    problems = [
        f"{name} is {value!r}; allowed is a number above 0"
        for name, value in times.items()
        if not value > 0
    ]
    for name, limit in limits.items():
        if not name.startswith(("table ", "database ")):
            problems.append(f"limit for {name!r}; write 'table NAME' or 'database LABEL'")
        if not limit > 0:
            problems.append(f"the limit of {name!r} is {limit!r}; allowed are bytes above 0")
    if problems:
        raise InvalidSettings(tuple(problems))


def _log_fault(place: str, error: BaseException) -> None:
    _LOGGER.error("sa_perf failed in %s; the application is not affected", place, exc_info=error)
