"""Exact totals under threads: what was executed is what is counted.

How: threads execute Core SELECTs of two statements on one SQLite file, each on a connection of its
own, and read all rows of every other one only in part. Every capture is tried. Printed are the
executions, the calls and rows counted, and statements per second of all threads together with and
without sa_perf, which for SQLite under the interpreter lock is a figure of this machine only.

    python tests/benchmarks/throughput.py            # 16 threads x 100,000 statements, minutes
    python tests/benchmarks/throughput.py --quick
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import Column, Integer, MetaData, bindparam, create_engine, insert, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

import sa_perf

ROWS = 5
_ITEM = SqlTable("item", MetaData(), Column("id", Integer, primary_key=True))
_ALL = select(_ITEM).where(_ITEM.c.id <= bindparam("key"))
_ONE = select(_ITEM.c.id).where(_ITEM.c.id == bindparam("key"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One run of all threads. ``calls`` and ``rows`` are None without sa_perf."""

    capture: str
    executed: int
    read: int
    calls: int | None
    rows: int | None
    faults: int | None
    statements_per_second: float

    @property
    def exact(self) -> bool:
        return self.calls is None or (
            (self.calls, self.rows, self.faults) == (self.executed, self.read, 0)
        )


def _work(engine: Engine, statements: int, start: threading.Barrier, read: list[int]) -> None:
    rows = 0
    with engine.connect() as connection:
        start.wait()
        for number in range(statements):
            if number % 2:
                rows += len(connection.execute(_ONE, {"key": 1 + number % ROWS}).all())
            else:
                result = connection.execute(_ALL, {"key": ROWS})
                rows += len(result.fetchmany(2))
                result.close()
    read.append(rows)


def run(capture: str, threads: int, statements: int, directory: Path) -> Reading:
    """Let all threads execute their statements.

    Args:
        capture: a setting of sa_perf, or "none" for an engine without it.
        threads: how many.
        statements: each thread's.
        directory: for the database.
    """
    engine = create_engine(f"sqlite:///{directory / capture}.sqlite", poolclass=NullPool)
    _ITEM.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(_ITEM), [{"id": 1 + number} for number in range(ROWS)])
    # Each connects by PRAGMA-free SQLite, so nothing but the SELECTs is executed from here on.
    perf = (
        None
        if capture == "none"
        else sa_perf.install(engine, capture=capture, explain=False, log_slow=False)
    )
    start = threading.Barrier(threads + 1)
    read: list[int] = []
    workers = [
        threading.Thread(target=_work, args=(engine, statements, start, read))
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    snapshot = perf.snapshot() if perf is not None else None
    return Reading(
        capture=capture,
        executed=threads * statements,
        read=sum(read),
        calls=snapshot.calls if snapshot else None,
        rows=sum(query.rows for query in snapshot.queries) if snapshot else None,
        faults=snapshot.health.faults if snapshot else None,
        statements_per_second=threads * statements / seconds,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="4 threads x 500 statements")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--statements", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    threads, statements = arguments.threads, arguments.statements
    if arguments.quick:
        threads, statements = 4, 500
    with tempfile.TemporaryDirectory() as directory:
        readings = [
            run(capture, threads, statements, Path(directory))
            for capture in ("none", "dialect_events", "cursor_events")
        ]
    if arguments.json:
        print(json.dumps([{**asdict(one), "exact": one.exact} for one in readings], indent=2))
        return 0
    table = Table(title=f"{threads} threads x {statements:,} statements", title_justify="left")
    for heading in ("capture", "executed", "calls", "read", "rows", "faults", "per second", ""):
        table.add_column(heading, justify="right" if heading not in {"capture", ""} else "left")
    for one in readings:
        numbers = (one.executed, one.calls, one.read, one.rows, one.faults)
        verdict = "" if one.calls is None else ("exact" if one.exact else "NOT exact")
        cells = ("-" if number is None else f"{number:,}" for number in numbers)
        table.add_row(one.capture, *cells, f"{one.statements_per_second:,.0f}", verdict)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
