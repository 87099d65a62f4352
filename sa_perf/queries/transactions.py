"""Commits, rollbacks and how long transactions stay open.

Dialect methods are wrapped on the instance, because listening to the engine's begin and commit
events would turn on event dispatch for every statement. The rollback that a pool sends when a
connection comes back is no transaction of the application and is not counted, and nothing is in
autocommit mode, where SQLAlchemy begins and ends what the database never sees.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.engine import Connection

from sa_perf.histogram import Histogram

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.pool import PoolProxiedConnection

__all__ = ["TransactionStats", "Transactions", "mark_begun", "unwrap", "wrap"]

_BEGUN = "sa_perf.transaction_began_ns"
_WATCH = "_sa_perf_transactions"
_BEGINNINGS = ("do_begin", "do_begin_twophase")
#: Methods that end a transaction, and whether they commit it.
_ENDS = {
    "do_commit": True,
    "do_rollback": False,
    "do_commit_twophase": True,
    "do_rollback_twophase": False,
}
_Method: TypeAlias = "Callable[..., None]"
_Target: TypeAlias = "Connection | PoolProxiedConnection"
_BATCH = 256
_clock = time.perf_counter_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStats:
    """How transactions ended and how long they were open; a frozen reading.

    Attributes:
        commits: transactions committed.
        rollbacks: transactions rolled back by the application or by an error.
        total_seconds: sum of the times from begin to commit or rollback.
        max_seconds: longest of them.
        histogram: their lengths by bucket.
    """

    commits: int = 0
    rollbacks: int = 0
    total_seconds: float = 0.0
    max_seconds: float = 0.0
    histogram: Histogram = field(default_factory=Histogram, repr=False, hash=False)

    @property
    def p95_seconds(self) -> float:
        """95th percentile of the lengths, off by at most 1.6 %."""
        return min(self.histogram.percentile(0.95) / 1e9, self.max_seconds)


class Transactions:
    """Live sums of one instrumentation; exact under threads (ends are queued, then folded)."""

    def __init__(self) -> None:
        self._ends: deque[tuple[bool, int]] = deque()
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._ends.clear()
        self._commits = self._rollbacks = self._total_ns = self._max_ns = 0
        self._histogram = Histogram()

    def ended(self, *, committed: bool, duration_ns: int) -> bool:
        """Count an end. Returns whether it is time to fold."""
        self._ends.append((committed, duration_ns))
        return len(self._ends) >= _BATCH

    def fold(self) -> None:
        """Add the queued ends to the sums; the caller holds the statistics' lock."""
        for _ in range(len(self._ends)):
            committed, duration = self._ends.popleft()
            if committed:
                self._commits += 1
            else:
                self._rollbacks += 1
            self._total_ns += duration
            self._max_ns = max(self._max_ns, duration)
            self._histogram.add(duration)

    def stats(self) -> TransactionStats:
        """A frozen reading of what is folded; the caller holds the statistics' lock."""
        return TransactionStats(
            commits=self._commits,
            rollbacks=self._rollbacks,
            total_seconds=self._total_ns / 1e9,
            max_seconds=self._max_ns / 1e9,
            histogram=self._histogram.copy(),
        )


def wrap(dialect: Dialect, ended: Callable[[bool, int], None]) -> None:
    """Report each transaction of a dialect's connections to ``ended(committed, ns)``.

    Replaces methods on the dialect instance; `unwrap` takes them away again.
    """
    watch = _Watch(ended)
    for name in _BEGINNINGS:
        _replace(dialect, name, watch, _beginning(getattr(dialect, name), dialect))
    for name, committed in _ENDS.items():
        _replace(dialect, name, watch, _end(getattr(dialect, name), watch, committed=committed))
    setattr(dialect, _WATCH, watch)


def unwrap(dialect: Dialect, ended: Callable[[bool, int], None]) -> None:
    """Take the wrappers of `wrap` away.

    Those that somebody has wrapped in turn stay, but report nothing any more.
    """
    watch = vars(dialect).get(_WATCH)
    if not isinstance(watch, _Watch) or watch.ended != ended:
        return
    watch.ended = None
    delattr(dialect, _WATCH)
    for name in (*_BEGINNINGS, *_ENDS):
        standing = vars(dialect).get(name)
        if getattr(standing, "sa_perf_watch", None) != watch:
            continue
        delattr(dialect, name)
        if name in watch.replaced:
            setattr(dialect, name, watch.replaced[name])


def mark_begun(connection: _Target, dialect: Dialect) -> None:
    """Note that a transaction begins now on a connection, unless each statement commits itself."""
    with suppress(Exception):
        if isinstance(connection, Connection) or not _commits_itself(connection, dialect):
            _info_of(connection)[_BEGUN] = _clock()


class _Watch:
    """What stands on one dialect.

    Attributes:
        ended: to be told of each transaction; None when nobody wants to know any more.
        replaced: wrappers that others had put on the dialect before, by the method's name.
    """

    __slots__ = ("ended", "replaced")

    def __init__(self, ended: Callable[[bool, int], None]) -> None:
        self.ended: Callable[[bool, int], None] | None = ended
        self.replaced: dict[str, object] = {}


def _replace(dialect: Dialect, name: str, watch: _Watch, function: _Method) -> None:
    if name in vars(dialect):
        watch.replaced[name] = vars(dialect)[name]
    function.sa_perf_watch = watch  # type: ignore[attr-defined]  # how unwrap knows its own
    setattr(dialect, name, function)


def _beginning(begin: _Method, dialect: Dialect) -> _Method:
    def do_begin(connection: _Target, *arguments: object) -> None:
        begin(connection, *arguments)
        mark_begun(connection, dialect)

    return do_begin


def _end(method: _Method, watch: _Watch, *, committed: bool) -> _Method:
    def do_end(connection: _Target, *arguments: object, **options: object) -> None:
        info: dict[Any, Any] = {}
        began: int | None = None
        if watch.ended is not None:
            # Taken first: a two-phase end may call a simple one, and is to be counted once.
            with suppress(Exception):
                info = _info_of(connection)
                began = info.pop(_BEGUN, None)
        try:
            method(connection, *arguments, **options)
        except BaseException:
            if began is not None:
                info[_BEGUN] = began
            raise
        if began is not None and watch.ended is not None:
            with suppress(Exception):
                watch.ended(committed, _clock() - began)

    return do_end


def _info_of(connection: _Target) -> dict[Any, Any]:
    """What lives as long as a driver's connection; two-phase methods are given SQLAlchemy's."""
    proxy = connection.connection if isinstance(connection, Connection) else connection
    return proxy.info


def _commits_itself(connection: PoolProxiedConnection, dialect: Dialect) -> bool:
    """Whether there is no transaction, though SQLAlchemy begins and ends one."""
    raw = connection.dbapi_connection
    try:
        alone = raw is not None and dialect.detect_autocommit_setting(raw)
    except (AttributeError, NotImplementedError):
        # SQLAlchemy before 2.0.43, or a dialect of somebody else.
        return False
    # Python's sqlite3 may be told to leave BEGIN to a listener of the application, which has come.
    return alone and not getattr(connection.driver_connection, "in_transaction", False)
