"""SQLite's catalog: sizes, columns and indexes of tables.

Only PRAGMAs, ``sqlite_master``, ``sqlite_stat1`` and, where ANALYZE never ran, a count of at most
10,000 rows. No transaction is begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.facts import ColumnFacts, IndexFacts, TableFacts

__all__ = ["key_texts", "predicate_of", "table_facts"]

_SAMPLED_ROWS = 10_000
_MAX_TABLES = 50
#: A row takes some bytes at least: header, rowid, and its share of the page.
_LEAST_ROW_BYTES = 6


def table_facts(dbapi_connection: DBAPIConnection, tables: Iterable[str]) -> dict[str, TableFacts]:
    """Facts of the tables that exist, by the name that was asked for.

    Costs 0.1 ms a table, and up to a millisecond more where no statistics exist.
    """
    schemas = [str(row[1]) for row in fetch(dbapi_connection, "PRAGMA database_list")]
    # A name without schema is looked for in temp first, then main, then what was attached.
    schemas.sort(key=lambda schema: {"temp": 0, "main": 1}.get(schema, 2))
    found: dict[str, TableFacts] = {}
    for asked in list(tables)[:_MAX_TABLES]:
        schema, _, name = asked.rpartition(".")
        for place in [schema] if schema in schemas else schemas:
            facts = _table(dbapi_connection, place, name)
            if facts is not None:
                found[asked] = facts
                break
    return found


def _table(dbapi_connection: DBAPIConnection, schema: str, name: str) -> TableFacts | None:
    master = "sqlite_temp_master" if schema == "temp" else f"{_quoted(schema)}.sqlite_master"
    rows = fetch(
        dbapi_connection,
        f"SELECT name, sql FROM {master} WHERE type = 'table' AND lower(name) = lower(?)",  # noqa: S608 -- quoted names
        (name,),
    )
    if not rows:
        return None
    table, sql = str(rows[0][0]), str(rows[0][1] or "")
    columns = fetch(dbapi_connection, f"PRAGMA {_quoted(schema)}.table_xinfo({_quoted(table)})")
    key = [str(row[1]) for row in sorted(columns, key=lambda row: _int(row[5])) if row[5]]
    rowid = not re.search(r"\bWITHOUT\s+ROWID\b", sql, re.IGNORECASE)
    indexes = _indexes(dbapi_connection, schema, table, master)
    if key and not any(index.primary for index in indexes):
        # An INTEGER PRIMARY KEY is the rowid and has no index of its own.
        indexes.insert(
            0, IndexFacts(name="PRIMARY KEY", columns=(*key,), unique=True, primary=True)
        )
    indexes.sort(key=lambda index: (not index.primary, index.name))
    return TableFacts(
        name=table,
        rows_estimate=_rows(dbapi_connection, schema, table, rowid=rowid),
        columns=tuple(
            ColumnFacts(
                name=str(row[1]),
                type=str(row[2] or "").lower(),
                nullable=not row[3] and not (row[5] and (not rowid or _is_rowid(row, key))),
                collation=_collation(sql, str(row[1])),
            )
            for row in columns
        ),
        indexes=tuple(indexes),
    )


def _indexes(
    dbapi_connection: DBAPIConnection, schema: str, table: str, master: str
) -> list[IndexFacts]:
    texts = {
        str(row[0]): str(row[1] or "")
        for row in fetch(
            dbapi_connection,
            f"SELECT name, sql FROM {master} WHERE type = 'index' AND tbl_name = ?",  # noqa: S608 -- quoted names
            (table,),
        )
    }
    indexes = []
    for row in fetch(dbapi_connection, f"PRAGMA {_quoted(schema)}.index_list({_quoted(table)})"):
        name, unique, origin, partial = str(row[1]), bool(row[2]), row[3], bool(row[4])
        keys = [
            info
            for info in fetch(
                dbapi_connection, f"PRAGMA {_quoted(schema)}.index_xinfo({_quoted(name)})"
            )
            if info[5]
        ]
        sql = texts.get(name, "")
        expressions = key_texts(sql) if any(info[1] == -2 for info in keys) else []
        indexes.append(
            IndexFacts(
                name=name,
                columns=tuple(None if info[2] is None else str(info[2]) for info in keys),
                unique=unique,
                primary=origin == "pk",
                expressions=tuple(
                    text for text, info in zip(expressions, keys, strict=False) if info[1] == -2
                ),
                predicate=predicate_of(sql) if partial else None,
            )
        )
    return indexes


def _rows(
    dbapi_connection: DBAPIConnection, schema: str, table: str, *, rowid: bool
) -> float | None:
    """Rows by ``sqlite_stat1``, else by the density of the first ids."""
    place = _quoted(schema)
    stat = f"SELECT count(*) FROM {place}.sqlite_master WHERE name = 'sqlite_stat1'"  # noqa: S608 -- quoted names
    if schema != "temp" and fetch(dbapi_connection, stat)[0][0]:
        rows = fetch(
            dbapi_connection,
            f"SELECT stat FROM {place}.sqlite_stat1 WHERE tbl = ?",  # noqa: S608 -- quoted names
            (table,),
        )
        counts = [int(str(row[0]).split()[0]) for row in rows if str(row[0])[:1].isdecimal()]
        if counts:
            return float(max(counts))
    name = f"{place}.{_quoted(table)}"
    if not rowid:
        limited = f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT {_SAMPLED_ROWS + 1})"  # noqa: S608 -- quoted names
        counted = _int(fetch(dbapi_connection, limited)[0][0])
        return float(counted) if counted <= _SAMPLED_ROWS else None
    first = f"SELECT rowid AS number FROM {name} ORDER BY rowid LIMIT {_SAMPLED_ROWS}"  # noqa: S608 -- quoted names
    head = fetch(dbapi_connection, f"SELECT count(*), min(number), max(number) FROM ({first})")[0]  # noqa: S608 -- quoted names
    if _int(head[0]) < _SAMPLED_ROWS:
        return float(_int(head[0]))
    last = _int(fetch(dbapi_connection, f"SELECT max(rowid) FROM {name}")[0][0])  # noqa: S608 -- quoted names
    low, high = _int(head[1]), _int(head[2])
    estimate = _SAMPLED_ROWS * max(1.0, (last - low + 1) / max(1, high - low + 1))
    pages = _int(fetch(dbapi_connection, f"PRAGMA {place}.page_count")[0][0])
    size = _int(fetch(dbapi_connection, f"PRAGMA {place}.page_size")[0][0])
    return float(max(_SAMPLED_ROWS, min(estimate, pages * size / _LEAST_ROW_BYTES)))


def _is_rowid(column: tuple[object, ...], key: list[str]) -> bool:
    return len(key) == 1 and str(column[2]).upper() == "INTEGER"


def _collation(sql: str, column: str) -> str | None:
    """The COLLATE of a column's definition, read from its line of the CREATE TABLE."""
    match = re.search(
        rf"[(,]\s*[\"`\[]?{re.escape(column)}[\"`\]]?\s[^,]*?\bCOLLATE\s+[\"']?(\w+)",
        sql,
        re.IGNORECASE,
    )
    return match.group(1).lower() if match else None


def key_texts(sql: str) -> list[str]:
    """The expressions between the outer parentheses of a CREATE INDEX."""
    start = sql.find("(", sql.upper().find(" ON "))
    parts, depth, begin = [], 0, start + 1
    for position in range(max(start, 0), len(sql)):
        character = sql[position]
        depth += {"(": 1, ")": -1}.get(character, 0)
        if (character == "," and depth == 1) or (character == ")" and depth == 0):
            parts.append(sql[begin:position].strip())
            begin = position + 1
            if depth == 0:
                break
    return parts


def predicate_of(sql: str) -> str | None:
    """The condition of a CREATE INDEX; None where it has none."""
    found = re.search(r"\)\s*WHERE\s+(.*)\Z", sql, re.IGNORECASE | re.DOTALL)
    return found.group(1).strip() if found else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _int(value: object) -> int:
    return int(value) if isinstance(value, (int, float, str)) else 0
