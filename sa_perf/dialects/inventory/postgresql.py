"""PostgreSQL's schemas, by nine questions to its catalog.

Partitions are told as their whole: its indexes have the sizes and uses of theirs. Each question
runs in a read-only transaction of its own with limits for time and locks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from sa_perf.dialects.inventory import postgresql_queries as queries
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
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["PostgreSQLReader"]

_PAGE_BYTES = 8_192
#: Of a row nothing is known of: header, pointer, and of each column.
_ROW_BYTES, _COLUMN_BYTES = 28, 8
_BITS = {"smallint": 16, "integer": 32, "bigint": 64}
_LOCK_SECONDS = 2.0
_SETTINGS = (
    "SELECT set_config('statement_timeout', :statement, true),"
    " set_config('lock_timeout', :lock, true), set_config('search_path', 'pg_catalog', true)"
)


class PostgreSQLReader(CatalogReader):
    """Reads PostgreSQL from 12 on."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Read only, with limits; also on a connection that commits by itself."""
        own = False
        try:
            self._run("SET TRANSACTION READ ONLY")
            if self._run("SHOW transaction_read_only").scalar() != "on":
                self._run("BEGIN READ ONLY")
                own = True
            milliseconds = max(1, round(self.timeout_seconds * 1_000))
            limits = {
                "statement": str(milliseconds),
                "lock": str(min(milliseconds // 2 + 1, round(_LOCK_SECONDS * 1_000))),
            }
            self.connection.execute(text(_SETTINGS), limits, execution_options=UNRECORDED)
            yield
        finally:
            if own and not self.connection.invalidated:
                self._run("ROLLBACK")
            self.connection.rollback()

    def read(self, schemas: Sequence[str]) -> Inventory:
        """See `CatalogReader.read`; by default every schema that is not the system's."""
        known = [str(row["name"]) for row in self.rows(queries.SCHEMAS)]
        chosen = self.chosen(schemas, known) if schemas else known
        if not chosen:
            return Inventory(schemas=(), tables=())
        relations = self.rows(queries.TABLES, schemas=chosen)
        self._tell_others(relations)
        columns = grouped(
            self.asked("columns", queries.COLUMNS, part="columns", schemas=chosen), "relation"
        )
        sizes = self._sizes(chosen)
        since, seconds, scans, elsewhere = self._usage(chosen)
        indexes = self._indexes(chosen, sizes, scans)
        made = _Tables(relations, columns, indexes, sizes, self.default_schema)
        return Inventory(
            schemas=tuple(chosen),
            tables=tuple(made.tables()),
            foreign_keys=tuple(self._foreign_keys(chosen)),
            counters=tuple(self._counters(chosen)),
            unknowns=tuple(self.unknowns),
            unanswered=frozenset(self.unanswered),
            counted_since=since,
            counted_seconds=seconds,
            elsewhere=elsewhere,
        )

    def _tell_others(self, relations: Sequence[Record]) -> None:
        for kind, what, because in (
            ("f", "foreign table", "their rows, indexes and keys are another server's"),
            ("v", "view", "they have no rows and no indexes of their own; their tables are read"),
        ):
            names = [f"{row['schema']}.{row['name']}" for row in relations if row["kind"] == kind]
            if names:
                self.unknown(counted(names, what), because, place=listed(names))

    def _sizes(self, chosen: list[str]) -> dict[Any, int]:
        question = "sizes on disk, which are estimated"
        rows = self.asked(question, queries.SIZES, schemas=chosen)
        # NULL where it was dropped a moment ago.
        return {row["oid"]: int(row["bytes"]) for row in rows if row["bytes"] is not None}

    def _usage(
        self, chosen: list[str]
    ) -> tuple[datetime | None, float | None, dict[Any, int], bool]:
        """Since when uses count, for how many seconds, the counts, whether others count too."""
        question = "never used indexes"
        rows = self.asked(question, queries.COUNTING)
        if not rows:
            return None, None, {}, False
        since, replicas = rows[0]["moment"], bool(rows[0]["replicas"])
        if not rows[0]["counts"]:
            self.unknown(question, "the setting track_counts is off")
        elif rows[0]["standby"]:
            self.unknown(question, "this server is a standby; ask the primary, and all standbys")
        elif since is None:
            self.unknown(question, "the server does not tell since when it counts")
        else:
            scans = self.asked(question, queries.SCANS, schemas=chosen)
            counts = {row["indexrelid"]: int(row["idx_scan"]) for row in scans}
            return since, float(rows[0]["seconds"]), counts, replicas
        return None, None, {}, replicas

    def _indexes(
        self, chosen: list[str], sizes: dict[Any, int], scans: dict[Any, int]
    ) -> dict[Any, list[tuple[Any, SchemaIndex]]]:
        """By table: each index with its oid; of a whole with sums of its parts."""
        asked = self.asked("indexes", queries.INDEXES, part="indexes", schemas=chosen)
        rows = grouped(asked, "indexrelid")
        below: dict[Any, list[Any]] = {}
        for oid, columns in rows.items():
            if columns[0]["whole"] is not None:
                below.setdefault(columns[0]["whole"], []).append(oid)

        def leaves(oid: object) -> list[Any]:
            if oid not in below:
                return [oid]
            return [leaf for one in below[oid] for leaf in leaves(one)]

        found: dict[Any, list[tuple[Any, SchemaIndex]]] = {}
        for oid, columns in rows.items():
            own = leaves(oid)
            sums = [sizes.get(one, _pages(rows.get(one))) for one in own]
            used = [scans[one] for one in own if one in scans]
            index = _index(columns, sum(sums), sum(used) if len(used) == len(own) else None)
            found.setdefault(columns[0]["indrelid"], []).append((oid, index))
        return found

    def _foreign_keys(self, chosen: list[str]) -> Iterator[ForeignKey]:
        rows = self.asked("foreign keys", queries.FOREIGN_KEYS, part="foreign keys", schemas=chosen)
        for parts in grouped(rows, "oid").values():
            first = parts[0]
            yield ForeignKey(
                name=first["name"],
                schema=first["schema"],
                table=first["relation"],
                columns=tuple(row["column"] for row in parts),
                referred_schema=first["referred_schema"],
                referred_table=first["referred"],
                referred_columns=tuple(row["referred_column"] for row in parts),
                validated=bool(first["convalidated"]),
            )

    def _counters(self, chosen: list[str]) -> Iterator[Counter]:
        hidden: list[str] = []
        for row in self.asked("sequences", queries.SEQUENCES, schemas=chosen):
            if row["readable"]:
                yield _counter(row, self.default_schema)
            else:
                hidden.append(f"{row['schema']}.{row['name']}")
        if hidden:
            names = list(dict.fromkeys(hidden))
            self.unknown(
                f"position of {counted(names, 'sequence')}",
                "this role has neither USAGE nor SELECT on them",
                place=listed(names),
            )

    def _run(self, statement: str) -> Any:  # noqa: ANN401 -- SQLAlchemy's cursor result
        return self.connection.exec_driver_sql(statement, execution_options=UNRECORDED)


class _Tables:
    """Makes tables of the answers."""

    def __init__(
        self,
        relations: Sequence[Record],
        columns: dict[Any, list[Record]],
        indexes: dict[Any, list[tuple[Any, SchemaIndex]]],
        sizes: dict[Any, int],
        default_schema: str,
    ) -> None:
        self._relations = relations
        self._columns = columns
        self._indexes = indexes
        self._sizes = sizes
        self._default_schema = default_schema
        self._below: dict[Any, list[Record]] = {}
        for row in relations:
            if row["whole"] is not None:
                self._below.setdefault(row["whole"], []).append(row)

    def tables(self) -> Iterator[SchemaTable]:
        """Each table, materialized view and whole; no partitions."""
        for row in self._relations:
            if row["kind"] not in ("r", "p", "m") or row["whole"] is not None:
                continue
            columns = self._columns.get(row["oid"], [])
            leaves = list(self._leaves(row))
            rows = [self._rows(leaf, len(columns)) for leaf in leaves]
            yield SchemaTable(
                schema=row["schema"],
                name=row["name"],
                is_default_schema=row["schema"] == self._default_schema,
                columns=tuple(
                    SchemaColumn(
                        name=one["name"],
                        type=str(one["type"]).lower(),
                        nullable=bool(one["nullable"]),
                    )
                    for one in columns
                ),
                indexes=tuple(index for _, index in self._indexes.get(row["oid"], [])),
                rows_estimate=sum(one for one in rows if one is not None) if rows else 0.0,
                bytes=sum(self._bytes(leaf) for leaf in leaves),
                materialized=row["kind"] == "m",
                partitioned=row["kind"] == "p",
                partition_indexes=tuple(
                    tuple(index for _, index in self._indexes.get(leaf["oid"], []))
                    for leaf in leaves
                )
                if row["kind"] == "p"
                else (),
            )

    def _leaves(self, row: Record) -> Iterator[Record]:
        """Where the rows lie."""
        if row["kind"] != "p":
            yield row
        for one in self._below.get(row["oid"], []):
            yield from self._leaves(one)

    def _bytes(self, row: Record) -> int:
        return self._sizes.get(row["oid"], int(row["relpages"]) * _PAGE_BYTES)

    def _rows(self, row: Record, columns: int) -> float | None:
        """As the planner does: density at the last ANALYZE times the size of today."""
        pages = self._bytes(row) / _PAGE_BYTES
        if row["relpages"] > 0 and row["reltuples"] >= 0:
            return float(round(row["reltuples"] / row["relpages"] * pages))
        return float(round(pages * _PAGE_BYTES / (_ROW_BYTES + _COLUMN_BYTES * max(columns, 1))))


def _index(columns: list[Record], size: int, scans: int | None) -> SchemaIndex:
    first = columns[0]
    settings = first["settings"]
    return SchemaIndex(
        name=first["name"],
        parts=tuple(
            IndexPart(
                column=row["column"],
                expression=row["expression"],
                kind=row["own_kind"],
                descending=bool(row["direction"] & 1),
                nulls_first=bool(row["direction"] & 2),
            )
            for row in columns
            if not row["included"]
        ),
        include=tuple(str(row["column"]) for row in columns if row["included"]),
        unique=bool(first["indisunique"]),
        nulls_distinct=not first["nulls_equal"],
        deferrable=not first["indimmediate"],
        primary=bool(first["indisprimary"]),
        constraint=first["conname"],
        pinned=_pinned(first),
        predicate=first["predicate"],
        method=f"{first['method']} ({settings})" if settings else first["method"],
        ordered=first["method"] == "btree",
        usable=bool(first["indisvalid"]),
        invalid=_invalid(first),
        scans=scans,
        bytes=size,
    )


def _pinned(row: Record) -> str | None:
    if row["indisreplident"]:
        return "it is the table's replica identity"
    if row["indisclustered"]:
        return "the table was put in its order by CLUSTER"
    if row["referring"] is not None:
        return f"foreign key {row['referring']} needs it"
    if row["contype"] == "x":
        return "it keeps an exclusion constraint"
    return None


def _invalid(row: Record) -> str | None:
    if row["indisvalid"] or row["building"] is not None:
        return None
    if row["partitioned"]:
        return "not every partition has its part of it"
    if not row["indisready"]:
        return "CREATE or DROP INDEX CONCURRENTLY was cut short, and writes leave it out"
    return "CREATE INDEX CONCURRENTLY or REINDEX was cut short, but each write keeps it"


def _counter(row: Record, default_schema: str) -> Counter:
    kind, up = row["type"], row["seqincrement"] > 0
    least, most = row["seqmin"], row["seqmax"]
    first, limit = (least, most) if up else (most, least)
    within = None if kind is None else integer_limits(kind, _BITS)
    narrowed = limit
    if within is not None:
        narrowed = min(limit, within[1]) if up else max(limit, within[0])
    schema = row["table_schema"] or row["schema"]
    return Counter(
        schema=schema,
        is_default_schema=schema == default_schema,
        sequence=row["name"],
        sequence_schema=row["schema"],
        table=row["relation"],
        column=row["column"],
        column_type=kind,
        last=row["last"],
        first=first,
        limit=narrowed,
        increment=row["seqincrement"],
        limited_by_column=within is not None and narrowed in within,
        limited_by_sequence=narrowed == limit,
        cycles=bool(row["seqcycle"]),
    )


def _pages(rows: list[Record] | None) -> int:
    return 0 if rows is None else int(rows[0]["relpages"]) * _PAGE_BYTES
