from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sa_perf.cli.html.latency_bins import latency_bins, percentile_seconds
from sa_perf.histogram import Histogram

durations = st.lists(st.integers(0, 1 << 42), min_size=1, max_size=50)


@given(durations)
def test_every_execution_is_in_one_bin(nanoseconds: list[int]) -> None:
    histogram = Histogram()
    for one in nanoseconds:
        histogram.add(one)
    bins = latency_bins(histogram.items())
    assert sum(one.count for one in bins) == len(nanoseconds)
    assert abs(sum(one.ratio for one in bins) - 1) < 1e-9
    assert all(one.upper_seconds == other.lower_seconds for one, other in pairwise(bins))
    assert bins[0].count
    assert bins[-1].count


def test_the_bins_of_a_narrow_range_are_finer() -> None:
    histogram = Histogram()
    for milliseconds in (10, 20):
        histogram.add(milliseconds * 1_000_000)
    assert [one.label for one in latency_bins(histogram.items())] == [
        "10 to 12.5 ms",
        "12.5 to 16 ms",
        "16 to 20 ms",
        "20 to 25 ms",
    ]


def test_a_label_names_both_bounds_in_the_upper_ones_unit() -> None:
    histogram = Histogram()
    histogram.add(900_000)
    assert [one.label for one in latency_bins(histogram.items())] == ["0.8 to 1 ms"]


def test_nothing_has_no_bins() -> None:
    assert latency_bins(Histogram().items()) == ()


@given(durations, st.floats(0, 1))
def test_a_percentile_is_that_of_the_histogram(nanoseconds: list[int], ratio: float) -> None:
    histogram = Histogram()
    for one in nanoseconds:
        histogram.add(one)
    assert percentile_seconds(histogram.items(), ratio) == histogram.percentile(ratio) / 1e9
