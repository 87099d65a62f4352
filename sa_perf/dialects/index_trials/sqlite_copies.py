"""A SQLite database with an index more, before ANALYZE and after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.dialects.index_trials.sqlite_loops import Table
from sa_perf.dialects.index_trials.sqlite_rows import TableRows
from sa_perf.dialects.index_trials.sqlite_shadow import Shadow
from sa_perf.dialects.index_trials.sqlite_source import SchemaObject, quoted
from sa_perf.dialects.index_trials.sqlite_statistics import Statistics
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.plan import Plan

__all__ = ["Copy", "objects_of", "used_in"]

_MAX_REPAIRS = 20
_CREATE = "CREATE INDEX "


class Copy:
    """A shadow of the schema in one state.

    Args:
        dialect: of the database.
        shadow: the copy.
        statistics: of the database.
        analyzed: ANALYZE has run in this state.
    """

    def __init__(
        self, dialect: Dialect, shadow: Shadow, statistics: Statistics, *, analyzed: bool
    ) -> None:
        self.shadow = shadow
        self._dialect = dialect
        self._statistics = statistics
        self._analyzed = analyzed
        indexes = shadow.source.indexes.values()
        self._names = {name for _, name in shadow.source.objects}
        self._names |= {index.name.casefold() for made in indexes for index in made}

    def install(
        self, objects: Sequence[SchemaObject], indexes: Sequence[IndexDefinition]
    ) -> dict[str, IndexDefinition]:
        """Have tables, indexes and statistics; return the indexes by their names here.

        Raises:
            ExplainRefused: an index cannot be made.
        """
        shadow = self.shadow
        shadow.ensure(objects)
        taken: set[str] = set()
        names: dict[str, IndexDefinition] = {}
        wanted: dict[str, tuple[str, str, str]] = {}
        for index in dict.fromkeys(indexes):
            place = self._place(index)
            name = _free_name(index.name, taken, self._names)
            taken.add(name.casefold())
            names[name] = index
            plain = replace(index, schema=None, table=place.name)
            sql = plain.create_sql(self._dialect, name=name).removeprefix(_CREATE)
            wanted[name] = (place.schema, place.name, f"{_CREATE}{quoted(place.schema)}.{sql}")
        shadow.install(wanted)
        self._load()
        return names

    def explain(self, statement: str, objects: Sequence[SchemaObject]) -> Plan:
        """The plan of a statement whose parameters are all ``?``, for any values.

        Raises:
            ExplainRefused: what it needs could not be copied.
            ExplainError: it has no plan.
        """
        words = {item.name for item in objects}
        for attempt in range(_MAX_REPAIRS):
            try:
                return self._dialect.explain(self.shadow.connection, statement, paramstyle="qmark")
            except ExplainError as error:
                reason = self.shadow.refusal(words)
                if reason is not None:
                    raise ExplainRefused(f"cannot say, because {reason}") from error
                cause = error.__cause__
                if attempt + 1 == _MAX_REPAIRS or cause is None or not self.shadow.repair(cause):
                    raise
        raise ExplainError("cannot say, because too much is missing in a copy of the schema")

    def tables(self) -> Callable[[str], Table | None]:
        """What costs are made of, by a table's name."""
        known: dict[str, Table | None] = {}

        def table(name: str) -> Table | None:
            if name not in known:
                known[name] = self._table(name)
            return known[name]

        return table

    def _table(self, name: str) -> Table | None:
        shadow = self.shadow
        found = shadow.source.find(name)
        if found is None or found.kind == "view":
            return None
        schema, table = found.schema, found.name
        sample = self._statistics.sample(shadow, schema, table)
        indexes = shadow.indexes(schema, table)
        key = shadow.primary_key(schema, table)
        by_rowid = shadow.has_rowid(schema, table)
        single = {i.parts[0].column for i in indexes if i.unique and len(i.parts) == 1}
        single |= set(key) if len(key) == 1 else set()
        by_name = {i.name: i for i in indexes}
        if not by_rowid:
            made = [i for i in indexes if tuple(part.column for part in i.parts) == key]
            by_name.update(("PRIMARY KEY", i) for i in made if not i.made)
        names = {name.casefold() for name in key} if by_rowid and len(key) == 1 else set()
        return Table(
            rows=lambda conditions, **more: TableRows(sample, conditions, key=names, **more),
            unique=frozenset(column.casefold() for column in single if column is not None),
            indexes=by_name,
            tried=shadow.tried,
        )

    def _place(self, index: IndexDefinition) -> SchemaObject:
        place = self.shadow.source.find(index.table, index.schema)
        if place is None or place.kind != "table":
            raise ExplainRefused(f"no index can be made on {index.table!r}: it is no table")
        self.shadow.ensure([place])
        reason = self.shadow.refusal([place.name])
        if reason is not None:
            raise ExplainRefused(f"cannot say, because {reason}")
        return place

    def _load(self) -> None:
        """Statistics of tables that have changed, as they are or as ANALYZE would make them."""
        shadow, statistics = self.shadow, self._statistics
        changed = sorted(shadow.stale)
        for schema, table in changed:
            rows = (
                statistics.analyzed(shadow, schema, table)
                if self._analyzed
                else statistics.written(schema, table)
            )
            samples = shadow.source.samples.get((schema.casefold(), table.casefold()), [])
            shadow.write_statistics(schema, table, rows, samples)
        for schema in {schema for schema, _ in changed}:
            shadow.load_statistics(schema)


def objects_of(
    words: Callable[[str], set[str]], statement: str, shadow: Shadow
) -> list[SchemaObject]:
    """The tables and views that a statement may mean, and those that views are made of.

    Where foreign keys are enforced, those that its tables refer to as well.

    Args:
        words: every name in a text.
        statement: of the database.
        shadow: whose source knows them.
    """
    found: dict[tuple[str, str], SchemaObject] = {}
    waiting = [statement]
    source = shadow.source
    while waiting:
        for item in source.named(words(waiting.pop())):
            key = (item.schema, item.name)
            if key not in found:
                found[key] = item
                if item.kind == "view" or source.settings.get("foreign_keys"):
                    waiting.append(item.sql)
    return list(found.values())


def used_in(plan: Plan, names: Mapping[str, IndexDefinition]) -> set[IndexDefinition]:
    """Those of the indexes that a plan uses."""
    nodes = {node.index for node in plan.root.walk()}
    return {index for name, index in names.items() if name in nodes}


def _free_name(name: str, *taken: set[str]) -> str:
    free = name
    number = 2
    while any(free.casefold() in names for names in taken):
        free = f"{name}_{number}"
        number += 1
    return free
