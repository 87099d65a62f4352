"""What a run gives: results, progress while it works, hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

__all__ = ["Hooks", "Outcome", "PolicyRun", "Progress", "RetentionRun"]

#: done: the rows that the policy takes were gone through; what was refused and what is held may be
#: left. limited: by rows, deadline, window or, of a tree, rounds; stopped: on request; failed: by
#: an error; busy: another runner has the policy.
Outcome: TypeAlias = Literal["done", "limited", "stopped", "failed", "busy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a policy's run is, after a batch.

    Attributes:
        policy: its name.
        batches: done so far.
        rows_scanned: so far.
        rows_changed: deleted, or overwritten, so far.
        rows_expected: rows that the plan expects to be changed; None: unknown.
        batch_rows: that the next batch will scan.
        batch_seconds: that the last one took.
        waiting: why it waits, if it does.
    """

    policy: str
    batches: int
    rows_scanned: int
    rows_changed: int
    rows_expected: int | None
    batch_rows: int
    batch_seconds: float
    waiting: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRun:
    """What a run did for one policy.

    Attributes:
        policy: its name.
        table: its table.
        action: of the policy.
        cutoff: rows before it had expired; aware, in UTC.
        outcome: how it ended.
        reason: why it ended so, in words; None where it is done.
        batches: transactions that were committed, also those of children and those that found
            nothing to change.
        rows_scanned: rows that the walks went over, by the sizes of their ranges.
        rows_changed: deleted, or overwritten.
        rows_archived: that stand in the archive, those of children too.
        rows_refused: that expired but that a trigger, a rule or a new child kept.
        children_changed: rows of referring tables that were deleted or detached.
        archive_bytes: written.
        longest_batch_seconds: of the transactions.
        seconds: in all, pauses included.
    """

    policy: str
    table: str
    action: str
    cutoff: datetime
    outcome: Outcome
    reason: str | None = None
    batches: int = 0
    rows_scanned: int = 0
    rows_changed: int = 0
    rows_archived: int = 0
    rows_refused: int = 0
    children_changed: int = 0
    archive_bytes: int = 0
    longest_batch_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRun:
    """What a run did.

    Attributes:
        id: by which the audit and archives know it.
        started_at: by the database's clock.
        seconds: that it took.
        clock_difference_seconds: how far this machine's clock is ahead of the database's.
        policies: in the order in which they ran.
    """

    id: str
    started_at: datetime
    seconds: float
    clock_difference_seconds: float
    policies: tuple[PolicyRun, ...]

    @property
    def ok(self) -> bool:
        """Whether no policy failed or was busy."""
        return all(one.outcome not in ("failed", "busy") for one in self.policies)

    @property
    def rows_changed(self) -> int:
        """Of all policies."""
        return sum(one.rows_changed for one in self.policies)

    def to_dict(self) -> dict[str, Any]:
        """The run as plain values; moments are ISO texts."""
        found = asdict(self)
        found["started_at"] = self.started_at.isoformat()
        for one in found["policies"]:
            one["cutoff"] = one["cutoff"].isoformat()
        return {**found, "policies": list(found["policies"]), "ok": self.ok}


def _nothing(*_: Any) -> None:  # noqa: ANN401
    """What happens where nobody asks for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Functions that are called around a run, in its thread.

    One that raises ends the policy it was called for, as failed; one around the whole run ends it.

    Attributes:
        before_run: with the run's id.
        after_run: with the `RetentionRun`.
        before_policy: with the policy's name.
        after_policy: with the `PolicyRun`.
        before_batch: with the policy's name and the number of the batch, outside its transaction.
        after_batch: with the `Progress`, after its transaction.
    """

    before_run: Callable[[str], None] = field(default=_nothing)
    after_run: Callable[[RetentionRun], None] = field(default=_nothing)
    before_policy: Callable[[str], None] = field(default=_nothing)
    after_policy: Callable[[PolicyRun], None] = field(default=_nothing)
    before_batch: Callable[[str, int], None] = field(default=_nothing)
    after_batch: Callable[[Progress], None] = field(default=_nothing)
