"""Bring archived rows back to the tables that they came from.

Parents come before children, and within a table the batches that went last come first, so whatever
let the rows go lets them come back. Every transaction reads again what it has put in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from sqlalchemy import select
from sqlalchemy.schema import sort_tables_and_constraints

from sa_perf.dialects.purging import purging_of
from sa_perf.errors import RetentionError
from sa_perf.retention.archive.files import FileArchive
from sa_perf.retention.archive.restore_files import restore_files
from sa_perf.retention.archive.restore_tables import restore_tables
from sa_perf.retention.archive.returning import ArchivedBatch, Restoring
from sa_perf.retention.tables import batches, runs
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

    from sa_perf.retention.archive.tables import TableArchive

__all__ = ["RestoreResult", "restore"]

OnConflict: TypeAlias = Literal["error", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What was brought back.

    Attributes:
        rows: put into tables.
        skipped: that were there already.
        files: that were read; 0 for an archive of tables.
        tables: rows put in, by the name of the table that they were archived from.
    """

    rows: int
    skipped: int
    files: int
    tables: Mapping[str, int]


def restore(
    engine: Engine,
    *,
    archive: FileArchive | TableArchive,
    metadata: MetaData,
    run: str | None = None,
    policy: str | None = None,
    into: Mapping[str, Table] | None = None,
    on_conflict: OnConflict = "error",
    batch_rows: int = 2_000,
    progress: Callable[[int, int], None] | None = None,
) -> RestoreResult:
    """Put the rows of committed batches back.

    All files are summed and counted, and the tables looked at, before the first row is put in. Then
    each batch of rows is one transaction, which reads its rows again and compares them; an
    interrupted restore is done again with ``on_conflict="skip"``. Files stay; rows of an archive of
    tables are moved.

    Example:
        >>> restore(engine, archive=FileArchive("/srv/archive"), metadata=Base.metadata, run=run_id)

    Args:
        engine: synchronous, with sa_perf's audit tables and the tables to fill.
        archive: where the rows are; format and compression follow from the files' names.
        metadata: with the tables that the rows came from.
        run: whose batches; None: of every run.
        policy: whose batches; None: of every policy. One of both must be given.
        into: other tables to fill, by the full name of the table that rows came from; they have
            the same columns. Not for archives of tables.
        on_conflict: of rows whose key is there already: ``"error"``, or ``"skip"``: they stay as
            they are.
        batch_rows: of one transaction, 1 to 100,000.
        progress: called after each transaction with the rows done and the rows in all.

    Raises:
        RetentionError: arguments do not go together, or there is no such batch.
        ArchiveError: a file is missing or is not what was written, or rows do not come back as
            they went; transactions before that stay committed.
        DBAPIError: the database refused rows.
    """
    _require_words(run or policy, on_conflict, batch_rows)
    is_files = isinstance(archive, FileArchive)
    with engine.connect() as connection:
        found = _batches(connection, run, policy, of_files=is_files)
    ordered = _in_order(found, metadata)
    _require_known(into or {}, metadata, {batch.table for batch in found})
    restoring = Restoring(
        engine=engine,
        purging=purging_of(engine),
        batches=ordered,
        metadata=metadata,
        into=into or {},
        skip=on_conflict == "skip",
        batch_rows=batch_rows,
        progress=progress or (lambda done, total: None),
    )
    if isinstance(archive, FileArchive):
        restore_files(restoring, archive)
    else:
        restore_tables(restoring, archive)
    return RestoreResult(
        rows=sum(restoring.put_in.values()),
        skipped=restoring.skipped,
        files=len(found) if is_files else 0,
        tables=dict(restoring.put_in),
    )


def _require_words(named: str | None, on_conflict: str, batch_rows: int) -> None:
    if named is None:
        raise RetentionError("say what to restore: run=, policy= or both")
    if on_conflict not in ("error", "skip"):
        raise RetentionError(f"on_conflict is {on_conflict!r}; it is 'error' or 'skip'")
    if not 1 <= batch_rows <= 100_000:
        raise RetentionError(f"batch_rows is {batch_rows!r}; allowed is 1 to 100,000")


def _require_known(into: Mapping[str, Table], metadata: MetaData, archived: set[str]) -> None:
    unknown = sorted(map(str, into.keys() - metadata.tables.keys()))
    if unknown:
        raise RetentionError(
            f"into names {unknown}, which are no tables of the MetaData; rows were archived from "
            f"{sorted(archived)}"
        )


def _batches(
    connection: Connection, run: str | None, policy: str | None, *, of_files: bool
) -> list[ArchivedBatch]:
    """Committed batches that archived rows, those that went last first.

    Raises:
        RetentionError: there is none.
    """
    statement = (
        select(
            runs.c.run,
            runs.c.policy,
            batches.c.table_name.label("table"),
            (batches.c.table_name != runs.c.table_name).label("is_child"),
            batches.c.rows_archived.label("rows"),
            batches.c.archive_file.label("file"),
            batches.c.archive_sha256.label("sha256"),
        )
        .join(runs, runs.c.id == batches.c.run_id)
        .where(batches.c.rows_archived > 0)
        .where(
            batches.c.archive_file.is_not(None) if of_files else batches.c.archive_file.is_(None)
        )
        .order_by(batches.c.id.desc())
    )
    if run is not None:
        statement = statement.where(runs.c.run == run)
    if policy is not None:
        statement = statement.where(runs.c.policy == policy)
    rows = connection.execute(statement, execution_options=UNRECORDED).all()
    if not rows:
        raise RetentionError(
            f"the audit has no batch archived to {'files' if of_files else 'tables'} with "
            f"run {run!r} and policy {policy!r}"
        )
    return [ArchivedBatch(**row._mapping) for row in rows]


def _in_order(found: list[ArchivedBatch], metadata: MetaData) -> list[ArchivedBatch]:
    """Batches of parents before those of children, else as they are.

    Raises:
        RetentionError: a table is not in the MetaData.
    """
    ordered = sort_tables_and_constraints(  # type: ignore[no-untyped-call]  # SQLAlchemy's own
        metadata.tables.values()
    )
    place = {table.fullname: at for at, (table, _) in enumerate(ordered) if table is not None}
    unknown = sorted({batch.table for batch in found} - place.keys())
    if unknown:
        raise RetentionError(
            f"the MetaData has no tables {unknown}, which rows were archived from; give the one "
            "that the policies were declared in"
        )
    return sorted(found, key=lambda batch: place[batch.table])
