"""What each database needs said to give disk space back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.dialects.space.base import Disk, Request, Room, Space, Staleness, Usage, Work
from sa_perf.errors import UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["Disk", "Request", "Room", "Space", "Staleness", "Usage", "Work", "space_for"]


def space_for(dialect: SQLAlchemyDialect) -> Space:
    """How space of a database is given back.

    Args:
        dialect: SQLAlchemy's; whether MySQL's leads to MariaDB is known once it has connected.

    Raises:
        UnsupportedDatabase: sa_perf does not know the database.
    """
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    if name == "sqlite":
        from sa_perf.dialects.space.sqlite import SQLiteSpace

        return SQLiteSpace(dialect)
    if name == "postgresql":
        from sa_perf.dialects.space.postgresql import PostgreSQLSpace

        return PostgreSQLSpace(dialect)
    if name == "mysql":
        from sa_perf.dialects.space.mysql import MySQLSpace

        return MySQLSpace(dialect)
    if name == "mariadb":
        from sa_perf.dialects.space.mysql import MariaDBSpace

        return MariaDBSpace(dialect)
    raise UnsupportedDatabase(
        f"sa_perf does not know how {name} gives space back; it knows: sqlite, postgresql, mysql, "
        "mariadb"
    )
