"""Names of archive files, and what they say of a file. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Literal, TypeAlias
from urllib.parse import quote

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.compression import Compression, suffix_of
from sa_perf.retention.archive.formats import Csv, JsonLines, RowFormat
from sa_perf.retention.archive.storage import TEMPORARY

__all__ = [
    "COMPRESSIONS",
    "FORMATS",
    "FileFormat",
    "file_name",
    "format_of",
    "readings_of",
    "row_format",
    "safe",
    "suffix_for",
]

FileFormat: TypeAlias = Literal["jsonl", "csv", "parquet"]

FORMATS: tuple[FileFormat, ...] = ("jsonl", "csv", "parquet")
COMPRESSIONS: tuple[Compression | None, ...] = ("gzip", "zstd", None)
#: So that folder and file stay below the 255 bytes that file systems allow.
MAX_PART = 100


def safe(name: str) -> str:
    """A name that any file system and any store takes; different names stay different.

    Letters, digits and ``_ - . ~`` stay; other bytes become ``=`` and two hexadecimal digits.
    """
    text = quote(name, safe="").replace("%", "=")
    if text.startswith("."):  # hidden, or another folder
        text = "=2E" + text[1:]
    if len(text) > MAX_PART:
        digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]
        text = f"{text[: MAX_PART - 17]}~{digest}"
    return text or "="


def suffix_for(format: FileFormat, compression: Compression | None) -> str:
    """How the names of files end; what compresses itself has no second suffix."""
    return f".{format}" if format == "parquet" else f".{format}{suffix_of(compression)}"


#: Longer ones first: each ends as well as one of the others.
_SUFFIXES = sorted(
    {suffix_for(one, other) for one in FORMATS for other in COMPRESSIONS}, key=len, reverse=True
)
#: Between a run and a table.
_NUMBER = re.compile(r"-\d{6,}-")


def file_name(policy: str, run: str, number: int, table: str, *, suffix: str) -> str:
    """``policy/run-number-table.suffix``: names of a run sort in the order of its batches."""
    return f"{safe(policy)}/{safe(run)}-{number:06d}-{safe(table)}{suffix}"


def readings_of(name: str) -> list[tuple[str, str]]:
    """Runs and tables that a file may be of, as `safe` writes them.

    Several, where a run or a table has itself what looks like the number between the two. None,
    where it is no file of an archive's. One that was left half-written is its batch's.
    """
    own = name.rpartition("/")[2]
    if own.startswith(".") and own.endswith(TEMPORARY):
        own = own[1:].removesuffix(TEMPORARY)
    stem = next((own.removesuffix(one) for one in _SUFFIXES if own.endswith(one)), "")
    return [
        (stem[: found.start()], stem[found.end() :])
        for found in (_NUMBER.match(stem, at.start()) for at in re.finditer("-", stem))
        if found is not None and found.start() and found.end() < len(stem)
    ]


def format_of(name: str) -> tuple[RowFormat, Compression | None]:
    """How a file is read, by its name.

    Raises:
        ArchiveError: it is no name of an archive file.
        MissingExtra: the package that reads it is not installed.
    """
    for format_ in FORMATS:
        for compression in COMPRESSIONS:
            if name.endswith(suffix_for(format_, compression)):
                outer = None if format_ == "parquet" else compression
                return row_format(format_, compression), outer
    raise ArchiveError(f"{name!r} is no archive file; their names end in .jsonl, .csv, .parquet")


def row_format(format: FileFormat, compression: Compression | None) -> RowFormat:
    """What writes and reads rows.

    Raises:
        MissingExtra: the package that does so is not installed.
    """
    if format == "csv":
        return Csv()
    if format == "parquet":
        from sa_perf.retention.archive.parquet import Parquet

        return Parquet(compression)
    return JsonLines()
