"""ORDER BY as it was given, taken apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, TextClause
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    ColumnClause,
    Label,
    UnaryExpression,
    _label_reference,
    _textual_label_reference,
)
from sqlalchemy.sql.functions import FunctionElement

from sa_perf.errors import PaginationError
from sa_perf.pagination.ordering.uniqueness import from_elements

__all__ = [
    "Sorted", "has_entities", "is_windowed", "resolved", "sort_clauses", "sorted_by", "unlabelled",
]  # fmt: skip

Expression: TypeAlias = ColumnElement[Any]

_RANDOM = frozenset({"random", "rand", "newid", "uuid", "gen_random_uuid", "uuid_generate_v4"})


@dataclass(frozen=True, slots=True)
class Sorted:
    """An element of ORDER BY, taken apart.

    Attributes:
        expression: without direction and label.
        descending: largest first.
        nulls_first: None where the statement does not say.
    """

    expression: Expression
    descending: bool
    nulls_first: bool | None

    def applied_to(self, expression: Expression) -> Expression:
        """An element of ORDER BY that sorts another expression in the same way."""
        element: Expression = expression.desc() if self.descending else expression.asc()
        if self.nulls_first is None:
            return element
        return element.nulls_first() if self.nulls_first else element.nulls_last()


def sorted_by(stmt: Any) -> list[Sorted]:  # noqa: ANN401  # Select or CompoundSelect
    """The elements of a statement's ORDER BY, taken apart."""
    return [resolved(stmt, clause) for clause in sort_clauses(stmt)]


def resolved(stmt: Any, clause: Any) -> Sorted:  # noqa: ANN401
    """Take direction, NULL placement and label off an element of ORDER BY."""
    descending = False
    nulls_first: bool | None = None
    while True:
        if isinstance(clause, _label_reference):
            clause = clause.element
        elif isinstance(clause, UnaryExpression) and clause.modifier is not None:
            if clause.modifier is operators.desc_op:
                descending = True
            elif clause.modifier is operators.nulls_first_op:
                nulls_first = True
            elif clause.modifier is operators.nulls_last_op:
                nulls_first = False
            clause = clause.element
        elif isinstance(clause, _textual_label_reference):
            clause = _named(stmt, clause.element)
        elif isinstance(clause, Label):
            clause = clause.element
        else:
            break
    _refuse_unsortable(clause)
    return Sorted(clause, descending, nulls_first)


def _named(stmt: Any, name: str) -> Expression:  # noqa: ANN401
    """The expression that a text in ORDER BY names: an output, else a column of the FROMs."""
    outputs = stmt.selected_columns
    for output in outputs:
        if getattr(output, "name", None) == name or getattr(output, "key", None) == name:
            found: Expression = output
            return found
    for one in from_elements(stmt) if isinstance(stmt, Select) else ():
        for column in one.c:
            if name in (column.name, column.key):
                return column
    names = sorted({str(one.key) for one in outputs if getattr(one, "key", None)})
    raise PaginationError(
        f"ORDER BY names {name!r}, which the statement does not have; it has: {', '.join(names)}"
    )


def _refuse_unsortable(clause: Any) -> None:  # noqa: ANN401
    if not isinstance(clause, (ColumnElement, TextClause)):
        raise PaginationError(
            f"ORDER BY {clause} is no single value; name the columns that it is made of"
        )
    if isinstance(clause, TextClause):
        raise PaginationError(
            f"ORDER BY text({clause.text!r}) cannot be read; give columns or SQL expressions, or "
            "literal_column() with a type, which can"
        )
    for one in visitors.iterate(clause):
        if isinstance(one, FunctionElement) and str(getattr(one, "name", "")).lower() in _RANDOM:
            raise PaginationError(
                f"ORDER BY {one.name}() gives another order for each page; store a random number "
                "in a column and order by that, or take a sample without pages"
            )
    if isinstance(clause, ColumnClause) and clause.is_literal and str(clause.name).isdigit():
        raise PaginationError(
            f"ORDER BY {clause.name} is a column's number; name the column or label instead"
        )


def sort_clauses(stmt: Any) -> Sequence[Any]:  # noqa: ANN401  # Select or CompoundSelect
    """The elements of ORDER BY, as they were given."""
    return stmt._order_by_clauses  # type: ignore[no-any-return]


def has_entities(stmt: Select[Any]) -> bool:
    """Whether a session would give mapped objects for it, or bundles of columns."""
    for one in stmt._raw_columns:
        notes = getattr(one, "_annotations", {})
        if "bundle" in notes or ("parententity" in notes and not isinstance(one, ColumnElement)):
            return True
    return False


def is_windowed(expression: Any) -> bool:  # noqa: ANN401  # any element of a statement
    """Whether a window function is in it: such a value cannot stand in WHERE."""
    return any(one.__visit_name__ == "over" for one in visitors.iterate(expression))


def unlabelled(column: Any) -> Expression:  # noqa: ANN401
    """What stands behind a label."""
    while isinstance(column, (Label, _label_reference)):
        column = column.element
    found: Expression = column
    return found
