"""``sa-perf retention status``, ``history``, ``forget``: what runs did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sa_perf.cli.failures import NothingFound
from sa_perf.cli.retention.application import on_database, tell

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sa_perf.cli.output import Output

__all__ = ["forget", "history", "status"]


@click.command()
@on_database
def status(engine: Engine, output: Output) -> None:
    """Show who runs which policy, and how each ended last."""
    from sa_perf.cli.terminal.retention_records import status_parts
    from sa_perf.json_values import encoded
    from sa_perf.retention.audit import history as recorded
    from sa_perf.retention.audit import status as leases

    last = {}
    found = leases(engine)
    for lease in found:
        last[lease.policy] = next(iter(recorded(engine, policy=lease.policy, limit=1)), None)
    rows = [{"lease": encoded(one), "last_run": encoded(last[one.policy])} for one in found]
    tell("status", output, {"policies": [*rows]}, *status_parts(found, last))


@click.command()
@click.option("--policy", metavar="NAME", help="Only of this policy.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most."
)
@click.option(
    "--batches", "run_id", type=int, metavar="ID", help="The batches of the row with this id."
)
@on_database
def history(
    engine: Engine, output: Output, *, policy: str | None, limit: int, run_id: int | None
) -> None:
    """Show what runs did, newest first: one row for each policy of a run."""
    from sa_perf.cli.terminal.retention_records import batch_parts, history_parts
    from sa_perf.json_values import encoded
    from sa_perf.retention import audit

    if run_id is not None and policy is not None:
        raise click.UsageError("--batches ID says which run; leave --policy out")
    if run_id is not None:
        batches = audit.batches_of(engine, run_id)
        if not batches:
            raise NothingFound(f"the audit has no batches with run id {run_id}")
        rows = [encoded(one) for one in batches]
        tell("history", output, {"batches": rows}, *batch_parts(batches))
        return
    runs = audit.history(engine, policy=policy, limit=limit)
    if policy is not None and not runs:
        raise NothingFound(f"the audit has no run of policy {policy!r}")
    tell("history", output, {"runs": [encoded(one) for one in runs]}, *history_parts(runs))


@click.command()
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    help="Of runs that ended longer ago.",
)
@click.option(
    "--archived",
    is_flag=True,
    help="Those that archived rows too: restore cannot bring these back any more.",
)
@on_database
def forget(engine: Engine, output: Output, *, days: float, archived: bool) -> None:
    """Delete old records of runs; holds and archived rows stay."""
    from datetime import datetime, timedelta, timezone

    from sa_perf.retention.audit import forget as delete_records

    before = datetime.now(timezone.utc) - timedelta(days=days)
    gone = delete_records(engine, before=before, archived=archived)
    tell("forget", output, {"runs": gone}, f"records of {gone:,} runs are deleted")
