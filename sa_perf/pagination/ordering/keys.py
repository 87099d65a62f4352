"""ORDER BY analysis: keys, directions, NULL placement, tie-breaks. Pure.

`ordering_of` makes of a Select's ORDER BY a total order of its rows. What it finds does not depend
on bind values, so it is kept per statement shape and dialect (`Recipe`); the expressions themselves
are taken anew from each statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from sqlalchemy import ColumnElement, Select
from sqlalchemy import types as sqltypes
from sqlalchemy.sql.elements import (
    ColumnClause,
)
from sqlalchemy.sql.selectable import TableClause

from sa_perf.errors import PaginationError
from sa_perf.pagination.ordering.clauses import (
    Sorted,
    has_entities,
    resolved,
    sort_clauses,
    sorted_by,
)
from sa_perf.pagination.ordering.froms import from_elements, groups, nullable_froms, unlabelled
from sa_perf.pagination.ordering.nullability import may_be_null
from sa_perf.pagination.ordering.shapes import Shapes
from sa_perf.pagination.ordering.uniqueness import Rows

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

    from sa_perf.dialects.seeking import Seeking, SortValue

__all__ = ["SortKey", "ordering_of", "tie_breaks"]

Expression: TypeAlias = ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a statement holds a sort key's expression."""

    place: Literal["order", "column", "from", "group", "output"]
    index: int = 0
    column: Expression | None = None
    at: int = 0

    def find(self, stmt: Select[Any]) -> Expression:
        if self.place == "order":
            return resolved(stmt, sort_clauses(stmt)[self.index]).expression
        if self.place == "group":
            return cast("Expression", groups(stmt)[self.index])
        if self.place == "output":
            return cast("Expression", unlabelled(stmt.selected_columns.values()[self.index]))
        if self.place == "from":  # an alias or subquery is another one in each statement
            found: Expression = list(from_elements(stmt)[self.index].c)[self.at]
            return found
        assert self.column is not None  # noqa: S101  # place "column" has one
        return self.column


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """One expression by which rows are sorted.

    Attributes:
        expression: without direction and label.
        descending: largest first.
        nulls_first: where NULLs stand, by the statement or by the database's default.
        nullable: the expression may be NULL.
        few_values: its type has few values (bool, enum), so that many rows share one.
        value: how its values travel.
        position: among the columns of a row, where the value there is exact; else None.
    """

    expression: Expression
    descending: bool
    nulls_first: bool
    nullable: bool
    few_values: bool
    value: SortValue
    position: int | None

    def reversed(self) -> SortKey:
        """The key for reading backwards."""
        return SortKey(
            expression=self.expression,
            descending=not self.descending,
            nulls_first=not self.nulls_first,
            nullable=self.nullable,
            few_values=self.few_values,
            value=self.value,
            position=self.position,
        )


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What is known of one key for every statement of a shape."""

    source: _Source
    descending: bool
    nulls_first: bool
    nullable: bool
    few_values: bool
    value: SortValue
    position: int | None

    def key(self, stmt: Select[Any]) -> SortKey:
        return SortKey(
            expression=self.source.find(stmt),
            descending=self.descending,
            nulls_first=self.nulls_first,
            nullable=self.nullable,
            few_values=self.few_values,
            value=self.value,
            position=self.position,
        )


_recipes: Shapes[tuple[_Recipe, ...]] = Shapes()
_ties: Shapes[tuple[_Source, ...]] = Shapes()


def ordering_of(
    stmt: Select[Any], seeking: Seeking, dialect: SQLAlchemyDialect, *, unique: bool = False
) -> tuple[SortKey, ...]:
    """The total order of a statement, from its ORDER BY and what its tables tell.

    Args:
        stmt: a plain Select: no LIMIT, no window function in ORDER BY (see `wrapping`).
        seeking: the database's rules.
        dialect: SQLAlchemy's.
        unique: the caller vouches that the ORDER BY makes each row unique.

    Raises:
        PaginationError: the rows cannot be put into a stable order; says why and what to do.
    """

    def recipes() -> tuple[_Recipe, ...]:
        return tuple(_Analysis(stmt, seeking).recipes(unique=unique))

    known = _recipes.of(stmt, dialect.name, dialect.driver, unique, find=recipes)
    return tuple(recipe.key(stmt) for recipe in known)


def tie_breaks(stmt: Select[Any]) -> list[Expression]:
    """What is missing in a statement's ORDER BY so that no two rows sort alike.

    Raises:
        PaginationError: nothing would do; says why and what to do.
    """

    def sources() -> tuple[_Source, ...]:
        given = [one.expression for one in sorted_by(stmt)]
        return tuple(_source(stmt, one) for one in Rows(stmt).missing(given))

    return [source.find(stmt) for source in _ties.of(stmt, find=sources)]


class _Analysis:
    """The reading of one statement."""

    def __init__(self, stmt: Select[Any], seeking: Seeking) -> None:
        self._stmt = stmt
        self._seeking = seeking
        self._optional = nullable_froms(stmt)
        self._entities = has_entities(stmt)
        self._outputs = [unlabelled(column) for column in stmt.selected_columns]

    def recipes(self, *, unique: bool) -> Iterator[_Recipe]:
        rows = Rows(self._stmt)
        given: list[Expression] = []
        for index, clause in enumerate(sort_clauses(self._stmt)):
            if given and not unique and self._is_total(rows, given):
                return  # what follows changes nothing
            found = resolved(self._stmt, clause)
            if any(_same(found.expression, one) for one in given):
                continue
            given.append(found.expression)
            self._require_selected(found.expression)
            yield self._recipe(_Source("order", index), found)
        if unique:
            return
        missing = rows.missing(given)
        # Tie-breaks go the way of the last key, so that one index serves them all.
        last = resolved(self._stmt, sort_clauses(self._stmt)[-1]) if given else None
        for expression in missing:
            descending = last.descending if last is not None else False
            yield self._recipe(
                _source(self._stmt, expression), Sorted(expression, descending, nulls_first=None)
            )

    def _is_total(self, rows: Rows, given: Sequence[Expression]) -> bool:
        try:
            return not rows.missing(given)
        except PaginationError:
            return False

    def _require_selected(self, expression: Expression) -> None:
        if self._stmt._distinct and not any(_same(expression, one) for one in self._outputs):
            raise PaginationError(
                f"SELECT DISTINCT is ordered by {expression}, which it does not select; select it "
                "too, or use GROUP BY"
            )

    def _recipe(self, source: _Source, found: Sorted) -> _Recipe:
        expression = found.expression
        value = self._seeking.sort_value(expression.type)
        nulls_first = found.nulls_first
        if nulls_first is None:
            nulls_first = found.descending == self._seeking.nulls_largest
        return _Recipe(
            source=source,
            descending=found.descending,
            nulls_first=nulls_first,
            nullable=may_be_null(expression, self._optional),
            few_values=isinstance(expression.type, (sqltypes.Boolean, sqltypes.Enum)),
            value=value,
            position=self._position(expression) if value.read is None else None,
        )

    def _position(self, expression: Expression) -> int | None:
        if self._entities:
            return None  # an entity in the session may differ from the row
        for index, output in enumerate(self._outputs):
            if output is expression or _same(output, expression):
                return index
        return None


def _source(stmt: Select[Any], expression: Expression) -> _Source:
    """Where a statement holds a tie-break."""
    if isinstance(expression, ColumnClause):
        if isinstance(expression.table, TableClause):
            return _Source("column", column=expression)
        for index, element in enumerate(from_elements(stmt)):
            if element is expression.table:
                names = [one.key for one in element.c]
                return _Source("from", index, at=names.index(expression.key))
    for index, one in enumerate(groups(stmt)):
        if one is expression:
            return _Source("group", index)
    for index, one in enumerate(map(unlabelled, stmt.selected_columns)):
        if one is expression:
            return _Source("output", index)
    return _Source("column", column=expression)


def _same(one: Expression, other: Expression) -> bool:
    return one is other or bool(one.compare(other))
