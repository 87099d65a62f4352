"""SQL that makes a partitioned table of a PostgreSQL table in use.

The table becomes the first partition of a new parent of its name. What takes long (a constraint
validated, a unique index) is done before, while everybody reads and writes; the change itself is
one transaction of some milliseconds. No row is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sa_perf.dialects.partitioning.conversion_catalog import (
    COLUMNS,
    HINDRANCES,
    INDEXES,
    LEFT_CHECK,
    LEFT_INDEX,
    TABLE,
)
from sa_perf.errors import PartitionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Connection, Table
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

    from sa_perf.dialects.partitioning.base import Piece
    from sa_perf.dialects.partitioning.postgresql import PostgreSQLPartitioning

__all__ = ["Conversion", "Phase", "conversion_for"]

_OLD, _CHECK, _INDEX = "before", "sa_perf_range", "sa_perf_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Statements that belong together.

    Attributes:
        title: what they do and who waits.
        statements: in their order.
        transaction: they are one; else each runs by itself, outside transactions.
    """

    title: str
    statements: tuple[str, ...]
    transaction: bool


def conversion_for(dialect: SQLAlchemyDialect, table: Table, column: Column[Any]) -> Conversion:
    """How a database's table is converted.

    Raises:
        PartitionError: there is no way in which it stays in use.
    """
    from sa_perf.dialects.partitioning import partitioning_for
    from sa_perf.dialects.partitioning.postgresql import PostgreSQLPartitioning

    kind = partitioning_for(dialect, table, column)
    if not isinstance(kind, PostgreSQLPartitioning):
        raise PartitionError(
            f"{table.fullname!r}: {dialect.name} partitions a table by writing it anew while it is "
            "locked (ALTER TABLE ... PARTITION BY); copy it with pt-online-schema-change or gh-ost"
        )
    return Conversion(kind, table, column)


