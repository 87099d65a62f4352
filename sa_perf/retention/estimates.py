"""How many rows a policy is about to take: by statistics, else counted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select
from sqlalchemy.exc import SQLAlchemyError

from sa_perf.dialects.row_estimates import row_estimates_for
from sa_perf.errors import SaPerfError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.retention.steps import Step

__all__ = ["COUNTED_ROWS", "counted_rows", "expected_rows", "matching"]

#: Rows that are counted at most, where a database has no estimate.
COUNTED_ROWS = 1_000_000
#: Estimates below are so coarse that counting is better, and as cheap.
_FEW = 1_000


def matching(step: Step) -> ColumnElement[bool]:
    """What rows of a policy meet, whatever way leads to them; holds by key are left out."""
    walks = [step.walk("key")]
    if step.target.policy.nulls == "expire":
        walks.append(step.walk("timeless"))
    return or_(*(and_(*step.matching(walk)) for walk in walks))


def expected_rows(connection: Connection, step: Step) -> tuple[int, str]:
    """Rows that a policy would take now, and how that is known.

    Args:
        connection: in no transaction.
        step: the policy.

    Returns:
        the number, and ``"exact"``, ``"estimated"`` or ``"at least"``.
    """
    stmt: Select[Any] = (
        select(literal_column("1")).select_from(step.target.table).where(matching(step))
    )
    with suppress(SQLAlchemyError, SaPerfError), step.purging.reading(connection):
        estimates = row_estimates_for(connection.dialect)
        found = estimates.rows(connection.execute, stmt.subquery("expired"), None)
        if found is not None and found >= _FEW:
            return round(found), "estimated"
    counted = counted_rows(connection, step, stmt)
    return counted, "at least" if counted >= COUNTED_ROWS else "exact"


def counted_rows(connection: Connection, step: Step, stmt: Select[Any]) -> int:
    """Rows of a statement, counted up to `COUNTED_ROWS`."""
    some = stmt.limit(COUNTED_ROWS).subquery()
    with step.purging.reading(connection):
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
