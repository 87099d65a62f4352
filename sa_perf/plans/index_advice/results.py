"""What is asked about indexes, and what the answer holds; frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from sa_perf.dialects import Plan
from sa_perf.dialects.index_trials.definition import IndexDefinition

__all__ = ["AdviceReport", "Gain", "IndexAdvice", "Unadvised", "WorkloadQuery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadQuery:
    """One statement of a workload.

    Attributes:
        fingerprint: id of its shape.
        statement: as it goes to the driver, or its shape, where ``?`` stands for a literal as well.
        calls: how often it ran, >= 1.
        mean_seconds: of one call; None where it was not measured.
        mean_rows: rows that a call returns or changes; None where that was not observed.
    """

    fingerprint: str
    statement: str
    calls: int = 1
    mean_seconds: float | None = None
    mean_rows: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What becomes of one statement by an index.

    Attributes:
        fingerprint: of the statement.
        statement: without literals.
        calls: in the workload.
        mean_seconds: as measured without the index; None where it was not.
        cost_before: in the planner's unit; None where that is not known.
        cost_after: likewise, with all the indexes that are advised.
        plan_before: without the index.
        plan_after: with it; None where it could not be tried.
        measured_before_seconds: median on a copy without the indexes; None where none was made.
        measured_after_seconds: likewise, with all the indexes that are advised.
    """

    fingerprint: str
    statement: str
    calls: int
    mean_seconds: float | None
    cost_before: float | None
    cost_after: float | None
    plan_before: Plan
    plan_after: Plan | None
    measured_before_seconds: float | None = None
    measured_after_seconds: float | None = None

    @property
    def measured_ratio(self) -> float | None:
        """How many times as long it takes without the index, as measured; None if unknown."""
        if self.measured_before_seconds is None or not self.measured_after_seconds:
            return None
        return self.measured_before_seconds / self.measured_after_seconds

    @property
    def speedup_ratio(self) -> float | None:
        """How many times as much it costs without the index; as measured, where it was."""
        if self.measured_ratio is not None:
            return self.measured_ratio
        if self.cost_before is None or not self.cost_after:
            return None
        return self.cost_before / self.cost_after

    @property
    def saved_seconds(self) -> float | None:
        """Estimated time that the workload's calls would not have taken; None if unknown."""
        if self.mean_seconds is None or self.speedup_ratio is None:
            return None
        return self.calls * self.mean_seconds * max(0.0, 1.0 - 1.0 / self.speedup_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAdvice:
    """An index that would pay.

    Attributes:
        definition: the index.
        create_sql: the statement that makes it, as the database takes it.
        index: SQLAlchemy's ``Index(...)``, to paste beside the model.
        alembic_upgrade: the operation that makes it, as lines of a migration.
        alembic_downgrade: the operation that drops it.
        gains: statements that it helps, most saved time first.
        touched: other statements that the planner would use it for as well; a copy shows whether
            one of them becomes slower.
        verified: the planner was seen to use it.
        unverified_because: why not, as a sentence; None where it is verified.
        size_bytes: estimate of what it takes on disk; None if unknown.
        writes: INSERTs, DELETEs and UPDATEs of its columns in the workload, each of which has one
            more index to keep.
        makes_redundant: existing indexes that begin it, and so are of no use beside it.
        notes: what to do or to know, as sentences.
        build_seconds: how long it took to make on a copy; None where none was made.
    """

    definition: IndexDefinition
    create_sql: str
    index: str
    alembic_upgrade: str
    alembic_downgrade: str
    gains: tuple[Gain, ...]
    verified: bool
    unverified_because: str | None = None
    touched: tuple[Gain, ...] = ()
    size_bytes: int | None = None
    writes: int = 0
    makes_redundant: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    build_seconds: float | None = None

    @property
    def saved_seconds(self) -> float | None:
        """Estimated time that it saves over the workload; None if nothing is known of it."""
        known = [one.saved_seconds for one in self.gains if one.saved_seconds is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unadvised:
    """A statement that gets no index, and why.

    Attributes:
        fingerprint: of the statement.
        statement: without literals, shortened.
        because: as a sentence.
    """

    fingerprint: str
    statement: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceReport:
    """What indexes would help a workload on one database.

    Attributes:
        database: ``Database.label`` of it.
        advice: most saved time first.
        unadvised: statements about which nothing can be said, or whose index would not pay.
        examined: statements that were looked at.
        skipped: statements beyond the limit, which were not.
    """

    database: str
    advice: tuple[IndexAdvice, ...] = ()
    unadvised: tuple[Unadvised, ...] = ()
    examined: int = 0
    skipped: int = 0
