"""Findings about conditions that no plain index can answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sa_perf.dialects import IndexFacts, PlanNode
from sa_perf.dialects.index_trials.definition import IndexKey
from sa_perf.finding import Finding
from sa_perf.plans.case import Case, Ranked, amount
from sa_perf.plans.reading import Condition
from sa_perf.plans.remedies import covering_index, create_index, rewritten

__all__ = ["cast_columns", "defeats", "usable_conditions"]

#: The planner's own casts in a filter: ``((table.column)::numeric = ...)``.
_CASTED = re.compile(r"\((?:\w+\.)?(\w+)\)::(numeric|double precision|real|bigint|timestamp)")


def defeats(
    case: Case, node: PlanNode, conditions: Sequence[Condition], rows: float
) -> Iterable[Ranked]:
    """One finding for each condition on a scanned table that turns indexes off."""
    for condition in conditions:
        if condition.kind == "or":
            yield from _either(case, node, condition, rows)
            yield from _wild_branches(case, node, condition, rows)
        elif condition.kind not in ("equal", "in", "range", "like", "null") or not condition.column:
            continue
        elif condition.kind == "like" and condition.leading_wildcard:
            yield _leading_wildcard(case, node, condition, rows)
        elif condition.kind == "like" and condition.expression is not None:
            yield _pattern_on_expression(case, node, condition, rows)
        elif condition.expression is not None:
            yield from _expression(case, node, condition, rows)
        elif case.is_type_mismatch(condition, node.relation):
            yield _number_for_text(case, node, condition, rows)
        elif condition.leading_wildcard is False and case.needs_pattern_index(
            condition, node.relation
        ):
            yield from _pattern(case, node, condition, rows)
    yield from _planner_casts(case, node, conditions, rows)


def usable_conditions(
    case: Case, node: PlanNode, conditions: Sequence[Condition]
) -> list[Condition]:
    """The conditions that an index on their column answers."""
    cast = cast_columns(case, node)
    return [
        one
        for one in conditions
        if one.column not in cast and not case.defeats_index(one, node.relation)
    ]


def cast_columns(case: Case, node: PlanNode) -> dict[str, str]:
    """Columns that the planner casts in a filter -> the wider type that it casts them to."""
    facts = case.facts_of(node.relation)
    found: dict[str, str] = {}
    for column, wider in _CASTED.findall(node.filter or ""):
        known = facts.column(column) if facts else None
        if known is not None and not known.type.startswith(wider):
            found[column] = wider
    return found


def _expression(case: Case, node: PlanNode, condition: Condition, rows: float) -> Iterable[Ranked]:
    kind = "cast_on_column" if condition.function == "CAST" else "function_on_column"
    facts = case.facts_of(node.relation)
    index = covering_index(facts, [condition.column or ""])
    remedy = rewritten(condition)
    if remedy is not None:
        remedy = f"Compare the column itself: {remedy}"
        if index is None and facts is not None:
            made = create_index(case.dialect, facts, [IndexKey(column=condition.column)])
            remedy += f"; and {made}" if made else ""
    elif not condition.literals:
        expression = (condition.expression or "").lower()
        remedy = create_index(case.dialect, facts, [IndexKey(expression=expression)])
    if remedy is None:
        remedy = f"Compare {condition.column} itself, and do the computing on the other side"
    yield _finding(
        case,
        node,
        rows,
        kind=kind,
        condition=condition,
        message=f"{condition.expression} is computed for all {amount(rows)} rows of "
        f"{node.relation}: {_unused(index, condition)}.",
        remedy=remedy,
    )


def _leading_wildcard(case: Case, node: PlanNode, condition: Condition, rows: float) -> Ranked:
    return _finding(
        case,
        node,
        rows,
        kind="leading_wildcard",
        condition=condition,
        message=f"A LIKE pattern on {condition.column} begins with a wildcard, so no ordinary "
        f"index can narrow the {amount(rows)} rows of {node.relation}.",
        remedy=_found_inside(case, node, condition),
    )


def _found_inside(case: Case, node: PlanNode, condition: Condition) -> str:
    column = condition.column or ""
    facts = case.facts_of(node.relation)
    known = facts.column(column) if facts else None
    if known is not None and not case.dialect.is_text(known.type):
        return f"Compare {column} as {known.type}: LIKE makes a text of each of its values"
    expression = None if condition.literals else (condition.expression or "").lower()
    return case.dialect.substring_index(
        node.relation or "", [column], expression=expression or None
    )


def _wild_branches(
    case: Case, node: PlanNode, condition: Condition, rows: float
) -> Iterable[Ranked]:
    """OR of patterns that begin with a wildcard, as a search over several columns has it."""
    wild = [part for part in condition.parts if part.leading_wildcard and part.column]
    others = [part for part in condition.parts if part not in wild]
    if condition.table is None or not wild:
        return
    if any(not part.column or case.defeats_index(part, node.relation) for part in others):
        return
    columns = list(dict.fromkeys(part.column for part in wild if part.column))
    yield _finding(
        case,
        node,
        rows,
        kind="leading_wildcard",
        condition=condition,
        message=f"LIKE patterns on {' and '.join(columns)} begin with a wildcard, so no ordinary "
        f"index can narrow the {amount(rows)} rows of {node.relation}.",
        remedy=case.dialect.substring_index(node.relation or "", columns),
    )


def _pattern_on_expression(case: Case, node: PlanNode, condition: Condition, rows: float) -> Ranked:
    """``lower(column) LIKE 'abc%'``, as ILIKE is written where there is none."""
    facts = case.facts_of(node.relation)
    column = facts.column(condition.column or "") if facts else None
    suffix = (case.dialect.pattern_needs(column) if column else None) or ""
    folds = condition.function in ("LOWER", "UPPER")
    remedy = None
    if folds and case.dialect.like_ignores_case:
        keys = [IndexKey(column=condition.column, suffix=suffix)]
        made = create_index(case.dialect, facts, keys)
        remedy = f"Write {condition.column} LIKE ?, which ignores the case of ASCII letters"
        remedy += f"; and {made}" if made else ""
    elif case.dialect.pattern_indexes_on_expressions and not condition.literals:
        expression = (condition.expression or "").lower()
        remedy = create_index(case.dialect, facts, [IndexKey(expression=expression, suffix=suffix)])
    return _finding(
        case,
        node,
        rows,
        kind="function_on_column",
        condition=condition,
        message=f"{condition.expression} is computed for all {amount(rows)} rows of "
        f"{node.relation}: {_unused(covering_index(facts, [condition.column or '']), condition)}.",
        remedy=remedy
        or f"Compare {condition.column} itself, and do the computing on the other side",
    )


def _number_for_text(case: Case, node: PlanNode, condition: Condition, rows: float) -> Ranked:
    facts = case.facts_of(node.relation)
    column = facts.column(condition.column or "") if facts else None
    index = covering_index(facts, [condition.column or ""])
    return _finding(
        case,
        node,
        rows,
        kind="type_mismatch",
        condition=condition,
        message=f"{condition.column} is {column.type if column else 'text'} and is compared with "
        f"a number, so each of the {amount(rows)} rows of {node.relation} is converted: "
        f"{_unused(index, condition)}.",
        remedy=f"Pass the value for {condition.column} as text: str(value)",
    )


def _pattern(case: Case, node: PlanNode, condition: Condition, rows: float) -> Iterable[Ranked]:
    facts = case.facts_of(node.relation)
    column = facts.column(condition.column or "") if facts else None
    suffix = case.dialect.pattern_needs(column) if column else None
    if suffix is None or condition.ignores_case:
        return
    keys = [IndexKey(column=condition.column, suffix=suffix)]
    remedy = create_index(case.dialect, facts, keys)
    if remedy is None:
        return
    yield _finding(
        case,
        node,
        rows,
        kind="collation_mismatch",
        condition=condition,
        message=f"LIKE on {condition.column} reads all {amount(rows)} rows of {node.relation}: an "
        "index in the column's own collation cannot answer it.",
        remedy=remedy,
    )


def _either(case: Case, node: PlanNode, condition: Condition, rows: float) -> Iterable[Ranked]:
    """OR across columns: each branch needs an index of its own."""
    parts = condition.parts
    columns = list(dict.fromkeys(part.column for part in parts if part.column))
    if condition.table is None or len(columns) < 2:
        return
    if any(case.defeats_index(part, node.relation) or not part.column for part in parts):
        return
    facts = case.facts_of(node.relation)
    made = [
        create_index(case.dialect, facts, [IndexKey(column=column)])
        for column in columns
        if covering_index(facts, [column]) is None
    ]
    if any(one is None for one in made):
        return
    missing = "; ".join(one for one in made if one)
    remedy = missing or (
        "Write one SELECT for each branch and put them together with UNION: each can then use "
        "its own index"
    )
    because = "not every branch has an index" if missing else "no single index answers both"
    yield _finding(
        case,
        node,
        rows,
        kind="or_across_columns",
        condition=condition,
        message=f"OR joins conditions on {' and '.join(columns)}, so all {amount(rows)} rows of "
        f"{node.relation} are read: {because}.",
        remedy=remedy,
    )


def _planner_casts(
    case: Case, node: PlanNode, conditions: Sequence[Condition], rows: float
) -> Iterable[Ranked]:
    """A column that the planner itself casts, because the value is of a wider type."""
    plain = {one.column for one in conditions if one.expression is None and one.column}
    facts = case.facts_of(node.relation)
    for column, wider in cast_columns(case, node).items():
        found = facts.column(column) if facts else None
        if column not in plain or found is None:
            continue
        yield _finding(
            case,
            node,
            rows,
            kind="type_mismatch",
            condition=Condition(kind="other", column=column),
            message=f"{column} is {found.type} and is compared with {wider}, so it is cast for "
            f"all {amount(rows)} rows of {node.relation} and no index on it is used.",
            remedy=f"Pass a value of type {found.type} for {column}, or cast the value: "
            f"{column} = CAST(? AS {found.type})",
        )


def _unused(index: IndexFacts | None, condition: Condition) -> str:
    if index is not None:
        return f"index {index.name} on {condition.column} cannot be used"
    return "no index on the column could be used"


def _finding(
    case: Case,
    node: PlanNode,
    rows: float,
    *,
    kind: str,
    condition: Condition,
    message: str,
    remedy: str,
) -> Ranked:
    columns = condition.column or ", ".join(part.column or "" for part in condition.parts)
    finding = Finding(
        kind=kind,
        severity=case.severity(rows),
        message=message,
        remedy=remedy,
        place=f"table {node.relation}",
        evidence={"table_rows": rows, "columns": columns, "expression": condition.expression},
    )
    return rows, finding
