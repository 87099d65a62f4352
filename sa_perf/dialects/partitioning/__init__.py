"""What each database needs said to keep a table in partitions by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sa_perf.dialects.partitioning.base import Detached, Part, Partitioning, Piece
from sa_perf.errors import PartitionError

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = [
    "Detached", "Part", "Partitioning", "Piece", "can_partition", "partitioning_for",
    "table_options",
]  # fmt: skip

_KNOWN = ("postgresql", "mysql", "mariadb")


def can_partition(dialect: SQLAlchemyDialect) -> bool:
    """Whether a database has partitions at all."""
    return dialect.name in _KNOWN


def partitioning_for(dialect: SQLAlchemyDialect, table: Table, column: Column[Any]) -> Partitioning:
    """How a table is kept in partitions.

    Raises:
        PartitionError: the database has none.
    """
    if dialect.name == "postgresql":
        from sa_perf.dialects.partitioning.postgresql import PostgreSQLPartitioning

        return PostgreSQLPartitioning(dialect, table, column)
    if dialect.name in _KNOWN:
        from sa_perf.dialects.partitioning.mysql import MySQLPartitioning

        return MySQLPartitioning(dialect, table, column)
    raise PartitionError(
        f"{table.fullname!r}: {dialect.name} has no partitions; delete its old rows in batches "
        "instead, by a RetentionPolicy"
    )


def table_options(table: Table, column: Column[Any], *, default: bool) -> dict[str, str]:
    """Options of the Table by which CREATE TABLE makes it partitioned, for every database."""
    from sqlalchemy.dialects.mysql import dialect as mysql_dialect
    from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect

    from sa_perf.dialects.partitioning import mysql, postgresql

    return {
        "postgresql_partition_by": postgresql.partition_by(column),
        "mysql_partition_by": mysql.partition_by(mysql_dialect(), column, default=default),
        "mariadb_partition_by": mysql.partition_by(MariaDBDialect(), column, default=default),
    }
