"""Plans, runs, audit and holds of retention, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from sa_perf.cli.terminal.tables import Statement, bare_table, note, section
from sa_perf.cli.wording.units import count, duration, moment

if TYPE_CHECKING:
    from sa_perf.retention.audit import BatchRecord, LeaseRecord, RunRecord
    from sa_perf.retention.holds import Hold
    from sa_perf.retention.planner import PolicyPlan, RetentionPlan
    from sa_perf.retention.results import Progress as Step
    from sa_perf.retention.results import RetentionRun
    from sa_perf.retention.space import SpaceEstimate, SpaceResult

__all__ = [
    "ProgressBars", "batch_parts", "estimate_parts", "history_parts", "hold_parts", "plan_parts",
    "run_parts", "space_parts", "status_parts",
]  # fmt: skip

_MEGABYTE = 1_000_000
_OUTCOMES = {"done": "green", "failed": "bold red", "busy": "yellow", "running": "cyan"}


def plan_parts(plan: RetentionPlan) -> Iterator[RenderableType]:
    """What a run would do: one table, then each policy with its statement and its warnings."""
    yield section(f"Retention of {plan.database} at {moment(plan.at)}")
    if not plan.policies:
        yield note("no policies are declared: put @retain(RetentionPolicy(...)) on a model")
        return
    table = bare_table(
        "Policy", "Action", "Before", "Rows", "Size", "Way", "About",
        left=("Policy", "Action", "Before", "Way"),
    )  # fmt: skip
    for one in plan.policies:
        table.add_row(
            one.policy,
            one.action,
            f"{one.cutoff:%Y-%m-%d %H:%M}",
            _rows(one),
            "" if one.bytes is None else _size(one.bytes),
            "cannot be run" if one.error is not None else ", ".join(one.walks),
            "" if one.seconds is None else duration(one.seconds),
        )
    yield table
    for one in plan.policies:
        yield from _about(one)


def run_parts(run: RetentionRun) -> Iterator[RenderableType]:
    """What a run did, a row a policy."""
    yield section(f"Run {run.id}: {count(run.rows_changed)} rows in {duration(run.seconds)}")
    table = bare_table(
        "Policy", "Outcome", "Rows", "Children", "Archived", "Refused", "Batches", "Longest",
        "Time", left=("Policy", "Outcome"),
    )  # fmt: skip
    for one in run.policies:
        table.add_row(
            one.policy,
            _outcome(one.outcome),
            count(one.rows_changed),
            count(one.children_changed),
            count(one.rows_archived),
            count(one.rows_refused),
            count(one.batches),
            duration(one.longest_batch_seconds),
            duration(one.seconds),
        )
    yield table
    for one in run.policies:
        if one.reason is not None:
            yield note(f"{one.policy}: {one.reason}")


def history_parts(runs: Sequence[RunRecord]) -> Iterator[RenderableType]:
    """Runs of the audit, newest first."""
    if not runs:
        yield note("no policy has been run yet")
        return
    table = bare_table(
        "Id", "Run", "Policy", "Began", "Took", "Outcome", "Rows", "Archived", "Host",
        left=("Run", "Policy", "Began", "Outcome", "Host"),
    )  # fmt: skip
    for one in runs:
        table.add_row(
            str(one.id),
            one.run,
            one.policy,
            moment(one.started_at),
            _took(one.started_at, one.finished_at),
            _outcome(one.outcome),
            count(one.rows_changed),
            count(one.rows_archived),
            f"{one.host}:{one.pid}",
        )
    yield table
    for one in runs:
        if one.error is not None:
            yield note(f"{one.id} {one.policy}: {one.error}")


def batch_parts(batches: Sequence[BatchRecord]) -> Iterator[RenderableType]:
    """Batches of one policy's run."""
    table = bare_table(
        "No", "Table", "Up to", "Scanned", "Changed", "Archived", "Took", "File",
        left=("Table", "Up to", "File"),
    )  # fmt: skip
    for one in batches:
        table.add_row(
            str(one.number),
            one.table_name,
            one.upto_key or "the end",
            count(one.rows_scanned),
            count(one.rows_changed),
            count(one.rows_archived),
            duration(one.seconds),
            one.archive_file or "",
        )
    yield table


