"""The schema and the statistics of a SQLite database, read once.

Only ``sqlite_master``, ``sqlite_stat1``, ``sqlite_stat4`` and PRAGMAs that read; no transaction is
left open. About 1 ms for 100 tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sa_perf.dialects.dbapi import DBAPIConnection, fetch

__all__ = [
    "SchemaObject",
    "SourceSchema",
    "catalog_name",
    "quoted",
    "read_schema",
    "schema_versions",
]

#: What changes plans and belongs to the connection, not to the file.
_SETTINGS = ("automatic_index", "foreign_keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaObject:
    """A table, a view or an index.

    Attributes:
        schema: ``"main"``, ``"temp"`` or the name of an attached database.
        kind: ``"table"``, ``"virtual"``, ``"view"`` or ``"index"``.
        name: as the catalog spells it.
        table: that an index belongs to; else the same as `name`.
        sql: text that made it, without its schema.
    """

    schema: str
    kind: str
    name: str
    table: str
    sql: str

    @property
    def create_sql(self) -> str:
        """The text that makes it under the same schema in another database.

        SQLite stores it from ``CREATE TABLE`` on in upper case, single spaces, without a schema and
        without IF NOT EXISTS (schematab.html).
        """
        head = re.match(r"CREATE (?:UNIQUE |VIRTUAL )?(?:TABLE|INDEX|VIEW) ", self.sql)
        end = head.end() if head else 0
        return f"{self.sql[:end]}{quoted(self.schema)}.{self.sql[end:].lstrip()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSchema:
    """What a database holds, by name.

    Attributes:
        schemas: in the order in which a name without schema is looked for.
        objects: tables and views by schema and name, case aside.
        indexes: those that were made by CREATE INDEX, by schema and table, case aside.
        statistics: rows of ``sqlite_stat1`` by schema and table, case aside.
        samples: rows of ``sqlite_stat4``, likewise.
        versions: ``schema_version`` of each schema.
        settings: PRAGMAs and their values.
        library: version of SQLite.
    """

    schemas: tuple[str, ...]
    versions: dict[str, int]
    library: str
    objects: dict[tuple[str, str], SchemaObject] = field(default_factory=dict)
    indexes: dict[tuple[str, str], list[SchemaObject]] = field(default_factory=dict)
    statistics: dict[tuple[str, str], list[tuple[object, ...]]] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[tuple[object, ...]]] = field(default_factory=dict)
    settings: dict[str, int] = field(default_factory=dict)

    def find(self, name: str, schema: str | None = None) -> SchemaObject | None:
        """The table or view of a name, as SQLite looks it up.

        Args:
            name: without schema and quotes.
            schema: where it is; None looks in temp, then main, then what is attached.
        """
        for place in self.schemas if schema is None else (schema,):
            found = self.objects.get((place.casefold(), name.casefold()))
            if found is not None:
                return found
        return None

    def named(self, words: Iterable[str]) -> Iterator[SchemaObject]:
        """Every table or view that one of these words may mean, in any schema."""
        wanted = {word.casefold() for word in words}
        for place in self.schemas:
            for word in wanted:
                found = self.objects.get((place.casefold(), word))
                if found is not None:
                    yield found

    def owner(self, name: str, schema: str) -> SchemaObject | None:
        """The virtual table that a name such as ``docs_content`` may be a part of."""
        end = len(name)
        while (end := name.rfind("_", 0, end)) > 0:
            found = self.objects.get((schema.casefold(), name[:end].casefold()))
            if found is not None and found.kind == "virtual":
                return found
        return None


def quoted(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def catalog_name(schema: str) -> str:
    """The table in which a schema's objects are listed, quoted."""
    return "sqlite_temp_master" if schema == "temp" else f"{quoted(schema)}.sqlite_master"


def schema_versions(
    dbapi_connection: DBAPIConnection, schemas: Iterable[str] | None = None
) -> dict[str, int]:
    """The counters that SQLite raises with each change of a schema, by the schema's name."""
    if schemas is None:
        schemas = [str(row[1]) for row in fetch(dbapi_connection, "PRAGMA database_list")]
    return {schema: _number(dbapi_connection, "schema_version", schema) for schema in schemas}


def read_schema(dbapi_connection: DBAPIConnection) -> SourceSchema:
    """Read all of it; what the driver raises passes."""
    versions = schema_versions(dbapi_connection)
    order = sorted(versions, key=lambda schema: {"temp": 0, "main": 1}.get(schema, 2))
    if "temp" not in versions:
        # Listed only after its first use; another connection's tables are never there.
        order.insert(0, "temp")
    source = SourceSchema(
        schemas=tuple(order),
        versions=versions,
        library=str(fetch(dbapi_connection, "SELECT sqlite_version()")[0][0]),
        settings={name: _number(dbapi_connection, name) for name in _SETTINGS},
    )
    for schema in versions:
        _read_objects(dbapi_connection, schema, source)
    return source


def _read_objects(dbapi_connection: DBAPIConnection, schema: str, source: SourceSchema) -> None:
    master = catalog_name(schema)
    statistics = set()
    rows = fetch(
        dbapi_connection,
        f"SELECT type, name, tbl_name, sql FROM {master} "  # noqa: S608 -- quoted names
        "WHERE type IN ('table', 'view', 'index')",
    )
    for kind, name, table, sql in rows:
        if str(name).startswith("sqlite_"):
            statistics.add(name)
            continue
        found = SchemaObject(
            schema=schema,
            kind="virtual" if str(sql).startswith("CREATE VIRTUAL ") else str(kind),
            name=str(name),
            table=str(table),
            sql=str(sql or ""),
        )
        if kind == "index":
            key = (schema.casefold(), found.table.casefold())
            source.indexes.setdefault(key, []).append(found)
        else:
            source.objects[schema.casefold(), found.name.casefold()] = found
    for name, columns, into in (
        ("sqlite_stat1", "tbl, idx, stat", source.statistics),
        ("sqlite_stat4", "tbl, idx, neq, nlt, ndlt, sample", source.samples),
    ):
        if name in statistics:
            for row in fetch(dbapi_connection, f"SELECT {columns} FROM {quoted(schema)}.{name}"):  # noqa: S608 -- quoted names
                into.setdefault((schema.casefold(), str(row[0]).casefold()), []).append(row)


def _number(dbapi_connection: DBAPIConnection, pragma: str, schema: str | None = None) -> int:
    place = "" if schema is None else f"{quoted(schema)}."
    rows = fetch(dbapi_connection, f"PRAGMA {place}{pragma}")
    return int(str(rows[0][0])) if rows else 0
