"""Time that ``import sa_perf`` takes above ``import sqlalchemy``.

How: fresh interpreters, alternately with ``import sqlalchemy`` and with both imports, each telling
the CPU time of its import alone. The figure is the difference of the medians; the first round,
which writes byte code and warms the file cache, is left out. Below it, from ``-X importtime``, the
modules that take most time of their own beyond SQLAlchemy's.

    python tests/benchmarks/import_time.py
    python tests/benchmarks/import_time.py --quick
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

MOST_MS = 25.0
STATEMENTS = {
    "import sqlalchemy": "import sqlalchemy",
    "import sqlalchemy, sa_perf": "import sqlalchemy, sa_perf",
}
_TIMED = """
import time
wall, cpu = time.perf_counter_ns(), time.process_time_ns()
{statement}
print((time.perf_counter_ns() - wall) / 1e6, (time.process_time_ns() - cpu) / 1e6)
"""


def once(statement: str) -> tuple[float, float]:
    """(wall, CPU) milliseconds of an import in a new interpreter."""
    code = _TIMED.format(statement=statement)
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    wall, cpu = finished.stdout.split()
    return float(wall), float(cpu)


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Medians by statement, in milliseconds."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in STATEMENTS}
    for number in range(rounds + 1):
        for name, statement in STATEMENTS.items():
            reading = once(statement)
            if number:
                seen[name].append(reading)
    return {
        name: {
            "wall_ms": statistics.median(wall for wall, _ in readings),
            "cpu_ms": statistics.median(cpu for _, cpu in readings),
            "fastest_cpu_ms": min(cpu for _, cpu in readings),
        }
        for name, readings in seen.items()
    }


def heaviest(count: int) -> list[tuple[str, float]]:
    """Modules that sa_perf imports and SQLAlchemy does not, by own time in milliseconds."""
    code = "import sqlalchemy; print('-- ours --', file=__import__('sys').stderr); import sa_perf"
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    ours = finished.stderr.partition("-- ours --")[2]
    found = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", ours)
    modules = [(name, int(microseconds) / 1e3) for microseconds, name in found]
    return sorted(modules, key=lambda one: one[1], reverse=True)[:count]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    medians = measure(2 if arguments.quick else max(1, arguments.rounds))
    base, ours = (medians[name] for name in STATEMENTS)
    above = {kind: ours[kind] - base[kind] for kind in base}
    modules = heaviest(15)
    if arguments.json:
        document = {"medians": medians, "above": above, "heaviest_ms": modules, "most_ms": MOST_MS}
        print(json.dumps(document, indent=2))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 100)
    table = Table(title="import time, milliseconds (medians)", title_justify="left")
    for heading in ("", "CPU", "wall", "fastest CPU"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in (*medians.items(), ("above SQLAlchemy", above)):
        cells = (f"{row[kind]:.1f}" for kind in ("cpu_ms", "wall_ms", "fastest_cpu_ms"))
        table.add_row(name, *cells)
    console.print(table)
    verdict = "reached" if above["cpu_ms"] <= MOST_MS else "NOT reached"
    console.print(f"at most {MOST_MS:.0f} ms above SQLAlchemy: {above['cpu_ms']:.1f} ms, {verdict}")
    table = Table(title="heaviest modules beyond SQLAlchemy's, own time", title_justify="left")
    table.add_column("module")
    table.add_column("ms", justify="right")
    for name, milliseconds in modules:
        table.add_row(name, f"{milliseconds:.1f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
