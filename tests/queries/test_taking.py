"""What was counted since it was taken last adds up to the reading."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sa_perf.queries.aggregate import OTHER
from sa_perf.queries.merging import merged_queries
from sa_perf.queries.statistics import Statistics

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
SUMS = ("calls", "errors", "rows", "total_seconds", "fetch_seconds", "executions")


class Process:
    """Statistics on a clock of their own."""

    def __init__(self, capacity: int = 100) -> None:
        self.now = 1_000_000_000
        self.statistics = Statistics(capacity, wall=NOON.timestamp, clock=lambda: self.now)

    def run(self, shape: str, nanoseconds: int, rows: int = 1, database: str = "d") -> None:
        self.now += nanoseconds + 1_000_000
        aggregate = self.statistics.aggregate(database, shape, None)
        aggregate.count(True, self.now, nanoseconds, 0, rows)

    def take(self) -> dict[str, object]:
        return {one.statement: one for one in self.statistics.take()}


executions = st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1 << 36), st.integers(0, 9))
spans = st.lists(st.lists(executions, max_size=12), min_size=1, max_size=6)


@settings(deadline=None)
@given(spans)
def test_what_is_taken_adds_up_to_the_reading(work) -> None:
    process = Process()
    taken = []
    for span in work:
        for execution in span:
            process.run(*execution)
        taken += process.statistics.take()
    merged = {one.fingerprint: one for one in merged_queries(taken)}
    read = {one.fingerprint: one for one in process.statistics.stats()}
    assert set(merged) == set(read)
    for fingerprint, one in read.items():
        other = merged[fingerprint]
        assert other.histogram == one.histogram
        assert (other.min_seconds, other.max_seconds) == (one.min_seconds, one.max_seconds)
        assert (other.first_seen, other.last_seen) == (one.first_seen, one.last_seen)
        for name in SUMS:
            assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-9), name


@settings(deadline=None)
@given(spans, st.integers(1, 4))
def test_sums_of_all_are_exact_though_shapes_are_evicted(work, capacity: int) -> None:
    process = Process(capacity)
    for span in work:
        for execution in span:
            process.run(*execution)
        taken = process.statistics.take()
        assert sum(one.calls for one in taken) == len(span)
        assert sum(one.histogram.total() for one in taken) == len(span)
        assert sum(one.rows for one in taken) == sum(rows for _, _, rows in span)
        seconds = sum(nanoseconds for _, nanoseconds, _ in span) / 1e9
        assert sum(one.total_seconds for one in taken) == pytest.approx(seconds, abs=1e-9)
        for one in taken:
            assert min(one.calls, one.rows, one.total_seconds, one.sum_squares) >= 0
            assert one.min_seconds <= one.max_seconds


@settings(deadline=None)
@given(spans)
def test_extremes_are_those_of_the_span(work) -> None:
    process = Process()
    for span in work:
        for execution in span:
            process.run(*execution)
        for shape, one in process.take().items():
            own = [nanoseconds / 1e9 for name, nanoseconds, _ in span if name == shape]
            assert (one.min_seconds, one.max_seconds) == (min(own), max(own))


def test_nothing_new_is_not_taken() -> None:
    process = Process()
    process.run("a", 1_000)
    process.run("b", 1_000)
    assert set(process.take()) == {"a", "b"}
    process.run("b", 1_000)
    assert set(process.take()) == {"b"}
    assert process.take() == {}


def test_an_evicted_shape_is_not_counted_again_in_other() -> None:
    process = Process(2)
    process.run("a", 1_000)
    process.run("b", 2_000_000)
    process.take()
    process.run("c", 3_000_000)
    process.run("d", 9_000_000)
    assert {name: one.calls for name, one in process.take().items()} == {"c": 1, "d": 1}


def test_what_was_evicted_before_it_was_taken_is_in_other() -> None:
    process = Process(1)
    process.run("a", 1_000)
    process.take()
    process.run("a", 1_000, rows=5)
    process.run("b", 2_000)
    found = process.take()
    assert {name: (one.calls, one.rows) for name, one in found.items()} == {
        OTHER: (1, 5),
        "b": (1, 1),
    }


def test_databases_are_taken_apart() -> None:
    process = Process()
    process.run("a", 1_000, database="one")
    process.run("a", 1_000, database="two")
    taken = process.statistics.take()
    assert sorted((one.database, one.calls) for one in taken) == [("one", 1), ("two", 1)]


def test_rows_fetched_after_their_execution_was_taken_count_then() -> None:
    process = Process()
    aggregate = process.statistics.aggregate("d", "a", None)
    process.now += 1_000_000
    aggregate.count(False, process.now, 5_000, 0, 0)
    (first,) = process.statistics.take()
    process.now += 1_000_000
    aggregate.count_fetch(process.now, 5_000, 900_000, 7)
    (second,) = process.statistics.take()
    assert (first.calls, first.rows, first.histogram.total()) == (1, 0, 1)
    assert (second.calls, second.rows, second.histogram.total()) == (0, 7, 0)
    assert first.total_seconds + second.total_seconds == pytest.approx(905e-6)
    assert second.max_seconds == pytest.approx(905e-6)


def test_after_a_reset_all_counts_anew() -> None:
    process = Process()
    process.run("a", 1_000)
    process.take()
    process.statistics.clear()
    process.run("a", 1_000)
    assert process.take()["a"].calls == 1


def test_errors_and_batches_are_taken_once() -> None:
    process = Process()
    aggregate = process.statistics.aggregate("d", "a", None)
    process.run("a", 1_000)
    process.statistics.count_error(aggregate, "IntegrityError")
    process.statistics.count_batches(
        aggregate, style="executemany", executions=3, parameter_sets=30
    )
    first = process.take()["a"]
    process.run("a", 1_000)
    second = process.take()["a"]
    assert (first.errors, first.last_error, first.executions, first.parameter_sets) == (
        1, "IntegrityError", 3, 30,
    )  # fmt: skip
    assert (second.errors, second.last_error, second.executions, second.parameter_sets) == (
        0, None, 1, 1,
    )  # fmt: skip


def test_a_reading_does_not_hang_on_what_was_taken() -> None:
    process = Process()
    process.run("a", 1_000)
    process.take()
    process.run("a", 9_000)
    (one,) = process.statistics.stats()
    assert (one.calls, one.min_seconds, one.max_seconds) == (2, 1e-6, 9e-6)
