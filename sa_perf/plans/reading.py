"""What a statement asks for, as far as the findings need it.

`sa_perf.plans.predicates` makes a `Reading` of a statement's text. It holds names and shapes, no
bind value, and no literal unless they were asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Block", "Condition", "ConditionKind", "JoinPair", "OrderKey", "Reading", "ValueKind"]

ConditionKind: TypeAlias = Literal[
    "equal",
    "in",
    "range",
    "row_range",
    "like",
    "null",
    "different",
    "not_in_query",
    "in_query",
    "or",
    "other",
]
ValueKind: TypeAlias = Literal["text", "number", "other", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One part of a WHERE or ON that AND joins to the others.

    Attributes:
        kind: what it compares with.
        table: alias of the only table that it is about; None if it is about several or none.
        column: the only column, where one side is that column or an expression of it.
        expression: the expression around the column, literals as ``?``; None for the bare column.
        function: name of the outermost function or ``"CAST"`` in it.
        literals: the expression holds literals or parameters, which ``expression`` does not show.
        constant: the whole condition, where it compares columns of one table with nothing that
            changes from call to call, e.g. ``deleted_at IS NULL``; else None.
        value: what the column is compared with.
        leading_wildcard: of a ``like``: the pattern begins with ``%`` or ``_``; None if unknown.
        ignores_case: of a ``like``: it is ILIKE.
        parts: of an ``or``: its branches.
        columns: of an ``or`` about one table: all that it names.
        query_column: of a ``not_in_query``: table and column that the subquery gives.
        query_narrowed: of a ``not_in_query``: the subquery has conditions of its own.
    """

    kind: ConditionKind
    table: str | None = None
    column: str | None = None
    expression: str | None = None
    function: str | None = None
    literals: bool = False
    constant: str | None = None
    value: ValueKind = "unknown"
    leading_wildcard: bool | None = None
    ignores_case: bool = False
    parts: tuple[Condition, ...] = ()
    columns: frozenset[str] = frozenset()
    query_column: tuple[str, str] | None = None
    query_narrowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPair:
    """Two columns of different tables that a join holds equal."""

    table: str
    column: str
    other_table: str
    other_column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderKey:
    """One expression of an ORDER BY or GROUP BY; ``column`` is None where it is no bare column."""

    table: str | None
    column: str | None
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One SELECT, UPDATE or DELETE, without those inside of it.

    Attributes:
        tables: alias in lower case -> table's name; subqueries and CTEs are left out.
        outermost: it is the statement itself, not a part of it.
        sources: number of things in FROM, subqueries and CTEs included.
        conditions: of WHERE, and of inner joins' ON.
        joins: pairs of columns that are held equal, both ways round.
        order: ORDER BY.
        group: GROUP BY.
        extremes: columns of which it takes the MIN or the MAX.
        limited: it has a LIMIT or FETCH FIRST.
        dropped_rows_at_least: power of ten below the OFFSET, 0 for none; None if unknown.
        has_offset: it has an OFFSET.
        aggregates: it groups or computes aggregates or window functions.
        distinct: SELECT DISTINCT.
        correlated: it names a table of the block around it.
        query: it is a SELECT.
        columns: alias and column of everything that is named; None if there is a ``*`` or a
            column that is not clear whose it is.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    outermost: bool = True
    sources: int = 0
    conditions: tuple[Condition, ...] = ()
    joins: tuple[JoinPair, ...] = ()
    order: tuple[OrderKey, ...] = ()
    group: tuple[OrderKey, ...] = ()
    extremes: tuple[OrderKey, ...] = ()
    limited: bool = False
    dropped_rows_at_least: int | None = 0
    has_offset: bool = False
    aggregates: bool = False
    distinct: bool = False
    correlated: bool = False
    query: bool = True
    columns: frozenset[tuple[str, str]] | None = None

    def of(self, alias: str) -> tuple[Condition, ...]:
        """The conditions on one table."""
        return tuple(one for one in self.conditions if one.table == alias.casefold())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All blocks of a statement, the outermost first; none if it could not be read."""

    blocks: tuple[Block, ...] = ()

    @property
    def outermost(self) -> Block | None:
        """The statement itself; None where it is a UNION or was not read."""
        return next((block for block in self.blocks if block.outermost), None)

    def block_of(self, alias: str, table: str) -> Block | None:
        """The only block in which this alias stands for this table; None if that is not clear."""
        found = [
            block
            for block in self.blocks
            if block.tables.get(alias.casefold(), "").casefold() == table.casefold()
        ]
        return found[0] if len(found) == 1 else None
