"""Declarative range partitions of PostgreSQL.

A new partition is made as a table and attached, which locks the parent against changes of structure
only (SHARE UPDATE EXCLUSIVE), while CREATE TABLE ... PARTITION OF locks out everybody. The default
partition is locked for the moment that it takes to see that none of its rows belong in the new one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError

from sa_perf.dialects.partitioning.base import MARK, Detached, Part, Partitioning, Piece
from sa_perf.dialects.partitioning.postgresql_catalog import (
    DETACHED,
    KEY,
    MANAGERS,
    PARTS,
    REFERRERS,
    WRITTEN_COLUMNS,
)  # fmt: skip
from sa_perf.errors import PartitionError
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine

__all__ = ["PostgreSQLPartitioning", "partition_by"]

_MOST_BYTES = 63
_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]  # theirs
_BOUNDS = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)")
_LIKE = "INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES"


def partition_by(column: Column[Any]) -> str:
    """What stands behind PARTITION BY."""
    return f"RANGE ({_PREPARER.quote(column.name)})"


class PostgreSQLPartitioning(Partitioning):
    """Each partition is a table of its own."""

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """Bounds are read in UTC, whatever the session's zone."""
        with engine.connect() as connection:
            options = {"isolation_level": "READ COMMITTED", **UNRECORDED}
            yield connection.execution_options(**options)

    @contextmanager
    def yielding(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """With ``lock_timeout``."""
        with self.purging.transaction(connection, lock_seconds=lock_seconds):
            self._in_utc(connection)
            yield

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
            row = self.read(
                connection,
                f"SELECT partition_interval, premake, retention FROM {config} "  # noqa: S608
                "WHERE to_regclass(parent_table) = to_regclass(:name)",
                name=self._name,
            ).first()
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
                    rows=row.rows, bytes=int(row.bytes), pending=row.pending,
                )
            )  # fmt: skip
        return sorted(found, key=lambda one: (one.is_default, one.lower or datetime.min))

    def detached(self, connection: Connection) -> list[Detached]:
        """By the comment on the table."""
        found = []
        for row in self.read(connection, DETACHED, mark=f"{MARK}%", name=self._name):
            told = json.loads(row.comment.removeprefix(MARK))
            if told["from"] == row.parent:
                lower, upper = _told(told["l"]), _told(told["u"])
                found.append(Detached(table=row.name, name=row.name, lower=lower, upper=upper))
        return found

    def create(
        self, connection: Connection, pieces: Sequence[Piece], parts: Sequence[Part]
    ) -> list[str]:
        """One after the other, in one transaction."""
        names = []
        for piece in pieces:
            name = self.child(piece.suffix)
            taken = self.read(connection, "SELECT to_regclass(:n)", n=self.qualified(name))
            if taken.scalar() is not None:
                raise PartitionError(
                    f"{name!r} is to be a partition of {self._table.fullname!r}, but a table of "
                    "that name exists; attach() it, rename or drop it"
                )
            for statement in self._create_one(name, piece):
                self.run(connection, statement)
            names.append(name)
        return names

    def create_sql(self, pieces: Sequence[Piece], *, default: bool) -> list[str]:
        """The default first: then it is empty when the others are attached."""
        found = []
        if default:
            name = self.qualified(self.child("default"))
            found.append(f"CREATE TABLE {name} PARTITION OF {self._name} DEFAULT")
        for piece in pieces:
            found += self._create_one(self.child(piece.suffix), piece)
        return found

    def default_source(self, default: Part) -> str:
        """A table."""
        return self.qualified(default.name)

    def detach(
        self, connection: Connection, part: Part, parts: Sequence[Part], *, lock_seconds: float
    ) -> Detached:
        """CONCURRENTLY, unless there is a default partition, with which that is not allowed.

        https://www.postgresql.org/docs/current/sql-altertable.html, "DETACH PARTITION".
        """
        found = Detached(table=part.name, name=part.name, lower=part.lower, upper=part.upper)
        child = self.qualified(part.name)
        with self.yielding(connection, lock_seconds=lock_seconds):
            there = self.parts(connection)
            now = next((one for one in there if one.name == part.name), None)
            if now is None:
                return found
            pending = [one.name for one in there if one.pending and one.name != part.name]
            if pending:
                raise PartitionError(
                    f"the detaching of {pending[0]!r} was begun and not ended; ALTER TABLE "
                    f"{self._name} DETACH PARTITION {self.quote(pending[0])} FINALIZE"
                )
            self._mark(connection, found)
            if any(one.is_default for one in parts) and not now.pending:
                self.run(connection, f"ALTER TABLE {self._name} DETACH PARTITION {child}")
                return found
        word = "FINALIZE" if now.pending else "CONCURRENTLY"
        with self.outside_transactions(connection, lock_seconds=lock_seconds):
            self.run(connection, f"ALTER TABLE {self._name} DETACH PARTITION {child} {word}")
        return found

    def attach_back(
        self, connection: Connection, detached: Detached, *, lock_seconds: float
    ) -> None:
        """Its rows were those of a partition: they are seen through once more."""
        with self.yielding(connection, lock_seconds=lock_seconds):
            child = self.qualified(detached.table)
            self.run(connection, f"COMMENT ON TABLE {child} IS NULL")
            bounds = self._for_values(detached.lower, detached.upper)
            self.run(connection, f"ALTER TABLE {self._name} ATTACH PARTITION {child} {bounds}")

    def drop(self, connection: Connection, detached: Detached) -> None:
        """DROP TABLE."""
        self.run(connection, f"DROP TABLE {self.qualified(detached.table)}")

    def attach(
        self, connection: Connection, name: str, piece: Piece, *, lock_seconds: float
    ) -> None:
        """With a constraint that is validated before, so that nobody waits for the reading."""
        child = self.qualified(name)
        constraint = self.quote(f"sa_perf_{piece.suffix}")
        lower, upper = self.literal(piece.lower), self.literal(piece.upper)
        check = f"{self._by} IS NOT NULL AND {self._by} >= {lower} AND {self._by} < {upper}"
        bounds = self._for_values(piece.lower, piece.upper)
        gone = f"ALTER TABLE {child} DROP CONSTRAINT IF EXISTS {constraint}"
        said = (gone, f"ALTER TABLE {child} ADD CONSTRAINT {constraint} CHECK ({check}) NOT VALID")
        self._step(connection, said, lock_seconds)
        try:
            seen = f"ALTER TABLE {child} VALIDATE CONSTRAINT {constraint}"
            self._step(connection, (seen,), lock_seconds)
        except IntegrityError as error:
            self._step(connection, (gone,), lock_seconds)
            raise PartitionError(
                f"{name!r} has rows that are not of {piece.lower} to {piece.upper}; give the "
                "bounds that it has, or delete those rows"
            ) from error
        attached = f"ALTER TABLE {self._name} ATTACH PARTITION {child} {bounds}"
        self._step(connection, (attached, gone), lock_seconds)

    def move_from_default(
        self, connection: Connection, piece: Piece, parts: Sequence[Part]
    ) -> tuple[str, int]:
        """In one transaction under a lock on the default partition, so that no row comes after."""
        default = self.qualified(next(part.name for part in parts if part.is_default))
        referrer = self.read(connection, REFERRERS, name=self._name, child=default).scalar()
        if referrer is not None:
            raise PartitionError(
                f"rows of {default} cannot be moved: {referrer} would see them deleted; "
                "take it off for that time"
            )
        name = self.child(piece.suffix)
        child = self.qualified(name)
        make, attach = self._create_one(name, piece)
        lower, upper = self.literal(piece.lower), self.literal(piece.upper)
        columns = ", ".join(
            self.quote(row[0]) for row in self.read(connection, WRITTEN_COLUMNS, name=self._name)
        )
        self.run(connection, f"LOCK TABLE {self._name} IN SHARE UPDATE EXCLUSIVE MODE")
        self.run(connection, f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
        self.run(connection, make)
        moved = self.read(
            connection,
            f"WITH moved AS (DELETE FROM {default} WHERE {self._by} >= {lower} "  # noqa: S608
            f"AND {self._by} < {upper} RETURNING {columns}) "
            f"INSERT INTO {child} ({columns}) SELECT {columns} FROM moved",
        ).rowcount
        self.run(connection, attach)
        return name, moved

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

    def _create_one(self, name: str, piece: Piece) -> tuple[str, str]:
        child = self.qualified(name)
        bounds = self._for_values(piece.lower, piece.upper)
        return (
            f"CREATE TABLE {child} (LIKE {self._name} {_LIKE})",
            f"ALTER TABLE {self._name} ATTACH PARTITION {child} {bounds}",
        )

    def _for_values(self, lower: datetime | None, upper: datetime | None) -> str:
        low = "MINVALUE" if lower is None else self.literal(lower)
        high = "MAXVALUE" if upper is None else self.literal(upper)
        return f"FOR VALUES FROM ({low}) TO ({high})"

    def _mark(self, connection: Connection, found: Detached) -> None:
        parent = self.read(connection, KEY, name=self._name).one().parent
        bounds = {"l": _written(found.lower), "u": _written(found.upper)}
        told = json.dumps({"from": parent, **bounds}).replace("'", "''")
        child = self.qualified(found.table)
        comment = f"COMMENT ON TABLE {child} IS '{MARK}{told}'"
        self.run(connection, comment)

    def _in_utc(self, connection: Connection) -> None:
        self.run(connection, "SET LOCAL TimeZone = 'UTC'")
        self.run(connection, "SET LOCAL DateStyle = 'ISO, YMD'")

    @contextmanager
    def outside_transactions(
        self, connection: Connection, *, lock_seconds: float
    ) -> Iterator[None]:
        """Each statement by itself, as CONCURRENTLY wants it; waits for a lock only so long."""
        connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            self.run(connection, f"SET lock_timeout = {max(1, int(lock_seconds * 1_000))}")
            yield
        finally:
            with suppress(DBAPIError):  # the connection may be gone
                self.run(connection, "RESET lock_timeout")
            connection.rollback()
            connection.execution_options(isolation_level="READ COMMITTED")


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


def _told(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
