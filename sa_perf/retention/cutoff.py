"""From an age to the moment that a column is compared with. Pure.

Rows below the moment have expired. Where a column has no zone, its values are wall-clock time in
the policy's zone; of an hour that comes twice when clocks go back, no row counts as older than it
may be, so some are kept an hour longer.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import types as sqltypes

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from sa_perf.retention.policy import RetentionPolicy

__all__ = ["cutoff_of", "moment_for", "plain_type", "wall_time"]


def cutoff_of(policy: RetentionPolicy, now: datetime) -> datetime:
    """The moment before which rows have expired; aware, in UTC.

    Raises:
        ValueError: ``now`` is naive.
    """
    if now.tzinfo is None:
        raise ValueError(f"{now!r} has no time zone")
    return now.astimezone(timezone.utc) - policy.age


def plain_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """A column's type below all of an application's decorators: what the database keeps."""
    while isinstance(type_, sqltypes.TypeDecorator):
        type_ = type_.impl_instance
    return type_


def moment_for(
    type_: TypeEngine[Any], cutoff: datetime, policy: RetentionPolicy, *, keeps_zones: bool
) -> datetime | date | int:
    """The cut-off as a value of a column's type.

    Args:
        type_: from `plain_type`.
        cutoff: aware.
        policy: tells the zone of columns without one, and the unit of numbers.
        keeps_zones: the database keeps the zone of such a column, which then wants an aware value.
    """
    if isinstance(type_, sqltypes.DateTime):
        if type_.timezone and keeps_zones:
            return cutoff
        return wall_time(cutoff, policy.timezone)
    if isinstance(type_, sqltypes.Date):
        return wall_time(cutoff, policy.timezone).date()
    seconds = (cutoff - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    return seconds // 1_000 if policy.epoch == "seconds" else seconds


def wall_time(moment: datetime, zone: str) -> datetime:
    """The wall-clock time below which every reading is certain to be before a moment."""
    local = moment.astimezone(ZoneInfo(zone))
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    wall = local.replace(tzinfo=None, fold=0)
    if local.fold == 0 and first is not None and second is not None and first > second:
        # The same reading comes again: only what is older by the difference is old for certain.
        return wall - (first - second)
    return wall
