"""Mergeable log-linear latency histogram; percentiles.

32 buckets an octave from 2,048 ns to 2**39 ns (9 minutes), 64 ns wide below: a percentile is
off by at most 1 part in 64 (1.6 %), or 32 ns below 2,048 ns. Counts are held only for the octaves
that occurred, in 16 bits until one overflows: 1.9 kB with all 928 buckets filled.

Same layout as HdrHistogram with five significant bits, so histograms of many processes add up
without loss. Not thread-safe: the statistics' lock stands over it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from operator import index as whole_number
from operator import sub
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.json_values import JSONValue

__all__ = ["BUCKETS", "Histogram", "bucket_bounds", "bucket_of"]

BUCKETS = 928
_OCTAVE = 32
_MAX_COUNT = (1 << 63) - 1
_WIDER = {"H": "I", "I": "Q"}


def bucket_of(nanoseconds: int) -> int:
    """Index of the bucket that holds a duration, 0 to ``BUCKETS - 1``.

    Durations below zero and beyond 2**39 ns fall into the first and the last bucket.
    """
    if nanoseconds < 0:
        return 0
    bits = nanoseconds.bit_length()
    if bits < 12:
        return nanoseconds >> 6
    if bits > 39:
        return BUCKETS - 1
    return ((bits - 12) << 5) + (nanoseconds >> (bits - 6))


def bucket_bounds(index: int) -> tuple[int, int]:
    """Lower (inclusive) and upper (exclusive) bound of a bucket, in nanoseconds."""
    if index < 2 * _OCTAVE:
        return index << 6, (index + 1) << 6
    shift = (index >> 5) + 5
    mantissa = (index & 31) + _OCTAVE
    return mantissa << shift, (mantissa + 1) << shift


class Histogram:
    """Counts of durations by bucket.

    Example:
        >>> latencies = Histogram()
        >>> for milliseconds in range(1, 101):
        ...     latencies.add(milliseconds * 1_000_000)
        >>> round(latencies.percentile(0.95) / 1e6)
        95
    """

    __slots__ = ("_counts", "_first")

    def __init__(self) -> None:
        self._first = 0
        self._counts = array("H")

    def add(self, nanoseconds: int) -> None:
        """Count a duration. O(1) but for the first of a new octave."""
        # bucket_of() by hand: the call would take a third of the time.
        bits = nanoseconds.bit_length()
        if 11 < bits < 40:
            bucket = ((bits - 12) << 5) + (nanoseconds >> (bits - 6))
        else:
            bucket = bucket_of(nanoseconds)
        index = bucket - self._first
        if not 0 <= index < len(self._counts):
            # Asked again: the bucket of a negative duration is wrong above, and always outside.
            index = self._cover(bucket_of(nanoseconds))
        try:
            self._counts[index] += 1
        except OverflowError:
            self._widen(self._counts[index] + 1)
            self._counts[index] += 1

    def move(self, counted: int, nanoseconds: int) -> None:
        """Count ``nanoseconds`` in place of a duration that was counted before.

        Nothing happens where it was not, e.g. because the histogram was begun anew since.
        """
        source = bucket_of(counted)
        if source == bucket_of(nanoseconds):
            return
        index = source - self._first
        if 0 <= index < len(self._counts) and self._counts[index]:
            self._counts[index] -= 1
            self.add(nanoseconds)

    def merge(self, other: Histogram) -> None:
        """Add all counts of another histogram; exact and commutative.

        Raises:
            ValueError: a count would pass 2**63 - 1; those of shorter durations are added already.
        """
        if not self._counts:
            self._first, self._counts = other._first, other._counts[:]
            return
        for index, count in other.items():
            at = index - self._first
            if not 0 <= at < len(self._counts):
                at = self._cover(index)
            total = self._counts[at] + count
            if total > _MAX_COUNT:
                message = f"histogram bucket {index!r} with count {total!r}: want 1..{_MAX_COUNT}"
                raise ValueError(message)
            self._widen(total)
            self._counts[at] = total

    def since(self, earlier: Histogram) -> Histogram:
        """What was counted after an earlier copy of this histogram.

        Where a duration has moved on since, to a longer one, it is counted at neither place: all
        that is counted between copies adds up to the total, but for the buckets of those that
        moved.
        """
        counts = list(self._counts)
        start = earlier._first - self._first
        end = start + len(earlier._counts)
        counts[start:end] = map(sub, counts[start:end], earlier._counts)
        less = Histogram()
        if any(counts):
            if min(counts) < 0:
                counts = _without_debts(counts)
            less._first, less._counts = self._first, array(self._counts.typecode, counts)
        return less

    def percentile(self, ratio: float) -> float:
        """Duration in nanoseconds that ``ratio`` (0..1) of the counts do not pass.

        The middle of the bucket in which the nearest rank falls; 0.0 where nothing was counted.
        """
        rank = max(1, math.ceil(ratio * self.total()))
        seen = 0
        for index, count in self.items():
            seen += count
            if seen >= rank:
                lower, upper = bucket_bounds(index)
                return (lower + upper) / 2
        return 0.0

    def total(self) -> int:
        """Number of durations counted."""
        return sum(self._counts)

    def items(self) -> Iterable[tuple[int, int]]:
        """(bucket index, count) of each bucket that is not empty, shortest duration first."""
        first = self._first
        return [(first + at, count) for at, count in enumerate(self._counts) if count]

    def copy(self) -> Histogram:
        """An independent histogram with the same counts."""
        twin = Histogram()
        twin._first = self._first
        twin._counts = self._counts[:]
        return twin

    @classmethod
    def from_items(cls, items: Iterable[Sequence[int]]) -> Histogram:
        """Rebuild from (bucket index, count) pairs, in any order.

        Raises:
            ValueError: an index is outside 0..927, or a count outside 1..2**63 - 1.
        """
        histogram = cls()
        for index, count in items:
            at: int | None = index - histogram._first
            if not 0 <= index - histogram._first < len(histogram._counts):
                at = histogram._cover(index) if 0 <= index < BUCKETS else None
            total = count if at is None else histogram._counts[at] + count
            if at is None or count < 1 or total > _MAX_COUNT:
                message = (
                    f"histogram bucket {index!r} with count {count!r}: "
                    f"want 0..{BUCKETS - 1} and 1..{_MAX_COUNT}"
                )
                raise ValueError(message)
            if total > 65_535:
                histogram._widen(total)
            histogram._counts[at] = total
        return histogram

    def to_json_value(self) -> JSONValue:
        """(bucket index, count) pairs as lists."""
        return [[index, count] for index, count in self.items()]

    @classmethod
    def from_json_value(cls, value: object) -> Histogram:
        """Rebuild from `to_json_value`.

        Raises:
            ValueError: it is no list of pairs of whole numbers in their range.
        """
        try:
            if not isinstance(value, (list, tuple)):
                raise TypeError(type(value))
            return cls.from_items([(whole_number(at), whole_number(count)) for at, count in value])
        except TypeError as error:
            message = f"no list of (bucket, count) pairs: {value!r:.40}"
            raise ValueError(message) from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.items() == other.items()

    __hash__ = None  # type: ignore[assignment]  # mutable, as list and dict are

    def __repr__(self) -> str:
        return f"Histogram.from_items({self.items()!r})"

    def _cover(self, index: int) -> int:
        """Grow by whole octaves until ``index`` is held; return its place in the array."""
        start = index - index % _OCTAVE
        counts = self._counts
        if not counts:
            self._first, self._counts = start, array("H", bytes(2 * _OCTAVE))
        elif start < self._first:
            # Built in one piece: a growing array over-allocates, and memory is counted here.
            missing = array(counts.typecode, bytes(counts.itemsize * (self._first - start)))
            self._first, self._counts = start, missing + counts
        elif index >= self._first + len(counts):
            missing = array(
                counts.typecode,
                bytes(counts.itemsize * (start + _OCTAVE - self._first - len(counts))),
            )
            self._counts = counts + missing
        return index - self._first

    def _widen(self, count: int) -> None:
        """Use a wider integer for all buckets until ``count`` fits."""
        while count >> (8 * self._counts.itemsize):
            self._counts = array(_WIDER[self._counts.typecode], self._counts)


def _without_debts(counts: list[int]) -> list[int]:
    """Counts below zero are paid by the next longer durations that have any."""
    debt = 0
    paid = []
    for count in counts:
        left = count - debt
        debt = max(0, -left)
        paid.append(max(0, left))
    return paid
