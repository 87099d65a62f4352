"""Range partitions of MySQL and MariaDB.

A partition is no table here. To be dropped, it changes places with an empty table (EXCHANGE
PARTITION), which holds its rows until they are archived and is dropped then: rows that come
meanwhile land in the partition, which is dropped only while it is empty and locked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import TIMESTAMP, Date
from sqlalchemy.dialects import mysql

from sa_perf.dialects.partitioning.base import MARK, Detached, Part, Partitioning, Piece
from sa_perf.errors import PartitionError
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine

__all__ = ["MySQLPartitioning", "partition_by"]

_FUTURE, _PAST = "p_future", "p_past"
_EPOCH = datetime(1970, 1, 1)
_PARTS = """
SELECT partition_name AS name, partition_description AS bound, table_rows AS num_rows,
       data_length + index_length AS num_bytes, partition_method AS method,
       partition_expression AS expression
  FROM information_schema.partitions
 WHERE table_schema = coalesce(:schema, database()) AND table_name = :name
 ORDER BY partition_ordinal_position
"""
_DETACHED = """
SELECT table_name AS name, table_comment AS comment FROM information_schema.tables
 WHERE table_schema = coalesce(:schema, database()) AND table_comment LIKE :mark
 ORDER BY table_name
"""


def partition_by(column: Column[Any], *, default: bool) -> str:
    """What stands behind PARTITION BY, with the one partition that a table must begin with."""
    dialect = mysql.dialect()
    name = dialect.identifier_preparer.quote(column.name)
    if _is_timestamp(column):
        how, past = f"RANGE (UNIX_TIMESTAMP({name}))", "1"
    else:
        how = f"RANGE COLUMNS ({name})"
        past = "'1970-01-02'" if _is_date(column) else "'1970-01-02 00:00:00'"
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
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT", **UNRECORDED)
            zone = connection.exec_driver_sql("SELECT @@time_zone").scalar_one()
            wait = connection.exec_driver_sql("SELECT @@lock_wait_timeout").scalar_one()
            connection.exec_driver_sql("SET SESSION time_zone = '+00:00'")
            connection.rollback()
            try:
                yield connection
            finally:
                connection.rollback()
                self.run(
                    connection, f"SET SESSION time_zone = '{zone}', lock_wait_timeout = {wait}"
                )
                connection.rollback()

    @contextmanager
    def yielding(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """With ``lock_wait_timeout`` for metadata locks; DDL commits by itself."""
        with self.purging.transaction(connection, lock_seconds=lock_seconds):
            seconds = max(1, round(lock_seconds))
            self.run(connection, f"SET SESSION lock_wait_timeout = {seconds}")
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
        wanted = "RANGE" if _is_timestamp(self._column) else "RANGE COLUMNS"
        if rows[0].method != wanted or self._column.name.lower() not in rows[0].expression.lower():
            raise PartitionError(
                f"{self._table.fullname!r} is partitioned by {rows[0].method} "
                f"({rows[0].expression}), not by {wanted} of {self._column.name!r}"
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
                        name=row.name, lower=lower, upper=upper, is_default=row.name == _FUTURE,
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
        rows = self.read(connection, _DETACHED, schema=self._table.schema, mark=f"{MARK}%").all()
        for row in rows:
            told = json.loads(row.comment.removeprefix(MARK))
            if told["from"] != self._table.name:
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
            self.run(connection, self._alter(new, any(part.is_default for part in parts)))
        return [_partition_name(piece) for piece in new]

    def create_sql(self, pieces: Sequence[Piece], *, default: bool) -> list[str]:
        """One statement."""
        return [self._alter(pieces, default)]

    def default_source(self, default: Part) -> str:
        """A partition of the table."""
        return self._partition(default.name)

    def detach(
        self, connection: Connection, part: Part, parts: Sequence[Part], *, lock_seconds: float
    ) -> Detached:
        """An empty table takes the partition's place, and the other way round."""
        name = f"{self._table.name[:40]}_{part.name[:14]}_gone"
        found = Detached(table=name, name=part.name, lower=part.lower, upper=part.upper)
        lower, upper = (one and one.isoformat() for one in (part.lower, part.upper))
        told = {"from": self._table.name, "name": part.name, "l": lower, "u": upper}
        comment = (MARK + json.dumps(told)).replace("'", "''")
        side = self.qualified(name)
        with self.yielding(connection, lock_seconds=lock_seconds):
            self.run(connection, f"CREATE TABLE IF NOT EXISTS {side} LIKE {self._name}")
            if self._is_partitioned(connection, name):
                self.run(connection, f"ALTER TABLE {side} REMOVE PARTITIONING")
            self.run(connection, f"ALTER TABLE {side} COMMENT = '{comment}'")
            self._exchange(connection, part.name, side)
        return found

    def attach_back(
        self, connection: Connection, detached: Detached, *, lock_seconds: float
    ) -> None:
        """The other way round; rows that came meanwhile would be lost, so there must be none."""
        side = self.qualified(detached.table)
        with self.yielding(connection, lock_seconds=lock_seconds):
            if self._has_rows(connection, self._partition(detached.name)):
                raise PartitionError(
                    f"{detached.table!r} cannot be made partition {detached.name!r} of "
                    f"{self._table.fullname!r} again: rows came into that meanwhile; copy the rows "
                    "of the one into the other"
                )
            self._exchange(connection, detached.name, side)
            self.run(connection, f"DROP TABLE {side}")

    def drop(self, connection: Connection, detached: Detached) -> None:
        """The table, and the partition unless rows came into it meanwhile."""
        self.run(connection, f"DROP TABLE {self.qualified(detached.table)}")
        self.run(connection, f"LOCK TABLES {self._name} WRITE")
        try:
            names = [part.name for part in self.parts(connection)]
            if detached.name in names and not self._has_rows(connection, self._name, detached.name):
                partition = self.quote(detached.name)
                self.run(connection, f"ALTER TABLE {self._name} DROP PARTITION {partition}")
        finally:
            self.run(connection, "UNLOCK TABLES")

    def attach(
        self, connection: Connection, name: str, piece: Piece, *, lock_seconds: float
    ) -> None:
        """In exchange for an empty partition of the same bounds."""
        with self.yielding(connection, lock_seconds=lock_seconds):
            bounds = [part for part in self.parts(connection) if part.upper == piece.upper]
            if not bounds or self._has_rows(connection, self._partition(bounds[0].name)):
                raise PartitionError(
                    f"{name!r} takes the place of an empty partition that ends at {piece.upper}; "
                    f"{self._table.fullname!r} has none; maintain() makes those of the future"
                )
            self._exchange(connection, bounds[0].name, self.qualified(name))

    def move_from_default(
        self, connection: Connection, piece: Piece, parts: Sequence[Part]
    ) -> tuple[str, int]:
        """REORGANIZE moves what belongs into the new partition."""
        default = next(part for part in parts if part.is_default)
        source, upper = self._partition(default.name), self.literal(piece.upper)
        count = f"SELECT count(*) FROM {source} WHERE {self._by} < {upper}"  # noqa: S608
        moved = int(self.read(connection, count).scalar_one())
        self.run(connection, self._alter([piece], True))
        return _partition_name(piece), moved

    def literal(self, moment: datetime) -> str:
        """A day where the column has no time."""
        if _is_date(self._column):
            return f"'{moment.date().isoformat()}'"
        return super().literal(moment)

    def _within_sql(self, piece: Piece) -> str:
        return f"{self._by} < {self.literal(piece.upper)}"

    def _alter(self, pieces: Sequence[Piece], default: bool) -> str:
        listed = [
            f"PARTITION {self.quote(_partition_name(piece))} VALUES LESS THAN "
            f"({self._bound(piece.upper)})"
            for piece in pieces
        ]
        if not default:
            return f"ALTER TABLE {self._name} ADD PARTITION ({', '.join(listed)})"
        listed.append(f"PARTITION {_FUTURE} VALUES LESS THAN (MAXVALUE)")
        return f"ALTER TABLE {self._name} REORGANIZE PARTITION {_FUTURE} INTO ({', '.join(listed)})"

    def _bound(self, moment: datetime) -> str:
        if _is_timestamp(self._column):
            return str(round((moment - _EPOCH).total_seconds()))
        return self.literal(moment)

    def _moment(self, bound: str) -> datetime:
        if _is_timestamp(self._column):
            return _EPOCH + timedelta(seconds=int(bound))
        return datetime.fromisoformat(bound.strip("'"))

    def _rows(self, connection: Connection) -> Sequence[Any]:
        names = {"schema": self._table.schema, "name": self._table.name}
        rows: Sequence[Any] = self.read(connection, _PARTS, **names).all()
        return rows

    def _is_partitioned(self, connection: Connection, name: str) -> bool:
        rows = self.read(connection, _PARTS, schema=self._table.schema, name=name).all()
        return any(row.name is not None for row in rows)

    def _exchange(self, connection: Connection, partition: str, side: str) -> None:
        words = f"EXCHANGE PARTITION {self.quote(partition)} WITH TABLE {side}"
        self.run(connection, f"ALTER TABLE {self._name} {words}")

    def _has_rows(self, connection: Connection, source: str, partition: str | None = None) -> bool:
        chosen = "" if partition is None else f" PARTITION ({self.quote(partition)})"
        sql = f"SELECT 1 FROM {source}{chosen} LIMIT 1"  # noqa: S608
        return self.read(connection, sql).first() is not None

    def _partition(self, name: str) -> str:
        return f"{self._name} PARTITION ({self.quote(name)})"


def _partition_name(piece: Piece) -> str:
    return piece.suffix if piece.suffix.startswith("p") else f"p{piece.suffix}"


def _is_timestamp(column: Column[Any]) -> bool:
    return isinstance(column.type.dialect_impl(mysql.dialect()), TIMESTAMP)


def _is_date(column: Column[Any]) -> bool:
    return isinstance(column.type.dialect_impl(mysql.dialect()), Date)
