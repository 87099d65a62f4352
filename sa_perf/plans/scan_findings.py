"""Findings about reading: tables read whole, rows read in vain, joins that scan."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from sa_perf.dialects import PlanNode
from sa_perf.finding import Finding
from sa_perf.plans.case import Case, Ranked, amount
from sa_perf.plans.index_defeats import cast_columns, defeats
from sa_perf.plans.reading import Block, Condition
from sa_perf.plans.remedies import IndexKey, covering_index, create_index, key_columns

__all__ = ["automatic_indexes", "filtered_index_scans", "inner_scans", "table_scans"]

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
        usable = _usable(case, node, conditions)
        if not any(one.kind in ("equal", "in", "in_query") for one in usable):
            yield from defeats(case, node, conditions, rows)
        if usable:
            yield from _missing_index(case, node, usable, rows, share)
        elif not conditions:
            yield from _unconditional(case, node, block, rows)


def inner_scans(case: Case) -> Iterable[Ranked]:
    """Big tables that are read whole once for each row of another."""
    for node in case.plan.root.walk():
        if node.operation not in _SCANS or not case.is_big(node) or not is_inner(case, node):
            continue
        block = case.block_of(node)
        rows = case.rows_of(node) or 0.0
        if block is None:
            continue
        alias = case.alias_of(node)
        joined = _joined_columns(case, node, block)
        usable = _usable(case, node, block.of(alias))
        facts = case.facts_of(node.relation)
        columns = key_columns(facts, usable, joined)
        if not columns:
            continue
        remedy = create_index(case.dialect, facts, [IndexKey(column=name) for name in columns])
        if covering_index(facts, columns[:1]) is not None:
            remedy = _why_not_used(case, node, block, columns[0])
        if remedy is None:
            continue
        outer = _outer_rows(case, node)
        total = rows * outer if outer is not None else rows * 10
        times = "for each row of the outer query" if block.correlated else "for each row joined"
        if outer is not None and outer <= 1:
            times = "to find the rows that join"
        yield (
            total,
            Finding(
                kind="nested_loop_scan",
                severity="critical" if outer is None or total >= case.big * 100 else "warning",
                message=f"All {amount(rows)} rows of {node.relation} are read {times}"
                + (f", about {amount(outer)} times." if outer is not None and outer > 1 else "."),
                remedy=remedy,
                place=f"table {node.relation}",
                evidence={"table_rows": rows, "outer_rows": outer, "columns": ", ".join(columns)},
            ),
        )


def automatic_indexes(case: Case) -> Iterable[Ranked]:
    """Indexes that the database builds for one statement and throws away."""
    for node in case.plan.root.walk():
        if node.operation != "automatic_index" or not case.is_big(node):
            continue
        columns = re.findall(r"(\w+)(?:=|>|<)\?", node.index_condition or "")
        facts = case.facts_of(node.relation)
        keys = [IndexKey(column=name) for name in dict.fromkeys(columns)]
        remedy = create_index(case.dialect, facts, keys)
        rows = case.rows_of(node) or 0.0
        if remedy is None:
            continue
        yield (
            rows * 5,
            Finding(
                kind="automatic_index",
                severity=case.severity(rows),  # type: ignore[arg-type]  # one of the three
                message=f"An index on {node.relation} ({', '.join(columns)}) is built over "
                f"{amount(rows)} rows each time the statement runs, and thrown away.",
                remedy=remedy,
                place=f"table {node.relation}",
                evidence={"table_rows": rows, "columns": ", ".join(columns)},
            ),
        )


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
        usable = _usable(case, node, block.of(alias))
        columns = key_columns(facts, usable)
        remedy = create_index(case.dialect, facts, [IndexKey(column=name) for name in columns])
        if remedy is None or covering_index(facts, columns) is not None:
            continue
        yield (
            removed,
            Finding(
                kind="filter_after_scan",
                severity=case.severity(removed),  # type: ignore[arg-type]  # one of the three
                message=f"Index {node.index} finds {amount(kept + removed)} rows of "
                f"{node.relation}, of which a filter keeps {amount(kept)}.",
                remedy=remedy,
                place=f"table {node.relation}",
                evidence={"rows_read": kept + removed, "rows_kept": kept, "index": node.index},
            ),
        )


def is_inner(case: Case, node: PlanNode) -> bool:
    """Whether a node runs once for each row of another: inside of a loop or a subquery."""
    below = node
    for parent in case.above(node):
        # A buffered join stands in a loop node of its own, within the one of the join.
        alone = len(parent.children) == 1
        if parent.operation == "nested_loop" and (alone or parent.children[0] is not below):
            return True
        correlated = below.detail.get("correlated")
        if isinstance(correlated, bool):
            return correlated
        if parent.operation in ("hash_join", "merge_join", "set_operation", "append"):
            return False
        if parent.operation == "materialize" and parent.temporary:
            return False  # filled once, read many times
        below = parent
    block = case.block_of(node)
    return block is not None and block.correlated


def _usable(case: Case, node: PlanNode, conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions that an index on their column answers."""
    cast = cast_columns(case, node)
    return [
        one
        for one in conditions
        if one.column not in cast and not case.defeats_index(one, node.relation)
    ]


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
        severity = "info"
    else:
        remedy = create_index(case.dialect, facts, [IndexKey(column=name) for name in columns])
        because = f"no index begins with {columns[0]}" if columns else ""
        severity = case.severity(rows)
    if remedy is None or not columns:
        return
    kept = "" if share is None else f" to keep about {amount(share * rows)}"
    yield (
        rows,
        Finding(
            kind="filter_after_scan" if rare else "full_scan",
            severity=severity,  # type: ignore[arg-type]  # one of the three
            message=f"All {amount(rows)} rows of {node.relation} are read{kept}: {because}."
            if existing is None
            else f"All {amount(rows)} rows of {node.relation} are read{kept}, {because}.",
            remedy=remedy,
            place=f"table {node.relation}",
            evidence={
                "table_rows": rows,
                "kept_rows": None if share is None else share * rows,
                "columns": ", ".join(columns),
            },
        ),
    )


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
    joined = _driven_by_another(case, node, block, rows)
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
            remedy="Add a WHERE, or keep the result in a summary table that is renewed now and then.",
            place=f"table {node.relation}",
            evidence={"table_rows": rows},
        ),
    )


