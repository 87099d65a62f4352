"""Readings of several processes as one: associative and commutative."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from sa_perf.histogram import Histogram
from sa_perf.resources.pool_results import Holder, PoolStats
from sa_perf.resources.readings import Resources

__all__ = ["merged_resources"]

_MOST_ALERTS = 100
T = TypeVar("T")


def merged_resources(readings: Iterable[Resources | None]) -> Resources | None:
    """One of several; None where none of them is one.

    Pools add up. Of the host, a database and a course the newest stays, of a level and a forecast
    the worst, and the last 100 alerts of all.
    """
    known = [one for one in readings if one is not None]
    if len(known) < 2:
        return known[0] if known else None
    hosts = [one.host for one in known if one.host is not None]
    alerts = {repr(alert): alert for one in known for alert in one.alerts}.values()
    newest = sorted(alerts, key=lambda one: (one.since, repr(one)), reverse=True)
    return Resources(
        host=max(hosts, key=lambda one: (one.at, repr(one)), default=None),
        pools=_merged_pools(pool for one in known for pool in one.pools),
        databases=_chosen(
            (each for one in known for each in one.databases),
            lambda one: one.database,
            lambda one: (one.at.isoformat() if one.at else "", repr(one)),
        ),
        standings=_chosen(
            (each for one in known for each in one.standings),
            lambda one: one.resource,
            lambda one: (one.ratio, repr(one)),
        ),
        alerts=tuple(newest[:_MOST_ALERTS]),
        forecasts=_chosen(
            (each for one in known for each in one.forecasts),
            lambda one: one.resource,
            lambda one: (-one.full.in_seconds, repr(one)),
        ),
        history=_chosen(
            (each for one in known for each in one.history),
            lambda one: one.resource,
            lambda one: (one.at[-1:], repr(one)),
        ),
    )


def _chosen(
    given: Iterable[T], key: Callable[[T], str], rank: Callable[[T], tuple[object, ...]]
) -> tuple[T, ...]:
    """Of each key the one with the highest rank, by key."""
    best: dict[str, T] = {}
    for one in given:
        name = key(one)
        if name not in best or rank(one) > rank(best[name]):
            best[name] = one
    return tuple(best[name] for name in sorted(best))


def _merged_pools(pools: Iterable[PoolStats]) -> tuple[PoolStats, ...]:
    groups: dict[tuple[str, str], list[PoolStats]] = {}
    for one in pools:
        groups.setdefault((one.database, one.kind), []).append(one)
    return tuple(_together(groups[key]) for key in sorted(groups))


def _together(parts: list[PoolStats]) -> PoolStats:
    if len(parts) == 1:
        return parts[0]
    summed = (
        "checked_out", "overflow", "peak_checked_out", "checkouts", "timeouts", "failures",
        "opened", "invalidations", "leaked",
    )  # fmt: skip
    ages = [one.oldest_seconds for one in parts if one.oldest_seconds is not None]
    leaks = sorted(
        (leak for one in parts for leak in one.leaks),
        key=lambda one: (-one.held_seconds, repr(one)),
    )
    return replace(
        parts[0],
        **{name: sum(getattr(one, name) for one in parts) for name in summed},
        size=_sum(one.size for one in parts),
        limit=_sum(one.limit for one in parts),
        idle=_sum(one.idle for one in parts),
        oldest_seconds=max(ages, default=None),
        mean_age_seconds=None,  # of how many connections is not known
        waits=_histogram(one.waits for one in parts),
        openings=_histogram(one.openings for one in parts),
        leaks=tuple(leaks),
        timeout_held_by=_holders(holder for one in parts for holder in one.timeout_held_by),
    )


def _sum(numbers: Iterable[int | None]) -> int | None:
    """None where one of them is."""
    whole = 0
    for one in numbers:
        if one is None:
            return None
        whole += one
    return whole


def _histogram(parts: Iterable[Histogram]) -> Histogram:
    whole = Histogram()
    for one in parts:
        whole.merge(one)
    return whole


def _holders(holders: Iterable[Holder]) -> tuple[Holder, ...]:
    groups: dict[Hashable, list[Holder]] = {}
    for one in holders:
        groups.setdefault(one.call_site, []).append(one)
    found = [
        Holder(
            call_site=parts[0].call_site,
            connections=sum(one.connections for one in parts),
            longest_seconds=max(one.longest_seconds for one in parts),
        )
        for parts in groups.values()
    ]
    return tuple(sorted(found, key=lambda one: (-one.connections, repr(one))))
