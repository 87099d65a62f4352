"""A MariaDB server of one test session, from the programs that are installed, without a network.

The machine's own server has to keep its data through a loss of power: each table that a test
makes there waits for the disk several times.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("mariadb-install-db", "mariadbd")
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
#: Seconds that a server may take to answer; a second is usual.
PATIENCE = 60


class NotStarted(Exception):
    """The programs are there, but no server came of them."""


def is_installed() -> bool:
    """Tell whether `started` has what it needs."""
    return all(shutil.which(program, path=_PLACES) for program in PROGRAMS)


@contextmanager
def started(directory: Path) -> Iterator[Path]:
    """Run a server whose files are in `directory`; yield its socket, open to root without password.

    Raises:
        NotStarted: with what the programs wrote.
    """
    install, server = (shutil.which(program, path=_PLACES) for program in PROGRAMS)
    data, socket, log = directory / "data", directory / "mariadb.sock", directory / "mariadb.log"
    user = ["--user=root"] if os.geteuid() == 0 else []
    made = subprocess.run(
        [
            *(str(install), "--no-defaults", f"--datadir={data}", *user),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise NotStarted(made.stdout + made.stderr)
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(str(server), "--no-defaults", f"--datadir={data}", f"--socket={socket}", *user),
                *("--skip-networking", "--skip-name-resolve", f"--pid-file={directory / 'pid'}"),
                *("--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"),
                # The data live for one session.
                *("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0"),
                *("--skip-innodb-doublewrite", "--innodb-fast-shutdown=2"),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + PATIENCE
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise NotStarted(log.read_text(errors="replace"))
            time.sleep(0.02)
        yield socket
    finally:
        process.kill()
        process.wait()
