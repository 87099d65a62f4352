"""Findings about joins: what is read once a row of something else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sa_perf.dialects import PlanNode
from sa_perf.dialects.index_trials.definition import IndexKey
from sa_perf.finding import Finding
from sa_perf.plans.case import Case, Ranked, amount
from sa_perf.plans.index_defeats import usable_conditions
from sa_perf.plans.reading import Block
from sa_perf.plans.remedies import covering_index, create_index, key_columns

__all__ = ["automatic_indexes", "driven_scan", "inner_scans", "is_inner"]

_SCANS = ("full_scan", "index_full_scan")
#: Rows that are read in order in the time of one lookup: a page holds about 100 of them, and one
#: out of order costs four times as much (random_page_cost, PostgreSQL 18 manual, 19.7.2).
_LOOKUP_ROWS = 400
#: A join that keeps more of a table than this is done quickest by reading it whole.
_TOO_MANY = 0.3


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
        usable = usable_conditions(case, node, block.of(alias))
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
                severity=case.severity(rows),
                message=f"An index on {node.relation} ({', '.join(columns)}) is built over "
                f"{amount(rows)} rows each time the statement runs, and thrown away.",
                remedy=remedy,
                place=f"table {node.relation}",
                evidence={"table_rows": rows, "columns": ", ".join(columns)},
            ),
        )


def driven_scan(case: Case, node: PlanNode, block: Block, rows: float) -> Ranked | None:
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
        outer = _expected_rows(case, pair.other_table)
        if outer is not None and outer * _LOOKUP_ROWS > rows:
            continue
        remedy = create_index(case.dialect, facts, [IndexKey(column=pair.column)])
        if remedy is None:
            continue
        return (
            rows,
            Finding(
                kind="full_scan",
                severity=case.severity(rows),
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
    return case.returned_share(block, rows)


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


def _expected_rows(case: Case, alias: str) -> float | None:
    """Rows of a table that the planner expects to keep; None where it does not guess."""
    for node in case.plan.root.walk():
        if node.relation is not None and case.alias_of(node) == alias:
            if node.examined_rows is not None and node.examined_rows == node.estimated_rows:
                return None
            return node.actual_rows if case.plan.analyzed else node.estimated_rows
    return None


def _outer_rows(case: Case, node: PlanNode) -> float | None:
    """How often an inner node runs, by the estimate of what stands before it."""
    if case.plan.analyzed and node.loops is not None:
        return node.loops
    below = node
    for parent in case.above(node):
        if parent.operation == "nested_loop" and parent.children[0] is not below:
            total = 1.0
            for earlier in parent.children[: parent.children.index(below)]:
                rows = _given(case, earlier)
                if rows is None:
                    return None
                total *= rows
            return total
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
