"""A copy of a database in which anything may be tried."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sa_perf.dialects import dialect_for
from sa_perf.dialects.dbapi import fetch
from sa_perf.errors import ExplainRefused

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["copied"]

#: Pages that are copied at once; writers get their turn in between.
_PAGES = 2_000
#: Room for the indexes, as a share of the database.
_ROOM = 2.0


@contextmanager
def copied(engine: Engine) -> Iterator[Engine]:
    """Copy a database into a temporary file, and remove it at the end.

    Only where a database is one file; it is read by SQLite's backup, which waits for no writer
    longer than for one step and blocks none.

    Args:
        engine: synchronous; its database is left as it is.

    Raises:
        ExplainRefused: there is no such way, or no room for the copy.
    """
    from sqlalchemy import create_engine

    dialect = dialect_for(engine)
    raw = engine.raw_connection()
    try:
        source = raw.driver_connection
        if dialect.name != "sqlite" or not isinstance(source, sqlite3.Connection):
            raise ExplainRefused(
                f"no copy of a {dialect.title or dialect.name} database can be made here; give the "
                "URL of one, e.g. of a restored backup, in which indexes may be made and dropped"
            )
        with tempfile.TemporaryDirectory(prefix="sa-perf-copy-") as folder:
            _require_room(source, folder)
            path = Path(folder) / "copy.db"
            with closing(sqlite3.connect(path)) as target:
                source.backup(target, pages=_PAGES)
            copy = create_engine(f"sqlite:///{path}")
            try:
                yield copy
            finally:
                copy.dispose()
    finally:
        raw.close()


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
