"""What a statement reads from and groups by, eager loads left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Join, Select
from sqlalchemy.orm import LoaderCriteriaOption, lazyload
from sqlalchemy.sql.elements import ClauseList, Label, TextClause, _label_reference
from sqlalchemy.sql.selectable import FromGrouping

__all__ = [
    "bare", "elements_of", "from_elements", "groups", "groups_by_sets", "is_made_up",
    "nullable_froms", "roots", "unlabelled",
]  # fmt: skip


def bare(stmt: Select[Any]) -> Select[Any]:
    """The statement without eager loads: their joins are no FROMs of its own.

    Options that choose rows (``with_loader_criteria``) stay. It gives the same rows.
    """
    copy = stmt._generate()
    copy._with_options = tuple(
        option for option in stmt._with_options if isinstance(option, LoaderCriteriaOption)
    )
    # Relationships may be lazy="joined" by themselves.
    return copy.options(lazyload("*")) if "orm" in stmt._propagate_attrs.values() else copy


def roots(stmt: Select[Any]) -> Sequence[FromClause]:
    """The FROM clause: tables, joins, subqueries; without those of eager loads."""
    # Without ORDER BY, in which names may stand that nobody has.
    return bare(stmt).order_by(None).get_final_froms()


def is_made_up(name: str) -> bool:
    """Whether SQLAlchemy made a name up, which is another one in each process."""
    return name.startswith("%(")


def from_elements(stmt: Select[Any]) -> list[FromClause]:
    """The tables, aliases and subqueries of the FROM clause, in its order.

    They are without the ORM's notes, so a column's ``table`` is one of these very objects.
    """
    return [element for root in roots(stmt) for element in elements_of(root)]


def elements_of(root: FromClause) -> list[FromClause]:
    """The tables, aliases and subqueries of a join."""
    return [element for element, _ in _flattened(root, optional=False)]


def nullable_froms(stmt: Select[Any]) -> set[FromClause]:
    """The FROMs that an outer join may fill with NULLs."""
    return {
        element
        for root in roots(stmt)
        for element, optional in _flattened(root, optional=False)
        if optional
    }


def unlabelled(column: Any) -> Any:  # noqa: ANN401  # any element of a statement
    """What stands behind a label."""
    while isinstance(column, (Label, _label_reference)):
        column = column.element
    return column


def groups(stmt: Select[Any]) -> list[Any]:
    """The expressions of GROUP BY, without labels."""
    found: list[Any] = []
    for one in stmt._group_by_clauses:
        # Of a function, which could be a table too, SQLAlchemy makes a list of its columns.
        is_list = isinstance(one, ClauseList) and not isinstance(one, ColumnElement)
        found += one.clauses if is_list else [one]
    return [unlabelled(one) for one in found]


def groups_by_sets(stmt: Select[Any]) -> bool:
    """Whether it groups by several sets of columns at once, which adds rows of totals."""
    return any(
        str(getattr(one, "name", "")).lower() in ("rollup", "cube", "grouping_sets")
        or (isinstance(one, TextClause) and re.search(r"(?i)rollup|cube|grouping", one.text))
        for one in groups(stmt)
    )


def _flattened(root: FromClause, *, optional: bool) -> Iterator[tuple[FromClause, bool]]:
    """Each FROM of a join, and whether an outer join may fill it with NULLs."""
    if isinstance(root, Join):
        yield from _flattened(root.left, optional=optional or root.full)
        yield from _flattened(root.right, optional=optional or root.isouter or root.full)
    elif isinstance(root, FromGrouping):
        yield from _flattened(root.element, optional=optional)
    else:
        yield root._deannotate(), optional
