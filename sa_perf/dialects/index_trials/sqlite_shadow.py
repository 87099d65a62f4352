"""A database in memory with the schema of another one, and no rows.

Tables are copied when a statement first names them, so that a schema of thousands costs nothing.
Triggers are left out: a plan does not show what they do.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.index_trials.sqlite_source import (
    SchemaObject,
    SourceSchema,
    catalog_name,
    quoted,
)
from sa_perf.errors import ExplainError, ExplainRefused

__all__ = ["IndexPart", "Shadow", "ShadowIndex"]

_MISSING = re.compile(r"no such (function|collation sequence|table|module|tokenizer): (.+)")
_MAX_REPAIRS = 50
_TOKEN = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|.", re.S
)
_DIRECTION = re.compile(r"\s+(?:ASC|DESC)\s*\Z", re.I)
_COLLATE = re.compile(r"\s+COLLATE\s+(\"(?:[^\"]|\"\")*\"|'[^']*'|\w+)\s*\Z", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPart:
    """One key of an index.

    Attributes:
        column: its name; None for an expression, ``"rowid"`` for the rowid.
        expression: SQL whose value is the key.
        collation: by which its texts are compared, in lower case.
    """

    column: str | None
    expression: str
    collation: str = "binary"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowIndex:
    """An index as it is in the shadow, made or tried.

    Attributes:
        schema: of its table.
        table: its table's name.
        name: its own.
        parts: keys, most significant first.
        predicate: condition of a partial index.
        unique: no two rows share a key.
        made: it has a name of its own in the catalog; else a constraint made it.
    """

    schema: str
    table: str
    name: str
    parts: tuple[IndexPart, ...]
    predicate: str | None = None
    unique: bool = False
    made: bool = True


class Shadow:
    """The copy.

    Args:
        source: what is copied.
    """

    def __init__(self, source: SourceSchema) -> None:
        self.source = source
        self._sqlite = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=16
        )
        self.connection = cast("DBAPIConnection", self._sqlite)
        for name, value in source.settings.items():
            self._sqlite.execute(f"PRAGMA {name} = {int(value)}")
        #: Schemas and tables whose statistics are waiting to be loaded.
        self.stale: set[tuple[str, str]] = set()
        self._attached = {"main", "temp"}
        self._done: set[tuple[str, str]] = set()
        self._failed: dict[tuple[str, str], str] = {}
        self._tried: dict[str, tuple[str, str, str]] = {}
        self._described: dict[tuple[str, str], tuple[ShadowIndex, ...]] = {}
        self._statistics: dict[str, set[str]] = {}
        self._by_rowid: dict[tuple[str, str], bool] = {}
        self._columns: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}

    def close(self) -> None:
        """Forget the copy."""
        self._sqlite.close()

    # Copying

    def ensure(self, objects: Iterable[SchemaObject]) -> None:
        """Copy tables and views with their indexes, unless that was done before.

        What cannot be copied is remembered: `refusal` tells why.
        """
        waiting = sorted(objects, key=lambda item: item.kind != "virtual")
        for item in waiting:
            key = (item.schema.casefold(), item.name.casefold())
            if key in self._done:
                continue
            self._done.add(key)
            owner = self.source.owner(item.name, item.schema) if item.kind == "table" else None
            if owner is not None:
                self.ensure([owner])
            self._copy(item, key)

    def refusal(self, words: Iterable[str]) -> str | None:
        """Why one of these could not be copied, as the end of a sentence; None if all were."""
        wanted = {word.casefold() for word in words}
        for (_, name), reason in self._failed.items():
            if name in wanted:
                return reason
        return None

    def _copy(self, item: SchemaObject, key: tuple[str, str]) -> None:
        if item.schema.casefold() not in self._attached:
            self._sqlite.execute(f"ATTACH ':memory:' AS {quoted(item.schema)}")
            self._attached.add(item.schema.casefold())
        if item.kind == "table" and self._exists(item):
            return  # a virtual table made it
        try:
            self.run(item.create_sql)
            for index in self.source.indexes.get(key, ()):
                self.run(index.create_sql)
        except (sqlite3.Error, ExplainRefused) as error:
            self._failed[key] = f"{item.kind} {item.name!r} could not be copied: {error}"
            return
        if item.kind != "view":
            self.stale.add((item.schema, item.name))

    def _exists(self, item: SchemaObject) -> bool:
        master = catalog_name(item.schema)
        sql = f"SELECT 1 FROM {master} WHERE lower(name) = lower(?)"  # noqa: S608 -- quoted names
        return bool(fetch(self.connection, sql, (item.name,)))

    def run(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run a statement; functions and collations that it misses are made up.

        Raises:
            sqlite3.Error: it fails for another reason.
        """
        for _ in range(_MAX_REPAIRS):
            try:
                return fetch(self.connection, sql, parameters)
            except sqlite3.Error as error:
                if not self.repair(error):
                    raise
        return fetch(self.connection, sql, parameters)

    def repair(self, error: BaseException) -> bool:
        """Make up the function or the collation that an error misses; whether it was one."""
        missing = _MISSING.search(str(error))
        if missing is None or not missing.group(2):
            return False
        name = missing.group(2).strip()
        try:
            if missing.group(1) == "function":
                self._sqlite.create_function(name, -1, _nothing, deterministic=True)
                return True
            if missing.group(1) == "collation sequence":
                self._sqlite.create_collation(name, _compared)
                return True
        except (sqlite3.Error, ValueError, UnicodeError):
            return False
        return False

    # Indexes on trial

    def install(self, wanted: Mapping[str, tuple[str, str, str]]) -> None:
        """Have these indexes on trial, and no others.

        Args:
            wanted: by name: schema, table, and the statement that makes it.

        Raises:
            ExplainRefused: one cannot be made, in SQLite's words.
        """
        for name, made in list(self._tried.items()):
            if wanted.get(name) != made:
                self._sqlite.execute(f"DROP INDEX {quoted(made[0])}.{quoted(name)}")
                del self._tried[name]
                self._changed(made[0], made[1])
        for name, (schema, table, sql) in wanted.items():
            if name not in self._tried:
                try:
                    self._sqlite.execute(sql)
                except sqlite3.Error as error:
                    raise ExplainRefused(f"the index {name!r} cannot be made: {error}") from error
                self._tried[name] = (schema, table, sql)
                self._changed(schema, table)

    def _changed(self, schema: str, table: str) -> None:
        self._described.pop((schema.casefold(), table.casefold()), None)
        self.stale.add((schema, table))

    @property
    def tried(self) -> frozenset[str]:
        """Names of the indexes on trial."""
        return frozenset(self._tried)

    # Statistics

    def write_statistics(
        self,
        schema: str,
        table: str,
        rows: Sequence[Sequence[object]],
        samples: Sequence[Sequence[object]],
    ) -> None:
        """Have these rows of ``sqlite_stat1`` and ``sqlite_stat4`` of a table, and no others.

        They count once `load_statistics` was called.
        """
        self.stale.discard((schema, table))
        if schema == "temp":
            return  # never has any: ANALYZE leaves temp out (src/analyze.c, sqlite3Analyze)
        place = quoted(schema)
        if schema not in self._statistics:
            if not rows:
                return
            fetch(self.connection, f"ANALYZE {place}")
            listed = f"SELECT name FROM {place}.sqlite_master WHERE name LIKE 'sqlite_stat_'"  # noqa: S608 -- quoted names
            self._statistics[schema] = {str(row[0]) for row in fetch(self.connection, listed)}
        for name, values in (("sqlite_stat1", rows), ("sqlite_stat4", samples)):
            if name in self._statistics[schema]:
                fetch(self.connection, f"DELETE FROM {place}.{name} WHERE tbl = ?", (table,))  # noqa: S608 -- quoted names
                self._sqlite.executemany(
                    f"INSERT INTO {place}.{name} VALUES "  # noqa: S608 -- quoted names
                    + ("(?, ?, ?)" if name == "sqlite_stat1" else "(?, ?, ?, ?, ?, ?)"),
                    values,
                )

    def load_statistics(self, schema: str) -> None:
        """Give the planner what was written."""
        if schema in self._statistics:
            fetch(self.connection, f"ANALYZE {quoted(schema)}.sqlite_master")

    # What is there

    def columns(self, schema: str, table: str) -> tuple[tuple[str, str], ...]:
        """Names and types of a table's columns, in its order; empty where there is none."""
        key = (schema.casefold(), table.casefold())
        if key not in self._columns:
            rows = fetch(self.connection, f"PRAGMA {quoted(schema)}.table_xinfo({quoted(table)})")
            self._columns[key] = tuple((str(row[1]), str(row[2] or "").upper()) for row in rows)
        return self._columns[key]

    def primary_key(self, schema: str, table: str) -> tuple[str, ...]:
        """Columns of the primary key, in its order."""
        rows = fetch(self.connection, f"PRAGMA {quoted(schema)}.table_xinfo({quoted(table)})")
        keys = sorted((int(str(row[5])), str(row[1])) for row in rows if row[5])
        return tuple(name for _, name in keys)

    def has_rowid(self, schema: str, table: str) -> bool:
        """Whether it is no WITHOUT ROWID table."""
        key = (schema.casefold(), table.casefold())
        if key not in self._by_rowid:
            self._by_rowid[key] = self._read_rowid(schema, table)
        return self._by_rowid[key]

    def _read_rowid(self, schema: str, table: str) -> bool:
        rows = fetch(self.connection, f"PRAGMA {quoted(schema)}.index_list({quoted(table)})")
        for row in rows:
            if row[3] == "pk":
                # The key's index of such a table is the table: its last column is no rowid.
                parts = f"PRAGMA {quoted(schema)}.index_xinfo({quoted(str(row[1]))})"
                return any(part[1] == -1 for part in fetch(self.connection, parts))
        return True

    def indexes(self, schema: str, table: str) -> tuple[ShadowIndex, ...]:
        """All indexes of a table, those on trial too."""
        key = (schema.casefold(), table.casefold())
        if key not in self._described:
            rows = fetch(self.connection, f"PRAGMA {quoted(schema)}.index_list({quoted(table)})")
            self._described[key] = tuple(self._describe(schema, table, row) for row in rows)
        return self._described[key]

    def parts(
        self, schema: str, table: str, columns: Sequence[str]
    ) -> tuple[IndexPart, ...] | None:
        """Columns as keys of an index, with their own collations; None if one is not there."""
        known = {name.casefold(): name for name, _ in self.columns(schema, table)}
        if not all(column.casefold() in known for column in columns):
            return None
        listed = ", ".join(quoted(known[column.casefold()]) for column in columns)
        place, name = quoted(schema), quoted("sa_perf_parts")
        fetch(self.connection, f"CREATE INDEX {place}.{name} ON {quoted(table)} ({listed})")
        try:
            rows = fetch(self.connection, f"PRAGMA {place}.index_list({quoted(table)})")
            row = next(row for row in rows if row[1] == "sa_perf_parts")
            return self._describe(schema, table, row).parts
        finally:
            fetch(self.connection, f"DROP INDEX {place}.{name}")

    def _describe(self, schema: str, table: str, row: Sequence[object]) -> ShadowIndex:
        name = str(row[1])
        master = catalog_name(schema)
        texts = fetch(
            self.connection,
            f"SELECT sql FROM {master} WHERE type = 'index' AND name = ?",  # noqa: S608 -- quoted names
            (name,),
        )
        sql = str(texts[0][0] or "") if texts else ""
        expressions, predicate = _read_index(sql)
        parts: list[IndexPart] = []
        info = fetch(self.connection, f"PRAGMA {quoted(schema)}.index_xinfo({quoted(name)})")
        for part in info:
            if not part[5]:
                continue
            column = None if part[1] == -2 else "rowid" if part[1] == -1 else str(part[2])
            text = "" if column is None else quoted(column)
            if column is None:
                with suppress(IndexError):
                    text = expressions[len(parts)]
            parts.append(
                IndexPart(column=column, expression=text, collation=str(part[4]).casefold())
            )
        return ShadowIndex(
            schema=schema,
            table=table,
            name=name,
            parts=tuple(parts),
            predicate=predicate if row[4] else None,
            unique=bool(row[2]),
            made=row[3] == "c",
        )


def _nothing(*_: object) -> None:
    raise ExplainError("a function of the application was called in a copy of its schema")


def _compared(one: str, other: str) -> int:
    return (one > other) - (one < other)


def _read_index(sql: str) -> tuple[list[str], str | None]:
    """The keys of a CREATE INDEX as SQL, without order and collation, and its condition."""
    parts: list[str] = []
    depth = 0
    begin = 0
    for token in _TOKEN.finditer(sql):
        text = token.group()
        if text == "(":
            depth += 1
            if depth == 1:
                begin = token.end()
        elif text == ")" or (text == "," and depth == 1):
            if depth == 1:
                key = _DIRECTION.sub("", sql[begin : token.start()].strip())
                parts.append(_COLLATE.sub("", key).strip())
                begin = token.end()
            depth -= text == ")"
            if depth == 0:
                break
    rest = re.match(r"\s*WHERE\s+(.*)\Z", sql[begin:], re.I | re.S)
    return parts, rest.group(1).strip() if rest else None
