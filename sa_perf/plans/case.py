"""All that is known of one explained statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sa_perf.dialects import Dialect, Plan, PlanNode, TableFacts
from sa_perf.finding import Finding, Severity
from sa_perf.plans.reading import Block, Condition, Reading

__all__ = ["Case", "Ranked", "Rule", "amount"]

#: (weight, finding): rows that are touched in vain, to rank by.
Ranked: TypeAlias = "tuple[float, Finding]"
Rule: TypeAlias = "Callable[[Case], Iterable[Ranked]]"

_CRITICAL_FACTOR = 100
#: Conditions that an index on the bare column answers.
_SARGABLE = frozenset({"equal", "in", "null", "range", "like", "in_query"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One statement, its plan, its tables.

    Attributes:
        facts: by table's name in lower case.
        rows_returned: rows that the statement returned or changed; None if unknown.
        big: rows from which on a table is big, >= 0.
        parents: node's ``id()`` -> the node above it.
    """

    plan: Plan
    reading: Reading
    facts: Mapping[str, TableFacts]
    dialect: Dialect
    rows_returned: int | None
    big: int
    parents: Mapping[int, PlanNode] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plan: Plan,
        reading: Reading,
        facts: Mapping[str, TableFacts],
        *,
        dialect: Dialect,
        rows_returned: int | None,
        big: int,
    ) -> Case:
        """Make a case of what was found out."""
        return cls(
            plan=plan,
            reading=reading,
            facts={one.name.casefold(): one for one in facts.values()},
            dialect=dialect,
            rows_returned=rows_returned,
            big=big,
            parents={id(child): node for node in plan.root.walk() for child in node.children},
        )

    def facts_of(self, table: str | None) -> TableFacts | None:
        """Facts of a table by its name; None if unknown."""
        return None if table is None else self.facts.get(table.casefold())

    def rows_of(self, node: PlanNode) -> float | None:
        """Rows of the table that a node reads; None if unknown."""
        if node.operation == "full_scan" and None not in (node.actual_rows, node.rows_removed):
            # It was run, and met them all; unless a LIMIT stopped it.
            met = (node.actual_rows or 0.0) + (node.rows_removed or 0.0)
            if not any(one.operation == "limit" for one in self.above(node)):
                return met
        facts = self.facts_of(node.relation)
        if facts is not None and facts.rows_estimate is not None:
            return facts.rows_estimate
        return node.examined_rows if node.operation == "full_scan" else None

    def is_big(self, node: PlanNode) -> bool:
        """Whether the table that a node reads is known to be big."""
        rows = self.rows_of(node)
        return rows is not None and rows >= max(1, self.big)

    def block_of(self, node: PlanNode) -> Block | None:
        """The block of the statement that a node's table stands in; None if that is not clear."""
        if node.relation is None:
            return None
        found = self.reading.block_of(node.alias or node.relation, node.relation)
        return found if found is not None else self._branch_of(node)

    def _branch_of(self, node: PlanNode) -> Block | None:
        """The branch of a UNION that a scan belongs to, where both stand in the same order."""
        relation = (node.relation or "").casefold()
        branches = [
            block
            for block in self.reading.blocks
            if block.sources == 1
            and [one.casefold() for one in block.tables.values()] == [relation]
        ]
        scans = [
            one
            for one in self.plan.root.walk()
            if one.relation is not None
            and one.relation.casefold() == relation
            and one.operation not in ("insert", "update", "delete", "merge")
        ]
        if self.reading.outermost is not None or len(branches) != len(scans):
            return None
        return next((b for b, scan in zip(branches, scans, strict=True) if scan is node), None)

    def alias_of(self, node: PlanNode) -> str:
        """The name by which the statement calls a node's table, in lower case."""
        alias = (node.alias or node.relation or "").casefold()
        block = self.block_of(node)
        if block is None or alias in block.tables:
            return alias
        # A database that numbers equal names has an alias of its own.
        relation = (node.relation or "").casefold()
        return next((a for a, table in block.tables.items() if table.casefold() == relation), alias)

    def above(self, node: PlanNode) -> Iterable[PlanNode]:
        """The nodes above one, the nearest first."""
        parent = self.parents.get(id(node))
        while parent is not None:
            yield parent
            parent = self.parents.get(id(parent))

    def returned_share(self, block: Block, rows: float) -> float | None:
        """The share of a table's rows that were returned or changed; None if that is unknown."""
        plain = not (block.limited or block.aggregates or block.distinct)
        if self.rows_returned is None or not (block.outermost and plain):
            return None
        return min(1.0, self.rows_returned / rows)

    def severity(self, rows: float) -> Severity:
        """``"warning"``, or ``"critical"`` from a hundred times a big table's rows on."""
        return "critical" if rows >= self.big * _CRITICAL_FACTOR and rows > 0 else "warning"

    def defeats_index(self, condition: Condition, table: str | None) -> bool:
        """Whether an index on the column cannot answer the condition as it is written."""
        if condition.kind not in _SARGABLE:
            return True
        if condition.expression is not None or condition.leading_wildcard:
            return True
        return self.is_type_mismatch(condition, table) or self.needs_pattern_index(condition, table)

    def is_type_mismatch(self, condition: Condition, table: str | None) -> bool:
        """Whether a text column is compared with a number where that turns the index off."""
        facts = self.facts_of(table)
        column = facts.column(condition.column) if facts and condition.column else None
        return (
            self.dialect.number_defeats_text_index
            and column is not None
            and condition.value == "number"
            and condition.kind in ("equal", "in", "range")
            and self.dialect.is_text(column.type)
        )

    def needs_pattern_index(self, condition: Condition, table: str | None) -> bool:
        """Whether a LIKE needs an index of another kind than the plain one."""
        if condition.kind != "like" or condition.column is None:
            return False
        facts = self.facts_of(table)
        column = facts.column(condition.column) if facts else None
        return column is None or self.dialect.pattern_needs(column) is not None


def amount(rows: float) -> str:
    """A number of rows in words: two or three figures of it, thousands apart."""
    if rows < 1_000:
        return f"{rows:,.0f}"
    digits = len(str(int(rows))) - 3
    return f"{round(rows, -digits):,.0f}"
