"""Space of an SQLite file: VACUUM, and incremental_vacuum in steps.

Numbers are measured on SQLite 3.40 in WAL mode: 94-105 MB to free of a file of 200 MB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.space.base import Request, Room, Space, Staleness, Usage, Work
from sa_perf.errors import SpaceRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

__all__ = ["SQLiteSpace"]

#: A step of 1,000 pages held a writer up for at most 52 ms.
_STEP_PAGES = 1_000
_PAUSE_SECONDS = 0.02
_LOCKED_TRIES = 20
_INCREMENTAL = 2
_FIT = f"PRAGMA auto_vacuum = {_INCREMENTAL}"
_TEMPORARY_FOLDERS = ("SQLITE_TMPDIR", "TMPDIR", "/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108
#: ANALYZE has counted something else by this much: SQLite's own PRAGMA optimize takes 10.
_FAR_OFF = 2.0
_CHANGE_SQL = (
    "set PRAGMA auto_vacuum = 2 before the first table and before journal_mode=WAL, or once by "
    "reclaim(..., how='vacuum', make_incremental=True)"
)


class SQLiteSpace(Space):
    """One file for all tables: pages that are free stay in it until it is vacuumed."""

    ways = ("vacuum", "incremental")
    whole_file = True

    def settled(self, connection: Connection, request: Request) -> Request:
        """Incremental where the file was made for it, since it lets writers in."""
        if request.how == "auto" and _pragma(connection, "auto_vacuum") == _INCREMENTAL:
            request = replace(request, how="incremental")
        return super().settled(connection, request)

    def usages(self, connection: Connection, tables: Sequence[Table] | None) -> list[Usage]:
        """The file's: its size afterwards is (page_count - freelist_count) x page_size."""
        page = _pragma(connection, "page_size")
        pages, free = _pragma(connection, "page_count"), _pragma(connection, "freelist_count")
        live = (pages - free) * page
        rows = connection.exec_driver_sql("PRAGMA database_list").all()
        path = next((str(row[2]) for row in rows if row[1] == "main" and row[2]), None)
        folder = None if path is None else os.path.dirname(os.path.abspath(path))
        return [
            Usage(
                subject=path or ":memory:",
                bytes=pages * page,
                live_bytes=live,
                copy_bytes=live,
                folder=folder,
            )
        ]

    def work(self, connection: Connection, usage: Usage, request: Request) -> Work:
        """VACUUM's time follows what stays (6 ms a MB idle, 51 loaded), the other's what goes."""
        if request.how == "incremental":
            return Work(
                how=request.how,
                statement=f"PRAGMA incremental_vacuum({_STEP_PAGES})",
                per_live_mb_seconds=0.0,
                per_freed_mb_seconds=0.004,
                loaded_factor=8.5,
                shrinks=True,
                exclusive=False,
                blocks="writers, for the time of a step of 1,000 pages (some 50 ms)",
                # Pages that change place pass through the -wal or the journal.
                rooms=(Room(bytes=min(usage.live_bytes, usage.bytes), folder=usage.folder),)
                if usage.folder
                else (),
            )
        return Work(
            how=request.how,
            statement=f"{_FIT}; VACUUM" if request.make_incremental else "VACUUM",
            per_live_mb_seconds=0.006,
            per_freed_mb_seconds=0.0,
            loaded_factor=8.5,
            shrinks=True,
            exclusive=not _is_wal(connection),
            blocks="writers all the while" + ("" if _is_wal(connection) else ", and readers"),
            rooms=self._rooms(connection, usage),
        )

    def hindrances(self, connection: Connection, usage: Usage, request: Request) -> list[str]:
        """Incremental vacuum needs a file that was made for it."""
        mode = _pragma(connection, "auto_vacuum")
        if request.how == "incremental" and mode != _INCREMENTAL:
            return [f"{usage.subject}: auto_vacuum is {mode}, so it frees nothing; {_CHANGE_SQL}"]
        return []

    def reclaim(
        self, connection: Connection, usage: Usage, work: Work, request: Request
    ) -> list[str]:
        """Vacuum, then let the ``-wal`` file shrink."""
        before = _pragma(connection, "busy_timeout")
        limit = int(request.lock_seconds * 1_000)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {limit}").all()
        try:
            if work.how == "incremental":
                self._step_by_step(connection, work.statement, request.sleep)
            else:
                _script(connection, work.statement)
            return self._truncate_wal(connection)
        except (DBAPIError, self._dialect.loaded_dbapi.Error) as error:
            if not _is_locked(error):
                raise SpaceRefused(f"{usage.subject}: {_original(error)}") from error
            raise SpaceRefused(
                f"{usage.subject}: somebody reads or writes for longer than "
                f"{request.lock_seconds:g} s ({_original(error)}); end long transactions or raise "
                "lock_seconds"
            ) from error
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {before}").all()

    def stale(self, connection: Connection, tables: Sequence[Table] | None) -> list[Staleness]:
        """No or an old row in ``sqlite_stat1``; rows are counted up to twice what that says."""
        names = [table.name for table in tables] if tables is not None else _all_names(connection)
        known = _analyzed(connection)
        found = []
        for name in names:
            before = known.get(name.lower())
            most = 1_000 if before is None else int(before * _FAR_OFF) + 1_000
            quoted = self._dialect.identifier_preparer.quote(name)
            some = select(text("1")).select_from(text(quoted)).limit(most).subquery()
            rows = connection.execute(select(func.count()).select_from(some)).scalar_one()
            if before is None:
                if rows:
                    reason = "it was never analyzed"
                    found.append(Staleness(table=name, reason=reason, known_rows=None, rows=rows))
            elif abs(rows - before) > 100 and not 1 / _FAR_OFF < (rows + 1) / (before + 1) < 2:
                least = "at least " if rows == most else ""
                reason = f"it had {before:,.0f} rows when it was analyzed, it has {least}{rows:,}"
                found.append(Staleness(table=name, reason=reason, known_rows=before, rows=rows))
        return found

    def analyze_sql(self, table: str) -> str:
        """ANALYZE, with the table's name quoted where it has to be."""
        return super().analyze_sql(self._dialect.identifier_preparer.quote(table))

    def _step_by_step(
        self, connection: Connection, statement: str, sleep: Callable[[float], None]
    ) -> None:
        """Small transactions with pauses, so that writers get in between."""
        free, tries = _pragma(connection, "freelist_count"), 0
        while free:
            try:
                _script(connection, statement)
            except self._dialect.loaded_dbapi.Error as error:
                tries += 1
                if not _is_locked(error) or tries >= _LOCKED_TRIES:
                    raise
            left = _pragma(connection, "freelist_count")
            if left >= free:
                tries += 1
            if tries >= _LOCKED_TRIES:  # a writer frees as fast as this takes
                return
            free = left
            if free:
                sleep(_PAUSE_SECONDS)

    def _truncate_wal(self, connection: Connection) -> list[str]:
        if not _is_wal(connection):
            return []
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        if busy:
            return ["a reader keeps the -wal file from being cut; it shrinks at a later checkpoint"]
        return []

    def _rooms(self, connection: Connection, usage: Usage) -> tuple[Room, ...]:
        """A copy in the temporary folder, and what is written over in the ``-wal`` or journal.

        https://www.sqlite.org/lang_vacuum.html: as much as twice the size of the original.
        """
        if usage.folder is None:
            return ()
        over = usage.copy_bytes if _is_wal(connection) else usage.bytes
        rooms = [Room(bytes=over, folder=usage.folder)]
        if _pragma(connection, "temp_store") != 2:  # not in memory
            rooms.append(Room(bytes=usage.copy_bytes, folder=_temporary_folder(usage.folder)))
        return tuple(rooms)


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _is_wal(connection: Connection) -> bool:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    return str(mode).lower() == "wal"


