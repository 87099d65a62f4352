"""Rows of a SQLite table drawn at random, in bounded time.

Neighbouring rows tend to hold the same values, so a block of them would say that there are few.
Each row is therefore looked for by a key of its own: a random rowid, or, in a WITHOUT ROWID table,
the key that stands a random number of entries behind the one before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.index_trials.sqlite_source import quoted

__all__ = ["Points", "draw", "rowid_name"]

#: Rows to draw; smaller tables are read whole.
WANTED = 5_000
_BATCH = 500
_PROBES = 120
#: A gap that is this share of the range is left out of what is drawn from.
_WIDE = 0.01
_NAME = "sa_perf_point"


@dataclass(kw_only=True)
class Points:
    """Keys of rows, each a tuple of the values of the table's key.

    Attributes:
        key: SQL of the key's columns.
        keys: of the rows that were drawn, without repetition.
        rows: how many the table has, estimated unless `whole`.
        whole: every row was drawn.
        whole_range: rows were drawn from everywhere; else time was over before.
    """

    key: tuple[str, ...]
    keys: list[tuple[object, ...]] = field(default_factory=list)
    rows: float = 0.0
    whole: bool = False
    whole_range: bool = True


@dataclass(frozen=True, kw_only=True)
class _Table:
    connection: DBAPIConnection
    name: str
    key: tuple[str, ...]
    deadline: float
    now: Callable[[], float]
    random: random.Random

    @property
    def late(self) -> bool:
        return self.now() > self.deadline

    def fetch(self, sql: str, parameters: object = None) -> list[tuple[object, ...]]:
        return fetch(self.connection, sql, parameters)


def rowid_name(columns: Sequence[str], primary_key: Sequence[tuple[str, str]]) -> str | None:
    """A name by which the rowid can be asked for; None where columns hide all of them.

    Args:
        columns: the table's.
        primary_key: names and types of its primary key's columns.
    """
    taken = {column.casefold() for column in columns}
    for name in ("rowid", "_rowid_", "oid"):
        if name not in taken:
            return name
    if len(primary_key) == 1 and primary_key[0][1] == "INTEGER":
        return quoted(primary_key[0][0])
    return None


def draw(
    dbapi_connection: DBAPIConnection,
    table: str,
    key: Sequence[str],
    *,
    by_rowid: bool,
    seconds: float,
    now: Callable[[], float] = time.monotonic,
) -> Points:
    """Draw some `WANTED` rows; the same ones from the same table.

    Reads about 5,000 pages of a rowid table. Of a WITHOUT ROWID table all leaves are passed, some
    20 million rows a second, unless time is over before.

    Args:
        dbapi_connection: is only read from.
        table: quoted, with its schema.
        key: SQL of the columns that identify a row, in the order in which rows are stored.
        by_rowid: the key is the rowid.
        seconds: when to stop, >= 0; one query may pass it.
        now: the clock.
    """
    source = _Table(
        connection=dbapi_connection,
        name=table,
        key=tuple(key),
        deadline=now() + seconds,
        now=now,
        random=random.Random(table),  # noqa: S311 -- a sample, no secret
    )
    listed = ", ".join(key)
    head = source.fetch(f"SELECT {listed} FROM {table} ORDER BY {listed} LIMIT {WANTED + 1}")  # noqa: S608 -- quoted names
    points = Points(key=source.key, keys=head, rows=float(len(head)), whole=True)
    if len(head) <= WANTED:
        return points
    points.whole = False
    if by_rowid:
        _draw_rowids(source, points)
    else:
        _hop(source, points)
    return points


# By rowid


def _draw_rowids(source: _Table, points: Points) -> None:
    key = source.key[0]
    ends = [
        source.fetch(f"SELECT {key} FROM {source.name} ORDER BY {key} {order} LIMIT 1")[0][0]  # noqa: S608 -- quoted names
        for order in ("ASC", "DESC")
    ]
    ranges = [(_int(ends[0]), _int(ends[1]))]
    inverse = 0.0
    probed = 0
    for _ in range(12):
        found = _neighbours(source, _random_ids(source, ranges, _PROBES))
        length = sum(high - low + 1 for low, high in ranges)
        wide = {gap for gap in found if gap[1] - gap[0] > length * _WIDE and gap[1] - gap[0] > 1}
        if not wide or source.late:
            break
        ranges = _without(ranges, wide)
    keys: dict[int, None] = {}
    rounds = 0
    length = sum(high - low + 1 for low, high in ranges)
    while len(keys) < WANTED and rounds < 4 * WANTED // _BATCH and not (rounds and source.late):
        rounds += 1
        ids = _random_ids(source, ranges, _BATCH)
        if probed < 4 * _BATCH:
            found = _neighbours(source, ids)
            inverse += sum(1 / (high - low) for low, high in found)
            probed += len(found)
            keys.update(dict.fromkeys(high for _, high in found))
        else:
            keys.update(dict.fromkeys(_next(source, ids)))
    points.keys = [(number,) for number in sorted(keys)]
    # A random id lies in a gap with a chance that grows with its width, so the mean of 1 / width
    # over them is the number of gaps, which is that of rows, by the length of the range.
    points.rows = max(float(len(keys)), length * inverse / max(1, probed))


def _random_ids(source: _Table, ranges: Sequence[tuple[int, int]], count: int) -> list[int]:
    lengths = [high - low + 1 for low, high in ranges]
    chosen = source.random.choices(ranges, weights=lengths, k=count)
    return [source.random.randint(low, high) for low, high in chosen]


def _neighbours(source: _Table, ids: Sequence[int]) -> list[tuple[int, int]]:
    """For each id the last rowid before it and the first one from it on."""
    key, name = source.key[0], source.name
    rows = source.fetch(
        f"WITH {_NAME}(x) AS (VALUES {_values(ids)}) SELECT "  # noqa: S608 -- numbers and quoted names
        f"(SELECT {key} FROM {name} WHERE {key} < {_NAME}.x ORDER BY {key} DESC LIMIT 1), "
        f"(SELECT {key} FROM {name} WHERE {key} >= {_NAME}.x ORDER BY {key} LIMIT 1), "
        f"{_NAME}.x FROM {_NAME}"
    )
    return [
        (_int(low) if low is not None else _int(x) - 1, _int(high))
        for low, high, x in rows
        if high is not None
    ]


def _next(source: _Table, ids: Sequence[int]) -> list[int]:
    key, name = source.key[0], source.name
    rows = source.fetch(
        f"WITH {_NAME}(x) AS (VALUES {_values(ids)}) SELECT "  # noqa: S608 -- numbers and quoted names
        f"(SELECT {key} FROM {name} WHERE {key} >= {_NAME}.x ORDER BY {key} LIMIT 1) FROM {_NAME}"
    )
    return [_int(row[0]) for row in rows if row[0] is not None]


def _values(ids: Sequence[int]) -> str:
    return ", ".join(f"({number})" for number in ids)


def _without(
    ranges: Sequence[tuple[int, int]], gaps: set[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Ranges of ids without those that lie between two neighbours."""
    left = list(ranges)
    for before, after in sorted(gaps):
        cut = []
        for low, high in left:
            if after <= low or before >= high:
                cut.append((low, high))
                continue
            if low <= before:
                cut.append((low, before))
            if after <= high:
                cut.append((after, high))
        left = cut
    return left


# By any other key


def _hop(source: _Table, points: Points) -> None:
    """Pass over the table in steps whose mean length doubles whenever there are too many."""
    listed = ", ".join(source.key)
    marks = ", ".join("?" * len(source.key))
    sql = f"SELECT {listed} FROM {source.name} WHERE ({listed}) > ({marks}) ORDER BY {listed} LIMIT 1 OFFSET ?"  # noqa: E501, S608 -- quoted names
    step = 32
    place = source.fetch(f"SELECT {listed} FROM {source.name} ORDER BY {listed} LIMIT 1")[0]  # noqa: S608 -- quoted names
    keys = [place]
    passed = 1
    while not source.late:
        skipped = source.random.randrange(2 * step - 1)
        rows = source.fetch(sql, (*place, skipped))
        if not rows:
            passed += step
            break
        place = rows[0]
        keys.append(place)
        passed += skipped + 1
        if len(keys) > 2 * WANTED:
            keys = keys[::2]
            step *= 2
    else:
        points.whole_range = False
    points.keys = keys
    points.rows = float(passed)


def _int(value: object) -> int:
    return int(str(value))
