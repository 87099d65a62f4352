"""An index as a value: keys, condition, name; made or not."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect

__all__ = ["IndexDefinition", "IndexKey", "fitting_name"]

#: Names are cut here: PostgreSQL's longest has 63 bytes, MySQL's 64 characters.
_MAX_NAME_BYTES = 60


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
        """``ix_<table>_<columns>`` in plain characters, cut where it is too long."""
        words = ["ix", self.table]
        words += [key.column or (key.expression or "").lower() for key in self.keys]
        if self.include:
            words.append("covering")
        if self.predicate is not None:
            words.append("partial")
        return fitting_name("_".join(re.sub(r"\W+", "_", word).strip("_") for word in words))

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
        table = dialect.quote(self.table, self.schema)
        how = "CREATE INDEX CONCURRENTLY" if concurrently else "CREATE INDEX"
        text = f"{how} {dialect.quote(name or self.name)} ON {table} ({keys})"
        if index.include:
            text += f" INCLUDE ({', '.join(map(dialect.quote, index.include))})"
        return text if self.predicate is None else f"{text} WHERE {self.predicate}"


def fitting_name(name: str, ending: str = "") -> str:
    """A name with an ending as every database takes it, made unique by a digest where it is cut.

    Args:
        name: of an index.
        ending: is kept whole; some bytes.
    """
    if len(_bytes(name + ending)) <= _MAX_NAME_BYTES:
        return name + ending
    digest = f"_{hashlib.blake2b(_bytes(name), digest_size=4).hexdigest()}{ending}"
    room = _MAX_NAME_BYTES - len(_bytes(digest))
    return _bytes(name)[:room].decode("utf-8", "ignore").rstrip("_") + digest


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _key_sql(dialect: Dialect, key: IndexKey) -> str:
    text = dialect.quote(key.column) if key.column is not None else f"({key.expression})"
    suffix = f" {key.suffix}" if key.suffix else ""
    return f"{text}{suffix}{' DESC' if key.descending else ''}"
