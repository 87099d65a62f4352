"""Databases that sa_perf keeps something in: how to write there, gently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.dialects import mysql, postgresql, sqlite

from sa_perf.errors import UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Insert, Table
    from sqlalchemy.engine.interfaces import Dialect

__all__ = ["begin_writing", "is_file", "upsert"]


def upsert(
    dialect: Dialect, table: Table, key: Sequence[str], *, update: Sequence[str] = ()
) -> Insert:
    """INSERT that leaves a row of the same key, but for some columns.

    Args:
        dialect: SQLAlchemy's.
        table: where to.
        key: columns that a unique constraint holds.
        update: columns that a row which is there takes from the new one; none: it stays.

    Raises:
        UnsupportedDatabase: no way to say it is known.
    """
    if dialect.name in ("mysql", "mariadb"):
        other = mysql.insert(table)
        values = {name: other.inserted[name] for name in update}
        # To itself: IGNORE would ignore every other error too.
        return other.on_duplicate_key_update(values or {key[0]: table.c[key[0]]})
    if dialect.name not in ("postgresql", "sqlite"):
        raise UnsupportedDatabase(f"no INSERT for rows that may be there is known: {dialect.name}")
    new: Any = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    if not update:
        return new.on_conflict_do_nothing(index_elements=[*key])  # type: ignore[no-any-return]
    values = {name: new.excluded[name] for name in update}
    return new.on_conflict_do_update(index_elements=[*key], set_=values)  # type: ignore[no-any-return]


def begin_writing(connection: Connection, *, seconds: float, own_file: bool) -> None:
    """Give a connection limits, so that it waits for nobody for long.

    Args:
        connection: in no transaction, nor is it afterwards.
        seconds: for a lock, and for a statement where the database has such a limit.
        own_file: of SQLite: nobody else's, so readers and writers need not wait for each other.
    """
    milliseconds = max(1, round(seconds * 1_000))
    statements = {
        "sqlite": (
            f"PRAGMA busy_timeout = {milliseconds}",
            *(("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL") if own_file else ()),
        ),
        "postgresql": (
            f"SET statement_timeout = {milliseconds}",
            f"SET lock_timeout = {milliseconds}",
        ),
        "mysql": (f"SET SESSION innodb_lock_wait_timeout = {max(1, round(seconds))}",),
    }
    name = connection.dialect.name
    for statement in statements.get("mysql" if name == "mariadb" else name, ()):
        connection.execute(text(statement))
    connection.commit()


def is_file(url: URL) -> bool:
    """Whether a database is a file, which is there as soon as somebody connects."""
    return url.get_backend_name() == "sqlite"
