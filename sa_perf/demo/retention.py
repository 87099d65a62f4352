"""Old flights are archived and deleted, and their space is given back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sqlalchemy import Engine, MetaData, func, select

from sa_perf import migration
from sa_perf.demo.models import Base, Flight
from sa_perf.errors import SpaceRefused
from sa_perf.retention import (
    BatchLimits,
    FileArchive,
    PolicyRun,
    RetentionPolicy,
    declare,
    plan,
    run,
)
from sa_perf.retention.audit import RunRecord, history
from sa_perf.retention.planner import PolicyPlan
from sa_perf.retention.space import SpaceResult, reclaim

__all__ = ["Purge", "purge"]

ARCHIVE = "archive"
#: Of the days that there are: younger flights stay.
_KEPT = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """What became of old flights.

    Attributes:
        days: age, counted back from the end of the data, from which flights are old.
        plan: what the dry run said.
        run: what the run did.
        audit: the row of the run in the database.
        files: of the archive.
        space: what was given back; None: it was refused.
        refusal: why.
    """

    days: int
    plan: PolicyPlan
    run: PolicyRun
    audit: RunRecord
    files: int
    space: SpaceResult | None
    refusal: str | None = None


def purge(
    engine: Engine,
    folder: Path,
    *,
    days: int,
    begin: Callable[[int], None] = lambda rows: None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Purge | None:
    """Archive flights that are older than most of the days, delete them, shrink the file.

    Alerts about them go first, to the archive too. None where there are too few days for old ones.

    Args:
        engine: of the demonstration's database.
        folder: the archive is a folder in it.
        days: that there are flights of.
        begin: called with the rows that the plan expects.
        progress: called with the rows that have gone so far.
    """
    kept = max(1, round(days * _KEPT))
    if kept >= days:
        return None
    end = _end_of_data(engine)
    models = _models(kept, FileArchive(folder / ARCHIVE))
    migration.upgrade(engine)
    (planned,) = plan(engine, models, at=end).policies
    if not planned.rows:
        return None
    begin(planned.rows)
    (done,) = run(
        engine, models, at=end, progress=lambda step: progress(step.rows_changed), actor="demo"
    ).policies
    space, refusal = _given_back(engine)
    return Purge(
        days=kept,
        plan=planned,
        run=done,
        audit=history(engine, limit=1)[0],
        files=sum(1 for _ in (folder / ARCHIVE).rglob("*.jsonl.gz")),
        space=space,
        refusal=refusal,
    )


def _models(days: int, archive: FileArchive) -> MetaData:
    """The tables with the policy; those of the models stay without, for the next call."""
    metadata = MetaData()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    policy = RetentionPolicy(
        days=days,
        by="scheduled_departure",
        action="archive",
        archive=archive,
        on_children="delete_first",
        # On a slow disk a batch waits for it longer than its rows take; few batches are quicker.
        batch=BatchLimits(min_rows=2_000),
    )
    declare(metadata.tables["flights"], policy)
    return metadata


def _end_of_data(engine: Engine) -> datetime:
    """The midnight behind the last flight; New York's clock is taken for UTC on both sides."""
    with engine.connect() as connection:
        last = connection.scalar(select(func.max(Flight.scheduled_departure)))
    assert last is not None  # noqa: S101  # there is at least a day of flights
    midnight = datetime(last.year, last.month, last.day) + timedelta(days=1)
    return midnight.replace(tzinfo=timezone.utc)


def _given_back(engine: Engine) -> tuple[SpaceResult | None, str | None]:
    try:
        (result,) = reclaim(engine)
    except SpaceRefused as error:
        return None, str(error)
    return (result, None) if result.refusal is None else (None, result.refusal)
