from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from stored_world import LABEL, NOON, StoredWorld, at, histogram_of

from sa_perf.queries.aggregate import OTHER, QueryStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.snapshot import Snapshot
from sa_perf.store.comparing import compare
from sa_perf.store.reading import StoreReader
from sa_perf.store.tables import HOUR, MINUTE


def query(name: str, milliseconds: Sequence[float], **given: Any) -> QueryStats:
    seconds = [one / 1e3 for one in milliseconds]
    values: dict[str, Any] = {
        "fingerprint": name, "statement": f"SELECT {name}", "database": LABEL, "kind": "select",
        "calls": len(seconds), "errors": 0, "rows": 2 * len(seconds),
        "total_seconds": sum(seconds), "min_seconds": min(seconds), "max_seconds": max(seconds),
        "fetch_seconds": 0.0, "sum_squares": sum(one * one for one in seconds),
        "executions": len(seconds), "parameter_sets": len(seconds),
        "first_seen": at(NOON), "last_seen": at(NOON), "histogram": histogram_of(milliseconds),
    }  # fmt: skip
    return QueryStats(**{**values, **given})


def window(*queries: QueryStats, hours: float = 1, runs: int = 0) -> Snapshot:
    scope = ScopeStats(
        name="GET /", runs=runs, statements=runs, max_statements=1, rows=0, database_seconds=0.0,
        max_database_seconds=0.0, total_seconds=0.0,
    )  # fmt: skip
    return Snapshot(
        taken_at=at(NOON + hours * HOUR), started_at=at(NOON), host="web-1", pid=1,
        slow_seconds=0.2, queries=queries, scopes=(scope,) if runs else (),
    )  # fmt: skip


def around(mean: float, calls: int, seed: int) -> list[float]:
    """Durations as latencies are: many short ones and a long tail."""
    draw = random.Random(seed)
    return [mean * draw.lognormvariate(0, 0.5) for _ in range(calls)]


def names(changes: Sequence[Any]) -> list[str]:
    return [one.fingerprint for one in changes]


def test_what_got_slower_is_ranked_by_the_time_it_costs_an_hour() -> None:
    before = window(
        query("often", around(1, 2_000, 1)), query("rare", around(100, 50, 2)),
        query("same", around(5, 500, 3)), query("better", around(40, 300, 4)),
    )  # fmt: skip
    after = window(
        query("often", around(3, 4_000, 5)), query("rare", around(150, 50, 6)),
        query("same", around(5, 500, 7)), query("better", around(4, 300, 8)),
        hours=2,
    )  # fmt: skip
    found = compare(before, after)
    assert (names(found.slower), names(found.faster)) == (["often", "rare"], ["better"])
    assert (found.tested, found.too_few, found.regressed) == (4, 0, True)
    often = found.slower[0]
    assert often.before is not None
    assert often.after is not None
    lost = 2_000 * (after.queries[0].mean_seconds - before.queries[0].mean_seconds)
    assert often.lost_seconds_per_hour == pytest.approx(lost)
    assert (often.before.calls_per_hour, often.after.calls_per_hour) == (2_000, 2_000)
    assert often.after.seconds_per_hour == pytest.approx(after.queries[0].total_seconds / 2)
    assert often.after.p95_seconds == after.queries[0].p95_seconds
    assert often.after.rows_per_call == 2
    assert often.mean_ratio == pytest.approx(3, rel=0.1)
    assert often.p_value is not None
    assert often.p_value < 1e-100
    assert often.slower_probability == pytest.approx(0.94, abs=0.02)
    assert found.faster[0].lost_seconds_per_hour < 0
    assert (found.before.hours, found.after.hours) == (1, 2)
    assert found.after.calls == 4_850


def test_one_long_wait_is_no_regression() -> None:
    calm = around(5, 400, 1)
    found = compare(window(query("a", calm)), window(query("a", [*around(5, 399, 2), 60_000])))
    assert (found.slower, found.faster, found.tested) == ((), (), 1)


def test_a_difference_that_nobody_would_notice_is_none() -> None:
    found = compare(window(query("a", [10.0] * 5_000)), window(query("a", [10.7] * 5_000)))
    assert found.slower == ()
    found = compare(window(query("a", [10.0] * 5_000)), window(query("a", [11.5] * 5_000)))
    assert names(found.slower) == ["a"]


