"""An application's expressions, as conditions on a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Label, Table
from sqlalchemy.sql.util import _deep_deannotate

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper

__all__ = ["as_core", "columns_of", "is_sql", "strangers"]


def is_sql(value: object) -> bool:
    """Whether a value is an expression, or stands for one as a model's attribute does."""
    return isinstance(getattr(value, "__clause_element__", lambda: value)(), ColumnElement)


def as_core(expression: Any) -> Any:  # noqa: ANN401
    """An expression without the ORM's notes, with which it would make an ORM statement."""
    if hasattr(expression, "__clause_element__"):
        expression = expression.__clause_element__()
    found = _deep_deannotate(expression)
    return found.element if isinstance(found, Label) else found


def strangers(expression: ColumnElement[Any], tables: Iterable[Table]) -> list[str]:
    """Names of what an expression reads from, subqueries aside, that is none of some tables."""
    known = set(tables)
    found = [one for one in expression._from_objects if one not in known]
    return [repr(getattr(one, "fullname", None) or getattr(one, "name", str(one))) for one in found]


def columns_of(mapper: Mapper[Any] | None, table: Table) -> list[str]:
    """Names by which a policy may call columns: the model's own, else the table's."""
    if mapper is None:
        return list(table.c.keys())
    return [key for key, column in mapper.columns.items() if column.table is table]
