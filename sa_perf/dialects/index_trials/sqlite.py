"""SQLite: indexes tried in a copy of the schema, without its rows.

The copy is a database in memory with the tables that a statement names, their indexes and their
statistics. What ANALYZE would say of an index that does not exist is estimated from a sample of the
rows. The user's database is only read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sa_perf.dialects.index_trials.base import IndexTrial, TrialPlan
from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.dialects.index_trials.sqlite_conditions import Block, read_blocks
from sa_perf.dialects.index_trials.sqlite_copies import Copy, objects_of, used_in
from sa_perf.dialects.index_trials.sqlite_costs import CostModel
from sa_perf.dialects.index_trials.sqlite_guard import GuardedDatabase
from sa_perf.dialects.index_trials.sqlite_shadow import Shadow
from sa_perf.dialects.index_trials.sqlite_sizes import index_bytes
from sa_perf.dialects.index_trials.sqlite_source import SchemaObject, SourceSchema
from sa_perf.dialects.index_trials.sqlite_statistics import Statistics, key_expression
from sa_perf.dialects.index_trials.sqlite_variants import variants
from sa_perf.errors import ExplainError

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.plan import Plan

__all__ = ["SQLiteTrial"]

_MAX_BLOCKS = 500
_READING = frozenset({"select", "with", "values"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A statement in one copy.

    Attributes:
        plan: for any values.
        used: indexes that it uses, for values that the planner looks at too.
        costs: of the plan, and of those for such values.
    """

    plan: Plan
    used: set[IndexDefinition]
    costs: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copies:
    source: SourceSchema
    statistics: Statistics
    as_is: Copy
    analyzed: Copy


