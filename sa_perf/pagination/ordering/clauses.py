"""ORDER BY as it was given, taken apart. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, TextClause
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    BindParameter,
    ColumnClause,
    Label,
    UnaryExpression,
    _label_reference,
    _textual_label_reference,
)
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import ScalarSelect, SelectBase

from sa_perf.errors import PaginationError
from sa_perf.pagination.ordering.froms import from_elements, is_made_up

__all__ = [
    "Sorted", "has_entities", "is_aggregate", "is_windowed", "output_names", "resolved",
    "sort_clauses", "sorted_by",
]  # fmt: skip

Expression: TypeAlias = ColumnElement[Any]

_RANDOM = frozenset({"random", "rand", "newid", "uuid", "gen_random_uuid", "uuid_generate_v4"})
_AGGREGATE = re.compile(
    r"count|sum|avg|min|max|total|every|any_value|mode|std|group_concat|(?:array|string|xml)_agg"
    r"|jsonb?_(?:object_)?(?:agg\w*|arrayagg|objectagg)|jsonb?_group_\w+|range_\w*agg"
    r"|bit_(?:and|or|xor)|bool_(?:and|or)|stddev\w*|var(?:iance|_pop|_samp)|(?:co|re)\w+_(?:pop|samp)"
    r"|corr|percentile_\w+"
)


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
    return Sorted(_beside_entities(clause), descending, nulls_first)


def _beside_entities(expression: Expression) -> Expression:
    """An expression for any place of a statement, where it brings no condition along.

    Where an attribute of a class that shares its table is selected, or stands in WHERE (SQLAlchemy
    2.1), the statement is held to that class's rows; where it is sorted by, it is not.
    """

    def without_entity(element: Any, **_: object) -> Any:  # noqa: ANN401
        if isinstance(element, (SelectBase, ScalarSelect, BindParameter)):
            return element  # a subquery of its own; the parameter's name
        return element._deannotate() if _shares_table(element) else None

    if any(map(_shares_table, visitors.iterate(expression))):
        found: Expression = visitors.replacement_traverse(expression, {}, without_entity)
        return found
    return expression


def _shares_table(element: Any) -> bool:  # noqa: ANN401
    entity = element._annotations.get("parententity")
    return entity is not None and entity.mapper._single_table_criterion is not None


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
    raise PaginationError(
        f"ORDER BY names {name!r}, which the statement does not have; it has: "
        f"{', '.join(sorted(set(output_names(outputs))))}"
    )


def output_names(outputs: Iterable[Any]) -> list[str]:
    """Names of columns for a message; what has none is called so."""
    keys = [getattr(one, "key", None) for one in outputs]
    return ["(no name)" if key is None or is_made_up(key) else str(key) for key in keys]


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
    _refuse_relationship(clause)
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


def _refuse_relationship(clause: Any) -> None:  # noqa: ANN401
    """A relationship stands for the condition of its join, which is no value of a row."""
    notes = clause._annotations
    mapper = getattr(notes.get("proxy_owner"), "mapper", None)
    if mapper is None or isinstance(clause, ColumnClause):
        return
    relationship = mapper.relationships.get(notes.get("proxy_key"))
    if relationship is not None:
        raise PaginationError(
            f"ORDER BY {relationship} is a relationship, which is no value to sort by; join it, "
            f".join({relationship}), and order by columns of {relationship.mapper.class_.__name__}"
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


def is_aggregate(expression: Any) -> bool:  # noqa: ANN401  # any element of a statement
    """Whether it makes one value of many rows: an aggregate that is no window's or subquery's."""
    return any(
        one.__visit_name__ == "withingroup"
        or (isinstance(one, FunctionElement) and _gives_one_of_many(one))
        for one in _of_its_own(expression)
    )


def _gives_one_of_many(function: Any) -> bool:  # noqa: ANN401
    name = str(getattr(function, "name", "")).lower()
    # SQLite's max(a, b) is the larger of two values.
    of_values = name in ("min", "max") and len(function.clauses) > 1
    return _AGGREGATE.fullmatch(name) is not None and not of_values


def _of_its_own(expression: Any) -> Iterator[Any]:  # noqa: ANN401
    """The parts of an expression, those of windows and subqueries left out."""
    if expression.__visit_name__ == "over" or isinstance(expression, (SelectBase, ScalarSelect)):
        return
    yield expression
    for part in expression.get_children():
        yield from _of_its_own(part)
