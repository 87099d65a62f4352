"""Whether an expression of a statement can be NULL. Pure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FromClause, Select
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BindParameter, Case, ColumnClause, Label, Null
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import AliasedReturnsRows, CompoundSelect, TableClause

from sa_perf.pagination.ordering.froms import groups_by_sets, nullable_froms

__all__ = ["may_be_null"]

#: Functions that never give NULL, whatever they are given.
_NEVER_NULL = frozenset(
    {"count", "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "now"}
)
_NULL_IF_ANY_IS = frozenset({"lower", "upper", "length", "char_length", "abs", "trim", "concat"})
_NEVER_NULL_OPERATORS = frozenset(
    {operators.is_, operators.is_not, operators.is_distinct_from, operators.is_not_distinct_from}
)
_NULL_IF_ANY_OPERATORS = frozenset(
    {
        operators.add, operators.sub, operators.neg, operators.concat_op,
        operators.collate, operators.eq, operators.ne, operators.lt, operators.le, operators.gt,
        operators.ge, operators.and_, operators.or_,
    }
)  # fmt: skip


def may_be_null(expression: Any, optional: set[FromClause]) -> bool:  # noqa: ANN401
    """Whether an expression can be NULL, as far as can be said; True where in doubt."""
    if isinstance(expression, ColumnClause):
        if getattr(expression, "table", None) in optional:
            return True
        return _column_may_be_null(expression)
    if isinstance(expression, (Null, BindParameter)):
        return isinstance(expression, Null) or expression.value is None
    if isinstance(expression, Label):
        return may_be_null(expression.element, optional)
    if isinstance(expression, Case):
        results = [result for _, result in expression.whens] + [expression.else_]
        return any(one is None or may_be_null(one, optional) for one in results)
    if isinstance(expression, FunctionElement):
        return _function_may_be_null(expression, optional)
    name = expression.__visit_name__
    if name in ("over", "grouping", "type_coerce", "cast"):
        inner = getattr(expression, "element", None)
        inner = inner if inner is not None else getattr(expression, "clause", None)
        return may_be_null(inner, optional) if inner is not None else True
    operator = getattr(expression, "operator", None)
    if operator in _NEVER_NULL_OPERATORS:
        return False
    if operator in _NULL_IF_ANY_OPERATORS:
        return any(may_be_null(one, optional) for one in expression.get_children())
    return True


def _column_may_be_null(column: ColumnClause[Any]) -> bool:
    """As its table says; of a subquery's column, as what it stands for says."""
    element = getattr(column.table, "element", None)
    if not isinstance(column.table, AliasedReturnsRows) or isinstance(element, TableClause):
        return bool(getattr(column, "nullable", True))
    selects = element.selects if isinstance(element, CompoundSelect) else [element]
    at = [one.key for one in column.table.c].index(column.key)
    for select in selects:
        if not isinstance(select, Select) or groups_by_sets(select):
            return True
        outputs = list(select.selected_columns)
        if at >= len(outputs) or may_be_null(outputs[at], nullable_froms(select)):
            return True
    return False


def _function_may_be_null(function: Any, optional: set[FromClause]) -> bool:  # noqa: ANN401
    name = str(getattr(function, "name", "")).lower()
    arguments = list(getattr(function, "clauses", ()))
    if name in _NEVER_NULL:
        return False
    if name == "coalesce":
        return all(may_be_null(one, optional) for one in arguments)
    if name in _NULL_IF_ANY_IS and arguments:
        return any(may_be_null(one, optional) for one in arguments)
    return True
