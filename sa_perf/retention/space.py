"""Give the space of deleted rows back: cost beforehand, bytes after.

Nothing here runs by itself. Each way locks something or writes tables anew, so `estimate` says
what it would cost and `reclaim` refuses where it would not fit or free nothing. Both, and
`analyze`, work outside transactions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sqlalchemy import MetaData, Table
from sqlalchemy import inspect as inspection
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.space import Disk, Request, Space, Staleness, Usage, Work, space_for
from sa_perf.dialects.synchronous import refuse_asynchronous
from sa_perf.errors import RetentionError, SpaceRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    #: Tables and mapped classes, or the MetaData of all that matter.
    Tables: TypeAlias = "Iterable[Table | type[Any]] | MetaData"

__all__ = [
    "AnalyzeResult", "How", "SpaceEstimate", "SpaceResult", "Staleness", "analyze", "estimate",
    "reclaim", "stale_statistics",
]  # fmt: skip

How: TypeAlias = Literal["auto", "vacuum", "incremental", "optimize", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceEstimate:
    """What giving space back would cost and bring.

    Attributes:
        subject: the table, with its schema, or the file where that holds all tables.
        how: the way, never ``"auto"``.
        statement: SQL, as it would be sent.
        bytes_before: on disk now, with indexes.
        live_bytes: of what is in use.
        reclaimable_bytes: of what is not; a guess where the database does not count it.
        shrinks: freed bytes go back to the disk, else they serve the table's next rows only.
        seconds: on an idle machine, or at the rate of earlier results.
        loaded_seconds: under load; the same at the rate of earlier results.
        temporary_bytes: of disk that it takes meanwhile, WAL or journal included.
        free_bytes: of that disk; None where it is not known from here.
        blocks: who waits meanwhile, in words.
        exclusive: nobody reads or writes meanwhile.
        refusals: why `reclaim` would refuse, a sentence each; none: it would not.
    """

    subject: str
    how: str
    statement: str
    bytes_before: int
    live_bytes: int
    reclaimable_bytes: int
    shrinks: bool
    seconds: float
    loaded_seconds: float
    temporary_bytes: int
    free_bytes: int | None
    blocks: str
    exclusive: bool
    refusals: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceResult:
    """What was given back of one table.

    Attributes:
        subject: the table, with its schema, or the file.
        how: the way.
        statement: SQL, as it was sent.
        bytes_before: on disk before.
        bytes_after: on disk after.
        live_bytes: in use after.
        seconds: that it took.
        notes: what is to be known, e.g. dead rows that had to stay.
        shrinks: freed bytes went back to the disk, else they serve the table's next rows only.
        refusal: why it was not done after all, e.g. since the table was in use; None: it was.
    """

    subject: str
    how: str
    statement: str
    bytes_before: int
    bytes_after: int
    live_bytes: int
    seconds: float
    notes: tuple[str, ...]
    shrinks: bool = True
    refusal: str | None = None

    @property
    def freed_bytes(self) -> int:
        """Measured; negative where others wrote more meanwhile than was freed."""
        return self.bytes_before - self.bytes_after


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeResult:
    """A table whose statistics were read anew.

    Attributes:
        table: its name.
        statement: SQL, as it was sent.
        seconds: that it took.
    """

    table: str
    statement: str
    seconds: float


def estimate(
    engine: Engine,
    tables: Tables | None = None,
    *,
    how: How = "auto",
    blocking: bool = False,
    make_incremental: bool = False,
    free_bytes: int | None = None,
    snapshot_seconds: float = 60.0,
    snapshot_transactions: int = 100_000,
    earlier: Sequence[SpaceResult] = (),
) -> list[SpaceEstimate]:
    """What `reclaim` with the same arguments would cost, bring and refuse; changes nothing.

    Example:
        >>> for one in estimate(engine, [Event]):
        ...     print(one.statement, one.reclaimable_bytes, one.loaded_seconds, one.refusals)

    Args:
        engine: of the database.
        tables: whose space; None: all tables of the current schema, save those that the role may
            not vacuum. A database that is one file is always taken as a whole.
        how: the way; ``"auto"``: the one that blocks least.
        blocking: an exclusive lock on a table for all the time is all right.
        make_incremental: have ``"vacuum"`` fit the file for ``"incremental"`` from then on.
        free_bytes: of the database's disk, where that is not known from here: the server is another
            machine, or the role may not ask for its folder.
        snapshot_seconds: a transaction older than this hinders, where old ones keep rows.
        snapshot_transactions: a replica's snapshot older than so many transactions hinders, as
            (PostgreSQL) with hot_standby_feedback; how many seconds it is old is not known.
        earlier: results of before; the slowest rate of the same way and table (else of the way)
            is taken for the time.

    Returns:
        One estimate for each table, by name.

    Raises:
        RetentionError: the database knows no such way, the engine is asynchronous, or something is
            no table.
        UnsupportedDatabase: that is not known here.
    """
    request = Request(
        how=how, blocking=blocking, make_incremental=make_incremental,
        snapshot_seconds=snapshot_seconds, snapshot_transactions=snapshot_transactions,
    )  # fmt: skip
    with _connected(engine) as (space, connection):
        planned = _planned(space, connection, tables, request, Disk(free_bytes))
        return [_estimate(one, earlier) for one in planned]


def reclaim(
    engine: Engine,
    tables: Tables | None = None,
    *,
    how: How = "auto",
    blocking: bool = False,
    make_incremental: bool = False,
    free_bytes: int | None = None,
    snapshot_seconds: float = 60.0,
    snapshot_transactions: int = 100_000,
    lock_seconds: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> list[SpaceResult]:
    """Give the space of deleted rows back, table by table.

    Nothing is begun unless every table may be done. What is refused later, since a table is in use
    for longer than `lock_seconds` or the database says no, stands in that table's result, and the
    others are done all the same. Locks: see `SpaceEstimate.blocks`.

    Args:
        engine: of the database; a connection of its own is taken, without transaction.
        tables: as for `estimate`.
        how: as for `estimate`.
        blocking: as for `estimate`.
        make_incremental: as for `estimate`.
        free_bytes: as for `estimate`.
        snapshot_seconds: as for `estimate`.
        snapshot_transactions: as for `estimate`.
        lock_seconds: how long to wait for a lock before the application goes first.
        sleep: pauses between steps.
        clock: measures seconds.

    Returns:
        One result for each table, with the bytes freed, as measured, or its `SpaceResult.refusal`.

    Raises:
        SpaceRefused: the disk has no room or it is unknown what it has, the way would block and
            `blocking` is not said, or it would free nothing; nothing was done.
        RetentionError, UnsupportedDatabase: as for `estimate`.
    """
    request = Request(
        how=how, blocking=blocking, make_incremental=make_incremental,
        snapshot_seconds=snapshot_seconds, snapshot_transactions=snapshot_transactions,
        lock_seconds=lock_seconds, sleep=sleep,
    )  # fmt: skip
    with _connected(engine) as (space, connection):
        planned = _planned(space, connection, tables, request, Disk(free_bytes))
        refusals = [why for one in planned for why in one.refusals]
        if refusals:
            raise SpaceRefused("; ".join(dict.fromkeys(refusals)))
        results = []
        for one in planned:
            began = clock()
            notes, refusal = _worked(space, connection, one, request)
            seconds = clock() - began
            after = _again(space, connection, tables, one.usage)
            results.append(
                SpaceResult(
                    subject=one.usage.subject, how=one.work.how, statement=one.work.statement,
                    bytes_before=one.usage.bytes, bytes_after=after.bytes,
                    live_bytes=after.live_bytes, seconds=seconds, notes=notes,
                    shrinks=one.work.shrinks, refusal=refusal,
                )
            )  # fmt: skip
        return results


def stale_statistics(engine: Engine, tables: Tables | None = None) -> list[Staleness]:
    """Tables whose statistics are off, so that plans are; says by how much.

    Reads the catalog; SQLite's tables are counted, up to twice their known rows.

    Args:
        engine: of the database.
        tables: which; None: all of the current schema.
    """
    with _connected(engine) as (space, connection):
        return space.stale(connection, _tables(tables))


def analyze(
    engine: Engine,
    tables: Tables | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> list[AnalyzeResult]:
    """Read statistics anew of the tables where they are off, see `stale_statistics`.

    Args:
        engine: of the database.
        tables: which; None: all of the current schema.
        clock: measures seconds.
    """
    with _connected(engine) as (space, connection):
        results = []
        for one in space.stale(connection, _tables(tables)):
            statement = space.analyze_sql(one.table)
            began = clock()
            answer = connection.exec_driver_sql(statement)
            if answer.returns_rows:
                answer.all()
            results.append(
                AnalyzeResult(table=one.table, statement=statement, seconds=clock() - began)
            )
        return results


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A table, what is to be done with it, and what speaks against that."""

    usage: Usage
    work: Work
    free_bytes: int | None
    refusals: tuple[str, ...]


