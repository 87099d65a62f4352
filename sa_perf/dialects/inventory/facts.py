"""What a schema consists of, as values: tables, indexes, keys, counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = [
    "Counter", "ForeignKey", "IndexPart", "Inventory", "SchemaColumn", "SchemaIndex",
    "SchemaTable", "Unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A question to which there is no answer.

    Attributes:
        question: what was asked, in words, e.g. ``"never used indexes"``.
        place: where it could not be told, e.g. ``"schema public"``.
        because: as a phrase, e.g. ``"the server does not count the use of indexes (...)"``.
    """

    question: str
    place: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaColumn:
    """One column.

    Attributes:
        name: as the catalog spells it.
        type: the database's own word for the type, lower case; of a domain what is below it.
        nullable: NULL is allowed.
    """

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPart:
    """One key of an index.

    Attributes:
        column: its name; None for an expression.
        expression: in the database's words; None for a column.
        kind: what tells two keys on the same column apart besides the direction: operator class,
            collation, number of leading characters; empty where all is as usual.
        descending: sorted downwards.
        nulls_first: NULLs stand at the beginning.
    """

    column: str | None = None
    expression: str | None = None
    kind: str = ""
    descending: bool = False
    nulls_first: bool = False

    @property
    def text(self) -> str:
        """As a person writes it."""
        name = self.column if self.column is not None else f"({self.expression})"
        return f"{name}{' ' + self.kind if self.kind else ''}{' DESC' if self.descending else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaIndex:
    """One index; a primary key counts as one, also where the table itself is kept by it.

    Attributes:
        name: as the catalog spells it.
        parts: its keys, most significant first.
        include: columns that it only carries along.
        unique: no two rows share a key.
        nulls_distinct: of a unique one: NULL is equal to no other NULL.
        deferrable: of a unique one: it is looked at when the transaction ends.
        primary: it is the primary key.
        constraint: name of the constraint that it was made for; None where it has none.
        pinned: why it cannot be dropped, as a phrase; None where nothing speaks against it.
        predicate: condition of a partial index; None for a whole one.
        method: e.g. ``"btree"``, with the settings by which two of that method differ.
        ordered: it finds rows by its first keys alone, and gives them in order.
        usable: the planner may use it.
        invalid: why it is not whole, as a phrase; None where it is.
        scans: how often it was used since counting began; None if unknown.
        bytes: its size on disk; None if unknown.
    """

    name: str
    parts: tuple[IndexPart, ...]
    include: tuple[str, ...] = ()
    unique: bool = False
    nulls_distinct: bool = True
    deferrable: bool = False
    primary: bool = False
    constraint: str | None = None
    pinned: str | None = None
    predicate: str | None = None
    method: str = "btree"
    ordered: bool = True
    usable: bool = True
    invalid: str | None = None
    scans: int | None = None
    bytes: int | None = None

    @property
    def text(self) -> str:
        """Name and keys."""
        include = f" INCLUDE ({', '.join(self.include)})" if self.include else ""
        where = f" WHERE {self.predicate}" if self.predicate is not None else ""
        return f"{self.name} ({', '.join(part.text for part in self.parts)}){include}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaTable:
    """One table, or a materialized view, which has indexes too.

    Attributes:
        name: as the catalog spells it.
        schema: that it is in.
        is_default_schema: a connection finds it without its schema.
        columns: in the table's order.
        indexes: by name; of a partitioned table those of the whole.
        rows_estimate: by the database's statistics; None if unknown.
        bytes: size of the rows on disk; None if unknown.
        row_key: columns that each index ends in without naming them.
        clustered: the rows lie within the primary key.
        materialized: it is a materialized view.
        partitioned: its rows lie in partitions, which are not told one by one.
        partition_indexes: the indexes of each partition.
    """

    name: str
    schema: str
    is_default_schema: bool = True
    columns: tuple[SchemaColumn, ...] = ()
    indexes: tuple[SchemaIndex, ...] = ()
    rows_estimate: float | None = None
    bytes: int | None = None
    row_key: tuple[str, ...] = ()
    clustered: bool = False
    materialized: bool = False
    partitioned: bool = False
    partition_indexes: tuple[tuple[SchemaIndex, ...], ...] = ()

    @property
    def fullname(self) -> str:
        """With its schema where it needs that."""
        return self.name if self.is_default_schema else f"{self.schema}.{self.name}"

    def column(self, name: str | None) -> SchemaColumn | None:
        """The column of that name; None where there is none."""
        return next((one for one in self.columns if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key.

    Attributes:
        name: of the constraint; empty where the database keeps none.
        schema: of the table that refers.
        table: that refers.
        columns: of it, in the key's order.
        referred_schema: of the table that is referred to.
        referred_table: that is referred to.
        referred_columns: of it, in the key's order; empty where the catalog does not tell.
        validated: rows that were there before it were looked at.
    """

    name: str
    schema: str
    table: str
    columns: tuple[str, ...]
    referred_schema: str
    referred_table: str
    referred_columns: tuple[str, ...]
    validated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What gives out numbers: a sequence, an identity, an AUTO_INCREMENT, a rowid.

    Attributes:
        schema: that its table is in; of one without a table its own.
        is_default_schema: a connection finds that without its schema.
        sequence: its name; None where the table itself counts.
        sequence_schema: that the sequence is in; None where there is none.
        table: that takes its numbers; None where none does.
        column: of it.
        column_type: of that, in the database's words.
        last: number given out last; None where none was yet.
        first: number at which its range begins, by its direction.
        limit: last number that fits both the sequence and the column.
        increment: from one number to the next; below 0 it counts downwards.
        limited_by_column: the column's type ends there.
        limited_by_sequence: the sequence ends there.
        cycles: behind the sequence's end it begins again.
    """

    schema: str
    is_default_schema: bool = True
    sequence: str | None = None
    sequence_schema: str | None = None
    table: str | None = None
    column: str | None = None
    column_type: str | None = None
    last: int | None = None
    first: int = 1
    limit: int = 0
    increment: int = 1
    limited_by_column: bool = False
    limited_by_sequence: bool = False
    cycles: bool = False

    @property
    def used_ratio(self) -> float:
        """Share of its range that is behind it; above 1 where it has passed the end."""
        if self.last is None or self.limit == self.first:
            return 0.0
        return (self.last - self.first) / (self.limit - self.first)

    @property
    def remaining(self) -> int:
        """Numbers that are left."""
        start = self.first if self.last is None else self.last
        return max(0, (self.limit - start) // self.increment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A database's schemas at one time.

    Attributes:
        schemas: that were read.
        tables: by schema and name.
        foreign_keys: of the tables, and those that refer to them.
        counters: by schema and name.
        unknowns: what could not be read, and why.
        unanswered: parts that are missing: ``"columns"``, ``"indexes"``, ``"foreign keys"``.
        counted_since: since when `SchemaIndex.scans` counts; None if unknown.
        counted_seconds: the same as a time up to now, by the server's clock.
        elsewhere: other servers use the indexes of this database and count for themselves.
    """

    schemas: tuple[str, ...]
    tables: tuple[SchemaTable, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    counters: tuple[Counter, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    unanswered: frozenset[str] = field(default_factory=frozenset)
    counted_since: datetime | None = None
    counted_seconds: float | None = None
    elsewhere: bool = False
