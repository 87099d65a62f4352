"""SQLite's schemas: main and what is attached.

PRAGMAs as tables, joined with sqlite_schema; beside them one look at the last rowid of each table.
SQLite counts no uses of indexes. https://sqlite.org/pragma.html#pragfunc
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.inventory.base import (
    CatalogReader,
    Record,
    counted,
    grouped,
    listed,
    reason_of,
)
from sa_perf.dialects.inventory.facts import (
    Counter,
    ForeignKey,
    IndexPart,
    Inventory,
    SchemaColumn,
    SchemaIndex,
    SchemaTable,
)
from sa_perf.dialects.sqlite_catalog import key_texts, predicate_of
from sa_perf.errors import InventoryError
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["SQLiteReader", "refuse_missing_file"]

#: https://sqlite.org/autoinc.html
_LAST_ROWID = 2**63 - 1
#: Stands for the column of an expression.
_EXPRESSION = -2
_MOST_COUNTED = 10_000
_SCHEMAS = "SELECT name FROM pragma_database_list WHERE name <> 'temp' ORDER BY seq"
_TABLES = """
SELECT name, type, sql FROM {place}.sqlite_master
 WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name
"""
#: From 3.37 on. Shadow tables are parts of a virtual one.
_KINDS = "SELECT name FROM pragma_table_list WHERE schema = :schema AND type = 'shadow'"
_COLUMNS = """
SELECT m.name AS relation, c.name, c.type, c."notnull" AS required, c.pk
  FROM {place}.sqlite_master m JOIN pragma_table_xinfo(m.name, :schema) c
 WHERE m.type = 'table' AND m.sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY m.name, c.cid
"""
_INDEXES = """
SELECT m.name AS relation, i.name, i."unique" AS single, i.origin, x.name AS key, x.cid,
       x."desc" AS down, x.coll, s.sql, i.partial
  FROM {place}.sqlite_master m
  JOIN pragma_index_list(m.name, :schema) i
  JOIN pragma_index_xinfo(i.name, :schema) x
  LEFT JOIN {place}.sqlite_master s ON s.type = 'index' AND s.name = i.name
 WHERE m.type = 'table' AND m.sql NOT LIKE 'CREATE VIRTUAL%' AND x.key ORDER BY m.name, i.name,
       x.seqno
"""
_FOREIGN_KEYS = """
SELECT m.name AS relation, k.id, k."table" AS referred, k."from" AS own, k."to" AS other
  FROM {place}.sqlite_master m JOIN pragma_foreign_key_list(m.name, :schema) k
 WHERE m.type = 'table' AND m.sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY m.name, k.id, k.seq