@contextmanager
def _connected(engine: Engine) -> Iterator[tuple[Space, Connection]]:
    refuse_asynchronous(engine)
    with engine.connect():  # MySQL or MariaDB is known from now on
        space = space_for(engine.dialect)
    with space.connection(engine) as connection:
        yield space, connection


def _planned(
    space: Space, connection: Connection, tables: Tables | None, request: Request, disk: Disk
) -> list[_Planned]:
    request = space.settled(connection, request)
    planned = []
    for usage in space.usages(connection, _tables(tables)):
        work = space.work(connection, usage, request)
        refusals = space.hindrances(connection, usage, request) + disk.shortages(usage, work)
        if work.exclusive and not (request.blocking or space.whole_file):
            loaded = work.seconds(usage) * work.loaded_factor
            refusals.append(
                f"{usage.subject}: {work.how!r} blocks {work.blocks}, under load for some "
                f"{max(1.0, loaded):,.0f} s; say blocking=True if it may"
            )
        planned.append(
            _Planned(
                usage=usage, work=work, refusals=tuple(refusals),
                free_bytes=disk.least_free(usage, work),
            )
        )  # fmt: skip
    return planned


def _estimate(planned: _Planned, earlier: Sequence[SpaceResult]) -> SpaceEstimate:
    usage, work = planned.usage, planned.work
    idle = work.seconds(usage)
    loaded = idle * work.loaded_factor
    same = [one for one in earlier if one.how == work.how and one.live_bytes and not one.refusal]
    same = [one for one in same if one.subject == usage.subject] or same
    if same and work.per_live_mb_seconds:
        idle = loaded = max(one.seconds / one.live_bytes for one in same) * usage.live_bytes
    return SpaceEstimate(
        subject=usage.subject, how=work.how, statement=work.statement, bytes_before=usage.bytes,
        live_bytes=usage.live_bytes, reclaimable_bytes=usage.reclaimable_bytes,
        shrinks=work.shrinks, seconds=idle, loaded_seconds=loaded,
        temporary_bytes=sum(room.bytes for room in work.rooms), free_bytes=planned.free_bytes,
        blocks=work.blocks, exclusive=work.exclusive, refusals=planned.refusals,
    )  # fmt: skip


