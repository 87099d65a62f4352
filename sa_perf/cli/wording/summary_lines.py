"""Sentences of the report that are the same as text and as HTML."""

from __future__ import annotations

from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration
from sa_perf.snapshot import Database, Snapshot

__all__ = ["database_line", "health_lines", "transactions_line", "why_no_findings"]


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
        return "None ended."
    return (
        f"{count(transactions.commits)} committed, {count(transactions.rollbacks)} rolled back; "
        f"open for {duration(transactions.total_seconds / ended)} on average, "
        f"p95 {duration(transactions.p95_seconds)}, max {duration(transactions.max_seconds)}. "
        "A session that is closed without a commit counts as rolled back."
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
    if health.dropped_repeats:
        lines.append(
            f"{count(health.dropped_repeats)} repetitions were dropped, 500 are kept; name some in "
            "the setting n_plus_one_ignore"
        )
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


def why_no_findings(snapshot: Snapshot) -> str:
    """What it means that there are none."""
    threshold = duration(snapshot.slow_seconds)
    if not snapshot.slow:
        return f"None: no execution took {threshold} or longer"
    if not snapshot.plans:
        return f"None: no plan of the executions over {threshold} is there"
    return "None: the plans of the slow executions show no fault"
