"""Retention beside one DELETE, naive batches and a peer, under load.

A table of 1,000,000 rows (retention_data.py), of which the older half is purged, on an SQLite file
in WAL mode, on PostgreSQL and on MariaDB, all with their default settings. In each round every
subject has a turn, in an order by chance: the database is copied anew, a reader and a writer set to
work (retention_load.py), and the subject (retention_subjects.py), in a process of its own that has
imported and connected but compiled nothing, purges. Figures are medians over the rounds; "+-" is
half the range of the ratio to the one DELETE of the same round. Latencies are those of the
writer's statements that began during purges, of all rounds together.

Longest batch: of a round, by the audit and by a clock around the driver's BEGIN and COMMIT.
pt-archiver (percona-toolkit; optional) purges with the same batch size as "sa_perf, fixed batches";
what a dry run of it takes is left out of its time. Naive batches end after ten seconds.

    python tests/benchmarks/retention.py                     # about 20 minutes
    python tests/benchmarks/retention.py --memory            # memory, 5,000,000 rows
    python tests/benchmarks/retention.py --quick             # seconds, and noise
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import retention_subjects as by
from databases import DATABASES, Missing
from retention_data import pristine
from retention_load import Memory, Turn, take_memory_turn, take_turn
from retention_partitions import Drop, time_drops
from rich.console import Console
from rich.table import Table
from sqlalchemy import __version__ as sqlalchemy_version

ARCHIVING = (by.JSONL, by.GZIP, by.TO_TABLE)
#: Share of the one DELETE's throughput that is aimed at.
SHARES = {"postgresql": 0.85, "sqlite": 0.65, "mariadb": 0.80}
MEGABYTE = 1_000_000


@dataclass(slots=True, kw_only=True)
class Result:
    """A subject on a database.

    Attributes:
        rate: rows a second.
        share: of the one DELETE's rate in the same round.
        spread: half the range of ``share``.
        cpu: seconds of the subject's own process.
        batches: number of transactions.
        batch_rows: rows of the middle batch.
        longest: milliseconds of a round's longest batch by the audit: median, largest.
        outside: the same by a clock around the driver.
        new: milliseconds of INSERTs: median, 99th percentile, largest.
        old: of UPDATEs of old rows.
        samples: INSERTs during purges.
        done: it came to its end.
    """

    rate: float
    share: float
    spread: float
    cpu: float
    batches: float
    batch_rows: float
    longest: tuple[float, float] | None
    outside: tuple[float, float] | None
    new: tuple[float, float, float] | None
    old: tuple[float, float, float] | None
    samples: int
    done: bool


@dataclass(slots=True, kw_only=True)
class Outcome:
    """All that was measured, by database and subject."""

    environment: dict[str, str]
    results: dict[str, dict[str, Result]] = field(default_factory=dict)
    memory: dict[str, dict[str, Memory]] = field(default_factory=dict)
    drops: dict[int, list[Drop]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measure(plan: argparse.Namespace, progress: Console) -> Outcome:
    """Fill each database in turn and measure on it."""
    outcome = Outcome(
        environment={
            "python": platform.python_version(),
            "sqlalchemy": sqlalchemy_version,
            "platform": f"{platform.system()} {platform.machine()}",
            "rows": f"{plan.rows:,}",
            "rounds": f"{plan.rounds}",
        }
    )
    for name in plan.databases:
        progress.print(f"{name}: filling", style="dim")
        with contextlib.ExitStack() as stack:
            try:
                source = stack.enter_context(pristine(name, plan.rows))
            except Missing as error:
                outcome.failures[name] = str(error)
                continue
            outcome.environment[name] = source.version
            if plan.memory:
                outcome.memory[name] = {
                    subject: take_memory_turn(source, subject) for subject in ARCHIVING
                }
                continue
            subjects = _subjects(name, outcome.failures)
            turns: dict[str, list[Turn]] = {subject: [] for subject in subjects}
            chance = random.Random(0)
            for number in range(plan.rounds):
                progress.print(f"{name}: round {number + 1} of {plan.rounds}", style="dim")
                for subject in chance.sample(subjects, len(subjects)):
                    turns[subject].append(take_turn(source, subject))
            outcome.results[name] = {
                subject: _result(found, turns[by.SINGLE]) for subject, found in turns.items()
            }
    if "postgresql" in outcome.results:
        progress.print("postgresql: dropping partitions", style="dim")
        counts = [plan.rows // part for part in (200, 20, 2)]
        outcome.drops = time_drops(counts, plan.rounds)
    return outcome


def _subjects(database: str, failures: dict[str, str]) -> list[str]:
    found = []
    for name, subject in by.SUBJECTS.items():
        if database in subject.databases:
            reason = subject.missing()
            if reason is None:
                found.append(name)
            else:
                failures[name] = reason
    return found


def _result(turns: Sequence[Turn], singles: Sequence[Turn]) -> Result:
    rates = [one.rows / one.seconds for one in turns]
    floors = [one.rows / one.seconds for one in singles]
    shares = [rate / floor for rate, floor in zip(rates, floors, strict=True)]
    median = statistics.median
    return Result(
        rate=median(rates), share=median(shares), spread=(max(shares) - min(shares)) / 2,
        cpu=median(one.cpu for one in turns),
        batches=median(one.purged.batches for one in turns),
        batch_rows=median(one.purged.batch_rows for one in turns),
        longest=_longest([one.purged.longest for one in turns]),
        outside=_longest([one.purged.outside for one in turns]),
        new=_latencies([took for one in turns for took in one.new]),
        old=_latencies([took for one in turns for took in one.old]),
        samples=sum(len(one.new) for one in turns),
        done=all(one.purged.done for one in turns),
    )  # fmt: skip


def _longest(seconds: Sequence[float | None]) -> tuple[float, float] | None:
    known = [one * 1_000 for one in seconds if one is not None]
    return (statistics.median(known), max(known)) if known else None


def _latencies(seconds: Sequence[float]) -> tuple[float, float, float] | None:
    if not seconds:
        return None
    values = sorted(one * 1_000 for one in seconds)
    return values[len(values) // 2], values[(len(values) * 99 - 1) // 100], values[-1]


# Aims

Target = tuple[str, str, "bool | None"]


def targets(outcome: Outcome) -> list[Target]:
    """(aim, what was measured, whether it is reached; None where it was not measured)."""
    rows: list[Target] = []
    for name, results in outcome.results.items():
        rows += _targets_of(name, results)
    for name, found in outcome.memory.items():
        for subject, memory in found.items():
            above = (memory.peak - memory.idle) / MEGABYTE
            title = f"{name}: {subject}: memory below 64 MB above idle"
            rows.append((title, f"{above:.0f} MB", above < 64))
    if outcome.drops:
        rows += _targets_of_drops(outcome.drops)
    return rows


def _targets_of_drops(drops: dict[int, list[Drop]]) -> Iterator[Target]:
    def told(seconds: Callable[[Drop], float]) -> tuple[str, bool]:
        times = {
            count: statistics.median(seconds(one) for one in found)
            for count, found in drops.items()
        }
        shown = ", ".join(f"{count:,}: {1_000 * one:.0f} ms" for count, one in times.items())
        apart = max(times.values()) / min(times.values())
        return f"{shown}; {apart:.1f} x", apart <= 2

    title = "postgresql: a partition's drop takes as long whatever its rows, within 2 x"
    yield title, *told(lambda one: one.seconds)
    title = "postgresql: the same but for COMMIT, in which the server removes the files"
    yield title, *told(lambda one: one.seconds - one.commit)


def _targets_of(name: str, results: dict[str, Result]) -> Iterator[Target]:
    own, idle = results[by.OWN], results[by.IDLE]
    aim = SHARES[name]
    title = f"{name}: {by.OWN}: at least {aim:.0%} of one DELETE"
    yield title, f"{own.share:.0%} (+- {own.spread:.0%})", own.share >= aim
    if name == "postgresql":
        rate = results[by.JSONL].rate
        yield f"{name}: {by.JSONL}: at least 60,000 rows/s", f"{rate:,.0f}", rate >= 60_000
    limit = by.TARGET * 1_000
    for subject in (by.OWN, by.JSONL):
        longest = results[subject].longest
        if longest is not None:
            title = f"{name}: {subject}: longest batch at most 2 x the target"
            shown = f"{longest[0]:.0f} ms, median of rounds; {longest[1]:.0f} ms in all"
            yield title, shown, longest[0] <= 2 * limit
    if own.new is None or idle.new is None:
        return
    if name == "sqlite":
        title = f"{name}: {by.OWN}: writer's p99 at most the target"
        yield title, f"{own.new[1]:.0f} ms", own.new[1] <= limit
    else:
        times = own.new[1] / idle.new[1]
        title = f"{name}: {by.OWN}: writer's p99 at most 4 x that without purge"
        yield title, f"{times:.1f} x", times <= 4
    if name == "mariadb":
        title = f"{name}: {by.FIXED}: at least 1.3 x pt-archiver"
        if by.PEER not in results:
            yield title, "not measured", None
            return
        times = results[by.FIXED].rate / results[by.PEER].rate
        yield title, f"{times:.2f} x", times >= 1.3


# Printing


def _speed_table(name: str, results: dict[str, Result]) -> Table:
    table = Table(title=f"{name}: throughput and batches", title_justify="left")
    headings = "rows/s,% of one,+-,CPU s,batches,rows each,longest ms,largest,outside ms"
    table.add_column("subject")
    for heading in headings.split(","):
        table.add_column(heading, justify="right")
    for subject, one in results.items():
        if subject == by.IDLE:
            continue
        table.add_row(
            subject if one.done else f"{subject}, unfinished", f"{one.rate:,.0f}",
            f"{one.share:.0%}", f"{one.spread:.0%}", f"{one.cpu:.2f}",
            f"{one.batches:.0f}" if one.batches else "-", f"{one.batch_rows:,.0f}",
            *_milliseconds(one.longest, 2), *_milliseconds(one.outside, 1),
            style="bold" if subject.startswith(by.OWN) else None,
        )  # fmt: skip
    return table


def _latency_table(name: str, results: dict[str, Result]) -> Table:
    table = Table(title=f"{name}: milliseconds of a write meanwhile", title_justify="left")
    table.add_column("subject")
    for heading in ["new p50", "p99", "max", "old row p50", "p99", "max", "samples"]:
        table.add_column(heading, justify="right")
    for subject, one in results.items():
        table.add_row(
            subject, *_milliseconds(one.new, 3), *_milliseconds(one.old, 3), f"{one.samples:,}",
            style="bold" if subject.startswith(by.OWN) else None,
        )  # fmt: skip
    return table


def _milliseconds(values: Sequence[float] | None, width: int) -> list[str]:
    if values is None:
        return ["-"] * width
    return [f"{one:,.1f}" if one < 10 else f"{one:,.0f}" for one in values[:width]]


def _memory_table(outcome: Outcome) -> Table:
    table = Table(title="megabytes of the purging process", title_justify="left")
    for heading in ("database", "subject"):
        table.add_column(heading)
    for heading in ("rows purged", "idle", "peak", "above", "RSS above", "samples"):
        table.add_column(heading, justify="right")
    for name, found in outcome.memory.items():
        for subject, one in found.items():
            table.add_row(
                name, subject, f"{one.rows:,}", f"{one.idle / MEGABYTE:.0f}",
                f"{one.peak / MEGABYTE:.0f}", f"{(one.peak - one.idle) / MEGABYTE:.0f}",
                f"{(one.peak_rss - one.idle_rss) / MEGABYTE:.0f}", f"{one.samples}",
            )  # fmt: skip
    return table


def show(outcome: Outcome, console: Console) -> None:
    """Print all tables."""
    console.print("  ".join(f"{name} {value}" for name, value in outcome.environment.items()))
    for name, results in outcome.results.items():
        console.print(_speed_table(name, results))
        console.print(_latency_table(name, results))
    if outcome.memory:
        console.print(_memory_table(outcome))
    for name, reason in outcome.failures.items():
        console.print(f"{name}: {reason}", style="dim")
    table = Table(title="targets", title_justify="left")
    for heading in ("target", "measured", ""):
        table.add_column(heading)
    words = {True: "reached", False: "NOT reached", None: "-"}
    for title, shown, verdict in targets(outcome):
        table.add_row(title, shown, words[verdict])
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rows: to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--databases", default=",".join(DATABASES), help="separated by commas")
    parser.add_argument("--rows", type=int, help="default 1,000,000; --memory 5,000,000")
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 1")
    plan = parser.parse_args()
    plan.databases = [name.strip() for name in plan.databases.split(",")]
    unknown = [name for name in plan.databases if name not in DATABASES]
    if unknown:
        raise SystemExit(f"unknown databases {unknown!r}; databases are: {', '.join(DATABASES)}")
    usual = 5_000_000 if plan.memory else 1_000_000
    plan.rows = plan.rows or (20_000 if plan.quick else usual)
    plan.rounds = plan.rounds or (1 if plan.quick else 5)
    if plan.rows < 20_000 or plan.rounds < 1:
        raise SystemExit("--rows must be at least 20000, --rounds at least 1")
    return plan


def main() -> int:
    plan = _arguments()
    outcome = measure(plan, Console(stderr=True))
    if plan.json:
        print(json.dumps({**asdict(outcome), "targets": targets(outcome)}, indent=2))
        return 0
    show(outcome, Console(width=None if sys.stdout.isatty() else 150))
    return 0


if __name__ == "__main__":
    sys.exit(main())
