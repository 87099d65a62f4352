"""Snapshots of several processes as one: sums, bounds, no order."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta, timezone
from types import UnionType
from typing import Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

import sa_perf
from sa_perf import Snapshot
from sa_perf.dialects import PlanNode
from sa_perf.errors import InvalidSnapshot
from sa_perf.finding import Finding
from sa_perf.histogram import BUCKETS, Histogram
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.merging import MAX_SLOW
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.snapshot import Database, Health

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)

# Snapshots that have much in common: few names, few moments, durations as clocks give them

histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 1 << 40), max_size=5).map(
    lambda counts: Histogram.from_items(counts.items())
)
whole = st.integers(0, 1 << 45)
scalars = {
    int: st.integers(0, 1 << 40),
    float: whole.map(lambda nanoseconds: nanoseconds / 1e9),
    str: st.sampled_from(["a", "b", "c"]),
    bool: st.booleans(),
    type(None): st.none(),
    datetime: st.integers(0, 3).map(lambda minutes: NOON + timedelta(minutes=minutes)),
    Histogram: histograms,
}


@functools.cache
def of(hint: object) -> st.SearchStrategy:
    """What a type hint of a snapshot's field allows."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in scalars:
        return scalars[hint]
    if origin in {Union, UnionType}:
        return st.one_of([of(one) for one in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(of(arguments[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(scalars[str], scalars[int], max_size=2)
    assert is_dataclass(hint), hint
    hints = typing.get_type_hints(hint)
    parts = {one.name: of(hints[one.name]) for one in fields(hint) if one.name != "children"}
    if hint is PlanNode:
        parts["children"] = st.just(())
    if hint is QueryStats:
        # Their sum is exact only where they are whole.
        parts["sum_squares"] = whole.map(float)
    return st.builds(hint, **parts)


several = st.deferred(lambda: st.lists(of(Snapshot), min_size=3, max_size=4))


def merging_is_commutative(snapshots) -> None:
    assert Snapshot.merge(snapshots) == Snapshot.merge(snapshots[::-1])


def merging_is_associative(snapshots) -> None:
    first, second, *others = snapshots
    whole = Snapshot.merge(snapshots)
    assert Snapshot.merge([Snapshot.merge([first, second]), *others]) == whole
    assert Snapshot.merge([first, Snapshot.merge([second, *others])]) == whole


def a_merged_snapshot_survives_its_json_form(snapshots) -> None:
    merged = Snapshot.merge(snapshots)
    assert Snapshot.from_json(merged.to_json()) == merged


def nothing_that_adds_up_is_lost(snapshots) -> None:
    merged = Snapshot.merge(snapshots)
    for name in ("calls", "errors"):
        assert getattr(merged, name) == sum(getattr(one, name) for one in snapshots)
    histogram = Histogram()
    for snapshot in snapshots:
        for query in snapshot.queries:
            histogram.merge(query.histogram)
    together = Histogram()
    for query in merged.queries:
        together.merge(query.histogram)
    assert together == histogram
    runs = [sum(scope.runs for scope in one.scopes) for one in (merged, *snapshots)]
    assert runs[0] == sum(runs[1:])
    assert merged.processes == sum(one.processes for one in snapshots)


LAWS = pytest.mark.parametrize(
    "law",
    [
        merging_is_commutative,
        merging_is_associative,
        a_merged_snapshot_survives_its_json_form,
        nothing_that_adds_up_is_lost,
    ],
    ids=lambda law: law.__name__,
)
drawn = settings(suppress_health_check=list(HealthCheck), deadline=None)


@LAWS
@settings(drawn, max_examples=15)
@given(several)
def test_merging_keeps_the_law(law, snapshots) -> None:
    law(snapshots)


@pytest.mark.exhaustive
@LAWS
@settings(drawn, max_examples=100)
@given(several)
def test_merging_keeps_the_law_for_many(law, snapshots) -> None:
    law(snapshots)


# By hand


def query(**values: object) -> QueryStats:
    given = {
        "fingerprint": "f1", "statement": "SELECT ?", "database": "d", "kind": "select",
        "calls": 1, "errors": 0, "rows": 1, "total_seconds": 0.1, "min_seconds": 0.1,
        "max_seconds": 0.1, "fetch_seconds": 0.0, "sum_squares": 0.01, "executions": 1,
        "parameter_sets": 1, "first_seen": NOON, "last_seen": NOON, "histogram": Histogram(),
        **values,
    }  # fmt: skip
    return QueryStats(**given)


def process(pid: int, **values: object) -> Snapshot:
    given = {"taken_at": NOON, "started_at": NOON, "host": "web", "slow_seconds": 0.2, **values}
    return Snapshot(pid=pid, **given)


def test_one_snapshot_stays_as_it_is() -> None:
    one = process(1, queries=(query(),))
    assert Snapshot.merge([one]) is one


def test_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no snapshot to merge; give one of each process"):
        Snapshot.merge([])


def test_percentiles_and_deviation_are_those_of_all_executions() -> None:
    durations = [[1_000_000 * n for n in range(1, 50)], [7_000_000 * n for n in range(1, 200)]]
    parts = []
    for own in [*durations, durations[0] + durations[1]]:
        histogram = Histogram()
        for one in own:
            histogram.add(one)
        stats = query(
            calls=len(own), histogram=histogram, total_seconds=sum(own) / 1e9,
            min_seconds=min(own) / 1e9, max_seconds=max(own) / 1e9,
            sum_squares=sum(one * one for one in own) / 1e18,
        )  # fmt: skip
        parts.append(stats)
    merged = Snapshot.merge([process(1, queries=parts[:1]), process(2, queries=parts[1:2])])
    (found,) = merged.queries
    for name in ("calls", "total_seconds", "min_seconds", "max_seconds", "mean_seconds",
                 "p50_seconds", "p95_seconds", "p99_seconds"):  # fmt: skip
        assert getattr(found, name) == getattr(parts[2], name), name
    assert found.stddev_seconds == pytest.approx(parts[2].stddev_seconds)


def test_a_process_that_only_failed_to_fetch_has_no_say_in_the_shortest_duration() -> None:
    failed = query(calls=0, errors=1, min_seconds=0.0, first_seen=NOON - timedelta(days=9))
    (found,) = Snapshot.merge(
        [process(1, queries=(failed,)), process(2, queries=(query(),))]
    ).queries
    assert (found.min_seconds, found.first_seen, found.errors) == (0.1, NOON, 1)


def test_the_same_statement_on_two_databases_stays_two() -> None:
    merged = Snapshot.merge(
        [process(1, queries=(query(),)), process(2, queries=(query(database="e"),))]
    )
    assert [one.database for one in merged.queries] == ["d", "e"]


def test_what_tells_of_one_process_tells_of_all() -> None:
    first = process(12, service="shop", health=Health(faults=1, last_fault="a"))
    second = process(
        7, service="shop", host="web-2", started_at=NOON - timedelta(hours=1), slow_seconds=0.1,
        taken_at=NOON + timedelta(hours=1), health=Health(faults=2, write_failures=1),
    )  # fmt: skip
    merged = Snapshot.merge([first, second])
    assert (merged.service, merged.host, merged.pid) == ("shop", "web, web-2", 7)
    assert merged.taken_at - merged.started_at == timedelta(hours=2)
    assert (merged.slow_seconds, merged.processes) == (0.1, 2)
    assert merged.health == Health(faults=3, last_fault="a", write_failures=1)


def test_connection_errors_of_a_database_add_up() -> None:
    database = Database(
        label="d", dialect="x", driver="y", capture="dialect_events", connection_errors=2
    )
    merged = Snapshot.merge([process(1, databases=(database,)), process(2, databases=(database,))])
    assert merged.databases == (replace(database, connection_errors=4),)


def test_the_newest_slow_executions_of_all_are_kept_up_to_the_bound() -> None:
    def slow(second: int) -> SlowExecution:
        return SlowExecution(
            fingerprint="f1", statement="SELECT ?", database="d", duration_seconds=1.0,
            ended_at=NOON + timedelta(seconds=second), fetch_seconds=0.0, rows=1, call_site=None,
        )  # fmt: skip

    even, odd = range(0, 2 * MAX_SLOW, 2), range(1, 2 * MAX_SLOW, 2)
    merged = Snapshot.merge(
        process(pid, slow=tuple(map(slow, own))) for pid, own in enumerate([even, odd], 1)
    )
    expected = [slow(second) for second in range(2 * MAX_SLOW - 1, MAX_SLOW - 1, -1)]
    assert list(merged.slow) == expected


def test_a_finding_of_several_processes_stands_there_once() -> None:
    finding = Finding(kind="disk", severity="critical", message="full", remedy="more")
    other = replace(finding, severity="warning", message="half full")
    merged = Snapshot.merge([process(1, findings=(other, finding)), process(2, findings=(other,))])
    assert merged.findings == (finding, other)


def test_numbers_beyond_all_bounds_are_refused() -> None:
    huge = query(total_seconds=1.7e308)
    parts = [process(pid, queries=(huge,)) for pid in (1, 2)]
    with pytest.raises(InvalidSnapshot, match="cannot be added up"):
        Snapshot.merge(parts)
    full = query(histogram=Histogram.from_items([(7, (1 << 63) - 1)]))
    parts = [process(pid, queries=(full,)) for pid in (1, 2)]
    with pytest.raises(InvalidSnapshot, match="bucket 7"):
        Snapshot.merge(parts)


# What applications leave


def used(path: str, times: int) -> Snapshot:
    """The reading of an application that ran some statements so often."""
    engine = create_engine(f"sqlite:///{path}")
    perf = sa_perf.install(engine, slow_seconds=0, service="shop", big_table_rows=0)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (a INTEGER, b TEXT)"))
    for _ in range(times):
        with sa_perf.scope("GET /"), engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES (1, 'x')"))
            for _ in range(5):
                connection.execute(text("SELECT a FROM t WHERE b = 'x'")).all()
    perf.wait_for_plans(30)
    found = perf.snapshot()
    perf.uninstall()
    engine.dispose()
    assert found.health.faults == 0
    return found


def test_what_two_applications_did_to_one_database_adds_up(tmp_path) -> None:
    parts = [used(str(tmp_path / "shop.db"), times) for times in (2, 3)]
    merged = Snapshot.merge(parts)
    (selects,) = [one for one in merged.queries if one.kind == "select"]
    assert (selects.calls, selects.histogram.total()) == (25, 25)
    assert selects.rows == 5 * (1 + 2 + 3 + 4 + 5)
    (scope,) = merged.scopes
    assert (scope.runs, scope.max_statements) == (5, 6)
    assert len(merged.databases) == 1
    assert merged.transactions.commits == sum(one.transactions.commits for one in parts) == 7
    (repeat,) = merged.repeats
    assert (repeat.occurrences, repeat.calls, repeat.max_calls) == (5, 25, 5)
    assert [one.kind for one in merged.findings].count("same_select") == 1
    assert {one.fingerprint for one in merged.plans} >= {selects.fingerprint}
    assert len(merged.slow) == sum(len(one.slow) for one in parts)
    assert merged.of_database(merged.databases[0].label) == merged
