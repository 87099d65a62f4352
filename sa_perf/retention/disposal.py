"""How rows leave: changed, deleted, or deleted once archived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, Delete
from sqlalchemy.sql import visitors

from sa_perf.dialects.stored_values import stored_values_for
from sa_perf.errors import RetentionError
from sa_perf.retention.archive import FileSink
from sa_perf.retention.archive.audited import Audited
from sa_perf.retention.archive.keyed_rows import KeyedRows
from sa_perf.retention.archive.left_over import doubtful_runs
from sa_perf.retention.archive.same_database import RowsChanged
from sa_perf.retention.children import walk_down
from sa_perf.retention.references import unknown_references

if TYPE_CHECKING:
    from sqlalchemy import Connection, Update

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.archive import ArchiveFile, TableSink
    from sa_perf.retention.lease import Lease
    from sa_perf.retention.steps import Step

__all__ = ["Disposal", "Disposed", "RowsChanged", "disposal_for"]


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
    """Deletes rows and writes those that are gone to a file."""

    def __init__(self, sink: FileSink, purging: Purging) -> None:
        self._sink = sink
        self._returning = purging.returning
        self._stored = stored_values_for(purging.dialect)

    def _delete(
        self, connection: Connection, stmt: Delete, parameters: Mapping[str, Any], number: int
    ) -> Disposed:
        """What DELETE gives back is what is archived, where it does."""
        table: Any = stmt.table
        found = KeyedRows(self._stored, table, list(table.columns))
        rows = found.take(connection, _criteria(stmt, parameters), returning=self._returning)
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


class _ToTable(Disposal):
    """Moves rows to another table."""

    def __init__(self, sink: TableSink) -> None:
        self._sink = sink

    def _delete(
        self, connection: Connection, stmt: Delete, parameters: Mapping[str, Any], number: int
    ) -> Disposed:
        """Rows that are gone stand in the archive."""
        table: Any = stmt.table
        criteria = _criteria(stmt, parameters)
        moved = self._sink.move(connection, table, criteria, number=number)
        return Disposed(rows=moved, archived=moved)

    def committed(self, done: Disposed) -> None:
        """Let the sink know, for which what it sent before is doubtful until then."""
        if done.archived:
            self._sink.committed()

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
        RetentionError: rows of a table that the models do not know would go along.
        LeaseLost: another runner has the policy now.
        MissingExtra: its format needs a package that is not installed.
    """
    with step.purging.reading(connection):
        unknown = unknown_references(connection, step)
    if unknown:
        raise RetentionError(f"policy {step.name!r}: {'; '.join(unknown)}; nothing was changed")
    archive = step.target.policy.archive
    if archive is None:
        return Disposal()
    table = step.target.table
    # Those whose rows are deleted; the others' rows stay.
    below = [one.table for one in walk_down(step.children) if one.how == "delete_first"]
    sink = archive.open(
        connection,
        table,
        policy=step.name,
        run=run,
        children=[child for child in dict.fromkeys(below) if child is not table],
    )
    try:
        return _in_order(sink, step, connection, run, lease)
    except BaseException:
        sink.close()
        raise


def _in_order(
    sink: FileSink | TableSink, step: Step, connection: Connection, run: str, lease: Lease
) -> Disposal:
    """Put in order what an interrupted run left."""
    if isinstance(sink, FileSink):
        keep = partial(lease.keep, connection)
        sink.reconcile(Audited(connection, step.purging, step.name, keep))
        return _ToFiles(sink, step.purging)
    if sink.outlives_rollbacks:
        with step.purging.reading(connection):
            doubtful = doubtful_runs(connection, step.name, besides=run)
        sink.reconcile(doubtful)
    return _ToTable(sink)


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
