"""Values to plan a statement with where its own are not known. Pure.

The planner takes the average for a value that it does not know: for ``=`` a column's share of one
distinct value, for ``<`` a third of the rows, for a range or a pattern 0.5 % (var_eq_non_const();
DEFAULT_INEQ_SEL, DEFAULT_RANGE_INEQ_SEL and DEFAULT_MATCH_SEL in src/include/utils/selfuncs.h).
Where values are skewed, a range is wide or a pattern short, an index looks far better that way than
it is. So a statement is planned with other values as well, taken from the table's statistics: with
such that give as many rows as were observed, or, where nothing tells how many rows are meant, with
those of a row drawn at random and with wide ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sa_perf.dialects.index_trials.postgresql_statistics import ColumnStatistics
from sa_perf.dialects.postgresql_catalog import literal

__all__ = [
    "Condition",
    "Supposition",
    "conditions",
    "fits",
    "nodes",
    "plain_rows",
    "unfavourable",
]

#: Parameters by their number, and what is put in their place, as SQL.
Supposition: TypeAlias = "Mapping[int, str]"

_ONE_SIDED = 1 / 3
_TWO_SIDED = 0.005
#: What a range is supposed to hold where nothing tells its width.
_WIDE_ONE_SIDED = 0.5
_WIDE_TWO_SIDED = 0.1
#: What a pattern is supposed to begin with.
_LETTERS = 2
#: Skew below this is no concern.
_SKEWED = 1.5

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_CAST = r"(?:::[\w \[\]\".]+(?:\([\d,]+\))?)?"
_PARAMETER = rf"\(?\$\d+\)?{_CAST}"
_CONDITION = re.compile(
    rf"(?<![\w\")])\(+(?:(?P<alias>{_NAME})\.)?(?P<column>{_NAME})\)?{_CAST}"
    rf" (?P<operator>=|<=?|>=?|~~\*?)"
    rf" (?:(?P<one>{_PARAMETER})|ANY \(\(?ARRAY\[(?P<list>{_PARAMETER}(?:, {_PARAMETER})*)\])"
)
_NUMBERED = re.compile(r"\$(\d+)")
_TEXTS = ("Filter", "Index Cond", "Recheck Cond")
_COUNTED = frozenset({"Limit", "Aggregate", "Group", "Unique", "SetOp", "ProjectSet"})
_PASSING = frozenset(
    {"Sort", "Incremental Sort", "Gather", "Gather Merge", "LockRows", "WindowAgg", "Materialize"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One column compared with parameters.

    Attributes:
        alias: of the relation, as the plan names it.
        relation: its table.
        column: unquoted.
        equal: parameters that it shall equal, any of them.
        above: parameters that bound it from below.
        below: parameters that bound it from above.
        like: parameters that are patterns for it.
    """

    alias: str
    relation: str
    column: str
    equal: list[int] = field(default_factory=list)
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    like: list[int] = field(default_factory=list)


def conditions(raw: object) -> list[Condition]:
    """The columns that a plan compares with parameters, ranges first.

    Args:
        raw: PostgreSQL's plan in JSON, read.
    """
    found: dict[tuple[str, str], Condition] = {}
    for node in nodes(raw):
        relation = node.get("Relation Name")
        if not isinstance(relation, str):
            continue
        alias = str(node.get("Alias", relation))
        for name in _TEXTS:
            for match in _CONDITION.finditer(str(node.get(name, ""))):
                column = _unquoted(match["column"])
                # A partition is called like its parent with a number behind it.
                key = (re.sub(r"_\d+\Z", "", alias), column)
                condition = found.setdefault(
                    key, Condition(alias=alias, relation=relation, column=column)
                )
                _add(condition, match)
    return sorted(found.values(), key=lambda condition: bool(condition.equal))


def plain_rows(raw: object) -> float | None:
    """Rows that a plan expects to give or to change; None where they are cut off or counted."""
    node = next(nodes(raw), {})
    if node.get("Node Type") == "ModifyTable":
        return plain_rows([{"Plan": next(iter(_children(node)), {})}])
    while node.get("Node Type") in _PASSING:
        node = next(iter(_children(node)), {})
    rows = next(nodes(raw), {}).get("Plan Rows")
    if node.get("Node Type") in _COUNTED or not isinstance(rows, (int, float)):
        return None
    return float(rows)


def nodes(raw: object) -> Iterator[Mapping[str, object]]:
    """The nodes of a plan, parents first."""
    first = raw[0] if isinstance(raw, list) and raw else raw
    plan = first.get("Plan") if isinstance(first, Mapping) else None
    waiting = [plan] if isinstance(plan, Mapping) else []
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(_children(node)))


