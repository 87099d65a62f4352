"""Space of a database: what is asked of each, with portable answers."""

from __future__ import annotations

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from sa_perf.errors import RetentionError
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["LOCAL_HOSTS", "Disk", "Request", "Room", "Space", "Staleness", "Usage", "Work"]

LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How space is to be given back, as the application asks for it.

    Attributes:
        how: the way; ``"auto"`` until `Space.settled` has said which that is.
        blocking: an exclusive lock for all the time is all right.
        make_incremental: fit the file for incremental vacuum, too.
        snapshot_seconds: a transaction older than this hinders, where old ones keep rows.
        snapshot_transactions: a replica's snapshot older than this hinders; its time is not known.
        lock_seconds: how long to wait for a lock.
        sleep: pauses between steps.
    """

    how: str = "auto"
    blocking: bool = False
    make_incremental: bool = False
    snapshot_seconds: float = 60.0
    snapshot_transactions: int = 100_000
    lock_seconds: float = 5.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a table, or a database that is one file, takes on disk.

    Attributes:
        subject: the table's name, or the file's.
        bytes: of it now, indexes included.
        live_bytes: of what is in use.
        copy_bytes: that a copy without what is free takes at most, also where statistics were lost.
        storage: its storage engine, where tables have different ones.
        folder: where it lies, if that is known and on this machine.
    """

    subject: str
    bytes: int
    live_bytes: int
    copy_bytes: int
    storage: str | None = None
    folder: str | None = None

    @property
    def reclaimable_bytes(self) -> int:
        """What is not in use."""
        return max(0, self.bytes - self.live_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Disk space that some work takes for a time.

    Attributes:
        bytes: at most.
        folder: where; None: not on this machine, or not known.
    """

    bytes: int
    folder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One way of giving space back, and what it costs.

    Attributes:
        how: ``"vacuum"``, ``"incremental"``, ``"full"`` or ``"optimize"``.
        statement: SQL, as it is sent.
        per_live_mb_seconds: seconds for each MB that stays, on an idle machine.
        per_freed_mb_seconds: seconds for each MB that goes.
        loaded_factor: by which it takes longer under load.
        shrinks: the freed space goes back to the disk, not only to the table's next rows.
        exclusive: nobody reads or writes the table meanwhile.
        blocks: who waits, in words.
        rooms: disk space taken for a time.
    """

    how: str
    statement: str
    per_live_mb_seconds: float
    per_freed_mb_seconds: float
    loaded_factor: float
    shrinks: bool
    exclusive: bool
    blocks: str
    rooms: tuple[Room, ...]

    def seconds(self, usage: Usage) -> float:
        """How long it takes on an idle machine."""
        return (
            usage.live_bytes * self.per_live_mb_seconds
            + usage.reclaimable_bytes * self.per_freed_mb_seconds
        ) / MEGABYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """Statistics that are off.

    Attributes:
        table: its name.
        reason: in words, with numbers.
        known_rows: by the statistics; None: there are none.
        rows: by a better source.
    """

    table: str
    reason: str
    known_rows: float | None
    rows: float


class Disk:
    """Free space of this machine's disks.

    Args:
        free_bytes: said by whoever knows better; None: measured.
    """

    def __init__(self, free_bytes: int | None = None) -> None:
        self._said = free_bytes

    def free(self, folder: str | None) -> int | None:
        """Free bytes where a folder lies; None where that is not known."""
        if self._said is not None:
            return self._said
        if folder is None:
            return None
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            return None

    def least_free(self, usage: Usage, work: Work) -> int | None:
        """Free bytes of the fullest disk that the work takes space of; None: not known of each."""
        found = [self.free(room.folder) for room in work.rooms] or [self.free(usage.folder)]
        known = [one for one in found if one is not None]
        return min(known) if len(known) == len(found) else None

    def shortages(self, usage: Usage, work: Work) -> list[str]:
        """What does not fit, or perhaps does not, disk by disk; a sentence each."""
        wanted: dict[object, list[Room]] = {}
        for room in work.rooms:
            wanted.setdefault(self._device(room.folder), []).append(room)
        found = []
        for rooms in wanted.values():
            needed = sum(room.bytes for room in rooms)
            free = self.free(rooms[0].folder)
            needs = f"{usage.subject}: {work.how!r} needs {needed / MEGABYTE:,.1f} MB for a time"
            if free is None:
                found.append(
                    f"{needs}, and what the database's disk has free is not known from here; look "
                    "there, then say free_bytes"
                )
            elif free < needed:
                found.append(
                    f"{needs} and {rooms[0].folder or 'its disk'} has {free / MEGABYTE:,.1f} MB "
                    "free; make room, or delete more first"
                )
        return found

    def _device(self, folder: str | None) -> object:
        """What two folders of one disk have in common."""
        if self._said is not None or folder is None:
            return None
        try:
            return os.stat(folder).st_dev
        except OSError:
            return None


class Space(ABC):
    """How one database gives space back.

    Args:
        dialect: SQLAlchemy's.
    """

    #: Ways of giving space back, the one that ``"auto"`` chooses first.
    ways: ClassVar[tuple[str, ...]]
    #: Space belongs to a file that holds all tables.
    whole_file: ClassVar[bool] = False

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self._dialect = dialect

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """A connection without transactions, whose statements the recorder leaves out."""
        with engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT", **UNRECORDED)

    def settled(self, connection: Connection, request: Request) -> Request:
        """The request with the way that ``"auto"`` means here.

        Raises:
            RetentionError: the database knows no such way, or not what is asked of it.
        """
        how = self.ways[0] if request.how == "auto" else request.how
        if how not in self.ways:
            known = ", ".join(map(repr, self.ways))
            raise RetentionError(
                f"how={how!r} is no way of {self._dialect.name}; ways are: {known}"
            )
        if request.make_incremental and not (self.whole_file and how == "vacuum"):
            raise RetentionError(
                f"make_incremental goes with 'vacuum' of one file, not with {how!r}"
            )
        return replace(request, how=how)

    @abstractmethod
    def usages(self, connection: Connection, tables: Sequence[Table] | None) -> list[Usage]:
        """What tables take; None: all tables of the current schema."""

    @abstractmethod
    def work(self, connection: Connection, usage: Usage, request: Request) -> Work:
        """What the settled way costs."""

    @abstractmethod
    def hindrances(self, connection: Connection, usage: Usage, request: Request) -> list[str]:
        """Why the work would free nothing; a sentence each, that says what to do."""

    @abstractmethod
    def reclaim(
        self, connection: Connection, usage: Usage, work: Work, request: Request
    ) -> list[str]:
        """Do the work; what is to be said of it afterwards.

        The session's settings are as before when it ends.

        Raises:
            SpaceRefused: others use the table for longer than `Request.lock_seconds`.
        """

    @abstractmethod
    def stale(self, connection: Connection, tables: Sequence[Table] | None) -> list[Staleness]:
        """Tables whose statistics are off."""

    def analyze_sql(self, table: str) -> str:
        """The statement that reads a table's statistics anew."""
        return f"ANALYZE {table}"

    def quoted(self, table: Table) -> str:
        """A table's name as SQL has it, with its schema."""
        return self._dialect.identifier_preparer.format_table(table)
