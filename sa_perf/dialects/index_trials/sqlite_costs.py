"""What a SQLite plan costs, estimated: SQLite itself tells no number.

A plan's tree is walked block by block: loops multiply, subqueries that depend on a row run for each
row, sorts see every row, and a LIMIT stops the loops where nothing has to see every row first. See
`sqlite_prices` for the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sa_perf.dialects.index_trials.sqlite_conditions import Block, Condition
from sa_perf.dialects.index_trials.sqlite_loops import LoopCost, Table, loop_cost
from sa_perf.dialects.index_trials.sqlite_prices import (
    BEGIN,
    BUFFERED,
    CHANGED,
    HANDED_OVER,
    distinct,
    seeks,
    sort,
)
from sa_perf.dialects.index_trials.sqlite_rows import Access
from sa_perf.dialects.index_trials.sqlite_source import quoted
from sa_perf.dialects.plan import PlanNode

__all__ = ["CostModel"]

#: What a LIMIT asks for, where it is a parameter and nothing was observed.
_LIMIT = 20
#: Pages that an OFFSET passes over, where it is a parameter.
_PAGES = 3
#: What an average of no rows at all is taken for.
_NO_ROWS = 0.5
#: Rows of a recursive query, at least.
_RECURSIVE_ROWS = 100.0
#: Cost and rows of one run of what nothing is known about, such as a virtual table.
_UNKNOWN_COST = 100.0
_UNKNOWN_ROWS = 100.0
_SCANS = frozenset(
    {
        "full_scan", "index_full_scan", "index_scan", "index_only_scan", "key_lookup",
        "bitmap_scan", "automatic_index", "virtual_scan", "subquery_scan", "nested_loop",
    }
)  # fmt: skip
_GATHERING = frozenset({"sort", "group", "distinct"})


@dataclass(kw_only=True)
class _Total:
    """A block so far: cost before its first row and of its loops, and the rows that it gives."""

    before: float = 0.0
    running: float = 0.0
    rows: float = 1.0
    usual_rows: float = 1.0
    least_rows: float = 1.0


class CostModel:
    """Costs of the plans of one statement.

    Args:
        table: finds a table by name; None where there is none.
        blocks: of the statement, the outermost first.
        rows_returned: how many rows it gives on average; None if unknown.
        writes: it changes rows instead of giving them; those are meant above, then.
    """

    def __init__(
        self,
        table: Callable[[str], Table | None],
        blocks: Sequence[Block],
        *,
        rows_returned: float | None = None,
        writes: bool = False,
    ) -> None:
        self._table = table
        self._blocks = blocks
        # Of rows that were changed, none may mean that nobody counted.
        self._rows_returned = rows_returned if rows_returned or not writes else None
        self._writes = writes
        self._named: dict[str, float] = {}
        self._listed: float | None = None
        self._last_rows = 1.0
        self._scale = 1.0

    def cost(self, root: PlanNode) -> float:
        """Of one run of a plan, > 0."""
        self._scale = 1.0
        total = self._run(root)
        seen = self._rows_returned
        if seen is not None and self._plain and total.rows > 0:
            self._scale = max(seen, _NO_ROWS) / total.rows
            total = self._run(root)
        end = (total.rows if seen is None else seen) * (CHANGED if self._writes else HANDED_OVER)
        return BEGIN + total.before + total.running + end

    def _run(self, root: PlanNode) -> _Total:
        self._named, self._listed = {}, None
        return self._query(root.children, top=True)

    @property
    def _plain(self) -> bool:
        """Whether the rows of the statement are those that its loops find."""
        block = self._blocks[0] if self._blocks else None
        seen = self._rows_returned
        if block is None or block.gathers or seen is None:
            return False
        return block.limit is None or (not block.offset and _was_not_reached(block.limit, seen))

    # Blocks

    def _query(self, nodes: Sequence[PlanNode], *, top: bool = False) -> _Total:
        """A block: its loops, and what is done with their rows."""
        loops = [n for node in nodes if node.operation in _SCANS for n in _loops(node)]
        others = [node for node in nodes if node.operation not in _SCANS]
        once = [
            node
            for node in others
            if node.operation not in _GATHERING and not node.detail.get("correlated")
        ]
        total = _Total(before=sum(self._inner(node) for node in once))
        if not loops:
            total.rows = self._last_rows if once else 1.0
            total.usual_rows = total.least_rows = total.rows
            self._gather(total, others, self._blocks[0] if top and self._blocks else None, top=top)
            return total
        block = self._block_of(loops)
        placed: set[str] = set()
        for loop in loops:
            self._add_loop(loop, block, placed, total, top=top and self._is_narrowed(loop, block))
        for node in others:
            if node.detail.get("correlated"):
                total.running += max(1.0, total.rows) * self._inner(node)
        self._gather(total, others, block, top=top)
        return total

    def _inner(self, node: PlanNode) -> float:
        """A query within: its cost; its rows are kept where other steps need them."""
        total = self._query(node.children)
        if any(n.operation == "recursive_union" for n in (node, *node.children)):
            total.rows = max(total.rows, _RECURSIVE_ROWS)
        label = node.label
        cost = total.before + total.running
        if label.startswith(("CO-ROUTINE ", "MATERIALIZE ")):
            self._named[label.partition(" ")[2].casefold()] = total.rows
            cost += total.rows * BUFFERED
        elif "LIST SUBQUERY " in label:
            self._listed = total.rows
            cost += sort(total.rows, total.rows)
        elif node.operation == "set_operation" and node.temporary:
            cost += sort(total.rows, total.rows)
        self._last_rows = total.rows
        return cost

    def _gather(
        self, total: _Total, others: Iterable[PlanNode], block: Block | None, *, top: bool
    ) -> None:
        """Sorting, grouping and stopping early."""
        gathering = [node for node in others if node.operation in _GATHERING]
        wanted = self._wanted(block, top=top)
        stops = wanted is not None and block is not None and not block.gathers
        if wanted is not None and stops and not gathering:
            total.running *= min(1.0, wanted / max(total.usual_rows, 1e-9))
        sorted_rows = min(total.rows, total.least_rows)
        for node in sorted(gathering, key=lambda node: bool(node.sort_keys)):
            if node.sort_keys and block is not None:
                sorted_rows = self._grouped(block, sorted_rows)
            kept = sorted_rows
            if wanted is not None and node.sort_keys and not (block and block.windows):
                kept = min(kept, wanted)
            alike = node.operation == "distinct"
            total.before += distinct(sorted_rows) if alike else sort(sorted_rows, kept)
        if block is not None:
            total.rows = self._grouped(block, total.rows)
        if wanted is not None:
            total.rows = min(total.rows, wanted)
            total.usual_rows = min(total.usual_rows, wanted)
        total.least_rows = min(total.least_rows, total.rows)

    def _grouped(self, block: Block, rows: float) -> float:
        """Rows after GROUP BY, DISTINCT and aggregates."""
        if block.groups is None:
            return min(rows, 1.0) if block.aggregates else rows
        columns: dict[str, list[str]] = {}
        for alias, column in block.groups:
            if alias is None:
                return rows
            columns.setdefault(alias, []).append(column)
        product = 1.0
        for alias, names in columns.items():
            table = self._table(self._name_of(block, alias))
            sample = table.rows(()).sample if table is not None else None
            if sample is None:
                return rows
            product *= sample.distinct([quoted(name) for name in names])
        return min(rows, product)

    def _wanted(self, block: Block | None, *, top: bool) -> float | None:
        """Rows after which a block is done."""
        if block is None:
            return None
        if block.first_only:
            return 1.0
        if block.limit is None:
            return None
        limit = float(block.limit) if block.limit >= 0 else float(_LIMIT)
        seen = self._rows_returned
        if top and seen is not None:
            if _was_not_reached(block.limit, seen):
                return None
            limit = max(1.0, seen)
        offset = block.offset or 0
        return limit + (offset if offset >= 0 else _PAGES * limit)

    # Loops

    def _add_loop(
        self, node: PlanNode, block: Block, placed: set[str], total: _Total, *, top: bool
    ) -> None:
        loop = self._loop(node, block, placed, max(total.rows, 1e-9), top=top)
        total.before += loop.before
        total.running += loop.running
        total.rows *= loop.access.rows
        total.usual_rows *= loop.access.usual_rows
        total.least_rows *= loop.access.least_rows
        placed.add(_alias_of(node))

    def _loop(
        self, node: PlanNode, block: Block, placed: set[str], runs: float, *, top: bool
    ) -> LoopCost:
        alias = _alias_of(node)
        if node.operation == "bitmap_scan":
            return self._union(node, block, placed, runs)
        name = block.tables.get(alias) or node.relation
        given = self._named.get(alias, self._named.get(name or ""))
        if name is None or given is not None:
            return self._subquery(node, given, runs)
        table = self._table(name)
        if table is None:
            return LoopCost(access=_plain(_UNKNOWN_ROWS), running=runs * _UNKNOWN_COST)
        rows_of = table.rows(
            self._conditions(block, alias, placed),
            unique_others=self._unique(block),
            listed=self._listed,
        )

        def observed(access: Access) -> Access:
            return self._observed(access) if top else access

        index = table.indexes.get(node.index or "")
        tried = node.index in table.tried
        return loop_cost(
            node, rows_of, index, runs, tried=tried, extreme=block.extreme, observed=observed
        )

    def _subquery(self, node: PlanNode, given: float | None, runs: float) -> LoopCost:
        """The rows of a subquery, or those that an index made for it finds: one, at the least."""
        rows = next(reversed(self._named.values()), _UNKNOWN_ROWS) if given is None else given
        if node.operation == "automatic_index":
            return LoopCost(
                access=_plain(1), running=seeks(runs, rows, cached=True), before=sort(rows, rows)
            )
        return LoopCost(access=_plain(rows), running=runs * rows * BUFFERED)

    def _observed(self, access: Access) -> Access:
        """What was seen of the statement's rows goes before any estimate."""
        if self._scale == 1.0:
            return access
        rows = access.rows * self._scale
        return Access(
            seeks=access.seeks,
            visited=access.visited * self._scale if access.exact else access.visited,
            rows=rows,
            usual_rows=rows,
            least_rows=rows,
            exact=access.exact,
        )

    def _is_narrowed(self, node: PlanNode, block: Block) -> bool:
        """Whether only this loop's table has conditions, so that the rows are few by them."""
        narrowed = {c.alias for c in block.conditions if c.kind != "join"}
        return narrowed <= {_alias_of(node)}

    def _union(self, node: PlanNode, block: Block, placed: set[str], runs: float) -> LoopCost:
        """The rows of several indexes, each once."""
        cost = rows = 0.0
        for branch in node.children:
            for scan in branch.children:
                branched = _with_branch(block, _alias_of(scan))
                loop = self._loop(scan, branched, placed, runs, top=False)
                cost += loop.running + runs * loop.access.visited * BUFFERED
                rows += loop.access.visited
        return LoopCost(access=_plain(rows), running=cost)

    # What the statement says

    def _block_of(self, loops: Sequence[PlanNode]) -> Block:
        """The block whose tables these loops read; several in one where SQLite merged them."""
        aliases = {_alias_of(loop) for loop in loops}
        for block in self._blocks:
            if aliases == set(block.tables):
                return block
        merged = Block()
        for block in self._blocks:
            if aliases & set(block.tables):
                merged.tables = {**block.tables, **merged.tables}
                merged.conditions += block.conditions
                merged.aggregates = merged.aggregates or block.aggregates
                merged.windows = merged.windows or block.windows
                merged.extreme = merged.extreme or block.extreme
                merged.groups = merged.groups if merged.groups is not None else block.groups
                if merged.limit is None:
                    merged.limit, merged.offset = block.limit, block.offset
        return merged

    def _conditions(self, block: Block, alias: str, placed: set[str]) -> list[Condition]:
        """Those on a table that can be tested once it is read."""
        inner = set(block.tables)
        return [
            c
            for c in block.conditions
            if c.alias == alias
            and (c.other is None or c.other[0] in placed or c.other[0] not in inner)
        ]

    def _unique(self, block: Block) -> dict[tuple[str, str | None] | None, float]:
        """Columns of joins that are keys of their tables, and how many rows those have."""
        found: dict[tuple[str, str | None] | None, float] = {}
        for condition in block.conditions:
            if condition.other is not None and condition.other[1] is not None:
                table = self._table(self._name_of(block, condition.other[0]))
                if table is not None and condition.other[1] in table.unique:
                    found[condition.other] = table.rows(()).rows
        return found

    def _name_of(self, block: Block, alias: str) -> str:
        if alias in block.tables:
            return block.tables[alias]
        return next((b.tables[alias] for b in self._blocks if alias in b.tables), alias)