class Conversion:
    """One table's.

    Args:
        kind: its partitions to be.
        table: as declared; its key contains the column.
        column: by which it is to be partitioned.
    """

    def __init__(
        self,
        kind: PostgreSQLPartitioning,
        table: Table,
        column: Column[Any],
    ) -> None:
        self.kind = kind
        self._table = table
        self._quote = kind.quote
        self._name = kind.name_sql
        self._by = self._quote(column.name)
        self._column = column
        self._old = kind.child(_OLD)
        self._old_sql = kind.qualified(self._old)
        self._check = self._quote(kind.child(_CHECK))
        self._key = [self._quote(one.name) for one in table.primary_key.columns]
        self._key_index = self._quote(kind.child(_INDEX))

    def youngest(self, connection: Connection) -> datetime | None:
        """The last moment in the table, as it is stored; reads it all where no index serves."""
        stmt = f"SELECT max({self._by}) FROM {self._name}"  # noqa: S608
        found: datetime | None = self.kind.read(connection, stmt).scalar()
        return found

    def refuse_hindrances(self, connection: Connection) -> None:
        """Name everything that would be lost or in the way.

        Raises:
            PartitionError: there is something.
        """
        found = [row[0] for row in self.kind.read(connection, HINDRANCES, **self._named())]
        if self.kind.read(connection, TABLE, name=self._name).first() is None:
            found = ["it does not exist"]
        if found:
            raise PartitionError(
                f"{self._table.fullname!r} cannot be converted: {'; '.join(found)}"
            )

    def phases(
        self, connection: Connection, boundary: datetime, pieces: Sequence[Piece], *, default: bool
    ) -> list[Phase]:
        """The script, from the catalog as it is now.

        Args:
            connection: in a transaction.
            boundary: up to which the old table is a partition; no row may be as young.
            pieces: partitions from there on.
            default: have a default partition.
        """
        about = self.kind.read(connection, TABLE, name=self._name).one()
        columns = self.kind.read(connection, COLUMNS, name=self._name).all()
        left = self.kind.child(_INDEX)  # by a try that was interrupted
        indexes = self.kind.read(connection, INDEXES, name=self._name, left=left).all()
        upper = self.kind.literal(boundary)
        has_key = about.key is not None and list(about.key) == [
            one.name for one in self._table.primary_key.columns
        ]
        return [
            *self._preparation(upper, with_key=bool(self._key) and not has_key),
            Phase(
                title="Change places: one transaction; everybody waits for it, some milliseconds",
                statements=(
                    f"LOCK TABLE {self._name} IN ACCESS EXCLUSIVE MODE",
                    *self._keyed(about, has_key),
                    *self._renamed(indexes),
                    *self._parent(about, columns, indexes),
                    f"ALTER TABLE {self._name} ATTACH PARTITION {self._old_sql} "
                    f"FOR VALUES FROM (MINVALUE) TO ({upper})",
                    f"ALTER TABLE {self._old_sql} DROP CONSTRAINT {self._check}",
                    *self.kind.create_sql(
                        pieces, default=default, owner=None if about.is_ours else about.owner
                    ),
                ),
                transaction=True,
            ),
        ]

    def undo_check(self, connection: Connection, *, lock_seconds: float) -> None:
        """Take the constraint back, so that rows behind the boundary are not refused."""
        with self.kind.yielding(connection, lock_seconds=lock_seconds):
            left = self.kind.child(_CHECK)
            if self.kind.read(connection, LEFT_CHECK, name=self._name, left=left).first():
                self.kind.run(connection, self.undo_check_sql)

    @property
    def undo_check_sql(self) -> str:
        """What takes the constraint back."""
        return f"ALTER TABLE {self._name} DROP CONSTRAINT {self._check}"

    def undo_index(self, connection: Connection, *, lock_seconds: float) -> None:
        """Drop the index, which every write keeps up, also where it was not built to the end."""
        with self.kind.yielding(connection, lock_seconds=lock_seconds):
            left = self.kind.child(_INDEX)
            there = self.kind.read(connection, LEFT_INDEX, name=self._name, left=left).first()
        if there is not None:
            with self.kind.outside_transactions(connection, lock_seconds=lock_seconds):
                self.kind.run(connection, self.undo_index_sql)

    @property
    def undo_index_sql(self) -> str:
        """What drops the index."""
        return f"DROP INDEX CONCURRENTLY IF EXISTS {self.kind.qualified(self.kind.child(_INDEX))}"

    def _preparation(self, upper: str, *, with_key: bool) -> list[Phase]:
        gone = f"ALTER TABLE {self._name} DROP CONSTRAINT IF EXISTS {self._check}"
        check = f"CHECK ({self._by} IS NOT NULL AND {self._by} < {upper}) NOT VALID"
        phases = [
            Phase(
                title="Say what the table holds; from here on it refuses rows behind the boundary",
                statements=(gone, f"ALTER TABLE {self._name} ADD CONSTRAINT {self._check} {check}"),
                transaction=True,
            ),
            Phase(
                title="See that it is so: the table is read, nobody waits",
                statements=(f"ALTER TABLE {self._name} VALIDATE CONSTRAINT {self._check}",),
                transaction=True,
            ),
        ]
        if with_key:
            make = f"CREATE UNIQUE INDEX CONCURRENTLY {self._key_index}"
            phases.append(
                Phase(
                    title="An index for the key with the moment in it: built while nobody waits",
                    statements=(
                        self.undo_index_sql,
                        f"{make} ON {self._name} ({', '.join(self._key)})",
                    ),
                    transaction=False,
                )
            )
        return phases

    def _keyed(self, about: Any, has_key: bool) -> list[str]:  # noqa: ANN401  # a row
        """The old table's key becomes that of the new parent, and leaves its name to it."""
        if not self._key:
            return []
        if has_key:
            old = self._quote(self.kind.fitting(about.key_name, _OLD))
            name = self._quote(about.key_name)
            return [f"ALTER TABLE {self._name} RENAME CONSTRAINT {name} TO {old}"]
        found = []
        if about.key_name is not None:
            name = self._quote(about.key_name)
            found.append(f"ALTER TABLE {self._name} DROP CONSTRAINT {name}")
        add = f"ADD CONSTRAINT {self._key_index} PRIMARY KEY USING INDEX {self._key_index}"
        # The validated constraint spares reading the table for NOT NULL.
        return [
            *found,
            f"ALTER TABLE {self._name} ALTER COLUMN {self._by} SET NOT NULL",
            f"ALTER TABLE {self._name} {add}",
        ]

    def _renamed(self, indexes: Sequence[Any]) -> list[str]:
        """Indexes and table leave their names to those of the parent."""
        renamed = [
            f"ALTER INDEX {self.kind.qualified(one.name)} RENAME TO "
            f"{self._quote(self.kind.fitting(one.name, _OLD))}"
            for one in indexes
        ]
        return [*renamed, f"ALTER TABLE {self._name} RENAME TO {self._quote(self._old)}"]

    def _parent(
        self,
        about: Any,  # noqa: ANN401  # a row
        columns: Sequence[Any],
        indexes: Sequence[Any],
    ) -> list[str]:
        """A table like the old one, with its owner first, key, indexes, references and grants."""
        found = [
            f"CREATE TABLE {self._name} (LIKE {self._old_sql} INCLUDING ALL EXCLUDING IDENTITY "
            f"EXCLUDING INDEXES) PARTITION BY RANGE ({self._by})",
            f"ALTER TABLE {self._name} DROP CONSTRAINT {self._check}",
        ]
        if not about.is_ours:
            found.append(f"ALTER TABLE {self._name} OWNER TO {self._quote(about.owner)}")
        if self._key:
            name = self._quote(about.key_name or f"{self._table.name}_pkey")
            found.append(
                f"ALTER TABLE {self._name} ADD CONSTRAINT {name} "
                f"PRIMARY KEY ({', '.join(self._key)})"
            )
        found += [one.statement for one in indexes]
        found += about.references or []
        for column in columns:
            found += self._counting(column)
        return [*found, *about.grants]

    def _counting(self, column: Any) -> list[str]:  # noqa: ANN401  # a row
        """A column that counts goes on where it stands."""
        name = self._quote(column.name)
        if not column.identity:
            return [f"ALTER SEQUENCE {column.sequence} OWNED BY {self._name}.{name}"]
        counter = f"pg_get_serial_sequence({_text(self._name)}, {_text(column.name)})"
        how = "ALWAYS" if column.identity == "a" else "BY DEFAULT"
        return [
            f"ALTER TABLE {self._name} ALTER COLUMN {name} ADD GENERATED {how} AS IDENTITY "
            f"({column.options})",
            f"SELECT setval({counter}, last_value, is_called) FROM {column.sequence}",  # noqa: S608
            f"ALTER TABLE {self._old_sql} ALTER COLUMN {name} DROP IDENTITY",
        ]

    def _named(self) -> dict[str, object]:
        return {"name": self._name, "column": self._column.name}


def _text(value: str) -> str:
    quoted = value.replace("'", "''")
    return f"'{quoted}'"
