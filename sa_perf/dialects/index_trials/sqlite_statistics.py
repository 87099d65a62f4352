"""What ANALYZE would write about SQLite tables, by samples.

Samples are drawn when a table is first asked about, and kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from sa_perf.dialects.dbapi import DBAPIConnection
from sa_perf.dialects.index_trials.sqlite_points import draw, rowid_name
from sa_perf.dialects.index_trials.sqlite_sampling import TableSample, UnreadableExpression
from sa_perf.dialects.index_trials.sqlite_shadow import IndexPart, Shadow, ShadowIndex
from sa_perf.dialects.index_trials.sqlite_source import SourceSchema, quoted

__all__ = ["Statistics", "key_expression"]

#: Written statistics are trusted while the number of rows is within this factor of theirs.
_STALE = 2.0


class Statistics:
    """Samples of the tables of one database.

    Args:
        dbapi_connection: the database's; only read from.
        source: its schema.
        seconds: for the sample of one table, > 0.
        now: the clock.
    """

    def __init__(
        self,
        dbapi_connection: DBAPIConnection,
        source: SourceSchema,
        *,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = dbapi_connection
        self._source = source
        self._seconds = seconds
        self._now = now
        self._samples: dict[tuple[str, str], TableSample | None] = {}

    def sample(self, shadow: Shadow, schema: str, table: str) -> TableSample | None:
        """Rows of a table; None where it has no key by which they can be drawn."""
        key = (schema.casefold(), table.casefold())
        if key not in self._samples:
            self._samples[key] = self._drawn(shadow, schema, table)
        return self._samples[key]

    def written(self, schema: str, table: str) -> list[tuple[object, ...]]:
        """The rows that ``sqlite_stat1`` has about a table."""
        return self._source.statistics.get((schema.casefold(), table.casefold()), [])

    def analyzed(self, shadow: Shadow, schema: str, table: str) -> list[tuple[object, ...]]:
        """The rows that it would have if ANALYZE ran now, with the indexes that the shadow has."""
        sample = self.sample(shadow, schema, table)
        written = self.written(schema, table)
        if sample is None:
            return list(written)
        if not sample.points.keys:
            return []  # of an empty table ANALYZE writes nothing
        known = {str(row[1]).casefold(): row for row in written if row[1] is not None}
        fresh = any(_is_fresh(row[2], sample.rows) for row in written)
        rows: list[tuple[object, ...]] = []
        whole = False
        for index in shadow.indexes(schema, table):
            whole = whole or index.predicate is None
            row = known.get(_stat_name(shadow, index).casefold()) if fresh else None
            if row is None:
                try:
                    row = (table, _stat_name(shadow, index), self._stat(sample, index))
                except UnreadableExpression:
                    if index.name in shadow.tried:
                        raise
                    row = known.get(_stat_name(shadow, index).casefold())
            if row is not None:
                rows.append(row)
        if not whole:
            rows.append((table, None, str(max(1, round(sample.rows)))))
        return rows

    def _stat(self, sample: TableSample, index: ShadowIndex) -> str:
        """The numbers of one index: its entries, then entries a distinct prefix, rounded up."""
        expressions = [key_expression(part) for part in index.parts]
        total = max(1, round(sample.rows * sample.fraction(index.predicate)))
        numbers = [total]
        for length in range(1, len(expressions) + 1):
            if index.unique and length == len(expressions):
                numbers.append(1)
                continue
            distinct = min(total, sample.distinct(expressions[:length], index.predicate))
            mean = math.ceil(total / distinct)
            # As src/analyze.c, statGet has it since 3.39.
            numbers.append(1 if mean == 2 and total * 10 <= distinct * 11 else mean)
        return " ".join(map(str, numbers))

    def _drawn(self, shadow: Shadow, schema: str, table: str) -> TableSample | None:
        found = self._source.find(table, schema)
        if found is None or found.kind != "table":
            return None
        columns = shadow.columns(schema, found.name)
        place = f"{quoted(schema)}.{quoted(found.name)}"
        key = shadow.primary_key(schema, found.name)
        by_rowid = shadow.has_rowid(schema, found.name)
        if by_rowid:
            types = dict(columns)
            name = rowid_name([name for name, _ in columns], [(k, types[k]) for k in key])
            if name is None:
                return None
            keys: Sequence[str] = (name,)
        else:
            keys = [quoted(name) for name in key]
        points = draw(
            self._connection, place, keys, by_rowid=by_rowid, seconds=self._seconds, now=self._now
        )
        listed = [quoted(name) for name, _ in columns]
        return TableSample(self._connection, place, points, columns=listed)


def key_expression(part: IndexPart) -> str:
    """SQL that is equal for two rows where an index has the same key for both."""
    text = part.expression if part.column is None else quoted(part.column)
    if part.column == "rowid":
        text = "rowid"
    if part.collation == "nocase":
        return f"CASE WHEN typeof({text}) = 'text' THEN lower({text}) ELSE {text} END"
    if part.collation == "rtrim":
        return f"CASE WHEN typeof({text}) = 'text' THEN rtrim({text}, ' ') ELSE {text} END"
    return text


def _stat_name(shadow: Shadow, index: ShadowIndex) -> str:
    """How ``sqlite_stat1`` calls an index: the key of a WITHOUT ROWID table by the table's name."""
    if (
        not index.made
        and not shadow.has_rowid(index.schema, index.table)
        and tuple(part.column for part in index.parts)[: len(index.parts)]
        == shadow.primary_key(index.schema, index.table)
    ):
        return index.table
    return index.name


def _is_fresh(stat: object, rows: float) -> bool:
    first = str(stat).split()[:1]
    if not first or not first[0].isdecimal():
        return False
    counted = max(1.0, float(first[0]))
    return counted / _STALE <= max(rows, 1.0) <= counted * _STALE
