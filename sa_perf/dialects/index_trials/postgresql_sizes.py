"""How large a B-tree would be, from statistics.

What is counted is an index just made: tuples, line pointers, 90 % full leaves, the levels above,
and equal keys stored once from PostgreSQL 13 on (manual, 67.4.3 Deduplication; _bt_load() in
src/backend/access/nbtree/nbtsort.c). What is not: the free space that writes leave over time, which
often makes it half as large again, values compressed or out of line, and columns that depend on
each other where no extended statistics say so (then it is smaller). HypoPG's own estimate knows
neither deduplication nor alignment, and adds 30 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.index_trials.postgresql_statistics import (
    ColumnStatistics,
    ExpressionStatistics,
    table_statistics,
)
from sa_perf.dialects.json_answers import decoded

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.index_trials.definition import IndexDefinition

__all__ = ["KeySize", "btree_bytes", "index_bytes"]

_PAGE = 8_192
#: Page header and B-tree's own part of a page (bufpage.h, nbtree.h).
_USABLE = (_PAGE - 24 - 16) * 0.9
_TUPLE_HEADER = 8
_LINE_POINTER = 4
_ROW_ID = 6
#: The most that one tuple of equal keys takes while an index is made: a tenth of a page.
_MAX_POSTING = 812
_ALIGNED = 8
_DEDUPLICATING_VERSION = 13
#: Equal values of these may look different, so they are stored one by one.
_NEVER_EQUAL = ("numeric", "real", "double precision", "json", "float")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySize:
    """One column or expression of an index.

    Attributes:
        width: bytes of an average value that is not NULL.
        alignment: of a value in bytes; 1 where its length varies.
        fixed: all values are of one length.
        nulls: share of the rows without a value.
        distinct: different values.
        common: shares of the most common values.
        type: the database's word.
    """

    width: float
    alignment: int
    fixed: bool
    nulls: float
    distinct: float
    common: tuple[float, ...]
    type: str


def btree_bytes(
    keys: Sequence[KeySize],
    included: Sequence[KeySize],
    *,
    rows: float,
    version: int,
    groups: float | None = None,
) -> int:
    """Size of an index.

    Args:
        keys: one at least.
        included: carried along.
        rows: that it holds.
        version: of the server, its first number.
        groups: different combinations of the keys, where that is known.
    """
    tuple_bytes = _tuple_bytes([*keys, *included])
    single = tuple_bytes + _LINE_POINTER
    deduplicates = (
        version >= _DEDUPLICATING_VERSION
        and not included
        and not any(key.type.startswith(_NEVER_EQUAL) or key.type.endswith("[]") for key in keys)
    )
    if deduplicates:
        counts = _groups(keys, rows, groups)
        total = sum(many * min(_group_bytes(n, tuple_bytes), n * single) for many, n in counts)
    else:
        total = rows * single
    leaves = max(1.0, total / (_USABLE - single))
    above = leaves * single / (_USABLE - single)
    return math.ceil(1 + leaves + above) * _PAGE


def index_bytes(
    dbapi_connection: DBAPIConnection,
    dialect: Dialect,
    index: IndexDefinition,
    expressions: Sequence[ExpressionStatistics | None],
    *,
    version: int,
) -> int | None:
    """Size of an index that is not there; None where the statistics do not tell.

    Args:
        dbapi_connection: in a transaction that will be rolled back.
        dialect: whose quoting applies.
        index: a B-tree.
        expressions: what is known of each key that is one, in the keys' order.
        version: of the server, its first number.
    """
    columns = [key.column for key in index.keys if key.column is not None]
    table = f"{index.schema}.{index.table}" if index.schema else index.table
    known = table_statistics(dbapi_connection, table, [*columns, *index.include])
    rows = known.rows
    if index.predicate is not None and rows:
        rows *= min(1.0, _expected(dbapi_connection, dialect, index) / rows)
    keys = []
    for key, expression in zip(index.keys, expressions, strict=True):
        size = (
            _of_column(known.columns.get(key.column.casefold()))
            if key.column is not None
            else _of_expression(expression)
        )
        keys.append(size)
    included = [_of_column(known.columns.get(name.casefold())) for name in index.include]
    found = [size for size in keys if size is not None]
    carried = [size for size in included if size is not None]
    if not rows or len(found) < len(keys) or len(carried) < len(included):
        return None
    numbers = frozenset(c.number for n in columns if (c := known.columns.get(n.casefold())))
    groups = known.together.get(numbers) if len(columns) == len(keys) else None
    return btree_bytes(found, carried, rows=rows, version=version, groups=groups)


def _expected(dbapi_connection: DBAPIConnection, dialect: Dialect, index: IndexDefinition) -> float:
    """Rows that the planner expects a partial index to hold."""
    schema = f"{dialect.quote(index.schema)}." if index.schema else ""
    table = schema + dialect.quote(index.table)
    statement = f"SELECT 1 FROM {table} WHERE {index.predicate}"  # noqa: S608 -- is not run
    answer = decoded(fetch(dbapi_connection, dialect.explain_sql(statement))[0][0])
    first = answer[0] if isinstance(answer, list) and answer else {}
    plan = first.get("Plan") if isinstance(first, Mapping) else None
    rows = plan.get("Plan Rows") if isinstance(plan, Mapping) else None
    return float(rows) if isinstance(rows, (int, float)) else 0.0


def _of_column(column: ColumnStatistics | None) -> KeySize | None:
    if column is None or column.width is None or column.distinct is None:
        return None
    return KeySize(
        width=column.width,
        alignment=column.alignment if column.length > 0 else 1,
        fixed=column.length > 0,
        nulls=column.nulls,
        distinct=column.distinct,
        common=tuple(share for _, share in column.common),
        type=column.type,
    )


def _of_expression(expression: ExpressionStatistics | None) -> KeySize | None:
    if expression is None:
        return None
    alignment = min(8, int(expression.width)) if expression.fixed else 1
    return KeySize(
        width=expression.width,
        alignment=max(1, alignment),
        fixed=expression.fixed,
        nulls=0.0,
        distinct=1.0 / expression.share,
        common=(),
        type=expression.type,
    )


def _tuple_bytes(columns: Sequence[KeySize]) -> float:
    size = float(_TUPLE_HEADER)
    varying = False
    for column in columns:
        if column.fixed and column.alignment > 1:
            # Behind a value whose length varies, half of the padding is needed on average.
            size = _up(size, column.alignment) if not varying else size + column.alignment / 2
        varying = varying or not column.fixed
        size += column.width * (1.0 - column.nulls)
    size += _ALIGNED * max((column.nulls for column in columns), default=0.0)
    return size + (_ALIGNED - 1) / 2 if varying else _up(size, _ALIGNED)


def _groups(
    keys: Sequence[KeySize], rows: float, groups: float | None
) -> list[tuple[float, float]]:
    """How many groups of equal keys there are, and how many rows each holds."""
    if len(keys) == 1:
        key = keys[0]
        found = [(1.0, share * rows) for share in (*key.common, key.nulls) if share > 0]
        rest = max(0.0, 1.0 - key.nulls - sum(key.common)) * rows
        others = min(max(1.0, key.distinct - len(key.common)), max(rest, 1.0))
        return [*found, (others, rest / others)] if rest > 0 else found
    possible = groups or math.prod(max(1.0, key.distinct) for key in keys)
    # Rows thrown at random into so many groups leave some empty.
    filled = max(1.0, -possible * math.expm1(-rows / possible)) if not groups else possible
    filled = min(filled, max(rows, 1.0))
    return [(filled, rows / filled)]


def _group_bytes(rows: float, tuple_bytes: float) -> float:
    if rows <= 1.0:
        return rows * (tuple_bytes + _LINE_POINTER)
    fit = max(2.0, (_MAX_POSTING - tuple_bytes) // _ROW_ID)
    postings = math.ceil(rows / fit)
    padding = (_ALIGNED - 1) / 2
    return postings * (tuple_bytes + _LINE_POINTER + padding) + rows * _ROW_ID


def _up(size: float, alignment: int) -> float:
    return math.ceil(size / alignment) * float(alignment)