"""
_HAS_TABLE = "SELECT count(*) AS number FROM {place}.sqlite_master WHERE name = :name"
_NUMBERED = "SELECT name, seq FROM {place}.sqlite_sequence"
_STATISTICS = "SELECT tbl, stat FROM {place}.sqlite_stat1"


class SQLiteReader(CatalogReader):
    """Reads the database file and what is attached to the connection."""

    def read(self, schemas: Sequence[str]) -> Inventory:
        """See `CatalogReader.read`."""
        known = [str(row["name"]) for row in self.rows(_SCHEMAS)]
        chosen = self.chosen(schemas, known) if schemas else known
        parts = [_Schema(self, schema) for schema in chosen]
        tables = [table for part in parts for table in part.tables()]
        keys = [key for part in parts for key in part.foreign_keys()]
        counters = [one for part in parts for one in part.counters()]
        if tables:
            self.unknown("never used indexes", "SQLite does not count how often one is used")
            self.unknown("sizes of indexes", "SQLite tells them only by reading the whole file")
        return Inventory(
            schemas=tuple(chosen),
            tables=tuple(tables),
            foreign_keys=tuple(keys),
            counters=tuple(counters),
            unknowns=tuple(self.unknowns),
            unanswered=frozenset(self.unanswered),
        )


class _Schema:
    """One database file."""

    def __init__(self, reader: SQLiteReader, schema: str) -> None:
        self._reader = reader
        self._schema = schema
        self._place = _quoted(schema)
        self._texts: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._keys: dict[str, list[str]] = {}
        self._last: dict[str, int | None] = {}

    def tables(self) -> list[SchemaTable]:
        """Tables, but none that is virtual or a part of such a one."""
        found = self._reader.rows(self._filled(_TABLES))
        self._tell_others(found)
        shadows = self._shadows()
        self._texts = {
            str(row["name"]): str(row["sql"] or "")
            for row in found
            if row["type"] == "table" and row["name"] not in shadows and not _is_virtual(row)
        }
        self._names = {name.lower(): name for name in self._texts}
        columns = grouped(self._asked("columns", _COLUMNS, part="columns"), "relation")
        indexes = grouped(self._asked("indexes", _INDEXES, part="indexes"), "relation")
        self._keys = {
            name: [row["name"] for row in sorted(rows, key=lambda row: row["pk"]) if row["pk"]]
            for name, rows in columns.items()
        }
        self._last = {name: self._last_rowid(name) for name in self._texts}
        rows = self._statistics()
        return [
            self._table(name, columns.get(name, []), indexes.get(name, []), rows.get(name))
            for name in self._texts
        ]

    def foreign_keys(self) -> Iterator[ForeignKey]:
        """Foreign keys; one that names no columns refers to the primary key."""
        rows = self._asked("foreign keys", _FOREIGN_KEYS, part="foreign keys")
        groups: dict[tuple[str, int], list[Record]] = {}
        for row in rows:
            groups.setdefault((row["relation"], row["id"]), []).append(row)
        for (table, _), parts in groups.items():
            written = str(parts[0]["referred"])
            referred = self._names.get(written.lower(), written)
            named = [row["other"] for row in parts]
            yield ForeignKey(
                name="",
                schema=self._schema,
                table=table,
                columns=tuple(row["own"] for row in parts),
                referred_schema=self._schema,
                referred_table=referred,
                referred_columns=tuple(
                    self._keys.get(referred, []) if None in named else map(str, named)
                ),
            )

    def counters(self) -> Iterator[Counter]:
        """The last rowid of each table; of AUTOINCREMENT the last that was ever given out."""
        numbered: dict[str, int] = {}
        has = self._asked("sequences", _HAS_TABLE, name="sqlite_sequence")
        if has and has[0]["number"]:
            rows = self._asked("sequences", _NUMBERED)
            numbered = {row["name"]: row["seq"] for row in rows if isinstance(row["seq"], int)}
        for name, last in self._last.items():
            most = max(filter(None, (last, numbered.get(name))), default=None)
            key = self._keys.get(name, [])
            yield Counter(
                schema=self._schema,
                is_default_schema=self._schema == "main",
                table=name,
                column=key[0] if len(key) == 1 else None,
                column_type="INTEGER",
                last=most,
                limit=_LAST_ROWID,
                # Without AUTOINCREMENT it takes numbers that are free.
                cycles=name not in numbered,
            )

    def _table(
        self,
        name: str,
        columns: Sequence[Record],
        indexes: Sequence[Record],
        statistics: float | None,
    ) -> SchemaTable:
        number = self._rowid_column(name, columns)
        key = self._keys.get(name, [])
        rowid = not _without_rowid(self._texts[name])
        made = list(_indexes(indexes))
        if number is not None:
            part = IndexPart(column=number, nulls_first=True)
            made.insert(
                0, SchemaIndex(name="PRIMARY KEY", parts=(part,), unique=True, primary=True)
            )
        own = (number,) if number is not None else () if rowid else tuple(key)
        return SchemaTable(
            name=name,
            schema=self._schema,
            is_default_schema=self._schema == "main",
            columns=tuple(
                SchemaColumn(
                    name=row["name"],
                    type=str(row["type"] or "").lower(),
                    nullable=not row["required"]
                    and not (row["pk"] and (not rowid or row["name"] == number)),
                )
                for row in columns
            ),
            indexes=tuple(made),
            rows_estimate=self._rows(name) if statistics is None else statistics,
            row_key=own,
            clustered=bool(own),
        )

    def _rowid_column(self, name: str, columns: Sequence[Record]) -> str | None:
        """An INTEGER PRIMARY KEY is the rowid itself and has no index of its own."""
        key = self._keys.get(name, [])
        if len(key) != 1 or _without_rowid(self._texts[name]):
            return None
        kind = next(str(row["type"] or "") for row in columns if row["name"] == key[0])
        # "INTEGER PRIMARY KEY DESC" is an ordinary one: https://sqlite.org/lang_createtable.html
        quirk = re.search(r"\bPRIMARY\s+KEY\s+DESC\b", self._texts[name], re.IGNORECASE)
        return key[0] if kind.upper() == "INTEGER" and not quirk else None

    def _last_rowid(self, name: str) -> int | None:
        """Found at the end of the table's tree; None where it has no rowid, or no row."""
        if _without_rowid(self._texts[name]):
            return None
        return self._number(f"SELECT max(rowid) FROM {self._place}.{_quoted(name)}", name)  # noqa: S608 -- quoted

    def _rows(self, name: str) -> float | None:
        """Rows where no statistics are: by the last rowid, else by counting up to a limit."""
        if not _without_rowid(self._texts[name]):
            return float(self._last[name] or 0)
        some = f"SELECT 1 FROM {self._place}.{_quoted(name)} LIMIT {_MOST_COUNTED}"  # noqa: S608 -- quoted
        number = self._number(f"SELECT count(*) FROM ({some})", name)  # noqa: S608 -- quoted
        return None if number is None or number >= _MOST_COUNTED else float(number)

    def _number(self, question: str, table: str) -> int | None:
        try:
            found = self._reader.connection.exec_driver_sql(
                question, execution_options=UNRECORDED
            ).scalar()
        except DBAPIError as error:
            self._reader.unknown("rows", reason_of(error), place=f"table {table}")
            return None
        return found if isinstance(found, int) else None

    def _statistics(self) -> dict[str, float]:
        """Rows by ANALYZE."""
        has = self._asked("rows", _HAS_TABLE, name="sqlite_stat1")
        if not has or not has[0]["number"]:
            return {}
        counts: dict[str, float] = {}
        for row in self._asked("rows", _STATISTICS):
            name, first = str(row["tbl"]), str(row["stat"]).split(" ")[0]
            if first.isdecimal():
                counts[name] = max(counts.get(name, 0.0), float(first))
        return counts

    def _shadows(self) -> set[str]:
        try:
            return {row["name"] for row in self._reader.rows(_KINDS, schema=self._schema)}
        except DBAPIError:
            return set()

    def _tell_others(self, found: Sequence[Record]) -> None:
        views = [str(row["name"]) for row in found if row["type"] == "view"]
        virtual = [str(row["name"]) for row in found if _is_virtual(row)]
        for names, what, because in (
            (
                views,
                "view",
                "they have no rows and no indexes of their own; their tables are read",
            ),
            (virtual, "virtual table", "their module keeps rows and indexes in its own way"),
        ):
            if names:
                self._reader.unknown(counted(names, what), because, place=listed(names))

    def _asked(
        self, question: str, sql: str, *, part: str | None = None, **parameters: object
    ) -> list[Record]:
        if ":schema" in sql:
            parameters["schema"] = self._schema
        return self._reader.asked(question, self._filled(sql), part=part, **parameters)

    def _filled(self, sql: str) -> str:
        return sql.format(place=self._place.replace(":", "\\:"))


