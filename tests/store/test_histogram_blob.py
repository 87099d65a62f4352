"""A histogram's blob: the same counts back, or an error."""

from __future__ import annotations

import tracemalloc
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sa_perf.errors import InvalidHistogram, SaPerfError
from sa_perf.histogram import BUCKETS, Histogram
from sa_perf.store.histogram_blob import MAX_BYTES, from_blob, merged_blobs, to_blob

MAX_COUNT = (1 << 63) - 1
counts = st.integers(0, 62).flatmap(lambda bits: st.integers(1, 1 << bits))
histograms = st.dictionaries(st.integers(0, BUCKETS - 1), counts, max_size=60).map(
    lambda found: Histogram.from_items(found.items())
)
small = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 1 << 55), max_size=60).map(
    lambda found: Histogram.from_items(found.items())
)
durations = st.lists(st.integers(0, 1 << 39), max_size=60)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def sealed(*body: int, version: int = 1) -> bytes:
    """A blob of any content whose checksum is right."""
    content = bytes((version, *body))
    return content + crc32(content).to_bytes(4, "big")


@settings(deadline=None)
@given(histograms)
def test_a_blob_brings_the_histogram_back(histogram: Histogram) -> None:
    assert from_blob(to_blob(histogram)) == histogram


@settings(deadline=None)
@given(small, small)
def test_merging_what_was_read_equals_reading_what_was_merged(left, right) -> None:
    blobs = [to_blob(left), to_blob(right)]
    left.merge(right)
    assert merged_blobs(blobs) == left == from_blob(to_blob(left))


@settings(deadline=None)
@given(st.lists(durations, max_size=5))
def test_percentiles_of_merged_blobs_are_those_of_one_histogram_over_all(parts) -> None:
    merged = merged_blobs([to_blob(of(part)) for part in parts])
    whole = of([value for part in parts for value in part])
    for ratio in (0.0, 0.5, 0.9, 0.95, 0.99, 1.0):
        assert merged.percentile(ratio) == whole.percentile(ratio)


@settings(deadline=None)
@given(durations)
def test_equal_histograms_are_equal_bytes(values) -> None:
    assert to_blob(of(values)) == to_blob(of(values[::-1]))


def test_the_form_of_version_1_is_kept() -> None:
    histogram = Histogram.from_items([(0, 1), (1, 32), (4, 33), (904, 1 << 20)])
    expected = "01 00 7c 82 01 ff ff ff 01 80 07"
    assert to_blob(histogram)[:-4] == bytes.fromhex(expected)
    assert from_blob(sealed(*bytes.fromhex(expected)[1:])) == histogram


def test_a_blob_without_counts_is_five_bytes() -> None:
    assert to_blob(Histogram()) == sealed()
    assert from_blob(sealed()) == Histogram()


def test_the_longest_blob_keeps_to_the_bound() -> None:
    full = Histogram.from_items((index, MAX_COUNT) for index in range(BUCKETS))
    assert len(to_blob(full)) == MAX_BYTES
    assert from_blob(to_blob(full)) == full


@settings(deadline=None)
@given(durations, st.data())
def test_no_changed_bit_gives_a_histogram(values, data) -> None:
    blob = bytearray(to_blob(of(values)))
    bit = data.draw(st.integers(0, 8 * len(blob) - 1))
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidHistogram):
        from_blob(bytes(blob))


@settings(deadline=None)
@given(durations, st.data())
def test_no_cut_or_lengthened_blob_gives_a_histogram(values, data) -> None:
    blob = to_blob(of([1, *values]))
    cut = data.draw(st.integers(0, len(blob) - 1))
    for damaged in (blob[:cut], blob[len(blob) - cut :], blob + b"\0"):
        with pytest.raises(InvalidHistogram):
            from_blob(damaged)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_under_a_right_checksum_are_refused_or_the_one_form(body: bytes) -> None:
    blob = sealed(*body)
    try:
        histogram = from_blob(blob)
    except InvalidHistogram:
        return
    assert to_blob(histogram) == blob


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "5 to 9285 bytes, not 0"),
        (b"\x01\0\0\0", "bytes, not 4"),
        (bytes(MAX_BYTES + 1), "bytes, not 9286"),
        (b"\x01\0\0\0\0\0", "checksum of a histogram of 6 bytes does not fit"),
        (sealed(version=2), r"version 2, .* reads version 1; upgrade"),
        (sealed(version=0), "version 0"),
        (sealed(0x80), "has no end, or more bytes than it needs"),
        (sealed(0x80, 0), "has no end, or more bytes than it needs"),
        (sealed(3), "has no end, or more bytes than it needs"),
        (sealed(3, 0xFF), "has no end, or more bytes than it needs"),
        (sealed(*[0xFF] * 9, 0xFF, 1), "has no end, or more bytes than it needs"),
        (sealed(*[0xFF] * 9, 0x7F), "has no end, or more bytes than it needs"),
        (sealed(3, 0x9D, 7), "bucket 928 and count 1: want 0..927"),
        (sealed(*[0] * 929), "bucket 928"),
        (sealed(*[0x80] * 9, 0x08), "bucket 0 with count|bucket 0 and count"),
    ],
)
def test_damage_is_told(blob: bytes, message: str) -> None:
    with pytest.raises(InvalidHistogram, match=message):
        from_blob(blob)


def test_the_error_is_ours_and_a_value_error() -> None:
    assert issubclass(InvalidHistogram, SaPerfError)
    assert issubclass(InvalidHistogram, ValueError)


def test_a_hostile_blob_takes_no_more_memory_than_an_honest_one() -> None:
    blobs = [sealed(*[0xFF] * 9_000), sealed(*[0] * 9_000), sealed(*[3, 0] * 4_500), bytes(10**7)]
    for blob in blobs:
        tracemalloc.start()
        try:
            with pytest.raises(InvalidHistogram):
                from_blob(blob)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 250_000


def test_a_sum_beyond_all_bounds_is_refused() -> None:
    blob = to_blob(Histogram.from_items([(7, MAX_COUNT)]))
    with pytest.raises(InvalidHistogram, match="bucket 7 with count"):
        merged_blobs([blob, blob, blob])
