"""Which rows a killed run left in another database, by the audit."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import func, select

from sa_perf.retention.tables import batches, runs
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Doubtful", "doubtful_runs"]

#: Table, run and number of a transaction that archived rows.
Transaction: TypeAlias = "tuple[str, str, int]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """Runs of a policy that may have left rows in the archive which they did not delete here.

    Attributes:
        policy: its name.
        runs: their ids.
        committed: what they did delete here.
    """

    policy: str
    runs: tuple[str, ...] = ()
    committed: AbstractSet[Transaction] = frozenset()


def doubtful_runs(connection: Connection, policy: str, *, besides: str | None = None) -> Doubtful:
    """The runs of a policy since the last one that came to its end, and that one.

    Each run puts right what those before it left, so older ones are in order.

    Args:
        connection: of the audit, in a transaction.
        policy: its name.
        besides: the run under way.
    """
    last = (
        select(func.max(runs.c.id)).where(runs.c.policy == policy, runs.c.outcome == "done")
    ).scalar_subquery()
    recent = [runs.c.policy == policy, runs.c.id >= func.coalesce(last, 0)]
    if besides is not None:
        recent.append(runs.c.run != besides)
    found = connection.execute(select(runs.c.run).where(*recent), execution_options=UNRECORDED)
    statement = (
        select(batches.c.table_name, runs.c.run, batches.c.number)
        .join(runs, runs.c.id == batches.c.run_id)
        .where(*recent, batches.c.rows_archived > 0)
    )
    done = connection.execute(statement, execution_options=UNRECORDED)
    return Doubtful(
        policy=policy,
        runs=tuple(found.scalars()),
        committed=frozenset((table, run, number) for table, run, number in done),
    )