def refuse_missing_file(url: URL) -> None:
    """Let pass what is there: connecting to a file that is not would make it.

    Raises:
        InventoryError: there is no such file.
    """
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return
    if not Path(name).exists():
        raise InventoryError(f"there is no file {name!r}")


def _indexes(rows: Sequence[Record]) -> Iterator[SchemaIndex]:
    for name, parts in grouped(rows, "name").items():
        first = parts[0]
        sql, origin = str(first["sql"] or ""), first["origin"]
        texts = key_texts(sql) if any(row["cid"] == _EXPRESSION for row in parts) else []
        yield SchemaIndex(
            name=name,
            parts=tuple(
                IndexPart(
                    column=row["key"],
                    expression=_expression(texts, at) if row["cid"] == _EXPRESSION else None,
                    kind="" if row["coll"] == "BINARY" else f"COLLATE {row['coll']}",
                    descending=bool(row["down"]),
                    nulls_first=not row["down"],
                )
                for at, row in enumerate(parts)
            ),
            unique=bool(first["single"]),
            primary=origin == "pk",
            constraint=None if origin == "c" else name,
            pinned="it keeps a UNIQUE constraint, which only a new table can lose"
            if origin == "u"
            else None,
            predicate=_one_line(predicate_of(sql)) if first["partial"] else None,
        )


def _expression(texts: Sequence[str], at: int) -> str:
    text = _one_line(texts[at]) if at < len(texts) else "?"
    return re.sub(r" (?:ASC|DESC)\Z", "", text, flags=re.IGNORECASE)


def _one_line(text: str | None) -> str:
    return " ".join((text or "?").split())


def _is_virtual(row: Record) -> bool:
    return str(row["sql"] or "").upper().startswith("CREATE VIRTUAL")


def _without_rowid(sql: str) -> bool:
    return re.search(r"\bWITHOUT\s+ROWID\b", sql, re.IGNORECASE) is not None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
