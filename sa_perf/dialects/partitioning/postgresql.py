"""Declarative range partitions of PostgreSQL: found, taken out, dropped.

How they are made and put back is told in `postgresql_attaching`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from sa_perf.dialects.partitioning.base import Detached, Part
from sa_perf.dialects.partitioning.postgresql_attaching import Attaching
from sa_perf.dialects.partitioning.postgresql_catalog import (
    DETACHED,
    KEY,
    MANAGED,
    MANAGERS,
    MARKED,
    PARTS,
    REFERENCES,
)  # fmt: skip
from sa_perf.dialects.partitioning.postgresql_marks import ANY_MARK, Mark
from sa_perf.errors import PartitionError, PartitionStays

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection

__all__ = ["PostgreSQLPartitioning", "partition_by"]

_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]  # theirs
_BOUNDS = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)")


def partition_by(column: Column[Any]) -> str:
    """What stands behind PARTITION BY."""
    return f"RANGE ({_PREPARER.quote(column.name)})"


class PostgreSQLPartitioning(Attaching):
    """Each partition is a table of its own."""

    def check(self, connection: Connection) -> None:
        """By ``pg_partitioned_table``; and who manages it."""
        with connection.begin():
            row = self.read(connection, KEY, name=self._name).first()
            manager = self.manager(connection)
        if row is None:
            raise PartitionError(f"{self._table.fullname!r} does not exist; create it first")
        if row.strategy is None:
            raise PartitionError(
                f"{self._table.fullname!r} is no partitioned table; see convert_plan()"
            )
        if (row.strategy, row.columns, row.column) != ("r", 1, self._column.name):
            raise PartitionError(
                f"{self._table.fullname!r} is partitioned otherwise than by ranges of "
                f"{self._column.name!r} alone"
            )
        if manager is not None:
            raise PartitionError(
                f"{self._table.fullname!r} is managed by {manager}; let that create and drop its "
                "partitions, or take the table out of its configuration"
            )

    def manager(self, connection: Connection) -> str | None:
        """pg_partman, by its table ``part_config``, in whatever schema it lies."""
        for schema, readable in self.read(connection, MANAGERS):
            config = f"{self.quote(schema)}.part_config"
            if not readable:
                return f"pg_partman, perhaps: {config} cannot be read; GRANT SELECT on it"
            row = self.read(connection, MANAGED.format(config=config), name=self._name).first()
            if row is not None:
                kept = f", retention {row[2]}" if row[2] else ""
                return f"pg_partman ({config}: every {row[0]}, premake {row[1]}{kept})"
        return None

    def parts(self, connection: Connection) -> list[Part]:
        """By ``pg_inherits``."""
        self._in_utc(connection)
        found = []
        for row in self.read(connection, PARTS, name=self._name):
            lower, upper = _bounds(row.bound)
            found.append(
                Part(
                    name=row.name, lower=lower, upper=upper, is_default=row.bound == "DEFAULT",
                    rows=row.rows, bytes=int(row.bytes), pending=row.pending, schema=row.schema,
                )
            )  # fmt: skip
        return sorted(found, key=lambda one: (one.is_default, one.lower or datetime.min))

    def detached(self, connection: Connection) -> list[Detached]:
        """By the comment on the table, where that leaves no doubt."""
        return [
            Detached(
                table=row.name, name=row.name, lower=mark.lower, upper=mark.upper, schema=row.schema
            )
            for row, mark in self._marked(connection)
            if mark.doubt(row.child, row.oid) is None
        ]

    def doubtful(self, connection: Connection) -> list[tuple[str, str]]:
        """By the comment on the table, where somebody else may have detached it."""
        told = (
            (row.name, mark.doubt(row.child, row.oid)) for row, mark in self._marked(connection)
        )
        return [(name, reason) for name, reason in told if reason is not None]

    def detach(self, connection: Connection, part: Part, *, lock_seconds: float) -> Detached:
        """CONCURRENTLY, unless there is a default partition, with which that is not allowed.

        https://www.postgresql.org/docs/current/sql-altertable.html, "DETACH PARTITION".
        """
        found = Detached(
            table=part.name, name=part.name, lower=part.lower, upper=part.upper, schema=part.schema
        )
        child = self.qualified(part.name, part.schema)
        with self.yielding(connection, lock_seconds=lock_seconds):
            there = self.parts(connection)
            now = next((one for one in there if _is_same(one, part)), None)
            if now is None:
                return self._taken_before(connection, found)
            self._refuse_pending(connection, now, there)
            keys = self._references(connection, part)
            at_once = not now.pending and any(one.is_default for one in there)
            self._mark(connection, found, done=at_once)
            if at_once:
                self._detach_at_once(connection, child, keys, lock_seconds)
                return found
        self._detach_concurrently(connection, found, pending=now.pending, lock_seconds=lock_seconds)
        return found

    def drop(self, connection: Connection, detached: Detached) -> None:
        """DROP TABLE."""
        default = self._default(connection)
        if default is not None:  # of a run that was killed while it put the partition back
            for statement in self._left(connection, default):
                self.run(connection, statement)
        self.run(connection, f"DROP TABLE {self.qualified(detached.table, detached.schema)}")

    def _marked(self, connection: Connection) -> list[tuple[Any, Mark]]:
        rows = self.read(connection, DETACHED, mark=ANY_MARK, name=self._name)
        marks = ((row, Mark.read(row.comment)) for row in rows)
        return [
            (row, mark) for row, mark in marks if mark is not None and mark.parent == row.parent
        ]

    def _taken_before(self, connection: Connection, found: Detached) -> Detached:
        """What an earlier try of this run has detached."""
        for one in self.detached(connection):
            if (one.schema, one.table) == (found.schema, found.table):
                return one
        raise PartitionStays("somebody else detached or dropped it meanwhile")

    def _refuse_pending(self, connection: Connection, now: Part, there: Sequence[Part]) -> None:
        pending = [one for one in there if one.pending and not _is_same(one, now)]
        if pending:
            child = self.qualified(pending[0].name, pending[0].schema)
            raise PartitionError(
                f"the detaching of {pending[0].name!r} was begun and not ended; ALTER TABLE "
                f"{self._name} DETACH PARTITION {child} FINALIZE"
            )
        child = self.qualified(now.name, now.schema)
        if (
            now.pending
            and Mark.read(self.read(connection, MARKED, name=child).one().comment) is None
        ):
            raise PartitionStays(
                f"somebody else began to detach it; ALTER TABLE {self._name} DETACH PARTITION "
                f"{child} FINALIZE"
            )

    def _references(self, connection: Connection, part: Part) -> list[str]:
        """Foreign keys to the table.

        Raises:
            PartitionStays: one of them has rows that refer to the partition.
        """
        keys = self.read(connection, REFERENCES, name=self._name, column=self._column.name).all()
        for key in keys:
            inside = [f"{column} IS NOT NULL" for column in key.columns]
            if part.lower is not None:
                inside.append(f"{key.at} >= {self.literal(part.lower)}")
            if part.upper is not None:
                inside.append(f"{key.at} < {self.literal(part.upper)}")
            if not key.readable:
                raise PartitionStays(
                    f"{key.source} refers to it by the foreign key {key.name}, and cannot be read; "
                    "GRANT SELECT on it"
                )
            if self._has(connection, key.source, " AND ".join(inside)):
                raise PartitionStays(
                    f"rows of {key.source} refer to it by the foreign key {key.name}; "
                    "delete those first"
                )
        return [f"{key.name} of {key.source}" for key in keys]

    def _detach_at_once(
        self, connection: Connection, child: str, keys: list[str], lock_seconds: float
    ) -> None:
        """Where foreign keys are, PostgreSQL looks for rows of theirs while everybody waits."""
        if keys:
            limit = max(1, int(2_000 * lock_seconds))
            self.run(connection, f"SET LOCAL statement_timeout = {limit}")
        try:
            self.run(connection, f"ALTER TABLE {self._name} DETACH PARTITION {child}")
        except (IntegrityError, OperationalError) as error:
            if not keys or self.purging.is_transient(error):
                raise
            raise PartitionStays(
                f"the foreign key {', '.join(keys)} refers to it, or would take more than "
                f"{2 * lock_seconds:g} s to be checked while everybody waits; delete the rows that "
                "refer, and have an index on its columns"
            ) from error

    def _detach_concurrently(
        self, connection: Connection, found: Detached, *, pending: bool, lock_seconds: float
    ) -> None:
        child = self.qualified(found.table, found.schema)
        word = "FINALIZE" if pending else "CONCURRENTLY"
        try:
            with self.outside_transactions(connection, lock_seconds=lock_seconds):
                self.run(connection, f"ALTER TABLE {self._name} DETACH PARTITION {child} {word}")
        except BaseException:
            with suppress(DBAPIError):  # the connection may be gone
                self._unmark(connection, found, lock_seconds)
            raise
        with self.yielding(connection, lock_seconds=lock_seconds):
            self._mark(connection, found, done=True)

    def _mark(self, connection: Connection, found: Detached, *, done: bool) -> None:
        child = self.qualified(found.table, found.schema)
        row = self.read(connection, MARKED, name=child).one()
        before = Mark.read(row.comment)
        mark = Mark(
            parent=self.read(connection, KEY, name=self._name).one().parent, child=row.child,
            oid=row.oid, lower=found.lower, upper=found.upper, done=done,
            was=row.comment if before is None else before.was,
        )  # fmt: skip
        self._comment(connection, child, mark.written())

    def _unmark(self, connection: Connection, found: Detached, lock_seconds: float) -> None:
        """It is a partition like others again, unless its detaching has begun."""
        with self.yielding(connection, lock_seconds=lock_seconds):
            there = self.parts(connection)
            if any(one.name == found.name and not one.pending for one in there):
                self._end_mark(connection, self.qualified(found.table, found.schema))


def _is_same(one: Part, other: Part) -> bool:
    """A table may be taken out, and another made of its name."""
    return (one.schema, one.name, one.lower, one.upper) == (
        other.schema,
        other.name,
        other.lower,
        other.upper,
    )


def _bounds(written: str) -> tuple[datetime | None, datetime | None]:
    match = _BOUNDS.fullmatch(written)
    return (None, None) if match is None else (_moment(match[1]), _moment(match[2]))


def _moment(written: str) -> datetime | None:
    """A bound, without zone; None: MINVALUE, MAXVALUE or an infinity."""
    value = written.strip("'")
    if value[:1] not in "0123456789":
        return None
    if value.endswith("+00"):
        return datetime.fromisoformat(f"{value}:00").astimezone(timezone.utc).replace(tzinfo=None)
    return datetime.fromisoformat(value)
