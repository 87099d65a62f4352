"""Rows of one table as an archive holds them, known by their keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import delete, select

from sa_perf.errors import ArchiveError
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Connection, Table

    from sa_perf.dialects.stored_values import StoredValues

__all__ = ["Key", "KeyedRows"]

Key: TypeAlias = "tuple[Any, ...]"

#: Keys in one statement: below what any database takes as parameters, also of several columns.
KEYS = 500


class KeyedRows:
    """Some columns of a table, its primary key among them.

    Args:
        stored: how values are read and written.
        table: where the rows are or go.
        columns: of it, in the order of a row's values.
        constants: further columns, with the values that rows put in get there.

    Raises:
        ArchiveError: a column of the primary key is not among them.
    """

    def __init__(
        self,
        stored: StoredValues,
        table: Table,
        columns: Sequence[Column[Any]],
        *,
        constants: Mapping[Column[Any], object] | None = None,
    ) -> None:
        self._stored = stored
        self._table = table
        self._columns = list(columns)
        self._key = list(table.primary_key.columns)
        names = [one.name for one in columns]
        unknown = [one.name for one in self._key if one.name not in names]
        if unknown:
            raise ArchiveError(
                f"table {table.fullname!r} computes {unknown} of its primary key, so its rows "
                "cannot be told apart by what they are put in with"
            )
        self._places = [names.index(one.name) for one in self._key]
        self._selected = select(*(stored.read(one).label(one.name) for one in columns))
        self._insert = stored.insert(table, columns, constants=constants)

    def key(self, row: Sequence[Any]) -> Key:
        """The primary key of a row."""
        return tuple(row[place] for place in self._places)

    def found(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Sequence[Any]]:
        """Rows that are there, by key."""
        wanted = list(keys)
        found: dict[Key, Sequence[Any]] = {}
        for at in range(0, len(wanted), KEYS):
            matching = self._matches(wanted[at : at + KEYS])
            rows = connection.execute(self._selected.where(matching), execution_options=UNRECORDED)
            found.update((self.key(row), row) for row in rows)
        return found

    def page(
        self, connection: Connection, after: Key | None, size: int, *criteria: ColumnElement[bool]
    ) -> list[Any]:
        """The rows behind a key, in the order of keys.

        Args:
            connection: to the table's database.
            after: None: from the start.
            size: rows at most.
            criteria: which rows.
        """
        statement = self._selected.where(*criteria).order_by(*self._key).limit(size)
        if after is not None:
            statement = statement.where(self._stored.above(self._key, after))
        return list(connection.execute(statement, execution_options=UNRECORDED))

    def take(
        self, connection: Connection, criteria: Sequence[ColumnElement[bool]], *, returning: bool
    ) -> Sequence[Any]:
        """Delete rows; those that are gone, as they were.

        A row that a trigger keeps, or that meets the criteria no more, is not among them.

        Args:
            connection: in the transaction.
            criteria: which rows.
            returning: the database's DELETE can give what it deleted.
        """
        if returning:
            gone = delete(self._table).where(*criteria).returning(*self._selected.selected_columns)
            return connection.execute(gone, execution_options=UNRECORDED).all()
        locked = self._selected.where(*criteria).with_for_update(of=self._table)
        rows = connection.execute(locked, execution_options=UNRECORDED).all()
        keys = [self.key(row) for row in rows]
        if self.delete(connection, keys) == len(keys):
            return rows
        left = self.found(connection, keys)
        return [row for row in rows if self.key(row) not in left]

    def insert(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Put rows in, and read them again.

        Raises:
            ArchiveError: what is there now is not what was put in; names the table and a column.
            DBAPIError: the database refused them.
        """
        if not rows:
            return
        parameters = [{f"c{at}": value for at, value in enumerate(row)} for row in rows]
        connection.execute(self._insert, parameters, execution_options=UNRECORDED)
        there = self.found(connection, (self.key(row) for row in rows))
        for row in rows:
            self.require_same(row, there.get(self.key(row)))

    def delete(
        self, connection: Connection, keys: Iterable[Key], *criteria: ColumnElement[bool]
    ) -> int:
        """Remove rows with some keys, if they meet the criteria; how many there were."""
        wanted = list(keys)
        removed = 0
        for at in range(0, len(wanted), KEYS):
            statement = delete(self._table).where(self._matches(wanted[at : at + KEYS]), *criteria)
            removed += connection.execute(statement, execution_options=UNRECORDED).rowcount
        return removed

    def same(self, one: Sequence[Any], other: Sequence[Any]) -> bool:
        """Whether two rows hold the same values."""
        return self._different(one, other) is None

    def require_same(self, sent: Sequence[Any], found: Sequence[Any] | None) -> None:
        """Refuse a row that is not what it was copied from.

        Raises:
            ArchiveError: it is not there, or a column holds another value; names the column.
        """
        name = self._table.fullname
        if found is None:
            raise ArchiveError(
                f"a row of {name!r} is not there after it was put in; the transaction was rolled "
                "back; look for a trigger or a rule that keeps or changes it"
            )
        column = self._different(sent, found)
        if column is not None:
            raise ArchiveError(
                f"column {column!r} of {name!r} holds another value than was put in; the "
                "transaction was rolled back; the column's type is narrower than that of the row, "
                "or a trigger changed it"
            )

    def _matches(self, keys: Sequence[Key]) -> ColumnElement[bool]:
        return self._stored.matches(self._key, keys)

    def _different(self, one: Sequence[Any], other: Sequence[Any]) -> str | None:
        """The first column whose values differ."""
        for column, left, right in zip(self._columns, one, other, strict=True):
            if left != right and not (left != left and right != right):  # NaN
                return column.name
        return None
