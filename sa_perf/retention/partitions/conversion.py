"""A big table in use becomes a partitioned one; no row is copied.

The table itself becomes the first partition, of all that was until a boundary in the future. Read
the script of `convert_plan` before `convert` runs it. PostgreSQL only.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, IntegrityError

from sa_perf.dialects.partitioning import Piece
from sa_perf.dialects.partitioning.conversion import Conversion, conversion_for
from sa_perf.dialects.synchronous import refuse_asynchronous
from sa_perf.errors import PartitionError, PolicyBusy, SaPerfWarning
from sa_perf.retention.partitions.declaration import Declared, PartitionPlan, declared_partition
from sa_perf.retention.partitions.intervals import Span
from sa_perf.retention.partitions.patience import Patience, lock_name

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["ConversionPlan", "ConversionStep", "convert", "convert_plan"]

_MARGIN = timedelta(hours=1)
#: So long before the boundary it is given up, and there is time to take back what was prepared.
_NEAR = timedelta(minutes=5)
_UNDO_TRIES = 24
#: Rows of a far future are rather faults than data.
_FARTHEST = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionStep:
    """One step of the script.

    Attributes:
        title: what it does and who waits.
        statements: SQL, in order.
        transaction: they are one transaction; else each runs by itself.
    """

    title: str
    statements: tuple[str, ...]
    transaction: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """How a table becomes a partitioned one.

    Attributes:
        table: its name, with its schema.
        boundary: the moment up to which the old table is a partition; as the column has it.
        steps: in order.
    """

    table: str
    boundary: datetime
    steps: tuple[ConversionStep, ...]

    def sql(self, *, lock_seconds: float = 2.0) -> str:
        """The script, for psql or a migration; after a failed step begin again from the first."""
        limit = f"SET lock_timeout = '{round(lock_seconds * 1_000)}ms';"
        lines = [limit]
        for number, step in enumerate(self.steps, start=1):
            lines += ["", f"-- {number}. {step.title}"]
            body = [f"{statement};" for statement in step.statements]
            if step.transaction:
                lines += ["BEGIN;", *body, "COMMIT;"]
            else:  # waits for older transactions, in nobody's way
                lines += ["SET lock_timeout = 0;", *body, limit]
        return "\n".join([*lines, ""])


def convert_plan(
    engine: Engine,
    declaration: Declared,
    *,
    now: datetime | None = None,
    boundary: datetime | None = None,
) -> ConversionPlan:
    """The steps that `convert` would take, as SQL; changes nothing.

    Reads the youngest row: at once by an index on the moment, else by a look at every row.

    Example:
        >>> print(convert_plan(engine, Event).sql())

    Args:
        engine: of the database.
        declaration: from `partition`, or what it was made for; as it is to be, with the moment in
            the primary key.
        now: aware; None: by the database's clock.
        boundary: aware; None: the end of the interval of now, or of the youngest row.

    Raises:
        PartitionError: the database cannot do it while the table is in use; or something refers to
            the table, or would be lost: each is named.
    """
    plan = declared_partition(declaration)
    refuse_asynchronous(engine)
    conversion = conversion_for(engine.dialect, plan.table, plan.column)
    with conversion.kind.connection(engine) as connection:
        return _planned(plan, conversion, connection, now, boundary)


def convert(
    engine: Engine,
    declaration: Declared,
    *,
    now: datetime | None = None,
    boundary: datetime | None = None,
    lock_seconds: float = 2.0,
    tries: int = 8,
    sleep: Callable[[float], None] = time.sleep,
) -> ConversionPlan:
    """Convert a table in use; see `convert_plan`, whose arguments it takes.

    What fails is taken back; where the table is in use all the time, so that this fails too, the
    error says what stays and how to take it off. What was killed is begun again by a second call;
    until then the table may refuse rows behind the boundary (a constraint says so by name). Ends
    before the boundary comes. Statements that wait for the exchange of the tables go on with the
    new one. It takes about as long as reading the table twice.

    Args:
        engine: of the database.
        declaration: as for `convert_plan`.
        now: as for `convert_plan`.
        boundary: as for `convert_plan`.
        lock_seconds: each wait for a lock, which the application's statements queue behind.
        tries: for each step.
        sleep: pauses between tries.

    Returns:
        What was done.

    Raises:
        PartitionError: as for `convert_plan`, or the table was in use all the time, or rows have no
            moment, or it took until the boundary was near.
        PolicyBusy: another process is at it.
    """
    plan = declared_partition(declaration)
    refuse_asynchronous(engine)
    patience = Patience(lock_seconds=lock_seconds, tries=tries, sleep=sleep)
    conversion = conversion_for(engine.dialect, plan.table, plan.column)
    kind, name = conversion.kind, lock_name(engine, plan)
    with kind.connection(engine) as connection:
        if not kind.purging.lock(connection, name):
            raise PolicyBusy(f"somebody else converts {plan.table.fullname!r} now", owner=None)
        try:
            planned = _planned(plan, conversion, connection, now, boundary)
            watch = _Watch(plan, conversion, connection, planned.boundary, now)
            _take_all(plan, conversion, connection, planned, patience, watch)
        finally:
            connection.rollback()
            kind.purging.unlock(connection, name)
    return planned


def _planned(
    plan: PartitionPlan,
    conversion: Conversion,
    connection: Connection,
    now: datetime | None,
    boundary: datetime | None,
) -> ConversionPlan:
    with connection.begin():
        conversion.refuse_hindrances(connection)
        kind = conversion.kind
        at = plan.wall(now or kind.purging.utc_now(connection), kind)
        last = conversion.youngest(connection)
        if last is not None and not isinstance(last, datetime):
            last = datetime(last.year, last.month, last.day)
        youngest = None if last is None else plan.wall(last, kind) if last.tzinfo else last
        end = _boundary(plan, at, youngest) if boundary is None else plan.wall(boundary, kind)
        if youngest is not None and youngest >= end:
            raise PartitionError(
                f"{plan.table.fullname!r} has rows of {youngest}, which is behind the boundary "
                f"{end}: mend or delete them, or give boundary="
            )
        pieces = _pieces(plan, at, end)
        phases = conversion.phases(connection, end, pieces, default=plan.default)
    steps = tuple(
        ConversionStep(title=one.title, statements=one.statements, transaction=one.transaction)
        for one in phases
    )
    return ConversionPlan(table=plan.table.fullname, boundary=end, steps=steps)


def _boundary(plan: PartitionPlan, now: datetime, youngest: datetime | None) -> datetime:
    """The end of the interval in which rows are written now; not so near that it comes too soon."""
    if youngest is not None and youngest <= now + _FARTHEST:
        now = max(now, youngest)
    return plan.every.next(plan.every.start(now + _MARGIN))


def _pieces(plan: PartitionPlan, now: datetime, boundary: datetime) -> list[Piece]:
    """Partitions from the boundary on, up to those ahead."""
    last = plan.wanted(now)[-1].upper or boundary
    if last <= boundary:
        last = plan.every.next(plan.every.start(boundary))
    spans = plan.every.spans(boundary, last - timedelta(microseconds=1))
    cut = [Span(max(one.lower or boundary, boundary), one.upper) for one in spans]
    return plan.pieces(cut)


class _Watch:
    """How long until rows come that the table refuses; None where the boundary is of the past."""

    def __init__(
        self,
        plan: PartitionPlan,
        conversion: Conversion,
        connection: Connection,
        boundary: datetime,
        now: datetime | None,
    ) -> None:
        self._plan, self._kind, self._connection = plan, conversion.kind, connection
        self._boundary = boundary
        clock = self._clock()
        self._ahead = timedelta(0) if now is None else now - clock
        self._looks = boundary > plan.wall(clock + self._ahead, self._kind)

    def seconds(self) -> float | None:
        """Those that are left for a statement; in no transaction.

        Raises:
            PartitionError: none.
        """
        if not self._looks:
            return None
        left = self._boundary - self._plan.wall(self._clock() + self._ahead, self._kind) - _NEAR
        if left <= timedelta(0):
            raise PartitionError(
                f"{self._plan.table.fullname!r} is not converted: rows of {self._boundary} come "
                "too soon, and would be refused; give a later boundary="
            )
        return left.total_seconds()

    def _clock(self) -> datetime:
        with self._connection.begin():
            return self._kind.purging.utc_now(self._connection)


def _take_all(
    plan: PartitionPlan,
    conversion: Conversion,
    connection: Connection,
    planned: ConversionPlan,
    patience: Patience,
    watch: _Watch,
) -> None:
    try:
        for step in planned.steps:
            _take(conversion, connection, step, patience, watch)
    except BaseException as error:
        connection.rollback()
        stays = "".join(_undo(conversion, connection, planned, patience))
        if isinstance(error, IntegrityError):
            raise PartitionError(
                f"{plan.table.fullname!r} has rows without a moment, or of {planned.boundary} and "
                f"later; mend or delete them{stays}"
            ) from error
        if stays and isinstance(error, Exception):
            raise PartitionError(f"{error}{stays}") from error
        if stays:
            warnings.warn(f"{plan.table.fullname!r}{stays}", SaPerfWarning, stacklevel=4)
        raise


def _undo(
    conversion: Conversion, connection: Connection, planned: ConversionPlan, patience: Patience
) -> Iterator[str]:
    """Take back what was prepared; what stays, as the end of a sentence."""
    longer = replace(patience, tries=max(patience.tries, _UNDO_TRIES))
    seconds = patience.lock_seconds
    undone = (
        (conversion.undo_check, f"rows of {planned.boundary} and later are refused until "
         f"this is run: {conversion.undo_check_sql}"),
        (conversion.undo_index, "every write keeps an index up until this is run: "
         f"{conversion.undo_index_sql}"),
    )  # fmt: skip
    for undo, stays in undone:
        try:
            longer.run(conversion.kind, connection, partial(undo, connection, lock_seconds=seconds))
        except Exception:  # what failed first is what is to be told
            connection.rollback()
            yield f"; {stays}"


def _take(
    conversion: Conversion,
    connection: Connection,
    step: ConversionStep,
    patience: Patience,
    watch: _Watch,
) -> None:
    kind = conversion.kind

    def act() -> None:
        left = watch.seconds()
        how = (
            kind.yielding(connection, lock_seconds=patience.lock_seconds, seconds=left)
            if step.transaction
            else kind.outside_transactions(connection, lock_seconds=None, seconds=left)
        )
        try:
            with how:
                for statement in step.statements:
                    kind.run(connection, statement)
        except DBAPIError:
            connection.rollback()
            watch.seconds()  # it may have been cancelled for that
            raise

    patience.run(kind, connection, act)
