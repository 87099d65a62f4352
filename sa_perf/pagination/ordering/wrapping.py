"""Statements that cannot be paged as they stand, as ones that can. Pure.

A UNION, a LIMIT of the statement's own, DISTINCT ON and window functions in ORDER BY leave no place
for a condition on the sort keys. Rows of columns are then taken from a subquery; a statement that
gives mapped objects keeps its form, loader options included, and is joined to a subquery of its
rows' keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Query
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.sql.selectable import (
    CompoundSelect,
    SelectStatementGrouping,
    Subquery,
    TextualSelect,
)

from sa_perf.errors import PaginationError
from sa_perf.pagination.ordering.clauses import (
    has_entities,
    is_aggregate,
    is_windowed,
    output_names,
    sorted_by,
)
from sa_perf.pagination.ordering.froms import bare, groups_by_sets, nullable_froms, unlabelled
from sa_perf.pagination.ordering.missing_joins import refuse_missing_joins
from sa_perf.pagination.ordering.uniqueness import Rows

__all__ = ["pageable"]

Expression: TypeAlias = ColumnElement[Any]
_PREFIX = "sa_perf_inner_"
#: Where SQLAlchemy 2.1 keeps syntax extensions.
_EXTENDED = (
    "_pre_columns_clause",
    "_post_select_clause",
    "_post_criteria_clause",
    "_post_body_clause",
)


def pageable(stmt: object) -> Select[Any]:
    """The statement itself, or one that gives the same rows in the same order and can be paged.

    ``yield_per`` is taken off, since a page is read whole.

    Raises:
        PaginationError: it is no SELECT, its rows cannot be told apart, or it is sorted by a
            table that it does not read from.
    """
    if isinstance(stmt, SelectStatementGrouping):
        stmt = stmt.element
    if isinstance(stmt, CompoundSelect):
        return _from_compound(stmt)
    if isinstance(stmt, TextualSelect):
        raise PaginationError(
            "text(...).columns(...) says neither its order nor its key; make it a table: "
            "rows = text(...).columns(...).subquery(), then keyset(select(rows).order_by("
            "rows.c.id), unique=True)"
        )
    if isinstance(stmt, Query):
        raise PaginationError(
            "a page needs a SELECT, not a Query; give select(...), or make the session with "
            "query_cls=PaginatedQuery and call query.paginate(...)"
        )
    if not isinstance(stmt, Select):
        raise PaginationError(
            f"a page needs a SELECT, not {type(stmt).__name__}; give select(...), a union of "
            "them, or text(...).columns(...)"
        )
    if stmt.get_execution_options().get("yield_per"):
        stmt = stmt.execution_options(yield_per=None)
    if stmt._for_update_arg is not None and _is_wrapped(stmt):
        raise PaginationError("FOR UPDATE cannot be paged together with LIMIT or DISTINCT ON")
    refuse_missing_joins(stmt)
    _refuse_hidden_windows(stmt)
    _refuse_totals(stmt)
    if any(getattr(stmt, name, None) is not None for name in _EXTENDED):
        raise PaginationError(
            "Select.ext() may choose rows in a way that cannot be read, as distinct_on() does; "
            "page a subquery: rows = stmt.subquery(), then select(rows).order_by(...)"
        )
    if not _is_wrapped(stmt):
        return stmt
    return _joined_to_keys(stmt) if has_entities(stmt) else _from_rows(stmt)


def _refuse_hidden_windows(stmt: Select[Any]) -> None:
    """A window in a mapped property would see the rows of the page only."""
    if not has_entities(stmt):
        return
    raw: list[Any] = stmt._raw_columns
    shown = sum(is_windowed(one) for one in raw if isinstance(one, ColumnElement))
    if sum(is_windowed(one) for one in stmt.selected_columns) > shown:
        raise PaginationError(
            "a column_property() of the selected class is a window function, which would see the "
            "page's rows only; load it with defer(), or select the window as a column of its own"
        )


def _refuse_totals(stmt: Select[Any]) -> None:
    """A total over all rows is one row; the totals of ROLLUP share the columns of groups."""
    if groups_by_sets(stmt):
        raise PaginationError(
            "the totals that ROLLUP, CUBE or GROUPING SETS add look like groups without a name; "
            "page a subquery by what tells them apart, e.g. grouping(): rows = stmt.subquery(), "
            "then keyset(select(rows).order_by(...), unique=True)"
        )
    if not stmt._group_by_clauses and (
        stmt._having_criteria or any(map(is_aggregate, stmt._raw_columns))
    ):
        raise PaginationError(
            "an aggregate without GROUP BY gives one row, so there are no pages; execute the "
            "statement as it is, or add group_by()"
        )


def _is_wrapped(stmt: Select[Any]) -> bool:
    windowed = any(is_windowed(one) for one in stmt._raw_columns) or any(
        is_windowed(one.expression) for one in sorted_by(stmt)
    )
    return bool(stmt._has_row_limiting_clause or stmt._distinct_on or windowed)


def _from_compound(stmt: CompoundSelect[Any]) -> Select[Any]:
    """A UNION: its outputs are all that there is to sort by."""
    ordered = sorted_by(stmt)
    # A LIMIT depends on its order.
    inner = stmt if stmt._has_row_limiting_clause else stmt.order_by(None)
    sub = inner.subquery()
    outputs = list(stmt.selected_columns)
    clauses = []
    for one in ordered:
        column = _output(sub, outputs, one.expression)
        if column is None:
            raise PaginationError(
                f"ORDER BY {one.expression} of a UNION names none of its columns: "
                f"{', '.join(output_names(outputs))}"
            )
        clauses.append(one.applied_to(column))
    return _selected(sub, len(outputs), [str(one.key) for one in outputs]).order_by(*clauses)


def _from_rows(stmt: Select[Any]) -> Select[Any]:
    """Rows of columns, from a subquery that carries what they are sorted and told apart by."""
    outputs = list(stmt.selected_columns)
    ordered = sorted_by(stmt)
    inner = stmt if stmt._has_row_limiting_clause or stmt._distinct_on else stmt.order_by(None)
    extra = [one.expression for one in ordered]
    if not stmt._distinct:
        extra += Rows(stmt).missing([])
    places: list[int] = []
    added: list[Expression] = []
    for expression in extra:
        place = _place(outputs, expression)
        if place is None:
            if stmt._distinct:
                raise PaginationError(
                    f"SELECT DISTINCT is ordered by {expression}, which it does not select"
                )
            place = len(outputs) + len(added)
            added.append(expression.label(f"{_PREFIX}{len(added)}"))
        places.append(place)
    sub = inner.add_columns(*added).subquery()
    columns = list(sub.c)
    clauses = [one.applied_to(columns[at]) for one, at in zip(ordered, places, strict=False)]
    names = [str(getattr(one, "key", None) or f"column_{at}") for at, one in enumerate(outputs)]
    return _selected(sub, len(outputs), names).order_by(*clauses)


def _joined_to_keys(stmt: Select[Any]) -> Select[Any]:
    """Mapped objects: the statement without its LIMIT, joined to the keys that the LIMIT keeps."""
    ordered = sorted_by(stmt)
    keys = Rows(stmt).keys() if stmt._distinct_on else Rows(stmt).missing([])
    sorts = [one.expression for one in ordered]
    # A window sees all rows only in there; its value is taken from there.
    raw: list[Any] = stmt._raw_columns
    windows = [one for one in raw if is_windowed(one)]
    sub = _kept_rows(stmt, [*keys, *sorts, *map(unlabelled, windows)])
    columns = list(sub.c)
    computed = iter(columns[len(keys) + len(sorts) :])
    outer = stmt
    if windows:
        # Its own FROMs stay: to ask for them would bring the joins of eager loads along.
        outer = stmt.with_only_columns(
            *(
                next(computed).label(getattr(one, "name", None)) if is_windowed(one) else one
                for one in raw
            )
        )
    outer = outer.order_by(None).limit(None).offset(None)
    outer._fetch_clause = outer._fetch_clause_options = None
    outer._distinct_on = ()
    if stmt._distinct_on:
        outer._distinct = False
    optional = nullable_froms(stmt)
    for key, column in zip(keys, columns, strict=False):
        may_be_null = getattr(key, "nullable", True) or getattr(key, "table", None) in optional
        outer = outer.where(key.is_not_distinct_from(column) if may_be_null else key == column)
    clauses = []
    for one, column in zip(ordered, columns[len(keys) :], strict=False):
        # What the table has itself may be served by an index; a window's value stands only here.
        clauses.append(one.applied_to(column if is_windowed(one.expression) else one.expression))
    return outer.order_by(*clauses)


def _kept_rows(stmt: Select[Any], values: Sequence[Expression]) -> Subquery:
    """Some values of the rows that the statement gives, under names of our own."""
    labels = [one.label(f"{_PREFIX}{at}") for at, one in enumerate(values)]
    # FROM keeps a class, with its condition on a table that it shares, only where that comes first.
    classes_first = sorted(stmt._raw_columns, key=lambda one: isinstance(one, ColumnElement))
    inner = bare(stmt).with_only_columns(*classes_first)
    inner = inner.with_only_columns(*labels, maintain_column_froms=True)
    if not stmt._has_row_limiting_clause and not stmt._distinct_on:
        inner = inner.order_by(None)
    return inner.subquery()


def _selected(sub: Subquery, width: int, names: Sequence[str]) -> Select[Any]:
    columns = list(sub.c)[:width]
    return select(
        *(
            column if column.key == name else column.label(name)
            for column, name in zip(columns, names, strict=True)
        )
    )


def _output(
    sub: Subquery, outputs: Sequence[Any], expression: Expression
) -> ColumnElement[Any] | None:
    place = _place(outputs, expression)
    return None if place is None else list(sub.c)[place]


def _place(outputs: Sequence[Any], expression: Expression) -> int | None:
    for at, output in enumerate(outputs):
        inner = getattr(output, "element", output)
        if output is expression or inner is expression or output.compare(expression):
            return at
        if inner is not output and not isinstance(inner, TextClause) and inner.compare(expression):
            return at
    return None