def test_nothing_is_said_of_few_executions() -> None:
    found = compare(window(query("a", [1.0] * 19)), window(query("a", [900.0] * 19)))
    assert (found.slower, found.tested, found.too_few) == ((), 0, 1)
    found = compare(window(query("a", [1.0] * 20)), window(query("a", [900.0] * 20)))
    assert (names(found.slower), found.too_few) == (["a"], 0)


def test_among_many_statements_of_equal_load_hardly_one_is_called_different() -> None:
    found = 0
    for seed in range(20):
        sides = [
            window(
                *(query(f"q{number}", around(5, 60, 9_999 * seed + first + number))
                  for number in range(50))
            )
            for first in (0, 1_000)
        ]  # fmt: skip
        comparison = compare(*sides)
        assert comparison.tested == 50
        found += len(comparison.slower) + len(comparison.faster)
    # Of 1,000 statements 10 would be, were each tested for itself.
    assert found <= 1


def test_statements_that_came_and_went_are_named() -> None:
    before = window(query("a", [1.0] * 30), query("gone", [5.0]), query("cheap", [1.0]))
    after = window(query("a", [1.0] * 30), query("new", [7.0] * 3), query("newer", [9.0] * 3))
    found = compare(before, after)
    assert (names(found.new), names(found.vanished)) == (["newer", "new"], ["gone", "cheap"])
    assert found.new[0].before is None
    assert found.vanished[0].after is None
    assert (found.new[0].mean_ratio, found.new[0].calls_ratio) == (0.0, 0.0)
    assert found.regressed is False


def test_statements_run_more_often_than_the_traffic_explains_are_named() -> None:
    before = window(query("a", [1.0] * 100), query("lazy", [1.0] * 100), runs=100)
    after = window(query("a", [1.0] * 300), query("lazy", [1.0] * 3_000), runs=300)
    found = compare(before, after)
    assert found.traffic_ratio == 3
    assert names(found.more_calls) == ["lazy"]
    assert found.more_calls[0].calls_ratio == 30
    assert found.regressed


def test_without_scopes_the_middle_of_all_statements_tells_the_traffic() -> None:
    calls = {"a": (100, 310), "b": (50, 150), "c": (30, 90), "lazy": (40, 4_000), "d": (25, 70)}
    before = window(*(query(name, [1.0] * each[0]) for name, each in calls.items()))
    after = window(*(query(name, [1.0] * each[1]) for name, each in calls.items()), hours=2)
    found = compare(before, after)
    assert found.traffic_ratio == 1.5
    assert names(found.more_calls) == ["lazy"]
    assert compare(window(), window()).traffic_ratio is None


def test_one_statement_on_two_databases_is_two() -> None:
    before = window(query("a", [1.0] * 50), query("a", [1.0] * 50, database="other"))
    after = window(query("a", [1.0] * 50), query("a", [9.0] * 50, database="other"))
    assert [one.database for one in compare(before, after).slower] == ["other"]


def test_what_was_evicted_and_what_only_failed_is_not_compared() -> None:
    failed = replace(query("b", [1.0]), calls=0, errors=1)
    before = window(query(OTHER, [1.0] * 50), failed)
    after = window(query(OTHER, [90.0] * 50), query("c", [1.0]))
    found = compare(before, after)
    assert (found.slower, found.vanished, names(found.new)) == ((), (), ["c"])


def test_two_windows_of_a_store_are_compared(sqlite_database) -> None:
    world = StoredWorld(sqlite_database.engine())
    world.process()
    orders, customer = world.statement("orders"), world.statement("customer")
    for minute in range(1, 61):
        world.ran(orders, NOON - minute * MINUTE, around(20 if minute <= 30 else 5, 4, minute))
        world.ran(customer, NOON - minute * MINUTE, around(2, 4, -minute))
    reader = StoreReader(world.engine)
    half = at(NOON - 30 * MINUTE)
    found = compare(reader.window(at(NOON - HOUR), half), reader.window(half, at(NOON)))
    assert names(found.slower) == ["ordersxxxxxxxxxx"]
    assert (found.before.hours, found.after.hours) == (0.5, 0.5)
    assert (found.faster, found.more_calls, found.new, found.vanished) == ((), (), (), ())
