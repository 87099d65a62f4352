"""Memory that sa_perf holds: per fingerprint, per repeated execution, and under a flood.

How: ``tracemalloc`` around each part, after a garbage collection, on an in-memory SQLite engine.
SQLAlchemy's own statement cache is filled before, so that what is counted is held by sa_perf, and
so is what is loaded once in a process (sqlglot). Text is taken off: a statement of a thousand
characters needs its thousand bytes.

* per fingerprint, filled: an aggregate whose histogram holds all 960 buckets, the most there is.
* per fingerprint, usual: statements that were executed 100 times each.
* per execution: 20,000 further executions of statements that are known.
* flood: distinct texts, far more than ``max_fingerprints``; what remains, and the peaks.

    python tests/benchmarks/memory.py            # a million statements, several minutes
    python tests/benchmarks/memory.py --quick    # ten thousand
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tracemalloc
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, literal_column, select
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool

import sa_perf
from sa_perf.histogram import BUCKETS, bucket_bounds

MOST_BYTES = 2_560


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One line of the table; ``most`` is the target, None where there is none."""

    part: str
    measured: float
    unit: str
    most: float | None = None

    @property
    def verdict(self) -> str:
        if self.most is None:
            return ""
        return "reached" if self.measured <= self.most else "NOT reached"


def _held() -> int:
    for _ in range(3):
        gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _engine() -> Engine:
    # Statements go by exec_driver_sql(), which SQLAlchemy does not cache.
    return create_engine("sqlite://", poolclass=StaticPool)


def _statement(number: int) -> str:
    # Another column name is another shape; another literal would not be.
    return f"SELECT {number} AS column_{number:09d}"


def _load_sqlglot() -> None:
    engine = _engine()
    perf = sa_perf.install(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1").all()
    perf.housekeep()
    perf.uninstall()


def filled(fingerprints: int) -> float:
    """Bytes per fingerprint beyond its text, every bucket of its histogram in use."""
    perf = sa_perf.install(
        _engine(), explain=False, log_slow=False, max_fingerprints=max(10, fingerprints)
    )
    texts = [_statement(number) for number in range(fingerprints)]
    durations = [sum(bucket_bounds(bucket)) // 2 for bucket in range(BUCKETS)]
    statistics = perf.statistics
    before = _held()
    for text in texts:
        aggregate = statistics.aggregate("sqlite:///", text, None)
        for duration in durations:
            aggregate.histogram.add(duration)
    held = _held() - before
    # The list above holds the texts, so they are not in the sum.
    return held / fingerprints


def usual(fingerprints: int, executions: int) -> tuple[float, float]:
    """(bytes per fingerprint beyond its text, bytes per further execution)."""
    engine = create_engine("sqlite://", poolclass=StaticPool, query_cache_size=2 * fingerprints)
    statements = [
        select(literal_column(str(number)).label(f"column_{number:09d}"))
        for number in range(fingerprints)
    ]
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(statement).all()
    perf = sa_perf.install(
        engine, explain=False, log_slow=False, max_fingerprints=max(10, fingerprints)
    )
    with engine.connect() as connection:
        before = _held()
        for _ in range(executions):
            for statement in statements:
                connection.execute(statement).all()
        perf.fold()
        held = _held() - before
        repeated = 20_000
        for number in range(repeated):
            connection.execute(statements[number % fingerprints]).all()
        perf.fold()
        grown = _held() - before - held
    text_bytes = sum(sys.getsizeof(query.statement) for query in perf.snapshot().queries)
    return (held - text_bytes) / fingerprints, grown / repeated


def flood(statements: int, capacity: int) -> dict[str, float]:
    """What is held after a flood of distinct texts, and the peak in either half of it."""
    engine = _engine()
    perf = sa_perf.install(engine, explain=False, log_slow=False, max_fingerprints=capacity)
    held: list[int] = []
    peaks: list[int] = []
    with engine.connect() as connection:
        before = _held()
        for tenth in range(10):
            tracemalloc.reset_peak()
            for number in range(tenth * statements // 10, (tenth + 1) * statements // 10):
                connection.exec_driver_sql(_statement(number)).all()
            perf.fold()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
            held.append(_held() - before)
    snapshot = perf.snapshot()
    return {
        "calls": snapshot.calls,
        "fingerprints": len(snapshot.queries),
        "after_one_tenth": held[0],
        "after_all": held[-1],
        # Bounded caches fill up and are emptied, so peaks are compared, not moments.
        "first_peak": max(peaks[:5]),
        "second_peak": max(peaks[5:]),
    }


def measure(*, quick: bool) -> list[Reading]:
    """Every reading, in the order of the module's text."""
    _load_sqlglot()
    tracemalloc.start()
    bytes_filled = filled(20 if quick else 500)
    bytes_usual, bytes_repeated = usual(20 if quick else 200, 5 if quick else 100)
    statements, capacity = (10_000, 200) if quick else (1_000_000, 5_000)
    flooded = flood(statements, capacity)
    growth = flooded["second_peak"] / flooded["first_peak"]
    return [
        Reading(part="fingerprint, histogram filled", measured=bytes_filled, unit="B",
                most=MOST_BYTES),
        Reading(part="fingerprint, usual", measured=bytes_usual, unit="B", most=MOST_BYTES),
        # Below one byte: an interned number or a list that doubles, not a record.
        Reading(part="repeated execution", measured=bytes_repeated, unit="B", most=1.0),
        Reading(part=f"flood: statements executed (limit {capacity:,} fingerprints)",
                measured=statements, unit=""),
        Reading(part="flood: calls not counted", measured=statements - flooded["calls"], unit="",
                most=0),
        Reading(part="flood: fingerprints held", measured=flooded["fingerprints"], unit="",
                most=capacity + 1),
        Reading(part="flood: held after a tenth", measured=flooded["after_one_tenth"] / 1e6,
                unit="MB"),
        Reading(part="flood: held after all", measured=flooded["after_all"] / 1e6, unit="MB"),
        Reading(part="flood: peak", measured=flooded["second_peak"] / 1e6, unit="MB"),
        Reading(part="flood: peak of the second half to the first", measured=growth, unit="x",
                most=1.1),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small flood")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    readings = measure(quick=arguments.quick)
    if arguments.json:
        print(json.dumps([{**asdict(one), "verdict": one.verdict} for one in readings], indent=2))
        return 0
    table = Table(title="memory held by sa_perf (tracemalloc)", title_justify="left")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("at most", justify="right")
    table.add_column("")
    for one in readings:
        most = "" if one.most is None else f"{one.most:,.6g} {one.unit}"
        table.add_row(one.part, f"{one.measured:,.2f} {one.unit}", most, one.verdict)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
