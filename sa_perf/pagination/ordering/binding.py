"""What a cursor is bound to: an order, in lasting words. Pure.

SQLAlchemy's cache key holds the ids of objects, and its SQL text changes from version to version,
so neither would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ColumnClause
from sqlalchemy.sql.functions import FunctionElement

from sa_perf.pagination.ordering.uniqueness import columns_of

if TYPE_CHECKING:
    from sa_perf.pagination.ordering.keys import SortKey

__all__ = ["binding_of"]


def binding_of(stmt: Select[Any], keys: Sequence[SortKey], database: str) -> str:
    """The order in words: columns, operators, functions and constants, but no SQL text."""
    parts = [database]
    parts += sorted({_name(column.table) for key in keys for column in columns_of(key.expression)})
    for key in keys:
        direction = "desc" if key.descending else "asc"
        nulls = "first" if key.nulls_first else "last"
        parts.append(f"{' '.join(_words(key.expression))} {direction} nulls {nulls}")
    for criterion in (*stmt._where_criteria, *stmt._having_criteria):
        parts.append(" ".join(_words(criterion, values=False)))
    return "\n".join(parts)


def _words(expression: Any, *, values: bool = True) -> Iterator[str]:  # noqa: ANN401
    one: Any
    for one in visitors.iterate(expression):
        if isinstance(one, ColumnClause):
            # What SQLAlchemy names itself has another name in each process.
            yield f"{_name(one.table)}.{_name(one)}"
        elif isinstance(one, FunctionElement):
            yield f"{getattr(one, 'name', '')}()"
        elif isinstance(one, BindParameter):
            yield _constant(one.effective_value) if values else "?"
        elif getattr(one, "operator", None) is not None:
            yield getattr(one.operator, "__name__", str(one.operator))
        elif one.__visit_name__ == "cast":
            yield f"cast {type(one.type).__name__}"
        elif one.__visit_name__ == "collation":
            yield str(getattr(one, "collation", ""))


def _constant(value: object) -> str:
    """A constant in words; of a set, whose order is by chance, in order."""
    if isinstance(value, (list, set, frozenset)):
        return " ".join(sorted(map(repr, value)))
    return repr(value)


def _name(selectable: Any) -> str:  # noqa: ANN401
    """A table's own name; an anonymous alias gets another in each process, so it has none."""
    name = getattr(selectable, "name", None)
    return "" if not isinstance(name, str) or name.startswith("%(") else str(name)
