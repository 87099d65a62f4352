"""Bring rows back from files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from sa_perf.dialects.stored_values import StoredValues, stored_values_for
from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.checking import broken, check_file, checked_stream, entries_of
from sa_perf.retention.archive.compression import decompressing
from sa_perf.retention.archive.keyed_rows import KeyedRows
from sa_perf.retention.archive.naming import format_of
from sa_perf.retention.archive.returning import parents_first

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

    from sa_perf.retention.archive.files import FileArchive
    from sa_perf.retention.archive.manifest import Entry
    from sa_perf.retention.archive.returning import ArchivedBatch, Restoring
    from sa_perf.retention.archive.storage import Storage
    from sa_perf.retention.archive.values import Value

__all__ = ["restore_files"]


def restore_files(restoring: Restoring, archive: FileArchive) -> None:
    """Check every file, then put the rows of each back.

    Raises:
        ArchiveError: see `sa_perf.retention.archive.restore`.
    """
    storage = archive.storage()
    stored = stored_values_for(restoring.engine.dialect)
    entries: dict[str, Entry] = {}
    for folder in {str(batch.file).rpartition("/")[0] for batch in restoring.batches}:
        entries.update(entries_of(storage, folder))
    for batch in restoring.batches:
        check_file(storage, str(batch.file), sha256=str(batch.sha256), rows=batch.rows)
        _require_family(entries.get(str(batch.file)), stored)
    for batch in restoring.batches:
        entry = entries.get(str(batch.file))
        session = entry.session if entry is not None else {}
        _restore_file(restoring, storage, stored, batch, session)


def _restore_file(
    restoring: Restoring,
    storage: Storage,
    stored: StoredValues,
    batch: ArchivedBatch,
    session: Mapping[str, str],
) -> None:
    name = str(batch.file)
    table = restoring.target(batch.table)
    with checked_stream(storage, name, sha256=str(batch.sha256)) as (stream, _):
        format_, compression = format_of(name)
        read = _readable(name, format_.read(decompressing(stream, compression)))
        first = next(read, None)
        if first is None:
            return
        columns = _columns(table, name, first)
        target = KeyedRows(stored, table, columns)
        names = [one.name for one in columns]
        rows = (tuple(row[one] for one in names) for row in chain([first], read))
        every = _ordered(table, names, rows)
        while chunk := list(islice(every, restoring.batch_rows)):
            with restoring.engine.begin() as connection, stored.within(connection, session):
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


def _readable(name: str, rows: Iterator[dict[str, Value]]) -> Iterator[dict[str, Value]]:
    try:
        yield from rows
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise broken(name, f"cannot be read: {error}") from error


def _columns(table: Table, name: str, row: Mapping[str, Value]) -> list[Column[Any]]:
    """The table's columns that a file's rows fill; what the database computes is left out."""
    known = {one.name: one for one in table.columns}
    unknown = [one for one in row if one not in known]
    if unknown:
        raise ArchiveError(
            f"archive file {name!r} holds columns {unknown}, which {table.fullname!r} lacks; "
            "give a table that has them by into="
        )
    missing = [one.name for one in table.primary_key.columns if one.name not in row]
    if missing:
        raise ArchiveError(
            f"archive file {name!r} lacks {missing} of the primary key of {table.fullname!r}"
        )
    return [known[one] for one in row if known[one].computed is None]


def _require_family(entry: Entry | None, stored: StoredValues) -> None:
    if entry is not None and entry.database != stored.family:
        raise ArchiveError(
            f"archive file {entry.file.name!r} holds values as {entry.database!r} keeps them; "
            f"{stored.family!r} reads them otherwise; restore to a database of the first kind"
        )
