"""What one loop of a SQLite plan costs over all of its runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sa_perf.dialects.index_trials.sqlite_prices import BUFFERED, lookups, scan, seeks, sort
from sa_perf.dialects.index_trials.sqlite_rows import Access, TableRows, bound_terms
from sa_perf.dialects.index_trials.sqlite_sampling import UnreadableExpression
from sa_perf.dialects.index_trials.sqlite_shadow import ShadowIndex
from sa_perf.dialects.index_trials.sqlite_statistics import key_expression
from sa_perf.dialects.plan import PlanNode

__all__ = ["LoopCost", "Table", "loop_cost"]

#: Rows, and bytes of one, where there is no sample.
_UNKNOWN_BYTES = 100.0
_ROWID_BYTES = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What the model needs of a table.

    Attributes:
        rows: makes the estimate for conditions.
        unique: columns that are a key by themselves, in lower case.
        indexes: by name; ``"PRIMARY KEY"`` for that of a WITHOUT ROWID table.
        tried: names of the indexes that do not exist.
    """

    rows: Callable[..., TableRows]
    unique: frozenset[str]
    indexes: dict[str, ShadowIndex]
    tried: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopCost:
    """What a loop does and takes.

    Attributes:
        access: what one run does.
        running: cost of all runs to their ends.
        before: cost before the first row.
    """

    access: Access
    running: float
    before: float = 0.0


def loop_cost(
    node: PlanNode,
    rows: TableRows,
    index: ShadowIndex | None,
    runs: float,
    *,
    tried: bool,
    extreme: str | None,
    observed: Callable[[Access], Access],
) -> LoopCost:
    """The cost of a scan or a search.

    Args:
        node: of the plan.
        rows: of its table.
        index: that it uses; None for the table itself, or an automatic one.
        runs: how often.
        tried: the index does not exist.
        extreme: column in lower case of which the least or the greatest value is asked for.
        observed: puts what was observed in the place of estimates.
    """
    sample = rows.sample
    row_bytes = sample.row_bytes if sample is not None else _UNKNOWN_BYTES
    if node.operation == "automatic_index":
        return _automatic(rows, row_bytes, runs)
    if index is not None and node.label.startswith("SEARCH") and not node.index_condition:
        leading = index.parts[0].column
        if leading is None or leading.casefold() != extreme:
            access = rows.scanned(rows.entries(index))
            return LoopCost(access=access, running=runs * scan(access.visited, row_bytes))
        return _from_its_end(rows, row_bytes, runs, tried=tried)
    if index is not None:
        return _by_index(node, rows, index, runs, tried=tried, observed=observed)
    if node.operation in ("key_lookup", "index_scan"):
        access = observed(rows.by_key(node.index_condition))
        cost = seeks(runs * access.seeks, rows.rows * row_bytes, cached=True)
        return LoopCost(access=access, running=cost + scan(runs * access.visited, row_bytes))
    access = rows.scanned()
    return LoopCost(access=observed(access), running=runs * scan(access.visited, row_bytes))


def _from_its_end(rows: TableRows, row_bytes: float, runs: float, *, tried: bool) -> LoopCost:
    """The least or greatest entry of an index whose row meets the conditions."""
    kept = max(1.0, rows.scanned().rows)
    visited = min(rows.rows, max(1.0, rows.rows / kept))
    running = seeks(runs, rows.rows, cached=not tried)
    if visited > 1.0:
        size = rows.rows * row_bytes
        running += lookups(runs * visited, size, order=0.0, together=False, cached=not tried)
    first = Access(seeks=1, visited=visited, rows=1, usual_rows=1, least_rows=1)
    return LoopCost(access=first, running=running)


def _automatic(rows: TableRows, row_bytes: float, runs: float) -> LoopCost:
    """An index that is built for the statement: the table read and sorted once."""
    access = rows.scanned()
    built = scan(rows.rows, row_bytes) + sort(rows.rows, rows.rows) + rows.rows * BUFFERED
    running = seeks(runs, rows.rows * 20, cached=True) + scan(runs * access.rows, 20)
    return LoopCost(access=access, running=running, before=built)


def _by_index(
    node: PlanNode,
    rows: TableRows,
    index: ShadowIndex,
    runs: float,
    *,
    tried: bool,
    observed: Callable[[Access], Access],
) -> LoopCost:
    sample = rows.sample
    entry_bytes, row_bytes, entries = 30.0, _UNKNOWN_BYTES, rows.entries(index)
    if sample is not None:
        texts = [key_expression(part) for part in index.parts]
        with suppress(UnreadableExpression):
            entry_bytes = sum(map(sample.mean_bytes, texts)) + _ROWID_BYTES + len(texts) + 4
        row_bytes = sample.row_bytes
    whole = node.operation == "index_full_scan"
    if whole:
        access = rows.scanned(entries)
        cost = runs * scan(access.visited, entry_bytes)
    else:
        access = observed(rows.by_index(index, node.index_condition, tried=tried))
        count = runs * access.seeks
        cost = seeks(count, entries * entry_bytes, cached=not tried) + scan(
            runs * access.visited, entry_bytes
        )
    covering = bool(node.detail.get("covering")) or node.operation == "index_only_scan"
    if not covering and node.index != "PRIMARY KEY":
        order, together = _order(rows, index, node.index_condition)
        bytes_ = rows.rows * row_bytes
        visited = runs * access.visited
        cost += lookups(visited, bytes_, order=order, together=together, cached=not tried)
    return LoopCost(access=observed(access) if whole else access, running=cost)


def _order(rows: TableRows, index: ShadowIndex, condition: str | None) -> tuple[float, bool]:
    """How far the rows of an index's entries lie in their order, and whether as neighbours."""
    bound = bound_terms(condition)
    held = bound.equal + bound.skipped
    if held >= len(index.parts):
        return 1.0, False  # entries with equal keys are in the order of the rows
    if rows.sample is None:
        return 0.0, False
    try:
        return rows.sample.order(key_expression(index.parts[held])), held == 0
    except UnreadableExpression:
        return 0.0, False
