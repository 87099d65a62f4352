"""Archive to files: one for each batch, verified before rows go.

What counts is the audit: a file holds archived rows once its name stands in a committed row of it,
which the transaction that deletes the rows writes. Another file of a run that has ended is left
over from a batch that did not come to its end, and `FileSink.reconcile` removes it. The manifest
tells the same without the database.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from sa_perf.dialects.stored_values import StoredValues, stored_values_for
from sa_perf.errors import ArchiveError, RetentionError
from sa_perf.retention.archive.checking import check_file, told
from sa_perf.retention.archive.compression import Compression, compressing
from sa_perf.retention.archive.formats import Layout
from sa_perf.retention.archive.manifest import ArchiveFile, Measured, Origin
from sa_perf.retention.archive.naming import (
    COMPRESSIONS,
    FORMATS,
    FileFormat,
    file_name,
    format_of,
    row_format,
    safe,
    suffix_for,
)
from sa_perf.retention.archive.reconciling import reconcile
from sa_perf.retention.archive.source_columns import connected, require_whole_rows
from sa_perf.retention.archive.storage import LocalStorage, Storage

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine, Table

    from sa_perf.retention.archive.audited import Audited

__all__ = ["FileArchive", "FileSink"]

#: Schemes of URLs that are paths of the local disk.
_LOCAL = ("file", "local")


@dataclass(frozen=True, slots=True)
class FileArchive:
    """Files in a folder, one for each batch.

    A value is kept as the database keeps it, so it comes back equal whatever a type makes of it.
    Files are not encrypted: that is left to the storage.

    On a local disk a file is synced, renamed and its folder synced before its rows are deleted. In
    a store of fsspec it is sent whole and fetched again; how durable that is, the store says.

    Example:
        >>> RetentionPolicy(
        ...     days=90, by="created_at", action="archive", archive=FileArchive("/srv/archive")
        ... )

    Attributes:
        path: of the folder, or a URL that fsspec knows (``s3://bucket/folder``, extra ``fsspec``).
        format: ``"jsonl"``, ``"csv"`` or ``"parquet"`` (extra ``parquet``).
        compression: ``"gzip"``, ``"zstd"`` (extra ``zstd``) or None; Parquet's own for Parquet.

    Raises:
        RetentionError: an argument has another value.
    """

    path: str | os.PathLike[str]
    format: FileFormat = "jsonl"
    compression: Compression | None = "gzip"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        faults = []
        if not isinstance(self.path, (str, os.PathLike)) or not os.fspath(self.path):
            faults.append(f"path is {self.path!r}; it is a folder or a URL of fsspec's")
        if self.format not in FORMATS:
            faults.append(f"format is {self.format!r}; it is one of {', '.join(FORMATS)}")
        if self.compression not in COMPRESSIONS:
            faults.append(f"compression is {self.compression!r}; it is 'gzip', 'zstd' or None")
        if faults:
            raise RetentionError("; ".join(faults))

    def __str__(self) -> str:
        """Where and how, without user and password."""
        return f"{self.place} ({self.format}, {self.compression or 'not compressed'})"

    @property
    def place(self) -> str:
        """Where, without user and password."""
        scheme, mark, rest = str(self.path).partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}" if mark else scheme

    def storage(self) -> Storage:
        """Where the files lie.

        Raises:
            MissingExtra: ``fsspec`` is needed and not installed.
            ArchiveError: fsspec knows no such store.
        """
        scheme, mark, rest = str(self.path).partition("://")
        if not mark or scheme in _LOCAL:
            return LocalStorage(Path(rest if mark else self.path).absolute())
        from sa_perf.retention.archive.remote import RemoteStorage

        return RemoteStorage(str(self.path))

    def open(
        self,
        bind: Engine | Connection,
        table: Table,
        *,
        policy: str,
        run: str,
        children: Sequence[Table] = (),
    ) -> FileSink:
        """Begin to archive; asks for the tables' columns and the session's settings.

        Args:
            bind: whose rows are archived; a connection in no transaction is left in none.
            table: of the policy.
            policy: its name, which becomes a folder.
            run: its id; names of files begin with it.
            children: tables whose rows are archived along.

        Raises:
            ArchiveError: the session's settings, the tables or the store do not allow exact
                archives.
            MissingExtra: a package is needed that is not installed.
            UnsupportedDatabase: it is not known how its values are read exactly.
        """
        stored = stored_values_for(bind.dialect)
        require_whole_rows(bind, (table, *children))
        # What is missing is to be said now, not in the first batch.
        row_format(self.format, self.compression)
        if self.compression == "zstd" and self.format != "parquet":
            from sa_perf.retention.archive import zstd  # noqa: F401
        with connected(bind) as connection:
            session = stored.session(connection)
        return FileSink(
            self,
            stored,
            session=session,
            tables=(table, *children),
            policy=policy,
            run=run,
        )


class FileSink:
    """Archives the rows of one policy's run; made by `FileArchive.open`, used by one thread."""

    def __init__(
        self,
        archive: FileArchive,
        stored: StoredValues,
        *,
        session: Mapping[str, str],
        tables: Sequence[Table],
        policy: str,
        run: str,
    ) -> None:
        self._archive = archive
        self._storage = archive.storage()
        self._suffix = suffix_for(archive.format, archive.compression)
        self._format, self._compression = format_of(self._suffix)
        self._stored = stored
        self._folder = safe(policy)
        self._origin = Origin(
            run=run,
            policy=policy,
            database=stored.family,
            session=session,
            tables={
                one.fullname: {column.name: stored.type_name(column) for column in one.columns}
                for one in tables
            },
        )
        self._is_told = False
        #: Files to tables.
        self._written: dict[str, str] = {}
        self._committed: set[str] = set()

    def columns(self, table: Table) -> list[ColumnElement[Any]]:
        """What a SELECT must read for `write`: each column's value as the database keeps it."""
        return [self._stored.read(one).label(one.name) for one in table.columns]

    def file_name(self, number: int, table: Table) -> str:
        """The name of the file of a batch, below the archive's path."""
        origin = self._origin
        return file_name(origin.policy, origin.run, number, table.fullname, suffix=self._suffix)

    def reconcile(self, audited: Audited) -> None:
        """Make files and manifest agree with the audit; call it as the only runner of the policy.

        Files of ended runs that no committed batch names are removed: a batch was interrupted.
        Files that one names but the manifest does not are summed and listed again.

        Raises:
            ArchiveError: a committed file is missing or is not what was written; nothing was
                removed.
            LeaseLost: another runner has the policy now.
        """
        with told(f"archive {str(self._archive)!r} cannot be used"):
            self._committed = reconcile(
                self._storage,
                self._folder,
                audited,
                place=self._archive.place,
                origin=self._origin,
            )

    def write(
        self, table: Table, columns: Sequence[Any], rows: Iterable[Any], name: str
    ) -> ArchiveFile:
        """Write a batch's rows; when it returns they lie there, durable and verified.

        Of rows that come one by one a thousand are held at a time (Parquet: all of them); a run
        gives those of a batch in a list, so that many rows are in memory. The same name may be
        written again as long as its batch was not committed.

        Args:
            table: that the rows are of.
            columns: what they consist of: `columns`, or names in the same order.
            rows: as the driver gives them for `columns`, locked or deleted: without that an UPDATE
                in between would be lost.
            name: see `file_name`.

        Raises:
            ArchiveError: a value cannot be held exactly, the file could not be written, or is not
                what was written. There is no such file then.
        """
        names = tuple(str(getattr(one, "name", one)) for one in columns)
        self._check_names(table, names, name)
        with told(f"{name!r} could not be written"):
            self._tell_origin()
            with self._storage.create(name) as raw:
                measured = Measured(raw)
                with compressing(cast("BinaryIO", measured), self._compression) as stream:
                    count = self._format.write(stream, Layout(table.fullname, names), rows)
            self._verify(name, measured.sha256, count)
        self._written[name] = table.fullname
        return ArchiveFile(name=name, rows=count, bytes=measured.bytes, sha256=measured.sha256)

    def committed(self, file: ArchiveFile) -> None:
        """List a file in the manifest, once its batch is committed.

        If this fails, or does not happen, `reconcile` of the next run does it.

        Args:
            file: as `write` gave it.

        Raises:
            ArchiveError: it could not be listed.
        """
        self._committed.add(file.name)
        entry = self._origin.entry(file, self._written.pop(file.name))
        with told(
            f"{file.name!r} could not be listed", "its rows are archived, and the next run lists it"
        ):
            self._storage.list_line(self._folder, file.name, entry.line())

    def close(self) -> None:
        """Forget files whose batches were not committed; they are the next run's to remove."""
        self._written.clear()

    def _tell_origin(self) -> None:
        """Say in the manifest where the run's rows come from, before its first file."""
        if not self._is_told:
            name = f"{self._folder}/{safe(self._origin.run)}"
            self._storage.list_line(self._folder, name, self._origin.line())
            self._is_told = True

    def _verify(self, name: str, sha256: str, rows: int) -> None:
        try:
            check_file(self._storage, name, sha256=sha256, rows=rows)
        except ArchiveError:
            self._storage.remove(name)
            raise

    def _check_names(self, table: Table, names: tuple[str, ...], name: str) -> None:
        if names != tuple(one.name for one in table.columns):
            raise ArchiveError(
                f"columns {names!r} are not those of table {table.fullname!r}; read the rows with "
                "columns(), which gives each value as the database keeps it"
            )
        folder, _, own = name.rpartition("/")
        if folder != self._folder or not own.endswith(self._suffix) or own.startswith("."):
            raise ArchiveError(f"{name!r} is no name of this archive; use file_name()")
        if name in self._committed:
            raise ArchiveError(f"{name!r} holds rows of a committed batch; it is not replaced")
