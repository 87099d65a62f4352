"""How a table's partitions stand; rows that fell beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import literal_column, select, text

from sa_perf.dialects.partitioning import Part, Partitioning, Piece
from sa_perf.dialects.synchronous import refuse_asynchronous
from sa_perf.errors import PartitionError
from sa_perf.retention.partitions.declaration import Declared, PartitionPlan, declared_partition
from sa_perf.retention.partitions.intervals import Span, gaps
from sa_perf.retention.partitions.maintenance import expired, in_doubt, missing
from sa_perf.retention.partitions.patience import Patience, alone
from sa_perf.retention.partitions.results import MovedRows, PartitionStatus
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

__all__ = ["attach", "move_from_default", "status"]

_COUNTED = 100_000


def status(
    engine: Engine, declaration: Declared, *, now: datetime | None = None
) -> PartitionStatus:
    """How a table's partitions stand; changes nothing, also where somebody else manages them.

    Rows and bytes are the database's estimates; the default partition is counted up to 100,000.

    Args:
        engine: of the database.
        declaration: from `partition`, or what it was made for.
        now: aware; None: by the database's clock.

    Raises:
        PartitionError: the database has no partitions, or the table is not partitioned as declared.
    """
    plan = declared_partition(declaration)
    refuse_asynchronous(engine)
    kind = plan.partitioning(engine.dialect)
    with kind.connection(engine) as connection:
        with connection.begin():
            manager = kind.manager(connection)
        if manager is None:
            kind.check(connection)
        with connection.begin():
            parts = kind.parts(connection)
            at = now or kind.purging.utc_now(connection)
            default_rows = kind.rows_in_default(connection, parts, _COUNTED)
            detached = [one.table for one in kind.detached(connection)] if manager is None else []
            doubtful = kind.doubtful(connection) if manager is None else []
    lacking = missing(plan, kind, parts, at)
    old = tuple(part.name for part in expired(plan, kind, parts, at))
    found = PartitionStatus(
        table=plan.table.fullname, managed_by=manager, partitions=tuple(parts),
        default_rows=default_rows, missing=tuple(lacking), expired=old, detached=tuple(detached),
        warnings=tuple(in_doubt(doubtful)),
    )  # fmt: skip
    lacks_default = plan.default and not any(part.is_default for part in parts)
    return replace(found, warnings=(*_warnings(found, lacks_default), *found.warnings))


def move_from_default(
    engine: Engine,
    declaration: Declared,
    *,
    max_rows: int = 1_000_000,
    lock_seconds: float = 2.0,
    tries: int = 8,
    sleep: Callable[[float], None] = time.sleep,
) -> list[MovedRows]:
    """Move rows out of the default partition, each interval into a new partition of its own.

    Each interval is one transaction (MySQL, MariaDB: one ALTER TABLE) under a lock on the default
    partition: writers of such rows wait while they are copied, and no row is lost or seen twice.

    Args:
        engine: of the database.
        declaration: from `partition`, or what it was made for.
        max_rows: of the default partition; with more, nothing is done.
        lock_seconds: each wait for a lock.
        tries: for each interval.
        sleep: pauses between tries.

    Returns:
        The new partitions, oldest first; none where the default partition is empty.

    Raises:
        PartitionError: there are more rows; a foreign key or trigger would see them deleted; or
            as for `maintain`.
        PolicyBusy: another process is at it.
    """
    plan = declared_partition(declaration)
    patience = Patience(lock_seconds=lock_seconds, tries=tries, sleep=sleep)
    moved: list[MovedRows] = []
    with alone(engine, plan) as (kind, connection):
        with kind.yielding(connection, lock_seconds=lock_seconds):
            parts = kind.parts(connection)
            rows = kind.rows_in_default(connection, parts, max_rows + 1)
        if rows > max_rows:
            raise PartitionError(
                f"the default partition of {plan.table.fullname!r} has more than {max_rows:,} "
                "rows, and writers would wait while they are moved; say max_rows if they may"
            )
        while True:
            with kind.yielding(connection, lock_seconds=lock_seconds):
                parts = kind.parts(connection)
                piece = _oldest_piece(plan, kind, connection, parts)
            if piece is None:
                return moved

            def move(piece: Piece = piece, parts: list[Part] = parts) -> tuple[str, int]:
                with kind.yielding(connection, lock_seconds=lock_seconds):
                    return kind.move_from_default(connection, piece, parts)

            name, count = patience.run(kind, connection, move)
            moved.append(MovedRows(partition=name, rows=count))


def attach(
    engine: Engine,
    declaration: Declared,
    *,
    table: Table | str,
    lower: datetime,
    upper: datetime,
    lock_seconds: float = 2.0,
    tries: int = 8,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Make a partition of a table that is there, with the rows that it has.

    PostgreSQL: its rows are looked through under a lock that lets everybody read and write; only
    then it is attached. MySQL, MariaDB: it takes the place of an empty partition with this end.

    Args:
        engine: of the database.
        declaration: from `partition`, or what it was made for.
        table: with the same columns; in the parent's schema.
        lower: first moment that it may hold; aware.
        upper: the moment behind the last; aware.
        lock_seconds: each wait for a lock.
        tries: for each change.
        sleep: pauses between tries.

    Raises:
        PartitionError: the bounds overlap those of another partition; or as for `maintain`.
        PolicyBusy: another process is at it.
    """
    plan = declared_partition(declaration)
    patience = Patience(lock_seconds=lock_seconds, tries=tries, sleep=sleep)
    if lower >= upper:
        raise PartitionError(f"lower={lower!r} is not before upper={upper!r}")
    name = table if isinstance(table, str) else table.name
    with alone(engine, plan) as (kind, connection):
        span = Span(plan.wall(lower, kind), plan.wall(upper, kind))
        (piece,) = plan.pieces([span])
        patience.run(
            kind,
            connection,
            lambda: kind.attach(connection, name, piece, lock_seconds=lock_seconds),
        )


