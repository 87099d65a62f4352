"""A copy of a database in which anything may be tried."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, create_engine

from sa_perf.dialects import Dialect, dialect_for
from sa_perf.dialects.dbapi import fetch
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["copied", "is_same_database"]

#: Pages that are copied at once; writers get their turn in between.
_PAGES = 2_000
#: Room for the indexes, as a share of the database.
_ROOM = 2.0
#: A lock that is held for longer is waited for no more.
_LONGEST_WAIT_SECONDS = 10.0
#: How often the copy is begun anew since somebody wrote.
_MOST_RESTARTS = 5


@contextmanager
def copied(engine: Engine, *, now: Callable[[], float] = time.monotonic) -> Iterator[Engine]:
    """Copy a database into a temporary file, and remove it at the end.

    Only where a database is one file. SQLite's backup reads it: in one transaction where there is a
    write-ahead log, in which writers go on; else in steps between which they get their turn.

    Args:
        engine: synchronous; its database is left as it is.
        now: monotonic seconds.

    Raises:
        ExplainRefused: there is no such way, or no room for the copy.
        ExplainError: the database is locked, or written to all the time.
    """
    dialect = dialect_for(engine)
    if dialect.name != "sqlite":
        raise _no_way(dialect)
    raw = engine.raw_connection()
    try:
        source = raw.driver_connection
        if not isinstance(source, sqlite3.Connection):
            raise _no_way(dialect)
        with tempfile.TemporaryDirectory(prefix="sa-perf-copy-") as folder:
            path = Path(folder) / "copy.db"
            try:
                _require_room(source, folder)
                _copy(source, path, now)
            except sqlite3.Error as error:
                raise ExplainError(f"no copy could be made: {error}") from error
            copy = create_engine(URL.create("sqlite", database=str(path)))
            try:
                yield copy
            finally:
                copy.dispose()
    finally:
        raw.close()


def _no_way(dialect: Dialect) -> ExplainRefused:
    return ExplainRefused(
        f"no copy of a {dialect.title or dialect.name} database can be made here; give the "
        "URL of one, e.g. of a restored backup, in which indexes may be made and dropped"
    )


def _copy(source: sqlite3.Connection, path: Path, now: Callable[[], float]) -> None:
    moved = now()
    left_before: int | None = None
    restarts = 0

    def step(status: int, left: int, total: int) -> None:
        nonlocal moved, left_before, restarts
        if status in (sqlite3.SQLITE_OK, sqlite3.SQLITE_DONE):
            restarts += left_before is not None and left >= left_before
            moved, left_before = now(), left
        elif now() - moved > _LONGEST_WAIT_SECONDS:
            raise ExplainError("no copy could be made: the database is locked by a writer")
        if restarts > _MOST_RESTARTS:
            raise ExplainError(
                "no copy could be made: the database is written to all the time; give the URL of a "
                "copy, e.g. of a restored backup"
            )

    at_once = not source.in_transaction and fetch(source, "PRAGMA journal_mode") == [("wal",)]  # type: ignore[arg-type]  # its own kind
    if at_once:
        # Without it each write of another connection would begin the copy anew.
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    try:
        with closing(sqlite3.connect(path)) as target:
            source.backup(target, pages=_PAGES, progress=step)
    finally:
        if at_once:
            source.rollback()


def _require_room(source: sqlite3.Connection, folder: str) -> None:
    pages, size = (
        int(str(fetch(source, f"PRAGMA {name}")[0][0]))  # type: ignore[arg-type]  # its own kind
        for name in ("page_count", "page_size")
    )
    needed = pages * size * _ROOM
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ExplainRefused(
            f"a copy and its indexes may take {needed / 1e6:,.0f} MB, and {folder} has "
            f"{free / 1e6:,.0f} MB left; set TMPDIR to a place with more"
        )


def is_same_database(connection: Connection, other: Connection) -> bool:
    """Whether two connections lead to one database, however their URLs spell it.

    Nothing is written: files are compared, servers are asked for a lock on a random name, which
    one connection takes for a moment and the other then finds taken. Of a kind of database that
    is not known, True.

    Args:
        connection: in no transaction that matters: it is rolled back.
        other: of the same dialect, likewise.
    """
    dialect = dialect_for(connection.engine)
    number = secrets.randbelow(1 << 62)
    try:
        if dialect.name == "sqlite":
            return _is_same_file(connection, other)
        if dialect.name == "postgresql":
            # Such locks hold within one database.
            _scalar(connection, f"SELECT pg_advisory_xact_lock({number})")
            return not _scalar(other, f"SELECT pg_try_advisory_xact_lock({number})")
        if dialect.name in ("mysql", "mariadb"):
            return _is_same_schema(connection, other, f"sa_perf_{number}")
        return True
    finally:
        connection.rollback()
        other.rollback()


def _is_same_file(connection: Connection, other: Connection) -> bool:
    paths = []
    for one in (connection, other):
        rows = one.exec_driver_sql("PRAGMA database_list").all()
        paths.append(next((Path(row[2]) for row in rows if row[1] == "main" and row[2]), None))
    first, second = paths
    return first is not None and second is not None and first.samefile(second)


def _is_same_schema(connection: Connection, other: Connection, lock: str) -> bool:
    # Such locks hold for the whole server.
    _scalar(connection, f"SELECT GET_LOCK('{lock}', 0)")
    try:
        taken = _scalar(other, f"SELECT IS_USED_LOCK('{lock}')") is not None
    finally:
        _scalar(connection, f"SELECT RELEASE_LOCK('{lock}')")
    names = {str(_scalar(one, "SELECT DATABASE()")) for one in (connection, other)}
    if len(names) > 1 and _scalar(connection, "SELECT @@lower_case_table_names"):
        names = {name.casefold() for name in names}
    return taken and len(names) == 1


def _scalar(connection: Connection, sql: str) -> object:
    return connection.exec_driver_sql(sql).scalar()
