"""What a process recorded between two of its readings. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from sa_perf.histogram import Histogram, bucket_bounds
from sa_perf.queries.aggregate import OTHER, QueryStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.transactions import TransactionStats
from sa_perf.snapshot import Snapshot

__all__ = ["Recorded", "difference"]

_Key: TypeAlias = "tuple[str, str]"
_Queries: TypeAlias = "dict[_Key, QueryStats]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Sums of a span of time in one process; no number is negative.

    Attributes:
        since: begin of the span, aware UTC.
        until: its end, aware UTC.
        queries: per fingerprint and database, where something was counted; most total time first.
        scopes: per scope name, likewise; without repeats, of which a reading has the first ten.
        transactions: all databases together.
    """

    since: datetime
    until: datetime
    queries: tuple[QueryStats, ...] = ()
    scopes: tuple[ScopeStats, ...] = ()
    transactions: TransactionStats = field(default_factory=TransactionStats)


def difference(before: Snapshot | None, after: Snapshot) -> Recorded:
    """Say what was recorded between two readings.

    Differences of successive readings add up to the last reading: calls, rows, errors and
    durations exactly. After a restart, a fork or a reset everything counts that stands in
    ``after``. Sums that went into "other", or to the fingerprint that sqlglot gave a raw text, are
    not counted there again. An execution whose rows were fetched between the readings stays in the
    bucket of the time that it had taken until then.

    The shortest and the longest duration are exact where they are new records, else the bounds of
    the histogram's buckets.

    O(queries), and as much again for each that was evicted or read in between.

    Args:
        before: the earlier reading; None at the first flush of a process.
        after: the later one.
    """
    if before is None or not _is_of_same_run(before, after):
        return Recorded(
            since=after.started_at,
            until=after.taken_at,
            queries=after.queries,
            scopes=tuple(replace(one, repeats=()) for one in after.scopes),
            transactions=after.transactions,
        )
    return Recorded(
        since=before.taken_at,
        until=after.taken_at,
        queries=_queries(before, after),
        scopes=_scopes(before.scopes, after.scopes),
        transactions=_transactions(before.transactions, after.transactions),
    )


def _is_of_same_run(before: Snapshot, after: Snapshot) -> bool:
    # A reset and a fork begin a time of their own.
    return (before.host, before.pid, before.started_at) == (
        after.host,
        after.pid,
        after.started_at,
    )


# Queries


def _queries(before: Snapshot, after: Snapshot) -> tuple[QueryStats, ...]:
    now = {(one.fingerprint, one.database): one for one in after.queries}
    known: _Queries = {}
    moved = []
    for one in before.queries:
        key = one.fingerprint, one.database
        if key in now and _contains(now[key], one) and not _begun_anew(one, now[key]):
            known[key] = one
        else:
            moved.append(one)
    evicted = after.health.evicted_fingerprints > before.health.evicted_fingerprints
    for one in moved:
        home = _home(one, now, known, evicted=evicted)
        if home is not None:
            known[home] = _together(known[home], one) if home in known else one
    found = [_query(known.get(key), one, before.taken_at) for key, one in now.items()]
    counted = [one for one in found if one.calls or one.errors or one.rows or one.total_seconds]
    return tuple(sorted(counted, key=lambda one: one.total_seconds, reverse=True))


def _begun_anew(before: QueryStats, after: QueryStats) -> bool:
    """Whether it was evicted between the readings, and came back."""
    return bool(before.calls) and after.first_seen > before.first_seen


def _contains(whole: QueryStats, part: QueryStats) -> bool:
    return (
        whole.calls >= part.calls
        and whole.errors >= part.errors
        and whole.rows >= part.rows
        and round(whole.total_seconds - part.total_seconds, 9) >= 0
    )


def _home(one: QueryStats, now: _Queries, known: _Queries, *, evicted: bool) -> _Key | None:
    """Where sums are now that stood under a fingerprint of their own before."""
    other = OTHER, one.database
    likely = [other] if other in now else []
    # A text that has been read since brings its first execution along.
    same = [
        key for key, each in now.items() if each.first_seen == one.first_seen and key not in likely
    ]
    likely = likely + same if evicted else same + likely
    for key in (*likely, *now):
        if (
            key[1] == one.database
            and now[key].first_seen <= one.first_seen
            and _contains(now[key], _together(known[key], one) if key in known else one)
        ):
            return key
    return None


