"""Composition root: install(), Instrumentation, and SQLAlchemy's plugin.

An `Instrumentation` owns the statistics and the slow log; for each engine it has a `Post`:
recorder, listeners, sampler of plans. A post hangs on the engine's dialect and dies with it.

``import sa_perf`` imports this module, so what only an installed instrumentation needs (posts, and
with them everything about plans and snapshots) is imported by the first install.
"""

from __future__ import annotations

import os
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakValueDictionary

from sqlalchemy.engine import CreateEnginePlugin, Engine

from sa_perf import housekeeping
from sa_perf.errors import InvalidSettings, NotInstalled
from sa_perf.queries.faults import Faults
from sa_perf.queries.repeats import Repeats
from sa_perf.queries.scopes import ScopeRun, on_scope_end
from sa_perf.queries.slow_log import SlowLog
from sa_perf.queries.statistics import Statistics
from sa_perf.settings import QUERY_PREFIX, Settings, SettingValue
from sa_perf.targets import Target, engine_of, post_on, shown

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from sa_perf.plans.index_advice import AdviceReport
    from sa_perf.post import Everywhere, Post
    from sa_perf.queries.aggregate import QueryStats
    from sa_perf.queries.slow_log import SlowExecution
    from sa_perf.snapshot import Health, Snapshot
    from sa_perf.store.flushing import Flusher

__all__ = ["Instrumentation", "SaPerfPlugin", "install", "instrumentation", "living"]

T = TypeVar("T")

#: sqlglot's reading of raw texts holds the interpreter, so it is rationed.
_READING_SECONDS_A_TICK = 0.05
_READING_SECONDS_A_SNAPSHOT = 0.5
#: How long the end of the process, or a fork, waits for the store.
_LAST_FLUSH_SECONDS = 5.0
#: By identity. A WeakSet cannot be read while another thread adds to it; see `_alive`.
_living: WeakValueDictionary[int, Instrumentation] = WeakValueDictionary()
_everywhere: list[Instrumentation] = []
#: Two threads that install on one engine at once are to get one instrumentation.
_installing = threading.RLock()


def install(engine: Target, **settings: SettingValue) -> Instrumentation:
    """Record every statement of an engine.

    Installing again with the same settings, or with none, gives the instrumentation that is there.

    Args:
        engine: an Engine, an AsyncEngine, or the class ``Engine`` for all engines of the process.
        **settings: see `sa_perf.settings.Settings`; what is not given comes from the environment.

    Returns:
        What records; ``uninstall()`` takes it away again.

    Raises:
        InvalidSettings: a setting is unknown or not allowed, or differs from what is installed.

    Example:
        >>> from sqlalchemy import create_engine
        >>> perf = install(create_engine("sqlite://"), slow_seconds=0.2)
        >>> perf.snapshot().calls
        0
        >>> perf.uninstall()
    """
    wanted = Settings.load(settings)
    with _installing:
        existing = _installed(engine)
        if (
            existing is None
            or existing.gives_way
            or (settings and existing.everywhere and not isinstance(engine, type))
        ):
            return Instrumentation(engine, wanted)
    differing = existing.settings.differences(wanted) if settings else ()
    differing = tuple(name for name in differing if name in settings)
    if differing:
        names = ", ".join(f"{name}={getattr(existing.settings, name)!r}" for name in differing)
        message = f"already installed with {names}; call its uninstall() before you install anew"
        raise InvalidSettings((message,))
    return existing


def instrumentation(engine: Target) -> Instrumentation:
    """The instrumentation that stands on an engine, e.g. the one that the plugin installed.

    Raises:
        NotInstalled: there is none.
    """
    existing = _installed(engine)
    if existing is None:
        message = (
            f"sa_perf is not installed on {shown(engine)}; call sa_perf.install(engine) or put "
            "?plugin=sa_perf into its URL"
        )
        raise NotInstalled(message)
    return existing


def living() -> list[Instrumentation]:
    """All instrumentations that record in this process."""
    return _alive(_living)


