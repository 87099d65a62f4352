"""One reading of all resources, and what is wrong in it.

Frozen, with JSON forms: what a snapshot holds of resources.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sa_perf.finding import Finding
from sa_perf.resources.databases import DatabaseReading
from sa_perf.resources.forecast import Forecast
from sa_perf.resources.history import Chart
from sa_perf.resources.pool_results import PoolStats, over_commitment, pool_findings
from sa_perf.resources.results import HostReading
from sa_perf.resources.thresholds import Alert, Level

__all__ = ["ResourceForecast", "Resources", "Standing", "resource_findings"]

_DAY_SECONDS = 86_400
#: A forecast beyond this is shown, but is no finding.
_SOON_SECONDS = 14 * _DAY_SECONDS
#: What helps, by the kind of resource: its first word.
_REMEDIES = {
    "memory": "give the process or the container more memory, or find what grows",
    "open": "raise the limit of open files (ulimit -n, LimitNOFILE=), or find what is not closed",
    "disk": "delete or move what is not needed, e.g. by sa-perf retention run, or enlarge it",
    "inodes": "remove small files that are not needed; the file system has no room for more",
    "pool": "give connections back sooner (shorter transactions), or raise pool_size",
    "connections": "close connections that idle, put a pooler before the server, or let it open "
    "more (max_connections)",
    "table": "delete or archive old rows (sa-perf retention), or raise its limit",
    "database": "delete or archive old rows (sa-perf retention), or raise its limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a resource stands.

    Attributes:
        resource: kind and name.
        level: with its hysteresis.
        ratio: used of what there is.
        since: when the level began (UTC).
        detail: what is left, in words.
    """

    resource: str
    level: Level
    ratio: float
    since: datetime | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceForecast:
    """When a resource will be used up.

    Attributes:
        resource: kind and name.
        full: when its ratio passes 1.
    """

    resource: str
    full: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """One reading of all that the monitor watches.

    Attributes:
        host: of the last sample; None before the first.
        pools: as they are now.
        databases: last answers.
        standings: of each resource that has an end, by the last sample.
        alerts: the last 100, newest first.
        forecasts: where the data can say.
        history: the course of each resource, thinned for drawing.
        workers: processes like this one on the same servers; 1 where those are added up here.
    """

    host: HostReading | None = None
    pools: tuple[PoolStats, ...] = ()
    databases: tuple[DatabaseReading, ...] = ()
    standings: tuple[Standing, ...] = ()
    alerts: tuple[Alert, ...] = ()
    forecasts: tuple[ResourceForecast, ...] = ()
    history: tuple[Chart, ...] = ()
    workers: int = 1


def resource_findings(resources: Resources) -> list[Finding]:
    """What is short, what will be, leaks and exhausted pools; a finding each.

    Args:
        resources: as read.
    """
    found = [_short(one) for one in resources.standings if one.level != "ok"]
    found += [_soon(one) for one in resources.forecasts if one.full.in_seconds <= _SOON_SECONDS]
    found += pool_findings(resources.pools)
    for one in resources.databases:
        if one.sizes is not None and one.sizes.max_connections:
            pools = [pool for pool in resources.pools if pool.database == one.database]
            most = one.sizes.max_connections
            found += over_commitment(pools, workers=resources.workers, max_connections=most)
    return found


def _short(one: Standing) -> Finding:
    return Finding(
        kind="resource_short",
        severity="critical" if one.level == "critical" else "warning",
        message=f"{one.resource} is {100 * one.ratio:.1f} % used: {one.detail}",
        remedy=_remedy(one.resource),
        place=one.resource,
        evidence={"used_ratio": one.ratio},
    )


def _soon(one: ResourceForecast) -> Finding:
    full = one.full
    latest = "later" if full.latest_seconds is None else _days(full.latest_seconds)
    return Finding(
        kind="resource_full_soon",
        severity="critical" if full.in_seconds <= _DAY_SECONDS else "warning",
        message=(
            f"{one.resource} will be full in {_days(full.in_seconds)} if it grows on as it does "
            f"(between {_days(full.earliest_seconds)} and {latest})"
        ),
        remedy=_remedy(one.resource),
        place=one.resource,
        evidence={
            "in_seconds": full.in_seconds,
            "earliest_seconds": full.earliest_seconds,
            "latest_seconds": full.latest_seconds,
            "growth_per_day_ratio": full.per_day,
        },
    )


def _remedy(resource: str) -> str:
    # A snapshot of another version may know more kinds.
    return _REMEDIES.get(resource.partition(" ")[0], "make room, or raise its limit")


def _days(seconds: float) -> str:
    if seconds >= 2 * _DAY_SECONDS:
        return f"{seconds / _DAY_SECONDS:,.0f} days"
    return f"{seconds / 3_600:,.0f} hours"
