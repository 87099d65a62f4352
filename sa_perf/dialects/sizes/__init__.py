"""What a database takes: its size, its largest tables, its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.dialects.sizes.base import DatabaseSizes, TableSize
from sa_perf.errors import UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["DatabaseSizes", "TableSize", "read_sizes"]


def read_sizes(
    connection: Connection, *, tables: int = 20, timeout_seconds: float = 10.0
) -> DatabaseSizes:
    """Ask a database what it takes, read only; a question that fails is told as unknown.

    Three to six questions. PostgreSQL looks at each file of each table (0.1 s for 10,000 of them),
    MySQL and MariaDB open tables that nobody has open; SQLite reads every page of a file of up to
    256 MB, and tells nothing of tables in a larger one.

    Args:
        connection: in no transaction; in none afterwards.
        tables: the largest ones, so many at most, >= 0.
        timeout_seconds: limit for each question, > 0.

    Raises:
        UnsupportedDatabase: sa_perf does not know the database.
        DBAPIError: the connection broke.
    """
    dialect = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    if name == "sqlite":
        from sa_perf.dialects.sizes.sqlite import sqlite_sizes

        return sqlite_sizes(connection, tables, timeout_seconds)
    if name == "postgresql":
        from sa_perf.dialects.sizes.postgresql import postgresql_sizes

        return postgresql_sizes(connection, tables, timeout_seconds)
    if name in {"mysql", "mariadb"}:
        from sa_perf.dialects.sizes.mysql import mysql_sizes

        return mysql_sizes(connection, tables, timeout_seconds, is_mariadb=name == "mariadb")
    raise UnsupportedDatabase(
        f"sa_perf does not ask {name} for sizes; it asks: sqlite, postgresql, mysql, mariadb"
    )
