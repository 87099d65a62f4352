"""Time that sa_perf adds to a statement, beside its peers and the cheapest possible listeners.

What is measured: microseconds per statement above the same engine without any listener, and their
ratio to the floor: an EMPTY pair of before_cursor_execute and after_cursor_execute listeners.

How: each subject (subjects.py) runs in a process of its own (worker.py) and is put on its engine
before the first statement. All processes of a workload live at the same time and take turns, one
round each, so that a change of the machine's speed meets all of them. A round is a number of blocks
of 25 statements. The estimate of a process is the fastest block of a round, 25th percentile over
the rounds; that of a subject is the median over restarts of all processes, since the layout of
memory makes one process up to a microsecond faster than the next. Beside it: the median block, and
the mean CPU time of the whole process, in which garbage collection and background threads count.

    python tests/benchmarks/overhead.py --install-peers build/peers    # once; by pip, a minute
    python tests/benchmarks/overhead.py --peers build/peers            # about 10 minutes
    python tests/benchmarks/overhead.py --quick                        # seconds, and noise

Without --peers the peers are looked for in the environment at hand. A peer that is not there or
does not work is printed with its reason.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from subjects import SUBJECTS
from worker import WORKLOADS

HERE = Path(__file__).resolve().parent
BLOCK = 25
KINDS = ("fastest", "median", "cpu_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    subjects: tuple[str, ...]
    workloads: tuple[str, ...]
    rounds: int
    restarts: int
    blocks: int
    peers: Path | None


@dataclass(slots=True, kw_only=True)
class Result:
    """One subject under one workload; microseconds per statement, absolute.

    ``spread`` is half the distance between the 25th and 75th percentile of the fastest blocks over
    the restarts.
    """

    fastest: float
    median: float
    cpu_mean: float
    spread: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Everything measured: results by workload and subject, and why others have none."""

    results: dict[str, dict[str, Result]]
    failures: dict[str, str]
    versions: dict[str, str]

    def added(self, workload: str, subject: str, kind: str = "fastest") -> float | None:
        """Microseconds above bare; None where one of the two was not measured."""
        results = self.results.get(workload, {})
        if subject not in results or "bare" not in results:
            return None
        return getattr(results[subject], kind) - getattr(results["bare"], kind)

    def ratio(self, workload: str, subject: str, kind: str = "fastest") -> float | None:
        """To the floor; None where that is not measured or lost in noise."""
        added = self.added(workload, subject, kind)
        floor = self.added(workload, "floor", kind)
        return None if added is None or floor is None or floor <= 0.2 else added / floor


class Worker:
    """A process of worker.py."""

    def __init__(self, subject: str, workload: str, peers: Path | None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # close() closes it
        distribution = SUBJECTS[subject].distribution
        paths = [str(peers / distribution)] if peers is not None and distribution else []
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), subject, workload, *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def answer(self) -> dict[str, object]:
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, object] = json.loads(line)
            return answer
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return {"error": f"its process ended: {' '.join(last)[:200]}"}

    def ask(self, **request: int) -> dict[str, object]:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


@contextlib.contextmanager
def _workers(plan: Plan, workload: str, outcome: Outcome) -> Iterator[dict[str, Worker]]:
    """Processes of all subjects that work; the others are noted in ``outcome``."""
    alive: dict[str, Worker] = {}
    try:
        # A few at a time: all at once would start slowly, one after the other as well.
        for first in range(0, len(plan.subjects), 4):
            batch = [
                name for name in plan.subjects[first : first + 4] if name not in outcome.failures
            ]
            started = {name: Worker(name, workload, plan.peers) for name in batch}
            alive.update(started)
            for name, worker in started.items():
                answer = worker.answer()
                if "error" in answer:
                    outcome.failures[name] = str(answer["error"])
                    alive.pop(name).close()
                else:
                    outcome.versions[name] = str(answer["version"])
        yield alive
    finally:
        for worker in alive.values():
            worker.close()


