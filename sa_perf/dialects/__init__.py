"""All SQL that is written for one database; the one place that picks.

`dialect_for` gives the `Dialect` of an engine, a connection or a name. A database's own file is
loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from sa_perf.dialects.base import Dialect
from sa_perf.dialects.dbapi import DBAPIConnection, DBAPICursor
from sa_perf.dialects.facts import ColumnFacts, IndexFacts, TableFacts
from sa_perf.dialects.plan import OPERATIONS, Operation, Plan, PlanNode

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    Bind: TypeAlias = (
        "Engine | AsyncEngine | Connection | AsyncConnection | SQLAlchemyDialect | str"
    )

__all__ = [
    "OPERATIONS",
    "ColumnFacts",
    "DBAPIConnection",
    "DBAPICursor",
    "Dialect",
    "IndexFacts",
    "Operation",
    "Plan",
    "PlanNode",
    "TableFacts",
    "are_alike",
    "dialect_for",
]


def dialect_for(bind: Bind) -> Dialect:
    """The dialect of a database; of one that sa_perf does not know, the base `Dialect`.

    Whether ``mysql://`` leads to MariaDB is known once the engine has connected; both read the
    plans of either.

    Args:
        bind: an engine, a connection, SQLAlchemy's dialect, or a name as in ``engine.name``.
    """
    if isinstance(bind, str):
        return _class_for(bind)(bind)
    # An engine or a connection has one; a dialect is one.
    dialect = cast("SQLAlchemyDialect", getattr(cast("object", bind), "dialect", bind))
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    return _class_for(name)(name, paramstyle=dialect.paramstyle)


def are_alike(name: str, other: str) -> bool:
    """Whether two of SQLAlchemy's names may mean one database: MariaDB goes by MySQL's too."""
    kinds = _class_for(name), _class_for(other)
    if name == other or Dialect in kinds:
        return name == other
    return issubclass(*kinds) or issubclass(*reversed(kinds))


def _class_for(name: str) -> type[Dialect]:
    if name == "sqlite":
        from sa_perf.dialects.sqlite import SQLite

        return SQLite
    if name == "postgresql":
        from sa_perf.dialects.postgresql import PostgreSQL

        return PostgreSQL
    if name == "mysql":
        from sa_perf.dialects.mysql import MySQL

        return MySQL
    if name == "mariadb":
        from sa_perf.dialects.mysql import MariaDB

        return MariaDB
    return Dialect
