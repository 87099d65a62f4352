"""However often and whenever a run is killed, table and archive together are the original."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import killed_runner
import pytest
from sqlalchemy import Engine, insert, select

from sa_perf.retention.archive import restore
from sa_perf.retention.audit import history

ROWS_A_KILL = 300
#: How a run ends that finds the policy in somebody else's hands.
BUSY = 4
#: Another process does not see a database in memory.
SHARED = pytest.mark.parametrize(
    "db",
    [
        "sqlite_file",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
    indirect=True,
)
ARCHIVES = pytest.mark.parametrize("kind", ["files", "table", "other database"])


class Victim:
    """A process that runs the policy in children, one at a time."""

    def __init__(self, url: str, folder: Path, kind: str) -> None:
        script = Path(killed_runner.__file__)
        self._process = subprocess.Popen(
            [sys.executable, str(script), url, str(folder), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._orders: IO[str] = self._process.stdin
        self._answers: IO[str] = self._process.stdout

    def run(self, kill_after: float | None) -> int:
        """Run once; the exit code, -9 where it was killed."""
        self._orders.write("run\n")
        self._orders.flush()
        pid = int(self._answers.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            # It may have ended by then: a server may take a moment to notice that the runner before
            # was killed, and until then the policy is busy.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._answers.readline())

    def close(self) -> None:
        """End the process."""
        self._orders.close()
        self._process.wait(30)
        self._answers.close()


def _rows(engine: Engine, table: Any) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(table).order_by(table.c.id))]


def _check(db: Any, engine: Engine, folder: Path, *, kills: int, kind: str) -> None:
    chance = random.Random(kills)
    place = folder / "archive"
    table = killed_runner.model(str(place), kind)
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(
            insert(table),
            [
                {
                    "id": at,
                    "at": killed_runner.FIRST + killed_runner.STEP * at,
                    "what": f"row {at}",
                }
                for at in range(1, kills * ROWS_A_KILL + 1)
            ],
        )
    before = _rows(engine, table)
    victim = Victim(db.url.render_as_string(hide_password=False), place, kind)
    try:
        ends = [victim.run(chance.uniform(0.03, 0.25)) for _ in range(kills)]
        last = BUSY
        for _ in range(50):
            if last == BUSY:
                last = victim.run(None)
        assert last == 0
    finally:
        victim.close()
    # On a fast machine one may be done before it is killed; none may fail.
    assert set(ends) <= {-signal.SIGKILL, BUSY, 0}
    assert -signal.SIGKILL in ends
    runs = history(engine, limit=10_000)
    assert {one.outcome for one in runs} <= {"done", "failed"}
    assert not [one for one in runs if one.outcome == "failed" and "come back" not in one.error]
    assert _rows(engine, table) == []
    archive = killed_runner.archive(str(place), kind)
    restored = restore(engine, archive=archive, metadata=table.metadata, policy="measure")
    assert restored.rows == len(before)
    assert _rows(engine, table) == before


@SHARED
@ARCHIVES
def test_a_run_that_is_killed_thrice_archives_each_row_once(
    db: Any, engine: Engine, tmp_path: Path, kind: str
) -> None:
    _check(db, engine, tmp_path, kills=3, kind=kind)


@SHARED
@ARCHIVES
@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_again_and_again_archives_each_row_once(
    db: Any, engine: Engine, tmp_path: Path, kind: str
) -> None:
    kills = 100 if db.name == "postgresql" and kind == "files" else 30
    _check(db, engine, tmp_path, kills=kills, kind=kind)
