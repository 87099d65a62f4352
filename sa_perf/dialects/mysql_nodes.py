"""MariaDB's plan JSON, and version 1 of MySQL's -> `PlanNode`. Pure.

Both nest blocks: operations that hold operations, with tables innermost. What stands inside feeds
what stands around it. Names by sql/sql_explain.cc (MariaDB) and sql/opt_explain_json.cc (MySQL).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sa_perf.dialects import json_answers
from sa_perf.dialects.mysql_tables import number, table_from, text
from sa_perf.dialects.plan import Operation, PlanNode
from sa_perf.errors import ExplainError

__all__ = ["block_from", "decoded"]

_MAX_DEPTH = 150
_SET_OPERATIONS = frozenset({"union_result", "intersect_result", "except_result", "unit_result"})
#: Objects that hold no operation.
_DATA = frozenset(
    {"cost_info", "index_merge", "rowid_filter", "r_engine_stats", "query_optimization"}
)
_WRAPPERS: dict[str, tuple[Operation, str]] = {
    "filesort": ("sort", "filesort"),
    "ordering_operation": ("sort", "ordering"),
    "grouping_operation": ("group", "grouping"),
    "duplicates_removal": ("distinct", "duplicates removal"),
    "temporary_table": ("materialize", "temporary table"),
    "buffer_result": ("materialize", "buffered result"),
    "windowing": ("window", "windowing"),
    "window_functions_computation": ("window", "window functions"),
    "recursive_union": ("recursive_union", "recursive union"),
    "range-checked-for-each-record": ("nested_loop", "range checked for each record"),
}


def decoded(raw: object) -> object:
    """Read JSON in which a name may stand twice, as old MariaDB writes its joins.

    Raises:
        ExplainError: it is no JSON.
    """
    return json_answers.decoded(raw, _object)


def block_from(block: object, *, depth: int = 0) -> PlanNode:
    """Make the tree of a ``query_block``.

    Raises:
        ExplainError: it is none.
    """
    if not isinstance(block, Mapping):
        raise ExplainError(f"a 'query_block' is an object, got {type(block).__name__}")
    costs = block.get("cost_info")
    cost = number(costs, "query_cost") if isinstance(costs, Mapping) else number(block, "cost")
    condition = text(block, "having_condition") or text(block, "const_condition")
    children = _steps(block, depth + 1)
    if text(block, "message"):
        children.append(PlanNode(operation="result", label=str(block["message"])))
    select = block.get("select_id")
    return PlanNode(
        operation="query",
        label="query block",
        filter=condition,
        estimated_cost=cost,
        loops=number(block, "r_loops"),
        actual_seconds=_seconds(block),
        detail={"select_id": select} if isinstance(select, int) else {},
        children=tuple(children),
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    repeated: dict[str, list[object]] = {}
    for name, value in pairs:
        if name in found:
            repeated.setdefault(name, [found[name]]).append(value)
        found[name] = value
    for name, values in repeated.items():
        del found[name]
        found["nested_loop"] = [{name: value} for value in values]
    return found


def _steps(block: Mapping[str, object], depth: int) -> list[PlanNode]:
    """The nodes of everything that a block holds, in its order."""
    if depth > _MAX_DEPTH:
        raise ExplainError(f"the plan is nested deeper than {_MAX_DEPTH} blocks")
    nodes: list[PlanNode] = []
    for name, value in block.items():
        if name == "table":
            nodes += _table(value, depth)
        elif name == "nested_loop":
            nodes += _join(value, depth)
        elif name in _SET_OPERATIONS:
            nodes.append(_set_operation(name, value, depth))
        elif name == "block-nl-join":
            nodes.append(_buffered_join(value, depth))
        elif name in _WRAPPERS:
            nodes += _wrapped(name, value, depth)
        elif name in ("subqueries", "query_specifications") or name.endswith("_subqueries"):
            nodes += [_subquery(item, depth) for item in _items(value, name)]
        elif name in ("materialized", "materialized_from_subquery", "materialization"):
            nodes.append(_materialized(value, depth))
        elif name == "query_block" and isinstance(value, Mapping):
            nodes.append(block_from(value, depth=depth))
        elif name not in _DATA and isinstance(value, Mapping):
            # A frame, known or not: what it holds is worth more than its name.
            nodes += _steps(value, depth + 1)
    return nodes


def _table(value: object, depth: int) -> list[PlanNode]:
    if not isinstance(value, Mapping):
        raise ExplainError(f"a 'table' is an object, got {type(value).__name__}")
    return [table_from(value, tuple(_steps(value, depth + 1)))]


def _join(value: object, depth: int) -> list[PlanNode]:
    nodes: list[PlanNode] = []
    for item in _items(value, "nested_loop"):
        if not isinstance(item, Mapping):
            raise ExplainError("'nested_loop' holds something that is no object")
        nodes += _steps(item, depth + 1)
    if len(nodes) < 2:
        return nodes
    joined: Operation = "nested_loop"
    if any("hash join" in str(node.detail.get("using_join_buffer", "")) for node in nodes):
        joined = "hash_join"
    return [PlanNode(operation=joined, label="join", children=tuple(nodes))]


def _buffered_join(value: object, depth: int) -> PlanNode:
    if not isinstance(value, Mapping):
        raise ExplainError("a 'block-nl-join' is an object")
    kind = text(value, "join_type") or "BNL"
    return PlanNode(
        # BNLH and BKAH hash what is in the buffer.
        operation="hash_join" if kind.endswith("H") else "nested_loop",
        label=f"block nested loop ({kind})",
        filter=text(value, "attached_condition"),
        loops=number(value, "r_loops"),
        detail={"join_type": kind},
        children=tuple(_steps(value, depth + 1)),
    )


def _wrapped(name: str, value: object, depth: int) -> list[PlanNode]:
    blocks = value if isinstance(value, list) else [value]
    operation, label = _WRAPPERS[name]
    nodes: list[PlanNode] = []
    for block in blocks:
        if not isinstance(block, Mapping):
            raise ExplainError(f"{name!r} is an object, got {type(block).__name__}")
        children = _steps(block, depth + 1) + _sorts(block, depth)
        sorts = block.get("using_filesort") is True
        table = block.get("using_temporary_table") is True
        if name.endswith("_operation") and not sorts and not table:
            nodes += children  # answered by an index: nothing is done here
            continue
        key = text(block, "sort_key") or ""
        nodes.append(
            PlanNode(
                operation=operation,
                label=label,
                sort_keys=tuple(_split(key)),
                actual_rows=number(block, "r_output_rows"),
                loops=number(block, "r_loops"),
                actual_seconds=_seconds(block),
                on_disk=bool(number(block, "r_sort_passes")),
                temporary=sorts or table or name in ("filesort", "temporary_table"),
                detail={"using_filesort": True} if sorts else {},
                children=tuple(children),
            )
        )
    return nodes


def _sorts(block: Mapping[str, object], depth: int) -> list[PlanNode]:
    """The sorts that window functions need."""
    found: list[PlanNode] = []
    sorts = block.get("sorts")
    for item in sorts if isinstance(sorts, list) else []:
        if isinstance(item, Mapping):
            found += _steps(item, depth + 1)
    windows = block.get("windows")
    for item in windows if isinstance(windows, list) else []:
        if isinstance(item, Mapping) and item.get("using_filesort") is True:
            keys = item.get("filesort_key")
            names = tuple(str(key) for key in keys) if isinstance(keys, list) else ()
            found.append(
                PlanNode(operation="sort", label="filesort", sort_keys=names, temporary=True)
            )
    return found


def _set_operation(name: str, value: object, depth: int) -> PlanNode:
    if not isinstance(value, Mapping):
        raise ExplainError(f"{name!r} is an object, got {type(value).__name__}")
    table = text(value, "table_name")
    # UNION ALL needs no table for its result, and names none.
    temporary = value.get("using_temporary_table") is not False and table is not None
    return PlanNode(
        operation="set_operation" if temporary else "append",
        label=name.replace("_", " "),
        actual_rows=number(value, "r_rows"),
        loops=number(value, "r_loops"),
        temporary=temporary,
        children=tuple(_steps(value, depth + 1)),
    )


def _materialized(value: object, depth: int) -> PlanNode:
    if not isinstance(value, Mapping):
        raise ExplainError("a materialized subquery is an object")
    return PlanNode(
        operation="materialize",
        label="materialized",
        temporary=True,
        children=tuple(_steps(value, depth + 1)),
    )


def _subquery(value: object, depth: int) -> PlanNode:
    if not isinstance(value, Mapping):
        raise ExplainError(f"a subquery is an object, got {type(value).__name__}")
    dependent = value.get("dependent")
    return PlanNode(
        operation="subquery",
        label="subquery",
        detail={} if not isinstance(dependent, bool) else {"correlated": dependent},
        children=tuple(_steps(value, depth + 1)),
    )


def _items(value: object, name: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise ExplainError(f"{name!r} is a list, got {type(value).__name__}")
    return value


def _seconds(block: Mapping[str, object]) -> float | None:
    elapsed = number(block, "r_total_time_ms")
    return None if elapsed is None else elapsed / 1_000


def _split(keys: str) -> list[str]:
    """Split at the commas outside of parentheses."""
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(keys):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(keys[begin:position])
            begin = position + 1
    return [part.strip() for part in (*parts, keys[begin:]) if part.strip()]
