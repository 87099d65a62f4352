"""Bring rows back from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from sa_perf.dialects.stored_values import StoredValues, stored_values_for
from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.checking import (
    checked_file,
    checked_stream,
    manifest_of,
    readable,
    told,
)
from sa_perf.retention.archive.compression import decompressing
from sa_perf.retention.archive.keyed_rows import KeyedRows
from sa_perf.retention.archive.naming import format_of
from sa_perf.retention.archive.returning import parents_first
from sa_perf.retention.archive.source_columns import missing_columns

if TYPE_CHECKING:
    from typing import BinaryIO

    from sqlalchemy import Column, Connection, Table

    from sa_perf.retention.archive.files import FileArchive
    from sa_perf.retention.archive.manifest import Manifest
    from sa_perf.retention.archive.returning import ArchivedBatch, Restoring
    from sa_perf.retention.archive.storage import Storage
    from sa_perf.retention.archive.values import Value

__all__ = ["restore_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file that was checked, and where its rows go.

    Attributes:
        batch: whose rows it holds.
        table: to fill.
        columns: of the table, that its rows fill.
        session: settings that the texts of its values depend on.
    """

    batch: ArchivedBatch
    table: Table
    columns: list[Column[Any]]
    session: Mapping[str, str]


def restore_files(restoring: Restoring, archive: FileArchive) -> None:
    """Check every file and the tables that they go to, then put the rows of each back.

    Raises:
        ArchiveError: see `sa_perf.retention.archive.restore`.
    """
    storage = archive.storage()
    stored = stored_values_for(restoring.engine.dialect)
    with told(f"archive {str(archive)!r} cannot be read", "no row was changed"):
        files = _checked(restoring, storage, stored)
    with restoring.transaction() as connection:
        _require_columns(connection, files)
    for file in files:
        _restore_file(restoring, storage, stored, file)


def _checked(restoring: Restoring, storage: Storage, stored: StoredValues) -> list[_File]:
    """Files in the order in which they come back."""
    manifests: dict[str, Manifest] = {}
    found = []
    for batch in restoring.batches:
        name = str(batch.file)
        folder = name.rpartition("/")[0]
        if folder not in manifests:
            manifests[folder] = manifest_of(storage, folder)
        manifest = manifests[folder]
        _require_family(name, manifest.database_of(name, batch.run), stored)
        table = restoring.target(batch.table)
        with checked_file(storage, name, sha256=str(batch.sha256), rows=batch.rows) as (stream, _):
            first = next(_rows(name, stream))
        found.append(
            _File(
                batch=batch,
                table=table,
                columns=_columns(table, name, first),
                session=manifest.session_of(name, batch.run),
            )
        )
    return found


def _restore_file(
    restoring: Restoring, storage: Storage, stored: StoredValues, file: _File
) -> None:
    batch, names = file.batch, [one.name for one in file.columns]
    target = KeyedRows(stored, file.table, file.columns)
    with checked_stream(storage, str(batch.file), sha256=str(batch.sha256)) as (stream, _):
        rows = (tuple(row[one] for one in names) for row in _rows(str(batch.file), stream))
        every = _ordered(file.table, names, rows)
        while chunk := list(islice(every, restoring.batch_rows)):
            with restoring.transaction() as connection, stored.within(connection, file.session):
                put_in, skipped = restoring.put(connection, batch.table, target, chunk)
            restoring.done(batch.table, put_in, skipped)


def _ordered(
    table: Table, names: Sequence[str], rows: Iterator[Sequence[Any]]
) -> Iterator[Sequence[Any]]:
    """Rows, in another order where they refer to each other."""
    if any(key.referred_table is table for key in table.foreign_key_constraints):
        yield from parents_first(table, names, list(rows))
    else:
        yield from rows


def _rows(name: str, stream: BinaryIO) -> Iterator[dict[str, Value]]:
    format_, compression = format_of(name)
    rows = format_.read(decompressing(stream, compression))
    while True:
        with readable(name):
            row = next(rows, None)
        if row is None:
            return
        yield row


def _columns(table: Table, name: str, row: Mapping[str, Value]) -> list[Column[Any]]:
    """The table's columns that a file's rows fill; what the database computes is left out."""
    known = {one.name: one for one in table.columns}
    unknown = [one for one in row if one not in known]
    if unknown:
        raise ArchiveError(
            f"archive file {name!r} holds columns {unknown}, which {table.fullname!r} lacks; "
            "no row was changed; give a table that has them by into="
        )
    missing = [one.name for one in table.primary_key.columns if one.name not in row]
    if missing:
        raise ArchiveError(
            f"archive file {name!r} lacks {missing} of the primary key of {table.fullname!r}; "
            "no row was changed; give a table with another key by into="
        )
    return [known[one] for one in row if known[one].computed is None]


def _require_columns(connection: Connection, files: Sequence[_File]) -> None:
    """The database has the tables that are to be filled, with the columns that are."""
    needed: dict[Table, dict[str, None]] = {}
    for file in files:
        needed.setdefault(file.table, {}).update(dict.fromkeys(one.name for one in file.columns))
    for table, names in needed.items():
        missing = missing_columns(connection, table, names)
        if missing:
            raise ArchiveError(
                f"table {table.fullname!r} lacks columns {missing} in the database; no row was "
                "changed; upgrade the database, or give another table by into="
            )


def _require_family(name: str, database: str | None, stored: StoredValues) -> None:
    if database not in (None, stored.family):
        raise ArchiveError(
            f"archive file {name!r} holds values as {database!r} keeps them; {stored.family!r} "
            "reads them otherwise; restore to a database of the first kind"
        )
