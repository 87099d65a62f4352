"""How PostgreSQL is spoken to about partitions: transactions, names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.partitioning.base import Partitioning, Piece
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["PostgreSQLSession"]

_MOST_BYTES = 63
#: In milliseconds, that a timeout can be: 24 days.
_LONGEST = 2_147_483_647
_LIKE = "INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES"


class PostgreSQLSession(Partitioning):
    """Waits for locks that end in time, and the words of statements."""

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """Bounds are read in UTC, whatever the session's zone."""
        with engine.connect() as connection:
            options = {"isolation_level": "READ COMMITTED", **UNRECORDED}
            yield connection.execution_options(**options)

    @contextmanager
    def yielding(
        self, connection: Connection, *, lock_seconds: float, seconds: float | None = None
    ) -> Iterator[None]:
        """With ``lock_timeout``.

        Args:
            connection: in no transaction.
            lock_seconds: each wait for a lock.
            seconds: each statement, waits and all; None: as the session has it.
        """
        with self.purging.transaction(connection, lock_seconds=lock_seconds):
            self._in_utc(connection)
            if seconds is not None:
                self.run(connection, f"SET LOCAL statement_timeout = {_milliseconds(seconds)}")
            yield

    @contextmanager
    def outside_transactions(
        self,
        connection: Connection,
        *,
        lock_seconds: float | None,
        seconds: float | None = None,
    ) -> Iterator[None]:
        """Each statement by itself, as CONCURRENTLY wants it; settings are put back.

        Args:
            connection: in no transaction.
            lock_seconds: each wait for a lock; None: without end, as CREATE INDEX CONCURRENTLY
                wants it, which waits for every older transaction and in nobody's way.
            seconds: each statement, waits and all; None: as the session has it.
        """
        connection.execution_options(isolation_level="AUTOCOMMIT")
        wanted = {"lock_timeout": 0 if lock_seconds is None else _milliseconds(lock_seconds)}
        if seconds is not None:
            wanted["statement_timeout"] = _milliseconds(seconds)
        before = {}
        try:
            for name, limit in wanted.items():
                before[name] = self.read(connection, f"SHOW {name}").scalar_one()
                self.run(connection, f"SET {name} = {limit}")
            yield
        finally:
            with suppress(DBAPIError):  # the connection may be gone
                for name, was in before.items():
                    self.run(connection, f"SET {name} = '{was}'")
            connection.rollback()
            connection.execution_options(isolation_level="READ COMMITTED")

    def literal(self, moment: datetime) -> str:
        """With the offset of UTC where the column has a zone, a day where it has no time."""
        written = self._column.type.compile(dialect=self._dialect).upper()
        if written.startswith("DATE"):
            return f"'{moment.date().isoformat()}'"
        return f"'{moment.isoformat(sep=' ')}{'+00' if 'WITH TIME ZONE' in written else ''}'"

    def child(self, suffix: str) -> str:
        """The name of a partition."""
        return self.fitting(self._table.name, suffix)

    def fitting(self, name: str, suffix: str) -> str:
        """A name that fits: PostgreSQL cuts off what is longer than 63 bytes."""
        room = _MOST_BYTES - len(suffix) - 1
        if len(name.encode()) > room:
            digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
            name = name.encode()[: room - 9].decode(errors="ignore") + "_" + digest
        return f"{name}_{suffix}"

    def _step(self, connection: Connection, statements: Sequence[str], lock_seconds: float) -> None:
        with self.yielding(connection, lock_seconds=lock_seconds):
            for statement in statements:
                self.run(connection, statement)

    def _create_one(self, name: str, piece: Piece | None, owner: str | None = None) -> list[str]:
        """Statements that make a partition; without a piece the default one."""
        bounds = "DEFAULT" if piece is None else self._for_values(piece.lower, piece.upper)
        child = self.qualified(name)
        owned = [] if owner is None else [f"ALTER TABLE {child} OWNER TO {self.quote(owner)}"]
        return [
            f"CREATE TABLE {child} (LIKE {self._name} {_LIKE})",
            *owned,
            f"ALTER TABLE {self._name} ATTACH PARTITION {child} {bounds}",
        ]

    def _for_values(self, lower: datetime | None, upper: datetime | None) -> str:
        low = "MINVALUE" if lower is None else self.literal(lower)
        high = "MAXVALUE" if upper is None else self.literal(upper)
        return f"FOR VALUES FROM ({low}) TO ({high})"

    def _inside(self, lower: datetime | None, upper: datetime | None) -> str:
        """Rows of an interval."""
        found = [f"{self._by} IS NOT NULL"]
        if lower is not None:
            found.append(f"{self._by} >= {self.literal(lower)}")
        if upper is not None:
            found.append(f"{self._by} < {self.literal(upper)}")
        return " AND ".join(found)

    def _outside(self, lower: datetime | None, upper: datetime | None) -> str:
        """All others, written so that PostgreSQL proves by it what a default partition lacks."""
        found = [f"{self._by} IS NULL"]
        if lower is not None:
            found.append(f"{self._by} < {self.literal(lower)}")
        if upper is not None:
            found.append(f"{self._by} >= {self.literal(upper)}")
        return " OR ".join(found)

    def _in_utc(self, connection: Connection) -> None:
        self.run(connection, "SET LOCAL TimeZone = 'UTC'")
        self.run(connection, "SET LOCAL DateStyle = 'ISO, YMD'")


def _milliseconds(seconds: float) -> int:
    return min(max(1, math.ceil(seconds * 1_000)), _LONGEST)
