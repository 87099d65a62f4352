"""What it costs to look for lazy loads and repetitions, per statement.

What is measured: microseconds of CPU time above the same engine without sa_perf, for a lazy load
(whose parent, relationship and application line are found each time) and for a statement in a scope
(whose parameters are compared with those before). Beside it: sa_perf with ``n_plus_one`` off, so
that what the search itself adds can be told; the aim is for that.

How: a process for each subject, all alive at the same time, one round each in turn, beginning with
another each time. A round is a number of blocks of 50 statements; its figure is the median block,
a process's the median over its rounds, a subject's the median over restarts of all processes.

    python tests/benchmarks/lazy_loads.py            # about 2 minutes
    python tests/benchmarks/lazy_loads.py --quick    # seconds, and noise
    python tests/benchmarks/lazy_loads.py --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, ForeignKey, bindparam, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import StaticPool

import sa_perf

BLOCK = 50
#: Settings by subject; None: no sa_perf at all.
SUBJECTS: dict[str, dict[str, Any] | None] = {
    "bare": None,
    "n_plus_one off": {"n_plus_one": False},
    "sa_perf": {},
    "sa_perf, cursor_events": {"capture": "cursor_events"},
}
#: Workload -> microseconds that the search may add to recording without it; None: no aim.
AIMS: dict[str, float | None] = {
    "lazy load of many": 6.0,
    "lazy load of one": 6.0,
    "statement in a scope": None,
    "same statement in a scope": None,
}


class Base(DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parent"

    id: Mapped[int] = mapped_column(primary_key=True)
    children: Mapped[list[Child]] = relationship(back_populates="parent")


class Child(Base):
    __tablename__ = "child"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id"))
    parent: Mapped[Parent] = relationship(back_populates="children")


_BY_KEY = select(Parent.__table__).where(Parent.__table__.c.id == bindparam("key"))


def _many(session: Session) -> None:
    for parent in session.scalars(select(Parent)).all():
        len(parent.children)


def _one(session: Session) -> None:
    for child in session.scalars(select(Child)).all():
        child.parent  # noqa: B018  # reading it loads it


def _statements(session: Session) -> None:
    connection = session.connection()
    for key in range(BLOCK):
        connection.execute(_BY_KEY, {"key": key}).all()


def _same(session: Session) -> None:
    connection = session.connection()
    for _ in range(BLOCK):
        connection.execute(_BY_KEY, {"key": 1}).all()


WORKLOADS: dict[str, Callable[[Session], None]] = dict(
    zip(AIMS, (_many, _one, _statements, _same), strict=True)
)


# In the processes


def work(subject: str) -> None:
    """Answer requests for blocks, a JSON line each."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Parent(id=n, children=[Child(id=n)]) for n in range(1, BLOCK + 1))
        session.commit()
    settings = SUBJECTS[subject]
    perf = None if settings is None else sa_perf.install(engine, explain=False, **settings)
    for line in sys.stdin:
        request = json.loads(line)
        run = WORKLOADS[request["workload"]]
        times = [_block(engine, run, scoped=perf is not None) for _ in range(request["blocks"])]
        repeats = 0 if perf is None else len(perf.snapshot().repeats)
        answer = {"us": statistics.median(times) / BLOCK / 1e3, "repeats": repeats}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _block(engine: Engine, run: Callable[[Session], None], *, scoped: bool) -> int:
    scope = sa_perf.scope("block") if scoped else contextlib.nullcontext()
    with Session(engine) as session, scope:
        started = time.process_time_ns()
        run(session)
        return time.process_time_ns() - started


# Around them


@contextlib.contextmanager
def _processes() -> Iterator[dict[str, subprocess.Popen[str]]]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    started = {name: subprocess.Popen([*command, name], **pipes) for name in SUBJECTS}
    try:
        yield started
    finally:
        for process in started.values():
            process.communicate()


def _ask(process: subprocess.Popen[str], workload: str, blocks: int) -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"workload": workload, "blocks": blocks}) + "\n")
    process.stdin.flush()
    answer: dict[str, float] = json.loads(process.stdout.readline())
    return answer


def measure(*, restarts: int, rounds: int, blocks: int) -> dict[str, dict[str, float]]:
    """Microseconds per statement, by workload and subject."""
    figures: dict[str, dict[str, list[float]]] = {
        workload: {name: [] for name in SUBJECTS} for workload in WORKLOADS
    }
    for _ in range(restarts):
        with _processes() as processes:
            for workload in WORKLOADS:
                seen = _rounds(processes, workload, rounds, blocks)
                for name, values in seen.items():
                    figures[workload][name].append(statistics.median(values))
            _check(processes)
    return {
        workload: {name: statistics.median(values) for name, values in subjects.items()}
        for workload, subjects in figures.items()
    }


def _rounds(
    processes: dict[str, subprocess.Popen[str]], workload: str, rounds: int, blocks: int
) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {name: [] for name in processes}
    for process in processes.values():
        _ask(process, workload, 3)  # warm-up
    names = list(processes)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seen[name].append(_ask(processes[name], workload, blocks)["us"])
    return seen


def _check(processes: dict[str, subprocess.Popen[str]]) -> None:
    """See that who looks for repetitions has found them, and nobody else."""
    found = {
        name: _ask(process, "lazy load of many", 1)["repeats"]
        for name, process in processes.items()
    }
    wanted = {"bare": 0, "n_plus_one off": 0, "sa_perf": 3, "sa_perf, cursor_events": 3}
    if found != wanted:
        raise SystemExit(f"repetitions found are {found}, not {wanted}: nothing was measured")


def targets(figures: dict[str, dict[str, float]]) -> list[tuple[str, str, bool]]:
    """(target, what was measured, whether it is reached)."""
    rows = []
    for workload, most in AIMS.items():
        if most is not None:
            found = figures[workload]
            added, all_of_it = (
                found["sa_perf"] - found[name] for name in ("n_plus_one off", "bare")
            )
            measured = f"{added:.2f} us ({all_of_it:.2f} us with recording itself)"
            rows.append((f"{workload}, the search: at most {most:g} us", measured, added <= most))
    return rows


def show(figures: dict[str, dict[str, float]], console: Console) -> None:
    """Print the tables."""
    table = Table(title="microseconds of CPU time added per statement", title_justify="left")
    table.add_column("workload")
    table.add_column("bare", justify="right")
    others = [name for name in SUBJECTS if name != "bare"]
    for name in others:
        table.add_column(name, justify="right")
    for workload, found in figures.items():
        added = [f"{found[name] - found['bare']:.2f}" for name in others]
        table.add_row(workload, f"{found['bare']:.1f}", *added)
    console.print(table)
    for target, measured, reached in targets(figures):
        console.print(f"{'reached' if reached else 'MISSED'}  {target}: {measured}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds, and noise")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--worker", metavar="SUBJECT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    amount = (1, 2, 3) if options.quick else (5, 12, 20)
    load_before = os.getloadavg()[0]
    figures = measure(restarts=amount[0], rounds=amount[1], blocks=amount[2])
    load = [round(load_before, 2), round(os.getloadavg()[0], 2)]
    if options.json:
        document = {"figures": figures, "load": load, "targets": targets(figures)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    console = Console(width=110)
    show(figures, console)
    console.print(f"load average of the machine: {load[0]} before, {load[1]} after")


if __name__ == "__main__":
    main()
