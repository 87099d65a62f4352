"""What a catalog says about a table: size, columns, indexes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ColumnFacts", "IndexFacts", "TableFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """One column.

    Attributes:
        name: as the catalog spells it.
        type: the database's own word for the type, lower case, e.g. ``"varchar(6)"``.
        nullable: NULL is allowed.
        collation: name of the collation; None where the column has none of its own.
    """

    name: str
    type: str
    nullable: bool
    collation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFacts:
    """One index; a primary key counts as one.

    Attributes:
        name: as the catalog spells it.
        columns: key columns in order; None where the key is an expression.
        unique: no two rows share a key.
        primary: it is the primary key.
        expressions: the key's expressions in order, in the database's words.
        predicate: condition of a partial index; None for a whole one.
        method: e.g. ``"btree"``.
    """

    name: str
    columns: tuple[str | None, ...]
    unique: bool = False
    primary: bool = False
    expressions: tuple[str, ...] = ()
    predicate: str | None = None
    method: str = "btree"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """One table.

    Attributes:
        name: as the catalog spells it, without schema.
        rows_estimate: rows by the database's statistics or a bounded sample; None if unknown.
        bytes: size of the rows on disk; None if unknown.
        columns: in the table's order.
        indexes: primary key first, then by name.
    """

    name: str
    rows_estimate: float | None = None
    bytes: int | None = None
    columns: tuple[ColumnFacts, ...] = ()
    indexes: tuple[IndexFacts, ...] = ()

    def column(self, name: str) -> ColumnFacts | None:
        """The column of that name, case aside; None where there is none."""
        wanted = name.casefold()
        return next((c for c in self.columns if c.name.casefold() == wanted), None)

    def index(self, name: str) -> IndexFacts | None:
        """The index of that name; None where there is none."""
        return next((i for i in self.indexes if i.name == name), None)
