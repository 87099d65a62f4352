"""A ``table`` of MariaDB's or MySQL's plan JSON -> `PlanNode`. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from sa_perf.dialects.plan import Operation, PlanNode

__all__ = ["number", "table_from", "text"]

_ACCESS: dict[str, Operation] = {
    "all": "full_scan",
    "index": "index_full_scan",
    "range": "index_scan",
    "ref": "index_scan",
    "ref_or_null": "index_scan",
    "fulltext": "index_scan",
    "index_subquery": "index_scan",
    "eq_ref": "key_lookup",
    "const": "key_lookup",
    "system": "key_lookup",
    "unique_subquery": "key_lookup",
    "index_merge": "bitmap_scan",
}
_WRITES: dict[str, Operation] = {
    "insert": "insert",
    "replace": "insert",
    "update": "update",
    "delete": "delete",
}
_DETAILS = (
    "access_type", "using_join_buffer", "using_MRR", "using_temporary_table",
    "distinct", "not_exists", "first_match", "loosescan", "partial_match", "mrr_type",
)  # fmt: skip


def table_from(table: Mapping[str, object], children: tuple[PlanNode, ...]) -> PlanNode:
    """Make the node of a table, within the node of the write that it is the target of."""
    write = next((_WRITES[name] for name in _WRITES if table.get(name)), None)
    access = text(table, "access_type")
    message = text(table, "message")
    if access is None and message is not None:
        return PlanNode(operation="result", label=message, children=children)
    name = text(table, "table_name")
    if access is None or write == "insert":
        # MariaDB names the target of an INSERT and nothing else; nobody scans it.
        return PlanNode(
            operation=write or "insert",
            label=write or "insert",
            relation=name,
            children=children,
        )
    scan = _scan(table, access.lower(), name, children)
    if write is None:
        return scan
    if scan.operation == "index_full_scan" and scan.index == "PRIMARY":
        # InnoDB keeps the rows in the primary key: every row is read and, if it fits, changed.
        scan = replace(scan, operation="full_scan", label=_label("full_scan", name, None))
        scan = replace(scan, index=None, index_condition=None)
    return PlanNode(operation=write, label=write, relation=name, children=(scan,))


def _scan(
    table: Mapping[str, object], access: str, name: str | None, children: tuple[PlanNode, ...]
) -> PlanNode:
    # "hash_ALL" and the like: the same access, its rows put into a hash table.
    operation = _ACCESS.get(access.removeprefix("hash_"), "unknown")
    covering = table.get("using_index") is True
    if covering and operation == "index_scan":
        operation = "index_only_scan"
    inner = name is None or name.startswith("<") or "materialized_from_subquery" in table
    if inner and operation == "full_scan":
        operation = "subquery_scan"
    examined = number(table, "rows_examined_per_scan")
    examined = number(table, "rows") if examined is None else examined
    actual = number(table, "r_rows")
    return PlanNode(
        operation=operation,
        label=_label(operation, name, text(table, "key")),
        relation=None if inner else name,
        alias=name if inner else None,
        index=text(table, "key"),
        index_condition=_index_condition(table),
        filter=text(table, "attached_condition"),
        estimated_rows=_part(examined, number(table, "filtered")),
        examined_rows=examined,
        estimated_cost=_cost(table),
        actual_rows=_part(actual, number(table, "r_filtered")),
        loops=number(table, "r_loops"),
        rows_removed=_removed(actual, number(table, "r_filtered")),
        actual_seconds=_seconds(table),
        detail=_detail(table),
        children=children,
    )


def _cost(table: Mapping[str, object]) -> float | None:
    costs = table.get("cost_info")
    return number(costs, "prefix_cost") if isinstance(costs, Mapping) else number(table, "cost")


def _detail(table: Mapping[str, object]) -> dict[str, str | int | float | bool | None]:
    detail: dict[str, str | int | float | bool | None] = {
        key: value
        for key in _DETAILS
        if isinstance(value := table.get(key), (str, int, float, bool))
    }
    if table.get("using_index") is True:
        detail["covering"] = True
    return detail


def _label(operation: Operation, name: str | None, key: str | None) -> str:
    words = operation.replace("_", " ")
    on = f" on {name}" if name else ""
    return f"{words}{on}{f' using {key}' if key else ''}"


def _index_condition(table: Mapping[str, object]) -> str | None:
    condition = text(table, "index_condition")
    if condition is not None:
        return condition
    parts, refs = table.get("used_key_parts"), table.get("ref")
    if isinstance(parts, list) and isinstance(refs, list):
        return " and ".join(f"{part} = {ref}" for part, ref in zip(parts, refs, strict=False))
    if isinstance(parts, list):
        return ", ".join(str(part) for part in parts)
    return None


def _part(rows: float | None, percent: float | None) -> float | None:
    if rows is None or percent is None:
        return rows
    # The percentage itself is rounded; more digits would only pretend.
    return round(rows * percent / 100, 3)


def _removed(rows: float | None, percent: float | None) -> float | None:
    if rows is None or percent is None:
        return None
    return max(0.0, round(rows - rows * percent / 100, 3))


def _seconds(table: Mapping[str, object]) -> float | None:
    found = [
        elapsed
        for name in ("r_table_time_ms", "r_other_time_ms", "r_total_time_ms")
        if (elapsed := number(table, name)) is not None
    ]
    return sum(found) / 1_000 if found else None


def text(block: Mapping[str, object], name: str) -> str | None:
    """A text of a block; None where it has none of that name."""
    value = block.get(name)
    return value if isinstance(value, str) else None


def number(block: Mapping[str, object], name: str) -> float | None:
    """A number of a block, which MySQL writes as text at places; None where there is none."""
    value = block.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
