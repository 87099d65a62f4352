"""Range partitions of MySQL and MariaDB.

A partition is no table here. To be dropped, it changes places with an empty table (EXCHANGE
PARTITION), which holds its rows until they are archived and is dropped then: rows that come
meanwhile land in the partition, which is dropped only while it is empty and locked. Where a table
takes a partition's place, a transaction may hold a row for that which nobody sees before: so the
other table is looked at only when they have changed places.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from sqlalchemy import TIMESTAMP, Date
from sqlalchemy.exc import DBAPIError, IntegrityError

from sa_perf.dialects.partitioning.base import MARK, Detached, Part, Partitioning, Piece
from sa_perf.dialects.partitioning.mysql_catalog import (
    COMMENT,
    DETACHED,
    PARTS,
    WRITTEN_COLUMNS,
)  # fmt: skip
from sa_perf.dialects.purging import purging_for
from sa_perf.errors import PartitionError

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.types import TypeEngine

__all__ = ["MySQLPartitioning", "partition_by"]

_FUTURE, _PAST = "p_future", "p_past"
_EPOCH = datetime(1970, 1, 1)
_MANY = 1_000


def partition_by(dialect: SQLAlchemyDialect, column: Column[Any], *, default: bool) -> str:
    """What stands behind PARTITION BY, with the one partition that a table must begin with."""
    name = dialect.identifier_preparer.quote(column.name)
    stored = purging_for(dialect).stored_type(column.type)
    if isinstance(stored, TIMESTAMP):
        how, past = f"RANGE (UNIX_TIMESTAMP({name}))", "1"
    else:
        how = f"RANGE COLUMNS ({name})"
        past = "'1970-01-02'" if isinstance(stored, Date) else "'1970-01-02 00:00:00'"
    only = (
        f"PARTITION {_FUTURE} VALUES LESS THAN (MAXVALUE)"
        if default
        else f"PARTITION {_PAST} VALUES LESS THAN ({past})"
    )
    return f"{how} ({only})"


class MySQLPartitioning(Partitioning):
    """Partitions follow each other without gaps; new ones are added behind the last."""

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """In UTC, in which TIMESTAMP columns are compared, and with autocommit.

        DDL commits by itself anyway; without, MariaDB's EXCHANGE PARTITION waits for its own
        connection until the lock's time is over (error 1205, seen on 10.11).
        """
        with self.purging.connection(engine) as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def yielding(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """With ``lock_wait_timeout`` for metadata locks; DDL commits by itself."""
        with self.purging.transaction(connection, lock_seconds=lock_seconds):
            yield

    def faults(self) -> list[str]:
        """Foreign keys to or from a partitioned table are not possible."""
        if self._table.foreign_key_constraints:
            return ["here a partitioned table cannot have foreign keys"]
        return []

    def check(self, connection: Connection) -> None:
        """By ``information_schema.partitions``."""
        with connection.begin():
            rows = self._rows(connection)
        if not rows:
            raise PartitionError(f"{self._table.fullname!r} does not exist; create it first")
        if rows[0].name is None:
            raise PartitionError(
                f"{self._table.fullname!r} is no partitioned table; ALTER TABLE ... PARTITION BY "
                "writes it anew while it is locked, or copy it with pt-online-schema-change"
            )
        wanted = "RANGE" if self._is_timestamp else "RANGE COLUMNS"
        if rows[0].method != wanted or rows[0].expression.lower() not in self._expressions():
            raise PartitionError(
                f"{self._table.fullname!r} is partitioned by {rows[0].method} "
                f"({rows[0].expression}), not by {wanted} of {self._column.name!r} alone"
            )

    def parts(self, connection: Connection) -> list[Part]:
        """In their order; each begins where the one before ends."""
        found: list[Part] = []
        lower = None
        for row in self._rows(connection):
            upper = None if row.bound == "MAXVALUE" else self._moment(row.bound)
            if row.name != _PAST:
                found.append(
                    Part(
                        name=row.name, lower=lower, upper=upper, is_default=upper is None,
                        rows=None if row.num_rows is None else float(row.num_rows),
                        bytes=None if row.num_bytes is None else int(row.num_bytes),
                    )
                )  # fmt: skip
            lower = upper
        return found

    def detached(self, connection: Connection) -> list[Detached]:
        """By the comment on the table; one that was made and never filled does not count."""
        found = []
        names = {part.name: part for part in self.parts(connection)}
        rows = self.read(connection, DETACHED, schema=self._table.schema, mark=f"{MARK}%").all()
        for row in rows:
            told = _told(row.comment)
            if told is None or told["from"] != self._table.name:
                continue
            exchanged = self._has_rows(connection, self.qualified(row.name))
            here = told["name"] in names
            if here and not exchanged and self._has_rows(connection, self._partition(told["name"])):
                continue
            lower, upper = (told[one] and datetime.fromisoformat(told[one]) for one in "lu")
            found.append(Detached(table=row.name, name=told["name"], lower=lower, upper=upper))
        return found

    def create(
        self, connection: Connection, pieces: Sequence[Piece], parts: Sequence[Part]
    ) -> list[str]:
        """Behind the last; those of the past are left out, since no gap can be filled."""
        bounds = [part.upper for part in parts if part.upper is not None]
        last = max(bounds, default=datetime.min)
        new = [piece for piece in pieces if piece.upper > last]
        if new:
            default = next((part.name for part in parts if part.is_default), None)
            self.run(connection, self._alter(new, default))
        return [_partition_name(piece) for piece in new]

    def create_default(self, connection: Connection) -> str | None:
        """Behind the last."""
        last = f"PARTITION {_FUTURE} VALUES LESS THAN (MAXVALUE)"
        self.run(connection, f"ALTER TABLE {self._name} ADD PARTITION ({last})")
        return _FUTURE

    def create_sql(self, pieces: Sequence[Piece], *, default: bool) -> list[str]:
        """One statement."""
        return [self._alter(pieces, _FUTURE if default else None)]

    def default_source(self, default: Part) -> str:
        """A partition of the table."""
        return self._partition(default.name)

    def detach(self, connection: Connection, part: Part, *, lock_seconds: float) -> Detached:
        """An empty table takes the partition's place, and the other way round."""
        name = self._side_name(part.name)
        side = self.qualified(name)
        with self.yielding(connection, lock_seconds=lock_seconds):
            self._make_side(connection, name, part)
            self._exchange(connection, part.name, side)
        return Detached(table=name, name=part.name, lower=part.lower, upper=part.upper)

    def attach_back(
        self, connection: Connection, detached: Detached, *, lock_seconds: float
    ) -> None:
        """The other way round; rows that came meanwhile are copied, and fire triggers again.

        Begun anew it may have to copy the others: so what has fewer rows is copied.
        """
        side, place = self.qualified(detached.table), self._partition(detached.name)
        what = f"{detached.table!r} cannot be made partition {detached.name!r} of "
        what += f"{self._table.fullname!r} again"
        with self.yielding(connection, lock_seconds=lock_seconds):
            if detached.name not in [part.name for part in self.parts(connection)]:
                raise PartitionError(f"{what}: there is no such partition any more; copy its rows")
            if self._counted(connection, side) >= self._counted(connection, place):
                self._exchange(connection, detached.name, side)
            try:
                self._take_rows(connection, side)
            except IntegrityError as error:
                raise PartitionError(
                    f"{what}: rows of the same keys came into that meanwhile; compare the two, and "
                    "delete what is not wanted"
                ) from error
            self.run(connection, f"DROP TABLE {side}")

    def drop(self, connection: Connection, detached: Detached) -> None:
        """The table; the partition goes by `remove_place`."""
        self.run(connection, f"DROP TABLE IF EXISTS {self.qualified(detached.table)}")

    def remove_place(
        self, connection: Connection, detached: Detached, *, lock_seconds: float
    ) -> None:
        """The partition, unless rows came into it meanwhile. Needs the privilege LOCK TABLES."""
        with self.yielding(connection, lock_seconds=lock_seconds):
            self.run(connection, f"LOCK TABLES {self._name} WRITE")
            try:
                names = [part.name for part in self.parts(connection)]
                place = self._partition(detached.name)
                if detached.name in names and not self._has_rows(connection, place):
                    partition = self.quote(detached.name)
                    self.run(connection, f"ALTER TABLE {self._name} DROP PARTITION {partition}")
            finally:
                with suppress(DBAPIError):  # the connection may be gone, and the lock with it
                    self.run(connection, "UNLOCK TABLES")

    def attach(
        self, connection: Connection, name: str, piece: Piece, *, lock_seconds: float
    ) -> None:
        """In exchange for an empty partition of the same bounds."""
        side = self.qualified(name)
        with self.yielding(connection, lock_seconds=lock_seconds):
            if self._comment(connection, name) is None:
                raise PartitionError(f"{name!r} does not exist, so it cannot become a partition")
            bounds = [part for part in self.parts(connection) if part.upper == piece.upper]
            if not bounds or self._has_rows(connection, self._partition(bounds[0].name)):
                raise PartitionError(
                    f"{name!r} takes the place of an empty partition that ends at {piece.upper}; "
                    f"{self._table.fullname!r} has none; maintain() makes those of the future"
                )
            self._exchange(connection, bounds[0].name, side)
            try:
                self._take_rows(connection, side)
            except DBAPIError as error:
                raise PartitionError(
                    f"{name!r} took the place of partition {bounds[0].name!r}, and rows that came "
                    f"into that meanwhile are in {name!r} now; insert them into "
                    f"{self._table.fullname!r}"
                ) from error

    def move_from_default(
        self, connection: Connection, piece: Piece, parts: Sequence[Part]
    ) -> tuple[str, int]:
        """REORGANIZE moves what belongs into the new partition."""
        default = next(part for part in parts if part.is_default)
        source, upper = self._partition(default.name), self.literal(piece.upper)
        count = f"SELECT count(*) FROM {source} WHERE {self._by} < {upper}"  # noqa: S608
        moved = int(self.read(connection, count).scalar_one())
        self.run(connection, self._alter([piece], default.name))
        return _partition_name(piece), moved

    def literal(self, moment: datetime) -> str:
        """A day where the column has no time."""
        if isinstance(self._stored, Date):
            return f"'{moment.date().isoformat()}'"
        return super().literal(moment)

    def _within_sql(self, piece: Piece) -> str:
        return f"{self._by} < {self.literal(piece.upper)}"

    @property
    def _stored(self) -> TypeEngine[Any]:
        return self.purging.stored_type(self._column.type)

    @property
    def _is_timestamp(self) -> bool:
        return isinstance(self._stored, TIMESTAMP)

    def _expressions(self) -> set[str]:
        """How the database may write what the table is partitioned by."""
        name = self._column.name.lower()
        written = {name, self._by.lower(), f"`{name.replace('`', '``')}`"}
        return {f"unix_timestamp({one})" for one in written} if self._is_timestamp else written

    def _alter(self, pieces: Sequence[Piece], default: str | None) -> str:
        """The statement that makes partitions; before the default one, of this name."""
        listed = [
            f"PARTITION {self.quote(_partition_name(piece))} VALUES LESS THAN "
            f"({self._bound(piece.upper)})"
            for piece in pieces
        ]
        if default is None:
            return f"ALTER TABLE {self._name} ADD PARTITION ({', '.join(listed)})"
        rest = self.quote(default)
        listed.append(f"PARTITION {rest} VALUES LESS THAN (MAXVALUE)")
        return f"ALTER TABLE {self._name} REORGANIZE PARTITION {rest} INTO ({', '.join(listed)})"

    def _side_name(self, partition: str) -> str:
        """The name of a table for one partition, the same for every run and no other's."""
        whole = f"{self._table.name}\0{partition}".encode()
        digest = hashlib.blake2b(whole, digest_size=5).hexdigest()
        return f"{self._table.name[:30]}_{partition[:14]}_{digest}_gone"

    def _make_side(self, connection: Connection, name: str, part: Part) -> None:
        """An empty table of the parent's columns, with our mark.

        What a killed run left is made anew: it may be older than the table's columns.
        """
        side, found = self.qualified(name), self._comment(connection, name)
        if found is not None:
            told = _told(found) or {}
            own = (told.get("from"), told.get("name")) == (self._table.name, part.name)
            # Not marked yet: one that was made from the parent a moment ago.
            if not (own or self._is_partitioned(connection, name)) or self._has_rows(
                connection, side
            ):
                raise PartitionError(
                    f"partition {part.name!r} of {self._table.fullname!r} is to become table "
                    f"{name!r}, but one of that name exists; look into it, then rename or drop it"
                )
            self.run(connection, f"DROP TABLE {side}")
        self.run(connection, f"CREATE TABLE {side} LIKE {self._name}")
        mark = _mark(self._table.name, part)
        self.run(connection, f"ALTER TABLE {side} COMMENT = '{mark}' REMOVE PARTITIONING")

    def _take_rows(self, connection: Connection, side: str) -> None:
        """Give the table the rows of another that nobody reaches; all or none."""
        if not self._has_rows(connection, side):
            return
        names = {"schema": self._table.schema, "name": self._table.name}
        written = self.read(connection, WRITTEN_COLUMNS, **names)
        columns = ", ".join(self.quote(row.name) for row in written)
        self.run(connection, "START TRANSACTION")
        try:
            copied = f"SELECT {columns} FROM {side}"  # noqa: S608
            self.run(connection, f"INSERT INTO {self._name} ({columns}) {copied}")
            self.run(connection, f"DELETE FROM {side}")  # noqa: S608
        except BaseException:
            with suppress(DBAPIError):  # the connection may be gone, and the transaction with it
                self.run(connection, "ROLLBACK")
            raise
        self.run(connection, "COMMIT")

    def _bound(self, moment: datetime) -> str:
        if self._is_timestamp:
            return str(round((moment - _EPOCH).total_seconds()))
        return self.literal(moment)

    def _moment(self, bound: str) -> datetime:
        if self._is_timestamp:
            return _EPOCH + timedelta(seconds=int(bound))
        return datetime.fromisoformat(bound.strip("'"))

    def _rows(self, connection: Connection) -> Sequence[Any]:
        names = {"schema": self._table.schema, "name": self._table.name}
        rows: Sequence[Any] = self.read(connection, PARTS, **names).all()
        return rows

    def _is_partitioned(self, connection: Connection, name: str) -> bool:
        rows = self.read(connection, PARTS, schema=self._table.schema, name=name).all()
        return any(row.name is not None for row in rows)

    def _comment(self, connection: Connection, name: str) -> str | None:
        """On a table; None: there is no such table."""
        row = self.read(connection, COMMENT, schema=self._table.schema, name=name).first()
        return None if row is None else str(row.comment)

    def _exchange(self, connection: Connection, partition: str, side: str) -> None:
        words = f"EXCHANGE PARTITION {self.quote(partition)} WITH TABLE {side}"
        self.run(connection, f"ALTER TABLE {self._name} {words}")

    def _has_rows(self, connection: Connection, source: str) -> bool:
        sql = f"SELECT 1 FROM {source} LIMIT 1"  # noqa: S608
        return self.read(connection, sql).first() is not None

    def _counted(self, connection: Connection, source: str) -> int:
        """Rows, as far as it takes to see that they are many."""
        some = f"SELECT 1 FROM {source} LIMIT {_MANY}"  # noqa: S608
        sql = f"SELECT count(*) FROM ({some}) AS counted"  # noqa: S608
        return int(self.read(connection, sql).scalar_one())

    def _partition(self, name: str) -> str:
        return f"{self._name} PARTITION ({self.quote(name)})"


def _partition_name(piece: Piece) -> str:
    return piece.suffix if piece.suffix.startswith("p") else f"p{piece.suffix}"


def _mark(table: str, part: Part) -> str:
    """The comment of a side table; with nothing that means something in a string of SQL."""
    lower, upper = (one and one.isoformat() for one in (part.lower, part.upper))
    names = {"from": quote(table, safe=""), "name": quote(part.name, safe="")}
    return MARK + json.dumps({**names, "l": lower, "u": upper})


def _told(comment: str) -> dict[str, Any] | None:
    """What a mark says; None: the comment is none."""
    if not comment.startswith(MARK):
        return None
    try:
        told = json.loads(comment.removeprefix(MARK))
        return {**told, "from": unquote(told["from"]), "name": unquote(told["name"])}
    except (ValueError, KeyError, TypeError):
        return None