def status_parts(
    leases: Sequence[LeaseRecord], last: Mapping[str, RunRecord | None]
) -> Iterator[RenderableType]:
    """Who runs what, and how each policy ended last."""
    if not leases:
        yield note("no policy has been run yet")
        return
    table = bare_table(
        "Policy", "Now", "Last began", "Outcome", "Rows",
        left=("Policy", "Now", "Last began", "Outcome"),
    )  # fmt: skip
    for one in leases:
        run = last.get(one.policy)
        now = "" if one.owner is None else f"run by {one.owner} until {_clock(one.expires_at)}"
        if not now and one.position is not None:
            now = "unfinished; the next run goes on"
        table.add_row(
            one.policy,
            now or "idle",
            "" if run is None else moment(run.started_at),
            "" if run is None else _outcome(run.outcome),
            "" if run is None else count(run.rows_changed),
        )
    yield table


def hold_parts(holds: Sequence[Hold]) -> Iterator[RenderableType]:
    """Rows that are held."""
    if not holds:
        yield note("no row is held")
        return
    table = bare_table(
        "Id", "Table", "Key", "Reason", "Placed", "By", "Released",
        left=("Table", "Key", "Reason", "Placed", "By", "Released"),
    )  # fmt: skip
    for one in holds:
        table.add_row(
            str(one.id),
            one.table_name,
            ", ".join(map(str, one.key)),
            one.reason,
            moment(one.placed_at),
            one.placed_by or "",
            "" if one.released_at is None else moment(one.released_at),
        )
    yield table


def estimate_parts(estimates: Sequence[SpaceEstimate]) -> Iterator[RenderableType]:
    """What giving space back would cost."""
    table = bare_table(
        "What", "Way", "Size", "Free inside", "Needs", "Idle", "Loaded", left=("What", "Way")
    )
    for one in estimates:
        table.add_row(
            one.subject,
            one.how,
            _size(one.bytes_before),
            _size(one.reclaimable_bytes),
            _size(one.temporary_bytes),
            duration(one.seconds),
            duration(one.loaded_seconds),
        )
    yield table
    for one in estimates:
        yield note(f"{one.subject}: {one.blocks}")
        for refusal in one.refusals:
            yield Text(f"{one.subject}: {refusal}", "yellow")
    yield note("nothing was done; with --yes it is")


def space_parts(results: Sequence[SpaceResult]) -> Iterator[RenderableType]:
    """What was given back."""
    table = bare_table("What", "Way", "Before", "After", "Freed", "Took", left=("What", "Way"))
    for one in results:
        table.add_row(
            one.subject,
            one.how,
            _size(one.bytes_before),
            _size(one.bytes_after),
            _size(one.freed_bytes),
            duration(one.seconds),
        )
    yield table
    for one in results:
        for text in one.notes:
            yield note(f"{one.subject}: {text}")


class ProgressBars:
    """A bar for each policy that is being run, on standard error."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rows]} rows, {task.fields[batch]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Move a policy's bar."""
        if step.policy not in self._tasks:
            self._tasks[step.policy] = self._progress.add_task(
                step.policy, total=step.rows_expected, rows="0", batch=""
            )
        batch = f"{count(step.batch_rows)} a batch of {duration(step.batch_seconds)}"
        self._progress.update(
            self._tasks[step.policy],
            completed=step.rows_changed,
            total=step.rows_expected,
            rows=count(step.rows_changed),
            batch=batch if step.waiting is None else f"waiting: {step.waiting}",
        )


def _about(one: PolicyPlan) -> Iterator[RenderableType]:
    yield Text("")
    yield Text(f"{one.policy}: {one.action} rows of {one.table}", "bold")
    if one.error is not None:
        yield Text(f"cannot be run: {one.error}", "bold red")
        return
    yield Statement(one.statement, lines=4)
    if one.archive is not None:
        yield note(f"archive: {one.archive}")
    for child in one.children:
        yield note(f"{child.table}({', '.join(child.columns)}) refers to it: {child.how}")
    for warning in one.warnings:
        yield Text(warning, "yellow")


def _rows(one: PolicyPlan) -> str:
    if one.rows is None:
        return "?"
    return {"exact": "", "estimated": "~", "at least": ">"}[one.rows_kind] + count(one.rows)


def _outcome(word: str) -> Any:  # noqa: ANN401  # a cell
    return Text(word, _OUTCOMES.get(word, ""))


def _size(number: int) -> str:
    return f"{number / _MEGABYTE:,.1f} MB"


def _took(began: datetime, ended: datetime | None) -> str:
    return "" if ended is None else duration((ended - began).total_seconds())


def _clock(when: datetime | None) -> str:
    return "?" if when is None else f"{when:%H:%M:%S} UTC"
