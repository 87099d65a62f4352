"""Space of a database: what is asked of each, with portable answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sa_perf.errors import SpaceRefused
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["LOCAL_HOSTS", "Disk", "Room", "Space", "Staleness", "Usage", "Work"]

LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a table, or a database that is one file, takes on disk.

    Attributes:
        subject: the table's name, or the file's.
        bytes: of it now, indexes included.
        live_bytes: of what is in use.
        dead_rows: deleted rows that still take space, by statistics; None where unknown.
        folder: where it lies, if that is known and on this machine.
    """

    subject: str
    bytes: int
    live_bytes: int
    dead_rows: int | None = None
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

    def device(self, folder: str | None) -> object:
        """What two folders of one disk have in common."""
        if self._said is not None or folder is None:
            return None
        try:
            return os.stat(folder).st_dev
        except OSError:
            return None


class Space:
    """A database of whose space nothing is known.

    Args:
        dialect: SQLAlchemy's.
    """

    #: Ways of giving space back, the one that ``"auto"`` chooses first.
    ways: ClassVar[tuple[str, ...]] = ()
    #: Space belongs to a file that holds all tables.
    whole_file: ClassVar[bool] = False

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self._dialect = dialect

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """A connection without transactions, whose statements the recorder leaves out."""
        with engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT", **UNRECORDED)

    def way(self, connection: Connection, how: str) -> str:
        """What ``"auto"`` means here.

        Raises:
            SpaceRefused: the database knows no such way.
        """
        if how == "auto" and self.ways:
            return self.ways[0]
        if how not in self.ways:
            known = ", ".join(map(repr, self.ways)) or "none that sa_perf knows"
            raise SpaceRefused(f"how={how!r} is no way of {self._dialect.name}; ways are: {known}")
        return how

    def usages(self, connection: Connection, tables: Sequence[Table] | None) -> list[Usage]:
        """What tables take; None: all tables of the current schema."""
        return []

    def work(
        self, connection: Connection, usage: Usage, how: str, *, make_incremental: bool = False
    ) -> Work:
        """What a way costs; ``make_incremental`` fits the file for incremental vacuum, too."""
        raise NotImplementedError

    def hindrances(
        self, connection: Connection, usage: Usage, how: str, *, snapshot_seconds: float
    ) -> list[str]:
        """Why the work would free nothing; a sentence each, that says what to do."""
        return []

    def reclaim(
        self,
        connection: Connection,
        usage: Usage,
        work: Work,
        *,
        lock_seconds: float,
        sleep: Callable[[float], None],
    ) -> list[str]:
        """Do the work; what is to be said of it afterwards."""
        raise NotImplementedError

    def stale(self, connection: Connection, tables: Sequence[Table] | None) -> list[Staleness]:
        """Tables whose statistics are off."""
        return []

    def analyze_sql(self, table: str) -> str:
        """The statement that reads a table's statistics anew."""
        return f"ANALYZE {table}"

    def quoted(self, table: Table) -> str:
        """A table's name as SQL has it, with its schema."""
        return self._dialect.identifier_preparer.format_table(table)
