"""PostgreSQL's catalog: sizes, columns and indexes of tables.

Three queries on pg_catalog, whatever the number of tables. Rows are estimated as the planner does:
the density at the last ANALYZE times the size of today (estimate_rel_size() in
src/backend/optimizer/util/plancat.c).
"""

from __future__ import annotations

from collections.abc import Iterable

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.facts import ColumnFacts, IndexFacts, TableFacts

__all__ = ["literal", "qualified", "table_facts"]

_MAX_TABLES = 50
_PAGE_BYTES = 8_192
#: Header of a row and its pointer; what a text takes that nothing is known of.
_ROW_BYTES = 28
_TEXT_BYTES = 32

_TABLES = """
SELECT wanted.name, c.oid, c.relname, sum(part.reltuples::float8), sum(part.relpages::float8),
       sum(pg_catalog.pg_relation_size(part.oid)::float8)
  FROM (VALUES {names}) AS wanted (name, written)
  JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(wanted.written)
  JOIN LATERAL (
       SELECT leaf.oid, leaf.reltuples, leaf.relpages
         FROM pg_catalog.pg_class leaf
        WHERE (c.relkind <> 'p' AND leaf.oid = c.oid)
           OR (c.relkind = 'p' AND leaf.oid IN (
               SELECT relid FROM pg_catalog.pg_partition_tree(c.oid) WHERE isleaf))) part ON true
 WHERE c.relkind IN ('r', 'p', 'm')
 GROUP BY wanted.name, c.oid, c.relname
"""
_COLUMNS = """
SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       CASE WHEN coll.collname = 'default' THEN (
            SELECT CASE WHEN pg_catalog.to_jsonb(d) ->> 'datlocprovider' = 'b' THEN 'C'
                        WHEN d.datcollate IN ('C', 'POSIX')
                         AND pg_catalog.to_jsonb(d) ->> 'datlocprovider' IS DISTINCT FROM 'i'
                        THEN 'C' ELSE 'default' END
              FROM pg_catalog.pg_database d
             WHERE d.datname = pg_catalog.current_database())
            ELSE coll.collname END,
       a.attlen
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_collation coll ON coll.oid = a.attcollation
 WHERE a.attrelid IN ({oids}) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
"""
_INDEXES = """
SELECT i.indrelid, c.relname, i.indisunique, i.indisprimary, am.amname, key.attname,
       CASE WHEN key.attname IS NULL
            THEN pg_catalog.pg_get_indexdef(i.indexrelid, position.n::int, true) END,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am am ON am.oid = c.relam
 CROSS JOIN LATERAL pg_catalog.generate_series(1, i.indnkeyatts) AS position (n)
  LEFT JOIN pg_catalog.pg_attribute key
    ON key.attrelid = i.indrelid AND key.attnum = i.indkey[position.n - 1]
 WHERE i.indrelid IN ({oids}) AND i.indisvalid
 ORDER BY i.indrelid, i.indisprimary DESC, c.relname, position.n
"""


def table_facts(dbapi_connection: DBAPIConnection, tables: Iterable[str]) -> dict[str, TableFacts]:
    """Facts of the tables that the search_path finds, by the name that was asked for."""
    asked = list(tables)[:_MAX_TABLES]
    if not asked:
        return {}
    names = ", ".join(f"({literal(name)}, {literal(qualified(name))})" for name in asked)
    found = fetch(dbapi_connection, _TABLES.format(names=names))
    oids = ", ".join(sorted({str(int(str(row[1]))) for row in found}))
    if not oids:
        return {}
    columns: dict[object, list[tuple[object, ...]]] = {}
    for row in fetch(dbapi_connection, _COLUMNS.format(oids=oids)):
        columns.setdefault(row[0], []).append(row)
    keys: dict[object, dict[str, list[tuple[object, ...]]]] = {}
    for row in fetch(dbapi_connection, _INDEXES.format(oids=oids)):
        keys.setdefault(row[0], {}).setdefault(str(row[1]), []).append(row)
    return {
        str(row[0]): TableFacts(
            name=str(row[2]),
            rows_estimate=_rows(row, columns.get(row[1], [])),
            bytes=int(_float(row[5])),
            columns=tuple(_column(column) for column in columns.get(row[1], [])),
            indexes=tuple(_index(name, rows) for name, rows in keys.get(row[1], {}).items()),
        )
        for row in found
    }


def _rows(row: tuple[object, ...], columns: list[tuple[object, ...]]) -> float:
    tuples, pages, size = _float(row[3]), _float(row[4]), _float(row[5])
    now = size / _PAGE_BYTES
    if pages > 0 and tuples >= 0:
        return float(round(tuples / pages * now))
    lengths = [_float(column[5]) for column in columns]
    width = sum(length if length > 0 else _TEXT_BYTES for length in lengths)
    return float(round(now * (_PAGE_BYTES - 24) / (width + _ROW_BYTES)))


def _column(row: tuple[object, ...]) -> ColumnFacts:
    return ColumnFacts(
        name=str(row[1]),
        type=str(row[2]).lower(),
        nullable=not row[3],
        collation=None if row[4] is None else str(row[4]),
    )


def _index(name: str, rows: list[tuple[object, ...]]) -> IndexFacts:
    first = rows[0]
    return IndexFacts(
        name=name,
        columns=tuple(None if row[5] is None else str(row[5]) for row in rows),
        unique=bool(first[2]),
        primary=bool(first[3]),
        expressions=tuple(str(row[6]) for row in rows if row[5] is None),
        predicate=None if first[7] is None else str(first[7]),
        method=str(first[4]),
    )


def qualified(name: str) -> str:
    """A table's name, ``schema.name`` where it says so, quoted for ``to_regclass()``."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def literal(text: str) -> str:
    """A text of sa_perf's own or a name as a string of SQL; no place for bind values."""
    # E'' makes a backslash safe whatever standard_conforming_strings says.
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _float(value: object) -> float:
    return float(value) if isinstance(value, (int, float, str)) else 0.0
