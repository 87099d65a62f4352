"""What PostgreSQL's statistics say about columns: skew and width.

pg_stats shows the columns that the connection's role may read. Values that are read there, to be
compared with in a plan, stay in this process and go back to the same server only.
Of a table that others inherit from, or that is partitioned, the statistics over all of it count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.postgresql_catalog import literal, qualified

__all__ = [
    "ColumnStatistics",
    "ExpressionStatistics",
    "TableStatistics",
    "expression_statistics",
    "matched_share",
    "table_statistics",
]

_COLUMNS = """
SELECT a.attname, a.attnum, a.attlen, a.attalign, pg_catalog.format_type(a.atttypid, NULL),
       s.avg_width, s.null_frac::float8, s.n_distinct::float8,
       common.frequencies, common.squares, common.values,
       s.most_common_vals::text::text[], s.most_common_freqs::float8[],
       s.histogram_bounds::text::text[]
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

#: About as many pages of a table are read to see how often an expression's values recur.
_SAMPLED_PAGES = 300
_SAMPLE = """
SELECT sum(g.n * (g.n - 1)), sum(g.n), sum(g.width) / sum(g.n), min(g.type), min(g.length)
  FROM (SELECT count(*)::float8 AS n, sum(pg_catalog.pg_column_size(key))::float8 AS width,
               min(pg_catalog.format_type(t.oid, NULL)) AS type, min(t.typlen) AS length
          FROM (SELECT {expression} AS key FROM {table} TABLESAMPLE SYSTEM ({percent})) AS sample
          JOIN pg_catalog.pg_type t ON t.oid = pg_catalog.pg_typeof(key)
         WHERE key IS NOT NULL
         GROUP BY key) AS g
"""
_PAGES = """
SELECT sum(pg_catalog.pg_relation_size(c.oid)::float8) / 8192
  FROM pg_catalog.pg_class c
 WHERE c.oid = pg_catalog.to_regclass({name}) AND c.relkind <> 'p'
    OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(
                 pg_catalog.to_regclass({name})) WHERE isleaf)
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
        common: the most common values as texts, with their shares.
        bounds: of groups of equally many rows among the others, in order, as texts.
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
    common: tuple[tuple[str, float], ...] = ()
    bounds: tuple[str, ...] = ()

    @property
    def average_share(self) -> float | None:
        """Share of the rows that the planner expects for a value that it does not know."""
        if self.distinct is None:
            return None
        average = (1.0 - self.nulls) / self.distinct
        return min([average, *(frequency for _, frequency in self.common[:1])])

    def quantile(self, share: float) -> str | None:
        """A value that about this share of the rows lies below; None if unknown."""
        if len(self.bounds) < 2:
            return None
        position = min(max(share, 0.0), 1.0) * (len(self.bounds) - 1)
        before = min(int(position), len(self.bounds) - 2)
        low, high = self.bounds[before : before + 2]
        between = _between(low, high, position - before)
        return between if between is not None else (low if position - before < 0.5 else high)

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
class ExpressionStatistics:
    """An expression over a sample of a table's rows.

    Attributes:
        share: of the rows that have its value in common with one drawn at random. Pairs are
            counted, so the sample's size does not matter to the mean; that neighbours are alike
            makes it too high, never too low.
        width: bytes of an average value.
        fixed: all values are of one length.
        type: the database's word.
    """

    share: float
    width: float
    fixed: bool
    type: str


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
        dbapi_connection: in a transaction that will be rolled back.
        table: ``schema.name``, or a name that the search_path finds.
        columns: as the catalog spells them.
    """
    name = literal(qualified(table))
    for setting in ("datestyle = 'ISO, YMD'", "timezone = 'UTC'"):
        fetch(dbapi_connection, f"SET LOCAL {setting}")
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


def expression_statistics(
    dbapi_connection: DBAPIConnection, table: str, expression: str
) -> ExpressionStatistics | None:
    """What a sample of some pages says about an expression; None for an empty table.

    Runs the expression on up to some ten thousand rows.

    Args:
        dbapi_connection: in a transaction with a time limit.
        table: quoted as it must be.
        expression: in PostgreSQL's SQL; one that an index may have, so it changes nothing.
    """
    pages = _number(fetch(dbapi_connection, _PAGES.format(name=literal(table)))[0][0]) or 0.0
    percent = min(100.0, 100.0 * _SAMPLED_PAGES / max(pages, 1.0))
    sql = _SAMPLE.format(expression=expression, table=table, percent=f"{percent:.6f}")
    found = fetch(dbapi_connection, sql)[0]
    pairs, rows, width = (_number(value) or 0.0 for value in found[:3])
    if rows < 2:
        return None
    length = int(str(found[4]))
    return ExpressionStatistics(
        # No pair in so many says no more than that there are few (rule of three).
        share=min(1.0, max(pairs, 6.0) / (rows * (rows - 1.0))),
        # A short value's length takes one byte in an index, where four were counted.
        width=float(length) if length > 0 else max(1.0, width - 3.0),
        fixed=length > 0,
        type=str(found[3]),
    )


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
        common=tuple(zip(_texts(row[11]), _numbers(row[12]), strict=False)),
        bounds=tuple(_texts(row[13])),
    )


def _between(low: str, high: str, share: float) -> str | None:
    """A number or a point in time between two, as text; None where they are neither."""
    with suppress(ValueError, OverflowError):
        first, last = float(low), float(high)
        middle = first + (last - first) * share
        whole = low.lstrip("-").isdecimal() and high.lstrip("-").isdecimal()
        return str(round(middle)) if whole else repr(middle)
    with suppress(ValueError, OverflowError):
        start, end = (datetime.fromisoformat(text.removesuffix("+00")) for text in (low, high))
        moment = start + (end - start) * share
        zone = "+00" if low.endswith("+00") else ""
        return f"{moment.date() if len(low) == 10 else moment}{zone}"
    return None


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def _numbers(value: object) -> list[float]:
    return [float(item) for item in value] if isinstance(value, (list, tuple)) else []


def _text(value: object) -> str:
    # asyncpg gives "char" as bytes.
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
