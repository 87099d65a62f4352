"""Refuses to sort by tables that a statement does not read from. Pure.

A page's statement also selects what rows are sorted by; SQLAlchemy would add the table of such a
column to FROM without a condition, so each row would come with each of that table's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import FromClause, Select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.selectable import ScalarSelect, SelectBase

from sa_perf.errors import PaginationError
from sa_perf.pagination.ordering.clauses import Sorted, sorted_by
from sa_perf.pagination.ordering.froms import from_elements, is_made_up
from sa_perf.pagination.ordering.shapes import Shapes

__all__ = ["refuse_missing_joins"]

_joined: Shapes[bool] = Shapes()


def refuse_missing_joins(stmt: Select[Any]) -> None:
    """Refuse an ORDER BY on what is not in FROM; a subquery's own FROM is another matter.

    Costs 2 us for a statement of a shape that is known, else what SQLAlchemy takes to find FROMs.

    Raises:
        PaginationError: names the table and what to do.
    """
    if stmt._order_by_clauses:
        _joined.of(stmt, find=lambda: _is_joined(stmt))


def _is_joined(stmt: Select[Any]) -> bool:
    own = set(from_elements(stmt))
    ordered = [(one, list(_columns(one.expression))) for one in sorted_by(stmt)]
    if _read_with(stmt, [column for _, columns in ordered for column in columns]) <= own:
        return True
    for one, columns in ordered:
        for missing in _read_with(stmt, columns) - own:
            raise _refusal(one, missing)
    return True


def _columns(expression: Any) -> Iterator[ColumnClause[Any]]:  # noqa: ANN401
    """The columns of tables in an expression, those of subqueries left out."""
    if isinstance(expression, ColumnClause):
        if expression.table is not None:
            yield expression
    elif not isinstance(expression, (SelectBase, ScalarSelect)):
        for part in expression.get_children():
            yield from _columns(part)


def _read_with(stmt: Select[Any], columns: Sequence[ColumnClause[Any]]) -> set[FromClause]:
    """What a statement reads from if it also selects some columns.

    SQLAlchemy itself is asked, since it replaces columns by those of polymorphic selectables.
    """
    try:
        return set(from_elements(stmt.add_columns(*columns)))
    except InvalidRequestError:  # with more to read from, join() does not know what it joins to
        return {column.table._deannotate() for column in columns if column.table is not None}


def _refusal(sort: Sorted, missing: FromClause) -> PaginationError:
    return PaginationError(
        f"ORDER BY {sort.expression} sorts by {_named(missing)}, which is not in FROM, so each row "
        "would come with each of its rows; add the join with its condition, .join(...)"
    )


def _named(missing: Any) -> str:  # noqa: ANN401  # a FROM
    name = getattr(missing, "name", None)
    if isinstance(name, str) and not is_made_up(name):
        return repr(name)
    inner = getattr(getattr(missing, "element", None), "name", None)
    return f"an alias of {inner!r}" if isinstance(inner, str) else "a part that has no name"
