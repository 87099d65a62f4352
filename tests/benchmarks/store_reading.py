"""Time to read a day of a store: 8 processes, 500 fingerprints, the last hour by minutes.

How: rows are written as processes do, 24 hours of sums and an hour of 240,000 rows of minutes,
each with a histogram of 1 to 100 durations (fixed seed). Then `StoreReader.window` with the
percentiles of the 20 most costly statements, as ``sa-perf top`` shows them, those of all, and the
command itself with its start. Times are the median of the repetitions. Makes the tables in the
database at --url (by default an SQLite file that is removed), which must be empty.

    python tests/benchmarks/store_reading.py [--url URL] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, create_engine, insert

from sa_perf import migration
from sa_perf.histogram import Histogram
from sa_perf.store import tables
from sa_perf.store.histogram_blob import to_blob
from sa_perf.store.reading import StoreReader
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE

PROCESSES, STATEMENTS, HOURS, MINUTES = 8, 500, 24, 60
TARGET_SECONDS = 0.5
#: 2026-11-23 12:00 UTC.
NOON = 1_795_435_200
_FACTS = '{"databases": [], "health": {}, "slow_seconds": 0.2}'


def _blob(source: random.Random, calls: int) -> bytes:
    histogram = Histogram()
    for _ in range(calls):
        histogram.add(int(source.lognormvariate(14, 0.8)))
    return to_blob(histogram)


def _row(moment: int, statement: int, process: int, flush: int, calls: int, blob: bytes) -> Any:
    seconds = calls * 0.001 * (1 + statement % 7)
    return {
        "began_at": moment, "statement_id": statement, "process_id": process, "flush": flush,
        "calls": calls, "errors": 0, "row_count": 3 * calls, "executions": calls,
        "parameter_sets": calls, "executemany_calls": 0, "insertmanyvalues_calls": 0,
        "total_seconds": seconds, "fetch_seconds": seconds / 3, "loop_wait_seconds": 0.0,
        "min_seconds": 0.0005, "max_seconds": 0.01, "sum_squares": seconds * seconds,
        "first_seen": float(moment), "last_seen": moment + 30.5, "last_error": None,
        "histogram": blob,
    }  # fmt: skip


def fill(engine: Engine, *, statements: int, minutes: int) -> int:
    """Write a day up to noon; returns how many rows of minutes there are."""
    source = random.Random(1)
    sizes = source.choices((1, 2, 5, 10, 40, 100), k=3_000)
    blobs = [(size, _blob(source, size)) for size in sizes]
    sums = [(3_000, _blob(source, 3_000)) for _ in range(50)]
    migration.upgrade(engine)
    numbers = range(1, statements + 1)
    with engine.begin() as connection:
        connection.execute(
            insert(tables.processes),
            [{"token": f"{one:032x}", "host": "web-1", "pid": one, "started_at": NOON - 2 * DAY,
              "seen_at": NOON, "flush": 1, "facts": _FACTS} for one in range(PROCESSES)],
        )  # fmt: skip
        connection.execute(
            insert(tables.statements),
            [{"fingerprint": f"{one:016x}", "database_label": "shop", "kind": "select",
              "statement": f"SELECT a.x FROM t{one} AS a WHERE a.x = ? {'AND a.y = ? ' * 10}",
              "seen_at": NOON} for one in numbers],
        )  # fmt: skip
        now = NOON - HOUR
        connection.execute(
            insert(tables.levels), [{"width": HOUR, "closed_at": now, "rolled_at": now}]
        )
        for hour in range(HOURS):
            rows = [_row(now - hour * HOUR - HOUR, one, MERGED, 0, *source.choice(sums))
                    for one in numbers]  # fmt: skip
            connection.execute(insert(tables.queries[HOUR]), rows)
        for minute in range(minutes):
            rows = [_row(now + minute * MINUTE, one, process, minute + 1, *source.choice(blobs))
                    for one in numbers for process in range(1, PROCESSES + 1)]  # fmt: skip
            connection.execute(insert(tables.queries[MINUTE]), rows)
    return minutes * PROCESSES * statements


def _median(action: Callable[[], object], repetitions: int) -> float:
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(url: str, repetitions: int) -> Mapping[str, float]:
    """Seconds of each way to read."""
    since = datetime.fromtimestamp(NOON - DAY, timezone.utc)

    def read(shown: int) -> None:
        snapshot = StoreReader(url).window(since, documents=False)
        for one in snapshot.top_queries(shown):
            _ = one.p50_seconds, one.p95_seconds

    command = [sys.executable, "-m", "sa_perf", "top", "--store", url, "--since", since.isoformat()]
    return {
        "window, 20 percentiles": _median(lambda: read(20), repetitions),
        "window, all percentiles": _median(lambda: read(STATEMENTS), max(1, repetitions // 3)),
        "sa-perf top, with its start": _median(
            lambda: subprocess.run(command, capture_output=True, check=True), repetitions
        ),
    }


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="an empty database; default: an SQLite file")
    parser.add_argument("--quick", action="store_true", help="20 fingerprints, 5 minutes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'store.db'}"
        engine = create_engine(url)
        sizes = (20, 5) if options.quick else (STATEMENTS, MINUTES)
        rows = fill(engine, statements=sizes[0], minutes=sizes[1])
        found = measure(url, 1 if options.quick else 7)
        if options.url:
            migration.downgrade(engine, "base")
        engine.dispose()
    if options.json:
        print(json.dumps({"rows": rows, "seconds": found}, indent=2))
        return
    table = Table("reading", "ms", title=f"{rows:,} rows of minutes")
    for name, seconds in found.items():
        table.add_row(name, f"{seconds * 1e3:,.0f}")
    console = Console()
    console.print(table)
    met = "met" if found["window, 20 percentiles"] < TARGET_SECONDS else "missed"
    console.print(f"window with 20 percentiles: under {TARGET_SECONDS * 1e3:.0f} ms: {met}")


if __name__ == "__main__":
    main()
