"""What got slower between two windows, and what is run more often. Pure.

A statement is called slower or faster where three things agree: its mean differs by a tenth at
least, the ranks of its durations differ in the same direction (`sa_perf.store.rank_test`), and that
is no chance, with the many statements that are looked at taken into account. A single execution
that waited for a lock makes a mean, but no rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import TypeAlias

from sa_perf.queries.aggregate import OTHER, QueryStats
from sa_perf.snapshot import Snapshot
from sa_perf.store.rank_test import adjusted, rank_test

__all__ = ["Comparison", "QueryChange", "Side", "Span", "compare"]

#: Executions of a window from which on something is said; the normal approximation wants as many.
LEAST_CALLS = 20
#: Share of statements called slower or faster that may be so by chance.
LEVEL = 0.01
#: Ratio of the means from which on a difference is one that anybody would want to know of.
LEAST_RATIO = 1.1
#: Ratio of the calls an hour, the traffic's taken out, from which on a statement is run more often.
LEAST_MORE_CALLS = 2.0
_HOUR = 3_600
_Key: TypeAlias = "tuple[str, str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A window that was compared.

    Attributes:
        since: its begin, aware UTC.
        until: its end, aware UTC.
        processes: that ran within it.
        calls: executions.
        queries: statements.
        total_seconds: time inside the driver.
    """

    since: datetime
    until: datetime
    processes: int
    calls: int
    queries: int
    total_seconds: float

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.until - self.since).total_seconds() / _HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Figures of a statement within one of the windows.

    Attributes:
        calls: executions.
        calls_per_hour: of the window's length.
        errors: executions that raised.
        rows_per_call: fetched or changed.
        mean_seconds: of the durations.
        p95_seconds: of the durations.
        seconds_per_hour: time inside the driver.
    """

    calls: int
    calls_per_hour: float
    errors: int
    rows_per_call: float
    mean_seconds: float
    p95_seconds: float
    seconds_per_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryChange:
    """A statement in both windows.

    Attributes:
        fingerprint: id of the statement's shape.
        statement: the shape.
        database: ``Database.label`` of where it ran.
        kind: of the statement.
        before: None where it did not run before.
        after: None where it does not run any more.
        slower_probability: that an execution after takes longer than one before, 0..1; None where
            it was not tested.
        p_value: how likely so large a difference is by chance, the number of statements taken
            into account; None likewise.
        lost_seconds_per_hour: what the change of the mean costs with the calls that there are
            now; below zero it is a gain.
    """

    fingerprint: str
    statement: str
    database: str
    kind: str
    before: Side | None
    after: Side | None
    slower_probability: float | None = None
    p_value: float | None = None
    lost_seconds_per_hour: float = 0.0

    @property
    def mean_ratio(self) -> float:
        """Mean after, in means before; 0.0 where one is not known."""
        if self.before is None or self.after is None or not self.before.mean_seconds:
            return 0.0
        return self.after.mean_seconds / self.before.mean_seconds

    @property
    def calls_ratio(self) -> float:
        """Calls an hour after, in those before; 0.0 where one is not known."""
        if self.before is None or self.after is None or not self.before.calls_per_hour:
            return 0.0
        return self.after.calls_per_hour / self.before.calls_per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two windows.

    Attributes:
        before: the first window.
        after: the second.
        traffic_ratio: how much more the application did an hour, by the runs of its scopes; where
            it has none, by the middle of all statements' ratios. None: nothing to tell by.
        slower: most time lost an hour first.
        faster: most time won first.
        more_calls: run at least twice as often as the traffic explains, most time an hour first.
        new: did not run before, most time an hour first.
        vanished: do not run any more, likewise.
        tested: statements with enough executions in both windows.
        too_few: in both windows, but with fewer than 20 executions in one.
    """

    before: Span
    after: Span
    traffic_ratio: float | None
    slower: tuple[QueryChange, ...] = ()
    faster: tuple[QueryChange, ...] = ()
    more_calls: tuple[QueryChange, ...] = ()
    new: tuple[QueryChange, ...] = ()
    vanished: tuple[QueryChange, ...] = ()
    tested: int = 0
    too_few: int = 0

    @property
    def regressed(self) -> bool:
        """Whether something is slower, or run more often."""
        return bool(self.slower or self.more_calls)


