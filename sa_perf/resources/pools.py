"""Connection pools: occupancy, waits, timeouts, ages, leaks.

SQLAlchemy has no event before a checkout waits, so the methods that each pool class overrides to
hand out and take back connections are covered on the pool itself (``_do_get``, ``_do_return_conn``,
``_create_connection``), and ``recreate``, by which ``Engine.dispose()`` gets a new pool. Sync and
async pools alike.

A checkout and checkin cost 1.7 us more; see tests/benchmarks/pool_checkout.py. Thread-safe. Nothing
on their way takes a lock that another thread may hold for long.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary, ref

from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sa_perf.call_site import Line, NearestLine
from sa_perf.histogram import Histogram
from sa_perf.resources.pool_results import Holder, Leak, PoolStats

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["PoolWatch"]

#: A connection that is out: when it was taken, by which line. A class of its own costs 0.2 us.
_Taken: TypeAlias = "tuple[int, Line | None]"
#: A pool or a connection's record: what is used of them has no public type.
_Inner: TypeAlias = Any

_COVERED = (
    "_do_get", "_do_return_conn", "_create_connection", "recreate", "_sa_perf_first",
    "_sa_perf_watch",
)  # fmt: skip
_MOST_PENDING = 4_096
_MOST_LEAKS = 20
_TRIES = 100
_MOST_OPENED = 1_000
_NANOSECONDS = 1_000_000_000


class PoolWatch:
    """Watches the pool of an engine, and the pools that follow it.

    Args:
        engine: whose pool; an AsyncEngine has the same kind of pool.
        database: label for messages.
        leak_seconds: a connection out for longer is reported, > 0.
        clock: nanoseconds that never go back.
        note: told of faults of this watch itself, which never reach the application.

    Example:
        >>> from sqlalchemy import create_engine
        >>> from sqlalchemy.pool import QueuePool
        >>> engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=2, max_overflow=1)
        >>> watch = PoolWatch(engine, database="orders")
        >>> watch.open()
        >>> with engine.connect():
        ...     stats = watch.stats()
        >>> stats.checked_out, stats.limit, stats.checkouts
        (1, 3, 1)
        >>> watch.close()
    """

    _reported: set[tuple[int, int]]

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        *,
        database: str,
        leak_seconds: float = 60.0,
        clock: Callable[[], int] = time.perf_counter_ns,
        note: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        self.database = database
        self.leak_seconds = leak_seconds
        pool: _Inner = getattr(engine, "sync_engine", engine).pool
        # Weak: a pool's listeners hold its engine, and a monitor is to hold neither.
        self._pool_ref: ref[_Inner] = ref(pool)
        self._kind = type(pool).__name__
        self._clock = clock
        self._note = note or (lambda place, error: None)
        self._nearest_line = NearestLine()
        self._is_open = False
        self._begin_anew()

    def open(self) -> None:
        """Begin to watch; without effect where somebody watches the pool already."""
        pool = self._pool_ref()
        if self._is_open or pool is None or getattr(pool, "_sa_perf_watch", None) is not None:
            return
        self._is_open = True
        event.listen(pool, "invalidate", self._invalidated)
        event.listen(pool, "soft_invalidate", self._invalidated)
        self._cover(pool, first=pool)

    def close(self) -> None:
        """Leave the pool as it was; what was counted can still be read."""
        if not self._is_open:
            return
        self._is_open = False
        pool = self._pool_ref()
        if pool is None:
            return
        # By the pool that they were given to; those that followed it got them from there.
        event.remove(pool._sa_perf_first, "invalidate", self._invalidated)
        event.remove(pool._sa_perf_first, "soft_invalidate", self._invalidated)
        self._uncover(pool)

    @property
    def is_gone(self) -> bool:
        """Whether the pool is, with its engine."""
        return self._pool_ref() is None

    def after_fork(self) -> None:
        """Begin anew in a child: what is out there, the parent has out."""
        self._begin_anew()
        pool = self._pool_ref()
        if self._is_open and pool is not None:
            first = pool._sa_perf_first
            self._uncover(pool)
            self._cover(pool, first=first)

    def stats(self, *, new_peak: bool = False) -> PoolStats:
        """The frozen reading; O(connections out).

        Args:
            new_peak: look for the most connections at once anew, from now on.
        """
        self.fold()
        pool: _Inner = self._pool_ref()
        now = self._clock()
        with self._lock:
            waits, openings = self._waits.copy(), self._openings.copy()
            peak = self._peak[0]
            if new_peak:
                self._peak[0] = 0
        size, limit = _size(pool)
        out = self._checked_out(pool)
        ages = self._ages(pool)
        return PoolStats(
            database=self.database,
            kind=self._kind,
            size=size,
            limit=limit,
            checked_out=out,
            idle=pool.checkedin() if hasattr(pool, "checkedin") else None,
            overflow=max(0, pool.overflow()) if hasattr(pool, "overflow") else 0,
            peak_checked_out=max(peak, out),
            checkouts=waits.total() - self._timeouts,
            timeouts=self._timeouts,
            failures=self._failures,
            opened=openings.total(),
            invalidations=self._invalidations,
            oldest_seconds=max(ages, default=None),
            mean_age_seconds=sum(ages) / len(ages) if ages else None,
            waits=waits,
            openings=openings,
            leaks=tuple(self._leak(one, now) for _, one in self._overdue(now)[:_MOST_LEAKS]),
            leaked=self._leaked,
            timeout_held_by=self._timeout_held_by,
        )

    def new_leaks(self) -> list[Leak]:
        """Connections that are out for too long and were not returned by this before."""
        now = self._clock()
        overdue = self._overdue(now)
        with self._lock:
            fresh = [one for key, one in overdue if (key, one[0]) not in self._reported]
            self._reported = {(key, one[0]) for key, one in overdue}
            self._leaked += len(fresh)
        return [self._leak(one, now) for one in fresh]

    def fold(self, *, wait: bool = True) -> None:
        """Bring the histograms up to date.

        Args:
            wait: for another thread that does the same.
        """
        if not self._lock.acquire(blocking=wait):
            return
        try:
            for pending, histogram in (
                (self._pending_waits, self._waits),
                (self._pending_openings, self._openings),
            ):
                while pending:
                    histogram.add(pending.popleft())
        finally:
            self._lock.release()

    def _begin_anew(self) -> None:
        # Reentrant: a finalizer of the application's may run in the midst of a reading.
        self._lock = threading.RLock()
        self._pending_waits: deque[int] = deque()
        self._pending_openings: deque[int] = deque()
        self._waits, self._openings = Histogram(), Histogram()
        self._timeouts = self._failures = self._invalidations = self._leaked = 0
        self._timeout_held_by: tuple[Holder, ...] = ()
        self._reported = set()
        self._peak = [0]
        #: Of each pool that was covered, newest last: connections out by their record's identity.
        self._outs: list[dict[int, _Taken]] = []
        self._records: WeakValueDictionary[int, _Inner] = WeakValueDictionary()

    def _cover(self, pool: _Inner, *, first: _Inner) -> None:
        """Put our methods over the pool's own."""
        out: dict[int, _Taken] = {}
        self._outs = [one for one in self._outs if one] + [out]
        self._pool_ref = ref(pool)
        pool._sa_perf_watch, pool._sa_perf_first = self, first
        opened: dict[int, tuple[int, int]] = {}
        pool._do_get = self._covered_get(pool._do_get, out, opened)
        pool._do_return_conn = _covered_return(pool._do_return_conn, out)
        pool._create_connection = partial(self._create, pool._create_connection, opened)
        pool.recreate = partial(self._recreate, pool.recreate, first)

    def _uncover(self, pool: _Inner) -> None:
        for name in _COVERED:
            pool.__dict__.pop(name, None)

    def _covered_get(
        self, get: Callable[[], _Inner], out: dict[int, _Taken], opened: dict[int, tuple[int, int]]
    ) -> Callable[[], _Inner]:
        clock, find, pending, peak = (
            self._clock, self._nearest_line.find, self._pending_waits, self._peak,
        )  # fmt: skip

        def do_get() -> _Inner:
            started = clock()
            try:
                record = get()
            except BaseException as error:
                self._failed(error, clock() - started, out)
                raise
            try:
                ended = clock()
                key = id(record)
                before = out.get(key)
                # A QueuePool that was overtaken by another thread calls itself again.
                if before is None or before[0] < started:
                    waited = ended - started
                    if opened:
                        waited -= self._opened(opened, record, started)
                    pending.append(waited)
                    if len(pending) > _MOST_PENDING:
                        self.fold(wait=False)
                    out[key] = (ended, find())
                    if len(out) > peak[0]:
                        peak[0] = len(out)
            except Exception as error:
                self._note("watching a pool", error)
            return record

        return do_get

    def _create(self, create: Callable[[], _Inner], opened: dict[int, tuple[int, int]]) -> _Inner:
        started = self._clock()
        record = create()
        if len(opened) > _MOST_OPENED:
            opened.clear()
        opened[id(record)] = started, self._clock() - started
        return record

    def _opened(self, opened: dict[int, tuple[int, int]], record: _Inner, since: int) -> int:
        """How long a checkout took to open its connection; 0 where it was open.

        Others open connections beside the pool: the sampler of plans does.
        """
        started, took = opened.pop(id(record), (since - 1, 0))
        if started < since:
            return 0
        self._pending_openings.append(took)
        self._records[id(record)] = record
        return took

    def _recreate(self, recreate: Callable[[], _Inner], first: _Inner) -> _Inner:
        pool = recreate()
        if self._is_open:
            self._cover(pool, first=first)
        return pool

    def _failed(self, error: BaseException, waited: int, out: dict[int, _Taken]) -> None:
        if getattr(error, "_sa_perf_counted", False):  # of a call within a call
            return
        try:
            error._sa_perf_counted = True  # type: ignore[attr-defined]  # ours
            if not isinstance(error, PoolTimeout):
                with self._lock:
                    self._failures += 1
                return
            self._pending_waits.append(waited)
            held_by = self._holders(out)
            with self._lock:
                self._timeouts += 1
                self._timeout_held_by = held_by
        except Exception as fault:
            self._note("watching a pool", fault)

    def _invalidated(self, *_: object) -> None:
        with self._lock:
            self._invalidations += 1

    def _holders(self, out: dict[int, _Taken]) -> tuple[Holder, ...]:
        now = self._clock()
        by_line: dict[Line | None, list[int]] = {}
        for at, line in _copied(out).values():
            by_line.setdefault(line, []).append(now - at)
        return tuple(
            Holder(
                call_site=None if line is None else line.call_site(),
                connections=len(ages),
                longest_seconds=max(ages) / _NANOSECONDS,
            )
            for line, ages in sorted(by_line.items(), key=lambda item: -len(item[1]))[:5]
        )

    def _overdue(self, now: int) -> list[tuple[int, _Taken]]:
        limit = now - int(self.leak_seconds * _NANOSECONDS)
        found = [item for out in self._outs for item in _copied(out).items() if item[1][0] <= limit]
        return sorted(found, key=lambda item: item[1][0])

    def _leak(self, one: _Taken, now: int) -> Leak:
        at, line = one
        held = (now - at) / _NANOSECONDS
        return Leak(
            database=self.database,
            held_seconds=held,
            taken_at=datetime.now(timezone.utc) - timedelta(seconds=held),
            call_site=None if line is None else line.call_site(),
        )

    def _checked_out(self, pool: _Inner) -> int:
        if hasattr(pool, "checkedout"):
            return int(pool.checkedout())
        return len(self._outs[-1]) if self._outs else 0

    def _ages(self, pool: _Inner) -> list[float]:
        records = [one for ref in self._records.valuerefs() if (one := ref()) is not None]
        if pool is not None and "connection" in pool.__dict__:  # a StaticPool's only one
            records.append(pool.__dict__["connection"])
        now = time.time()
        return [
            max(0.0, now - one.starttime) for one in records if one.dbapi_connection is not None
        ]


def _covered_return(
    give_back: Callable[[_Inner], None], out: dict[int, _Taken]
) -> Callable[[_Inner], None]:
    taken = out.pop

    def do_return_conn(record: _Inner) -> None:
        taken(id(record), None)
        give_back(record)

    return do_return_conn


def _copied(out: dict[int, _Taken]) -> dict[int, _Taken]:
    """A copy, although other threads, and finalizers in this one, change what is copied."""
    for _ in range(_TRIES):
        try:
            return dict(out)
        except RuntimeError:
            continue
    return {}


def _size(pool: _Inner) -> tuple[int | None, int | None]:
    """Connections that a pool keeps, and that it opens at most."""
    size = getattr(pool, "size", None)
    if callable(size) and hasattr(pool, "_max_overflow"):
        kept = int(size())
        most = kept + pool._max_overflow if pool._max_overflow >= 0 else None
        return kept, most
    return None, None