def fits(
    found: Sequence[Condition], known: Mapping[tuple[str, str], ColumnStatistics], factor: float
) -> Iterator[Supposition]:
    """Values by which the planner expects ``factor`` times the rows, one column changed at a time.

    Args:
        found: see `conditions`.
        known: statistics of the columns, by alias and name.
        factor: rows observed by rows expected, > 0.
    """
    for condition in found:
        column = known.get((condition.alias, condition.column))
        share = _expected_share(condition, column)
        if column is None or share is None:
            continue
        # Ranges hang together: few rows may lie in two wide ones.
        supposed: dict[int, str] = {}
        wider = 1.0
        for other in found:
            beside = known.get((other.alias, other.column))
            if other is not condition and beside is not None and _is_range(other):
                supposed.update(_range(other, beside, _wide(other)))
                wider *= _wide(other) / (_expected_share(other, beside) or 1.0)
        find = _range if _is_range(condition) else _equal
        moved = find(condition, column, share * factor / wider)
        if moved:
            yield {**supposed, **moved}


def unfavourable(
    found: Sequence[Condition], known: Mapping[tuple[str, str], ColumnStatistics]
) -> Supposition:
    """Values of a row drawn at random, wide ranges, short patterns."""
    supposed: dict[int, str] = {}
    for condition in found:
        column = known.get((condition.alias, condition.column))
        if column is None:
            continue
        supposed.update(_like(condition, column))
        if _is_range(condition):
            supposed.update(_range(condition, column, _wide(condition)))
        elif (column.matched_share or 0.0) > _SKEWED * (column.average_share or 1.0):
            supposed.update(_equal(condition, column, column.matched_share or 0.0))
    return supposed


def _add(condition: Condition, match: re.Match[str]) -> None:
    numbers = [int(number) for number in _NUMBERED.findall(match["one"] or match["list"])]
    operator = match["operator"]
    kept = {"=": condition.equal, ">": condition.above, "<": condition.below}.get(
        operator[0], condition.like
    )
    if match["list"] and operator != "=":
        return
    kept.extend(number for number in numbers if number not in kept)


def _is_range(condition: Condition) -> bool:
    return bool(condition.above or condition.below)


def _wide(condition: Condition) -> float:
    return _WIDE_TWO_SIDED if condition.above and condition.below else _WIDE_ONE_SIDED


def _expected_share(condition: Condition, column: ColumnStatistics | None) -> float | None:
    """What the planner expects of values that it does not know; None where there is no telling."""
    if _is_range(condition):
        return _TWO_SIDED if condition.above and condition.below else _ONE_SIDED
    return column.average_share if column is not None and condition.equal else None


def _equal(condition: Condition, column: ColumnStatistics, share: float) -> Supposition:
    """Literals that each hold about this share of the rows, or less where none holds so much."""
    ranked = sorted(column.common, key=lambda item: max(item[1] / share, share / item[1]))
    rare = not ranked or share < 0.5 * min(frequency for _, frequency in ranked)
    if rare and column.bounds:
        middle = len(column.bounds) // 2
        values = list(column.bounds[middle : middle + len(condition.equal)])
    else:
        values = [value for value, _ in ranked]
    return {n: literal(v) for n, v in zip(condition.equal, values, strict=False)}


def _like(condition: Condition, column: ColumnStatistics) -> Supposition:
    """The first letters of a value: a short text to search for, but no more than such."""
    value = column.quantile(0.5) or next((value for value, _ in column.common), "")
    letters = value[:_LETTERS]
    if not letters or not condition.like or set(letters) & set("%_\\"):
        return {}
    return {n: literal(f"{letters}%") for n in condition.like}


def _range(condition: Condition, column: ColumnStatistics, share: float) -> Supposition:
    """Bounds between which about this share of the rows lies."""
    share = min(max(share, 1e-9), 1.0)
    low = high = None
    if condition.above and condition.below:
        low, high = column.quantile(0.5 - share / 2), column.quantile(0.5 + share / 2)
    elif condition.above:
        low = column.quantile(1.0 - share)
    else:
        high = column.quantile(share)
    supposed = {n: literal(low) for n in condition.above if low is not None}
    supposed.update({n: literal(high) for n in condition.below if high is not None})
    return supposed


def _children(node: Mapping[str, object]) -> list[Mapping[str, object]]:
    children = node.get("Plans")
    return [c for c in children if isinstance(c, Mapping)] if isinstance(children, list) else []


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
