"""Sum pytest's reports of all environments into one closing line.

Fails where no test ran, where one failed, and where a MariaDB server answers but its tests were
skipped: a skip there would hide that a whole database is untested.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

MARIADB_SOCKET = "/run/mysqld/mysqld.sock"
MARIADB_PORT = 3306
MARIADB_SKIP = "no MariaDB"


def mariadb_answers() -> bool:
    """Tell whether a server accepts connections at its usual socket or port."""
    for family, address in (
        (socket.AF_UNIX, MARIADB_SOCKET),
        (socket.AF_INET, ("127.0.0.1", MARIADB_PORT)),
    ):
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            if client.connect_ex(address) == 0:
                return True
    return bool(os.environ.get("SA_PERF_TEST_MARIADB_URL"))


def read_report(path: Path) -> tuple[Counter[str], float, set[str]]:
    """Count a report's outcomes; return them with the seconds and the reasons of skips."""
    # The reports were written a moment ago by this project's own tests.
    root = ElementTree.parse(path).getroot()  # noqa: S314
    counts: Counter[str] = Counter()
    reasons: set[str] = set()
    for case in root.iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = next(
            (kind for kind in ("failure", "error", "skipped") if kind in kinds), "passed"
        )
        counts[outcome] += 1
        reasons |= {child.get("message", "") for child in case if child.tag == "skipped"}
    return counts, sum(float(suite.get("time", 0)) for suite in root.iter("testsuite")), reasons


def closing_line(counts: Counter[str], seconds: float) -> str:
    """Write the counts as pytest does: ``== 1 failed, 20 passed, 3 skipped in 4.00s ==``."""
    errors = "error" if counts["error"] == 1 else "errors"
    words = {"failure": "failed", "passed": "passed", "skipped": "skipped", "error": errors}
    parts = [f"{counts[kind]} {word}" for kind, word in words.items() if counts[kind]]
    return f" {', '.join(parts) or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


def main(directory: Path) -> int:
    """Print one line an environment and the total; return the exit code."""
    total: Counter[str] = Counter()
    seconds = 0.0
    skipped_mariadb = []
    for path in sorted(directory.glob("*.xml")):
        counts, spent, reasons = read_report(path)
        total += counts
        seconds += spent
        if any(reason.startswith(MARIADB_SKIP) for reason in reasons):
            skipped_mariadb.append(path.stem)
        print(f"{path.stem:>12} {closing_line(counts, spent).strip('= ')}")
    faults = []
    if not total["passed"]:
        faults.append(f"no test passed; reports are looked for in {directory}")
    if skipped_mariadb and mariadb_answers():
        faults.append(
            f"a MariaDB server answers, but {', '.join(skipped_mariadb)} skipped its tests"
        )
    for fault in faults:
        print(f"FAILED: {fault}")
    print(closing_line(total, seconds))
    return 1 if faults or total["failure"] or total["error"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
