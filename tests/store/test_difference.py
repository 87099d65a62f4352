"""What was recorded between two readings: it adds up, and is never negative."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

import sa_perf
from sa_perf import Snapshot
from sa_perf.histogram import Histogram
from sa_perf.queries.aggregate import OTHER
from sa_perf.queries.merging import merged_queries
from sa_perf.queries.statistics import Statistics
from sa_perf.snapshot import Health
from sa_perf.store.difference import Recorded, difference

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


class Process:
    """Statistics on a clock of their own, and their readings."""

    def __init__(self, capacity: int) -> None:
        self.now = 1_000_000_000
        self.statistics = Statistics(capacity, wall=NOON.timestamp, clock=lambda: self.now)

    def run(self, shape: str, nanoseconds: int, rows: int = 1) -> None:
        self.now += nanoseconds + 1_000_000
        aggregate = self.statistics.aggregate("d", shape, None)
        aggregate.count(True, self.now, nanoseconds, 0, rows)

    def read(self) -> Snapshot:
        return Snapshot(
            taken_at=NOON + timedelta(microseconds=self.now / 1_000),
            started_at=NOON,
            host="web",
            pid=1,
            slow_seconds=0.2,
            queries=self.statistics.stats(),
            health=Health(evicted_fingerprints=self.statistics.evicted),
        )


def differences(readings: list[Snapshot]) -> list[Recorded]:
    earlier = [None, *readings]
    return [difference(one, two) for one, two in zip(earlier, readings, strict=False)]


def sums(queries) -> tuple[int, int, float, int]:
    return (
        sum(one.calls for one in queries),
        sum(one.rows for one in queries),
        round(sum(one.total_seconds for one in queries), 9),
        sum(one.histogram.total() for one in queries),
    )


executions = st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1 << 36), st.integers(0, 9))
spans = st.lists(st.lists(executions, max_size=12), min_size=1, max_size=6)


def read_after_each(process: Process, work) -> list[Snapshot]:
    readings = []
    for span in work:
        for shape, nanoseconds, rows in span:
            process.run(shape, nanoseconds, rows)
        readings.append(process.read())
    return readings


@settings(deadline=None)
@given(spans)
def test_differences_add_up_to_the_last_reading(work) -> None:
    readings = read_after_each(Process(100), work)
    found = differences(readings)
    merged = {
        one.fingerprint: one for one in merged_queries(q for one in found for q in one.queries)
    }
    assert set(merged) == {one.fingerprint for one in readings[-1].queries}
    for last in readings[-1].queries:
        one = merged[last.fingerprint]
        assert one.histogram == last.histogram
        for name in ("calls", "rows", "total_seconds", "executions", "parameter_sets"):
            assert getattr(one, name) == getattr(last, name), name


@settings(deadline=None)
@given(spans, st.integers(1, 4))
def test_sums_of_all_are_exact_though_shapes_are_evicted(work, capacity: int) -> None:
    readings = read_after_each(Process(capacity), work)
    found = differences(readings)
    for span, one in zip(work, found, strict=True):
        total = round(sum(nanoseconds for _, nanoseconds, _ in span) / 1e9, 9)
        rows = sum(rows for _, _, rows in span)
        assert sums(one.queries) == (len(span), rows, total, len(span))
        for query in one.queries:
            assert min(query.calls, query.rows, query.total_seconds, query.sum_squares) >= 0
            assert query.min_seconds <= query.max_seconds


@settings(deadline=None)
@given(spans)
def test_the_shortest_and_the_longest_are_within_a_bucket(work) -> None:
    found = differences(read_after_each(Process(100), work))
    for span, one in zip(work, found, strict=True):
        for query in one.queries:
            own = [nanoseconds / 1e9 for shape, nanoseconds, _ in span if shape == query.statement]
            assert query.min_seconds == pytest.approx(min(own), rel=1 / 30, abs=65e-9)
            assert query.max_seconds == pytest.approx(max(own), rel=1 / 30, abs=65e-9)


def test_an_evicted_shape_is_not_counted_again_in_other() -> None:
    process = Process(2)
    process.run("a", 1_000)
    process.run("b", 2_000_000)
    before = process.read()
    process.run("c", 3_000_000)
    found = difference(before, process.read())
    assert [(one.statement, one.calls) for one in found.queries] == [("c", 1)]
    process.run("d", 9_000_000)
    found = difference(before, process.read())
    assert {one.statement: one.calls for one in found.queries} == {"c": 1, "d": 1}


def test_a_shape_that_was_evicted_and_came_back_counts_anew() -> None:
    process = Process(1)
    process.run("a", 1_000)
    before = process.read()
    process.run("b", 2_000)
    process.run("a", 1_000)
    found = difference(before, process.read())
    assert {one.statement: one.calls for one in found.queries} == {"a": 1, OTHER: 1}


def test_a_text_that_has_been_read_since_is_not_counted_again() -> None:
    process = Process(10)
    process.run("select 1 unread", 5_000)
    process.run("select 1 unread", 5_000)
    before = process.read()
    process.run("select 1 unread", 5_000)
    after = process.read()
    (one,) = after.queries
    after = replace(after, queries=(replace(one, fingerprint="f" * 16, statement="SELECT ?"),))
    (found,) = difference(before, after).queries
    assert (found.fingerprint, found.calls, found.histogram.total()) == ("f" * 16, 1, 1)


@pytest.mark.parametrize(
    "change",
    [{"pid": 2}, {"host": "web-2"}, {"started_at": NOON + timedelta(seconds=1)}],
)
def test_after_a_restart_or_a_reset_all_of_the_later_reading_counts(change) -> None:
    process = Process(10)
    process.run("a", 1_000)
    before = process.read()
    after = replace(before, **change)
    assert difference(before, after).queries == after.queries


def test_nothing_between_two_readings_is_nothing() -> None:
    process = Process(10)
    process.run("a", 1_000)
    reading = process.read()
    found = difference(reading, reading)
    assert (found.queries, found.scopes) == ((), ())
    assert found.transactions.commits == 0


def test_a_sum_that_has_shrunk_counts_anew_and_never_below_zero() -> None:
    process = Process(10)
    for _ in range(5):
        process.run("a", 1_000)
    before = process.read()
    (one,) = before.queries
    histogram = Histogram.from_items([(0, 2)])
    after = replace(
        before, queries=(replace(one, calls=2, total_seconds=1e-6, histogram=histogram),)
    )
    (found,) = difference(before, after).queries
    assert (found.calls, found.total_seconds) == (2, 1e-6)


def test_rows_fetched_between_two_readings_count_and_their_execution_once() -> None:
    process = Process(10)
    aggregate = process.statistics.aggregate("d", "a", None)
    process.now += 1_000_000
    aggregate.count(False, process.now, 5_000, 0, 0)
    first = process.read()
    process.now += 1_000_000
    aggregate.count_fetch(process.now, 5_000, 900_000, 7)
    found = differences([first, process.read()])
    ((one,), (two,)) = (span.queries for span in found)
    assert (one.calls, one.rows, one.histogram.total()) == (1, 0, 1)
    assert (two.calls, two.rows, two.histogram.total()) == (0, 7, 0)
    assert one.total_seconds + two.total_seconds == pytest.approx(905e-6)


def test_what_an_application_did_between_two_snapshots() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine)

    def work(times: int) -> None:
        for _ in range(times):
            with sa_perf.scope("GET /"), engine.begin() as connection:
                connection.execute(text("SELECT 1")).all()

    work(2)
    before = perf.snapshot()
    work(3)
    after = perf.snapshot()
    perf.uninstall()
    engine.dispose()
    found = difference(before, after)
    assert [(one.calls, one.rows) for one in found.queries] == [(3, 3)]
    assert [(one.name, one.runs, one.statements) for one in found.scopes] == [("GET /", 3, 3)]
    assert found.transactions.commits == found.transactions.histogram.total() == 3
    assert (found.since, found.until) == (before.taken_at, after.taken_at)
