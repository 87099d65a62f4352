"""Time of a flush of 5,000 fingerprints, and room that a day of minutes takes.

How: every shape is executed 30 times between two flushes, with log-normal durations (fixed seed).
Taking is what the housekeeping thread does, writing what the sending thread does; the first flush,
which also writes the texts, is shown apart. Then 8 processes flush 500 fingerprints each minute of
an hour, and it is rolled up; the room that a day of minutes takes is that of 24 such hours. Makes
the tables in the database at --url (by default an SQLite file that is removed), which must be
empty.

    python tests/benchmarks/store_flush.py [--url URL] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, func, select

from sa_perf import migration
from sa_perf.dialects.sizes import read_sizes
from sa_perf.queries.statistics import Statistics
from sa_perf.store import tables
from sa_perf.store.batch import Batch, Process
from sa_perf.store.levels import roll_up
from sa_perf.store.place import Place
from sa_perf.store.tables import HOUR, MINUTE
from sa_perf.store.writing import Writer

CALLS = 30
TARGET_SECONDS = 0.150
#: 2026-11-23 12:00 UTC.
NOON = 1_795_435_200


class Application:
    """A process whose statements are counted, not run.

    Args:
        shapes: how many it has.
        pid: of the process.
    """

    def __init__(self, shapes: int, pid: int) -> None:
        self._source = random.Random(pid)
        self._clock = count(1_000_000_000, 1_000_000)
        self.statistics = Statistics(
            shapes + 1, wall=lambda: float(NOON), clock=lambda: next(self._clock)
        )
        self._aggregates = [
            self.statistics.aggregate("postgresql://db/shop", f"{_SHAPE} {one}", None)
            for one in range(shapes)
        ]
        self._batches = count(1)
        self.writer = Writer(
            Process(service="shop", release=None, host="web-1", pid=pid, started_at=NOON)
        )

    def work(self, calls: int = CALLS) -> None:
        """Execute every statement."""
        durations = [int(self._source.lognormvariate(14, 0.6)) for _ in range(2_000)]
        for aggregate in self._aggregates:
            for duration in self._source.choices(durations, k=calls):
                aggregate.count(True, next(self._clock), duration, duration // 10, 3)

    def batch(self, began_at: int) -> Batch:
        """What was executed since the last call."""
        return Batch(
            number=next(self._batches), began_at=began_at, taken_at=began_at + 60.0, facts="{}",
            queries=self.statistics.take(),
        )  # fmt: skip


_SHAPE = "SELECT orders.id, orders.total, orders.placed_at FROM orders WHERE orders.id = ? AND"


def flushes(place: Place, shapes: int, repetitions: int) -> dict[str, float]:
    """Seconds to take and to write: medians, and the first one."""
    application = Application(shapes, 1)
    taking, writing = [], []
    for turn in range(repetitions + 1):
        application.work()
        started = time.perf_counter()
        batch = application.batch(NOON + turn * MINUTE)
        taken = time.perf_counter()
        assert place.run(lambda one, batch=batch: application.writer.write(one, batch, lost=(0, 0)))
        taking.append(taken - started)
        writing.append(time.perf_counter() - taken)
    return {
        "take": statistics.median(taking[1:]),
        "write": statistics.median(writing[1:]),
        "first write, with the texts": writing[0],
    }


def an_hour(place: Place, shapes: int, processes: int, minutes: int) -> dict[str, float]:
    """Rows and bytes of an hour of minutes, and of the same as sums."""
    applications = [Application(shapes, 100 + pid) for pid in range(processes)]
    begin = NOON + 10 * HOUR
    before = _bytes(place)
    for minute in range(minutes):
        for application in applications:
            application.work(application._source.choice((1, 2, 5, 10)))
            batch = application.batch(begin + minute * MINUTE)
            place.run(
                lambda one, who=application, batch=batch: who.writer.write(one, batch, lost=(0, 0))
            )
    minute_bytes = _bytes(place) - before
    rows = shapes * processes * minutes
    started = time.perf_counter()
    place.run(lambda one: roll_up(one, "me", begin + 2 * HOUR, sleep=lambda _: None))
    rolling = time.perf_counter() - started
    hours = place.run(
        lambda one: one.scalar(select(func.count()).select_from(tables.queries[HOUR]))
    )
    return {
        "rows of minutes": rows,
        "bytes a row": minute_bytes / rows,
        "rows of the hour": hours,
        "seconds to roll it up": rolling,
        "bytes of a day of minutes": minute_bytes / minutes * 24 * 60,
    }


def _bytes(place: Place) -> int:
    return place.run(lambda one: read_sizes(one, tables=0).total_bytes) or 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="an empty database; default: an SQLite file")
    parser.add_argument("--quick", action="store_true", help="50 fingerprints, 2 minutes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'store.db'}"
        engine = create_engine(url)
        migration.upgrade(engine)
        place = Place(url)
        shapes, many, minutes = (50, 20, 2) if options.quick else (5_000, 500, 60)
        found = {
            "flush": flushes(place, shapes, 1 if options.quick else 7),
            "hour": an_hour(place, many, 8, minutes),
        }
        if options.url:
            migration.downgrade(engine, "base")
        engine.dispose()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    console = Console()
    table = Table(f"flush of {shapes:,} fingerprints", "ms")
    for name, seconds in found["flush"].items():
        table.add_row(name, f"{seconds * 1e3:,.0f}")
    console.print(table)
    table = Table(f"{minutes} minutes, {many} fingerprints, 8 processes", "")
    for name, number in found["hour"].items():
        table.add_row(name, f"{number:,.1f}")
    console.print(table)
    whole = found["flush"]["take"] + found["flush"]["write"]
    met = "met" if whole < TARGET_SECONDS else "missed"
    console.print(
        f"take and write under {TARGET_SECONDS * 1e3:.0f} ms: {whole * 1e3:.0f} ms, {met}"
    )


if __name__ == "__main__":
    main()
