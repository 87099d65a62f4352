"""PostgreSQL's plan JSON -> `PlanNode`. Pure.

The names are those of src/backend/commands/explain.c, versions 9.6 to 18.
"""

from __future__ import annotations

from collections.abc import Mapping

from sa_perf.dialects.plan import Operation, PlanNode
from sa_perf.errors import ExplainError

__all__ = ["node_from"]

_OPERATIONS: dict[str, Operation] = {
    "Seq Scan": "full_scan",
    "Sample Scan": "full_scan",
    "Index Scan": "index_scan",
    "Index Only Scan": "index_only_scan",
    "Bitmap Heap Scan": "bitmap_scan",
    "Bitmap Index Scan": "bitmap_index",
    "BitmapAnd": "bitmap_index",
    "BitmapOr": "bitmap_index",
    "Tid Scan": "key_lookup",
    "Tid Range Scan": "key_lookup",
    "Subquery Scan": "subquery_scan",
    "Function Scan": "function_scan",
    "Table Function Scan": "function_scan",
    "Values Scan": "values",
    "CTE Scan": "cte_scan",
    "WorkTable Scan": "cte_scan",
    "Named Tuplestore Scan": "cte_scan",
    "Foreign Scan": "virtual_scan",
    "Custom Scan": "virtual_scan",
    "Nested Loop": "nested_loop",
    "Merge Join": "merge_join",
    "Hash Join": "hash_join",
    "Hash": "hash",
    "Sort": "sort",
    "Incremental Sort": "sort",
    "Group": "group",
    "Aggregate": "aggregate",
    "WindowAgg": "window",
    "Unique": "distinct",
    "SetOp": "set_operation",
    "LockRows": "lock_rows",
    "Limit": "limit",
    "Append": "append",
    "Merge Append": "append",
    "Recursive Union": "recursive_union",
    "Result": "result",
    "ProjectSet": "project",
    "Materialize": "materialize",
    "Memoize": "memoize",
    "Gather": "gather",
    "Gather Merge": "gather",
}
_WRITES: dict[str, Operation] = {
    "Insert": "insert",
    "Update": "update",
    "Delete": "delete",
    "Merge": "merge",
}
_FILTERS = ("Filter", "Join Filter", "One-Time Filter", "TID Cond")
_INDEX_CONDITIONS = ("Index Cond", "Recheck Cond")
#: Where a node says by which keys it works.
_KEYS = ("Sort Key", "Group Key")
#: What is kept as it is.
_DETAILS = (
    "Join Type", "Strategy", "Partial Mode", "Command", "Scan Direction", "Sort Method",
    "Sort Space Used", "Sort Space Type", "Hash Cond", "Merge Cond", "Order By", "Cache Key",
    "Subplan Name", "Parent Relationship", "CTE Name", "Function Name", "Workers Planned",
    "Workers Launched", "Plan Width", "Startup Cost", "Hash Batches", "HashAgg Batches",
    "Disk Usage", "Planned Partitions", "Heap Fetches", "Exact Heap Blocks", "Lossy Heap Blocks",
    "Shared Hit Blocks", "Shared Read Blocks", "Temp Read Blocks", "Temp Written Blocks",
    "Rows Removed by Index Recheck", "Inner Unique", "Disabled", "Storage", "Schema",
    "Custom Plan Provider", "Subplans Removed", "Index Searches", "Window", "Conflict Resolution",
    "Alternative", "Operation",
)  # fmt: skip
_MAX_DEPTH = 200


