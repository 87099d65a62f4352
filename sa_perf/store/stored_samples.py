"""The course of resources within a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sqlalchemy import func, select

from sa_perf.resources.history import Chart
from sa_perf.resources.readings import Resources, Standing
from sa_perf.store.tables import MINUTE, samples

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.resources.thresholds import Level

__all__ = ["read_samples"]

#: As many as a chart shows.
_MOST_POINTS = 120


def read_samples(connection: Connection, begin: int, end: int) -> Resources | None:
    """How much of each resource was used, by the process that used most; None: nothing is known.

    Args:
        connection: of the store.
        begin: seconds since 1970 UTC.
        end: before it; each chart has 120 steps at most.
    """
    known = samples.c.taken_at.between(begin, end - 1)
    first, last = connection.execute(
        select(func.min(samples.c.taken_at), func.max(samples.c.taken_at)).where(known)
    ).one()
    if first is None:
        return None
    step = max(MINUTE, -(-(last + 1 - first) // _MOST_POINTS))
    when = samples.c.taken_at - samples.c.taken_at % step
    most = func.max(samples.c.used_ratio)
    course: dict[str, list[tuple[float, float]]] = {}
    for name, at, ratio in connection.execute(
        select(samples.c.resource, when, most)
        .where(known)
        .group_by(samples.c.resource, when)
        .order_by(samples.c.resource, when)
    ):
        course.setdefault(name, []).append((float(at), float(ratio)))
    charts = tuple(
        Chart(
            resource=name,
            at=tuple(at for at, _ in points),
            ratios=tuple(ratio for _, ratio in points),
        )
        for name, points in course.items()
    )
    return Resources(standings=_last(connection, last), history=charts)


def _last(connection: Connection, last: int) -> tuple[Standing, ...]:
    """Of each resource what it was at the end, where it was worst."""
    lately = samples.c.taken_at.between(last - 2 * MINUTE, last)
    newest: dict[tuple[str, int], Standing] = {}
    for row in connection.execute(select(samples).where(lately).order_by(samples.c.taken_at)):
        newest[row.resource, row.process_id] = Standing(
            resource=row.resource,
            level=cast("Level", row.level),
            ratio=float(row.used_ratio),
            since=None,
            detail=row.detail,
        )
    worst: dict[str, Standing] = {}
    for (name, _), one in newest.items():
        if name not in worst or one.ratio > worst[name].ratio:
            worst[name] = one
    return tuple(worst[name] for name in sorted(worst))
