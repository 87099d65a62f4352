"""Retention's plans, runs and progress, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from sa_perf.cli.terminal.fitting import Column, FittingTable
from sa_perf.cli.terminal.tables import Statement, note, section
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration, moment

if TYPE_CHECKING:
    from sa_perf.retention.planner import PolicyPlan, RetentionPlan
    from sa_perf.retention.results import Progress as Step
    from sa_perf.retention.results import RetentionRun

__all__ = ["ProgressBars", "outcome", "plan_parts", "run_parts", "size"]

_MEGABYTE = 1_000_000
_OUTCOMES = {"done": "green", "failed": "bold red", "busy": "yellow", "running": "cyan"}
_PLAN = (
    Column("Policy", text=True, room=24),
    Column("Action", 2, text=True),
    Column("Before (UTC)", 1, text=True),
    Column("Rows"),
    Column("Size", 3),
    Column("Takes about", 4),
)
_RUN = (
    Column("Policy", text=True, room=24),
    Column("Outcome", text=True),
    Column("Rows"),
    Column("Children", 4),
    Column("Archived", 2),
    Column("Refused", 5),
    Column("Batches", 3),
    Column("Longest", 6),
    Column("Time", 1),
)


def plan_parts(plan: RetentionPlan) -> Iterator[RenderableType]:
    """What a run would do: one table, then each policy with its statement and its warnings."""
    yield section(f"Retention of {plan.database} at {moment(plan.at)}")
    if not plan.policies:
        yield note("no policies are declared: put @retain(RetentionPolicy(...)) on a model")
        return
    yield FittingTable(
        _PLAN,
        [
            (
                one.policy,
                one.action,
                f"{one.cutoff:%Y-%m-%d %H:%M}",
                Text("cannot be run", "bold red") if one.error is not None else _rows(one),
                "" if one.bytes is None else size(one.bytes),
                "" if one.seconds is None else duration(one.seconds),
            )
            for one in plan.policies
        ],
    )
    shared = _shared_warnings(plan.policies)
    for warning in shared:
        yield Text(one_line(warning), "yellow")
    for one in plan.policies:
        yield from _about(one, shared)


def run_parts(run: RetentionRun) -> Iterator[RenderableType]:
    """What a run did, a row a policy."""
    yield section(f"Run {run.id}: {count(run.rows_changed)} rows in {duration(run.seconds)}")
    if not run.policies:
        yield note("no policies are declared: put @retain(RetentionPolicy(...)) on a model")
        return
    yield FittingTable(
        _RUN,
        [
            (
                one.policy,
                outcome(one.outcome),
                count(one.rows_changed),
                count(one.children_changed),
                count(one.rows_archived),
                count(one.rows_refused),
                count(one.batches),
                duration(one.longest_batch_seconds),
                duration(one.seconds),
            )
            for one in run.policies
        ],
    )
    for one in run.policies:
        if one.reason is not None:
            yield note(f"{one.policy}: {one.reason}")


class ProgressBars:
    """A bar for each policy that is being run, on standard error.

    Args:
        console: where to; None: standard error.
    """

    def __init__(self, *, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=console or Console(stderr=True),
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
        expected = step.rows_expected
        if step.policy not in self._tasks:
            self._tasks[step.policy] = self._progress.add_task(
                one_line(step.policy), total=expected, state=""
            )
        state = f"{count(step.rows_changed)} rows"
        if step.waiting is not None:
            state += f", waiting: {one_line(step.waiting)}"
        else:
            state += f", a batch {duration(step.batch_seconds)}"
        total = expected if expected is None else max(expected, step.rows_changed)
        self._progress.update(
            self._tasks[step.policy], completed=step.rows_changed, total=total, state=state
        )

    def ended(self, policy: str, rows: int) -> None:
        """Fill a policy's bar: an estimate of its rows may have been too high."""
        if policy in self._tasks:
            self._progress.update(self._tasks[policy], completed=rows, total=rows)


def outcome(word: str) -> Text:
    """An outcome in its colour."""
    return Text(one_line(word), _OUTCOMES.get(word, ""))


def size(number: int) -> str:
    """Bytes as megabytes."""
    return f"{round(number / _MEGABYTE, 1) + 0.0:,.1f} MB"  # -0.0 + 0.0 has no sign


def _shared_warnings(policies: Sequence[PolicyPlan]) -> list[str]:
    """Warnings of all policies that can be run, to be said once."""
    able = [one.warnings for one in policies if one.error is None]
    if len(able) < 2:
        return []
    return [warning for warning in able[0] if all(warning in others for others in able)]


def _about(one: PolicyPlan, shared: Sequence[str]) -> Iterator[RenderableType]:
    yield Text("")
    yield Text(one_line(f"{one.policy}: {one.action} rows of {one.table}"), "bold")
    if one.error is not None:
        yield Text(one_line(f"cannot be run: {one.error}"), "bold red")
        return
    yield Statement(one.statement, lines=4)
    by = "" if one.index is None else f", by index {one.index}"
    yield note(f"way through the table: {', then '.join(one.walks)}{by}")
    if one.archive is not None:
        yield note(f"archive: {one.archive}")
    for child in one.children:
        yield note(f"{child.table}({', '.join(child.columns)}) refers to it: {child.how}")
    for warning in one.warnings:
        if warning not in shared:
            yield Text(one_line(warning), "yellow")


def _rows(one: PolicyPlan) -> str:
    if one.rows is None:
        return "?"
    return {"exact": "", "estimated": "~", "at least": ">"}[one.rows_kind] + count(one.rows)
