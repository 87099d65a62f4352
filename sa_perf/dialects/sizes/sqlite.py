"""Sizes on SQLite: the file, its ``-wal``, and tables by dbstat."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sa_perf.dialects.inventory.sqlite import SQLiteReader
from sa_perf.dialects.sizes.base import DatabaseSizes, TableSize, unanswered

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["sqlite_sizes"]

#: dbstat reads every page: https://www.sqlite.org/dbstat.html, section 2.
_MOST_BYTES = 256 * 1024 * 1024
_PAGES = """
SELECT (SELECT page_size FROM pragma_page_size) AS size,
       (SELECT page_count FROM pragma_page_count) AS number,
       (SELECT freelist_count FROM pragma_freelist_count) AS free
"""
_FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_TABLES = """
SELECT s.tbl_name AS name, sum(d.pgsize) AS bytes, sum(d.unused) AS unused,
       sum(CASE WHEN s.type = 'index' THEN d.pgsize ELSE 0 END) AS index_bytes
  FROM (SELECT name, sum(pgsize) AS pgsize, sum(unused) AS unused FROM dbstat GROUP BY name) d
  JOIN sqlite_master s ON s.name = d.name
 GROUP BY s.tbl_name ORDER BY bytes DESC, s.tbl_name LIMIT :tables
"""


def sqlite_sizes(connection: Connection, tables: int, timeout_seconds: float) -> DatabaseSizes:
    """See `read_sizes`."""
    reader = SQLiteReader(connection, timeout_seconds=timeout_seconds)
    pages = reader.asked("size of the database", _PAGES)
    found = reader.asked("path of the file", _FILE)
    path = (found[0]["file"] if found else None) or None
    size = int(pages[0]["size"]) * int(pages[0]["number"]) if pages else None
    largest = []
    if size is not None and size > _MOST_BYTES:
        because = f"the file has more than {_MOST_BYTES:,} bytes, and SQLite would read all of it"
        reader.unknown("sizes of tables", because)
    else:
        largest = reader.asked("sizes of tables", _TABLES, tables=tables)
    return DatabaseSizes(
        total_bytes=size,
        free_bytes=int(pages[0]["size"]) * int(pages[0]["free"]) if pages else None,
        log_bytes=_log_bytes(path),
        tables=tuple(
            TableSize(
                name=row["name"],
                total_bytes=row["bytes"],
                index_bytes=row["index_bytes"],
                dead_ratio=row["unused"] / row["bytes"] if row["bytes"] else 0.0,
            )
            for row in largest
        ),
        folder=None if path is None else os.path.dirname(os.path.abspath(path)),
        unanswered=unanswered(reader),
    )


def _log_bytes(path: str | None) -> int | None:
    """Of the write-ahead log; 0 where it is in another mode, or all is in the file."""
    if path is None:
        return None
    try:
        return os.path.getsize(f"{path}-wal")
    except OSError:
        return 0
