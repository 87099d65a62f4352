"""Findings about tables read whole and rows thrown away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sa_perf.dialects import PlanNode
from sa_perf.dialects.index_trials.definition import IndexKey
from sa_perf.finding import Finding, Severity
from sa_perf.plans.case import Case, Ranked, amount
from sa_perf.plans.index_defeats import defeats, usable_conditions
from sa_perf.plans.join_findings import driven_scan, is_inner
from sa_perf.plans.reading import Block, Condition
from sa_perf.plans.remedies import covering_index, create_index, key_columns

__all__ = ["filtered_index_scans", "table_scans"]

_SCANS = ("full_scan", "index_full_scan")
#: Above this share of a table's rows an index is slower than reading them all.
_TOO_MANY = 0.3
_FEW = 0.1


def table_scans(case: Case) -> Iterable[Ranked]:
    """Big tables that are read whole to find some of their rows."""
    for node in case.plan.root.walk():
        if node.operation not in _SCANS or not case.is_big(node) or is_inner(case, node):
            continue
        block = case.block_of(node)
        if block is None:
            continue
        rows = case.rows_of(node) or 0.0
        conditions = block.of(case.alias_of(node))
        share = _selected_share(case, node, block, rows)
        if conditions and share is not None and share >= _TOO_MANY:
            continue
        usable = usable_conditions(case, node, conditions)
        if not any(one.kind in ("equal", "in", "in_query") for one in usable):
            yield from defeats(case, node, conditions, rows)
        if usable:
            yield from _missing_index(case, node, usable, rows, share)
        elif not conditions:
            yield from _unconditional(case, node, block, rows)


def filtered_index_scans(case: Case) -> Iterable[Ranked]:
    """Rows that an index finds and a filter throws away."""
    for node in case.plan.root.walk():
        if node.operation not in ("index_scan", "bitmap_scan") or node.filter is None:
            continue
        kept, removed = _kept_and_removed(node)
        if removed is None or removed < max(1, case.big) or kept > removed * _FEW:
            continue
        block = case.block_of(node)
        facts = case.facts_of(node.relation)
        if block is None or facts is None:
            continue
        alias = case.alias_of(node)
        usable = usable_conditions(case, node, block.of(alias))
        columns = key_columns(facts, usable)
        remedy = create_index(case.dialect, facts, [IndexKey(column=name) for name in columns])
        if remedy is None or covering_index(facts, columns) is not None:
            continue
        yield (
            removed,
            Finding(
                kind="filter_after_scan",
                severity=case.severity(removed),
                message=f"Index {node.index} finds {amount(kept + removed)} rows of "
                f"{node.relation}, of which a filter keeps {amount(kept)}.",
                remedy=remedy,
                place=f"table {node.relation}",
                evidence={"rows_read": kept + removed, "rows_kept": kept, "index": node.index},
            ),
        )


def _missing_index(
    case: Case, node: PlanNode, usable: Sequence[Condition], rows: float, share: float | None
) -> Iterable[Ranked]:
    facts = case.facts_of(node.relation)
    columns = key_columns(facts, usable)
    existing = covering_index(facts, columns)
    rare = share is not None and share <= _FEW
    if existing is not None and not (rare and all(one.kind in ("equal", "in") for one in usable)):
        return  # the planner knows the index and may well be right
    if columns and existing is None:
        columns += _ordered_after(case, node, usable, columns)
    if existing is not None:
        # It would pay, and the planner does not know that.
        remedy: str | None = case.dialect.analyze_command(node.relation or "")
        because = f"although index {existing.name} exists"
        severity: Severity = "info"
    else:
        remedy = create_index(case.dialect, facts, [IndexKey(column=name) for name in columns])
        because = f"no index begins with {', '.join(columns)}"
        severity = case.severity(rows)
    if remedy is None or not columns:
        return
    what = f"All {amount(rows)} rows of {node.relation} are read{_kept(rows, share)}"
    yield (
        rows,
        Finding(
            kind="filter_after_scan" if rare else "full_scan",
            severity=severity,
            message=f"{what}: {because}." if existing is None else f"{what}, {because}.",
            remedy=remedy,
            place=f"table {node.relation}",
            evidence={
                "table_rows": rows,
                "kept_rows": None if share is None else share * rows,
                "columns": ", ".join(columns),
            },
        ),
    )


def _kept(rows: float, share: float | None) -> str:
    if share is None:
        return ""
    return f" to keep about {amount(share * rows)}" if share * rows >= 1 else " to keep none"


def _ordered_after(
    case: Case, node: PlanNode, usable: Sequence[Condition], columns: Sequence[str]
) -> list[str]:
    """Columns of the ORDER BY that an index can have behind what is held equal."""
    block = case.block_of(node)
    if block is None or block.sources != 1 or block.aggregates or block.distinct:
        return []
    alias = case.alias_of(node)
    if any(one.kind != "equal" for one in usable) or len({k.descending for k in block.order}) > 1:
        return []
    if any(key.table != alias or key.column is None for key in block.order):
        return []
    known = {name.casefold() for name in columns}
    ordered = [key.column for key in block.order if key.column is not None]
    return [name for name in dict.fromkeys(ordered) if name.casefold() not in known]


def _unconditional(case: Case, node: PlanNode, block: Block, rows: float) -> Iterable[Ranked]:
    """A whole table read because nothing asks for less."""
    joined = driven_scan(case, node, block, rows)
    if joined is not None:
        yield joined
        return
    if block.sources != 1 or block.limited or not (block.outermost and block.query):
        return
    if not block.aggregates:
        return  # a large result is a finding of its own
    yield (
        rows / 10,
        Finding(
            kind="full_scan",
            severity="info",
            message=f"All {amount(rows)} rows of {node.relation} are read to compute an "
            "aggregate; no condition asks for less.",
            remedy="Add a WHERE, or keep the result in a summary table that is renewed at times.",
            place=f"table {node.relation}",
            evidence={"table_rows": rows},
        ),
    )


def _selected_share(case: Case, node: PlanNode, block: Block, rows: float) -> float | None:
    """The share of a table's rows that its conditions keep; None if unknown."""
    if case.plan.analyzed and node.actual_rows is not None:
        return node.actual_rows / rows
    estimated = node.estimated_rows
    parent = case.parents.get(id(node))
    if parent is not None and parent.operation == "filter" and parent.estimated_rows is not None:
        # The filter is a step of its own here.
        return min(1.0, parent.estimated_rows / rows)
    guessed = node.examined_rows is not None and estimated == node.examined_rows
    if estimated is not None and not guessed:
        workers = node.label.startswith("Parallel ")
        return min(1.0, estimated * (2.4 if workers else 1.0) / rows)
    return case.returned_share(block, rows) if block.sources == 1 else None


def _kept_and_removed(node: PlanNode) -> tuple[float, float | None]:
    if node.rows_removed is not None and node.actual_rows is not None:
        loops = node.loops or 1.0
        return node.actual_rows * loops, node.rows_removed * loops
    if node.examined_rows is not None and node.estimated_rows is not None:
        return node.estimated_rows, node.examined_rows - node.estimated_rows
    return 0.0, None