def node_from(plan: Mapping[str, object], *, depth: int = 0, around: str = "") -> PlanNode:
    """Make a node and all below it.

    Args:
        plan: the object under ``"Plan"`` or in ``"Plans"``.
        depth: nodes above this one.
        around: the conditions of the node above, where a hashed subplan is named.

    Raises:
        ExplainError: it is no plan.
    """
    if depth > _MAX_DEPTH:
        raise ExplainError(f"the plan is nested deeper than {_MAX_DEPTH} nodes")
    label = plan.get("Node Type")
    if not isinstance(label, str):
        raise ExplainError("a node of the plan has no 'Node Type'")
    here = " ".join(str(plan.get(name, "")) for name in (*_FILTERS, *_INDEX_CONDITIONS, "Output"))
    children = plan.get("Plans") or []
    if not isinstance(children, list):
        raise ExplainError("'Plans' is no list")
    below = []
    for child in children:
        if not isinstance(child, Mapping):
            raise ExplainError("'Plans' holds something that is no node")
        below.append(node_from(child, depth=depth + 1, around=here))
    condition = _first(plan, _INDEX_CONDITIONS)
    keys = next((plan[name] for name in _KEYS if isinstance(plan.get(name), list)), [])
    loops = _number(plan, "Actual Loops")
    elapsed = _number(plan, "Actual Total Time")
    return PlanNode(
        operation=_operation(label, plan),
        label=_label(label, plan),
        relation=_text(plan, "Relation Name"),
        alias=_alias(plan),
        index=_text(plan, "Index Name"),
        index_condition=condition,
        filter=_first(plan, _FILTERS),
        sort_keys=tuple(str(key) for key in keys) if isinstance(keys, list) else (),
        estimated_rows=_number(plan, "Plan Rows"),
        estimated_cost=_number(plan, "Total Cost"),
        actual_rows=_number(plan, "Actual Rows"),
        loops=loops,
        rows_removed=_removed(plan),
        actual_seconds=None if elapsed is None else elapsed * max(loops or 0.0, 1.0) / 1_000,
        on_disk=_is_on_disk(plan),
        temporary=label in ("Sort", "Incremental Sort"),
        detail=_detail(plan, around),
        children=tuple(below),
    )


def _operation(label: str, plan: Mapping[str, object]) -> Operation:
    if label == "ModifyTable":
        return _WRITES.get(str(plan.get("Operation")), "unknown")
    if label in ("Index Scan", "Index Only Scan") and not plan.get("Index Cond"):
        # Walked from end to end: for its order, or because it is smaller than the table.
        return "index_full_scan"
    if label == "Result" and plan.get("One-Time Filter"):
        return "filter"
    return _OPERATIONS.get(label, "unknown")


def _label(label: str, plan: Mapping[str, object]) -> str:
    if label == "ModifyTable" and isinstance(plan.get("Operation"), str):
        return str(plan["Operation"])
    if label == "Aggregate" and plan.get("Strategy") in ("Hashed", "Sorted", "Mixed"):
        return {"Hashed": "HashAggregate", "Sorted": "GroupAggregate"}.get(
            str(plan["Strategy"]), "MixedAggregate"
        )
    parallel = "Parallel " if plan.get("Parallel Aware") is True else ""
    join = plan.get("Join Type")
    words = label.replace(" Join", f" {join} Join") if join not in (None, "Inner") else label
    return parallel + words


def _alias(plan: Mapping[str, object]) -> str | None:
    alias, relation = _text(plan, "Alias"), _text(plan, "Relation Name")
    return alias if alias != relation else None


def _removed(plan: Mapping[str, object]) -> float | None:
    names = ("Rows Removed by Filter", "Rows Removed by Join Filter")
    found = [number for name in names if (number := _number(plan, name)) is not None]
    return sum(found) if found else None


def _is_on_disk(plan: Mapping[str, object]) -> bool:
    if plan.get("Sort Space Type") == "Disk" or plan.get("Storage") == "Disk":
        return True
    groups = (plan.get("Full-sort Groups"), plan.get("Pre-sorted Groups"))
    if any(isinstance(group, Mapping) and "Sort Space Disk" in group for group in groups):
        return True
    batches = _number(plan, "Hash Batches") or 0
    return batches > 1 or bool(_number(plan, "Disk Usage"))


def _detail(plan: Mapping[str, object], around: str) -> dict[str, str | int | float | bool | None]:
    detail: dict[str, str | int | float | bool | None] = {}
    for name in _DETAILS:
        value = plan.get(name)
        if isinstance(value, (str, int, float, bool)):
            detail[name] = value
        elif isinstance(value, list):
            detail[name] = ", ".join(str(item) for item in value)
    if plan.get("Parent Relationship") == "SubPlan":
        # A hashed subplan runs once; any other once for each row of the node above.
        detail["correlated"] = f"hashed {plan.get('Subplan Name')}" not in around
    return detail


def _first(plan: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := _text(plan, name)) is not None), None)


def _text(plan: Mapping[str, object], name: str) -> str | None:
    value = plan.get(name)
    return value if isinstance(value, str) else None


def _number(plan: Mapping[str, object], name: str) -> float | None:
    value = plan.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError as error:
        raise ExplainError(f"{name!r} is no number that a plan can hold") from error
