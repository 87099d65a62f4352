"""What a SQLite plan costs, estimated: SQLite itself tells no number.

The unit is one row of a full scan. The constants are measured, see
``tests/dialects/index_trials/test_sqlite_costs.py``; they err on the side of the plan without a new
index: lookups in a table are as dear as they are where rows lie in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sa_perf.dialects.index_trials.sqlite_conditions import Block, Condition
from sa_perf.dialects.index_trials.sqlite_rows import Access, TableRows
from sa_perf.dialects.index_trials.sqlite_shadow import ShadowIndex
from sa_perf.dialects.plan import PlanNode

__all__ = ["CostModel", "Table"]

_START = 50.0
_SEEK = 4.0
_ROW = 1.0
_ENTRY = 0.8
_LOOKUP = 4.0
_SORT = 0.4
_RESULT = 1.0
_INNER_ROW = 0.5
#: What a LIMIT asks for, where it is a parameter and nothing was observed.
_LIMIT = 20
#: OFFSET is a parameter: the page that is read on average.
_PAGES = 3
_SCANS = frozenset(
    {
        "full_scan", "index_full_scan", "index_scan", "index_only_scan", "key_lookup",
        "bitmap_scan", "automatic_index", "virtual_scan", "subquery_scan", "nested_loop",
    }
)  # fmt: skip
_GATHERING = frozenset({"sort", "group", "distinct"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What the model needs of a table.

    Attributes:
        rows: makes the estimate for conditions.
        unique: columns that are a key by themselves, in lower case.
        indexes: by name.
    """

    rows: Callable[..., TableRows]
    unique: frozenset[str]
    indexes: dict[str, ShadowIndex]


@dataclass(kw_only=True)
class _Total:
    cost: float = 0.0
    rows: float = 1.0
    usual_rows: float = 1.0


