"""The figures of one query in words, the same as text and as HTML."""

from __future__ import annotations

from sa_perf.cli.wording.units import count, duration, moment, percent
from sa_perf.queries.aggregate import QueryStats
from sa_perf.snapshot import Snapshot

__all__ = ["query_facts"]


def query_facts(query: QueryStats, snapshot: Snapshot) -> list[tuple[str, str]]:
    """Name and words of each figure; those that say nothing are left out."""
    whole = snapshot.total_seconds
    share = f" ({percent(query.total_seconds / whole)} of all)" if whole > 0 else ""
    lines = [
        ("Calls", f"{count(query.calls)}, {count(query.rows)} rows, {query.kind}"),
        (
            "Total",
            f"{duration(query.total_seconds)}{share}, "
            f"fetching {duration(query.fetch_seconds)} of it",
        ),
        ("Mean", f"{duration(query.mean_seconds)}, deviation {duration(query.stddev_seconds)}"),
        (
            "Spread",
            f"min {duration(query.min_seconds)}, p50 {duration(query.p50_seconds)}, "
            f"p95 {duration(query.p95_seconds)}, p99 {duration(query.p99_seconds)}, "
            f"max {duration(query.max_seconds)}",
        ),
        ("Seen", f"{moment(query.first_seen)} to {moment(query.last_seen)}"),
    ]
    if query.errors:
        lines.append(("Errors", f"{count(query.errors)}, the last {query.last_error}"))
    if query.parameter_sets > query.calls:
        sets, sent = count(query.parameter_sets), count(query.executions)
        lines.append(("Batches", f"{sets} parameter sets in {sent} executions"))
    if query.loop_wait_seconds:
        wait = duration(query.loop_wait_seconds)
        lines.append(("Loop", f"{wait} waiting for the event loop"))
    return lines