def _worked(
    space: Space, connection: Connection, planned: _Planned, request: Request
) -> tuple[tuple[str, ...], str | None]:
    """Do one table's work: notes, or why it could not be done after all."""
    usage = planned.usage
    if connection.invalidated:
        return (), f"{usage.subject}: the connection broke before its turn; try again"
    try:
        return tuple(space.reclaim(connection, usage, planned.work, request)), None
    except SpaceRefused as error:
        return (), str(error)
    except DBAPIError as error:
        return (), f"{usage.subject}: {str(error.orig).strip()}"


def _again(space: Space, connection: Connection, tables: Tables | None, usage: Usage) -> Usage:
    """The same table's usage now; where it was dropped meanwhile, nothing."""
    if connection.invalidated:
        return usage
    found = space.usages(connection, _tables(tables))
    gone = Usage(subject=usage.subject, bytes=0, live_bytes=0, copy_bytes=0)
    return next((one for one in found if one.subject == usage.subject), gone)


def _tables(given: Tables | None) -> list[Table] | None:
    if given is None:
        return None
    if isinstance(given, MetaData):
        return list(given.sorted_tables)
    found: list[Table] = []
    for one in given:
        mapped = one if isinstance(one, Table) else inspection(one, raiseerr=False)
        table = mapped if isinstance(mapped, Table) else getattr(mapped, "local_table", None)
        if not isinstance(table, Table):
            raise RetentionError(f"{one!r} is neither a table nor a class mapped to one")
        found.append(table)
    return found
