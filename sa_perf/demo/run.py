"""Runs the demonstration: load, answer, find, mend, answer again, purge.

Everything that it tells is measured in the run itself.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, create_engine

import sa_perf
from sa_perf.demo.data import ROWS, fill
from sa_perf.demo.paging import time_pages
from sa_perf.demo.report import (
    AppliedIndex,
    Comparison,
    Report,
    applied_index,
    compare,
    repeated_statements,
    top_queries,
)
from sa_perf.demo.retention import Purge, purge
from sa_perf.demo.workload import Answer, Route, answer, routes, shuffled
from sa_perf.plans.index_advice import advise

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from sa_perf.snapshot import Snapshot

__all__ = ["Options", "run"]

_TOP = 8
_PLANS_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the demonstration runs.

    Attributes:
        days: days of flights, 1..365.
        rounds: multiplies the requests, >= 1.
        slow_seconds: threshold from which a statement counts as slow, >= 0.
        directory: where the database's folder is made; None is the system's temporary folder.
        keep: leave the database's folder behind.
        snapshot: path to write the snapshot to, taken before the remedies; None writes none.
    """

    days: int = 365
    rounds: int = 1
    slow_seconds: float = 0.003
    directory: Path | None = None
    keep: bool = False
    snapshot: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """What one pass over the requests gave.

    Attributes:
        snapshot: taken after the last request.
        explained: every slow statement was explained before it.
        answers: by route, in the order of its requests.
    """

    snapshot: Snapshot
    explained: bool
    answers: dict[str, list[Answer]]

    def statements(self, route: str) -> float:
        """Statements a request of a route, on average."""
        return sum(
            scope.statements / scope.runs for scope in self.snapshot.scopes if scope.name == route
        )


