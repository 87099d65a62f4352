"""Upkeep of a table's partitions: made ahead, dropped when they are old.

A partition is detached first and looked at once more, out of everybody's reach: whatever holds a
row, and the hook that archives them, sees rows that cannot change any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from sa_perf.dialects.partitioning import Detached, Part, Partitioning, Piece
from sa_perf.errors import PartitionError, PartitionStays
from sa_perf.retention.partitions.declaration import Declared, PartitionPlan, declared_partition
from sa_perf.retention.partitions.intervals import Span, gaps
from sa_perf.retention.partitions.keeping import Keeping
from sa_perf.retention.partitions.patience import Patience, alone
from sa_perf.retention.partitions.results import DroppedPartition, KeptPartition, PartitionRun
from sa_perf.retention.wording import error_words
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sa_perf.retention.partitions.declaration import BeforeDrop, MustKeep

__all__ = ["expired", "in_doubt", "maintain", "missing"]


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
    or `must_keep` names one of its rows. What an interrupted run has detached is dropped, or put
    back where by today's declaration it is not old enough. With a default partition PostgreSQL
    cannot detach CONCURRENTLY: then the whole table is locked for a moment, for which the run waits
    only `lock_seconds` at a time.

    Example:
        >>> maintain(engine, Event)

    Args:
        engine: of the database.
        declaration: from `partition`, or the table or class that it was made for.
        now: aware; None: by the database's clock.
        must_keep: instead of the declared one, see `partition`. Whoever else maintains the table,
            as `sa-perf retention partitions --maintain`, knows the declared one only.
        before_drop: likewise.
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
            keeping=Keeping(plan, kind, plan.must_keep if must_keep is None else must_keep),
            before_drop=before_drop or plan.before_drop,
        )  # fmt: skip
        upkeep.put_back()
        upkeep.create()
        upkeep.drop()
    return PartitionRun(
        table=plan.table.fullname, now=at, created=tuple(upkeep.created),
        dropped=tuple(upkeep.dropped), kept=tuple(upkeep.kept), warnings=tuple(upkeep.warnings),
        retries=patience.retries,
    )  # fmt: skip


def missing(
    plan: PartitionPlan, kind: Partitioning, parts: list[Part], now: datetime
) -> list[Span]:
    """Intervals that are to have a partition, as far as they have none."""
    there = [Span(part.lower, part.upper) for part in parts if not part.is_default]
    return gaps(plan.wanted(plan.wall(now, kind)), there)


def expired(
    plan: PartitionPlan, kind: Partitioning, parts: list[Part], now: datetime
) -> list[Part]:
    """Partitions that are old enough, oldest first."""
    limit = plan.cutoff(now, kind)
    return [part for part in parts if not part.is_default and _is_old(part, limit)]


def in_doubt(tables: list[tuple[str, str]]) -> list[str]:
    """A sentence on each table that was a partition and that nobody may drop."""
    return [f"{name!r} was a partition and is left alone: {why}" for name, why in tables]


def _is_old(part: Part | Detached, limit: datetime | None) -> bool:
    return limit is not None and part.upper is not None and part.upper <= limit


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

    def put_back(self) -> None:
        """What an interrupted run left, as far as it is not to go by today's declaration."""
        limit = self.plan.cutoff(self.now, self.kind)
        for one in self._left():
            if not _is_old(one, limit):
                self._return(one, "by today's declaration it is not old enough; it was put back")

    def create(self) -> None:
        """Each partition in a transaction of its own, oldest first."""
        parts = self._parts()
        for piece in self.plan.pieces(missing(self.plan, self.kind, parts, self.now)):
            names = self._patiently(partial(self._create_one, piece))
            if names is None:
                self.warnings.append(
                    f"rows of {piece.lower} to {piece.upper} lie in the default partition, so that "
                    "has none of its own; move_from_default() makes it and moves them"
                )
            else:
                self.created += names
        if self.plan.default and not any(part.is_default for part in parts):
            name = self._patiently(self._create_default)
            self.created += [] if name is None else [name]

    def drop(self) -> None:
        """First what an interrupted run left, then what is old by now."""
        limit = self.plan.cutoff(self.now, self.kind)
        for one in self._left():
            if _is_old(one, limit):
                self._finish(one, None)
        with self._yielding():
            doubtful = self.kind.doubtful(self.connection)
        self.warnings += in_doubt(doubtful)
        waiting: str | None = None
        stays = {one.name for one in self.kept}
        for part in expired(self.plan, self.kind, self._parts(), self.now):
            if part.name in stays:
                continue
            if waiting is not None:
                self._keep(part.name, waiting, hindered=True)
                continue
            with self._yielding():
                reason = None if part.pending else self.keeping.within(self.connection, part)
            if reason is not None:
                self._keep(part.name, reason)
                continue
            try:
                detached = self._patiently(partial(self._detach, part))
            except PartitionStays as error:
                self._keep(part.name, str(error), hindered=True)
            except PartitionError as error:
                waiting = str(error)
                self._keep(part.name, waiting, hindered=True)
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
            self._return(detached, reason)
            return
        self.dropped.append(
            DroppedPartition(
                name=detached.name, lower=detached.lower, upper=detached.upper,
                rows=rows if rows is not None or part is None else part.rows,
                bytes=None if part is None else part.bytes,
            )
        )  # fmt: skip
        self._remove_place(detached)

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

    def _create_one(self, piece: Piece) -> list[str] | None:
        """None: rows in the default partition are in the way."""
        seconds = self.patience.lock_seconds
        way = self.kind.making_way(self.connection, piece.lower, piece.upper, lock_seconds=seconds)
        with way, self._yielding():
            parts = self.kind.parts(self.connection)
            if self.kind.default_blocks(self.connection, piece, parts):
                return None
            return self.kind.create(self.connection, [piece], parts)

    def _create_default(self) -> str | None:
        with self._yielding():
            return self.kind.create_default(self.connection)

    def _detach(self, part: Part) -> Detached:
        seconds = self.patience.lock_seconds
        return self.kind.detach(self.connection, part, lock_seconds=seconds)

    def _remove_place(self, detached: Detached) -> None:
        """A step of its own: where it has to be tried again, the rows are gone already."""
        seconds = self.patience.lock_seconds
        try:
            self._patiently(
                lambda: self.kind.remove_place(self.connection, detached, lock_seconds=seconds)
            )
        except PartitionError as error:
            self.warnings.append(
                f"the rows of {detached.name!r} are gone, and the empty partition is left for the "
                f"next run: {error}"
            )

    def _return(self, detached: Detached, reason: str) -> None:
        """Make a partition again of what is not to be dropped."""
        try:
            self._put_back(detached)
        except (PartitionError, IntegrityError) as error:
            words = str(error) if isinstance(error, PartitionError) else error_words(error)
            reason += f"; but its rows are in table {detached.table!r} still: {words}"
            self._keep(detached.name, reason, hindered=True)
        else:
            self._keep(detached.name, reason)

    def _put_back(self, detached: Detached) -> None:
        seconds = self.patience.lock_seconds
        self._patiently(
            lambda: self.kind.attach_back(self.connection, detached, lock_seconds=seconds)
        )

    def _keep(self, name: str, reason: str, *, hindered: bool = False) -> None:
        self.kept.append(KeptPartition(name=name, reason=reason, hindered=hindered))

    def _left(self) -> list[Detached]:
        with self._yielding():
            return self.kind.detached(self.connection)

    def _parts(self) -> list[Part]:
        with self._yielding():
            return self.kind.parts(self.connection)

    def _yielding(self) -> Any:  # noqa: ANN401  # a context manager of nothing
        return self.kind.yielding(self.connection, lock_seconds=self.patience.lock_seconds)

    def _patiently(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401  # what it gives
        return self.patience.run(self.kind, self.connection, act)
