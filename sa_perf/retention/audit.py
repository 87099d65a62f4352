"""What runs did: written while they do it, read afterwards.

The row of a batch is written in the batch's own transaction, so that it stands if and only if the
batch does. Rows of batches are never changed; a run's row is closed once, at its end.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, insert, select, update

from sa_perf.dialects.purging import purging_of
from sa_perf.retention.lease import EVERY_POLICY
from sa_perf.retention.tables import batches, leases, runs
from sa_perf.tables import require_tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sa_perf.dialects.purging import Purging

__all__ = [
    "BatchRecord",
    "LeaseRecord",
    "RunRecord",
    "add_batch",
    "batches_of",
    "close_abandoned",
    "close_run",
    "forget",
    "history",
    "last_rate",
    "open_run",
    "status",
]  # fmt: skip

#: Batches whose rows are deleted in one transaction.
_FORGOTTEN_AT_ONCE = 1_000
#: Rows of the audit, the last ones, by which it is told how fast a policy's runs are.
_RATED = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One policy's part of a run, as the audit has it; fields are those of the table.

    Its sums are those of its batches. Of a run whose runner did not come back ``rows_refused`` is
    0, for only runs know that, and where a table refers to itself, ``rows_changed`` has the rows
    that were cleared as children.
    """

    id: int
    run: str
    policy: str
    table_name: str
    action: str
    cutoff: datetime
    predicate: str
    archive: str | None
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    error: str | None
    batches: int
    rows_scanned: int
    rows_archived: int
    rows_changed: int
    rows_refused: int
    children_changed: int
    archive_bytes: int
    clock_difference_seconds: float
    host: str
    pid: int
    actor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """What a transaction of a run did in one table; fields are those of the database's table."""

    id: int
    run_id: int
    number: int
    table_name: str
    after_key: str | None
    upto_key: str | None
    rows_scanned: int
    rows_archived: int
    rows_changed: int
    target_rows: int
    seconds: float
    pause_seconds: float
    archive_file: str | None
    archive_sha256: str | None
    archive_bytes: int
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """Who runs a policy now, or ran it last; fields are those of the table."""

    policy: str
    token: int
    owner: str | None
    run: str | None
    acquired_at: datetime | None
    expires_at: datetime | None
    position: str | None


def open_run(connection: Connection, **values: Any) -> int:  # noqa: ANN401  # columns of the table
    """Write that a policy is being run; its id."""
    done = connection.execute(
        insert(runs).values(
            outcome="running", host=platform.node() or "localhost", pid=os.getpid(), **values
        )
    )
    key = done.inserted_primary_key
    assert key is not None  # noqa: S101  # one row was inserted
    return int(key[0])


def add_batch(connection: Connection, **values: Any) -> None:  # noqa: ANN401
    """Write what a batch did, within its transaction."""
    connection.execute(insert(batches).values(**values))


def close_run(connection: Connection, run_id: int, **values: Any) -> None:  # noqa: ANN401
    """Write how a policy's run ended; a run that is closed already stays as it is."""
    connection.execute(
        update(runs).where(runs.c.id == run_id, runs.c.outcome == "running").values(**values)
    )


def close_abandoned(connection: Connection, policy: str, now: datetime) -> None:
    """Close the runs of a policy whose runner did not come back; its lease is ours now.

    Their sums are those of their batches, which do not say how many rows were refused: that stays
    0, and the next run meets these rows again.
    """
    found = connection.execute(
        select(runs.c.id, runs.c.table_name).where(
            runs.c.policy == policy, runs.c.outcome == "running"
        )
    ).all()
    for run_id, table in found:
        close_run(
            connection,
            run_id,
            outcome="failed",
            finished_at=now,
            error="the runner did not come back",
            **_sums(connection, run_id, table),
        )


def _sums(connection: Connection, run_id: int, table: str) -> dict[str, int]:
    own = batches.c.table_name == table
    columns: dict[str, Any] = {
        "batches": func.max(batches.c.number),
        "rows_scanned": func.sum(case((own, batches.c.rows_scanned), else_=0)),
        "rows_archived": func.sum(batches.c.rows_archived),
        "rows_changed": func.sum(case((own, batches.c.rows_changed), else_=0)),
        "children_changed": func.sum(case((own, 0), else_=batches.c.rows_changed)),
        "archive_bytes": func.sum(batches.c.archive_bytes),
    }
    row = connection.execute(select(*columns.values()).where(batches.c.run_id == run_id)).one()
    return {name: int(value or 0) for name, value in zip(columns, row, strict=True)}


