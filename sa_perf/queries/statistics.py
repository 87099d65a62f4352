"""All aggregates of one instrumentation: bounded, exact in total.

The recorder appends small tuples to a queue (an atomic operation, no lock), and `Statistics.fold`
adds the queue's content to the aggregates, in batches, under the one lock of this room. Beyond
``capacity`` shapes the ones with the least total time move into an aggregate "other", so totals
stay exact whatever happens.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sa_perf.queries.aggregate import OTHER, Aggregate, QueryStats
from sa_perf.queries.execution import COUNTED, OPEN, Execution
from sa_perf.queries.fingerprint import fingerprint_of
from sa_perf.queries.over_eager import EagerLoads, EagerLoadStats
from sa_perf.queries.repeats import Repeats, RepeatStats
from sa_perf.queries.scope_statistics import ScopeStatistics, ScopeStats
from sa_perf.queries.scopes import ScopeRun
from sa_perf.queries.transactions import Transactions, TransactionStats

if TYPE_CHECKING:
    from sa_perf.queries.fingerprint import Fingerprinter

__all__ = ["Statistics"]


class Statistics:
    """All aggregates of one instrumentation.

    Args:
        capacity: shapes held at most, >= 1; the rest is summed in "other".
        repeats: where repetitions are kept.
        wall: seconds since the epoch.
        clock: nanoseconds on the clock of the records.
    """

    def __init__(
        self,
        capacity: int,
        *,
        repeats: Repeats | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.capacity = capacity
        self.lock = threading.Lock()
        self.evicted = 0
        #: Completed executions that are not in the sums yet; appending is atomic.
        self.pending: deque[Execution | ScopeRun] = deque()
        self.scopes = ScopeStatistics()
        self.eager_loads = EagerLoads(self)
        self.repeats = Repeats() if repeats is None else repeats
        self.transactions = Transactions()
        self._aggregates: dict[str, dict[str, Aggregate]] = {}
        self._other: dict[str, Aggregate] = {}
        self._count = 0
        self._canonical: dict[str, str] = {}
        self._taken_at = 0
        self._clock = clock
        self._clock_offset = wall() - clock() / 1e9

    def aggregate(
        self, database: str, shape: str, fingerprinter: Fingerprinter | None
    ) -> Aggregate:
        """The aggregate of a shape, made if it is new. Takes the lock.

        Args:
            database: label of the database.
            shape: token-level shape.
            fingerprinter: for a raw text, who can read it; None for a compiled one.
        """
        key = fingerprint_of(shape)
        with self.lock:
            known = self._aggregates.get(database, {}).get(key)
            if known is not None:
                return known
            if self._count >= self.capacity:
                # Who goes is decided by sums that are up to date.
                self._fold()
            return self._admit(Aggregate(key, shape, database, fingerprinter))

    def fold(self, *, wait: bool) -> None:
        """Add the queued records to their aggregates, about 0.4 us each.

        Args:
            wait: for the lock. Recording threads do not: whoever holds it is folding.
        """
        if not self.lock.acquire(blocking=wait):
            return
        try:
            self._fold()
        finally:
            self.lock.release()

    def _fold(self) -> None:
        pending = self.pending
        # No more than is queued now: others that go on recording must not hold this thread.
        for _ in range(len(pending)):
            one = pending.popleft()
            if isinstance(one, ScopeRun):
                self.scopes.end(one)
                if one.unit is not None and one.unit.owner is one:
                    self.eager_loads.end(one, one.unit)
                continue
            aggregate = one.shape.aggregate
            if one.counted:
                self._count_fetch(aggregate, one)
                continue
            if aggregate.evicted:
                aggregate = self._readmitted(aggregate)
            one.counted = OPEN  # before its rows are read: see Execution
            rows = one.rows
            if rows >= 0:
                one.counted = COUNTED
                fetch_ns = one.fetch_ns
                aggregate.count(True, one.fetched_ns, one.execute_ns + fetch_ns, fetch_ns, rows)
            else:
                aggregate.count(False, one.ended_ns, one.execute_ns, 0, 0)
            if one.run is not None:
                self.scopes.add(aggregate, one)
            if one.tally is not None:
                fetch_ns = one.fetch_ns if rows >= 0 else 0
                self.repeats.count(one.tally, one.execute_ns + fetch_ns)
        self.transactions.fold()

    def _count_fetch(self, aggregate: Aggregate, one: Execution) -> None:
        """Add what was fetched of an execution after it had been added."""
        if one.counted == COUNTED:
            return
        one.counted = COUNTED
        if aggregate.evicted:
            # The execution moved into "other", so its fetch follows.
            aggregate = self._other.get(aggregate.database, aggregate)
        aggregate.count_fetch(one.fetched_ns, one.execute_ns, one.fetch_ns, one.rows)
        if one.run is not None:
            self.scopes.add_fetch(one)
        if one.tally is not None:
            self.repeats.add_fetch(one.tally, one.fetch_ns)

    def count_error(self, aggregate: Aggregate, error: str) -> None:
        """Count an exception by its class name. Takes the lock."""
        with self.lock:
            aggregate = self._readmitted(aggregate) if aggregate.evicted else aggregate
            aggregate.errors += 1
            aggregate.rarities().last_error = error

    def count_batches(
        self, aggregate: Aggregate, *, style: str, executions: int, parameter_sets: int
    ) -> None:
        """Count what a call with many parameter sets was made of. Takes the lock.

        Args:
            aggregate: of the statement.
            style: ``"executemany"`` or ``"insertmanyvalues"``.
            executions: cursor executions of the call, >= 1.
            parameter_sets: parameter sets of the call, >= 1.
        """
        with self.lock:
            aggregate = self._readmitted(aggregate) if aggregate.evicted else aggregate
            rare = aggregate.rarities()
            if style == "executemany":
                rare.executemany_calls += 1
            else:
                rare.insertmanyvalues_calls += 1
            rare.executions += executions - 1
            rare.parameter_sets += parameter_sets - 1

    def count_loop_wait(self, aggregate: Aggregate, nanoseconds: int) -> None:
        """Count time in which the event loop was busy elsewhere. Takes the lock."""
        with self.lock:
            aggregate = self._readmitted(aggregate) if aggregate.evicted else aggregate
            aggregate.rarities().loop_wait_ns += nanoseconds

    def read_raw_shapes(self, budget_seconds: float) -> None:
        """Let sqlglot read raw texts that it has not seen, those with most total time first.

        Args:
            budget_seconds: after which no further one is begun; each takes about 1 ms.
        """
        unread = [one for one in self._snapshot_of_aggregates() if self._is_unread(one)]
        unread.sort(key=_total_ns, reverse=True)
        enough = self._clock() + int(budget_seconds * 1e9)
        for aggregate in unread:
            if self._clock() >= enough:
                return
            self._read(aggregate)

    def stats(self) -> tuple[QueryStats, ...]:
        """A frozen reading, most total time first.

        Raw texts that sqlglot prints alike come out as one; those that it has not read yet (see
        `read_raw_shapes`) stand under their token-level shape. O(shapes); holds the lock for one
        aggregate at a time, so recording threads do not wait for it.
        """
        merged: dict[tuple[str, str], Aggregate] = {}
        for aggregate in self._snapshot_of_aggregates():
            shape = self._canonical.get(aggregate.key, aggregate.statement)
            fingerprint = self.fingerprint(aggregate)
            with self.lock:
                if not aggregate.calls and not aggregate.errors:
                    continue
                twin = merged.get((aggregate.database, fingerprint))
                if twin is None:
                    twin = Aggregate(fingerprint, shape, aggregate.database, None)
                    merged[aggregate.database, fingerprint] = twin
                twin.add(aggregate)
                twin.widen(aggregate.taken)
        frozen = [aggregate.frozen(self.datetime_of) for aggregate in merged.values()]
        return tuple(sorted(frozen, key=_by_total, reverse=True))

    def take(self) -> tuple[QueryStats, ...]:
        """What was counted since the last call, most total time first; for one caller only.

        All that is taken adds up to `stats`, also where shapes are evicted in between. A raw text
        that sqlglot reads later stands under its token-level shape until then.
        """
        begun, self._taken_at = self._taken_at, self._clock()
        taken: dict[tuple[str, str], Aggregate] = {}
        for aggregate in self._snapshot_of_aggregates():
            with self.lock:
                since = aggregate.take(begun)
            if since is None:
                continue
            since.key = self.fingerprint(aggregate)
            since.statement = self._canonical.get(aggregate.key, aggregate.statement)
            twin = taken.setdefault((since.database, since.key), since)
            if twin is not since:
                twin.add(since)
        frozen = [one.frozen(self.datetime_of) for one in taken.values()]
        return tuple(sorted(frozen, key=_by_total, reverse=True))

    def totals(self) -> list[tuple[Aggregate, int, int]]:
        """Each aggregate with its calls and nanoseconds: less than `stats`, and cheaper."""
        with self.lock:
            known = [*self._all(), *self._other.values()]
            return [(one, one.calls, one.total_ns) for one in known if one.calls]

    def scope_stats(self) -> tuple[ScopeStats, ...]:
        """A frozen reading of the scopes, most database time first. Takes the lock."""
        with self.lock:
            return self.scopes.stats(self.fingerprint)

    def repeat_stats(self) -> tuple[RepeatStats, ...]:
        """What is issued one by one, most wasted time first. Takes the lock."""
        with self.lock:
            found = list(self.repeats.frozen(self.fingerprint))
        return tuple(sorted(found, key=lambda one: one.wasted_seconds, reverse=True))

    def eager_load_stats(self) -> tuple[EagerLoadStats, ...]:
        """What was loaded eagerly in scopes, most loads in vain first. Takes the lock."""
        with self.lock:
            return self.eager_loads.stats()

    def transaction_stats(self) -> TransactionStats:
        """A frozen reading of the transactions. Takes the lock."""
        with self.lock:
            return self.transactions.stats()

    def fingerprint(self, aggregate: Aggregate) -> str:
        """Public id of an aggregate's statement; of an unread raw text its token-level id."""
        shape = self._canonical.get(aggregate.key)
        return aggregate.key if shape in {None, aggregate.statement} else fingerprint_of(shape)

    def public_fingerprint(self, database: str, key: str) -> str:
        """Public id of a token-level one; the same where the shape is gone."""
        with self.lock:
            aggregate = self._aggregates.get(database, {}).get(key)
        return key if aggregate is None else self.fingerprint(aggregate)

    def known_fingerprint(self, aggregate: Aggregate) -> str | None:
        """Public id if it is known without reading the statement, else None. O(1)."""
        return None if self._is_unread(aggregate) else self.fingerprint(aggregate)

    def clear(self) -> None:
        """Forget everything; executions that are still open will count anew."""
        with self.lock:
            for aggregate in [*self._all(), *self._other.values()]:
                aggregate.reset()
            self.pending.clear()
            self.scopes.clear()
            self.repeats.clear()
            self.eager_loads.clear()
            self.transactions.clear()
            self.evicted = 0

    def datetime_of(self, clock_ns: int) -> datetime:
        """Wall-clock time, aware UTC, of a moment on the records' clock."""
        return datetime.fromtimestamp(self._clock_offset + clock_ns / 1e9, timezone.utc)

    def _all(self) -> list[Aggregate]:
        return [one for shapes in self._aggregates.values() for one in shapes.values()]

    def _snapshot_of_aggregates(self) -> list[Aggregate]:
        with self.lock:
            return [*self._all(), *self._other.values()]

    def _is_unread(self, aggregate: Aggregate) -> bool:
        return aggregate.fingerprinter is not None and aggregate.key not in self._canonical

    def _read(self, aggregate: Aggregate) -> None:
        if aggregate.fingerprinter is None:
            return
        shape = aggregate.fingerprinter.canonical_shape(aggregate.statement)
        if len(self._canonical) >= 2 * self.capacity:
            # Evicted shapes rarely come back; the oldest half goes at once.
            for key in list(self._canonical)[: self.capacity]:
                self._canonical.pop(key, None)
        self._canonical[aggregate.key] = shape

    def _admit(self, aggregate: Aggregate) -> Aggregate:
        """Register an aggregate; the caller holds the lock."""
        if self._count >= self.capacity:
            self._evict(max(1, self.capacity // 10))
        self._aggregates.setdefault(aggregate.database, {})[aggregate.key] = aggregate
        self._count += 1
        aggregate.evicted = False
        return aggregate

    def _readmitted(self, aggregate: Aggregate) -> Aggregate:
        known = self._aggregates.get(aggregate.database, {}).get(aggregate.key)
        return known if known is not None else self._admit(aggregate)

    def _evict(self, count: int) -> None:
        """Move the aggregates with the least total time into "other"."""
        for aggregate in heapq.nsmallest(count, self._all(), key=_total_ns):
            other = self._other.get(aggregate.database)
            if other is None:
                other = Aggregate(OTHER, OTHER, aggregate.database, None)
                self._other[aggregate.database] = other
            other.absorb(aggregate)
            del self._aggregates[aggregate.database][aggregate.key]
            aggregate.reset()
            aggregate.evicted = True
            self._count -= 1
            self.evicted += 1


def _by_total(stats: QueryStats) -> float:
    return stats.total_seconds


def _total_ns(aggregate: Aggregate) -> int:
    return aggregate.total_ns
