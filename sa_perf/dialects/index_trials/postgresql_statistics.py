"""What PostgreSQL's statistics say about columns: skew and width.

One query on pg_stats for a table, which shows the columns that the connection's role may read.
Of a table that others inherit from, or that is partitioned, the statistics over all of it count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.postgresql_catalog import literal, qualified

__all__ = ["ColumnStatistics", "TableStatistics", "matched_share", "table_statistics"]

_COLUMNS = """
SELECT a.attname, a.attnum, a.attlen, a.attalign, pg_catalog.format_type(a.atttypid, NULL),
       s.avg_width, s.null_frac::float8, s.n_distinct::float8,
       common.frequencies, common.squares, common.values
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN LATERAL (
       SELECT * FROM pg_catalog.pg_stats
        WHERE schemaname = n.nspname AND tablename = c.relname AND attname = a.attname
        ORDER BY inherited DESC LIMIT 1) s ON true
 CROSS JOIN LATERAL (
       SELECT sum(f)::float8 AS frequencies, sum(f * f)::float8 AS squares, count(f) AS values
         FROM unnest(s.most_common_freqs) AS most (f)) common
 WHERE c.oid = pg_catalog.to_regclass({name}) AND a.attname IN ({columns})
"""
_ROWS = """
SELECT sum(part.reltuples::float8)
  FROM pg_catalog.pg_class part
 WHERE part.reltuples >= 0
   AND (part.oid = pg_catalog.to_regclass({name}) AND part.relkind <> 'p'
        OR part.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(
                        pg_catalog.to_regclass({name})) WHERE isleaf))
"""
_TOGETHER = """
SELECT e.n_distinct::text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_stats_ext e ON e.schemaname = n.nspname AND e.tablename = c.relname
 WHERE c.oid = pg_catalog.to_regclass({name}) AND e.n_distinct IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatistics:
    """One column, as the last ANALYZE saw it.

    Attributes:
        number: its place in the table, from 1.
        type: the database's word, without modifiers.
        length: bytes of a value; -1 where it varies.
        alignment: of a value, in bytes.
        width: bytes of an average value; None if unknown, as all that follows.
        nulls: share of the rows without a value.
        distinct: different values.
        frequencies: sum of the shares of the most common values.
        squares: sum of the squares of those.
        values: how many of those there are.
    """

    number: int
    type: str
    length: int
    alignment: int
    width: float | None
    nulls: float
    distinct: float | None
    frequencies: float
    squares: float
    values: int

    @property
    def matched_share(self) -> float | None:
        """Share of the rows that equal the value of a row that has one; None if unknown."""
        if self.distinct is None:
            return None
        rest = max(0.0, 1.0 - self.nulls - self.frequencies)
        others = max(self.distinct - self.values, 1.0)
        having = max(1.0 - self.nulls, 1e-9)
        return min(1.0, (self.squares + rest * rest / others) / having)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStatistics:
    """Some columns of a table.

    Attributes:
        rows: by the last ANALYZE; 0 where it never ran.
        columns: by their names in lower case.
        together: number of different groups of values, by the columns' numbers.
    """

    rows: float
    columns: Mapping[str, ColumnStatistics]
    together: Mapping[frozenset[int], float]


def table_statistics(
    dbapi_connection: DBAPIConnection, table: str, columns: Sequence[str]
) -> TableStatistics:
    """Read what is known of a table's columns; what does not exist is left out.

    Args:
        dbapi_connection: in a transaction.
        table: ``schema.name``, or a name that the search_path finds.
        columns: as the catalog spells them.
    """
    name = literal(qualified(table))
    listed = ", ".join(literal(column) for column in columns) or "NULL"
    rows = fetch(dbapi_connection, _ROWS.format(name=name))
    count = _number(rows[0][0]) or 0.0
    found = fetch(dbapi_connection, _COLUMNS.format(name=name, columns=listed))
    together: dict[frozenset[int], float] = {}
    if len(columns) > 1:
        for (text,) in fetch(dbapi_connection, _TOGETHER.format(name=name)):
            for numbers, distinct in json.loads(str(text)).items():
                together[frozenset(int(n) for n in numbers.split(","))] = float(distinct)
    return TableStatistics(
        rows=count,
        columns={str(row[0]).casefold(): _column(row, count) for row in found},
        together=together,
    )


def matched_share(statistics: TableStatistics, columns: Sequence[str]) -> float | None:
    """Share of the rows that equal a row drawn at random in all of these columns.

    Columns are taken as independent unless extended statistics tell their distinct groups.
    """
    known = [statistics.columns.get(column.casefold()) for column in columns]
    shares, distincts = [], []
    for column in known:
        share = column.matched_share if column is not None else None
        if column is None or share is None or column.distinct is None:
            return None
        shares.append(share)
        distincts.append(column.distinct)
    product = math.prod(shares)
    numbers = frozenset(column.number for column in known if column is not None)
    groups = statistics.together.get(numbers)
    if groups:
        product *= max(1.0, math.prod(distincts) / groups)
    floor = 1.0 / statistics.rows if statistics.rows > 0 else 0.0
    return min(max(product, floor), *shares, 1.0)


def _column(row: Sequence[object], rows: float) -> ColumnStatistics:
    distinct = _number(row[7])
    if distinct is not None and distinct <= 0:
        # -1 is: as many as there are rows. 0 is: not known.
        distinct = -distinct * rows if distinct and rows else None
    return ColumnStatistics(
        number=int(str(row[1])),
        length=int(str(row[2])),
        alignment={"c": 1, "s": 2, "i": 4, "d": 8}.get(_text(row[3]), 4),
        type=str(row[4]),
        width=_number(row[5]),
        nulls=_number(row[6]) or 0.0,
        distinct=distinct if distinct is None else max(distinct, 1.0),
        frequencies=_number(row[8]) or 0.0,
        squares=_number(row[9]) or 0.0,
        values=int(str(row[10])),
    )


def _text(value: object) -> str:
    # asyncpg gives "char" as bytes.
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
