"""How far a store's spans are added up, and which narrow ones are kept."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, func, select, true

from sa_perf.store.spans import Levels
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE, levels, queries

__all__ = ["read_levels"]


def read_levels(connection: Connection) -> Levels:
    """Read them by some ten statements of one row each; two sums while the store is young.

    Args:
        connection: to the store.
    """
    rolled = {row.width: row.rolled_at for row in connection.execute(select(levels))}
    oldest: dict[int, int] = {}
    newest: dict[int, int] = {}
    for width, table in queries.items():
        # Each end by itself is one row of the key; both at once would read all of them on SQLite.
        ends = [connection.scalar(select(end(table.c.began_at))) for end in (func.min, func.max)]
        if ends[0] is not None and ends[1] is not None:
            oldest[width], newest[width] = ends[0], ends[1] + width
    hours, days = rolled.get(HOUR, 0), rolled.get(DAY, 0)
    whole_minutes = _whole(connection, oldest, MINUTE, HOUR)
    whole_hours = _whole(connection, oldest, HOUR, DAY)
    first = min(oldest.values(), default=None)
    # The sum of an hour does not say when in it the store began, but its minutes do.
    for width, whole in ((HOUR, whole_hours), (MINUTE, whole_minutes)):
        if first is not None and whole is not None and whole <= first:
            first = oldest[width]
    return Levels(
        rolled_hours=max(hours, days),
        rolled_days=days,
        whole_minutes=whole_minutes,
        whole_hours=whole_hours,
        oldest=first,
        newest=max(newest.values(), default=None),
    )


def _whole(connection: Connection, oldest: Mapping[int, int], narrow: int, wide: int) -> int | None:
    """From when on every row of a width is kept.

    Of the wider span in which the oldest one lies some may be gone. In the first of a store, where
    everybody begins, that is looked up: all is there where the calls are the same.
    """
    if narrow not in oldest:
        return None
    begin = oldest[narrow] // wide * wide
    if oldest.get(wide, 0) == begin:
        calls = [
            connection.scalar(
                select(func.sum(table.c.calls)).where(
                    table.c.began_at >= begin, table.c.began_at < begin + wide, merged
                )
            )
            for table, merged in (
                (queries[narrow], true()),
                (queries[wide], queries[wide].c.process_id == MERGED),
            )
        ]
        if calls[0] == calls[1]:
            return begin
    return begin if begin == oldest[narrow] else begin + wide
