"""A big table in use becomes a partitioned one; no row is copied.

The table itself becomes the first partition, of all that was until a boundary in the future. Read
the script of `convert_plan` before `convert` runs it. PostgreSQL only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from sa_perf.dialects.partitioning import Piece
from sa_perf.dialects.partitioning.conversion import Conversion, conversion_for
from sa_perf.errors import PartitionError, PolicyBusy
from sa_perf.retention.partitions.declaration import Declared, PartitionPlan, declared_partition
from sa_perf.retention.partitions.intervals import Span
from sa_perf.retention.partitions.patience import Patience, lock_name, refuse_asynchronous

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["ConversionPlan", "ConversionStep", "convert", "convert_plan"]

_MARGIN = timedelta(hours=1)
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
        lines = [f"SET lock_timeout = '{round(lock_seconds * 1_000)}ms';"]
        for number, step in enumerate(self.steps, start=1):
            lines += ["", f"-- {number}. {step.title}"]
            body = [f"{statement};" for statement in step.statements]
            lines += ["BEGIN;", *body, "COMMIT;"] if step.transaction else body
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

    What fails is taken back. What was killed is begun again by a second call; until then the table
    may refuse rows behind the boundary (a constraint says so by name). Statements that wait for
    the exchange of the tables go on with the new one. It takes about as long as reading the table
    twice.

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
            moment.
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
            _take_all(plan, conversion, connection, planned, patience)
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
        at = plan.wall(now or conversion.kind.purging.utc_now(connection))
        last = conversion.youngest(connection)
        if last is not None and not isinstance(last, datetime):
            last = datetime(last.year, last.month, last.day)
        youngest = None if last is None else plan.wall(last) if last.tzinfo else last
        end = _boundary(plan, at, youngest) if boundary is None else plan.wall(boundary)
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


def _take_all(
    plan: PartitionPlan,
    conversion: Conversion,
    connection: Connection,
    planned: ConversionPlan,
    patience: Patience,
) -> None:
    try:
        for step in planned.steps:
            _take(conversion, connection, step, patience)
    except BaseException as error:
        connection.rollback()
        with suppress(Exception):  # what failed first is what is to be told
            patience.run(
                conversion.kind,
                connection,
                lambda: conversion.undo(connection, lock_seconds=patience.lock_seconds),
            )
        if isinstance(error, IntegrityError):
            raise PartitionError(
                f"{plan.table.fullname!r} has rows without a moment, or of {planned.boundary} and "
                "later; mend or delete them"
            ) from error
        raise


def _take(
    conversion: Conversion, connection: Connection, step: ConversionStep, patience: Patience
) -> None:
    kind, seconds = conversion.kind, patience.lock_seconds

    def act() -> None:
        if step.transaction:
            with kind.yielding(connection, lock_seconds=seconds):
                for statement in step.statements:
                    kind.run(connection, statement)
        else:
            with kind.outside_transactions(connection, lock_seconds=seconds):
                for statement in step.statements:
                    kind.run(connection, statement)

    patience.run(kind, connection, act)
