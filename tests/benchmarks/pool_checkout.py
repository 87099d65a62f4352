"""What watching a pool adds to a checkout and checkin, per pool class.

How: a connection is taken from the engine and given back, in blocks; two engines take turns, one
bare, one watched, and the difference is that of the fastest blocks. "one line" takes connections
from the same line of code; "many lines" takes them from 20 functions in turn, so that the line has
to be looked for on the stack each time. "listeners" has empty listeners for ``checkout`` and
``checkin`` in place of the watch: the price of SQLAlchemy's own events.

    python tests/benchmarks/pool_checkout.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import Pool, QueuePool, StaticPool

from sa_perf.resources.pools import PoolWatch

POOLS: Mapping[str, type[Pool]] = {"QueuePool": QueuePool, "StaticPool": StaticPool}
TARGET_MICROSECONDS = 3.0
_LINES = 20


def _engine(pool: type[Pool]) -> Engine:
    engine = create_engine("sqlite://", poolclass=pool)
    with engine.connect():
        return engine


def _watched(pool: type[Pool]) -> Engine:
    engine = _engine(pool)
    PoolWatch(engine, database="benchmark").open()
    return engine


def _listening(pool: type[Pool]) -> Engine:
    engine = _engine(pool)
    event.listen(engine, "checkout", lambda *_: None)
    event.listen(engine, "checkin", lambda *_: None)
    return engine


def _takers(number: int) -> list[Callable[[Engine], None]]:
    """Functions that take a connection, each by code of its own."""
    source = "def take(engine):\n    engine.connect().close()\n"
    found = []
    for at in range(number):
        names: dict[str, Callable[[Engine], None]] = {"__name__": "application"}  # type: ignore[dict-item]
        exec(compile("\n" * at + source, f"application_{at}.py", "exec"), names)  # noqa: S102
        found.append(names["take"])
    return found


def _block(engine: Engine, takers: list[Callable[[Engine], None]], checkouts: int) -> float:
    rounds = checkouts // len(takers)
    started = time.perf_counter_ns()
    for _ in range(rounds):
        for take in takers:
            take(engine)
    return (time.perf_counter_ns() - started) / (rounds * len(takers)) / 1e3


def measure(blocks: int, checkouts: int) -> list[dict[str, object]]:
    """Microseconds per checkout, bare and with each subject, by pool class and callers."""
    readings: list[dict[str, object]] = []
    for name, pool in POOLS.items():
        for callers, takers in (("one line", _takers(1)), ("many lines", _takers(_LINES))):
            engines = {
                "bare": _engine(pool), "watched": _watched(pool), "listeners": _listening(pool),
            }  # fmt: skip
            best = dict.fromkeys(engines, math.inf)
            for _ in range(blocks):
                for subject, engine in engines.items():
                    best[subject] = min(best[subject], _block(engine, takers, checkouts))
            readings.append(
                {
                    "pool": name,
                    "callers": callers,
                    "bare_us": best["bare"],
                    "watched_adds_us": best["watched"] - best["bare"],
                    "listeners_add_us": best["listeners"] - best["bare"],
                }
            )
    return readings


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few blocks")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    readings = measure(*((3, 200) if arguments.quick else (100, 1_000)))
    if arguments.json:
        print(json.dumps(readings))
        return 0
    table = Table(title="Microseconds of a checkout and checkin", title_justify="left")
    for heading in ("pool", "callers", "bare", "watched adds", "listeners add"):
        table.add_column(heading, justify="left" if heading in {"pool", "callers"} else "right")
    for one in readings:
        pool, callers, *figures = one.values()
        table.add_row(str(pool), str(callers), *(f"{figure:.2f}" for figure in figures))
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    most = max(float(str(one["watched_adds_us"])) for one in readings)
    met = "met" if most <= TARGET_MICROSECONDS else "missed"
    console.print(f"watched: at most {TARGET_MICROSECONDS:g} us more than bare: {met}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
