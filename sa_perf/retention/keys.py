"""Rows by their keys, whose values travel as the database holds them.

What a type makes of a value on its way out and back loses rows: SQLite's datetimes without
microseconds, decimals that are floats, an application's value objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, Integer, String, bindparam, tuple_

from sa_perf.dialects.seeking import seeking_for

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect

__all__ = ["among", "as_stored"]

Expression: TypeAlias = ColumnElement[Any]
#: Values from which on they stand in the statement.
_MANY = 5_000


def as_stored(columns: Sequence[Expression], dialect: Dialect) -> list[Expression]:
    """What to select to get the columns' values for `among`."""
    seeking = seeking_for(dialect)
    values = [seeking.sort_value(column.type) for column in columns]
    return [
        column if value.read is None else value.read(column)
        for column, value in zip(columns, values, strict=True)
    ]


def among(
    columns: Sequence[Expression], keys: Sequence[Sequence[Any]], dialect: Dialect
) -> ColumnElement[bool]:
    """The columns have the values of one of some rows.

    Args:
        columns: one or more.
        keys: values by `as_stored`, in the columns' order.
        dialect: SQLAlchemy's, of the database.
    """
    seeking = seeking_for(dialect)
    compared = [seeking.sort_value(column.type).compare(column) for column in columns]
    if len(compared) == 1:
        values = [key[0] for key in keys]
        if len(values) > _MANY and isinstance(compared[0].type, (Integer, String)):
            # Databases take so many parameters (PostgreSQL 65,535), but longer statements.
            named: Any = bindparam(None, values, expanding=True, literal_execute=True, unique=True)
            return compared[0].in_(named)
        return compared[0].in_(values)
    return tuple_(*compared).in_([tuple(key) for key in keys])