def _low(values: Sequence[float]) -> float:
    """25th percentile."""
    return sorted(values)[(len(values) - 1) // 4]


def _one_start(plan: Plan, workload: str, outcome: Outcome) -> dict[str, dict[str, float]]:
    """Estimates of one generation of processes, by subject."""
    with _workers(plan, workload, outcome) as workers:
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
        for worker in workers.values():
            worker.ask(block=BLOCK, blocks=max(plan.blocks, 2))  # warm-up
        for number in range(plan.rounds):
            # Each round begins with another subject.
            order = list(workers)
            order = order[number % len(order) :] + order[: number % len(order)]
            for name in order:
                answer = workers[name].ask(block=BLOCK, blocks=plan.blocks)
                if "error" in answer:
                    outcome.failures[name] = str(answer["error"])
                else:
                    rounds[name].append({kind: float(str(answer[kind])) for kind in KINDS})
    estimates = {}
    for name, seen in rounds.items():
        if seen and name not in outcome.failures:
            columns = {kind: [one[kind] for one in seen] for kind in KINDS}
            estimates[name] = {
                "fastest": _low(columns["fastest"]),
                "median": statistics.median(columns["median"]),
                "cpu_mean": statistics.median(columns["cpu_mean"]),
            }
    return estimates


def measure(plan: Plan, progress: Console) -> Outcome:
    """Run the whole plan."""
    outcome = Outcome(results={}, failures={}, versions={})
    for workload in plan.workloads:
        starts: dict[str, list[dict[str, float]]] = {}
        for restart in range(plan.restarts):
            progress.print(f"{workload}: start {restart + 1} of {plan.restarts}", style="dim")
            for name, estimate in _one_start(plan, workload, outcome).items():
                starts.setdefault(name, []).append(estimate)
        outcome.results[workload] = {
            name: Result(
                **{kind: statistics.median(one[kind] for one in seen) for kind in KINDS},
                spread=_spread([one["fastest"] for one in seen]),
            )
            for name, seen in starts.items()
            if name not in outcome.failures
        }
    return outcome


def _spread(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def targets(plan: Plan, outcome: Outcome) -> list[tuple[str, str, bool | None]]:
    """(target, what was measured, whether it is reached; None where it was not measured)."""
    rows: list[tuple[str, str, bool | None]] = []
    wanted = (("sa_perf", 0.5), ("sa_perf scope", 0.5), ("sa_perf cursor_events", 1.5))
    for subject, most in wanted:
        for workload in plan.workloads:
            ratio = outcome.ratio(workload, subject)
            title = f"{subject}, {workload}: at most {most} x floor"
            shown = "not measured" if ratio is None else f"{ratio:.2f} x"
            rows.append((title, shown, None if ratio is None else ratio <= most))
    for workload in plan.workloads:
        own = outcome.added(workload, "sa_perf")
        peers = {
            name: outcome.added(workload, name)
            for name in plan.subjects
            if SUBJECTS[name].distribution and not (SUBJECTS[name].orm_only and workload != "orm")
        }
        measured = {name: added for name, added in peers.items() if added is not None}
        title = f"sa_perf, {workload}: at least 3 x below every peer"
        if own is None or not measured:
            rows.append((title, "not measured", None))
            continue
        nearest = min(measured, key=lambda name: measured[name])
        times = measured[nearest] / max(own, 0.01)
        rows.append((title, f"{times:.1f} x below {nearest}", times >= 3))
    return rows


def _table(plan: Plan, outcome: Outcome, workload: str) -> Table:
    bare = outcome.results[workload].get("bare")
    absolute = f"; bare: {bare.fastest:.2f} us" if bare else ""
    table = Table(
        title=f"{workload}: microseconds added per statement{absolute}", title_justify="left"
    )
    table.add_column("subject")
    for heading in ("added", "+-", "x floor", "median", "x floor", "mean CPU", "x floor"):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for name in plan.subjects:
        subject = SUBJECTS[name]
        version = outcome.versions.get(name, "")
        note = "sees no Core statements" if subject.orm_only and workload != "orm" else subject.note
        note = ", ".join(part for part in (version, note) if part)
        if name in outcome.failures:
            table.add_row(name, *["-"] * 7, outcome.failures[name], style="dim")
            continue
        cells = []
        for kind in KINDS:
            added, ratio = outcome.added(workload, name, kind), outcome.ratio(workload, name, kind)
            cells.append("-" if added is None else f"{added:.2f}")
            if kind == "fastest":
                cells.append(f"{outcome.results[workload][name].spread:.2f}")
            cells.append("-" if ratio is None else f"{ratio:.2f}")
        style = "bold" if name.startswith("sa_perf") else None
        table.add_row(name, *cells, note, style=style)
    return table


def environment() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "sqlalchemy": importlib.metadata.version("sqlalchemy"),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def install_peers(directory: Path) -> int:
    """Put each line of requirements.txt into a directory of its own; return the failures."""
    failures = 0
    for line in (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        requirements = line.split()
        target = directory / requirements[0].partition("==")[0]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target"]
        finished = subprocess.run([*pip, str(target), *requirements], check=False)
        failures += finished.returncode != 0
    return failures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--subjects", help="names, separated by semicolons; bare and floor are added"
    )
    parser.add_argument("--workloads", help=f"of {', '.join(WORKLOADS)}; separated by commas")
    parser.add_argument("--rounds", type=int, help="default 8, with --quick 2")
    parser.add_argument("--restarts", type=int, help="default 5, with --quick 1")
    parser.add_argument("--peers", type=Path, help="directory of --install-peers")
    parser.add_argument("--install-peers", type=Path, metavar="DIRECTORY")
    return parser.parse_args()


def _chosen(
    given: str | None, separator: str, known: Mapping[str, object], what: str
) -> tuple[str, ...]:
    """The names in an argument; all that are known where there is none."""
    if not given:
        return tuple(known)
    names = tuple(name.strip() for name in given.split(separator))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"unknown {what} {unknown!r}; {what} are: {f'{separator} '.join(known)}")
    return names


def _plan(arguments: argparse.Namespace) -> Plan:
    subjects = {"bare", "floor", *_chosen(arguments.subjects, ";", SUBJECTS, "subjects")}
    rounds, restarts = arguments.rounds, arguments.restarts
    if rounds is None:
        rounds = 2 if arguments.quick else 8
    if restarts is None:
        restarts = 1 if arguments.quick else 5
    if rounds < 1 or restarts < 1:
        raise SystemExit("--rounds and --restarts must be at least 1")
    return Plan(
        subjects=tuple(name for name in SUBJECTS if name in subjects),
        workloads=_chosen(arguments.workloads, ",", WORKLOADS, "workloads"),
        rounds=rounds,
        restarts=restarts,
        blocks=4 if arguments.quick else 25,
        peers=arguments.peers.resolve() if arguments.peers else None,
    )


def main() -> int:
    arguments = _arguments()
    if arguments.install_peers:
        return int(install_peers(arguments.install_peers.resolve()) > 0)
    plan = _plan(arguments)
    outcome = measure(plan, Console(stderr=True))
    reached = targets(plan, outcome)
    if arguments.json:
        document = {
            "environment": environment(),
            **asdict(outcome),
            "targets": [list(row) for row in reached],
        }
        print(json.dumps(document, indent=2))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print("  ".join(f"{name} {value}" for name, value in environment().items()))
    for workload in plan.workloads:
        console.print(_table(plan, outcome, workload))
    table = Table(title="targets", title_justify="left")
    for heading in ("target", "measured", ""):
        table.add_column(heading)
    words = {True: "reached", False: "NOT reached", None: "-"}
    for title, shown, verdict in reached:
        table.add_row(title, shown, words[verdict])
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
