"""Ways to purge that retention.py measures: ours, by hand, a peer's.

A subject prepares (connects, imports, reads nothing of the table) and gives a function that purges;
what the function takes is what is measured. It runs in a process of its own.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from databases import autocommit
from retention_data import AT, BORDER, DAYS, events
from sqlalchemy import URL, Engine, create_engine, delete, event, make_url, text

from sa_perf.retention import BatchLimits, FileArchive, RetentionPolicy, TableArchive, declare, run
from sa_perf.retention.audit import batches_of, history

__all__ = [
    "BATCH", "FIXED", "GZIP", "IDLE", "JSONL", "NAIVE", "OWN", "OWN_DEFAULT", "PEER", "SINGLE",
    "SUBJECTS", "TARGET", "TO_TABLE", "Job", "Purged", "Subject", "prepare",
]  # fmt: skip

SINGLE, IDLE = "one DELETE", "no purge"
OWN, OWN_DEFAULT, FIXED = "sa_perf", "sa_perf, default target", "sa_perf, fixed batches"
JSONL, GZIP, TO_TABLE = "sa_perf, to JSON Lines", "sa_perf, to gzip", "sa_perf, to a table"
NAIVE, PEER = "IN (SELECT ... LIMIT n)", "pt-archiver"
TARGET = 0.1
#: Rows of a batch where it is fixed.
BATCH = 10_000
#: Seconds after which naive batches end, wherever they are.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a subject works on.

    Attributes:
        subject: its name.
        url: of the database, with its password.
        folder: for archives.
    """

    subject: str
    url: str
    folder: str


@dataclass(slots=True, kw_only=True)
class Purged:
    """What a subject tells of its work.

    Attributes:
        batches: number of its transactions that delete.
        batch_rows: of the middle one.
        longest: seconds of the longest one, as the audit has it.
        outside: the same, from its BEGIN to the end of its COMMIT, timed around the driver.
        archive_bytes: written.
        start_up: seconds that a peer takes to do nothing; left out of its time.
        done: it came to its end.
    """

    batches: int = 1
    batch_rows: float = 0.0
    longest: float | None = None
    outside: float | None = None
    archive_bytes: int = 0
    start_up: float = 0.0
    done: bool = True


