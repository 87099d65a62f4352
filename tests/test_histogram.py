"""The histogram: bounded error, lossless merge, bounded memory."""

from __future__ import annotations

import json
import sys
import tracemalloc
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sa_perf.histogram import BUCKETS, Histogram, bucket_bounds, bucket_of
from sa_perf.queries.aggregate import Aggregate

#: What the buckets resolve: from nothing to 2**39 ns (9 minutes).
durations = st.integers(min_value=0, max_value=39).flatmap(
    lambda bits: st.integers(min_value=0, max_value=(1 << bits) - 1)
)
samples = st.lists(durations, max_size=60)


def _of(values) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@settings(deadline=None)
@given(durations)
def test_a_duration_lies_within_its_bucket(nanoseconds: int) -> None:
    lower, upper = bucket_bounds(bucket_of(nanoseconds))
    assert lower <= nanoseconds < upper


def test_buckets_follow_each_other_without_a_gap() -> None:
    bounds = [bucket_bounds(index) for index in range(BUCKETS)]
    assert bounds[0][0] == 0
    assert [upper for _, upper in bounds[:-1]] == [lower for lower, _ in bounds[1:]]
    assert bounds[-1][1] == 1 << 39


def test_the_middle_of_a_bucket_is_off_by_at_most_one_part_in_64() -> None:
    for index in range(BUCKETS):
        lower, upper = bucket_bounds(index)
        half = (upper - lower) / 2
        assert half <= max(32, lower / 64)


@settings(deadline=None)
@given(st.lists(durations, min_size=1, max_size=60), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_off_by_at_most_one_part_in_64_or_32_ns(values, ratio: float) -> None:
    rank = max(1, -(-ratio * len(values) // 1))
    exact = sorted(values)[int(rank) - 1]
    assert abs(_of(values).percentile(ratio) - exact) <= max(32, exact / 64)


@settings(deadline=None)
@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=1 << 39)))
def test_durations_out_of_range_fall_into_the_outermost_buckets(nanoseconds: int) -> None:
    expected = 0 if nanoseconds < 0 else BUCKETS - 1
    assert bucket_of(nanoseconds) == expected
    assert _of([nanoseconds]).items() == [(expected, 1)]


@settings(deadline=None)
@given(samples)
def test_adding_counts_each_duration_in_its_bucket(values) -> None:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    assert _of(values).items() == sorted(counts.items())
    assert _of(values).total() == len(values)


@settings(deadline=None)
@given(samples, samples)
def test_merged_histograms_equal_one_of_all_data(left, right) -> None:
    merged = _of(left)
    merged.merge(_of(right))
    assert merged == _of(left + right)


@settings(deadline=None)
@given(samples, samples)
def test_merging_is_commutative(left, right) -> None:
    one, other = _of(left), _of(right)
    one.merge(_of(right))
    other.merge(_of(left))
    assert one == other


@settings(deadline=None)
@given(samples, samples, samples)
def test_merging_is_associative(first, second, third) -> None:
    one, other, inner = _of(first), _of(first), _of(second)
    one.merge(_of(second))
    one.merge(_of(third))
    inner.merge(_of(third))
    other.merge(inner)
    assert one == other


@settings(deadline=None)
@given(samples)
def test_merging_leaves_the_other_histogram_as_it_was(values) -> None:
    other = _of(values)
    Histogram().merge(other)
    assert other == _of(values)


@settings(deadline=None)
@given(samples, durations, durations)
def test_a_moved_duration_counts_at_its_new_place_only(values, counted, moved) -> None:
    histogram = _of([*values, counted])
    histogram.move(counted, moved)
    assert histogram == _of([*values, moved])


def test_moving_what_was_never_counted_changes_nothing() -> None:
    histogram = _of([5_000])
    histogram.move(9_000_000, 10)
    assert histogram == _of([5_000])


