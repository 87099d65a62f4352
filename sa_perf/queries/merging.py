"""Readings of several processes as one: what ran.

Each function is associative and commutative, so readings may be merged in any order and by parts.
Durations add up exactly, as whole nanoseconds, up to 52 days; ``sum_squares`` up to the rounding
of its last digits. Of a text on which readings differ the greatest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from heapq import nlargest
from math import fsum
from typing import TypeVar

from sa_perf.histogram import Histogram
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.over_eager import EagerLoadStats
from sa_perf.queries.repeats import RepeatStats
from sa_perf.queries.scope_statistics import Repeat, ScopeStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.queries.transactions import TransactionStats

__all__ = [
    "MAX_SLOW",
    "merged_eager_loads",
    "merged_queries",
    "merged_repeats",
    "merged_scopes",
    "merged_slow",
    "merged_transactions",
]

#: Slow executions that a merge keeps.
MAX_SLOW = 1_000

T = TypeVar("T")


def merged_queries(stats: Iterable[QueryStats]) -> tuple[QueryStats, ...]:
    """One reading for each fingerprint and database, most total time first.

    Raises:
        ValueError: a count of a histogram would pass 2**63 - 1.
    """
    merged = _by(stats, lambda one: (one.fingerprint, one.database), _merged_query)
    return tuple(
        sorted(merged, key=lambda one: (-one.total_seconds, one.fingerprint, one.database))
    )


def merged_scopes(stats: Iterable[ScopeStats]) -> tuple[ScopeStats, ...]:
    """One reading for each scope name, most database time first."""
    merged = _by(stats, lambda one: one.name, _merged_scope)
    return tuple(sorted(merged, key=lambda one: (-one.database_seconds, one.name)))


def merged_transactions(stats: Iterable[TransactionStats]) -> TransactionStats:
    """One reading of all.

    Raises:
        ValueError: a count of the histogram would pass 2**63 - 1.
    """
    parts = list(stats)
    return TransactionStats(
        commits=sum(one.commits for one in parts),
        rollbacks=sum(one.rollbacks for one in parts),
        total_seconds=_seconds(one.total_seconds for one in parts),
        max_seconds=max((one.max_seconds for one in parts), default=0.0),
        histogram=_merged_histogram(one.histogram for one in parts),
    )


def merged_slow(executions: Iterable[SlowExecution]) -> tuple[SlowExecution, ...]:
    """The last `MAX_SLOW` of all, newest first."""
    return tuple(nlargest(MAX_SLOW, executions, key=_when_and_which))


def merged_repeats(stats: Iterable[RepeatStats]) -> tuple[RepeatStats, ...]:
    """One reading for each statement, relationship and line, most wasted time first."""
    merged = _by(stats, _place_of_repeat, _merged_repeat)
    return tuple(sorted(merged, key=lambda one: (-one.wasted_seconds, str(_place_of_repeat(one)))))


def merged_eager_loads(stats: Iterable[EagerLoadStats]) -> tuple[EagerLoadStats, ...]:
    """One reading for each relationship, most loads in vain first."""
    merged = _by(stats, lambda one: (one.entity, one.attribute), _merged_eager_load)
    return tuple(sorted(merged, key=lambda one: (-one.unused_loads, one.entity, one.attribute)))


def _by(ones: Iterable[T], key: Callable[[T], Hashable], merged: Callable[[list[T]], T]) -> list[T]:
    """Merge those of the same key; one that stands alone stays as it is."""
    groups: dict[Hashable, list[T]] = {}
    for one in ones:
        groups.setdefault(key(one), []).append(one)
    return [group[0] if len(group) == 1 else merged(group) for group in groups.values()]


def _merged_query(parts: list[QueryStats]) -> QueryStats:
    # Without a call there was no duration, nor a moment at which it ended.
    called = [one for one in parts if one.calls] or parts
    return replace(
        max(parts, key=lambda one: (one.statement, one.kind)),
        calls=sum(one.calls for one in parts),
        errors=sum(one.errors for one in parts),
        rows=sum(one.rows for one in parts),
        total_seconds=_seconds(one.total_seconds for one in parts),
        min_seconds=min(one.min_seconds for one in called),
        max_seconds=max(one.max_seconds for one in parts),
        fetch_seconds=_seconds(one.fetch_seconds for one in parts),
        sum_squares=fsum(one.sum_squares for one in parts),
        executemany_calls=sum(one.executemany_calls for one in parts),
        insertmanyvalues_calls=sum(one.insertmanyvalues_calls for one in parts),
        executions=sum(one.executions for one in parts),
        parameter_sets=sum(one.parameter_sets for one in parts),
        loop_wait_seconds=_seconds(one.loop_wait_seconds for one in parts),
        first_seen=min(one.first_seen for one in called),
        last_seen=max(one.last_seen for one in called),
        last_error=_greatest(one.last_error for one in parts),
        histogram=_merged_histogram(one.histogram for one in parts),
    )


def _merged_scope(parts: list[ScopeStats]) -> ScopeStats:
    repeats = _by(
        (repeat for one in parts for repeat in one.repeats),
        lambda one: one.fingerprint,
        _merged_repeat_of_scope,
    )
    return ScopeStats(
        name=parts[0].name,
        runs=sum(one.runs for one in parts),
        statements=sum(one.statements for one in parts),
        max_statements=max(one.max_statements for one in parts),
        rows=sum(one.rows for one in parts),
        database_seconds=_seconds(one.database_seconds for one in parts),
        max_database_seconds=max(one.max_database_seconds for one in parts),
        total_seconds=_seconds(one.total_seconds for one in parts),
        repeats=tuple(sorted(repeats, key=lambda one: (-one.max_calls, one.fingerprint))),
    )


def _merged_repeat_of_scope(parts: list[Repeat]) -> Repeat:
    return Repeat(
        fingerprint=parts[0].fingerprint,
        calls=sum(one.calls for one in parts),
        max_calls=max(one.max_calls for one in parts),
    )


def _place_of_repeat(one: RepeatStats) -> tuple[Hashable, ...]:
    site = one.call_site
    # Not the function's name, which some versions of Python know better.
    place = None if site is None else (site.file, site.line)
    return one.kind, one.fingerprint, one.database, one.entity, one.attribute, one.path, place


def _merged_repeat(parts: list[RepeatStats]) -> RepeatStats:
    return replace(
        max(parts, key=lambda one: (one.scope, one.remedy, str(one.call_site))),
        occurrences=sum(one.occurrences for one in parts),
        calls=sum(one.calls for one in parts),
        max_calls=max(one.max_calls for one in parts),
        max_parents=max(one.max_parents for one in parts),
        total_seconds=_seconds(one.total_seconds for one in parts),
        wasted_seconds=_seconds(one.wasted_seconds for one in parts),
    )


def _merged_eager_load(parts: list[EagerLoadStats]) -> EagerLoadStats:
    return replace(
        parts[0],
        scope=_greatest(one.scope for one in parts),
        runs=sum(one.runs for one in parts),
        unused_runs=sum(one.unused_runs for one in parts),
        loads=sum(one.loads for one in parts),
        unused_loads=sum(one.unused_loads for one in parts),
        wasted_seconds=_seconds(one.wasted_seconds for one in parts),
    )


def _merged_histogram(histograms: Iterable[Histogram]) -> Histogram:
    total = Histogram()
    for one in histograms:
        total.merge(one)
    return total


def _when_and_which(one: SlowExecution) -> tuple[object, ...]:
    """A total order but for equal ones."""
    which = (one.fingerprint, one.database, one.statement, str(one.call_site))
    figures = (one.duration_seconds, one.fetch_seconds, one.rows)
    return (one.ended_at, *figures, *which, one.scope, one.parameters)


def _greatest(texts: Iterable[str | None]) -> str | None:
    return max((one for one in texts if one is not None), default=None)


def _seconds(durations: Iterable[float]) -> float:
    """A sum as whole nanoseconds, which has no order."""
    return round(fsum(round(one, 9) for one in durations), 9)
