"""Whether two columns of one database hold the very same value, as SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BINARY, Column, ColumnElement, Float, and_, cast, type_coerce
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from sa_perf.dialects.stored_values import Stored

if TYPE_CHECKING:
    from sa_perf.dialects.stored_values import StoredValues

__all__ = ["same_value"]


def same_value(stored: StoredValues, one: Column[Any], other: Column[Any]) -> ColumnElement[bool]:
    """Whether a value was copied as it was, or both are NULL.

    Stricter than ``=``, which overlooks what a narrower or another type makes of a value.

    Args:
        stored: of the database.
        one: a column.
        other: a column of the same type in the application's model, whatever it is in the database.
    """
    if stored.family == "sqlite":
        return _without_affinity(one).is_not_distinct_from(_without_affinity(other))
    if stored.family == "mysql":
        same = _bytes(one).is_not_distinct_from(_bytes(other))
        if not isinstance(stored.kept_type(one), Float):
            return same
        # As text a FLOAT has six digits.
        return and_(same, _plain(one).is_not_distinct_from(_plain(other)))
    return stored.read(one).is_not_distinct_from(stored.read(other))


def _plain(column: Column[Any]) -> ColumnElement[Any]:
    return type_coerce(column, Stored())


def _bytes(column: Column[Any]) -> ColumnElement[Any]:
    """Collations take no notice of case, accents and blanks at the end."""
    return cast(_plain(column), BINARY)


def _without_affinity(column: Column[Any]) -> ColumnElement[Any]:
    """A column by itself turns '01' into 1 to compare it with a number (datatype3.html, 4.2)."""
    return UnaryExpression(_plain(column), operator=custom_op("+"), type_=Stored())
