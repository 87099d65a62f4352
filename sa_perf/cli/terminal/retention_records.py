"""What retention has written down: runs, batches, leases, holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import RenderableType

from sa_perf.cli.terminal.fitting import Column, FittingTable
from sa_perf.cli.terminal.retention import outcome
from sa_perf.cli.terminal.tables import note
from sa_perf.cli.wording.units import count, duration, moment

if TYPE_CHECKING:
    from sa_perf.retention.audit import BatchRecord, LeaseRecord, RunRecord
    from sa_perf.retention.holds import Hold

__all__ = ["batch_parts", "history_parts", "hold_parts", "status_parts"]

_HISTORY = (
    Column("Id", 2),
    Column("Run", text=True),
    Column("Policy", text=True, room=20),
    Column("Began (UTC)", 3, text=True),
    Column("Took", 4),
    Column("Outcome", text=True),
    Column("Rows"),
    Column("Archived", 1),
    Column("Host", 5, text=True),
)
_BATCHES = (
    Column("No"),
    Column("Table", 2, text=True, room=20),
    Column("Up to", text=True, room=24),
    Column("Scanned", 3),
    Column("Changed"),
    Column("Archived", 4),
    Column("Took", 1),
    Column("File", 5, text=True, room=32),
)
_STATUS = (
    Column("Policy", text=True, room=20),
    Column("Now", text=True, room=16),
    Column("Last began (UTC)", 2, text=True),
    Column("Outcome", text=True),
    Column("Rows", 1),
)
_HOLDS = (
    Column("Id"),
    Column("Table", text=True, room=16),
    Column("Key", text=True, room=16),
    Column("Reason", text=True, room=20),
    Column("Placed (UTC)", 2, text=True),
    Column("By", 1, text=True, room=12),
)
_RELEASED = (
    Column("Released (UTC)", 3, text=True),
    Column("By", 4, text=True, room=12),
)


def history_parts(runs: Sequence[RunRecord]) -> Iterator[RenderableType]:
    """Runs of the audit, newest first."""
    if not runs:
        yield note("no policy has been run yet")
        return
    rows = [
        (
            str(one.id),
            one.run,
            one.policy,
            _moment(one.started_at),
            _took(one.started_at, one.finished_at),
            outcome(one.outcome),
            count(one.rows_changed),
            count(one.rows_archived),
            f"{one.host}:{one.pid}",
        )
        for one in runs
    ]
    yield FittingTable(_HISTORY, rows)
    for one in runs:
        if one.error is not None:
            yield note(f"{one.id} {one.policy}: {one.error}")


def batch_parts(batches: Sequence[BatchRecord]) -> Iterator[RenderableType]:
    """Batches of one policy's run."""
    rows = [
        (
            str(one.number),
            one.table_name,
            one.upto_key or "the end",
            count(one.rows_scanned),
            count(one.rows_changed),
            count(one.rows_archived),
            duration(one.seconds),
            one.archive_file or "",
        )
        for one in batches
    ]
    yield FittingTable(_BATCHES, rows)


def status_parts(
    leases: Sequence[LeaseRecord], last: Mapping[str, RunRecord | None]
) -> Iterator[RenderableType]:
    """Who runs what, and how each policy ended last."""
    if not leases:
        yield note("no policy has been run yet")
        return
    rows = []
    for one in leases:
        run = last.get(one.policy)
        now = "idle" if one.position is None else "unfinished; the next run goes on"
        if one.owner is not None:
            now = f"run by {one.owner}"
        rows.append(
            (
                one.policy,
                now,
                "" if run is None else _moment(run.started_at),
                "" if run is None else outcome(run.outcome),
                "" if run is None else count(run.rows_changed),
            )
        )
    yield FittingTable(_STATUS, rows)
    for one in leases:
        if one.owner is not None and one.expires_at is not None:
            yield note(
                f"{one.policy}: its lease ends at {moment(one.expires_at)} unless it goes on"
            )


def hold_parts(holds: Sequence[Hold]) -> Iterator[RenderableType]:
    """Rows that are held, and those that were where there are any."""
    if not holds:
        yield note("no row is held")
        return
    released = any(one.released_at is not None for one in holds)
    rows = []
    for one in holds:
        placed = (
            str(one.id),
            one.table_name,
            ", ".join(map(str, one.key)),
            one.reason,
            _moment(one.placed_at),
            one.placed_by or "",
        )
        when = "" if one.released_at is None else _moment(one.released_at)
        rows.append((*placed, *((when, one.released_by or "") if released else ())))
    yield FittingTable((*_HOLDS, *(_RELEASED if released else ())), rows)


def _moment(when: datetime) -> str:
    return moment(when).removesuffix(" UTC")


def _took(began: datetime, ended: datetime | None) -> str:
    return "" if ended is None else duration((ended - began).total_seconds())
