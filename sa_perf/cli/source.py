"""A command's snapshot: from a file, standard input or a URL."""

from __future__ import annotations

import sys
from pathlib import Path

from sa_perf.cli.download import download
from sa_perf.cli.failures import UnreadableInput
from sa_perf.errors import InvalidSnapshot
from sa_perf.snapshot import Snapshot

__all__ = ["from_file", "from_url"]

_HOW_TO_WRITE = "perf.snapshot().write(path) or the setting snapshot_path"


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


def _parsed(content: bytes, place: str) -> Snapshot:
    if not content.strip():
        raise UnreadableInput(f"{place}: it is empty; write a snapshot with {_HOW_TO_WRITE}")
    try:
        return Snapshot.from_json(content)
    except InvalidSnapshot as error:
        raise UnreadableInput(f"{place}: {error}") from error
    except RecursionError as error:
        raise UnreadableInput(f"{place}: damaged snapshot: nested too deeply") from error