def last_rate(connection: Connection, policy: str) -> float | None:
    """Rows a second that a policy's last runs went over, its children and pauses included.

    None: it never ran, or went over none.
    """
    own = runs.c.table_name == batches.c.table_name
    went_over = case((own, batches.c.rows_scanned), else_=0)
    recent = (
        select(
            batches.c.run_id,
            batches.c.number,
            batches.c.seconds,
            went_over.label("rows"),
            # All transactions of a batch have its pause; the first on the policy's rows counts.
            case((went_over > 0, batches.c.pause_seconds), else_=0.0).label("pause"),
        )
        .join(runs, runs.c.id == batches.c.run_id)
        .where(runs.c.policy == policy)
        .order_by(batches.c.id.desc())
        .limit(_RATED)
        .subquery()
    )
    # Where a database deletes children along, several rows are about one transaction.
    each = (
        select(
            func.sum(recent.c.rows).label("rows"),
            (func.max(recent.c.seconds) + func.max(recent.c.pause)).label("took"),
        )
        .group_by(recent.c.run_id, recent.c.number)
        .subquery()
    )
    row = connection.execute(select(func.sum(each.c.rows), func.sum(each.c.took))).one()
    return None if not row[0] or not row[1] else float(row[0]) / float(row[1])


def history(engine: Engine, *, policy: str | None = None, limit: int = 50) -> list[RunRecord]:
    """What runs did, newest first.

    Raises:
        MissingTables: the database lacks sa_perf's tables.
    """
    stmt = select(runs).order_by(runs.c.id.desc()).limit(limit)
    if policy is not None:
        stmt = stmt.where(runs.c.policy == policy)
    return [RunRecord(**row._mapping) for row in _read(engine, stmt)]


def batches_of(engine: Engine, run_id: int) -> list[BatchRecord]:
    """The batches of one policy's run, in their order."""
    stmt = select(batches).where(batches.c.run_id == run_id).order_by(batches.c.id)
    return [BatchRecord(**row._mapping) for row in _read(engine, stmt)]


def status(engine: Engine) -> list[LeaseRecord]:
    """Who runs which policy, by policy."""
    stmt = select(leases).where(leases.c.policy != EVERY_POLICY).order_by(leases.c.policy)
    return [LeaseRecord(**row._mapping) for row in _read(engine, stmt)]


def forget(engine: Engine, *, before: datetime, archived: bool = False) -> int:
    """Delete the audit of runs that ended before a moment, in short transactions; how many runs.

    Args:
        engine: of the database.
        before: aware.
        archived: those too that archived rows: `restore` cannot bring these back any more, for it
            goes by the audit. Their files stay where they are.
    """
    ended = (runs.c.finished_at < before) & (runs.c.outcome != "running")
    if not archived:
        ended &= runs.c.rows_archived == 0
    gone = 0
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        require_tables(connection)
        while True:
            with purging.reading(connection):
                run = connection.scalar(select(runs.c.id).where(ended).order_by(runs.c.id).limit(1))
            if run is None:
                return gone
            _forget_batches(connection, purging, run)
            with purging.transaction(connection, lock_seconds=5):
                connection.execute(delete(runs).where(runs.c.id == run))
            gone += 1


def _forget_batches(connection: Connection, purging: Purging, run: int) -> None:
    while True:
        with purging.reading(connection):
            some = connection.scalars(
                select(batches.c.id).where(batches.c.run_id == run).limit(_FORGOTTEN_AT_ONCE)
            ).all()
        if not some:
            return
        with purging.transaction(connection, lock_seconds=5):
            connection.execute(delete(batches).where(batches.c.id.in_(some)))


def _read(engine: Engine, stmt: Any) -> Sequence[Any]:  # noqa: ANN401  # a Select of any columns
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        require_tables(connection)
        with purging.reading(connection):
            found: Sequence[Any] = connection.execute(stmt).all()
    return found
