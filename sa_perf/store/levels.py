"""Hours out of minutes, and days out of hours.

Sums over all processes take less room than the rows of each. An hour is closed some minutes after
its end: from then on a batch that comes late is written to the hour itself. What stands in its
minutes does not change any more, so it is added up without a lock, piece by piece; and whoever is
stopped halfway is followed by another process, which leaves what is there. At last the hour is said
to hold everything, and readers leave its minutes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Table, and_, func, or_, select, update

from sa_perf.dialects.keeping import upsert
from sa_perf.store.histogram_blob import to_blob
from sa_perf.store.spans import Piece
from sa_perf.store.stored_histograms import summed
from sa_perf.store.sums import (
    query_histograms,
    query_sums,
    scope_sums,
    transaction_histograms,
    transaction_sums,
)
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE, levels, queries, scopes, transactions

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["GRACE_SECONDS", "Rolled", "roll_up"]

#: A span is closed so long after its end: by then the last flush of it has come, or is late.
GRACE_SECONDS = 3 * MINUTE
#: Whoever rolls up and is not heard of for so long is followed by another process.
_LEASE_SECONDS = 10 * MINUTE
#: Spans rolled up at once, so that a store that was left alone for long is not done in one go.
_SPANS_AT_ONCE = 48
#: Statements whose histograms are added up between two pauses: some 50 ms of work.
_STATEMENTS_AT_ONCE = 10
_NARROWER = {HOUR: MINUTE, DAY: HOUR}


@dataclass(frozen=True, slots=True)
class Rolled:
    """What was rolled up.

    Attributes:
        ends: of the hours and days; seconds since 1970 UTC.
        unreadable: histograms that could not be read and were left out.
    """

    ends: tuple[int, ...] = ()
    unreadable: int = 0


def roll_up(
    connection: Connection,
    owner: str,
    now: float,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Rolled:
    """Add up the hours and days that are over; does nothing while another process does so.

    Args:
        connection: in no transaction.
        owner: the process's token.
        now: seconds since 1970 UTC.
        sleep: makes pauses, as long as the work before them.
    """
    done = Rolled()
    for width in (HOUR, DAY):
        if not _due(connection, width, now) or not _lease(connection, width, owner, now):
            continue
        work = _Work(connection, width, sleep)
        for begin in _spans(connection, width, now):
            work.roll(begin)
        _release(connection, width, owner)
        done = Rolled((*done.ends, *work.ends), done.unreadable + work.unreadable)
    return done


class _Work:
    """Rolls up spans of one width."""

    def __init__(
        self, connection: Connection, width: int, sleep: Callable[[float], object]
    ) -> None:
        self._connection = connection
        self._width = width
        self._sleep = sleep
        self.ends: list[int] = []
        self.unreadable = 0

    def roll(self, begin: int) -> None:
        end = begin + self._width
        self._set(closed_at=end)
        piece = Piece(width=_NARROWER[self._width], begin=begin, end=end)
        with self._connection.begin():
            found = query_sums(self._connection, [piece])
            named = scope_sums(self._connection, [piece])
            ended = transaction_sums(self._connection, [piece])
            blobs = list(transaction_histograms(self._connection, [piece]))
        for at in range(0, len(found), _STATEMENTS_AT_ONCE):
            started = time.perf_counter()
            self._roll_statements(piece, found[at : at + _STATEMENTS_AT_ONCE])
            self._sleep(time.perf_counter() - started)
        self._insert(scopes, "name", begin, [dict(one._mapping) for one in named])
        rows = [dict(one._mapping) for one in ended if one.commits is not None]
        for row in rows:
            row["histogram"] = self._blob(summed(blobs))
        self._insert(transactions, None, begin, rows)
        self._set(rolled_at=end)
        self.ends.append(end)

    def _roll_statements(self, piece: Piece, sums: Sequence[Any]) -> None:
        numbers = [one.statement_id for one in sums]
        with self._connection.begin():
            blobs = query_histograms(self._connection, [piece], numbers)
        rows = [
            {**one._mapping, "histogram": self._blob(summed(blobs.get(one.statement_id, {})))}
            for one in sums
        ]
        self._insert(queries, "statement_id", piece.begin, rows)

    def _blob(self, read: tuple[Any, int]) -> bytes:
        histogram, unreadable = read
        self.unreadable += unreadable
        return to_blob(histogram)

    def _insert(
        self,
        tables: dict[int, Table],
        key: str | None,
        begin: int,
        rows: Sequence[dict[str, Any]],
    ) -> None:
        """Leave the rows that stand there: whoever was stopped halfway wrote them."""
        if not rows:
            return
        table = tables[self._width]
        whole = [
            {
                **{name: _plain(value, table, name) for name, value in one.items()},
                "began_at": begin,
                "process_id": MERGED,
                "flush": MERGED,
            }
            for one in rows
        ]
        unique = ["began_at", *([key] if key else []), "process_id", "flush"]
        with self._connection.begin():
            self._connection.execute(upsert(self._connection.dialect, table, unique), whole)

    def _set(self, **moved: int) -> None:
        """Move on, never back: who takes longer than its lease may be overtaken."""
        ((name, moment),) = moved.items()
        own = levels.c.width == self._width, levels.c[name] < moment
        with self._connection.begin():
            self._connection.execute(update(levels).where(*own).values(moved))


def _plain(value: Any, table: Table, name: str) -> Any:  # noqa: ANN401  # whatever drivers give
    """A sum as its column has it: databases widen whole numbers, and of no row it is NULL."""
    if name in ("name", "last_error", "histogram"):
        return value
    kind = int if isinstance(table.c[name].type, BigInteger) else float
    return kind(value or 0)


def _due(connection: Connection, width: int, now: float) -> bool:
    """Whether a span of that width is over that is not rolled up yet."""
    with connection.begin():
        asked = select(levels.c.rolled_at).where(levels.c.width == width)
        rolled_at = connection.execute(asked).scalar()
    return rolled_at is not None and rolled_at + width <= _end(connection, width, now)


def _end(connection: Connection, width: int, now: float) -> int:
    """Before it, spans of that width are over and all that they are made of is there."""
    end = int(now - GRACE_SECONDS) // width * width
    if width == DAY:
        with connection.begin():
            asked = select(levels.c.rolled_at).where(levels.c.width == HOUR)
            end = min(end, (connection.execute(asked).scalar() or 0) // DAY * DAY)
    return end


def _spans(connection: Connection, width: int, now: float) -> list[int]:
    """Begins of the spans to roll up, the oldest first; those without any row are passed over."""
    table = queries[_NARROWER[width]]
    end = _end(connection, width, now)
    with connection.begin():
        asked = select(levels.c.rolled_at).where(levels.c.width == width)
        begin: int = connection.execute(asked).scalar_one()
        tables = (queries, scopes, transactions)
        found: set[int] = set()
        for one in tables:
            table = one[_NARROWER[width]]
            within = and_(table.c.began_at >= begin, table.c.began_at < end)
            first, last = connection.execute(
                select(func.min(table.c.began_at), func.max(table.c.began_at)).where(within)
            ).one()
            if first is not None:
                found |= set(range(first // width * width, last + 1, width))
        if not found and end > begin:
            row = update(levels).where(levels.c.width == width)
            connection.execute(row.values(closed_at=end, rolled_at=end))
    return sorted(found)[:_SPANS_AT_ONCE]


def _lease(connection: Connection, width: int, owner: str, now: float) -> bool:
    free = or_(
        levels.c.owner.is_(None),
        levels.c.owner == owner,
        levels.c.expires_at < int(now),
    )
    taken = (
        update(levels)
        .where(levels.c.width == width, free)
        .values(owner=owner, expires_at=int(now) + _LEASE_SECONDS)
    )
    with connection.begin():
        return bool(connection.execute(taken).rowcount)


def _release(connection: Connection, width: int, owner: str) -> None:
    with connection.begin():
        own = update(levels).where(levels.c.width == width, levels.c.owner == owner)
        connection.execute(own.values(owner=None, expires_at=None))
