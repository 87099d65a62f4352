"""Upkeep of a table's partitions: made ahead, dropped when they are old.

A partition is detached first and looked at once more, out of everybody's reach: whatever holds a
row, and the hook that archives them, sees rows that cannot change any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import func, select

from sa_perf.dialects.partitioning import Detached, Part, Partitioning
from sa_perf.errors import PartitionError
from sa_perf.retention.cutoff import plain_type, wall_time
from sa_perf.retention.partitions.declaration import Declared, PartitionPlan, declared_partition
from sa_perf.retention.partitions.intervals import Span, gaps
from sa_perf.retention.partitions.keeping import Keeping
from sa_perf.retention.partitions.patience import Patience, alone
from sa_perf.retention.partitions.results import DroppedPartition, KeptPartition, PartitionRun
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine, Table

    #: Called with a connection, the name of the partition and its rows (a Table) and their number.
    BeforeDrop: TypeAlias = Callable[[Connection, Table, int], object]
    MustKeep: TypeAlias = "ColumnElement[bool] | Callable[[Any], ColumnElement[bool]]"

__all__ = ["cutoff", "expired", "maintain", "missing"]


def maintain(
    engine: Engine,
    declaration: Declared,
    *,
    now: datetime | None = None,
    must_keep: MustKeep | None = None,
    before_drop: BeforeDrop | None = None,
    lock_seconds: float = 2.0,
    tries: int = 8,
    sleep: Callable[[float], None] = time.sleep,
) -> PartitionRun:
    """Make the partitions that are missing, drop those that are old; to be repeated at will.

    A partition is dropped when its end is older than the declared age. It stays while a legal hold
    or `must_keep` names one of its rows. With a default partition PostgreSQL cannot detach
    CONCURRENTLY: then the whole table is locked for a moment, for which the run waits only
    `lock_seconds` at a time.

    Example:
        >>> maintain(engine, Event, before_drop=lambda connection, rows, count: archive(rows))

    Args:
        engine: of the database.
        declaration: from `partition`, or the table or class that it was made for.
        now: aware; None: by the database's clock.
        must_keep: an expression over the table or class, or a function that makes one of it: a
            partition with such a row stays. It is looked for row by row, unless an index serves.
        before_drop: called with a connection in the transaction that drops, a Table that holds
            exactly the partition's rows, and their number. What it raises stops the run, with the
            partition put back. Where DDL commits by itself (MySQL, MariaDB) what it did stays.
        lock_seconds: each wait for a lock, which the application's statements queue behind.
        tries: for each change.
        sleep: pauses between tries.

    Raises:
        PartitionError: the database has no partitions; the table is not partitioned as declared, or
            pg_partman manages it; a name is taken; or the table was in use all the time.
        PolicyBusy: another process is at it.
    """
    plan = declared_partition(declaration)
    patience = Patience(lock_seconds=lock_seconds, tries=tries, sleep=sleep)
    with alone(engine, plan) as (kind, connection):
        with kind.yielding(connection, lock_seconds=lock_seconds):
            at = now or kind.purging.utc_now(connection)
        upkeep = _Upkeep(
            plan=plan, kind=kind, connection=connection, patience=patience, now=at,
            keeping=Keeping(plan, kind, must_keep), before_drop=before_drop,
        )  # fmt: skip
        upkeep.create()
        upkeep.drop()
    return PartitionRun(
        table=plan.table.fullname, now=at, created=tuple(upkeep.created),
        dropped=tuple(upkeep.dropped), kept=tuple(upkeep.kept), warnings=tuple(upkeep.warnings),
        retries=patience.retries,
    )  # fmt: skip


def cutoff(plan: PartitionPlan, now: datetime) -> datetime | None:
    """The moment at or before which a partition must end to be dropped, as the column has it."""
    if plan.keep is None:
        return None
    keeps_zone = getattr(plain_type(plan.column.type), "timezone", False)
    return wall_time(
        now.astimezone(timezone.utc) - plan.keep, "UTC" if keeps_zone else plan.timezone
    )


def missing(plan: PartitionPlan, parts: list[Part], now: datetime) -> list[Span]:
    """Intervals that are to have a partition, as far as they have none."""
    there = [Span(part.lower, part.upper) for part in parts if not part.is_default]
    return gaps(plan.wanted(plan.wall(now)), there)


def expired(plan: PartitionPlan, parts: list[Part], now: datetime) -> list[Part]:
    """Partitions that are old enough, oldest first."""
    limit = cutoff(plan, now)
    if limit is None:
        return []
    old = [part for part in parts if part.upper is not None and not part.is_default]
    return [part for part in old if part.upper is not None and part.upper <= limit]


@dataclass(slots=True, kw_only=True)
class _Upkeep:
    """One run over one table."""

    plan: PartitionPlan
    kind: Partitioning
    connection: Connection
    patience: Patience
    now: datetime
    keeping: Keeping
    before_drop: BeforeDrop | None
    created: list[str] = field(default_factory=list)
    dropped: list[DroppedPartition] = field(default_factory=list)
    kept: list[KeptPartition] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def create(self) -> None:
        """Each partition in a transaction of its own, oldest first."""
        pieces = self.plan.pieces(missing(self.plan, self._parts(), self.now))
        for piece in pieces:

            def make(piece: Any = piece) -> list[str] | None:  # noqa: ANN401  # bound early
                with self._yielding():
                    parts = self.kind.parts(self.connection)
                    if self.kind.default_blocks(self.connection, piece, parts):
                        return None
                    return self.kind.create(self.connection, [piece], parts)

            names = self._patiently(make)
            if names is None:
                self.warnings.append(
                    f"rows of {piece.lower} to {piece.upper} lie in the default partition, so that "
                    "has none of its own; move_from_default() makes it and moves them"
                )
            else:
                self.created += names

    def drop(self) -> None:
        """First what an interrupted run left, then what is old by now."""
        with self._yielding():
            left = self.kind.detached(self.connection)
        for one in left:
            self._finish(one, None)
        waiting: str | None = None
        stays = {one.name for one in self.kept}
        for part in expired(self.plan, self._parts(), self.now):
            if part.name in stays:
                continue
            if waiting is not None:
                self.kept.append(KeptPartition(name=part.name, reason=waiting))
                continue
            with self._yielding():
                reason = None if part.pending else self.keeping.within(self.connection, part)
            if reason is not None:
                self.kept.append(KeptPartition(name=part.name, reason=reason))
                continue
            try:
                detached = self._patiently(partial(self._detach, part))
            except PartitionError as error:
                waiting = str(error)
                self.kept.append(KeptPartition(name=part.name, reason=waiting))
            else:
                self._finish(detached, part)

    def _finish(self, detached: Detached, part: Part | None) -> None:
        """Look once more at what nobody reaches now, let it be archived, drop it."""
        try:
            reason, rows = self._patiently(lambda: self._drop_unless_kept(detached))
        except BaseException:
            self.connection.rollback()
            with suppress(Exception):  # it stays detached, and the next run goes on with it
                self._put_back(detached)
            raise
        if reason is not None:
            self._put_back(detached)
            self.kept.append(KeptPartition(name=detached.name, reason=reason))
            return
        self.dropped.append(
            DroppedPartition(
                name=detached.name, lower=detached.lower, upper=detached.upper,
                rows=rows if rows is not None or part is None else part.rows,
                bytes=None if part is None else part.bytes,
            )
        )  # fmt: skip

    def _drop_unless_kept(self, detached: Detached) -> tuple[str | None, int | None]:
        table, rows = self.kind.side_table(detached), None
        with self._yielding():
            reason = self.keeping.among(self.connection, table)
            if reason is not None:
                return reason, None
            if self.before_drop is not None:
                count = select(func.count()).select_from(table)
                rows = self.connection.execute(count, execution_options=UNRECORDED).scalar_one()
                self.before_drop(self.connection, table, rows)
            self.kind.drop(self.connection, detached)
        return None, rows

    def _detach(self, part: Part) -> Detached:
        seconds = self.patience.lock_seconds
        return self.kind.detach(self.connection, part, self._parts(), lock_seconds=seconds)

    def _put_back(self, detached: Detached) -> None:
        seconds = self.patience.lock_seconds
        self._patiently(
            lambda: self.kind.attach_back(self.connection, detached, lock_seconds=seconds)
        )

    def _parts(self) -> list[Part]:
        with self._yielding():
            return self.kind.parts(self.connection)

    def _yielding(self) -> Any:  # noqa: ANN401  # a context manager of nothing
        return self.kind.yielding(self.connection, lock_seconds=self.patience.lock_seconds)

    def _patiently(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401  # what it gives
        return self.patience.run(self.kind, self.connection, act)