def _was_not_reached(limit: int, seen: float) -> bool:
    """Whether so few rows came that they all were looked for; limits of 2 to 4 are rare."""
    if limit >= 0:
        return seen < 0.99 * limit
    return seen != round(seen) or (seen < 5 and seen != 1)


def _loops(node: PlanNode) -> tuple[PlanNode, ...]:
    return node.children if node.operation == "nested_loop" else (node,)


def _alias_of(node: PlanNode) -> str:
    if node.operation == "bitmap_scan" and node.relation is None:
        scans = [scan for branch in node.children for scan in branch.children]
        return _alias_of(scans[0]) if scans else ""
    words = node.label.split()
    named = words[1] if len(words) > 1 and words[0] in ("SCAN", "SEARCH") else ""
    return (node.alias or node.relation or named).casefold()


def _plain(rows: float) -> Access:
    return Access(seeks=1, visited=rows, rows=rows, usual_rows=rows, least_rows=rows)


def _with_branch(block: Block, alias: str) -> Block:
    """The same block where the branches of an OR hold together, to find what an index binds."""
    conditions = list(block.conditions)
    for condition in block.conditions:
        if condition.kind == "or" and condition.alias == alias:
            conditions += [c for branch in condition.parts for c in branch]
    return Block(tables=block.tables, conditions=conditions)
