"""Far offset pages by a deferred join: keys first, then rows. Pure.

To pass over rows the database then reads keys, from an index if one serves the ordering, and not
whole rows; columns, joined loads and column properties are fetched for the page's rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Alias, ColumnElement, Select, Table
from sqlalchemy.sql.elements import ColumnClause

from sa_perf.pagination.counting import key_of, one_of_each, without_eager_joins
from sa_perf.pagination.ordering.clauses import is_windowed, sorted_by
from sa_perf.pagination.ordering.froms import bare

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper

__all__ = ["DeferredJoin", "deferred_join_of"]

Expression: TypeAlias = ColumnElement[Any]

#: What a statement may have that would not mean the same in two parts.
_INDIVISIBLE = (
    "_distinct", "_group_by_clauses", "_having_criteria", "_for_update_arg", "_hints",
    "_statement_hints", "_prefixes", "_suffixes", "_independent_ctes", "_setup_joins",
    "_memoized_select_entities",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeferredJoin:
    """A statement in two parts.

    Attributes:
        keys: the statement, sorted, with its key as the only column.
        rows: the statement without condition and order.
        key: the column or attribute that joins them.
        order: elements of ORDER BY.
    """

    keys: Select[Any]
    rows: Select[Any]
    key: Any
    order: Sequence[Expression]

    def window(self, limit: int, offset: int) -> Select[Any]:
        """The statement that gives some of the rows, in the same order."""
        keys = self.keys.limit(limit).offset(offset).subquery("sa_perf_keys")
        (column,) = keys.c
        return self.rows.join(keys, self.key == column).order_by(*self.order)


def deferred_join_of(stmt: Select[Any]) -> DeferredJoin | None:
    """Take a statement apart; None where that would change its rows.

    It is done for statements on one table with a primary key of one column, of which they select
    columns or mapped objects. Their ORDER BY must be a total order.
    """
    if any(getattr(stmt, name) for name in _INDIVISIBLE) or not one_of_each(stmt):
        return None
    ordered = sorted_by(stmt)
    if any(is_windowed(one.expression) for one in ordered):
        return None
    key = _only_key(stmt)
    if key is None:
        return None
    order = [one.applied_to(one.expression) for one in ordered]
    keys = bare(stmt).with_only_columns(key).order_by(None).order_by(*order)
    rows = stmt.order_by(None).limit(None).offset(None)
    rows._where_criteria = ()
    return DeferredJoin(keys=keys, rows=rows, key=key, order=order)


def _only_key(stmt: Select[Any]) -> Any:  # noqa: ANN401  # a column or a mapped attribute
    """The primary key of the only table, as the statement would name it; None where it has none."""
    froms = without_eager_joins(stmt).get_final_froms()
    if len(froms) != 1:
        return None
    found: Any = froms[0]._deannotate()
    table = found.element if isinstance(found, Alias) else found
    if not isinstance(table, Table) or len(table.primary_key) != 1:
        return None
    subject = stmt._propagate_attrs.get("plugin_subject")
    if subject is None:
        (key,) = found.primary_key
        return key
    mapper = subject.mapper
    same = list(mapper.primary_key) == list(table.primary_key)
    return key_of(subject.entity) if same and not _sees_other_rows(mapper) else None


def _sees_other_rows(mapper: Mapper[Any]) -> bool:
    """Whether a property may depend on which rows there are: a window, or what an option adds."""
    return any(
        is_windowed(expression) or getattr(one, "strategy_key", None) == _QUERY_EXPRESSION
        for one in mapper.column_attrs
        for expression in one.columns
        if not isinstance(expression, ColumnClause)
    )


_QUERY_EXPRESSION = (("query_expression", True),)