def run(options: Options, *, console: Console) -> Report:
    """Run the whole demonstration; some ten seconds with all days.

    The folder of the database is removed in every case, also after Ctrl-C, unless it is kept.

    Args:
        options: how.
        console: shows progress bars where it is a terminal.

    Raises:
        OSError: the folder or the snapshot cannot be written.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(options))
        progress = stack.enter_context(_progress(console))
        path = folder / "flights.db"
        unmeasured, measured = (create_engine(f"sqlite:///{path}") for _ in range(2))
        stack.callback(unmeasured.dispose)
        stack.callback(measured.dispose)
        return _run(path, (unmeasured, measured), options, progress)


def _run(
    path: Path, engines: tuple[Engine, Engine], options: Options, progress: Progress
) -> Report:
    unmeasured, measured = engines
    began = time.perf_counter()
    tables, load_seconds = _load(unmeasured, options.days, progress)
    drawn = routes(unmeasured, rounds=options.rounds)
    first = _answer_all(measured, drawn, options, progress, "Answering requests")
    if options.snapshot is not None:
        first.snapshot.write(options.snapshot)
    indexes = _create_indexes(unmeasured, first.snapshot, progress)
    comparisons = _answer_again(measured, drawn, first, indexes, options, progress)
    paging = time_pages(unmeasured)
    database_bytes = path.stat().st_size
    return Report(
        tables=tables,
        database_bytes=database_bytes,
        load_seconds=load_seconds,
        requests=sum(len(route.requests) for route in drawn),
        statements=first.snapshot.calls,
        slow_seconds=options.slow_seconds,
        top=top_queries(first.snapshot, _TOP),
        repeated=repeated_statements(first.snapshot),
        findings=first.snapshot.findings,
        all_explained=first.explained,
        indexes=indexes,
        comparisons=comparisons,
        paging=paging,
        retention=_purge(unmeasured, path.parent, options.days, progress),
        total_seconds=time.perf_counter() - began,
        directory=str(path.parent) if options.keep else None,
        snapshot=str(options.snapshot) if options.snapshot else None,
    )


@contextmanager
def _folder(options: Options) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sa-perf-demo-", dir=options.directory))
    try:
        yield folder
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    return Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
        console=console,
        disable=not console.is_terminal,
    )


def _load(engine: Engine, days: int, progress: Progress) -> tuple[dict[str, int], float]:
    expected = sum(ROWS.values()) - ROWS["flights"] * (365 - days) / 365
    task = progress.add_task("Loading flights of 2013", total=round(expected))
    began = time.perf_counter()
    tables = fill(engine, days=days, progress=lambda rows: progress.advance(task, rows))
    progress.update(task, total=sum(tables.values()))
    return tables, time.perf_counter() - began


def _answer_all(
    engine: Engine,
    asked: Sequence[Route],
    options: Options,
    progress: Progress,
    title: str,
) -> _Pass:
    requests = shuffled(asked)
    answers: dict[str, dict[int, Answer]] = defaultdict(dict)
    perf = sa_perf.install(
        engine, slow_seconds=options.slow_seconds, slow_log_size=10_000, log_slow=False
    )
    try:
        for route, number in progress.track(requests, description=title):
            request = route.requests[number]
            answers[route.name][number] = answer(engine, route.name, request)
        explained = perf.wait_for_plans(_PLANS_SECONDS)
        snapshot = perf.snapshot()
    finally:
        perf.uninstall()
    return _Pass(
        snapshot=snapshot,
        explained=explained,
        answers={name: [by[n] for n in sorted(by)] for name, by in answers.items()},
    )


def _create_indexes(
    engine: Engine, snapshot: Snapshot, progress: Progress
) -> tuple[AppliedIndex, ...]:
    """Make the indexes that are advised, each tried in a copy of the schema before."""
    task = progress.add_task("Trying indexes", total=None)
    report = advise(
        engine,
        snapshot.workload(),
        progress=lambda done, total: progress.update(task, completed=done, total=total),
    )
    created: list[AppliedIndex] = []
    for advice in progress.track(report.advice, description="Making indexes"):
        began = time.perf_counter()
        with engine.begin() as connection:
            connection.exec_driver_sql(advice.create_sql)
        created.append(applied_index(advice, time.perf_counter() - began))
    return tuple(created)


def _answer_again(
    engine: Engine,
    drawn: Sequence[Route],
    first: _Pass,
    indexes: Sequence[AppliedIndex],
    options: Options,
    progress: Progress,
) -> tuple[Comparison, ...]:
    remedies = _remedies(drawn, first.snapshot, indexes)
    mended = [
        replace(route, requests=route.mended or route.requests)
        for route in drawn
        if route.name in remedies
    ]
    second = _answer_all(engine, mended, options, progress, "Answering them again")
    compared = [
        compare(
            route.name,
            remedies[route.name],
            before=first.answers[route.name],
            after=second.answers[route.name],
            statements=(first.statements(route.name), second.statements(route.name)),
        )
        for route in mended
    ]
    return tuple(sorted(compared, key=lambda one: one.speedup_ratio, reverse=True))


def _purge(engine: Engine, folder: Path, days: int, progress: Progress) -> Purge | None:
    task = progress.add_task("Purging old flights", total=None, visible=False)
    return purge(
        engine,
        folder,
        days=days,
        begin=lambda rows: progress.update(task, total=rows, visible=True),
        progress=lambda rows: progress.update(task, completed=rows),
    )


def _remedies(
    drawn: Sequence[Route], snapshot: Snapshot, indexes: Sequence[AppliedIndex]
) -> dict[str, tuple[str, ...]]:
    """What was changed for each route about which sa_perf found something."""
    seen: dict[str, set[str]] = defaultdict(set)
    for execution in snapshot.slow:
        for scope in execution.scope:
            seen[scope].add(execution.fingerprint)
    faulty = {finding.fingerprint for finding in snapshot.findings}
    repeating = {repeated.scope for repeated in repeated_statements(snapshot)}
    remedies: dict[str, tuple[str, ...]] = {}
    for route in drawn:
        changes = [one.statement for one in indexes if seen[route.name] & {*one.fingerprints}]
        if route.change and (route.name in repeating or seen[route.name] & faulty):
            changes.append(route.change)
        if changes:
            remedies[route.name] = tuple(changes)
    return remedies
