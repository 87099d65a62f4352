"""How rows leave: changed, deleted, or deleted once archived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, Delete
from sqlalchemy.sql import visitors

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive import FileSink
from sa_perf.retention.archive.audited import Audited

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table, Update

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.archive import ArchiveFile, TableSink
    from sa_perf.retention.lease import Lease
    from sa_perf.retention.steps import Step

__all__ = ["Disposal", "Disposed", "RowsChanged", "disposal_for"]


class RowsChanged(ArchiveError):
    """Other rows would be deleted than were archived, since somebody changed some in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposed:
    """What became of the rows of one statement.

    Attributes:
        rows: that it changed.
        archived: of them, that stand in the archive.
        file: of the archive; None: none was written.
    """

    rows: int
    archived: int = 0
    file: ArchiveFile | None = None


class Disposal:
    """Changes rows; keeps no copy."""

    def dispose(
        self,
        connection: Connection,
        stmt: Delete | Update,
        parameters: Mapping[str, Any],
        *,
        number: int,
    ) -> Disposed:
        """Run a statement that changes rows, within a batch's transaction.

        Args:
            connection: in the transaction.
            stmt: DELETE or UPDATE.
            parameters: its values.
            number: of the transaction in the run.

        Raises:
            RowsChanged: the transaction is to be rolled back and tried again.
            ArchiveError: the rows could not be archived.
        """
        if isinstance(stmt, Delete):
            return self._delete(connection, stmt, parameters, number)
        return Disposed(rows=connection.execute(stmt, parameters).rowcount)

    def _delete(
        self, connection: Connection, stmt: Delete, parameters: Mapping[str, Any], number: int
    ) -> Disposed:
        """Rows that go; an archive has them first."""
        return Disposed(rows=connection.execute(stmt, parameters).rowcount)

    def committed(self, done: Disposed) -> None:
        """Take note that the transaction was committed."""

    def close(self) -> None:
        """Give back what is held open."""


class _ToFiles(Disposal):
    """Deletes rows whose values are written to a file first, or as the database gives them back."""

    def __init__(self, sink: FileSink, purging: Purging) -> None:
        self._sink = sink
        self._returning = purging.returning

    def _delete(
        self, connection: Connection, stmt: Delete, parameters: Mapping[str, Any], number: int
    ) -> Disposed:
        """What DELETE gives back is what is archived, where it does."""
        table: Any = stmt.table
        if self._returning:
            rows = self._deleted(connection, table, stmt, parameters)
        else:
            reading = self._sink.select(table, *_criteria(stmt, {}))
            rows = connection.execute(reading, parameters).all()
            _require_same(table, len(rows), connection.execute(stmt, parameters).rowcount)
        if not rows:
            return Disposed(rows=0)
        name = self._sink.file_name(number, table)
        file = self._sink.write(table, self._sink.columns(table), rows, name)
        return Disposed(rows=len(rows), archived=file.rows, file=file)

    def committed(self, done: Disposed) -> None:
        """List the file in the manifest."""
        if done.file is not None:
            self._sink.committed(done.file)

    def close(self) -> None:
        """Give the sink back."""
        self._sink.close()

    def _deleted(
        self, connection: Connection, table: Table, stmt: Delete, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        returning = stmt.returning(*self._sink.columns(table))
        found: Sequence[Any] = connection.execute(returning, parameters).all()
        return found


class _ToTable(Disposal):
    """Copies rows to another table and deletes them in the same transaction."""

    def __init__(self, sink: TableSink) -> None:
        self._sink = sink

    def _delete(
        self, connection: Connection, stmt: Delete, parameters: Mapping[str, Any], number: int
    ) -> Disposed:
        """The rows that are copied are locked until they are deleted."""
        table: Any = stmt.table
        copied = self._sink.copy(connection, table, *_criteria(stmt, parameters))
        deleted = connection.execute(stmt, parameters).rowcount
        _require_same(table, copied, deleted)
        return Disposed(rows=deleted, archived=copied)

    def close(self) -> None:
        """Give the sink back."""
        self._sink.close()


def disposal_for(step: Step, connection: Connection, run: str, lease: Lease) -> Disposal:
    """How a policy's rows leave; puts in order what an interrupted run left in its archive.

    Args:
        step: the policy.
        connection: of the run, in no transaction.
        run: id of the run.
        lease: renewed where that takes long.

    Raises:
        ArchiveError: the archive is not to be had, or not what it was.
        LeaseLost: another runner has the policy now.
        MissingExtra: its format needs a package that is not installed.
    """
    archive = step.target.policy.archive
    if archive is None:
        return Disposal()
    table, *children = step.tables
    sink = archive.open(
        connection,
        table,
        policy=step.name,
        run=run,
        children=[child for child in dict.fromkeys(children) if child is not table],
    )
    if not isinstance(sink, FileSink):
        return _ToTable(sink)
    keep = partial(lease.keep, connection)
    sink.reconcile(Audited(connection, step.purging, step.name, keep))
    return _ToFiles(sink, step.purging)


def _criteria(stmt: Delete, parameters: Mapping[str, Any]) -> list[Any]:
    """The conditions of a DELETE, with their values."""

    def with_value(element: Any, **_: object) -> Any:  # noqa: ANN401  # any part of a condition
        if isinstance(element, BindParameter) and element.key in parameters:
            return BindParameter(None, parameters[element.key], element.type, unique=True)
        return None

    return [
        visitors.replacement_traverse(one, {}, with_value) if parameters else one
        for one in stmt._where_criteria
    ]


def _require_same(table: Table, archived: int, deleted: int) -> None:
    if archived != deleted:
        raise RowsChanged(
            f"{archived} rows of {table.fullname!r} were archived but {deleted} would be deleted, "
            "since somebody changed some in between; the batch is tried again"
        )
