"""An index as a value: keys, condition, name; made or not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect

__all__ = ["IndexDefinition", "IndexKey"]

#: Names are cut here: PostgreSQL's longest is 63 bytes, MySQL's 64 characters.
_MAX_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexKey:
    """One key of an index: a column or an expression, and what stands behind it.

    Attributes:
        column: its name; None for an expression.
        expression: in the database's SQL, without the parentheses around it.
        suffix: e.g. an operator class or a collation.
        descending: sorted downwards.
    """

    column: str | None = None
    expression: str | None = None
    suffix: str = ""
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexDefinition:
    """One index of a table.

    Attributes:
        table: its name, without schema.
        schema: of the table; None is where the connection looks by itself.
        keys: one at least, most significant first.
        include: columns that it only carries along; last keys where the database has no INCLUDE.
        predicate: condition of a partial index, in the database's SQL.
    """

    table: str
    keys: tuple[IndexKey, ...]
    schema: str | None = None
    include: tuple[str, ...] = ()
    predicate: str | None = None

    @property
    def columns(self) -> tuple[str | None, ...]:
        """The keys' columns; None for an expression."""
        return tuple(key.column for key in self.keys)

    @property
    def name(self) -> str:
        """``ix_<table>_<columns>``, cut and made unique by a digest where it is too long."""
        words = [
            key.column or "".join(c if c.isalnum() else "_" for c in (key.expression or "").lower())
            for key in self.keys
        ]
        words += ["covering"] if self.include else []
        words += ["partial"] if self.predicate is not None else []
        whole = "_".join(word.strip("_") for word in ("ix", self.table, *words))
        if len(whole) <= _MAX_NAME:
            return whole
        digest = hashlib.blake2b(whole.encode("utf-8", "backslashreplace"), digest_size=4)
        return f"{whole[: _MAX_NAME - 9]}_{digest.hexdigest()}"

    def written_for(self, dialect: Dialect) -> IndexDefinition:
        """The same index without what the database has no words for."""
        if not self.include or dialect.included_columns:
            return self
        carried = (IndexKey(column=column) for column in self.include)
        return replace(self, keys=(*self.keys, *carried), include=())

    def create_sql(
        self, dialect: Dialect, *, name: str | None = None, concurrently: bool = False
    ) -> str:
        """The statement that makes it.

        Args:
            dialect: whose quoting applies.
            name: of the index; by default `name`.
            concurrently: while others write, which no transaction may do.
        """
        index = self.written_for(dialect)
        keys = ", ".join(_key_sql(dialect, key) for key in index.keys)
        table = dialect.quote(self.table)
        if self.schema is not None:
            table = f"{dialect.quote(self.schema)}.{table}"
        how = "CREATE INDEX CONCURRENTLY" if concurrently else "CREATE INDEX"
        text = f"{how} {dialect.quote(name or self.name)} ON {table} ({keys})"
        if index.include:
            text += f" INCLUDE ({', '.join(map(dialect.quote, index.include))})"
        return text if self.predicate is None else f"{text} WHERE {self.predicate}"


def _key_sql(dialect: Dialect, key: IndexKey) -> str:
    text = dialect.quote(key.column) if key.column is not None else f"({key.expression})"
    suffix = f" {key.suffix}" if key.suffix else ""
    return f"{text}{suffix}{' DESC' if key.descending else ''}"
