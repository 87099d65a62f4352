"""Catalog of MySQL and MariaDB: sizes, columns and indexes.

Three queries on information_schema, whatever the number of tables. InnoDB's row counts are
estimates from a few pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sa_perf.dialects.dbapi import DBAPIConnection
from sa_perf.dialects.facts import ColumnFacts, IndexFacts, TableFacts

__all__ = ["table_facts"]

_MAX_TABLES = 50
_TABLES = """
SELECT table_schema AS found_schema, table_name AS found_name, table_rows AS found_rows,
       data_length AS found_bytes
  FROM information_schema.tables WHERE ({wanted}) AND table_type = 'BASE TABLE'
"""
_COLUMNS = """
SELECT table_schema AS found_schema, table_name AS found_name, column_name AS found_column,
       column_type AS found_type, is_nullable AS found_nullable, collation_name AS found_collation
  FROM information_schema.columns WHERE {wanted} ORDER BY ordinal_position
"""
_INDEXES = "SELECT * FROM information_schema.statistics WHERE {wanted} ORDER BY seq_in_index"


def table_facts(dbapi_connection: DBAPIConnection, tables: Iterable[str]) -> dict[str, TableFacts]:
    """Facts of the tables that exist, by the name that was asked for."""
    asked = list(tables)[:_MAX_TABLES]
    if not asked:
        return {}
    wanted = " OR ".join(_condition(name) for name in asked)
    found: dict[tuple[str, str], TableFacts] = {}
    columns = _grouped(_named(dbapi_connection, _COLUMNS.format(wanted=wanted)), "found")
    indexes = _grouped(_named(dbapi_connection, _INDEXES.format(wanted=wanted)), "table")
    for row in _named(dbapi_connection, _TABLES.format(wanted=wanted)):
        key = (str(row["found_schema"]), str(row["found_name"]))
        found[key] = TableFacts(
            name=key[1],
            rows_estimate=_number(row["found_rows"]),
            bytes=None if row["found_bytes"] is None else int(str(row["found_bytes"])),
            columns=tuple(_column(column) for column in columns.get(key, [])),
            indexes=_indexes(indexes.get(key, [])),
        )
    result: dict[str, TableFacts] = {}
    for name in asked:
        schema, _, table = name.rpartition(".")
        for (in_schema, found_name), facts in found.items():
            if found_name.lower() == table.lower() and schema in ("", in_schema):
                result[name] = facts
    return result


def _named(dbapi_connection: DBAPIConnection, sql: str) -> list[dict[str, object]]:
    """Rows by lower-case column name: MySQL 8 answers in upper case, and has more columns."""
    dbapi_cursor = dbapi_connection.cursor()
    try:
        dbapi_cursor.execute(sql)
        names = [_decoded(column[0]).lower() for column in dbapi_cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in dbapi_cursor.fetchall()]
    finally:
        dbapi_cursor.close()


def _grouped(
    rows: Sequence[dict[str, object]], prefix: str
) -> dict[tuple[str, str], list[dict[str, object]]]:
    groups: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in rows:
        key = (str(row[f"{prefix}_schema"]), str(row[f"{prefix}_name"]))
        groups.setdefault(key, []).append(row)
    return groups


def _column(row: dict[str, object]) -> ColumnFacts:
    collation = row["found_collation"]
    return ColumnFacts(
        name=str(row["found_column"]),
        type=_decoded(row["found_type"]).lower(),
        nullable=str(row["found_nullable"]).upper() == "YES",
        collation=None if collation is None else str(collation),
    )


def _indexes(rows: Sequence[dict[str, object]]) -> tuple[IndexFacts, ...]:
    keys: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        keys.setdefault(str(row["index_name"]), []).append(row)
    found = [
        IndexFacts(
            name=name,
            # A key on the first characters of a column finds equal values, but no order.
            columns=tuple(
                None if row["column_name"] is None else str(row["column_name"]) for row in parts
            ),
            unique=str(parts[0]["non_unique"]) == "0",
            primary=name == "PRIMARY",
            expressions=tuple(
                _decoded(row["expression"]) for row in parts if row.get("expression") is not None
            ),
            method=str(parts[0]["index_type"]).lower(),
        )
        for name, parts in keys.items()
    ]
    return tuple(sorted(found, key=lambda index: (not index.primary, index.name)))


def _condition(name: str) -> str:
    schema, _, table = name.rpartition(".")
    where = _literal(schema) if schema else "DATABASE()"
    return f"(table_schema = {where} AND table_name = {_literal(table)})"


def _literal(text: str) -> str:
    # As hexadecimal digits: right under any sql_mode, whatever the name holds.
    digits = text.encode("utf-8", "replace").hex()
    return f"CONVERT(X'{digits}' USING utf8mb4)"


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
