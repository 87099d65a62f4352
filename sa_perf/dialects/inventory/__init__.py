"""What a database's schemas hold: tables, indexes, keys, counters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sa_perf.dialects.inventory.ddl import DDL, MySQLDDL, PostgreSQLDDL, Remedy, SQLiteDDL
from sa_perf.dialects.inventory.facts import (
    Counter,
    ForeignKey,
    IndexPart,
    Inventory,
    SchemaColumn,
    SchemaIndex,
    SchemaTable,
    Unknown,
)
from sa_perf.errors import UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

    from sa_perf.dialects.inventory.base import CatalogReader

__all__ = [
    "DDL", "Counter", "ForeignKey", "IndexPart", "Inventory", "Remedy", "SchemaColumn",
    "SchemaIndex", "SchemaTable", "Unknown", "ddl_for", "read_inventory", "refuse_missing",
]  # fmt: skip


def read_inventory(
    connection: Connection, schemas: Sequence[str] = (), *, timeout_seconds: float = 30.0
) -> Inventory:
    """Read the catalog, in read-only transactions that are rolled back.

    A number of questions that does not grow with the tables, but for SQLite's last rowids.

    Args:
        connection: in no transaction; in none afterwards.
        schemas: by name; none: on PostgreSQL each that is not the system's, on MySQL and MariaDB
            the URL's database, on SQLite the file and what is attached.
        timeout_seconds: limit for each question, > 0.

    Raises:
        UnsupportedDatabase: sa_perf does not know the database's catalog.
        InventoryError: there is no schema of a name.
        DBAPIError: not even the names of the tables could be had.
    """
    return _reader(connection, timeout_seconds).read(schemas)


def ddl_for(dialect: SQLAlchemyDialect) -> DDL:
    """How a database's indexes and keys are made and dropped.

    Raises:
        UnsupportedDatabase: sa_perf does not know the database.
    """
    kinds = {
        "sqlite": SQLiteDDL,
        "postgresql": PostgreSQLDDL,
        "mysql": MySQLDDL,
        "mariadb": MySQLDDL,
    }
    if dialect.name not in kinds:
        raise _unsupported(dialect.name)
    return kinds[dialect.name](dialect)


def refuse_missing(url: URL) -> None:
    """Let pass a URL unless connecting would make the database that it names.

    Raises:
        InventoryError: it would.
    """
    if url.get_backend_name() == "sqlite":
        from sa_perf.dialects.inventory.sqlite import refuse_missing_file

        refuse_missing_file(url)


def _reader(connection: Connection, timeout_seconds: float) -> CatalogReader:
    dialect = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    if name == "sqlite":
        from sa_perf.dialects.inventory.sqlite import SQLiteReader

        return SQLiteReader(connection, timeout_seconds=timeout_seconds)
    if name == "postgresql":
        from sa_perf.dialects.inventory.postgresql import PostgreSQLReader

        return PostgreSQLReader(connection, timeout_seconds=timeout_seconds)
    if name == "mysql":
        from sa_perf.dialects.inventory.mysql import MySQLReader

        return MySQLReader(connection, timeout_seconds=timeout_seconds)
    if name == "mariadb":
        from sa_perf.dialects.inventory.mysql import MariaDBReader

        return MariaDBReader(connection, timeout_seconds=timeout_seconds)
    raise _unsupported(name)


def _unsupported(name: str) -> UnsupportedDatabase:
    return UnsupportedDatabase(
        f"sa_perf does not read the catalog of {name}; it reads those of: sqlite, postgresql, "
        "mysql, mariadb"
    )
