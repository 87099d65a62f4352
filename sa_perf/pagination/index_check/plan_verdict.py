"""What a plan means for a page: in order by an index, or sorted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ColumnClause

from sa_perf.pagination.seek import Segment, parameter_name

if TYPE_CHECKING:
    from sa_perf.dialects.page_plans import PagePlans
    from sa_perf.dialects.plan import Plan, PlanNode
    from sa_perf.pagination.ordering.keys import SortKey

__all__ = ["RANKS", "Verdict", "judged"]

#: Rows come in order out of an index; some are sorted; all are sorted or read.
Verdict: TypeAlias = Literal["index", "partly", "none"]
#: The better, the higher.
RANKS: Mapping[Verdict, int] = {"none": 0, "partly": 1, "index": 2}


def judged(
    plan: Plan, segment: Segment, keys: Sequence[SortKey], names: set[str], plans: PagePlans
) -> tuple[Verdict, str]:
    """The verdict on the plan of one stretch, and why it is no better.

    Args:
        plan: of the stretch's statement.
        segment: the stretch.
        keys: all keys of the order.
        names: of the tables that hold them, lower case; empty for subqueries.
        plans: of the database.
    """
    nodes = list(plans.main_line(plan))
    for node in nodes:
        if node.operation == "sort" and not plans.sorts_partly(node):
            return "none", "all rows behind it are read and sorted"
        if node.temporary and node.operation in ("group", "materialize", "aggregate"):
            return "none", "all rows are read into a temporary table"
    if any(node.operation == "sort" for node in nodes):
        return "partly", "the rows that share the first sort values are read and sorted"
    needed = _needed(segment, keys)
    if needed and not _is_entered(plan, nodes, needed, names, plans):
        return "none", "all rows before it are read and skipped"
    return "index", ""


def _needed(segment: Segment, keys: Sequence[SortKey]) -> list[Any]:
    """By what an index must be entered: the constant keys, and the first other if it is compared.

    None for a stretch that is read from its end on.
    """
    constant = len(keys) - len(segment.keys)
    needed = [key.expression for key in keys[:constant]]
    compared = {
        str(one.key)
        for condition in segment.conditions
        for one in visitors.iterate(condition)
        if isinstance(one, BindParameter)
    }
    if segment.keys and parameter_name(constant) in compared:
        needed.append(segment.keys[0].expression)
    return needed


def _is_entered(
    plan: Plan,
    nodes: Sequence[PlanNode],
    needed: Sequence[Any],
    names: set[str],
    plans: PagePlans,
) -> bool:
    if all(node.operation in ("query", "result") for node in nodes):
        return True  # the planner sees that there is no row
    for node in nodes:
        if names and (node.relation or "").lower() not in names:
            continue
        condition = plans.seek_condition(plan, node)
        if condition and all(_mentions(condition, one) for one in needed):
            return True
    return False


def _mentions(condition: str, expression: Any) -> bool:  # noqa: ANN401
    if not isinstance(expression, ColumnClause):
        return True
    name = re.escape(str(expression.name).lower())
    if re.search(rf"(?<!\w){name}(?!\w)", condition):
        return True
    return bool(getattr(expression, "primary_key", False)) and "rowid" in condition
