"""What scopes and transactions added between two readings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sa_perf.histogram import Histogram, bucket_bounds
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.transactions import TransactionStats

__all__ = ["scopes_since", "transactions_since"]


def scopes_since(
    before: Iterable[ScopeStats], after: Iterable[ScopeStats]
) -> tuple[ScopeStats, ...]:
    """The runs of scopes that ended between two readings, most database time first.

    Without repeats, of which a reading has the first ten. The most statements and the longest time
    of a run are exact where they are new records, else no more than those of all runs together.

    Args:
        before: the earlier reading; empty at the first flush, and after a reset or a fork.
        after: the later one.
    """
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


def transactions_since(before: TransactionStats, after: TransactionStats) -> TransactionStats:
    """The transactions that ended between two readings.

    The longest is exact where it is a new record, else the bound of the histogram's bucket.

    Args:
        before: the earlier reading; all zero at the first flush, and after a reset or a fork.
        after: the later one.
    """
    histogram = after.histogram.since(before.histogram)
    longest = after.max_seconds
    if longest <= before.max_seconds:
        longest = min(longest, _longest_seconds(histogram))
    return TransactionStats(
        commits=max(0, after.commits - before.commits),
        rollbacks=max(0, after.rollbacks - before.rollbacks),
        total_seconds=_less(after.total_seconds, before.total_seconds),
        max_seconds=longest,
        histogram=histogram,
    )


def _longest_seconds(histogram: Histogram) -> float:
    """Bound of the longest duration; zero where nothing was counted."""
    last = max((index for index, _ in histogram.items()), default=None)
    return 0.0 if last is None else bucket_bounds(last)[1] / 1e9


def _less(after: float, before: float) -> float:
    return max(0.0, round(after - before, 9))