def _driven_by_another(case: Case, node: PlanNode, block: Block, rows: float) -> Ranked | None:
    """A table read whole because its join column has no index, though another one is narrowed."""
    alias = case.alias_of(node)
    facts = case.facts_of(node.relation)
    for pair in block.joins:
        if pair.table != alias or covering_index(facts, [pair.column]) is not None:
            continue
        other = block.tables.get(pair.other_table)
        narrowed = [
            one
            for one in block.of(pair.other_table)
            if one.kind in ("equal", "in") and not case.defeats_index(one, other)
        ]
        share = _joined_share(case, node, block, rows)
        if not narrowed or (share is not None and share >= _TOO_MANY):
            continue
        remedy = create_index(case.dialect, facts, [IndexKey(column=pair.column)])
        if remedy is None:
            continue
        return (
            rows,
            Finding(
                kind="full_scan",
                severity=case.severity(rows),  # type: ignore[arg-type]  # one of the three
                message=f"All {amount(rows)} rows of {node.relation} are read to join them with "
                f"{other}: no index begins with {pair.column}.",
                remedy=remedy,
                place=f"table {node.relation}",
                evidence={"table_rows": rows, "columns": pair.column},
            ),
        )
    return None


def _joined_share(case: Case, node: PlanNode, block: Block, rows: float) -> float | None:
    for parent in case.above(node):
        if parent.operation in ("hash_join", "merge_join", "nested_loop"):
            joined = parent.actual_rows if case.plan.analyzed else parent.estimated_rows
            if joined is not None:
                return joined / rows
            break
    return _returned_share(case, block, rows)


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
    return _returned_share(case, block, rows) if block.sources == 1 else None


def _returned_share(case: Case, block: Block, rows: float) -> float | None:
    plain = not (block.limited or block.aggregates or block.distinct)
    if case.rows_returned is None or not (block.outermost and block.query and plain):
        return None
    return min(1.0, case.rows_returned / rows)


def _joined_columns(case: Case, node: PlanNode, block: Block) -> list[str]:
    """Columns that a join compares with what the loop has read before."""
    alias = case.alias_of(node)
    pairs = [pair for pair in block.joins if pair.table == alias]
    before: set[str] = set()
    below = node
    for parent in case.above(node):
        if parent.operation == "nested_loop":
            earlier = parent.children[: parent.children.index(below)]
            before |= {
                (one.alias or one.relation or "").casefold()
                for first in earlier
                for one in first.walk()
            }
        below = parent
    return [pair.column for pair in pairs if pair.other_table in before]


def _outer_rows(case: Case, node: PlanNode) -> float | None:
    """How often an inner node runs, by the estimate of what stands before it."""
    if case.plan.analyzed and node.loops is not None:
        return node.loops
    below = node
    for parent in case.above(node):
        if parent.operation == "nested_loop" and parent.children[0] is not below:
            before = parent.children[: parent.children.index(below)]
            return math.prod(rows) if None not in (rows := [_given(case, b) for b in before]) else None
        below = parent
    return None


def _given(case: Case, node: PlanNode) -> float | None:
    """Rows that a node gives to the loop around it; None if unknown."""
    if node.estimated_rows is not None:
        return node.estimated_rows
    if node.operation == "key_lookup":
        return 1.0
    block = case.block_of(node)
    if node.operation in _SCANS and block is not None:
        free = not block.of(case.alias_of(node))
        return case.rows_of(node) if free else None
    return None


def _why_not_used(case: Case, node: PlanNode, block: Block, column: str) -> str | None:
    """What keeps a join from using an index that exists: types that differ, else old statistics."""
    facts = case.facts_of(node.relation)
    alias = case.alias_of(node)
    for pair in block.joins:
        if pair.table != alias or pair.column != column:
            continue
        other = case.facts_of(block.tables.get(pair.other_table))
        mine = facts.column(column) if facts else None
        theirs = other.column(pair.other_column) if other else None
        if mine is None or theirs is None:
            return None
        if case.dialect.is_text(mine.type) != case.dialect.is_text(theirs.type):
            return (
                f"Give {node.relation}.{column} ({mine.type}) and {pair.other_column} "
                f"({theirs.type}) of {block.tables[pair.other_table]} the same type"
            )
        if mine.collation != theirs.collation and case.dialect.is_text(mine.type):
            return (
                f"Give {node.relation}.{column} ({mine.collation}) and {pair.other_column} "
                f"({theirs.collation}) of {block.tables[pair.other_table]} the same collation"
            )
    return case.dialect.analyze_command(node.relation or "")


def _kept_and_removed(node: PlanNode) -> tuple[float, float | None]:
    if node.rows_removed is not None and node.actual_rows is not None:
        loops = node.loops or 1.0
        return node.actual_rows * loops, node.rows_removed * loops
    if node.examined_rows is not None and node.estimated_rows is not None:
        return node.estimated_rows, node.examined_rows - node.estimated_rows
    return 0.0, None
