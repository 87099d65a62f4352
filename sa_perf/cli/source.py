"""A command's snapshot: from files, standard input, a URL or the store."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sa_perf.cli.download import download
from sa_perf.cli.failures import UnreadableInput
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.errors import InvalidSnapshot, SaPerfError
from sa_perf.snapshot import Snapshot

if TYPE_CHECKING:
    from sa_perf.cli.moments import Moment
    from sa_perf.store.reading import StoreReader

__all__ = [
    "FilePatterns", "from_file", "from_files", "from_store", "from_url", "matching_files",
    "opened_store",
]  # fmt: skip

_HOW_TO_WRITE = "perf.snapshot().write(path) or the setting snapshot_path"


class FilePatterns(click.types.StringParamType):
    """A path or a pattern of paths; a variable of the environment holds one of them."""

    name = "path"
    #: No path holds it, so a path with a space in it stays one.
    envvar_list_splitter = "\0"


def matching_files(patterns: Sequence[str]) -> list[str]:
    """The files that are meant, each once, by name.

    Args:
        patterns: paths, ``"-"``, or patterns with ``*``, ``?`` and ``[...]`` as a shell knows them.

    Raises:
        UnreadableInput: nothing matches a pattern.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if not glob.has_magic(pattern) or Path(pattern).exists():
            found[pattern] = None
            continue
        # Path.glob takes no absolute pattern.
        names = sorted(glob.glob(pattern))
        if not names:
            raise UnreadableInput(f"no file matches {pattern!r}")
        found.update(dict.fromkeys(names))
    return list(found)


def from_files(patterns: Sequence[str]) -> Snapshot:
    """Read the snapshots of several processes as one, see `Snapshot.merge`.

    Args:
        patterns: as of `matching_files`; one at least.

    Raises:
        UnreadableInput: nothing matches, a file cannot be read, or one is no snapshot.
    """
    try:
        return Snapshot.merge(map(from_file, matching_files(patterns)))
    except InvalidSnapshot as error:
        raise UnreadableInput(str(error)) from error


def from_file(path: str) -> Snapshot:
    """Read a snapshot that `Snapshot.write` wrote; ``"-"`` is standard input.

    Raises:
        UnreadableInput: there is no such file, or it is no snapshot.
    """
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UnreadableInput(f"cannot read {path!r}: {error.strerror or error}") from error
    return _parsed(content, "standard input" if path == "-" else path)


def from_url(url: str, *, headers: dict[str, str], timeout_seconds: float) -> Snapshot:
    """Fetch a snapshot.

    Args:
        url: http or https.
        headers: sent with the request.
        timeout_seconds: for the whole of it, > 0.

    Raises:
        UnreadableInput: it cannot be fetched, or it is no snapshot.
    """
    answer = download(url, headers=headers, timeout_seconds=timeout_seconds)
    return _parsed(answer.content, answer.shown_url)


@contextmanager
def opened_store(url: str) -> Iterator[StoreReader]:
    """Read a store; what it lacks is said on standard error when all was read.

    Raises:
        UnreadableInput: it cannot be read, or holds nothing of what is asked for.
    """
    from sa_perf.store.reading import StoreReader

    reader = StoreReader(url)
    try:
        yield reader
    except SaPerfError as error:
        raise UnreadableInput(str(error)) from error
    finally:
        for one in reader.warnings():
            click.echo(f"Warning: {one_line(one)}", err=True)


def from_store(
    reader: StoreReader, since: Moment, until: Moment | None, *, documents: bool = True
) -> Snapshot:
    """Read a window of a store.

    Args:
        reader: of the store.
        since: its begin.
        until: its end; None is now.
        documents: slow executions, plans and findings too, which `sa-perf top` does not show.

    Raises:
        UnreadableInput: it ends before it begins.
        SaPerfError: as `StoreReader.window`.
    """
    now = datetime.now(timezone.utc)

    def last_deploy() -> datetime:
        return reader.last_deploy()[1]

    begin = since.resolved(now, last_deploy)
    end = None if until is None else until.resolved(now, last_deploy)
    if end is not None and end <= begin:
        raise UnreadableInput(
            f"--until ({end:%Y-%m-%d %H:%M} UTC) is not after --since ({begin:%Y-%m-%d %H:%M} UTC)"
        )
    return reader.window(begin, end, documents=documents)


def _parsed(content: bytes, place: str) -> Snapshot:
    if not content.strip():
        raise UnreadableInput(f"{place}: it is empty; write a snapshot with {_HOW_TO_WRITE}")
    try:
        return Snapshot.from_json(content)
    except InvalidSnapshot as error:
        raise UnreadableInput(f"{place}: {error}") from error
    except RecursionError as error:
        raise UnreadableInput(f"{place}: damaged snapshot: nested too deeply") from error