def compare(before: Snapshot, after: Snapshot) -> Comparison:
    """Say what differs between two windows.

    Looks into the histogram of each statement of both. O(statements).

    Args:
        before: a window, as `StoreReader.window` reads it; also any two snapshots of times apart.
        after: a later one.
    """
    first, second = _span(before), _span(after)
    was, now = _by_key(before), _by_key(after)
    # Window by window, so that each reads its histograms in its own order.
    sides_before = {key: _side(one, first) for key, one in was.items()}
    sides_after = {key: _side(one, second) for key, one in now.items()}
    both = [
        replace(_change(one), before=sides_before[key], after=sides_after[key])
        for key, one in now.items()
        if key in was
    ]
    enough = [one for one in both if _calls(one) >= LEAST_CALLS]
    tested = _tested(enough, was, now)
    traffic = _traffic(before, after, first, second, enough)
    return Comparison(
        before=first,
        after=second,
        traffic_ratio=traffic,
        slower=_ranked(one for one in tested if _differs(one) and one.lost_seconds_per_hour > 0),
        faster=_ranked(one for one in tested if _differs(one) and one.lost_seconds_per_hour < 0),
        more_calls=_costly(one for one in enough if traffic and _is_run_more(one, traffic)),
        new=_costly(
            replace(_change(one), after=sides_after[key])
            for key, one in now.items()
            if key not in was
        ),
        vanished=_costly(
            replace(_change(one), before=sides_before[key])
            for key, one in was.items()
            if key not in now
        ),
        tested=len(tested),
        too_few=len(both) - len(enough),
    )


def _span(snapshot: Snapshot) -> Span:
    return Span(
        since=snapshot.started_at,
        until=snapshot.taken_at,
        processes=snapshot.processes,
        calls=snapshot.calls,
        queries=len(snapshot.queries),
        total_seconds=snapshot.total_seconds,
    )


def _by_key(snapshot: Snapshot) -> dict[_Key, QueryStats]:
    """What was evicted stands together as one, and is another mixture each time."""
    return {
        (one.fingerprint, one.database): one
        for one in snapshot.queries
        if one.calls and one.fingerprint != OTHER
    }


def _side(query: QueryStats, span: Span) -> Side:
    hours = span.hours or 1 / _HOUR
    return Side(
        calls=query.calls,
        calls_per_hour=query.calls / hours,
        errors=query.errors,
        rows_per_call=query.rows / query.calls,
        mean_seconds=query.mean_seconds,
        p95_seconds=query.p95_seconds,
        seconds_per_hour=query.total_seconds / hours,
    )


def _change(query: QueryStats) -> QueryChange:
    return QueryChange(
        fingerprint=query.fingerprint,
        statement=query.statement,
        database=query.database,
        kind=query.kind,
        before=None,
        after=None,
    )


def _calls(change: QueryChange) -> int:
    """Of the window in which it ran more seldom."""
    return min(side.calls if side else 0 for side in (change.before, change.after))


def _tested(
    changes: list[QueryChange],
    was: Mapping[_Key, QueryStats],
    now: Mapping[_Key, QueryStats],
) -> list[QueryChange]:
    tests = [
        rank_test(was[key].histogram, now[key].histogram)
        for key in ((one.fingerprint, one.database) for one in changes)
    ]
    p_values = adjusted([one.p_value for one in tests])
    return [
        replace(
            change,
            slower_probability=test.slower_probability,
            p_value=p_value,
            lost_seconds_per_hour=_lost(change),
        )
        for change, test, p_value in zip(changes, tests, p_values, strict=True)
    ]


def _lost(change: QueryChange) -> float:
    if change.before is None or change.after is None:
        return 0.0
    longer = change.after.mean_seconds - change.before.mean_seconds
    return change.after.calls_per_hour * longer


def _differs(change: QueryChange) -> bool:
    """Whether mean, ranks and chance agree."""
    if change.p_value is None or change.slower_probability is None or change.p_value > LEVEL:
        return False
    if change.lost_seconds_per_hour > 0:
        return change.slower_probability > 0.5 and change.mean_ratio >= LEAST_RATIO
    return change.slower_probability < 0.5 and change.mean_ratio <= 1 / LEAST_RATIO


def _traffic(
    before: Snapshot, after: Snapshot, first: Span, second: Span, changes: list[QueryChange]
) -> float | None:
    was, now = (sum(one.runs for one in each.scopes) for each in (before, after))
    if min(was, now) >= LEAST_CALLS and first.hours and second.hours:
        return (now / second.hours) / (was / first.hours)
    ratios = [one.calls_ratio for one in changes if one.calls_ratio]
    return median(ratios) if ratios else None


def _is_run_more(change: QueryChange, traffic: float) -> bool:
    return change.calls_ratio >= LEAST_MORE_CALLS * traffic


def _ranked(changes: Iterable[QueryChange]) -> tuple[QueryChange, ...]:
    return tuple(
        sorted(changes, key=lambda one: (-abs(one.lost_seconds_per_hour), one.fingerprint))
    )


def _costly(changes: Iterable[QueryChange]) -> tuple[QueryChange, ...]:
    def seconds(change: QueryChange) -> float:
        side = change.after or change.before
        return side.seconds_per_hour if side else 0.0

    return tuple(sorted(changes, key=lambda one: (-seconds(one), one.fingerprint)))
