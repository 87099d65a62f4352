"""Archive tables beside their sources: copied and gone in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, delete, literal, literal_column, select, type_coerce

from sa_perf.dialects.same_values import same_value
from sa_perf.dialects.stored_values import Stored, StoredValues
from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.keyed_rows import KeyedRows
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Table

    from sa_perf.retention.archive.archive_table import Marks

__all__ = ["RowsChanged", "SameDatabase", "is_copied"]

#: Of an INSERT SQLAlchemy keeps the number of rows only if it is asked to.
_COUNTED = {**UNRECORDED, "preserve_rowcount": True}
_ONE: ColumnElement[int] = literal_column("1")


class RowsChanged(ArchiveError):
    """Somebody changed rows between their copy and their deletion; a second try may do."""


class SameDatabase:
    """Copies rows by INSERT ... SELECT and deletes those that stand in the archive as they are.

    So no row is lost whatever happens between the two statements, to whatever the conditions read,
    and whatever the archive table makes of a value.

    Args:
        stored: how values of the database are read.
    """

    def __init__(self, stored: StoredValues) -> None:
        self._stored = stored

    def move(
        self,
        connection: Connection,
        source: Table,
        target: Table,
        criteria: Sequence[ColumnElement[bool]],
        marks: Marks,
    ) -> int:
        """Move rows within a transaction; returns how many are gone.

        A row that a trigger keeps where it is does not stay in the archive.

        Raises:
            ArchiveError: a value in the archive is not what it was copied from.
            RowsChanged: the transaction is to be rolled back and tried again.
            DBAPIError: the database refused, e.g. since the key stands in the archive already.
        """
        copied = self._copy(connection, source, target, criteria, marks)
        its_copy = marks.stand_in(target)
        whole = is_copied(self._stored, source, target, list(source.columns), its_copy)
        statement = delete(source).where(*criteria, whole)
        deleted = connection.execute(statement, execution_options=UNRECORDED).rowcount
        if deleted != copied:
            copied -= self._take_back(connection, source, target, criteria, its_copy)
        if deleted != copied:
            raise RowsChanged(
                f"{copied} rows of {source.fullname!r} were archived but {deleted} would be "
                "deleted, since somebody changed some in between; the batch is tried again"
            )
        return int(deleted)

    def _copy(
        self,
        connection: Connection,
        source: Table,
        target: Table,
        criteria: Sequence[ColumnElement[bool]],
        marks: Marks,
    ) -> int:
        """Copy rows and lock them."""
        values = marks.values(target)
        kept = [type_coerce(one, Stored()) for one in source.columns]
        added = [literal(value, column.type) for column, value in values.items()]
        rows = select(*kept, *added).where(*criteria).with_for_update(of=source)
        names = [one.name for one in (*source.columns, *values)]
        statement = target.insert().from_select(names, rows, include_defaults=False)
        done = connection.execute(statement, execution_options=_COUNTED)
        return int(cast("CursorResult[Any]", done).rowcount)

    def _take_back(
        self,
        connection: Connection,
        source: Table,
        target: Table,
        criteria: Sequence[ColumnElement[bool]],
        its_copy: Sequence[ColumnElement[bool]],
    ) -> int:
        """Remove copies from the archive whose rows were not deleted; how many.

        Raises:
            ArchiveError: one differs from its row, which therefore was not deleted.
        """
        here = KeyedRows(self._stored, source, list(source.columns))
        there = KeyedRows(
            self._stored, target, [target.columns[one.name] for one in source.columns]
        )
        key = list(source.primary_key.columns)
        copied = is_copied(self._stored, source, target, [], its_copy)
        statement = select(*(self._stored.read(one) for one in key)).where(*criteria, copied)
        keys = [tuple(row) for row in connection.execute(statement, execution_options=UNRECORDED)]
        copies = there.found(connection, keys)
        for one, row in here.found(connection, keys).items():
            there.require_same(row, copies.get(one))
        return there.delete(connection, keys, *its_copy)


def is_copied(
    stored: StoredValues,
    source: Table,
    target: Table,
    columns: Sequence[Any],
    criteria: Sequence[ColumnElement[bool]] = (),
) -> ColumnElement[bool]:
    """Whether a row of one table stands in another one of the same columns.

    It is a subquery that gives a value, since planners turn EXISTS into a join, for which they read
    the whole archive.

    Args:
        stored: how values of the database are read.
        source: whose row it is.
        target: the other one.
        columns: of the source that have the same value there.
        criteria: that the row there meets.
    """
    there = {one.name: one for one in target.columns}
    key = [there[one.name] == one for one in source.primary_key.columns]
    same = [same_value(stored, one, there[one.name]) for one in columns]
    found = select(_ONE).select_from(target).where(*key, *criteria, *same).correlate(source)
    return found.scalar_subquery() == _ONE