def _together(one: QueryStats, other: QueryStats) -> QueryStats:
    histogram = one.histogram.copy()
    histogram.merge(other.histogram)
    return replace(
        one,
        min_seconds=min(one.min_seconds, other.min_seconds),
        max_seconds=max(one.max_seconds, other.max_seconds),
        histogram=histogram,
        total_seconds=one.total_seconds + other.total_seconds,
        fetch_seconds=one.fetch_seconds + other.fetch_seconds,
        loop_wait_seconds=one.loop_wait_seconds + other.loop_wait_seconds,
        **{name: getattr(one, name) + getattr(other, name) for name in _COUNTS},
    )


_COUNTS = (
    "calls", "errors", "rows", "executemany_calls", "insertmanyvalues_calls", "executions",
    "parameter_sets", "sum_squares",
)  # fmt: skip


def _query(before: QueryStats | None, after: QueryStats, since: datetime) -> QueryStats:
    if before is None:
        return after
    histogram = _minus(after.histogram, before.histogram)
    least, most = _bounds(histogram)
    counts = {name: max(0, getattr(after, name) - getattr(before, name)) for name in _COUNTS}
    return replace(
        after,
        **counts,
        total_seconds=_less(after.total_seconds, before.total_seconds),
        fetch_seconds=_less(after.fetch_seconds, before.fetch_seconds),
        loop_wait_seconds=_less(after.loop_wait_seconds, before.loop_wait_seconds),
        min_seconds=(
            after.min_seconds
            if after.min_seconds < before.min_seconds
            else min(max(least, after.min_seconds), after.max_seconds)
        ),
        max_seconds=(
            after.max_seconds
            if after.max_seconds > before.max_seconds
            else max(min(most, after.max_seconds), after.min_seconds)
        ),
        first_seen=min(max(since, after.first_seen), after.last_seen),
        last_error=after.last_error if counts["errors"] else None,
        histogram=histogram,
    )


# Scopes and transactions


def _scopes(before: Iterable[ScopeStats], after: Iterable[ScopeStats]) -> tuple[ScopeStats, ...]:
    known = {one.name: one for one in before}
    found = [_scope(known.get(one.name), one) for one in after]
    counted = [one for one in found if one.runs or one.statements or one.rows]
    return tuple(sorted(counted, key=lambda one: one.database_seconds, reverse=True))


def _scope(before: ScopeStats | None, after: ScopeStats) -> ScopeStats:
    if before is None:
        return replace(after, repeats=())
    statements = max(0, after.statements - before.statements)
    seconds = _less(after.database_seconds, before.database_seconds)
    risen = after.max_statements > before.max_statements
    longer = after.max_database_seconds > before.max_database_seconds
    return ScopeStats(
        name=after.name,
        runs=max(0, after.runs - before.runs),
        statements=statements,
        # Where it is no new record, no run had more than all together.
        max_statements=after.max_statements if risen else min(statements, after.max_statements),
        rows=max(0, after.rows - before.rows),
        database_seconds=seconds,
        max_database_seconds=(
            after.max_database_seconds if longer else min(seconds, after.max_database_seconds)
        ),
        total_seconds=_less(after.total_seconds, before.total_seconds),
    )


def _transactions(before: TransactionStats, after: TransactionStats) -> TransactionStats:
    histogram = _minus(after.histogram, before.histogram)
    longer = after.max_seconds > before.max_seconds
    return TransactionStats(
        commits=max(0, after.commits - before.commits),
        rollbacks=max(0, after.rollbacks - before.rollbacks),
        total_seconds=_less(after.total_seconds, before.total_seconds),
        max_seconds=after.max_seconds if longer else min(_bounds(histogram)[1], after.max_seconds),
        histogram=histogram,
    )


def _minus(after: Histogram, before: Histogram) -> Histogram:
    """What was counted since. A duration that has moved on since is not counted at its new place.

    A count that is missing was moved to a longer duration by the fetch of its rows.
    """
    counts = dict(after.items())
    for index, count in before.items():
        counts[index] = counts.get(index, 0) - count
    missing = 0
    left = []
    for index, count in sorted(counts.items()):
        if count < 0:
            missing -= count
            continue
        moved = min(missing, count)
        missing -= moved
        if count > moved:
            left.append((index, count - moved))
    return Histogram.from_items(left)


def _bounds(histogram: Histogram) -> tuple[float, float]:
    """Of the shortest and the longest duration, in seconds; zero where nothing was counted."""
    items = list(histogram.items())
    if not items:
        return 0.0, 0.0
    return bucket_bounds(items[0][0])[0] / 1e9, bucket_bounds(items[-1][0])[1] / 1e9


def _less(after: float, before: float) -> float:
    return max(0.0, round(after - before, 9))
