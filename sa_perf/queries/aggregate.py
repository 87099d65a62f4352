"""The sums of one statement shape: live ones, and their frozen reading."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sa_perf.histogram import Histogram
from sa_perf.queries.fingerprint import kind_of

if TYPE_CHECKING:
    from sa_perf.queries.fingerprint import Fingerprinter

__all__ = ["OTHER", "Aggregate", "QueryStats"]

#: Fingerprint and statement of the aggregate that holds what was evicted.
OTHER = "other"
_NO_MINIMUM = 1 << 62
_SUMS = ("calls", "errors", "rows", "total_ns", "fetch_ns", "sum_squares")
_RARE_SUMS = (
    "executemany_calls", "insertmanyvalues_calls", "executions", "parameter_sets", "loop_wait_ns",
)  # fmt: skip


class Aggregate:
    """Live sums of one shape on one database. Written only under the statistics' lock."""

    __slots__ = (
        "calls", "database", "errors", "evicted", "fetch_ns", "fingerprinter", "first_seen",
        "histogram", "key", "last_seen", "max_ns", "min_ns", "rare", "rows", "statement",
        "sum_squares", "taken", "total_ns",
    )  # fmt: skip

    def __init__(
        self, key: str, statement: str, database: str, fingerprinter: Fingerprinter | None
    ) -> None:
        self.key = key
        self.statement = statement
        self.database = database
        #: Set for raw texts, whose id is known once sqlglot has read them.
        self.fingerprinter = fingerprinter
        self.evicted = False
        self.reset()

    def reset(self) -> None:
        """Forget all executions."""
        self.calls = self.errors = self.rows = 0
        self.total_ns = self.fetch_ns = self.max_ns = 0
        self.min_ns = _NO_MINIMUM
        self.sum_squares = 0.0
        #: On the perf_counter_ns clock; 0 where nothing was counted.
        self.first_seen = self.last_seen = 0
        self.rare: _Rare | None = None
        self.histogram = Histogram()
        #: Sums as they were when `take` was called last, with the extremes until then.
        self.taken: Aggregate | None = None

    def shortest_ns(self) -> float:
        """Shortest duration; that of the histogram where no result was ever fetched."""
        if self.min_ns != _NO_MINIMUM:
            return self.min_ns
        return min(self.histogram.percentile(0.0), self.max_ns)

    def count(self, whole: bool, ended: int, duration: int, fetch: int, rows: int) -> None:
        """Add an execution.

        Args:
            whole: nothing will be fetched any more; else `count_fetch` follows.
            ended: on the perf_counter_ns clock.
            duration: nanoseconds, fetches included.
            fetch: nanoseconds of its fetches.
            rows: fetched or changed.
        """
        self.calls += 1
        self.rows += rows
        self.total_ns += duration
        self.fetch_ns += fetch
        self.sum_squares += duration * duration
        if duration > self.max_ns:
            self.max_ns = duration
        if duration < self.min_ns and whole:
            self.min_ns = duration
        if not self.first_seen:
            self.first_seen = ended - duration
        self.last_seen = ended
        # Histogram.add() by hand for a bucket that is held: the call would take a quarter.
        histogram = self.histogram
        bits = duration.bit_length()
        if bits > 11:
            index = ((bits - 12) << 5) + (duration >> (bits - 6)) - histogram._first
        else:
            index = (duration >> 6) - histogram._first
        counts = histogram._counts
        if 0 <= index < len(counts) and bits < 41 and counts[index] < 65_535:
            counts[index] += 1
        else:
            histogram.add(duration)

    def count_fetch(self, ended: int, execute: int, fetch: int, rows: int) -> None:
        """Lengthen an execution that was counted with ``execute`` ns by what it fetched."""
        duration = execute + fetch
        self.rows += rows
        self.total_ns += fetch
        self.fetch_ns += fetch
        self.sum_squares += duration * duration - execute * execute
        self.max_ns = max(self.max_ns, duration)
        self.min_ns = min(self.min_ns, duration)
        self.last_seen = max(self.last_seen, ended)
        self.histogram.move(execute, duration)

    def rarities(self) -> _Rare:
        """The counters that few statements have, made when first needed."""
        if self.rare is None:
            self.rare = _Rare()
        return self.rare

    def absorb(self, other: Aggregate) -> None:
        """Add the sums of another aggregate to this one, and what was taken of it."""
        self.add(other)
        if other.taken is not None:
            if self.taken is None:
                self.taken = self._empty_twin()
            self.taken.add(other.taken)

    def add(self, other: Aggregate) -> None:
        """Add the sums of another aggregate to this one."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.widen(other)
        self.first_seen = min(
            self.first_seen or other.first_seen, other.first_seen or self.first_seen
        )
        self.last_seen = max(self.last_seen, other.last_seen)
        self.histogram.merge(other.histogram)
        if other.rare is not None:
            self.rarities().add(other.rare)

    def widen(self, other: Aggregate | None) -> None:
        """Let the extremes hold for another aggregate too."""
        if other is not None:
            self.min_ns = min(self.min_ns, other.min_ns)
            self.max_ns = max(self.max_ns, other.max_ns)

    def take(self, begun: int) -> Aggregate | None:
        """What was counted since the last call; None where nothing was.

        All that is taken adds up to the sums, also where executions were fetched in between: their
        rows and times count when they are known. The extremes are those of the span.

        Args:
            begun: when the last call was, on the records' clock; 0 if there was none.
        """
        taken = self.taken
        if taken is None:
            taken = self._empty_twin()
        if all(getattr(self, name) == getattr(taken, name) for name in _SUMS):
            return None
        since = self._empty_twin()
        for name in _SUMS:
            setattr(since, name, getattr(self, name) - getattr(taken, name))
            setattr(taken, name, getattr(self, name))
        since.sum_squares = max(0.0, since.sum_squares)
        since.widen(self)
        since.last_seen = taken.last_seen = self.last_seen
        since.first_seen = min(max(self.first_seen, begun), self.last_seen)
        since.histogram = self.histogram.since(taken.histogram)
        taken.histogram = self.histogram.copy()
        if self.rare is not None:
            since.rare = self.rare.since(taken.rarities())
            since.rare.last_error = self.rare.last_error if since.errors else None
            taken.rare = self.rare.since(_Rare())
        taken.widen(self)
        self.min_ns, self.max_ns = _NO_MINIMUM, 0
        self.taken = taken
        return since

    def _empty_twin(self) -> Aggregate:
        return Aggregate(self.key, self.statement, self.database, None)

    def frozen(self, datetime_of: Callable[[int], datetime]) -> QueryStats:
        """A reading that shares the histogram, so it is made of an aggregate nobody adds to.

        Args:
            datetime_of: wall-clock time of a moment on the records' clock.
        """
        rare = self.rare or _Rare()
        return QueryStats(
            fingerprint=self.key,
            statement=self.statement,
            database=self.database,
            kind=OTHER if self.key == OTHER else kind_of(self.statement),
            calls=self.calls,
            errors=self.errors,
            rows=self.rows,
            total_seconds=self.total_ns / 1e9,
            min_seconds=self.shortest_ns() / 1e9,
            max_seconds=self.max_ns / 1e9,
            fetch_seconds=self.fetch_ns / 1e9,
            sum_squares=self.sum_squares / 1e18,
            executemany_calls=rare.executemany_calls,
            insertmanyvalues_calls=rare.insertmanyvalues_calls,
            executions=self.calls + rare.executions,
            parameter_sets=self.calls + rare.parameter_sets,
            loop_wait_seconds=rare.loop_wait_ns / 1e9,
            first_seen=datetime_of(self.first_seen),
            last_seen=datetime_of(self.last_seen),
            last_error=rare.last_error,
            histogram=self.histogram,
        )


class _Rare:
    """Counters of batches, errors and event loops; most statements never need them."""

    __slots__ = (
        "executemany_calls", "executions", "insertmanyvalues_calls", "last_error", "loop_wait_ns",
        "parameter_sets",
    )  # fmt: skip

    def __init__(self) -> None:
        self.executemany_calls = self.insertmanyvalues_calls = 0
        #: Cursor executions and parameter sets beyond one a call.
        self.executions = self.parameter_sets = 0
        self.loop_wait_ns = 0
        self.last_error: str | None = None

    def add(self, other: _Rare) -> None:
        for name in _RARE_SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last_error = other.last_error or self.last_error

    def since(self, earlier: _Rare) -> _Rare:
        less = _Rare()
        for name in _RARE_SUMS:
            setattr(less, name, getattr(self, name) - getattr(earlier, name))
        return less


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryStats:
    """What is known of one fingerprint on one database; a frozen reading.

    A duration is the time inside the driver: execute plus fetch. Time that the application spends
    between two fetches is not in it.

    Attributes:
        fingerprint: id of the statement's shape, 16 hexadecimal digits, or ``"other"``.
        statement: the shape: no literals, no comments, lists as ``IN (?)``.
        database: ``Database.label`` of where it ran.
        kind: select, insert, update, delete, ddl, transaction, call, utility or other.
        calls: completed executions, failed ones included; one for each call of SQLAlchemy's
            ``execute``, however many batches it took.
        errors: executions or fetches that raised.
        rows: rows fetched, or changed where the statement returns none.
        total_seconds: sum of the durations.
        min_seconds: shortest duration.
        max_seconds: longest duration.
        fetch_seconds: the part of ``total_seconds`` that was spent fetching rows.
        sum_squares: sum of the squared durations, in seconds squared; makes readings mergeable.
        executemany_calls: calls with many parameter sets through the driver's ``executemany``.
        insertmanyvalues_calls: calls that SQLAlchemy sent as batches of multi-row INSERTs.
        executions: cursor executions; more than ``calls`` where batches were sent.
        parameter_sets: parameter sets sent; more than ``calls`` for many-row statements.
        loop_wait_seconds: part of ``total_seconds`` in which, on an async driver, the event loop
            was busy with something else; a lower bound, see `sa_perf.queries.loop_lag`.
        first_seen: when the first execution was counted, aware UTC.
        last_seen: when the last execution ended, aware UTC.
        last_error: class name of the last exception; None where there was none.
        histogram: durations by bucket.
    """

    fingerprint: str
    statement: str
    database: str
    kind: str
    calls: int
    errors: int
    rows: int
    total_seconds: float
    min_seconds: float
    max_seconds: float
    fetch_seconds: float
    sum_squares: float
    executemany_calls: int = 0
    insertmanyvalues_calls: int = 0
    executions: int
    parameter_sets: int
    loop_wait_seconds: float = 0.0
    first_seen: datetime
    last_seen: datetime
    last_error: str | None = None
    histogram: Histogram = field(repr=False, hash=False)

    @property
    def mean_seconds(self) -> float:
        """Mean duration."""
        return self.total_seconds / self.calls if self.calls else 0.0

    @property
    def stddev_seconds(self) -> float:
        """Standard deviation of the durations (of the population)."""
        if self.calls < 2:
            return 0.0
        mean = self.mean_seconds
        return math.sqrt(max(0.0, self.sum_squares / self.calls - mean * mean))

    @property
    def p50_seconds(self) -> float:
        """Median duration, off by at most 1.6 %."""
        return self.percentile_seconds(0.50)

    @property
    def p95_seconds(self) -> float:
        """95th percentile of the durations, off by at most 1.6 %."""
        return self.percentile_seconds(0.95)

    @property
    def p99_seconds(self) -> float:
        """99th percentile of the durations, off by at most 1.6 %."""
        return self.percentile_seconds(0.99)

    def percentile_seconds(self, ratio: float) -> float:
        """Any percentile; ``ratio`` is 0..1. Never outside min and max."""
        value = self.histogram.percentile(ratio) / 1e9
        return min(max(value, self.min_seconds), self.max_seconds)
