"""The process's one monitor of resources, on the housekeeping thread.

Memory and disks belong to the process, so all instrumentations that ask for resources share it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sa_perf import housekeeping
from sa_perf.errors import NotInstalled
from sa_perf.resources.databases import DatabaseWatch
from sa_perf.resources.monitor import Monitor
from sa_perf.resources.pools import PoolWatch
from sa_perf.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from sa_perf.queries.faults import Faults
    from sa_perf.resources.readings import Resources

__all__ = ["WatchedEngine", "monitor", "resources", "watch"]

_lock = threading.RLock()
_standing: _Housekept | None = None


class _Housekept:
    """The monitor, as the housekeeping thread looks after it."""

    def __init__(self, faults: Faults) -> None:
        self.settings = Settings()
        self.monitor = Monitor(note=faults.note)
        self.engines: list[WatchedEngine] = []

    def housekeep(self) -> None:
        """Do what is due, and let go of engines that are gone."""
        for one in list(self.engines):
            if one.pool.is_gone:
                one.close()
        self.monitor.tick()

    def write_snapshot(self) -> None:
        """Nothing: instrumentations write theirs."""

    def close(self) -> None:
        """Nothing is left to do."""

    def before_fork(self) -> None:
        """Nothing: a question to a database sees to itself."""

    def after_fork(self) -> None:
        """Begin anew in a child process."""
        global _lock
        _lock = threading.RLock()
        self.monitor.after_fork()


class WatchedEngine:
    """The pool and the database of one engine, as the monitor watches them.

    Args:
        engine: whose they are.
        label: of the database.
        settings: of its instrumentation.
        faults: where faults are noted.
    """

    def __init__(self, engine: Engine, label: str, settings: Settings, faults: Faults) -> None:
        self.pool = PoolWatch(
            engine, database=label, leak_seconds=settings.leak_seconds, note=faults.note
        )
        self.database = DatabaseWatch(engine, database=label)
        self.workers = settings.workers
        self.pool.open()

    def close(self) -> None:
        """Watch them no longer; the last one ends the monitor."""
        global _standing
        self.pool.close()
        with _lock:
            if _standing is None or self not in _standing.engines:
                return
            _standing.engines.remove(self)
            _standing.monitor.remove(pool=self.pool, database=self.database)
            if not _standing.engines:
                housekeeping.forget(_standing)
                _standing = None


def watch(engine: Engine, label: str, settings: Settings, faults: Faults) -> WatchedEngine | None:
    """Let the process's monitor watch an engine, where its settings ask for that.

    Args:
        engine: to watch, and the disks of its settings with it.
        label: of the database.
        settings: of its instrumentation.
        faults: where faults are noted.
    """
    global _standing
    if not settings.resources:
        return None
    watched = WatchedEngine(engine, label, settings, faults)
    with _lock:
        if _standing is None:
            _standing = _Housekept(faults)
            housekeeping.keep(_standing)
        for name, path in settings.disk_paths:
            _standing.monitor.host.disks.add(name, path)
        _standing.engines.append(watched)
        _standing.monitor.add(pool=watched.pool, database=watched.database)
    return watched


def monitor() -> Monitor:
    """The process's monitor, e.g. to add a sink for alerts.

    Raises:
        NotInstalled: no instrumentation of this process watches resources.
    """
    standing = _standing
    if standing is None:
        raise NotInstalled(
            "no instrumentation watches resources; call sa_perf.install(engine, resources=True)"
        )
    return standing.monitor


def resources() -> Resources | None:
    """A reading of everything that the process's monitor watches; None where there is none."""
    standing = _standing
    if standing is None:
        return None
    workers = max((one.workers for one in standing.engines), default=1)
    return standing.monitor.resources(workers=workers)
