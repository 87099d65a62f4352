"""From an age to the moment that a column is compared with. Pure.

Rows below the moment have expired. Where a column has no zone, its values are wall-clock time in
the policy's zone; of an hour that comes twice when clocks go back, or that never was when they go
forward, no row counts as older than it may be, so some are kept an hour longer.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

from sqlalchemy import types as sqltypes

from sa_perf.retention.zones import zone_named

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.rules import RetentionPolicy

__all__ = ["cutoff_of", "moment_for", "plain_type", "wall_time", "written"]


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
    type_: TypeEngine[Any], cutoff: datetime, policy: RetentionPolicy, purging: Purging
) -> datetime | date | int:
    """The cut-off as a value of a column's type, below which every stored one is older.

    Args:
        type_: as the database stores it.
        cutoff: aware.
        policy: tells the zone of columns without one, and the unit of numbers.
        purging: the database's ways.
    """
    if isinstance(type_, sqltypes.DateTime) and type_.timezone and purging.keeps_zones:
        return cutoff
    zone = purging.zone_of(type_, policy.timezone)
    if isinstance(type_, sqltypes.DateTime):
        return wall_time(cutoff, zone)
    if isinstance(type_, sqltypes.Date):
        return wall_time(cutoff, zone).date()
    return _number(cutoff, policy)


def written(
    type_: TypeEngine[Any], moment: datetime, policy: RetentionPolicy, purging: Purging
) -> datetime | date | int:
    """A moment as a value of a column's type, as a clock shows it; for what a policy writes.

    Args:
        type_: as the database stores it.
        moment: aware.
        policy: tells the zone of columns without one, and the unit of numbers.
        purging: the database's ways.
    """
    if isinstance(type_, sqltypes.DateTime) and type_.timezone and purging.keeps_zones:
        return moment
    local = moment.astimezone(zone_named(purging.zone_of(type_, policy.timezone)))
    if isinstance(type_, sqltypes.DateTime):
        return local.replace(tzinfo=None, fold=0)
    if isinstance(type_, sqltypes.Date):
        return local.date()
    return _number(moment, policy)


def wall_time(moment: datetime, zone: str) -> datetime:
    """The wall-clock time below which every reading is certain to be before a moment."""
    where = zone_named(zone)
    local = moment.astimezone(where)
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    wall = local.replace(tzinfo=None, fold=0)
    if local.fold == 0 and first is not None and second is not None and first > second:
        # The same reading comes again: only what is older by the difference is old for certain.
        return wall - (first - second)
    before = (moment - timedelta(days=1)).astimezone(where).utcoffset()
    if before is not None and first is not None and before < first:
        # By a clock that was not put forward it is not that late yet.
        slow = wall - (first - before)
        if _never_was(slow, where):
            return slow
    return wall


def _never_was(reading: datetime, where: tzinfo) -> bool:
    moment = reading.replace(tzinfo=where).astimezone(timezone.utc)
    return moment.astimezone(where).replace(tzinfo=None, fold=0) != reading


def _number(moment: datetime, policy: RetentionPolicy) -> int:
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    return milliseconds // 1_000 if policy.epoch == "seconds" else milliseconds
