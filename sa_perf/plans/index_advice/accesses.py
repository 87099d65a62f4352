"""What each table of a statement is asked for, as keys of indexes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sa_perf.dialects import Dialect, TableFacts
from sa_perf.dialects.index_trials.definition import IndexKey
from sa_perf.plans.reading import Block, Condition, OrderKey, Reading

__all__ = ["Access", "Tables", "accesses"]

_EQUALITIES = frozenset({"equal", "in", "null", "in_query"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables of a workload that the catalog knows.

    Attributes:
        facts: by name in lower case, without schema; without what stands for several tables.
        schemas: of those that statements write with one, likewise.
    """

    facts: Mapping[str, TableFacts]
    schemas: Mapping[str, str]

    @classmethod
    def of(cls, found: Mapping[str, TableFacts]) -> Tables:
        """Tables by the names that statements give them, ``schema.name`` or ``name``."""
        by_name: dict[str, set[str]] = {}
        for written in found:
            by_name.setdefault(written.rpartition(".")[2].casefold(), set()).add(written)
        facts, schemas = {}, {}
        for name, all_written in by_name.items():
            if len({one.casefold() for one in all_written}) > 1:
                continue
            written = all_written.pop()
            facts[name] = found[written]
            schema = written.rpartition(".")[0]
            if schema:
                schemas[name] = schema
        return cls(facts=facts, schemas=schemas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one block of a statement asks one table for.

    Attributes:
        schema: of the table, where statements give it.
        facts: of the table.
        equal: keys that WHERE holds equal to one value.
        listed: keys that it holds equal to one of several values.
        joined: keys that a join holds equal to columns of another table.
        ranges: keys that it bounds, or whose beginning a LIKE gives.
        bounds: of these, those that it bounds.
        branches: keys of an OR, each branch's first.
        order: of the ORDER BY, where all of it is the table's; else empty.
        group: of the GROUP BY or the DISTINCT, likewise.
        extreme: of the only MIN or MAX of a block that does not group, likewise.
        constants: conditions that are alike in each call -> columns that they are about; no
            ranges, whose ends move with time.
        needed: every column of the table that the block names; None if that is not clear.
        limited: it takes no more than some rows.
        plain: it is the whole statement: one table, and all rows that its conditions keep.
        filtered: of what an index finds in the right order, a condition that it does not answer may
            throw away most, so a LIMIT need not end the walk soon.
    """

    facts: TableFacts
    schema: str | None = None
    equal: tuple[IndexKey, ...] = ()
    listed: tuple[IndexKey, ...] = ()
    joined: tuple[IndexKey, ...] = ()
    ranges: tuple[IndexKey, ...] = ()
    bounds: tuple[IndexKey, ...] = ()
    branches: tuple[IndexKey, ...] = ()
    order: tuple[IndexKey, ...] = ()
    group: tuple[IndexKey, ...] = ()
    extreme: tuple[IndexKey, ...] = ()
    constants: Mapping[str, str | None] | None = None
    needed: frozenset[str] | None = None
    limited: bool = False
    plain: bool = False
    filtered: bool = False


def accesses(reading: Reading, *, dialect: Dialect, tables: Tables) -> Iterator[Access]:
    """Each table of each block; those without facts (views, CTEs, functions) are left out."""
    for block in reading.blocks:
        for alias, table in block.tables.items():
            name = table.casefold()
            known = tables.facts.get(name)
            if known is not None:
                yield _Reader(block, alias, known, dialect).access(tables.schemas.get(name))


class _Reader:
    def __init__(self, block: Block, alias: str, facts: TableFacts, dialect: Dialect) -> None:
        self._block = block
        self._alias = alias
        self._facts = facts
        self._dialect = dialect

    def access(self, schema: str | None) -> Access:
        block, alias = self._block, self._alias
        conditions = block.of(alias)
        needed = block.columns
        return Access(
            facts=self._facts,
            schema=schema,
            equal=self._of(conditions, lambda one: one.kind in ("equal", "null")),
            listed=self._of(conditions, lambda one: one.kind in ("in", "in_query")),
            joined=self._columns(pair.column for pair in block.joins if pair.table == alias),
            ranges=self._of(conditions, lambda one: one.kind in ("range", "row_range", "like")),
            bounds=self._of(conditions, lambda one: one.kind in ("range", "row_range")),
            branches=self._branches(conditions),
            order=self._sorted_by(block.order),
            group=self._sorted_by(block.group) or self._distinct(),
            extreme=() if block.group else self._sorted_by(block.extremes[:1]),
            constants={one.constant: one.column for one in conditions if one.constant is not None},
            needed=None
            if needed is None
            else frozenset(column for name, column in needed if name == alias),
            limited=block.limited,
            plain=self._is_plain(),
            filtered=self._is_filtered(),
        )

    def _is_plain(self) -> bool:
        block = self._block
        gathers = block.aggregates or block.distinct
        return block.outermost and block.sources == 1 and not (block.limited or gathers)

    def _is_filtered(self) -> bool:
        ordered = [key.column for key in self._block.order if key.table == self._alias]
        for one in self._block.conditions:
            mine = one.table == self._alias and self._key(one) is not None
            if one.constant is not None or (mine and one.kind in ("equal", "null")):
                continue
            if mine and one.kind in ("range", "row_range") and one.column in ordered[:1]:
                continue
            # A page behind a row, as OR has it: a < ? OR a = ? AND id < ?
            seeks = one.kind == "or" and one.table == self._alias and ordered[:1]
            if not (seeks and ordered[0] in one.columns and one.columns <= {*ordered}):
                return True
        return False

    def _of(
        self, conditions: tuple[Condition, ...], wanted: Callable[[Condition], bool]
    ) -> tuple[IndexKey, ...]:
        keys = (self._key(one) for one in conditions if wanted(one))
        return tuple(dict.fromkeys(key for key in keys if key is not None))

    def _branches(self, conditions: tuple[Condition, ...]) -> tuple[IndexKey, ...]:
        """The first key of each branch; an OR of which one branch has none is answered by none."""
        found: list[IndexKey] = []
        for condition in conditions:
            keys = [self._key(one) for one in condition.parts]
            if condition.kind == "or" and None not in keys:
                found += [key for key in keys if key is not None]
        return tuple(dict.fromkeys(found))

    def _key(self, condition: Condition) -> IndexKey | None:
        """The key by which an index answers a condition as it is written; None if none does."""
        if condition.column is None or condition.kind not in (
            *_EQUALITIES,
            "range",
            "row_range",
            "like",
        ):
            return None
        column = self._facts.column(condition.column)
        if column is None:
            return None
        if condition.expression is not None:
            return self._expression(condition)
        suffix = ""
        if condition.kind == "like":
            if condition.leading_wildcard is not False or condition.ignores_case:
                return None
            suffix = self._dialect.pattern_needs(column) or ""
        text = self._dialect.is_text(column.type)
        compared_as_number = condition.value == "number" and condition.kind != "null"
        if text and compared_as_number and self._dialect.number_defeats_text_index:
            return None
        return self._plain(condition.column, suffix)

    def _expression(self, condition: Condition) -> IndexKey | None:
        if condition.literals or not self._dialect.expression_indexes:
            return None
        if condition.kind == "like" and not (
            self._dialect.pattern_indexes_on_expressions and condition.leading_wildcard is False
        ):
            return None
        suffix = ""
        if condition.kind == "like":
            column = self._facts.column(condition.column or "")
            suffix = (self._dialect.pattern_needs(column) if column else None) or ""
        return IndexKey(expression=condition.expression, suffix=suffix)

    def _plain(self, name: str, suffix: str = "") -> IndexKey | None:
        column = self._facts.column(name)
        if column is None or not self._dialect.is_indexable(column.type):
            return None
        return IndexKey(column=column.name, suffix=suffix)

    def _columns(self, names: Iterator[str]) -> tuple[IndexKey, ...]:
        keys = (self._plain(name) for name in names)
        return tuple(dict.fromkeys(key for key in keys if key is not None))

    def _sorted_by(self, keys: tuple[OrderKey, ...]) -> tuple[IndexKey, ...]:
        """Keys of one table; none if another table or an expression is among them."""
        if any(key.table != self._alias or key.column is None for key in keys):
            return ()
        # An index can be walked backwards, so only mixed directions need DESC.
        mixed = len({key.descending for key in keys}) > 1
        made = []
        for key in keys:
            plain = self._plain(key.column or "")
            if plain is None:
                return ()
            descending = key.descending and mixed
            made.append(IndexKey(column=plain.column, descending=descending))
        return tuple(dict.fromkeys(made))

    def _distinct(self) -> tuple[IndexKey, ...]:
        """The columns of a SELECT DISTINCT over one table, where it has few."""
        block = self._block
        if not block.distinct or block.sources != 1 or not block.columns:
            return ()
        asked = {one.column for one in block.conditions}
        names = sorted(column for _, column in block.columns if column not in asked)
        return self._columns(iter(names)) if len(names) <= 2 else ()
