"""Is a file still what was written? Its sum, and the rows that it holds."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.compression import decompressing
from sa_perf.retention.archive.manifest import ArchiveFile, Entry, sum_of
from sa_perf.retention.archive.naming import format_of

if TYPE_CHECKING:
    from sa_perf.retention.archive.storage import Storage

__all__ = ["broken", "check_file", "checked_stream", "entries_of", "told"]


def check_file(storage: Storage, name: str, *, sha256: str, rows: int | None = None) -> ArchiveFile:
    """Read a file and compare it with what is known of it.

    Args:
        storage: where it lies.
        name: below the archive's path.
        sha256: that it must have.
        rows: that it must have; None: not known.

    Raises:
        ArchiveError: it is missing or another one.
    """
    with checked_stream(storage, name, sha256=sha256) as (stream, size):
        format_, compression = format_of(name)
        try:
            count = format_.count(decompressing(stream, compression))
        except (ValueError, EOFError, OSError, zlib.error) as error:
            raise broken(name, f"cannot be read: {error}") from error
    if rows is not None and count != rows:
        raise broken(name, f"holds {count} rows instead of {rows}")
    return ArchiveFile(name=name, rows=count, bytes=size, sha256=sha256)


@contextmanager
def checked_stream(storage: Storage, name: str, *, sha256: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file at its start and its bytes, its sum compared.

    Raises:
        ArchiveError: it is missing or another one.
    """
    try:
        stream = storage.open(name)
    except FileNotFoundError as error:
        raise broken(name, "is missing") from error
    with stream:
        size, digest = sum_of(stream)
        if digest != sha256:
            raise broken(name, f"has SHA-256 {digest} instead of {sha256}")
        yield stream, size


def entries_of(storage: Storage, folder: str) -> dict[str, Entry]:
    """A folder's manifest, by the names of files; of two lines for a file the later.

    Raises:
        ArchiveError: it holds a line that is none.
    """
    try:
        return {entry.file.name: entry for entry in map(Entry.of_line, storage.manifest(folder))}
    except ValueError as error:
        raise ArchiveError(
            f"the manifest of folder {folder!r} holds a line that is none; remove it, and the next "
            "run lists the archive's files again"
        ) from error


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the system says of files into an `ArchiveError`."""
    try:
        yield
    except ArchiveError:
        raise
    except OSError as error:
        raise ArchiveError(f"{what}: {error.strerror or error}; nothing was deleted") from error


def broken(name: str, what: str) -> ArchiveError:
    """An error that says what became of a file."""
    return ArchiveError(
        f"archive file {name!r} {what}; no row was changed; bring the file back from a copy"
    )
