"""Is a file still what was written? Its sum, its rows, its manifest."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from sa_perf.errors import ArchiveError, SaPerfError
from sa_perf.retention.archive.compression import decompressing
from sa_perf.retention.archive.manifest import ArchiveFile, Manifest, sum_of
from sa_perf.retention.archive.naming import format_of

if TYPE_CHECKING:
    from sa_perf.retention.archive.storage import Storage

__all__ = [
    "broken",
    "check_file",
    "checked_file",
    "checked_stream",
    "manifest_of",
    "readable",
    "told",
]


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
    with checked_file(storage, name, sha256=sha256, rows=rows) as (_, file):
        return file


@contextmanager
def checked_file(
    storage: Storage, name: str, *, sha256: str, rows: int | None = None
) -> Iterator[tuple[BinaryIO, ArchiveFile]]:
    """As `check_file`; gives the file at its start too.

    Raises:
        ArchiveError: it is missing or another one.
    """
    with checked_stream(storage, name, sha256=sha256) as (stream, size):
        format_, compression = format_of(name)
        with readable(name):
            count = format_.count(decompressing(stream, compression))
        if rows is not None and count != rows:
            raise broken(name, f"holds {count} rows instead of {rows}")
        stream.seek(0)
        yield stream, ArchiveFile(name=name, rows=count, bytes=size, sha256=sha256)


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
    except OSError as error:
        raise broken(name, f"cannot be opened: {error.strerror or error}") from error
    with stream:
        with readable(name):
            size, digest = sum_of(stream)
        if digest != sha256:
            raise broken(name, f"has SHA-256 {digest} instead of {sha256}")
        yield stream, size


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what formats and the system say of a file into an `ArchiveError`."""
    try:
        yield
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise broken(name, f"cannot be read: {error}") from error


def manifest_of(storage: Storage, folder: str, keep: Callable[[], None] = lambda: None) -> Manifest:
    """A folder's manifest.

    Args:
        storage: where it lies.
        folder: of a policy.
        keep: called before each line; in a store each is a file of its own.

    Raises:
        ArchiveError: it holds a line that is none.
    """

    def lines() -> Iterator[bytes]:
        for line in storage.manifest(folder):
            keep()
            yield line

    try:
        return Manifest.of_lines(lines())
    except SaPerfError:
        raise
    except ValueError as error:
        raise ArchiveError(
            f"the manifest of folder {folder!r} holds a line that is none; remove it, and the next "
            "run lists the archive's files again"
        ) from error


@contextmanager
def told(what: str, so: str = "nothing was deleted") -> Iterator[None]:
    """Turn what the system says of files into an `ArchiveError`.

    Args:
        what: happened.
        so: what that means for the rows, and what to do.
    """
    try:
        yield
    except ArchiveError:
        raise
    except OSError as error:
        raise ArchiveError(f"{what}: {error.strerror or error}; {so}") from error


def broken(name: str, what: str) -> ArchiveError:
    """An error that says what became of a file."""
    return ArchiveError(
        f"archive file {name!r} {what}; no row was changed; bring the file back from a copy"
    )
