"""Where archive files lie: the local disk, or what offers the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from sa_perf.errors import ArchiveError

__all__ = ["TEMPORARY", "LocalStorage", "Storage"]

MANIFEST = "manifest.jsonl"
TEMPORARY = ".tmp"


class Storage(Protocol):
    """Files by name: a folder, a slash, the file's own name."""

    def create(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A new file; when the block ends it lies under its name, whole and durable, or not at all.

        A file of that name is replaced at once.
        """
        ...

    def open(self, name: str) -> BinaryIO:
        """A file to read, from the start and again from the start.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Names of a folder's files, those left half-written too, to their bytes."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is none to remove."""
        ...

    def list_line(self, folder: str, name: str, line: bytes) -> None:
        """Add a line to the folder's manifest; durable when it returns.

        Args:
            folder: with a manifest of its own.
            name: of what the line is about, no other line's.
            line: without its end.
        """
        ...

    def manifest(self, folder: str) -> Iterator[bytes]:
        """Lines of a folder's manifest, in the order in which they were written."""
        ...


class LocalStorage:
    """A folder of the local disk.

    A file is written under another name, synced, renamed, and its folder synced: rename(2) replaces
    a name at once, and the directory entry is durable only after an fsync of the directory
    (fsync(2)).
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Yield the temporary file; see `Storage`."""
        path = self._root / name
        self._make_folder(path.parent)
        temporary = path.with_name(f".{path.name}{TEMPORARY}")
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)

    def open(self, name: str) -> BinaryIO:
        """Open the file itself."""
        return cast("BinaryIO", open(self._root / name, "rb"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Everything but the manifest."""
        found: dict[str, int] = {}
        with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in entries:
                if entry.is_file() and entry.name != MANIFEST:
                    found[f"{folder}/{entry.name}"] = entry.stat().st_size
        return found

    def remove(self, name: str) -> None:
        """Unlink and sync the folder."""
        path = self._root / name
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def list_line(self, folder: str, name: str, line: bytes) -> None:
        """Append to ``manifest.jsonl``; a line that a crash left torn is cut off before."""
        path = self._root / folder / MANIFEST
        self._make_folder(path.parent)
        is_new = not path.exists()
        with open(path, "ab+") as file:
            _cut_torn_line(file)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(path.parent)

    def manifest(self, folder: str) -> Iterator[bytes]:
        """Whole lines of ``manifest.jsonl``."""
        with suppress(FileNotFoundError), open(self._root / folder / MANIFEST, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line

    def _make_folder(self, folder: Path) -> None:
        missing = [folder, *folder.parents]
        missing = [path for path in missing if not path.exists()]
        if not missing:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(
                f"folder {str(folder)!r} cannot be made: {error.strerror}; give a path that may be "
                "written to"
            ) from error
        for path in reversed(missing):
            _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows syncs no directory
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut_torn_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    whole = sum(len(line) for line in file if line.endswith(b"\n"))
    file.truncate(whole)
    file.seek(whole)
