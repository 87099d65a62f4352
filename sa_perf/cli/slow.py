"""``sa-perf slow``: the last executions over the threshold."""

from __future__ import annotations

import click

from sa_perf.cli.options import limit_option, reads_snapshot
from sa_perf.cli.output import Output
from sa_perf.cli.rows import row
from sa_perf.snapshot import Snapshot

__all__ = ["slow"]


@click.command()
@limit_option(20, "executions")
@reads_snapshot
def slow(snapshot: Snapshot, output: Output, *, limit: int) -> None:
    """Show the last slow executions, newest first.

    Slow is what took at least as long as the application's setting slow_seconds.
    """
    shown = snapshot.slow[: limit or None]
    if output.as_json:
        rows = [row(one) for one in shown]
        output.print_rows("slow", snapshot, rows, matching=len(snapshot.slow))
        return
    from sa_perf.cli.terminal import tables

    output.print(tables.heading(snapshot), tables.SlowTable(shown, snapshot))
    if len(snapshot.slow) > len(shown):
        output.print(tables.note(f"{len(shown)} of {len(snapshot.slow)}; for all: --limit 0"))
