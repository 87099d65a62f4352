"""What is told of partitions: runs, status, rows moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sa_perf.dialects.partitioning import Part
from sa_perf.retention.partitions.intervals import Span

__all__ = ["DroppedPartition", "KeptPartition", "MovedRows", "PartitionRun", "PartitionStatus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedPartition:
    """A partition that is gone with its rows.

    Attributes:
        name: of it.
        lower: its first moment, without zone; None: without bound.
        upper: the moment behind its last.
        rows: counted where there was a hook, else by statistics; None: unknown.
        bytes: with its indexes, by the database; None: unknown.
    """

    name: str
    lower: datetime | None
    upper: datetime | None
    rows: float | None
    bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPartition:
    """A partition that was to go and was not dropped.

    Attributes:
        name: of it.
        reason: why.
        hindered: something was in the way, to be seen to; else a rule has it stay.
    """

    name: str
    reason: str
    hindered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRun:
    """What `maintain` did.

    Attributes:
        table: its name, with its schema.
        now: by the database's clock, or as given.
        created: names of new partitions, oldest first.
        dropped: what is gone.
        kept: what was to go and still is there.
        warnings: what is to be seen to, a sentence each.
        retries: how often the application went first.
    """

    table: str
    now: datetime
    created: tuple[str, ...]
    dropped: tuple[DroppedPartition, ...]
    kept: tuple[KeptPartition, ...]
    warnings: tuple[str, ...]
    retries: int

    @property
    def ok(self) -> bool:
        """Whether nothing is to be seen to."""
        return not self.warnings and not any(one.hindered for one in self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatus:
    """How a partitioned table stands.

    Attributes:
        table: its name, with its schema.
        managed_by: who else creates and drops its partitions, e.g. pg_partman; None: nobody.
        partitions: oldest first, the default last.
        default_rows: rows of the default partition, counted up to 100,000.
        missing: intervals up to those ahead that have no partition.
        expired: names of partitions that are old enough to be dropped.
        detached: names of tables that were detached and are still to be dropped.
        warnings: what is to be seen to, a sentence each.
    """

    table: str
    managed_by: str | None
    partitions: tuple[Part, ...]
    default_rows: int
    missing: tuple[Span, ...]
    expired: tuple[str, ...]
    detached: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is to be seen to."""
        return not self.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedRows:
    """Rows that were moved from the default partition.

    Attributes:
        partition: where to; it is new.
        rows: so many.
    """

    partition: str
    rows: int