Purge = Callable[[], Purged]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A way to purge.

    Attributes:
        prepare: gives what is measured.
        databases: on which.
        missing: why it cannot be; None: it can.
    """

    prepare: Callable[[Job], Purge]
    databases: tuple[str, ...] = ("sqlite", "postgresql", "mariadb")
    missing: Callable[[], str | None] = lambda: None


def prepare(job: Job) -> Purge:
    """Get a subject ready."""
    return SUBJECTS[job.subject].prepare(job)


def _nothing(job: Job) -> Purge:
    def wait() -> Purged:
        time.sleep(2.0)
        return Purged(batches=0)

    return wait


# By hand


def _single(job: Job) -> Purge:
    engine = _connected(job)

    def purge() -> Purged:
        began = time.monotonic()
        with engine.begin() as connection:
            done = connection.execute(delete(events).where(events.c.created_at < BORDER))
        return Purged(batch_rows=done.rowcount, outside=time.monotonic() - began)

    return purge


def _naive(job: Job) -> Purge:
    engine = _connected(job)
    some = f"SELECT id FROM {events.name} WHERE created_at < :border LIMIT {BATCH}"
    if engine.dialect.name in ("mysql", "mariadb"):  # which know no LIMIT in IN
        some = f"SELECT id FROM ({some}) AS some"
    stmt = text(f"DELETE FROM {events.name} WHERE id IN ({some})")

    def purge() -> Purged:
        times: list[float] = []
        ends = time.monotonic() + PATIENCE
        while (began := time.monotonic()) < ends:
            with engine.begin() as connection:
                rows = connection.execute(stmt, {"border": BORDER}).rowcount
            times.append(time.monotonic() - began)
            if rows < BATCH:
                return Purged(batches=len(times), batch_rows=BATCH, outside=max(times))
        return Purged(batches=len(times), batch_rows=BATCH, outside=max(times), done=False)

    return purge


# sa_perf


def _own(
    *, batch: BatchLimits | None = None, archive: Callable[[Job], Any] | None = None
) -> Callable[[Job], Purge]:
    limits = batch or BatchLimits(target_seconds=TARGET)

    def prepare_own(job: Job) -> Purge:
        engine = _connected(job)
        kept = {} if archive is None else {"action": "archive", "archive": archive(job)}
        policy: Any = RetentionPolicy(by="created_at", days=DAYS, batch=limits, **kept)
        declare(events, policy)

        def purge() -> Purged:
            with _transactions(engine) as times:
                result = run(engine, events, at=AT)
            assert result.ok, result
            (record,) = history(engine, limit=1)
            found = batches_of(engine, record.id)
            return Purged(
                batches=len(found),
                batch_rows=statistics.median(one.target_rows for one in found),
                longest=max(one.seconds for one in found),
                outside=max(times),
                archive_bytes=record.archive_bytes,
            )

        return purge

    return prepare_own


@contextmanager
def _transactions(engine: Engine) -> Iterator[list[float]]:
    """Seconds of each transaction that was committed, timed around the driver."""
    times: list[float] = []
    began = [0.0]

    def note(*_: object) -> None:
        began[0] = time.monotonic()

    if engine.dialect.name == "sqlite":

        def sqlite(c: object, cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("BEGIN"):
                note()
            elif statement == "COMMIT":
                times.append(time.monotonic() - began[0])

        event.listen(engine, "after_cursor_execute", sqlite)
        yield times
        return
    begin, commit = engine.dialect.do_begin, engine.dialect.do_commit

    def do_begin(connection: Any) -> None:
        note()
        begin(connection)

    def do_commit(connection: Any) -> None:
        commit(connection)
        times.append(time.monotonic() - began[0])

    engine.dialect.do_begin, engine.dialect.do_commit = do_begin, do_commit  # type: ignore[method-assign]
    yield times
    engine.dialect.do_begin, engine.dialect.do_commit = begin, commit  # type: ignore[method-assign]


# pt-archiver


def _no_peer() -> str | None:
    return None if shutil.which(PEER) else f"no {PEER}; it comes with percona-toolkit"


def _peer(job: Job) -> Purge:
    url = make_url(job.url)
    command = [
        PEER, "--source", _dsn(url), "--purge", "--where", f"created_at < '{BORDER}'",
        "--limit", f"{BATCH}", "--bulk-delete", "--commit-each", "--primary-key-only",
        "--no-check-charset", "--no-version-check",
    ]  # fmt: skip
    began = time.monotonic()
    subprocess.run([*command, "--dry-run"], check=True, capture_output=True)
    start_up = time.monotonic() - began

    def purge() -> Purged:
        subprocess.run(command, check=True, capture_output=True)
        with autocommit(url):
            return Purged(batches=0, batch_rows=BATCH, start_up=start_up)

    return purge


def _dsn(url: URL) -> str:
    parts = {
        "S": url.query.get("unix_socket"), "h": url.host, "P": url.port, "u": url.username,
        "p": url.password, "D": url.database, "t": events.name,
    }  # fmt: skip
    return ",".join(f"{key}={value}" for key, value in parts.items() if value)


def _connected(job: Job) -> Engine:
    engine = create_engine(job.url)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return engine


def _files(compression: Any) -> Callable[[Job], FileArchive]:
    return lambda job: FileArchive(job.folder, compression=compression)


SUBJECTS: dict[str, Subject] = {
    IDLE: Subject(prepare=_nothing),
    SINGLE: Subject(prepare=_single),
    OWN: Subject(prepare=_own()),
    OWN_DEFAULT: Subject(prepare=_own(batch=BatchLimits()), databases=("sqlite",)),
    JSONL: Subject(prepare=_own(archive=_files(None))),
    GZIP: Subject(prepare=_own(archive=_files("gzip"))),
    TO_TABLE: Subject(prepare=_own(archive=lambda _: TableArchive())),
    NAIVE: Subject(prepare=_naive),
    FIXED: Subject(
        prepare=_own(batch=BatchLimits(first_rows=BATCH, min_rows=BATCH, max_rows=BATCH)),
        databases=("mariadb",),
    ),
    PEER: Subject(prepare=_peer, databases=("mariadb",), missing=_no_peer),
}