class SQLiteTrial(IndexTrial):
    """Tries indexes in a database in memory that has the schema and the statistics.

    An index counts as used if the planner takes it whether ANALYZE runs after it was made or not;
    one that it takes only after ANALYZE counts too, with a note; one that ANALYZE would end does
    not. Of several costs, without an index the least is told, with one the greatest.
    """

    #: The prices of rows were measured in memory.
    covering_worth = 0.5

    def __init__(
        self,
        dialect: Dialect,
        dbapi_connection: DBAPIConnection,
        facts: Mapping[str, TableFacts],
        *,
        timeout_seconds: float = 2.0,
    ) -> None:
        super().__init__(dialect, dbapi_connection, facts, timeout_seconds=timeout_seconds)
        self._database = GuardedDatabase(dialect, dbapi_connection, timeout_seconds=timeout_seconds)
        self._made: _Copies | None = None
        self._blocks: dict[str, list[Block]] = {}

    @property
    def unverified(self) -> str | None:
        """Why the schema cannot be copied now; None where it can."""
        try:
            self._copies()
        except ExplainError as error:
            return str(error)
        return None

    def plan(
        self,
        statement: str,
        indexes: Sequence[IndexDefinition] = (),
        *,
        rows_returned: float | None = None,
    ) -> TrialPlan:
        """See `IndexTrial.plan`. Takes some ms, and some 50 ms more for a table's first sample."""
        kind = self.dialect.require_explainable(statement)
        copies = self._copies()
        lexer = self.dialect.lexer
        text = lexer.rewrite(statement, self.dialect.paramstyle, lambda _: "?")
        # SQLite takes names beside the driver's own placeholders.
        text = lexer.rewrite(text, "named", lambda _: "?")
        objects = objects_of(self.dialect.lexer.words, statement, copies.as_is.shadow)
        writes = kind not in _READING
        tried = [
            self._try(copy, text, objects, indexes, rows_returned, writes=writes)
            for copy in (copies.as_is, copies.analyzed)
        ]
        verdict = self._verdict(tried, indexes)
        plan = replace(verdict.plan, statement=self.dialect.lexer.redact(statement))
        return replace(verdict, plan=plan)

    def matched_share(self, table: str, columns: Sequence[str]) -> float | None:
        """See `IndexTrial.matched_share`: by a sample of some 5,000 rows."""
        copies = self._copies()
        found = _found(copies.source, table)
        if found is None or found.kind != "table":
            return None
        shadow = copies.as_is.shadow
        shadow.ensure([found])
        with self._database.reading():
            sample = copies.statistics.sample(shadow, found.schema, found.name)
            if sample is None:
                return None
            parts = shadow.parts(found.schema, found.name, columns)
            return None if parts is None else sample.share([key_expression(p) for p in parts])

    def size_bytes(self, index: IndexDefinition) -> int | None:
        """See `IndexTrial.size_bytes`: by the sizes of the keys in a sample, within a quarter."""
        copies = self._copies()
        found = copies.source.find(index.table, index.schema)
        if found is None or found.kind != "table":
            return None
        shadow = copies.as_is.shadow
        with self._database.reading():
            names = copies.as_is.install([found], [index])
            made = next(i for i in shadow.indexes(found.schema, found.name) if i.name in names)
            sample = copies.statistics.sample(shadow, found.schema, found.name)
            if sample is None:
                return None
            return index_bytes(shadow, made, sample, self._database.page_bytes(found.schema))

    def close(self) -> None:
        """Forget the copies and the samples."""
        self._forget()
        self._database.release()

    def _forget(self) -> None:
        if self._made is not None:
            self._made.as_is.shadow.close()
            self._made.analyzed.shadow.close()
        self._made = None
        self._blocks.clear()

    def _copies(self) -> _Copies:
        """The copies; none are kept of a schema that has changed."""
        try:
            source = self._database.schema()
        except ExplainError:
            self._forget()
            raise
        if self._made is None or self._made.source is not source:
            statistics = Statistics(self.dbapi_connection, source, seconds=self.timeout_seconds / 2)
            as_is, analyzed = (
                Copy(self.dialect, Shadow(source), statistics, analyzed=analyzed)
                for analyzed in (False, True)
            )
            self._made = _Copies(
                source=source, statistics=statistics, as_is=as_is, analyzed=analyzed
            )
        return self._made

    def _try(
        self,
        copy: Copy,
        text: str,
        objects: Sequence[SchemaObject],
        indexes: Sequence[IndexDefinition],
        rows_returned: float | None,
        *,
        writes: bool,
    ) -> _Tried:
        with self._database.reading():
            names = copy.install(objects, indexes)
        plan = copy.explain(text, objects)
        predicates = [
            index.predicate
            for item in objects
            for index in copy.shadow.indexes(item.schema, item.name)
            if index.predicate is not None
        ]
        others = [
            copy.explain(other, objects) for other in variants(text, self.dialect.lexer, predicates)
        ]
        used = used_in(plan, names)
        for other in others:
            used &= used_in(other, names)
        blocks = self._read(text, objects, copy.shadow)
        model = CostModel(copy.tables(), blocks, rows_returned=rows_returned, writes=writes)
        with self._database.reading():
            costs = tuple(model.cost(one.root) for one in (plan, *others))
        return _Tried(plan=plan, used=used, costs=costs)

    def _verdict(self, tried: Sequence[_Tried], indexes: Sequence[IndexDefinition]) -> TrialPlan:
        as_is, analyzed = tried
        later = analyzed.used - as_is.used
        ended = as_is.used - analyzed.used
        notes = [
            f"{self.dialect.analyze_command(*table)} must run after the index is made."
            for table in dict.fromkeys((i.table, i.schema) for i in indexes if i in later)
        ]
        library = self._copies().source.library
        if library != sqlite3.sqlite_version:
            notes.append(
                f"Tried in SQLite {sqlite3.sqlite_version}; the database's driver has {library}."
            )
        if not indexes:
            cost = min(*as_is.costs, *analyzed.costs)
        elif analyzed.used and not later:
            cost = max(*as_is.costs, *analyzed.costs)
        else:
            cost = max((analyzed if later or ended else as_is).costs)
        return TrialPlan(
            plan=(analyzed if later or ended else as_is).plan,
            cost=cost,
            used=tuple(i for i in dict.fromkeys(indexes) if i in analyzed.used),
            notes=tuple(notes),
        )

    def _read(self, text: str, objects: Sequence[SchemaObject], shadow: Shadow) -> list[Block]:
        if text not in self._blocks:
            if len(self._blocks) >= _MAX_BLOCKS:
                self._blocks.clear()
            columns = {
                item.name.casefold(): frozenset(
                    name.casefold() for name, _ in shadow.columns(item.schema, item.name)
                )
                for item in objects
            }
            texts = [text, *(item.sql for item in objects if item.kind == "view")]
            self._blocks[text] = [
                block
                for one in texts
                for block in read_blocks(one, lambda name: columns.get(name, frozenset()))
            ]
        return self._blocks[text]


def _found(source: SourceSchema, table: str) -> SchemaObject | None:
    """A table by the name that a statement gives it, with its schema or without."""
    schema, _, name = table.rpartition(".")
    return source.find(table) or (source.find(name, schema) if schema else None)
