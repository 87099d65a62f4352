"""Commits, rollbacks and how long transactions stay open.

Dialect methods are wrapped on the instance, because listening to the engine's begin and commit
events would turn on event dispatch for every statement. The rollback that a pool sends when a
connection comes back is no transaction of the application and is not counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sa_perf.queries.histogram import Histogram

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.pool import PoolProxiedConnection

__all__ = ["TransactionStats", "Transactions", "mark_begun", "unwrap", "wrap"]

_BEGUN = "sa_perf.transaction_began_ns"
_WRAPPED = ("do_begin", "do_commit", "do_rollback")
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

    Replaces three methods on the dialect instance; `unwrap` takes them away again.
    """
    begin, commit, rollback = (getattr(dialect, name) for name in _WRAPPED)

    def do_begin(dbapi_connection: PoolProxiedConnection) -> None:
        begin(dbapi_connection)
        mark_begun(dbapi_connection)

    def do_commit(dbapi_connection: PoolProxiedConnection) -> None:
        commit(dbapi_connection)
        _report(dbapi_connection, ended, committed=True)

    def do_rollback(dbapi_connection: PoolProxiedConnection) -> None:
        rollback(dbapi_connection)
        _report(dbapi_connection, ended, committed=False)

    for name, function in zip(_WRAPPED, (do_begin, do_commit, do_rollback), strict=True):
        function.sa_perf_ended = ended  # type: ignore[attr-defined]  # how unwrap knows its own
        setattr(dialect, name, function)


def unwrap(dialect: Dialect, ended: Callable[[bool, int], None]) -> None:
    """Take the wrappers of `wrap` away, unless somebody has wrapped them in turn."""
    for name in _WRAPPED:
        if getattr(dialect.__dict__.get(name), "sa_perf_ended", None) == ended:
            delattr(dialect, name)


def mark_begun(dbapi_connection: PoolProxiedConnection) -> None:
    """Note that a transaction begins now on a connection."""
    with suppress(Exception):
        dbapi_connection.info[_BEGUN] = _clock()


def _report(
    dbapi_connection: PoolProxiedConnection, ended: Callable[[bool, int], None], *, committed: bool
) -> None:
    with suppress(Exception):
        began = dbapi_connection.info.pop(_BEGUN, None)
        if began is not None:
            ended(committed, _clock() - began)
