"""What the policies did that this process has run, for its snapshots."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from math import fsum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.retention.results import PolicyRun

__all__ = ["PolicyStats", "clear", "merged_policies", "note", "policy_stats"]

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


def merged_policies(stats: Iterable[PolicyStats]) -> tuple[PolicyStats, ...]:
    """Readings of several processes as one for each policy and table, by name.

    Associative and commutative; of runs that ended at the same moment the greatest outcome counts.
    """
    groups: dict[tuple[str, str], list[PolicyStats]] = {}
    for one in stats:
        groups.setdefault((one.policy, one.table), []).append(one)
    return tuple(
        parts[0] if len(parts) == 1 else _merged(parts) for _, parts in sorted(groups.items())
    )


def _merged(parts: list[PolicyStats]) -> PolicyStats:
    return replace(
        max(parts, key=lambda one: (one.last_ended_at, one.last_outcome)),
        runs=sum(one.runs for one in parts),
        failures=sum(one.failures for one in parts),
        batches=sum(one.batches for one in parts),
        rows_changed=sum(one.rows_changed for one in parts),
        rows_archived=sum(one.rows_archived for one in parts),
        rows_refused=sum(one.rows_refused for one in parts),
        archive_bytes=sum(one.archive_bytes for one in parts),
        # As whole nanoseconds, whose sum has no order.
        total_seconds=round(fsum(round(one.total_seconds, 9) for one in parts), 9),
        longest_batch_seconds=max(one.longest_batch_seconds for one in parts),
    )
