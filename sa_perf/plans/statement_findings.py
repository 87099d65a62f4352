"""Findings about large results, NOT IN and wrong statistics."""

from __future__ import annotations

from collections.abc import Iterable

from sa_perf.dialects import PlanNode, TableFacts
from sa_perf.finding import Finding
from sa_perf.plans.case import Case, Ranked, amount
from sa_perf.plans.reading import Condition

__all__ = ["large_results", "not_in_nullable", "wrong_estimates"]

_FAR_OFF = 10.0
_ENOUGH_ROWS = 1_000.0
_READS = ("full_scan", "index_full_scan", "index_scan", "index_only_scan", "bitmap_scan")


def large_results(case: Case) -> Iterable[Ranked]:
    """A whole result of many rows brought to the application at once."""
    block = case.reading.outermost
    rows = case.rows_returned
    if block is None or not block.query or block.limited or rows is None:
        return
    if rows < max(1, case.big):
        return
    yield (
        float(rows),
        Finding(
            kind="many_rows",
            severity=case.severity(rows),
            message=f"{amount(rows)} rows were returned by one statement without a LIMIT.",
            remedy="Return a page at a time (LIMIT with a condition on the last key seen), compute "
            "sums in SQL, or stream with execution_options(yield_per=1000)",
            evidence={"rows_returned": rows},
        ),
    )


def not_in_nullable(case: Case) -> Iterable[Ranked]:
    """NOT IN over a column that may hold NULL, where one NULL makes the result empty."""
    for block in case.reading.blocks:
        for condition in block.conditions:
            if condition.kind != "not_in_query" or condition.query_column is None:
                continue
            table, column = condition.query_column
            facts = case.facts_of(table)
            found = facts.column(column) if facts else None
            if facts is None or found is None or not found.nullable:
                continue
            outer = case.facts_of(block.tables.get(condition.table or ""))
            sizes = [one.rows_estimate or 0.0 for one in (facts, outer) if one is not None]
            if max(sizes) < max(1, case.big):
                continue
            yield (
                max(sizes),
                Finding(
                    kind="not_in_nullable",
                    severity="warning",
                    message=f"NOT IN reads {table}.{column}, which may be NULL: one NULL makes the "
                    "result empty, and no anti-join can be used.",
                    remedy=_not_exists(case, condition, outer, table, column),
                    place=f"table {table}",
                    evidence={"table_rows": facts.rows_estimate, "columns": column},
                ),
            )


def wrong_estimates(case: Case) -> Iterable[Ranked]:
    """Reads of which the planner expected far more or fewer rows than there were."""
    if not case.plan.analyzed:
        return
    for node in case.plan.root.walk():
        if node.operation not in _READS or node.relation is None or _stops_early(case, node):
            continue
        expected, met = _expected_and_met(node)
        if not node.loops or expected is None or met is None:
            continue
        actual, estimated = max(1.0, met), max(1.0, expected)
        factor = max(actual / estimated, estimated / actual)
        rows = max(actual, estimated) * node.loops
        if factor < _FAR_OFF or rows < _ENOUGH_ROWS or not case.is_big(node):
            continue
        block = case.block_of(node)
        conditions = () if block is None else block.of(case.alias_of(node))
        if any(one.expression is not None or one.kind == "other" for one in conditions):
            continue  # statistics of columns say nothing about expressions
        yield (
            rows,
            Finding(
                kind="row_estimate",
                severity="warning",
                message=f"The planner expected {amount(expected)} rows of "
                f"{node.relation} and met {amount(met)}: its statistics are off by a "
                f"factor of {factor:,.0f}.",
                remedy=case.dialect.analyze_command(node.relation),
                place=f"table {node.relation}",
                evidence={
                    "estimated_rows": expected,
                    "actual_rows": met,
                    "loops": node.loops,
                },
            ),
        )


def _expected_and_met(node: PlanNode) -> tuple[float | None, float | None]:
    """Rows per loop; before the filter where the database guesses no selectivity."""
    if node.examined_rows is None or node.actual_rows is None:
        return node.estimated_rows, node.actual_rows
    return node.examined_rows, node.actual_rows + (node.rows_removed or 0.0)


def _stops_early(case: Case, node: PlanNode) -> bool:
    """Whether something above may stop a node before it has given all its rows."""
    return any(
        parent.operation in ("limit", "merge_join", "memoize")
        or str(parent.detail.get("Join Type", "")).startswith(("Semi", "Anti"))
        for parent in case.above(node)
    )


def _not_exists(
    case: Case, condition: Condition, outer: TableFacts | None, table: str, column: str
) -> str:
    """NOT EXISTS in the place of NOT IN, and where it gives other rows."""
    quote = case.dialect.quote
    differs = (
        f"The rows differ where there is NULL: with one in {table}.{column}, NOT IN gives no rows "
        "and NOT EXISTS those without a match"
    )
    if condition.table is None or condition.column is None or condition.expression is not None:
        return (
            f"Use NOT EXISTS, or add {quote(column)} IS NOT NULL to the subquery's conditions. "
            f"{differs}"
        )
    compared = f"{quote(condition.table)}.{quote(condition.column)}"
    known = None if outer is None else outer.column(condition.column)
    if known is None or known.nullable:
        differs += (
            f"; where {compared} is NULL, NOT IN leaves the row out and NOT EXISTS gives it, "
            f"unless {compared} IS NOT NULL is added"
        )
    others = " AND the subquery's own conditions" if condition.query_narrowed else ""
    # Its own alias: within the subquery a bare name would mean the inner table's column.
    return (
        f"NOT EXISTS (SELECT 1 FROM {quote(table)} AS unwanted "  # noqa: S608 -- is not run
        f"WHERE unwanted.{quote(column)} = {compared}{others}). {differs}"
    )
