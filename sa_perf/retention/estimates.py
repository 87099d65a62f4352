"""How many rows a policy goes over and takes: by statistics, or counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select
from sqlalchemy.exc import SQLAlchemyError

from sa_perf.dialects.row_estimates import row_estimates_for
from sa_perf.errors import SaPerfError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.retention.ranges import Walk
    from sa_perf.retention.steps import Step

__all__ = ["COUNTED_ROWS", "counted_rows", "expected_rows", "matching", "rows_ahead", "whole_rows"]

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
    stmt = _rows(step).where(matching(step))
    found = _estimated(connection, step, stmt)
    if found is not None:
        return found, "estimated"
    counted = counted_rows(connection, step, stmt)
    return counted, "at least" if counted >= COUNTED_ROWS else "exact"


def whole_rows(connection: Connection, step: Step, told: float | None) -> int:
    """Rows of a policy's table.

    Args:
        connection: in no transaction.
        step: the policy.
        told: by the database's statistics; None: all are counted.
    """
    if told is not None and told >= _FEW:
        return round(told)
    with step.purging.reading(connection):
        stmt = select(func.count()).select_from(step.target.table)
        return int(connection.execute(stmt).scalar_one())


def rows_ahead(connection: Connection, step: Step, walks: Sequence[Walk], whole: int) -> int:
    """Rows that walks will go over, whatever they change.

    Args:
        connection: in no transaction.
        step: the policy.
        walks: its ways through the table.
        whole: rows of the table.
    """
    rows = 0
    for walk in walks:
        if walk.within is None:
            rows += whole
            continue
        stmt = _rows(step).where(walk.within)
        found = _estimated(connection, step, stmt)
        rows += counted_rows(connection, step, stmt) if found is None else found
    return rows


def _rows(step: Step) -> Select[Any]:
    return select(literal_column("1")).select_from(step.target.table)


def _estimated(connection: Connection, step: Step, stmt: Select[Any]) -> int | None:
    """Rows of a statement by statistics; None where these cannot tell, or only coarsely."""
    with suppress(SQLAlchemyError, SaPerfError), step.purging.reading(connection):
        if not step.purging.estimates_well(connection, step.target.table):
            return None
        estimates = row_estimates_for(connection.dialect)
        found = estimates.rows(connection.execute, stmt.subquery("counted"), None)
        return round(found) if found is not None and found >= _FEW else None
    return None


def counted_rows(connection: Connection, step: Step, stmt: Select[Any]) -> int:
    """Rows of a statement, counted up to `COUNTED_ROWS`."""
    some = stmt.limit(COUNTED_ROWS).subquery()
    with step.purging.reading(connection):
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
