"""Archive files in any store of the package fsspec: S3, GCS, SFTP.

A file is made on the local disk, sent whole, and then asked for again: its size and sum must be
those that were sent. There is no fsync: how durable a closed file is, the store says. Since
many stores cannot append, a manifest is a folder of one small file for each line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, BinaryIO, cast

from sa_perf.errors import ArchiveError, MissingExtra

try:
    import fsspec
except ModuleNotFoundError as error:
    raise MissingExtra("fsspec", "fsspec") from error

__all__ = ["RemoteStorage"]

MANIFEST = "manifest"
#: Read files larger than this lie on the local disk meanwhile.
IN_MEMORY_BYTES = 16 << 20
COPY_BYTES = 1 << 20
#: Lines of a manifest that are asked for at once.
LINES = 200


class RemoteStorage:
    """A folder in a store.

    Args:
        url: of the folder, e.g. ``"s3://bucket/archive"``; who may write there is the store's own
            business (environment, roles), so no secret need stand in it.

    Its methods raise OSError for whatever a store's own package raises.

    Raises:
        ArchiveError: fsspec knows no such store, or lacks the package for it.
    """

    def __init__(self, url: str) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            scheme = url.partition("://")[0]
            raise ArchiveError(f"no store is known for {scheme}://: {error}") from error
        self._root = str(root).rstrip("/")

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Yield a local file that is sent when the block ends.

        Raises:
            ArchiveError: the store has other bytes than were sent.
        """
        path = self._path(name)
        with tempfile.NamedTemporaryFile() as file:
            yield cast("BinaryIO", file)
            file.flush()
            size = file.tell()
            with _asking():
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._fs.put_file(file.name, path)
        with _asking():
            self._fs.invalidate_cache()
            found = self._fs.info(path)["size"]
        if found != size:
            raise ArchiveError(f"{name!r} has {found} bytes in the store, {size} were sent")

    def open(self, name: str) -> BinaryIO:
        """Fetch a file whole."""
        fetched = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  # returned
        try:
            with _asking(), self._fs.open(self._path(name), "rb") as source:
                while block := source.read(COPY_BYTES):
                    fetched.write(block)
        except BaseException:
            fetched.close()
            raise
        fetched.seek(0)
        return cast("BinaryIO", fetched)

    def sizes(self, folder: str) -> dict[str, int]:
        """Everything but the manifest."""
        return {
            f"{folder}/{one['name'].rpartition('/')[2]}": int(one["size"])
            for one in self._listed(self._path(folder))
            if one["type"] == "file"
        }

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(FileNotFoundError), _asking():
            self._fs.rm_file(self._path(name))

    def list_line(self, folder: str, name: str, line: bytes) -> None:
        """Put the line beside the others, as a file of its own."""
        path = f"{self._path(folder)}/{MANIFEST}/{name.rpartition('/')[2]}.json"
        with _asking():
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, line + b"\n")

    def manifest(self, folder: str) -> Iterator[bytes]:
        """Lines, in the order of their files' names; some at once, where the store can do so."""
        listed = self._listed(f"{self._path(folder)}/{MANIFEST}")
        paths = iter(sorted(one["name"] for one in listed if one["type"] == "file"))
        while some := list(islice(paths, LINES)):
            with _asking():
                read = self._fs.cat_ranges(some, None, None, on_error="raise")
                for line in read:
                    if isinstance(line, Exception):  # some stores give it back nevertheless
                        raise line
            yield from cast("list[bytes]", read)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _listed(self, path: str) -> list[dict[str, Any]]:
        with suppress(FileNotFoundError), _asking():
            self._fs.invalidate_cache()
            return cast("list[dict[str, Any]]", self._fs.ls(path, detail=True))
        return []


@contextmanager
def _asking() -> Iterator[None]:
    """Each store's package has errors of its own, of any kind."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
