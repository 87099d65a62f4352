"""What the policies did that this process has run, for its snapshots."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.retention.results import PolicyRun

__all__ = ["PolicyStats", "clear", "note", "policy_stats"]

#: Policies that are remembered; more than an application has.
_MOST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStats:
    """Sums over the runs of one policy in this process.

    Attributes:
        policy: its name.
        table: its table.
        runs: that ended, whatever their outcome.
        failures: of them, that failed.
        batches: transactions that changed rows.
        rows_changed: deleted, or overwritten.
        rows_archived: that stand in the archive.
        rows_refused: that expired but were kept by a trigger, a rule or a new child.
        archive_bytes: written.
        total_seconds: that the runs took, pauses included.
        longest_batch_seconds: of all transactions.
        last_outcome: of the last run: ``done``, ``limited``, ``stopped``, ``failed``, ``busy``.
        last_ended_at: aware, in UTC.
    """

    policy: str
    table: str
    runs: int = 0
    failures: int = 0
    batches: int = 0
    rows_changed: int = 0
    rows_archived: int = 0
    rows_refused: int = 0
    archive_bytes: int = 0
    total_seconds: float = 0.0
    longest_batch_seconds: float = 0.0
    last_outcome: str
    last_ended_at: datetime


_lock = threading.Lock()
_known: dict[str, PolicyStats] = {}


def note(run: PolicyRun, ended_at: datetime) -> None:
    """Add a policy's run to its sums."""
    with _lock:
        before = _known.get(run.policy) or PolicyStats(
            # Names of reflected or quoted tables are no plain texts.
            policy=str(run.policy),
            table=str(run.table),
            last_outcome=run.outcome,
            last_ended_at=ended_at,
        )
        if run.policy not in _known and len(_known) >= _MOST:
            return
        _known[run.policy] = replace(
            before,
            runs=before.runs + 1,
            failures=before.failures + (run.outcome == "failed"),
            batches=before.batches + run.batches,
            rows_changed=before.rows_changed + run.rows_changed,
            rows_archived=before.rows_archived + run.rows_archived,
            rows_refused=before.rows_refused + run.rows_refused,
            archive_bytes=before.archive_bytes + run.archive_bytes,
            total_seconds=before.total_seconds + run.seconds,
            longest_batch_seconds=max(before.longest_batch_seconds, run.longest_batch_seconds),
            last_outcome=run.outcome,
            last_ended_at=ended_at,
        )


def policy_stats() -> tuple[PolicyStats, ...]:
    """The sums of each policy, by name."""
    with _lock:
        return tuple(_known[name] for name in sorted(_known))


def clear() -> None:
    """Forget them."""
    with _lock:
        _known.clear()
