"""Sum pytest's reports of all environments into one closing line.

Fails where no test ran, where one failed, and where a MariaDB server answers but its tests were
skipped: a skip there would hide that a whole database is untested. The same holds for a PostgreSQL
server of Debian's that could have been given the extension HypoPG.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

MARIADB_SOCKET = "/run/mysqld/mysqld.sock"
MARIADB_PORT = 3306
MARIADB_SKIP = "no MariaDB"
POSTGRESQL_SOCKETS = Path("/var/run/postgresql")
POSTGRESQL_PROGRAMS = Path("/usr/lib/postgresql")
HYPOPG_SKIP = "no HypoPG"


def mariadb_answers() -> bool:
    """Tell whether a server accepts connections at its usual socket or port."""
    return (
        accepts(socket.AF_UNIX, MARIADB_SOCKET)
        or accepts(socket.AF_INET, ("127.0.0.1", MARIADB_PORT))
        or bool(os.environ.get("SA_PERF_TEST_MARIADB_URL"))
    )


def hypopg_could_be_there() -> bool:
    """Tell whether a server was named, or one answers that .ci/run can give the extension."""
    installable = (
        os.geteuid() == 0
        and shutil.which("apt-get") is not None
        and any(POSTGRESQL_PROGRAMS.glob("*/bin/postgres"))
    )
    answers = any(
        accepts(socket.AF_UNIX, str(path)) for path in POSTGRESQL_SOCKETS.glob(".s.PGSQL.*[0-9]")
    )
    return (installable and answers) or bool(os.environ.get("SA_PERF_TEST_HYPOPG_URL"))


def accepts(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    """Tell whether somebody accepts connections at an address."""
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        return client.connect_ex(address) == 0


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
    skipped: dict[str, list[str]] = {MARIADB_SKIP: [], HYPOPG_SKIP: []}
    for path in sorted(directory.glob("*.xml")):
        counts, spent, reasons = read_report(path)
        total += counts
        seconds += spent
        for start, environments in skipped.items():
            if any(reason.startswith(start) for reason in reasons):
                environments.append(path.stem)
        print(f"{path.stem:>12} {closing_line(counts, spent).strip('= ')}")
    faults = []
    if not total["passed"]:
        faults.append(f"no test passed; reports are looked for in {directory}")
    if skipped[MARIADB_SKIP] and mariadb_answers():
        environments = ", ".join(skipped[MARIADB_SKIP])
        faults.append(f"a MariaDB server answers, but {environments} skipped its tests")
    if skipped[HYPOPG_SKIP] and hypopg_could_be_there():
        environments = ", ".join(skipped[HYPOPG_SKIP])
        faults.append(
            f"a PostgreSQL server answers and HypoPG can be had, but {environments} skipped its "
            "tests"
        )
    for fault in faults:
        print(f"FAILED: {fault}")
    print(closing_line(total, seconds))
    return 1 if faults or total["failure"] or total["error"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
