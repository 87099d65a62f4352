from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import permutations

from sa_perf.call_site import CallSite
from sa_perf.histogram import Histogram
from sa_perf.resources.databases import DatabaseReading
from sa_perf.resources.forecast import Forecast
from sa_perf.resources.history import Chart
from sa_perf.resources.merging import merged_resources
from sa_perf.resources.pool_results import Holder, Leak, PoolStats
from sa_perf.resources.readings import (
    ResourceForecast,
    Resources,
    Standing,
    resource_findings,
)
from sa_perf.resources.results import HostReading, Memory, Process
from sa_perf.resources.thresholds import Alert

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
LINE = CallSite(file="shop.py", line=7, function="stock")


def reading(number: int, *, limit: int | None = 15) -> Resources:
    """What process ``number`` has seen."""
    at = START + timedelta(seconds=number)
    waits = Histogram()
    waits.add(1_000_000 * number)
    full = Forecast(
        limit=1.0, per_day=0.1, in_seconds=1_000.0 * number, earliest_seconds=1.0,
        latest_seconds=None, samples=20, span_seconds=9.0,
    )  # fmt: skip
    return Resources(
        host=HostReading(at=at, memory=Memory(rss_bytes=number), process=Process(pid=number)),
        pools=(
            PoolStats(
                database="shop", kind="QueuePool", size=5, limit=limit, checked_out=number,
                checkouts=10, timeouts=1, oldest_seconds=float(number), mean_age_seconds=1.0,
                waits=waits,
                leaks=(Leak(database="shop", held_seconds=number, taken_at=at, call_site=LINE),),
                timeout_held_by=(
                    Holder(call_site=LINE, connections=number, longest_seconds=number),
                ),
            ),
        ),
        databases=(DatabaseReading(database="shop", at=at),),
        standings=(
            Standing(resource="memory", level="ok", ratio=number / 10, since=at, detail=""),
        ),
        alerts=(
            Alert(
                resource="memory", level="warning", previous="ok", value_ratio=0.9,
                limit_ratio=0.85, since=at, message=str(number),
            ),
        ),
        forecasts=(ResourceForecast(resource="disk data", full=full),),
        history=(Chart(resource="memory", at=(float(number),), ratios=(0.5,)),),
        workers=8,
    )  # fmt: skip


def test_pools_add_up_and_of_the_rest_the_newest_or_the_worst_stays() -> None:
    merged = merged_resources([reading(1), reading(3), None, reading(2)])
    (pool,) = merged.pools
    assert (pool.size, pool.limit, pool.checked_out, pool.checkouts) == (15, 45, 6, 30)
    assert (pool.timeouts, pool.oldest_seconds, pool.mean_age_seconds) == (3, 3.0, None)
    assert pool.waits.total() == 3
    assert [leak.held_seconds for leak in pool.leaks] == [3, 2, 1]
    assert pool.timeout_held_by == (Holder(call_site=LINE, connections=6, longest_seconds=3),)
    assert merged.host.process.pid == 3
    assert merged.databases[0].at == START + timedelta(seconds=3)
    assert merged.standings[0].ratio == 0.3
    assert [alert.message for alert in merged.alerts] == ["3", "2", "1"]
    assert merged.forecasts[0].full.in_seconds == 1_000
    assert merged.history[0].at == (3.0,)


def test_the_order_and_the_grouping_do_not_matter() -> None:
    parts = [reading(1), reading(2), reading(3, limit=None)]
    whole = merged_resources(parts)
    for one, two, three in permutations(parts):
        assert merged_resources([merged_resources([one, two]), three]) == whole
        assert merged_resources([one, merged_resources([two, three])]) == whole
    assert whole.pools[0].limit is None


def test_one_reading_stays_as_it_is() -> None:
    assert merged_resources([None, None]) is None
    assert merged_resources([None, reading(1)]) == reading(1)


def test_processes_that_were_added_up_are_not_multiplied_again() -> None:
    merged = merged_resources([reading(1), reading(2)])
    assert merged.workers == 1
    kinds = [one.kind for one in resource_findings(merged)]
    assert "pool_over_commitment" not in kinds