class CostModel:
    """Costs of the plans of one statement.

    Args:
        table: finds a table by name; None where there is none.
        blocks: of the statement, the outermost first.
        rows_returned: how many rows it gives on average; None if unknown.
    """

    def __init__(
        self,
        table: Callable[[str], Table | None],
        blocks: Sequence[Block],
        *,
        rows_returned: float | None = None,
    ) -> None:
        self._table = table
        self._blocks = blocks
        self._rows_returned = rows_returned
        self._named: dict[str, float] = {}
        self._listed: float | None = None

    def cost(self, root: PlanNode) -> float:
        """Of one run of a plan, > 0."""
        self._named, self._listed = {}, None
        total = self._query(root.children, top=True)
        rows = self._rows_returned if self._rows_returned is not None else total.rows
        return _START + total.cost + rows * _RESULT

    def _query(self, nodes: Sequence[PlanNode], *, top: bool = False) -> _Total:
        """A block: its loops, and what is done with their rows."""
        loops = [n for node in nodes if node.operation in _SCANS for n in _loops(node)]
        others = [node for node in nodes if node.operation not in _SCANS]
        once = [
            n for n in others if not n.detail.get("correlated") and n.operation not in _GATHERING
        ]
        total = _Total(cost=sum(self._inner(node) for node in once), rows=0.0 if not loops else 1.0)
        if not loops:
            total.rows = total.usual_rows = self._last_rows if once else 1.0
            return self._gathered(total, others, None, top=top)
        block = self._block_of(loops)
        placed: set[str] = set()
        for loop in loops:
            self._loop(loop, block, placed, total, alone=top and len(loops) == 1)
        for node in others:
            if node.detail.get("correlated"):
                total.cost += max(1.0, total.rows) * self._inner(node)
        return self._gathered(total, others, block, top=top)

    _last_rows: float = 1.0

    def _inner(self, node: PlanNode) -> float:
        """A query within: its cost; its rows are kept where other steps need them."""
        total = self._query(node.children)
        if node.operation == "recursive_union" or any(
            child.operation == "recursive_union" for child in node.children
        ):
            total.rows = max(total.rows, 100.0)
        label = node.label
        if label.startswith(("CO-ROUTINE ", "MATERIALIZE ")):
            self._named[label.partition(" ")[2].casefold()] = total.rows
            total.cost += total.rows * _INNER_ROW
        elif label.startswith(("LIST SUBQUERY ", "CORRELATED LIST SUBQUERY ")):
            self._listed = total.rows
            total.cost += total.rows * _SORT * _log(total.rows)
        elif node.operation == "set_operation" and node.temporary:
            total.cost += total.rows * _SORT * _log(total.rows)
        self._last_rows = total.rows
        return total.cost

    def _gathered(
        self, total: _Total, others: Iterable[PlanNode], block: Block | None, *, top: bool
    ) -> _Total:
        """Sorting, grouping and stopping early."""
        gathering = [node for node in others if node.operation in _GATHERING]
        wanted = self._wanted(block, top=top)
        stops = block is not None and wanted is not None and not block.gathers
        if stops and not gathering:
            fraction = min(1.0, (wanted or 0) / max(total.usual_rows, 1e-9))
            total.cost *= fraction
            total.rows = min(total.rows, wanted or 0)
        for node in gathering:
            kept = total.rows
            if stops and node.operation == "sort":
                kept = min(kept, wanted or 0)  # only the first rows are kept while sorting
            total.cost += total.rows * (_SORT * _log(kept) + _INNER_ROW)
        if block is not None and wanted is not None:
            total.rows = min(total.rows, wanted)
        return total

    def _wanted(self, block: Block | None, *, top: bool) -> float | None:
        if block is None:
            return None
        if block.first_only:
            return 1.0
        if block.limit is None:
            return None
        limit = float(block.limit) if block.limit >= 0 else float(_LIMIT)
        if top and self._rows_returned is not None and block.limit < 0:
            limit = max(1.0, self._rows_returned)
        offset = block.offset or 0
        return limit + (offset if offset >= 0 else _PAGES * limit)

    # Loops

    def _loop(
        self, node: PlanNode, block: Block, placed: set[str], total: _Total, *, alone: bool
    ) -> None:
        alias = (node.alias or node.relation or _alias_of(node)).casefold()
        cost, access = self._access(node, alias, block, placed, total, alone=alone)
        total.cost += cost
        total.rows *= access.rows
        total.usual_rows *= access.usual_rows
        placed.add(alias)

    def _access(
        self,
        node: PlanNode,
        alias: str,
        block: Block,
        placed: set[str],
        total: _Total,
        *,
        alone: bool,
    ) -> tuple[float, Access]:
        """What a loop costs over all its runs, and what one run does."""
        runs = max(total.rows, 1e-9)
        if node.operation == "subquery_scan" or (
            node.operation == "automatic_index" and node.relation is None
        ):
            given = self._named.get(alias, next(reversed(self._named.values()), 100.0))
            access = Access(seeks=1, visited=given, rows=given, usual_rows=given)
            return runs * given * _INNER_ROW, access
        name = node.relation or block.tables.get(alias, "")
        index = None
        if node.operation == "bitmap_scan":
            return self._union(node, block, placed, runs)
        table = self._table(block.tables.get(alias) or name)
        if table is None:
            access = Access(seeks=1, visited=1_000, rows=100, usual_rows=100)
            return runs * 1_000, access
        rows = table.rows(
            self._conditions(block, alias, placed),
            unique_others=self._unique(block),
            listed=self._listed,
        )
        index = table.indexes.get(node.index or "")
        return self._scan(node, rows, index, runs, alone=alone)

    def _scan(
        self,
        node: PlanNode,
        rows: TableRows,
        index: ShadowIndex | None,
        runs: float,
        *,
        alone: bool,
    ) -> tuple[float, Access]:
        covering = bool(node.detail.get("covering")) or node.operation == "index_only_scan"
        each = _ENTRY if covering else _ENTRY + _LOOKUP
        if node.operation == "automatic_index":
            access = rows.scanned()
            found = Access(
                seeks=1, visited=access.rows, rows=access.rows, usual_rows=access.usual_rows
            )
            built = rows.rows * (_ROW + _SORT * _log(rows.rows))
            return built + runs * (_SEEK + found.visited * _ENTRY), found
        if index is not None and node.operation == "index_full_scan":
            share = rows.sample.fraction(index.predicate) if rows.sample else 1.0
            access = rows.scanned(rows.rows * share)
            return runs * access.visited * each, access
        if node.index is not None and node.label.startswith("SEARCH") and not node.index_condition:
            # The end of an index is its least or greatest entry.
            return runs * _SEEK, Access(seeks=1, visited=1, rows=1, usual_rows=1)
        if index is None and node.operation in ("key_lookup", "index_scan"):
            access = rows.by_key(node.index_condition)
            return runs * (access.seeks * _SEEK + access.visited * _ROW), access
        if index is not None:
            access = self._observed(rows.by_index(index, node.index_condition), alone=alone)
            # The key's index of a WITHOUT ROWID table holds the rows themselves.
            return runs * (access.seeks * _SEEK + access.visited * each), access
        access = rows.scanned()
        return runs * access.visited * _ROW, self._observed(access, alone=alone)

    def _observed(self, access: Access, *, alone: bool) -> Access:
        """What was seen of a plain statement on one table goes before any estimate."""
        seen = self._rows_returned
        block = self._blocks[0] if self._blocks else None
        if not alone or seen is None or block is None or block.gathers or block.limit is not None:
            return access
        visited = seen if access.exact else max(seen, access.visited)
        return Access(
            seeks=access.seeks,
            visited=max(visited, 0.0),
            rows=seen,
            usual_rows=seen,
            exact=access.exact,
        )

    def _union(
        self, node: PlanNode, block: Block, placed: set[str], runs: float
    ) -> tuple[float, Access]:
        """The rows of several indexes, each once."""
        cost = rows = 0.0
        for branch in node.children:
            for scan in branch.children:
                one = _Total(rows=runs, usual_rows=runs)
                alias = (scan.alias or scan.relation or "").casefold()
                branched = _with_branch(block, alias)
                each, access = self._access(scan, alias, branched, placed, one, alone=False)
                cost += each + runs * access.visited * _INNER_ROW
                rows += access.visited
        return cost, Access(seeks=1, visited=rows, rows=rows, usual_rows=rows)

    # Blocks

    def _block_of(self, loops: Sequence[PlanNode]) -> Block:
        """The block whose tables these loops read; several in one where SQLite merged them."""
        aliases = {(n.alias or n.relation or _alias_of(n)).casefold() for n in loops}
        aliases |= {
            (s.alias or s.relation or "").casefold()
            for n in loops if n.operation == "bitmap_scan" for b in n.children for s in b.children
        }  # fmt: skip
        for block in self._blocks:
            if aliases == set(block.tables):
                return block
        merged = Block()
        for block in self._blocks:
            if aliases & set(block.tables):
                merged.tables = {**block.tables, **merged.tables}
                merged.conditions += block.conditions
                merged.gathers = merged.gathers or block.gathers
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

    def _unique(self, block: Block) -> set[tuple[str, str | None]]:
        """Columns of joins that are keys of their tables."""
        found: set[tuple[str, str | None]] = set()
        for condition in block.conditions:
            if condition.other is not None and condition.other[1] is not None:
                table = self._table(self._name_of(block, condition.other[0]))
                if table is not None and condition.other[1] in table.unique:
                    found.add(condition.other)
        return found

    def _name_of(self, block: Block, alias: str) -> str:
        if alias in block.tables:
            return block.tables[alias]
        return next((b.tables[alias] for b in self._blocks if alias in b.tables), alias)


def _loops(node: PlanNode) -> tuple[PlanNode, ...]:
    return node.children if node.operation == "nested_loop" else (node,)


def _alias_of(node: PlanNode) -> str:
    words = node.label.split()
    return words[1] if len(words) > 1 and words[0] in ("SCAN", "SEARCH") else ""


def _with_branch(block: Block, alias: str) -> Block:
    """The same block where the branches of an OR hold together, to find what an index binds."""
    conditions = list(block.conditions)
    for condition in block.conditions:
        if condition.kind == "or" and condition.alias == alias:
            conditions += [c for branch in condition.parts for c in branch]
    return Block(tables=block.tables, conditions=conditions)


def _log(rows: float) -> float:
    return math.log2(max(2.0, rows))
