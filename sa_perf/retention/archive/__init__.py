"""Where rows go before they are deleted, and how they come back."""

from __future__ import annotations

from sa_perf.retention.archive.files import FileArchive, FileSink
from sa_perf.retention.archive.manifest import ArchiveFile
from sa_perf.retention.archive.restore import RestoreResult, restore
from sa_perf.retention.archive.tables import TableArchive, TableSink

__all__ = [
    "ArchiveFile",
    "FileArchive",
    "FileSink",
    "RestoreResult",
    "TableArchive",
    "TableSink",
    "restore",
]
