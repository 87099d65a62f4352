"""What a snapshot holds of one query, gathered from its lists."""

from __future__ import annotations

from dataclasses import dataclass

from sa_perf.finding import Finding
from sa_perf.plans.results import ExplainedStatement
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.snapshot import Snapshot

__all__ = ["SingleQuery", "single_query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleQuery:
    """One query's parts, each in the snapshot's order.

    Attributes:
        figures: one for each database that it ran on; none where they were evicted.
        slow: newest first.
        plans: newest first.
        findings: worst first.
    """

    figures: tuple[QueryStats, ...]
    slow: tuple[SlowExecution, ...]
    plans: tuple[ExplainedStatement, ...]
    findings: tuple[Finding, ...]


def single_query(snapshot: Snapshot, fingerprint: str, database: str | None) -> SingleQuery:
    """Gather what is known of a query.

    Args:
        snapshot: to read.
        fingerprint: whole.
        database: label that narrows it all; None is every one. A plan of a snapshot that does not
            say on which database it was asked for counts for each.
    """
    plans = [one for one in snapshot.plans if one.fingerprint == fingerprint]
    here = [one for one in plans if database is None or one.database in {None, database}]
    found_here = [finding for one in here for finding in one.findings]
    found_elsewhere = [finding for one in plans if one not in here for finding in one.findings]
    return SingleQuery(
        figures=tuple(
            one
            for one in snapshot.queries
            if one.fingerprint == fingerprint and database in {None, one.database}
        ),
        slow=tuple(
            one
            for one in snapshot.slow
            if one.fingerprint == fingerprint and database in {None, one.database}
        ),
        plans=tuple(here),
        findings=tuple(
            one
            for one in snapshot.findings
            if one.fingerprint == fingerprint and (one in found_here or one not in found_elsewhere)
        ),
    )
