"""Taking rows out of a database gently: the one place that picks how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.dialects.purging_base import Purging
from sa_perf.dialects.synchronous import refuse_asynchronous

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["Purging", "purging_for", "purging_of"]


def purging_of(engine: Engine) -> Purging:
    """How to take rows out of an engine's database; connects once, to know what it is.

    Raises:
        RetentionError: the engine is asynchronous.
    """
    refuse_asynchronous(engine)
    with engine.connect():
        return purging_for(engine.dialect)


def purging_for(dialect: SQLAlchemyDialect) -> Purging:
    """How to take rows out of a database; its own file is loaded when it is first asked for.

    Args:
        dialect: SQLAlchemy's, that has connected: only then is MariaDB known from MySQL.
    """
    if dialect.name == "sqlite":
        from sa_perf.dialects.sqlite_purging import SQLitePurging

        return SQLitePurging(dialect)
    if dialect.name == "postgresql":
        from sa_perf.dialects.postgresql_purging import PostgreSQLPurging

        return PostgreSQLPurging(dialect)
    if dialect.name in ("mysql", "mariadb"):
        from sa_perf.dialects.mysql_purging import MariaDBPurging, MySQLPurging

        is_mariadb: bool = getattr(dialect, "is_mariadb", False)
        return MariaDBPurging(dialect) if is_mariadb else MySQLPurging(dialect)
    return Purging(dialect)