def _script(connection: Connection, sql: str) -> None:
    """Run a statement to its end: by ``execute`` incremental_vacuum frees a single page."""
    raw: Any = connection.connection.dbapi_connection
    if hasattr(raw, "run_async"):
        raw.run_async(lambda driver: driver.executescript(sql))
    else:
        raw.executescript(sql)


def _is_locked(error: BaseException) -> bool:
    return "is locked" in str(_original(error))


def _original(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _temporary_folder(fallback: str) -> str:
    """Where SQLite puts temporary files: https://www.sqlite.org/tempfiles.html, section 5."""
    for place in _TEMPORARY_FOLDERS:
        folder = place if place.startswith("/") else os.environ.get(place, "")
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK):
            return folder
    return fallback


def _all_names(connection: Connection) -> list[str]:
    found = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
    rows = connection.execute(text(f"{found} ESCAPE '\\' ORDER BY name"))
    return [row[0] for row in rows]


def _analyzed(connection: Connection) -> dict[str, float]:
    """Rows of each table when it was analyzed; a partial index has fewer."""
    exists = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"
    if connection.exec_driver_sql(exists).first() is None:
        return {}
    known: dict[str, float] = {}
    for name, stat in connection.exec_driver_sql("SELECT tbl, stat FROM sqlite_stat1"):
        first = str(stat or "").partition(" ")[0]
        if first.isdecimal():
            known[name.lower()] = max(float(first), known.get(name.lower(), 0.0))
    return known
