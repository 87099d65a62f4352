"""Version 2 of MySQL's plan JSON -> `PlanNode`. Pure.

Version 2 (MySQL 8.3 and later, ``explain_json_format_version = 2``) is the tree of iterators that
``FORMAT=TREE`` prints: each object names its operation and holds its inputs. The words are those of
sql/join_optimizer/explain_access_path.cc.
"""

from __future__ import annotations

from collections.abc import Mapping

from sa_perf.dialects.mysql_tables import number, text
from sa_perf.dialects.plan import Operation, PlanNode
from sa_perf.errors import ExplainError

__all__ = ["iterator_from"]

#: Begin of "operation" -> what it does; the first that fits.
_WORDS: tuple[tuple[str, Operation], ...] = (
    ("Table scan on <", "subquery_scan"),
    ("Table scan", "full_scan"),
    ("Covering index lookup", "index_only_scan"),
    ("Covering index range scan", "index_only_scan"),
    ("Covering index skip scan", "index_only_scan"),
    ("Covering index scan", "index_full_scan"),
    ("Single-row", "key_lookup"),
    ("Constant row", "key_lookup"),
    ("Rows fetched before execution", "key_lookup"),
    ("Index lookup", "index_scan"),
    ("Index range scan", "index_scan"),
    ("Multi-range index lookup", "index_scan"),
    ("Full-text index search", "index_scan"),
    ("Index scan", "index_full_scan"),
    ("Index skip scan", "index_scan"),
    ("Group", "group"),
    ("Intersect rows sorted by row ID", "bitmap_scan"),
    ("Sort-deduplicate by row ID", "bitmap_scan"),
    ("Deduplicate rows sorted by row ID", "bitmap_scan"),
    ("Filter", "filter"),
    ("Sort", "sort"),
    ("Aggregate using temporary table", "group"),
    ("Aggregate", "aggregate"),
    ("Limit", "limit"),
    ("Inner hash join", "hash_join"),
    ("Left hash join", "hash_join"),
    ("Hash ", "hash_join"),
    ("Nested loop", "nested_loop"),
    ("Batched key access", "nested_loop"),
    ("Hash", "hash"),
    ("Materialize", "materialize"),
    ("Temporary table", "materialize"),
    ("Union ", "set_operation"),
    ("Intersect ", "set_operation"),
    ("Except ", "set_operation"),
    ("Append", "append"),
    ("Stream results", "project"),
    ("Window", "window"),
    ("Remove duplicate", "distinct"),
    ("Duplicate", "distinct"),
    ("Weedout", "distinct"),
    ("Invalidate materialized tables", "materialize"),
    ("Repeat until convergence", "recursive_union"),
    ("Scan new records on", "cte_scan"),
    ("Select #", "subquery"),
    ("Zero rows", "result"),
    ("Zero input rows", "result"),
    ("Rows", "values"),
    ("Count rows in", "index_full_scan"),
    ("Insert into", "insert"),
    ("Replace into", "insert"),
    ("Update ", "update"),
    ("Delete from", "delete"),
)
_ACCESS: dict[str, Operation] = {
    "table": "full_scan",
    "index": "index_scan",
    "join": "nested_loop",
    "filter": "filter",
    "sort": "sort",
    "limit": "limit",
    "aggregate": "aggregate",
    "materialize": "materialize",
    "union": "set_operation",
    "window": "window",
}
_DETAILS = ("access_type", "index_access_type", "join_type", "join_algorithm", "covering", "limit")
_MAX_DEPTH = 150


def iterator_from(iterator: object, *, depth: int = 0) -> PlanNode:
    """Make the node of an iterator and of its inputs.

    Raises:
        ExplainError: it is none.
    """
    if depth > _MAX_DEPTH:
        raise ExplainError(f"the plan is nested deeper than {_MAX_DEPTH} iterators")
    if not isinstance(iterator, Mapping):
        raise ExplainError(f"an iterator is an object, got {type(iterator).__name__}")
    label = text(iterator, "operation")
    if label is None:
        raise ExplainError("an iterator of the plan has no 'operation'")
    inputs = iterator.get("inputs", [])
    below = iterator.get("inputs_from_select_list", [])
    if not isinstance(inputs, list) or not isinstance(below, list):
        raise ExplainError("'inputs' is no list")
    operation = _operation(label, iterator)
    table = text(iterator, "table_name")
    alias = text(iterator, "alias")
    return PlanNode(
        operation=operation,
        label=label,
        relation=None if operation == "subquery_scan" else table,
        alias=alias if alias != table else None,
        index=text(iterator, "index_name"),
        index_condition=_index_condition(iterator),
        filter=text(iterator, "condition") or _join_condition(iterator),
        sort_keys=_texts(iterator, "sort_fields"),
        estimated_rows=number(iterator, "estimated_rows"),
        estimated_cost=number(iterator, "estimated_total_cost"),
        actual_rows=number(iterator, "actual_rows"),
        loops=number(iterator, "actual_loops"),
        actual_seconds=_seconds(iterator),
        temporary=operation in ("sort", "materialize") or "temporary table" in label,
        detail={
            name: value
            for name in _DETAILS
            if isinstance(value := iterator.get(name), (str, int, float, bool))
        },
        children=tuple(iterator_from(item, depth=depth + 1) for item in (*inputs, *below)),
    )


def _operation(label: str, iterator: Mapping[str, object]) -> Operation:
    if text(iterator, "join_algorithm") == "hash":
        return "hash_join"
    for begin, operation in _WORDS:
        if label.startswith(begin):
            return operation
    return _ACCESS.get(text(iterator, "access_type") or "", "unknown")


def _index_condition(iterator: Mapping[str, object]) -> str | None:
    pushed = text(iterator, "pushed_index_condition")
    ranges = _texts(iterator, "ranges")
    condition = text(iterator, "lookup_condition")
    return pushed or condition or (" or ".join(ranges) if ranges else None)


def _join_condition(iterator: Mapping[str, object]) -> str | None:
    conditions = (*_texts(iterator, "hash_condition"), *_texts(iterator, "extra_condition"))
    return " and ".join(conditions) or None


def _texts(iterator: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = iterator.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _seconds(iterator: Mapping[str, object]) -> float | None:
    elapsed = number(iterator, "actual_last_row_ms")
    loops = number(iterator, "actual_loops")
    return None if elapsed is None else elapsed * max(loops or 0.0, 1.0) / 1_000
