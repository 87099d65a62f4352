"""Looks ahead on a walk: where a range ends, if it is worth a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from sa_perf.retention.batch import Batch

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.retention.ranges import Key, WalkSQL
    from sa_perf.retention.steps import Step

__all__ = ["Lookahead"]

#: Rows from which on it pays to look for the end of a range by an index alone.
_MANY = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookahead:
    """What lies ahead on a walk; reads only, without locks.

    Attributes:
        step: the policy.
        sql: of the walk.
        connection: of the run, in no transaction.
    """

    step: Step
    sql: WalkSQL
    connection: Connection

    def batch(
        self, after: Key | None, rows: int, *, left: int | None, pause_seconds: float
    ) -> Batch | None:
        """The range behind a key; None: the walk is at its end.

        Args:
            after: the key; None: from the walk's start.
            rows: to go over.
            left: of them so many may be changed, at least 1; None: any number.
            pause_seconds: that was made before it.
        """
        upto = self._end(after, rows)
        if upto is None and not self.any_left(after):
            return None
        if left is not None and left < rows:
            # Only where more rows would be changed: else a walk to rare ones goes row by row.
            nearer = self._last_allowed(after, upto, left)
            if nearer is not None:
                upto, rows = nearer, left
        return Batch(after=after, upto=upto, rows=rows, pause_seconds=pause_seconds)

    def any_left(self, after: Key | None = None) -> bool:
        """Whether a row behind a key is to be changed: without locks, unlike a DELETE."""
        found = self.sql.range(after, None)
        conditions = [] if found.condition is None else [found.condition]
        stmt = select(self.step.target.key[0]).where(
            *conditions, *self.step.matching(self.sql.walk)
        )
        with self.step.purging.reading(self.connection):
            row = self.connection.execute(stmt.limit(1), found.parameters).first()
        return row is not None

    def _end(self, after: Key | None, rows: int) -> Key | None:
        """The key of the last of the next rows; None: there are fewer."""
        quick = None
        if after is not None and self.step.purging.keys_apart and rows >= _MANY:
            quick = self.sql.last_before(after, rows)
        with self.step.purging.reading(self.connection):
            found = None if quick is None else self.connection.execute(*quick).first()
            if found is None:
                found = self.connection.execute(*self.sql.last_of(after, rows)).first()
        return None if found is None else tuple(found)

    def _last_allowed(self, after: Key | None, upto: Key | None, left: int) -> Key | None:
        """The key of the last row that may still be changed; None: the range has no more."""
        stmt = self.sql.nth_of(after, upto, self.step.matching(self.sql.walk), left)
        with self.step.purging.reading(self.connection):
            found = self.connection.execute(*stmt).all()
        return tuple(found[0]) if len(found) > 1 else None