def test_a_bucket_counts_on_beyond_16_bits() -> None:
    histogram = Histogram.from_items([(100, 65_535), (200, 3)])
    histogram.add(bucket_bounds(100)[0])
    assert histogram.items() == [(100, 65_536), (200, 3)]


def test_a_bucket_counts_on_beyond_32_bits() -> None:
    histogram = Histogram.from_items([(100, (1 << 32) - 1)])
    histogram.add(bucket_bounds(100)[0])
    assert histogram.items() == [(100, 1 << 32)]


def test_merging_counts_on_beyond_16_bits() -> None:
    histogram = Histogram.from_items([(7, 40_000)])
    histogram.merge(Histogram.from_items([(7, 40_000), (900, 1)]))
    assert histogram.items() == [(7, 80_000), (900, 1)]


def test_merging_beyond_63_bits_is_refused() -> None:
    histogram = Histogram.from_items([(7, (1 << 63) - 1)])
    with pytest.raises(ValueError, match="bucket 7 with count 9223372036854775808"):
        histogram.merge(Histogram.from_items([(7, 1)]))
    assert histogram.items() == [(7, (1 << 63) - 1)]


def test_a_widened_histogram_still_grows_to_both_sides() -> None:
    histogram = Histogram.from_items([(400, 70_000)])
    histogram.add(bucket_bounds(10)[0])
    histogram.add(bucket_bounds(900)[0])
    assert histogram.items() == [(10, 1), (400, 70_000), (900, 1)]


def test_an_empty_histogram_has_no_percentile_but_zero() -> None:
    assert Histogram().percentile(0.95) == 0.0
    assert Histogram().items() == []


@settings(deadline=None)
@given(samples, samples)
def test_a_copy_lives_a_life_of_its_own(values, later) -> None:
    histogram = _of(values)
    twin = histogram.copy()
    for value in later:
        twin.add(value)
    assert histogram == _of(values)
    assert twin == _of(values + later)


@settings(deadline=None)
@given(samples)
def test_percentiles_do_not_fall_with_their_ratio(values) -> None:
    histogram = _of(values)
    readings = [histogram.percentile(ratio / 20) for ratio in range(21)]
    assert list(accumulate(readings, max)) == readings


@settings(deadline=None)
@given(samples)
def test_the_json_form_brings_the_histogram_back(values) -> None:
    histogram = _of(values)
    data = json.loads(json.dumps(histogram.to_json_value()))
    assert Histogram.from_json_value(data) == histogram


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        7,
        "ab",
        {"a": 1},
        [1, 2],
        [[1]],
        [[1, 2, 3]],
        [[-1, 1]],
        [[BUCKETS, 1]],
        [[1, 0]],
        [[1, -5]],
        [[1.5, 1]],
        [["1", 1]],
        [[1, None]],
        [[1, 1 << 70]],
        [[1, (1 << 63) - 1], [1, 1]],
    ],
)
def test_a_damaged_json_form_is_refused(damaged) -> None:
    with pytest.raises(ValueError, match=r"histogram|pairs|unpack"):
        Histogram.from_json_value(damaged)


def test_a_histogram_cannot_be_hashed_and_equals_no_other_kind() -> None:
    with pytest.raises(TypeError):
        hash(Histogram())
    assert Histogram() != []


def test_an_aggregate_with_a_filled_histogram_takes_at_most_2500_bytes() -> None:
    key, statement, database = "0123456789abcdef", "SELECT ?", "sqlite:///x"
    durations_of_all_buckets = [bucket_bounds(index)[0] for index in range(BUCKETS)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        aggregate = Aggregate(key, statement, database, None)
        for duration in durations_of_all_buckets:
            aggregate.count(True, 10**12, duration, duration, 10**6)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert aggregate.histogram.total() == BUCKETS
    assert after - before <= 2_500
    assert sys.getsizeof(aggregate) + sys.getsizeof(aggregate.histogram._counts) <= 2_500
