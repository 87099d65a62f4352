"""Schemas of MySQL and MariaDB, by information_schema.

A handful of questions for each database, whatever the number of its tables. They compare the
database's name with a constant, by which MariaDB opens that database's tables alone (MariaDB
manual, "Information Schema optimizations"). MySQL was read in its manual (8.4), MariaDB also run.

A user sees what it has a privilege for, and nothing says how much else is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.inventory.base import (
    CatalogReader,
    Record,
    counted,
    grouped,
    integer_limits,
    listed,
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
from sa_perf.dialects.inventory.mysql_uses import Counting, Uses, how_uses_are_counted, uses_in
from sa_perf.tables import UNRECORDED

__all__ = ["MariaDBReader", "MySQLReader"]

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}
_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
_SCHEMAS = "SELECT schema_name AS name FROM information_schema.schemata ORDER BY schema_name"
_TABLES = """
SELECT table_name, table_type, engine, table_rows, data_length, auto_increment, create_options
  FROM information_schema.tables WHERE table_schema = :schema ORDER BY table_name
"""
_COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable, extra
  FROM information_schema.columns WHERE table_schema = :schema
 ORDER BY table_name, ordinal_position
"""
#: MySQL and MariaDB have columns of their own behind those that both have.
_INDEXES = """
SELECT * FROM information_schema.statistics WHERE table_schema = :schema
 ORDER BY table_name, index_name, seq_in_index
"""
_FOREIGN_KEYS = """
SELECT table_name, constraint_name, column_name, referenced_table_schema, referenced_table_name,
       referenced_column_name
  FROM information_schema.key_column_usage
 WHERE table_schema = :schema AND referenced_table_name IS NOT NULL
 ORDER BY table_name, constraint_name, ordinal_position
"""
#: Pages of InnoDB's persistent statistics; a partition's name holds its table's.
_SIZES = """
SELECT table_name, index_name, stat_value * @@innodb_page_size AS bytes
  FROM mysql.innodb_index_stats WHERE database_name = :schema AND stat_name = 'size'
"""


class MySQLReader(CatalogReader):
    """Reads MySQL from 5.7 on."""

    #: Before SELECT, so that it ends in time.
    limit = "SELECT /*+ MAX_EXECUTION_TIME({milliseconds}) */"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Read only, rolled back."""
        self._run("START TRANSACTION READ ONLY")
        try:
            yield
        finally:
            if not self.connection.invalidated:
                self._run("ROLLBACK")
            self.connection.rollback()

    def rows(self, sql: str, **parameters: object) -> list[Record]:
        """See `CatalogReader.rows`; a SELECT gets a time limit."""
        head, word, rest = sql.partition("SELECT")
        if word and not head.strip():
            milliseconds = max(1, round(self.timeout_seconds * 1_000))
            limit = self.limit.format(milliseconds=milliseconds, seconds=milliseconds / 1_000)
            sql = limit + rest
        return super().rows(sql, **parameters)

    def read(self, schemas: Sequence[str]) -> Inventory:
        """See `CatalogReader.read`; by default the URL's database, else all that the user sees."""
        visible = [str(row["name"]) for row in self.rows(_SCHEMAS)]
        known = [name for name in visible if name.lower() not in _SYSTEM]
        own = [self.default_schema] if self.default_schema else known
        chosen = self.chosen(schemas, known) if schemas else own
        fresh = self._fresh_counters()
        try:
            counting = how_uses_are_counted(self)
            parts = [_Schema(self, schema, counting) for schema in chosen]
            tables = [table for part in parts for table in part.tables()]
            keys = [key for part in parts for key in part.foreign_keys()]
        finally:
            self._restore(fresh)
        counters = [one for part in parts for one in part.counters()]
        if not tables:
            self.unknown(
                "tables", "this user sees none; it sees those that it has a privilege for",
                place=", ".join(chosen) or "server",
            )  # fmt: skip
        return Inventory(
            schemas=tuple(chosen),
            tables=tuple(tables),
            foreign_keys=tuple(keys),
            counters=tuple(counters),
            unknowns=tuple(self.unknowns),
            unanswered=frozenset(self.unanswered),
            counted_since=counting.since,
            counted_seconds=counting.seconds,
        )

    def _fresh_counters(self) -> str | None:
        """Have AUTO_INCREMENT read anew: MySQL 8 remembers it for a day. The setting until now."""
        try:
            before = self._run("SELECT @@SESSION.information_schema_stats_expiry").scalar()
            self._run("SET SESSION information_schema_stats_expiry = 0")
        except DBAPIError:
            return None
        finally:
            self.connection.rollback()
        return str(int(before))

    def _restore(self, before: str | None) -> None:
        if before is not None and not self.connection.invalidated:
            self._run(f"SET SESSION information_schema_stats_expiry = {before}")
            self.connection.rollback()

    def _run(self, statement: str) -> Any:  # noqa: ANN401 -- SQLAlchemy's cursor result
        return self.connection.exec_driver_sql(statement, execution_options=UNRECORDED)