def _oldest_piece(
    plan: PartitionPlan, kind: Partitioning, connection: Connection, parts: list[Part]
) -> Piece | None:
    """The interval of the default partition's oldest row, as far as nothing else holds it."""
    default = next((part for part in parts if part.is_default), None)
    if default is None:
        return None
    by: Any = literal_column(kind.column_sql, plan.column.type)
    oldest = (
        (select(by).select_from(text(kind.default_source(default))).where(by.is_not(None)))
        .order_by(by)
        .limit(1)
    )
    moment = connection.execute(oldest, execution_options=UNRECORDED).scalar()
    if moment is None:
        return None
    if not isinstance(moment, datetime):  # a day
        moment = datetime(moment.year, moment.month, moment.day)
    at = moment.replace(tzinfo=None) if moment.tzinfo is None else plan.wall(moment, kind)
    there = [Span(part.lower, part.upper) for part in parts if not part.is_default]
    left = gaps(plan.every.spans(at, at), there)
    holding = [one for one in left if one.lower is None or one.lower <= at]
    return plan.pieces(holding[-1:])[0]


def _warnings(found: PartitionStatus, lacks_default: bool) -> list[str]:
    """What `maintain` or a person is to see to; not what the table's other manager does."""
    warnings = []
    if found.default_rows:
        least = "at least " if found.default_rows == _COUNTED else ""
        mend = "; move_from_default() gives them partitions of their own"
        warnings.append(
            f"{least}{found.default_rows:,} rows fell into the default partition"
            + (mend if found.managed_by is None else f"; {found.managed_by} is to move them")
        )
    if found.managed_by is not None:
        return warnings
    if found.missing:
        warnings.append(
            f"{len(found.missing)} intervals up to those ahead have no partition; maintain()"
        )
    if lacks_default:
        warnings.append("the default partition that is declared is missing; maintain() makes it")
    pending = [part.name for part in found.partitions if part.pending]
    if pending:
        warnings.append(
            f"detaching was begun and not ended: {', '.join(pending)}; maintain() ends what "
            "another run of it began, ALTER TABLE ... DETACH PARTITION ... FINALIZE anywhere"
        )
    if found.detached:
        names = ", ".join(found.detached)
        warnings.append(f"detached and not dropped: {names}; maintain() goes on with it")
    return warnings
