"""Names of archive files, and what they say of a file. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Literal, TypeAlias
from urllib.parse import quote

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.compression import Compression, suffix_of
from sa_perf.retention.archive.formats import Csv, JsonLines, RowFormat

__all__ = [
    "COMPRESSIONS",
    "FORMATS",
    "FileFormat",
    "file_name",
    "format_of",
    "row_format",
    "run_of",
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


def file_name(policy: str, run: str, number: int, table: str, *, suffix: str) -> str:
    """``policy/run-number-table.suffix``: names of a run sort in the order of its batches."""
    return f"{safe(policy)}/{safe(run)}-{number:06d}-{safe(table)}{suffix}"


def run_of(name: str) -> str:
    """The run that wrote a file, by its name; as `safe` wrote it, which changes no plain id."""
    found = re.fullmatch(r"(?:.*/)?(.+)-\d{6,}-.*", name)
    return found[1] if found else ""


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