class SaPerfPlugin(CreateEnginePlugin):
    """SQLAlchemy's way in: ``?plugin=sa_perf`` or ``create_engine(url, plugins=["sa_perf"])``.

    Settings come as ``sa_perf_...`` in the URL's query or as keyword arguments of
    ``create_engine``; none of them reaches the driver.
    """

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        ours = [name for name in kwargs if name.startswith(QUERY_PREFIX)]
        arguments = {name[len(QUERY_PREFIX) :]: kwargs.pop(name) for name in ours}
        self._settings = Settings.load(arguments, query=url.query)

    def update_url(self, url: URL) -> URL:
        """Take our arguments out of the URL."""
        return url.difference_update_query(
            [name for name in url.query if name.startswith(QUERY_PREFIX)]
        )

    def engine_created(self, engine: Engine) -> None:
        """Install on the new engine; a plugin that is named twice installs once."""
        with _installing:
            standing = post_on(engine.dialect)
            if standing is None or getattr(standing.owner, "gives_way", False):
                Instrumentation(engine, self._settings)


class Instrumentation:
    """What records the statements of one engine, or of all engines of the process.

    Made by `install` or by the plugin. Thread-safe.

    Attributes:
        settings: in force.
        everywhere: whether it stands on all engines that have no instrumentation of their own.
        gives_way: whether it leaves to any other one: a test's, to the application's.
        statistics: live sums; for readings use `snapshot`.
        slow_log: live ring; for readings use `snapshot`.
        faults: of sa_perf's own listeners and threads.
    """

    def __init__(self, engine: Target, settings: Settings, *, gives_way: bool = False) -> None:
        self.settings = settings
        self.gives_way = gives_way
        self.everywhere = False
        self.faults = Faults()
        repeats = Repeats(
            settings.n_plus_one_threshold, settings.n_plus_one_ignored, faults=self.faults
        )
        self.statistics = Statistics(settings.max_fingerprints, repeats=repeats)
        self.slow_log = SlowLog(settings.slow_log_size, log=settings.log_slow)
        self._started_at = _utc_now()
        self._posts: WeakValueDictionary[int, Post] = WeakValueDictionary()
        self._discovery: Everywhere | None = None
        self._lock = threading.RLock()
        self._write_failures = 0
        self._advice: dict[str, AdviceReport] = {}
        self._installed = True
        self._flusher: Flusher | None = None
        if settings.store is not None:
            from sa_perf.storing import flusher_for

            one = None if isinstance(engine, type) else engine_of(engine)
            self._flusher = flusher_for(settings, one, self._take, self.faults)
        if isinstance(engine, type):
            from sa_perf.post import Everywhere

            self.everywhere = True
            self._discovery = Everywhere(self._adopt)
            self._discovery.open()
            _everywhere.append(self)
        else:
            self._adopt(engine_of(engine))
        _living[id(self)] = self
        housekeeping.keep(self)

    @property
    def installed(self) -> bool:
        """Whether it records."""
        return self._installed

    def snapshot(self) -> Snapshot:
        """A frozen reading of everything. O(fingerprints), about 20 us each.

        Raw texts that nobody has read yet are given half a second.
        """
        self.fold()
        self.statistics.read_raw_shapes(_READING_SECONDS_A_SNAPSHOT)
        return self._reading(self.statistics.stats(), self.slow_log.executions(self.statistics))

    def _reading(
        self, queries: tuple[QueryStats, ...], slow: tuple[SlowExecution, ...]
    ) -> Snapshot:
        from sa_perf.post import reading_of

        return reading_of(
            _alive(self._posts),
            self.statistics,
            self.settings,
            started_at=self._started_at,
            queries=queries,
            slow=slow,
            advice=tuple(self._advice.values()),
            health=self._health(),
            store=None if self._flusher is None else self._flusher.health(),
        )

    def _take(self) -> Snapshot:
        """What was recorded since the last call, for the store; the rest as it is now."""
        self.fold()
        self.statistics.read_raw_shapes(_READING_SECONDS_A_TICK)
        return self._reading(self.statistics.take(), self.slow_log.take(self.statistics))

    def flush(self, timeout_seconds: float = 30.0) -> bool:
        """Send what was recorded since the last flush to the store, as is done by itself too.

        Returns:
            Whether all of it is stored, within the time; True where there is no store.
        """
        return self._flusher is None or self._flusher.flush(timeout_seconds)

    def _health(self) -> Health:
        from sa_perf.snapshot import Health

        return Health(
            faults=self.faults.count,
            last_fault=self.faults.last,
            evicted_fingerprints=self.statistics.evicted,
            write_failures=self._write_failures,
            dropped_repeats=self.statistics.repeats.dropped,
        )

    def reset(self) -> None:
        """Forget everything recorded so far; plans are kept, and the store gets it all."""
        if self._flusher is not None:
            self._flusher.reset()
        self._forget()

    def _forget(self) -> None:
        self.statistics.clear()
        self.slow_log.clear()
        for post in _alive(self._posts):
            post.recorder.connection_errors = 0
        self._started_at = _utc_now()

    def fold(self) -> None:
        """Bring the sums up to date with what has been recorded."""
        for post in _alive(self._posts):
            post.check_door()
        self.statistics.fold(wait=True)

    def advise(self, *, limit: int = 200, least_speedup: float = 2.0) -> tuple[AdviceReport, ...]:
        """Say which indexes would help what was recorded; `snapshot` shows it from then on.

        Asks each database for some seconds, as `sa_perf.plans.index_advice.advise` does, which
        tells of the arguments and errors. Not for the thread of an event loop.
        """
        snapshot = self.snapshot()
        for post in _alive(self._posts):
            workload = snapshot.workload(post.label)
            report = post.advise(workload, limit=limit, least_speedup=least_speedup)
            if report is not None:
                self._advice[post.label] = report
        return tuple(self._advice.values())

    def wait_for_plans(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until the slow statements seen so far are explained.

        Returns:
            Whether all of them were, within the time.
        """
        return all([post.sampler.drain(timeout_seconds) for post in _alive(self._posts)])

    def uninstall(self) -> None:
        """Take every listener away; what was recorded can still be read."""
        with self._lock:
            if not self._installed:
                return
            self._installed = False
            if self._discovery is not None:
                self._discovery.close()
                _everywhere.remove(self)
            for post in _alive(self._posts):
                post.leave()
            _living.pop(id(self), None)
            housekeeping.forget(self)

    def write_snapshot(self) -> None:
        """Write a snapshot to ``settings.snapshot_path``, if one is set; failures are counted."""
        path = self.settings.snapshot_path
        if path is None:
            return
        try:
            self.snapshot().write(path.replace("{pid}", str(os.getpid())))
        except Exception as error:
            self._write_failures += 1
            self.faults.note("writing the snapshot", error)

    def housekeep(self) -> None:
        """Fold, and let sqlglot read new raw texts; called now and then by a thread."""
        try:
            self.fold()
            self.statistics.read_raw_shapes(_READING_SECONDS_A_TICK)
            if self._flusher is not None:
                self._flusher.tick()
        except Exception as error:
            self.faults.note("housekeeping", error)

    def close(self) -> None:
        """Send and write what is left to the store and to a file; failures are counted."""
        self.write_snapshot()
        try:
            self.flush(_LAST_FLUSH_SECONDS)
        except Exception as error:
            self.faults.note("the last flush", error)

    def before_fork(self) -> None:
        """Wait for a flush under way."""
        if self._flusher is not None:
            self._flusher.before_fork(_LAST_FLUSH_SECONDS)

    def after_fork(self) -> None:
        """Begin anew in a child process; the parent keeps what was recorded."""
        self._lock = threading.RLock()
        self.statistics.lock = threading.Lock()
        for post in _alive(self._posts):
            post.after_fork()
        self._forget()
        if self._flusher is not None:
            self._flusher.after_fork()

    def scope_ended(self, run: ScopeRun) -> None:
        """Count the end of a scope's run."""
        self.statistics.pending.append(run)

    def _adopt(self, engine: Engine) -> Post | None:
        """Put a post on an engine; None where another instrumentation has one there."""
        from sa_perf.post import Post

        with self._lock:
            standing = post_on(engine.dialect)
            if standing is not None:
                if self.everywhere and not getattr(standing.owner, "gives_way", False):
                    return None
                standing.leave()
            post = Post(engine, self, self.settings, self.statistics, self.slow_log, self.faults)
            self._posts[id(post)] = post
            return post


def _alive(ones: WeakValueDictionary[int, T]) -> list[T]:
    """Those that are not gone, as they are now; other threads may add meanwhile."""
    return [one for reference in ones.valuerefs() if (one := reference()) is not None]


def _installed(engine: Target) -> Instrumentation | None:
    if isinstance(engine, type):
        return _everywhere[-1] if _everywhere else None
    post = post_on(engine_of(engine).dialect)
    if post is not None:
        return cast("Instrumentation", post.owner)
    return _everywhere[-1] if _everywhere else None


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


def _scope_ended(run: ScopeRun) -> None:
    for one in _alive(_living):
        one.scope_ended(run)


on_scope_end(_scope_ended)


def _start_anew_in_child() -> None:
    global _installing
    _installing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
