"""Sizes of a database and its tables; what is the same for each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sa_perf.dialects.space.base import LOCAL_HOSTS

if TYPE_CHECKING:
    from sqlalchemy import URL

    from sa_perf.dialects.inventory.base import CatalogReader

__all__ = [
    "DatabaseSizes", "TableSize", "Unanswered", "folder_here", "is_local", "unanswered",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A question that a database did not answer.

    Attributes:
        question: in words.
        reason: why not.
    """

    question: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """What one table takes, its indexes included; partitions count as their table.

    Attributes:
        name: with its schema where that is not the connection's own.
        total_bytes: of rows, indexes and values stored beside the rows.
        index_bytes: of the indexes alone.
        dead_ratio: 0 to 1 of what a vacuum would make free: dead rows among all rows on
            PostgreSQL, free bytes among all of the table on the others; None: not counted.
        rows: as the database's statistics have it; None: it has none.
    """

    name: str
    total_bytes: int
    index_bytes: int
    dead_ratio: float | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSizes:
    """What one database takes.

    Attributes:
        total_bytes: of the database; None where it does not tell.
        free_bytes: within its files that new rows will use; None: not counted.
        log_bytes: of the write-ahead log (SQLite, PostgreSQL) or the binary logs.
        tables: the largest ones, largest first.
        folder: where its files lie, where that is on this machine.
        max_connections: that the server lets an application open; None where there is no limit.
        connections: that applications have open now, of all databases of the server.
        unanswered: what could not be had, and why.
    """

    total_bytes: int | None = None
    free_bytes: int | None = None
    log_bytes: int | None = None
    tables: tuple[TableSize, ...] = ()
    folder: str | None = None
    max_connections: int | None = None
    connections: int | None = None
    unanswered: tuple[Unanswered, ...] = ()


def is_local(url: URL) -> bool:
    """Whether a URL leads to this machine: by name, or by a socket."""
    host = str(url.host or url.query.get("host") or "")
    return host in LOCAL_HOSTS or host.startswith(("/", "@"))


def folder_here(path: str | None, reader: CatalogReader) -> str | None:
    """A server's folder where it is one of this machine's; a container's is not."""
    if path is None or os.path.isdir(path):
        return path
    because = f"{path} is no folder here: the server runs in a container, or hides it from us"
    reader.unknown("data directory", because)
    return None


def unanswered(reader: CatalogReader) -> tuple[Unanswered, ...]:
    """What a reader could not be told."""
    return tuple(Unanswered(question=one.question, reason=one.because) for one in reader.unknowns)
