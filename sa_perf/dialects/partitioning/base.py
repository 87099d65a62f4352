"""Partitions of one table by time: what is asked of each database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, MetaData, Table, literal_column, text

from sa_perf.dialects.purging import purging_for
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["MARK", "Detached", "Part", "Partitioning", "Piece"]

#: Begins the comment of a table that was a partition and is about to be dropped.
MARK = "sa_perf: detached "


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A partition that is to be.

    Attributes:
        suffix: of its name.
        lower: its first moment, as the column has it, without zone.
        upper: the moment behind its last.
    """

    suffix: str
    lower: datetime
    upper: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A partition that is there.

    Attributes:
        name: of its table, or of the partition.
        lower: its first moment, without zone; None: without bound.
        upper: the moment behind its last; None: without bound.
        is_default: it takes rows that belong to no other.
        rows: by statistics; None: unknown.
        bytes: with its indexes; None: unknown.
        pending: its detaching was begun and not ended.
        schema: of its table; None: that of the partitioned one.
    """

    name: str
    lower: datetime | None
    upper: datetime | None
    is_default: bool = False
    rows: float | None = None
    bytes: int | None = None
    pending: bool = False
    schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """A table that was a partition, and is to be dropped.

    Attributes:
        table: its name.
        name: of the partition that it was.
        lower: its first moment.
        upper: the moment behind its last.
        schema: of the table; None: that of the partitioned one.
    """

    table: str
    name: str
    lower: datetime | None
    upper: datetime | None
    schema: str | None = None


class Partitioning(ABC):
    """A table's partitions in one database.

    Args:
        dialect: SQLAlchemy's.
        table: that is partitioned.
        column: by which.
    """

    def __init__(self, dialect: SQLAlchemyDialect, table: Table, column: Column[Any]) -> None:
        self._dialect = dialect
        self._table = table
        self._column = column
        #: The table's name as SQL has it, with its schema.
        self.name_sql = self._name = self.qualified(table.name)
        #: The column's name as SQL has it.
        self.column_sql = self._by = self.quote(column.name)
        self.purging = purging_for(dialect)

    def quote(self, name: str) -> str:
        """A name as SQL has it, without what drivers make of a per cent sign, see `run`."""
        return self._dialect.identifier_preparer.quote(name).replace("%%", "%")

    def qualified(self, name: str, schema: str | None = None) -> str:
        """The name of a table, by itself in the same schema, as SQL has it."""
        schema = schema or self._table.schema
        return self.quote(name) if schema is None else f"{self.quote(schema)}.{self.quote(name)}"

    @abstractmethod
    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """A connection for changes of the table, whose statements the recorder leaves out."""

    @abstractmethod
    @contextmanager
    def yielding(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """A transaction that waits for a lock only so long, so that the application goes first."""

    def zone(self, declared: str) -> str:
        """The zone in which the column's moments and the bounds are written, without one.

        Args:
            declared: of a column that keeps none.
        """
        stored = self.purging.stored_type(self._column.type)
        if self.purging.keeps_zones and getattr(stored, "timezone", False):
            return "UTC"
        return self.purging.zone_of(stored, declared)

    def faults(self) -> list[str]:
        """Why the table cannot be partitioned in this database."""
        return []

    @abstractmethod
    def check(self, connection: Connection) -> None:
        """Refuse a table that is not partitioned as declared, or that somebody else manages."""

    def manager(self, connection: Connection) -> str | None:
        """Who else creates and drops the table's partitions, in words; None: nobody."""
        return None

    @abstractmethod
    def parts(self, connection: Connection) -> list[Part]:
        """The partitions, oldest first, the default last."""

    @abstractmethod
    def detached(self, connection: Connection) -> list[Detached]:
        """What was detached to be dropped, and still is there: a run was interrupted."""

    def doubtful(self, connection: Connection) -> list[tuple[str, str]]:
        """Tables that a run meant to drop and nobody may: their names, and a sentence on each."""
        return []

    @contextmanager
    def making_way(
        self,
        connection: Connection,
        lower: datetime | None,
        upper: datetime | None,
        *,
        lock_seconds: float,
    ) -> Iterator[bool]:
        """Do beforehand what would take long when a partition is made; begun in no transaction.

        Yields:
            Whether something was done.
        """
        yield False

    def create_default(self, connection: Connection) -> str | None:
        """Make a default partition; its name, None: here it cannot be. Within a transaction."""
        return None

    @abstractmethod
    def create(
        self, connection: Connection, pieces: Sequence[Piece], parts: Sequence[Part]
    ) -> list[str]:
        """Make partitions; their names. Within a transaction that yields."""

    @abstractmethod
    def create_sql(self, pieces: Sequence[Piece], *, default: bool) -> list[str]:
        """What makes partitions of a table that has none."""

    def rows_in_default(self, connection: Connection, parts: Sequence[Part], most: int) -> int:
        """Rows of the default partition, counted up to so many."""
        default = next((part for part in parts if part.is_default), None)
        if default is None:
            return 0
        source = self.default_source(default)
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT {most}) AS counted"  # noqa: S608
        return int(self.read(connection, sql).scalar_one())

    def default_blocks(self, connection: Connection, piece: Piece, parts: Sequence[Part]) -> bool:
        """Whether the default partition has rows because of which a new one cannot be made."""
        default = next((part for part in parts if part.is_default), None)
        if default is None:
            return False
        source = self.default_source(default)
        sql = f"SELECT 1 FROM {source} WHERE {self._within_sql(piece)} LIMIT 1"  # noqa: S608
        return self.read(connection, sql).first() is not None

    @abstractmethod
    def default_source(self, default: Part) -> str:
        """The default partition as a FROM clause has it."""

    @abstractmethod
    def detach(self, connection: Connection, part: Part, *, lock_seconds: float) -> Detached:
        """Make a table of its own of a partition; in no transaction.

        Raises:
            PartitionStays: this one cannot be taken out, or is no partition any more.
        """

    @abstractmethod
    def attach_back(
        self, connection: Connection, detached: Detached, *, lock_seconds: float
    ) -> None:
        """Make a partition again of what was one; in no transaction."""

    @abstractmethod
    def drop(self, connection: Connection, detached: Detached) -> None:
        """Drop what was detached; within a transaction that yields."""

    def remove_place(
        self, connection: Connection, detached: Detached, *, lock_seconds: float
    ) -> None:
        """Remove what dropping leaves of a partition in its table; in no transaction."""
        return  # most databases leave nothing

    @abstractmethod
    def attach(
        self, connection: Connection, name: str, piece: Piece, *, lock_seconds: float
    ) -> None:
        """Make a partition of a table that is there; in no transaction."""

    @abstractmethod
    def move_from_default(
        self, connection: Connection, piece: Piece, parts: Sequence[Part]
    ) -> tuple[str, int]:
        """Move the rows of an interval to a new partition; its name, rows moved."""

    def within(self, lower: datetime | None, upper: datetime | None) -> list[ColumnElement[bool]]:
        """Conditions that leave one interval's rows, in a form that prunes partitions."""
        found: list[ColumnElement[bool]] = []
        if lower is not None:
            found.append(self._column >= literal_column(self.literal(lower)))
        if upper is not None:
            found.append(self._column < literal_column(self.literal(upper)))
        return found

    def _within_sql(self, piece: Piece) -> str:
        lower, upper = self.literal(piece.lower), self.literal(piece.upper)
        return f"{self._by} >= {lower} AND {self._by} < {upper}"

    def literal(self, moment: datetime) -> str:
        """A moment as SQL has it."""
        return f"'{moment.isoformat(sep=' ')}'"

    def side_table(self, detached: Detached) -> Table:
        """A detached table with the columns of the one that it was part of."""
        columns = [Column(one.name, one.type, key=one.key) for one in self._table.columns]
        return Table(
            detached.table, MetaData(), *columns, schema=detached.schema or self._table.schema
        )

    def read(self, connection: Connection, sql: str, **values: object) -> Any:  # noqa: ANN401
        """Run one statement with values; its result, whose type differs by SQLAlchemy's version."""
        return connection.execute(text(sql), values, execution_options=UNRECORDED)

    def run(self, connection: Connection, sql: str) -> None:
        """Run one statement that gives no rows; drivers leave its per cent signs alone."""
        options = {**UNRECORDED, "no_parameters": True}
        connection.exec_driver_sql(sql, execution_options=options)
