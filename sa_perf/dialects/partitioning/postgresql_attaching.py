"""How tables in use become partitions of PostgreSQL.

ATTACH PARTITION locks the parent against changes of structure only (SHARE UPDATE EXCLUSIVE), where
CREATE TABLE ... PARTITION OF locks out everybody. But it reads the table that comes, and the
default partition, under ACCESS EXCLUSIVE, unless a validated CHECK says what it would find: so what
has rows gets such a constraint first, for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from sa_perf.dialects.partitioning.base import Detached, Part, Piece
from sa_perf.dialects.partitioning.postgresql_catalog import (
    CHECKED,
    KEY,
    MARKED,
    REFERRERS,
    SIZE,
    WRITTEN_COLUMNS,
)  # fmt: skip
from sa_perf.dialects.partitioning.postgresql_marks import Mark
from sa_perf.dialects.partitioning.postgresql_session import PostgreSQLSession
from sa_perf.errors import PartitionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Attaching"]

_CHECK = "sa_perf_attaching"
#: A default partition up to this size is read within a few milliseconds, so that it needs no CHECK.
_SMALL_BYTES = 8_000_000
_TRIES = 5


class Attaching(PostgreSQLSession):
    """Partitions made, attached, put back, filled from the default one."""

    def create(
        self, connection: Connection, pieces: Sequence[Piece], parts: Sequence[Part]
    ) -> list[str]:
        """One after the other, in one transaction."""
        return [self._create(connection, self.child(piece.suffix), piece) for piece in pieces]

    def create_default(self, connection: Connection) -> str | None:
        """Attached like the others, so that nobody waits."""
        return self._create(connection, self.child("default"), None)

    def create_sql(
        self, pieces: Sequence[Piece], *, default: bool, owner: str | None = None
    ) -> list[str]:
        """The default first: then it is empty when the others are attached."""
        found = []
        if default:
            found += self._create_one(self.child("default"), None, owner)
        for piece in pieces:
            found += self._create_one(self.child(piece.suffix), piece, owner)
        return found

    def default_source(self, default: Part) -> str:
        """A table."""
        return self.qualified(default.name, default.schema)

    @contextmanager
    def making_way(
        self,
        connection: Connection,
        lower: datetime | None,
        upper: datetime | None,
        *,
        lock_seconds: float,
    ) -> Iterator[bool]:
        """Of a big default partition it is proven beforehand that it has none of these rows.

        Until the end of this such rows are refused, where else everybody would wait.
        """
        with self.yielding(connection, lock_seconds=lock_seconds):
            default = self._default(connection)
            is_big = default is not None and (
                self.read(connection, SIZE, name=default).scalar_one() > _SMALL_BYTES
            )
            gone = [] if default is None else self._left(connection, default)
            inside = self._inside(lower, upper)
            blocked = is_big and self._has(connection, default, inside)
        if gone:  # by a run that was killed
            self._step(connection, gone, lock_seconds)
        if default is None or not is_big or blocked:
            yield False
            return
        outside = self._outside(lower, upper)
        with ExitStack() as stack:
            try:
                stack.enter_context(self._checked(connection, default, outside, lock_seconds))
                proven = True
            except IntegrityError:  # such a row came this moment
                proven = False
            yield proven

    def attach_back(
        self, connection: Connection, detached: Detached, *, lock_seconds: float
    ) -> None:
        """With the rows that came meanwhile, and lie in the default partition."""
        lower, upper = detached.lower, detached.upper
        child, inside = self.qualified(detached.table, detached.schema), self._inside(lower, upper)
        with self._checked(connection, child, inside, lock_seconds):
            with self.yielding(connection, lock_seconds=lock_seconds):
                self._take_late(connection, child, inside)
            with (
                self.making_way(connection, lower, upper, lock_seconds=lock_seconds) as proven,
                self.yielding(connection, lock_seconds=lock_seconds),
            ):
                default = self._default(connection)
                if default is not None and not proven:
                    self.run(connection, f"LOCK TABLE {self._name} IN SHARE UPDATE EXCLUSIVE MODE")
                    self.run(connection, f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
                    self._take_late(connection, child, inside)
                self._attach(connection, child, self._for_values(lower, upper))

    def attach(
        self, connection: Connection, name: str, piece: Piece, *, lock_seconds: float
    ) -> None:
        """With a constraint that is validated before, so that nobody waits for the reading."""
        child, lower, upper = self.qualified(name), piece.lower, piece.upper
        try:
            with (
                self._checked(connection, child, self._inside(lower, upper), lock_seconds),
                self.making_way(connection, lower, upper, lock_seconds=lock_seconds),
                self.yielding(connection, lock_seconds=lock_seconds),
            ):
                self._refuse_blocked(connection, name, piece)
                self._attach(connection, child, self._for_values(lower, upper))
        except IntegrityError as error:
            raise PartitionError(
                f"{name!r} has rows that are not of {lower} to {upper}, or a key twice; give the "
                "bounds that it has, or delete those rows"
            ) from error
        except ProgrammingError as error:
            raise PartitionError(
                f"{name!r} cannot be a partition of {self._table.fullname!r} from {lower} to "
                f"{upper}: {str(error.orig).splitlines()[0]}"
            ) from error

    def move_from_default(
        self, connection: Connection, piece: Piece, parts: Sequence[Part]
    ) -> tuple[str, int]:
        """In one transaction under a lock on the default partition, so that no row comes after."""
        default = next(self.default_source(part) for part in parts if part.is_default)
        name = self.child(piece.suffix)
        self.run(connection, f"LOCK TABLE {self._name} IN SHARE UPDATE EXCLUSIVE MODE")
        self.run(connection, f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
        *make, attach = self._create_one(name, piece, self._owner(connection))
        for statement in make:
            self.run(connection, statement)
        moved = self._move(
            connection, default, self.qualified(name), self._inside(piece.lower, piece.upper)
        )
        self.run(connection, attach)
        return name, moved

    def _create(self, connection: Connection, name: str, piece: Piece | None) -> str:
        taken = self.read(connection, "SELECT to_regclass(:n)", n=self.qualified(name))
        if taken.scalar() is not None:
            raise PartitionError(
                f"{name!r} is to be a partition of {self._table.fullname!r}, but a table of "
                "that name exists; attach() it, rename or drop it"
            )
        try:
            for statement in self._create_one(name, piece, self._owner(connection)):
                self.run(connection, statement)
        except IntegrityError as error:
            raise PartitionError(
                f"{name!r} was not made: a row that belongs into it came into the default "
                "partition this moment; move_from_default() makes it and moves that"
            ) from error
        return name

    def _owner(self, connection: Connection) -> str | None:
        """Whose a partition is to be, where it would be somebody else's."""
        row = self.read(connection, KEY, name=self._name).one()
        return None if row.is_ours else str(row.owner)

    def _default(self, connection: Connection) -> str | None:
        """The default partition as SQL has it."""
        found = (part for part in self.parts(connection) if part.is_default)
        return next((self.default_source(part) for part in found), None)

    def _attach(self, connection: Connection, child: str, bounds: str) -> None:
        """In one transaction, which ends what was said of the table before."""
        self._end_mark(connection, child)
        self.run(connection, f"ALTER TABLE {self._name} ATTACH PARTITION {child} {bounds}")
        for statement in self._left(connection, child):
            self.run(connection, statement)

    def _end_mark(self, connection: Connection, child: str) -> None:
        """Give a table back the comment that it had."""
        row = self.read(connection, MARKED, name=child).first()
        mark = None if row is None else Mark.read(row.comment)
        if mark is not None:
            self._comment(connection, child, mark.was)

    def _comment(self, connection: Connection, child: str, comment: str | None) -> None:
        quoted = "NULL" if comment is None else "'" + comment.replace("'", "''") + "'"
        self.run(connection, f"COMMENT ON TABLE {child} IS {quoted}")

    def _refuse_blocked(self, connection: Connection, name: str, piece: Piece) -> None:
        default = self._default(connection)
        inside = self._inside(piece.lower, piece.upper)
        if default is not None and self._has(connection, default, inside):
            raise PartitionError(
                f"{name!r} cannot be attached: rows of {piece.lower} to {piece.upper} lie in the "
                f"default partition {default}; move them to {name!r}"
            )

    def _take_late(self, connection: Connection, child: str, inside: str) -> None:
        default = self._default(connection)
        if default is None or not self._has(connection, default, inside):
            return
        try:
            self._move(connection, default, child, inside)
        except IntegrityError as error:
            raise PartitionError(
                f"{child} cannot be a partition of {self._name} again: rows of its time came into "
                f"{default} meanwhile with keys that it has too; delete the ones or the others"
            ) from error

    def _move(self, connection: Connection, default: str, child: str, inside: str) -> int:
        referrer = self.read(connection, REFERRERS, name=self._name, child=default).scalar()
        if referrer is not None:
            raise PartitionError(
                f"rows of {default} cannot be moved: {referrer} would see them deleted; "
                "take it off for that time"
            )
        columns = ", ".join(
            self.quote(row[0]) for row in self.read(connection, WRITTEN_COLUMNS, name=self._name)
        )
        moved: int = self.read(
            connection,
            f"WITH moved AS (DELETE FROM {default} WHERE {inside} "  # noqa: S608
            f"RETURNING {columns}) INSERT INTO {child} ({columns}) SELECT {columns} FROM moved",
        ).rowcount
        return moved

    def _has(self, connection: Connection, table: str | None, inside: str) -> bool:
        sql = f"SELECT 1 FROM {table} WHERE {inside} LIMIT 1"  # noqa: S608
        return self.read(connection, sql).first() is not None

    @contextmanager
    def _checked(
        self, connection: Connection, table: str, condition: str, lock_seconds: float
    ) -> Iterator[None]:
        """What all rows of a table are like, seen by reading it while nobody waits."""
        add = f"ALTER TABLE {table} ADD CONSTRAINT {_CHECK} CHECK ({condition}) NOT VALID"
        gone = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {_CHECK}"
        self._step(connection, (gone, add), lock_seconds)
        try:
            seen = f"ALTER TABLE {table} VALIDATE CONSTRAINT {_CHECK}"
            self._step(connection, (seen,), lock_seconds)
            yield
        finally:
            connection.rollback()
            self._take_off(connection, table, lock_seconds)

    def _take_off(self, connection: Connection, table: str, lock_seconds: float) -> None:
        for _ in range(_TRIES):
            with suppress(DBAPIError), self.yielding(connection, lock_seconds=lock_seconds):
                for statement in self._left(connection, table):
                    self.run(connection, statement)
                return
            connection.rollback()
        raise PartitionError(
            f"{table} was in use, so that the constraint {_CHECK} stays on it, which refuses rows; "
            f"take it off: ALTER TABLE {table} DROP CONSTRAINT {_CHECK}"
        )

    def _left(self, connection: Connection, table: str) -> list[str]:
        """What takes a constraint of ours off, where it is."""
        if self.read(connection, CHECKED, name=table, check=_CHECK).first() is None:
            return []
        return [f"ALTER TABLE {table} DROP CONSTRAINT {_CHECK}"]
