"""What ``sa-perf report`` prints for a person: the snapshot on one page, findings first."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from sa_perf.cli import tables
from sa_perf.cli.plain_text import one_line
from sa_perf.cli.units import count, duration
from sa_perf.snapshot import Database, Snapshot

__all__ = ["health_lines", "summary"]


def summary(snapshot: Snapshot, limit: int) -> Iterator[RenderableType]:
    """Every part of the report, in its order.

    Args:
        snapshot: to read.
        limit: of queries, scopes and slow executions each; 0 is all.
    """
    most = limit or None
    yield tables.heading(snapshot)
    for one in snapshot.databases:
        yield Text(f"  {database_line(one)}")
    yield tables.section(f"Findings ({len(snapshot.findings)})")
    if snapshot.findings:
        yield tables.findings(snapshot.findings)
    else:
        yield tables.note(_why_no_findings(snapshot))
    yield tables.section("Queries that took most time")
    yield tables.queries(snapshot.top_queries(limit or len(snapshot.queries)), snapshot, by="total")
    if snapshot.scopes:
        yield tables.section("Scopes")
        statements = {query.fingerprint: query.statement for query in snapshot.queries}
        yield tables.scopes(snapshot.scopes[:most], statements)
    yield tables.section("Transactions")
    yield Text(f"  {transactions_line(snapshot)}")
    yield tables.section(f"Slow executions ({len(snapshot.slow)})")
    yield tables.slow_executions(snapshot.slow[:most], snapshot)
    yield tables.section("Health of the recording")
    yield Text("\n".join(f"  {line}" for line in health_lines(snapshot)))


def database_line(database: Database) -> str:
    """A database, how it is recorded, and what became of its plans, in one line."""
    words = [f"{database.label} by {database.driver}, {database.capture.replace('_', ' ')}"]
    if database.connection_errors:
        words.append(f"{count(database.connection_errors)} connections failed")
    return one_line(", ".join(words))


def transactions_line(snapshot: Snapshot) -> str:
    """How transactions ended and how long they took."""
    transactions = snapshot.transactions
    ended = transactions.commits + transactions.rollbacks
    if not ended:
        return "none ended"
    return (
        f"{count(transactions.commits)} committed, {count(transactions.rollbacks)} rolled back; "
        f"open for {duration(transactions.total_seconds / ended)} on average, "
        f"p95 {duration(transactions.p95_seconds)}, max {duration(transactions.max_seconds)}"
    )


def health_lines(snapshot: Snapshot) -> list[str]:
    """How complete the record is, one sentence a line."""
    health = snapshot.health
    lines = []
    if health.faults:
        lines.append(f"{count(health.faults)} faults in sa_perf, the last: {health.last_fault}")
    if health.evicted_fingerprints:
        lines.append(
            f"{count(health.evicted_fingerprints)} queries were moved into 'other'; raise the "
            "setting max_fingerprints to keep more"
        )
    if health.write_failures:
        lines.append(f"{count(health.write_failures)} snapshots could not be written")
    for database in snapshot.databases:
        plans = database.plans
        if plans is None:
            continue
        figures = {
            "explained": plans.explained,
            "failed": plans.failed,
            "timed out": plans.timeouts,
            "dropped, the queue was full": plans.dropped,
            "waiting": plans.queued,
            "workers left hanging": plans.abandoned,
        }
        words = [f"{count(number)} {name}" for name, number in figures.items() if number]
        state = "" if plans.alive else "; explaining has ended"
        if words or state:
            lines.append(f"plans on {database.label}: {', '.join(words) or 'none'}{state}")
    return [one_line(line) for line in lines] or ["no faults, nothing dropped, nothing evicted"]


def _why_no_findings(snapshot: Snapshot) -> str:
    threshold = duration(snapshot.slow_seconds)
    if not snapshot.slow:
        return f"none: no execution took {threshold} or longer"
    if not snapshot.plans:
        return f"none: no plan of the executions over {threshold} is there"
    return "none: the plans of the slow executions show no fault"
