"""SQLite: indexes tried in a copy of the schema, without its rows.

The copy is a database in memory with the tables that a statement names, their indexes and their
statistics. What ANALYZE would say of an index that does not exist is estimated from a sample of the
rows. The user's database is only read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sa_perf.dialects.dbapi import fetch
from sa_perf.dialects.index_trials.base import IndexTrial, TrialPlan
from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.dialects.index_trials.sqlite_conditions import Block, read_blocks
from sa_perf.dialects.index_trials.sqlite_costs import CostModel, Table
from sa_perf.dialects.index_trials.sqlite_rows import TableRows
from sa_perf.dialects.index_trials.sqlite_shadow import IndexPart, Shadow
from sa_perf.dialects.index_trials.sqlite_sizes import index_bytes
from sa_perf.dialects.index_trials.sqlite_source import (
    SchemaObject,
    SourceSchema,
    quoted,
    read_schema,
    schema_versions,
)
from sa_perf.dialects.index_trials.sqlite_statistics import Statistics, key_expression
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.plan import Plan

__all__ = ["SQLiteTrial"]

_MAX_BLOCKS = 500
_MAX_REPAIRS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A way in which the database may be: a copy, and whether ANALYZE has run in it."""

    shadow: Shadow
    analyzed: bool


class SQLiteTrial(IndexTrial):
    """Tries indexes in a database in memory that has the schema and the statistics.

    An index counts as used if the planner takes it whether ANALYZE runs after it was made or not;
    one that it takes only after ANALYZE counts too, with a note; one that ANALYZE would end does
    not.
    """

    def __init__(
        self,
        dialect: Dialect,
        dbapi_connection: DBAPIConnection,
        facts: Mapping[str, TableFacts],
        *,
        timeout_seconds: float = 2.0,
    ) -> None:
        super().__init__(dialect, dbapi_connection, facts, timeout_seconds=timeout_seconds)
        self._source: SourceSchema | None = None
        self._statistics: Statistics | None = None
        self._as_is: _State | None = None
        self._analyzed: _State | None = None
        self._blocks: dict[str, list[Block]] = {}
        self._waited: int | None = None

    @property
    def unverified(self) -> str | None:
        """Why the schema cannot be copied now; None where it can."""
        try:
            self._schema()
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
        """See `IndexTrial.plan`. Takes about 1 ms, and 50 ms more for a table's first sample."""
        self.dialect.require_explainable(statement)
        source = self._schema()
        text = self.dialect.lexer.rewrite(statement, self.dialect.paramstyle, lambda _: "?")
        objects = self._objects(source, statement)
        states = self._states()
        plans = []
        used = []
        for state in states:
            names = self._prepare(state, objects, indexes)
            plans.append(self._explain(state, text, objects))
            used.append({i for name, i in names.items() if _uses(plans[-1], name)})
        blocks = self._read(text, objects)
        costs = [
            self._cost(state, plan, blocks, rows_returned)
            for state, plan in zip(states, plans, strict=True)
        ]
        return self._verdict(statement, indexes, plans, used, costs)

    def matched_share(self, table: str, columns: Sequence[str]) -> float | None:
        """See `IndexTrial.matched_share`: by a sample of some 5,000 rows."""
        source = self._schema()
        found = self._find(source, table)
        if found is None or found.kind != "table":
            return None
        shadow = self._states()[0].shadow
        shadow.ensure([found])
        collations = {
            name.casefold(): part
            for index in shadow.indexes(found.schema, found.name)
            for part in index.parts
            if (name := part.column) is not None
        }
        with self._reading():
            sample = self._samples().sample(shadow, found.schema, found.name)
            if sample is None:
                return None
            parts = [
                collations.get(name.casefold(), IndexPart(column=name, expression=""))
                for name in columns
            ]
            return sample.share([key_expression(part) for part in parts])

    def size_bytes(self, index: IndexDefinition) -> int | None:
        """See `IndexTrial.size_bytes`: by the sizes of the keys in a sample, within a quarter."""
        source = self._schema()
        found = source.find(index.table, index.schema)
        if found is None or found.kind != "table":
            return None
        state = self._states()[0]
        names = self._prepare(state, [found], [index])
        made = next(i for i in state.shadow.indexes(found.schema, found.name) if i.name in names)
        with self._reading():
            sample = self._samples().sample(state.shadow, found.schema, found.name)
            pragma = f"PRAGMA {quoted(found.schema)}.page_size"
            page = int(str(fetch(self.dbapi_connection, pragma)[0][0]))
            return None if sample is None else index_bytes(state.shadow, made, sample, page)

    def close(self) -> None:
        """Forget the copies and the samples."""
        for state in (self._as_is, self._analyzed):
            if state is not None:
                state.shadow.close()
        self._forget()
        if self._waited is not None:
            waited, self._waited = self._waited, None
            with self._reading():
                fetch(self.dbapi_connection, f"PRAGMA busy_timeout = {waited}")

    # The user's database

    def _schema(self) -> SourceSchema:
        """The schema, read at the first question and the same since."""
        with self._reading():
            if self._waited is None:
                rows = fetch(self.dbapi_connection, "PRAGMA busy_timeout")
                self._waited = int(str(rows[0][0])) if rows else 0
                limit = max(1, round(self.timeout_seconds * 1_000))
                fetch(self.dbapi_connection, f"PRAGMA busy_timeout = {limit}")
            if self._source is None:
                self._source = read_schema(self.dbapi_connection)
                return self._source
            versions = schema_versions(self.dbapi_connection)
        if versions != self._source.versions:
            self.close()
            raise ExplainError(
                "the schema of the database has changed since it was copied; ask again"
            )
        return self._source

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what the driver says into an error that says what to do."""
        try:
            yield
        except (ExplainError, ExplainRefused):
            raise
        except Exception as error:
            reason = self.dialect.reason(error, "", None)
            if self.dialect.is_busy(error):
                reason += "; another connection writes, ask again when it has ended"
            message = f"cannot say, because the database cannot be read: {reason}"
            raise ExplainError(message) from error

    def _samples(self) -> Statistics:
        if self._statistics is None:
            self._statistics = Statistics(
                self.dbapi_connection, self._schema(), seconds=self.timeout_seconds / 2
            )
        return self._statistics

    def _states(self) -> tuple[_State, _State]:
        if self._as_is is None or self._analyzed is None:
            source = self._schema()
            self._as_is = _State(shadow=Shadow(source), analyzed=False)
            self._analyzed = _State(shadow=Shadow(source), analyzed=True)
        return self._as_is, self._analyzed

    def _forget(self) -> None:
        self._source = self._statistics = self._as_is = self._analyzed = None
        self._blocks.clear()

    def _find(self, source: SourceSchema, table: str) -> SchemaObject | None:
        whole = source.find(table)
        schema, _, name = table.rpartition(".")
        return whole or (source.find(name, schema) if schema else None)

    def _objects(self, source: SourceSchema, statement: str) -> list[SchemaObject]:
        """The tables and views that a statement may mean, and those that views are made of."""
        found: dict[tuple[str, str], SchemaObject] = {}
        waiting = [statement]
        while waiting:
            for item in source.named(self.dialect.lexer.words(waiting.pop())):
                key = (item.schema, item.name)
                if key not in found:
                    found[key] = item
                    if item.kind == "view" or source.settings.get("foreign_keys"):
                        waiting.append(item.sql)
        return list(found.values())

    # The copies

    def _prepare(
        self, state: _State, objects: Sequence[SchemaObject], indexes: Sequence[IndexDefinition]
    ) -> dict[str, IndexDefinition]:
        """Have tables, indexes and statistics in a copy; return the indexes by name."""
        shadow = state.shadow
        shadow.ensure(objects)
        taken = {i.name for found in shadow.source.indexes.values() for i in found}
        names: dict[str, IndexDefinition] = {}
        wanted: dict[str, tuple[str, str, str]] = {}
        for index in dict.fromkeys(indexes):
            place = shadow.source.find(index.table, index.schema)
            if place is None or place.kind != "table":
                raise ExplainRefused(f"no index can be made on {index.table!r}: it is no table")
            shadow.ensure([place])
            if index.include:
                raise ExplainRefused("SQLite has no INCLUDE; name the columns as keys")
            name = _free_name(index.name, taken)
            taken.add(name)
            names[name] = index
            sql = replace(index, schema=None, table=place.name).create_sql(self.dialect, name=name)
            head = "CREATE INDEX "
            wanted[name] = (
                place.schema, place.name, f"{head}{quoted(place.schema)}.{sql.removeprefix(head)}"
            )  # fmt: skip
        shadow.install(wanted)
        self._load(state, objects)
        return names

    def _load(self, state: _State, objects: Sequence[SchemaObject]) -> None:
        """Statistics of the tables that a copy has, as they are or as ANALYZE would make them."""
        shadow = state.shadow
        for schema in tuple(shadow.stale):
            tables = shadow.tables(schema)
            with self._reading():
                rows = [
                    row
                    for table in tables
                    for row in (
                        self._samples().analyzed(shadow, schema, table)
                        if state.analyzed
                        else self._samples().written(schema, table)
                    )
                ]
            samples = [
                row
                for table in tables
                for row in shadow.source.samples.get((schema.casefold(), table.casefold()), ())
            ]
            shadow.load_statistics(schema, rows, samples)

    def _explain(self, state: _State, text: str, objects: Sequence[SchemaObject]) -> Plan:
        words = {item.name for item in objects}
        for attempt in range(_MAX_REPAIRS):
            try:
                return self.dialect.explain(state.shadow.connection, text, paramstyle="qmark")
            except ExplainError as error:
                cause = error.__cause__
                reason = state.shadow.refusal(words)
                if reason is not None:
                    raise ExplainRefused(f"cannot say, because {reason}") from error
                if attempt + 1 == _MAX_REPAIRS or cause is None or not state.shadow.repair(cause):
                    raise
        raise ExplainError("cannot say, because too much is missing in a copy of the schema")

    # The verdict

    def _verdict(
        self,
        statement: str,
        indexes: Sequence[IndexDefinition],
        plans: Sequence[Plan],
        used: Sequence[set[IndexDefinition]],
        costs: Sequence[float],
    ) -> TrialPlan:
        as_is, analyzed = used
        later = analyzed - as_is
        notes = tuple(
            f"{self.dialect.analyze_command(table)} must run after the index is made."
            for table in dict.fromkeys(i.table for i in indexes if i in later)
        )
        chosen = 1 if later or (as_is - analyzed) else 0
        if not indexes:
            cost = min(costs)
        elif analyzed and not later:
            cost = max(costs)
        else:
            cost = costs[chosen]
        plan = replace(plans[chosen], statement=self.dialect.lexer.redact(statement))
        kept = tuple(i for i in dict.fromkeys(indexes) if i in analyzed)
        return TrialPlan(plan=plan, cost=cost, used=kept, notes=(*notes, *self._library_note()))

    def _library_note(self) -> tuple[str, ...]:
        library = self._schema().library
        if library == sqlite3.sqlite_version:
            return ()
        return (f"Tried in SQLite {sqlite3.sqlite_version}; the database's driver has {library}.",)

    def _read(self, text: str, objects: Sequence[SchemaObject]) -> list[Block]:
        if text not in self._blocks:
            if len(self._blocks) >= _MAX_BLOCKS:
                self._blocks.clear()
            shadow = self._states()[0].shadow
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

    def _cost(
        self, state: _State, plan: Plan, blocks: Sequence[Block], rows_returned: float | None
    ) -> float:
        with self._reading():
            model = CostModel(self._tables(state.shadow), blocks, rows_returned=rows_returned)
            return model.cost(plan.root)

    def _tables(self, shadow: Shadow) -> Callable[[str], Table | None]:
        def table(name: str) -> Table | None:
            found = shadow.source.find(name)
            if found is None or found.kind == "view":
                return None
            sample = self._samples().sample(shadow, found.schema, found.name)
            indexes = {i.name: i for i in shadow.indexes(found.schema, found.name)}
            key = shadow.primary_key(found.schema, found.name)
            unique = {i.parts[0].column for i in indexes.values() if i.unique and len(i.parts) == 1}
            unique |= set(key) if len(key) == 1 else set()
            return Table(
                rows=lambda conditions, **more: TableRows(sample, conditions, **more),
                unique=frozenset(column.casefold() for column in unique if column is not None),
                indexes=indexes,
            )

        return table


def _uses(plan: Plan, name: str) -> bool:
    return any(node.index == name for node in plan.root.walk())


def _free_name(name: str, taken: set[str]) -> str:
    free = name
    number = 2
    while free in taken:
        free = f"{name}_{number}"
        number += 1
    return free