class MariaDBReader(MySQLReader):
    """Reads MariaDB from 10.2 on."""

    limit = "SET STATEMENT max_statement_time={seconds}, lock_wait_timeout=2 FOR SELECT"

    def _fresh_counters(self) -> str | None:
        return None


class _Schema:
    """One database."""

    def __init__(self, reader: MySQLReader, schema: str, counting: Counting) -> None:
        self._reader = reader
        self._schema = schema
        self._counting_uses = counting
        self._counting: list[tuple[str, str, str, int]] = []
        self._sequences: list[str] = []

    def tables(self) -> list[SchemaTable]:
        """Base tables."""
        rows = self._reader.rows(_TABLES, schema=self._schema)
        views = [str(row["table_name"]) for row in rows if "VIEW" in str(row["table_type"])]
        self._sequences = [row["table_name"] for row in rows if row["table_type"] == "SEQUENCE"]
        if views:
            self._reader.unknown(
                counted(views, "view"),
                "they have no rows and no indexes of their own; their tables are read",
                place=listed(views),
            )
        columns = grouped(self._asked("columns", _COLUMNS, part="columns"), "table_name")
        indexes = grouped(self._asked("indexes", _INDEXES, part="indexes"), "table_name")
        sizes = self._sizes()
        scans = uses_in(self._reader, self._schema, self._counting_uses)
        found = []
        for row in rows:
            if row["table_type"] in ("BASE TABLE", "SYSTEM VERSIONED"):
                name = row["table_name"]
                own = columns.get(name, [])
                self._note_counting(row, own)
                made = list(_indexes(name, indexes.get(name, []), sizes, scans))
                found.append(self._table(row, own, made))
        return found

    def foreign_keys(self) -> Iterator[ForeignKey]:
        """Foreign keys."""
        groups: dict[tuple[str, str], list[Record]] = {}
        for row in self._asked("foreign keys", _FOREIGN_KEYS, part="foreign keys"):
            groups.setdefault((row["table_name"], row["constraint_name"]), []).append(row)
        for (table, name), parts in groups.items():
            yield ForeignKey(
                name=name,
                schema=self._schema,
                table=table,
                columns=tuple(row["column_name"] for row in parts),
                referred_schema=parts[0]["referenced_table_schema"],
                referred_table=parts[0]["referenced_table_name"],
                referred_columns=tuple(row["referenced_column_name"] for row in parts),
            )

    def counters(self) -> Iterator[Counter]:
        """AUTO_INCREMENT columns, and MariaDB's sequences."""
        for table, column, kind, following in self._counting:
            limits = integer_limits(kind, _BITS)
            if limits is not None:
                yield self._counter(
                    table=table, column=column, column_type=kind, limit=limits[1],
                    last=following - 1 if following > 1 else None, limited_by_column=True,
                )  # fmt: skip
        for name in self._sequences:
            place = f"{_quoted(self._schema)}.{_quoted(name)}".replace(":", "\\:")
            for row in self._reader.asked(f"position of sequence {name}", f"SELECT * FROM {place}"):  # noqa: S608 -- quoted
                step = int(row["increment"]) or 1
                least, most = int(row["minimum_value"]), int(row["maximum_value"])
                first, limit = (most, least) if step < 0 else (least, most)
                last = int(row["next_not_cached_value"]) - step
                yield self._counter(
                    sequence=name, sequence_schema=self._schema, first=first, limit=limit,
                    last=None if last + step == first else last, increment=step,
                    cycles=bool(row["cycle_option"]), limited_by_sequence=True,
                )  # fmt: skip

    def _note_counting(self, table: Record, columns: Sequence[Record]) -> None:
        for column in columns:
            if "auto_increment" in _text(column["extra"]).lower() and table["auto_increment"]:
                kind, following = _text(column["column_type"]), int(table["auto_increment"])
                self._counting.append((table["table_name"], column["column_name"], kind, following))

    def _counter(self, **fields: Any) -> Counter:  # noqa: ANN401 -- fields of a Counter
        return Counter(
            schema=self._schema,
            is_default_schema=self._schema == self._reader.default_schema,
            **fields,
        )

    def _table(
        self, row: Record, columns: Sequence[Record], indexes: Sequence[SchemaIndex]
    ) -> SchemaTable:
        primary = next((one for one in indexes if one.primary), None)
        own = tuple(part.column or "" for part in primary.parts) if primary is not None else ()
        clustered = str(row["engine"]).lower() == "innodb"
        return SchemaTable(
            name=row["table_name"],
            schema=self._schema,
            is_default_schema=self._schema == self._reader.default_schema,
            columns=tuple(
                SchemaColumn(
                    name=one["column_name"],
                    type=_text(one["column_type"]).lower(),
                    nullable=str(one["is_nullable"]).upper() == "YES",
                )
                for one in columns
            ),
            indexes=tuple(indexes),
            rows_estimate=None if row["table_rows"] is None else float(row["table_rows"]),
            bytes=None if row["data_length"] is None else int(row["data_length"]),
            row_key=own if clustered else (),
            clustered=clustered,
            partitioned="partitioned" in str(row["create_options"]).lower(),
        )

    def _sizes(self) -> dict[tuple[str, str], int]:
        sums: dict[tuple[str, str], int] = {}
        for row in self._asked("sizes of indexes", _SIZES):
            key = (str(row["table_name"]).split("#")[0], str(row["index_name"]))
            sums[key] = sums.get(key, 0) + int(row["bytes"])
        return sums

    def _asked(self, question: str, sql: str, *, part: str | None = None) -> list[Record]:
        return self._reader.asked(question, sql, part=part, schema=self._schema)


def _indexes(
    table: str,
    rows: Sequence[Record],
    sizes: Mapping[tuple[str, str], int],
    scans: Uses,
) -> Iterator[SchemaIndex]:
    for name, parts in grouped(rows, "index_name").items():
        first = parts[0]
        method = _text(first["index_type"]).lower()
        hidden = first.get("is_visible", "YES") == "NO" or first.get("ignored", "NO") == "YES"
        yield SchemaIndex(
            name=name,
            parts=tuple(
                IndexPart(
                    column=row["column_name"],
                    expression=_expression(row),
                    kind="" if row["sub_part"] is None else f"({row['sub_part']})",
                    descending=row["collation"] == "D",
                    nulls_first=row["collation"] != "D",
                )
                for row in parts
            ),
            unique=str(first["non_unique"]) == "0",
            primary=name == "PRIMARY",
            method=method,
            ordered=method == "btree",
            usable=not hidden,
            scans=scans.of(table, name),
            bytes=sizes.get((table, name)),
        )


def _expression(row: Record) -> str | None:
    return None if row["column_name"] is not None else _text(row.get("expression"))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
