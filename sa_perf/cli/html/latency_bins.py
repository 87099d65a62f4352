"""Histograms in few bins with round bounds, five or ten a decade."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sa_perf.cli.wording.units import percent
from sa_perf.histogram import bucket_bounds

__all__ = ["Bin", "latency_bins", "percentile_seconds"]

# The series R10 and R5 of ISO 3: ten, and five, round steps from 1 to 10 of about equal ratio.
_TEN_STEPS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
_FIVE_STEPS = _TEN_STEPS[::2]
_MAX_DECADES_IN_TENS = 2.5
_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """How many executions took between two durations.

    Attributes:
        lower_seconds: inclusive.
        upper_seconds: exclusive.
        count: executions.
        ratio: of all executions of the histogram, 0..1.
    """

    lower_seconds: float
    upper_seconds: float
    count: int
    ratio: float

    @property
    def label(self) -> str:
        """Both bounds in the unit that fits the upper one: ``1.6 to 2.5 ms``."""
        unit, size = _unit_of(self.upper_seconds)
        return f"{self.lower_seconds / size:.4g} to {self.upper_seconds / size:.4g} {unit}"

    @property
    def lower_label(self) -> str:
        """The lower bound alone: ``1.6 ms``."""
        unit, size = _unit_of(self.lower_seconds)
        return f"{self.lower_seconds / size:.4g} {unit}"

    @property
    def share(self) -> str:
        """`ratio` in per cent."""
        return percent(self.ratio)


def latency_bins(buckets: Iterable[tuple[int, int]]) -> tuple[Bin, ...]:
    """A histogram in bins of about equal width on a log axis, shortest first, no gaps.

    A bucket counts for the bin that its middle lies in.

    Args:
        buckets: ``Histogram.items()``, lowest index first.
    """
    items = [(sum(bucket_bounds(index)) / 2e9, count) for index, count in buckets]
    if not items:
        return ()
    total = sum(count for _, count in items)
    bounds = _bounds(items[0][0], items[-1][0])
    counts = [0] * (len(bounds) - 1)
    at = 0
    for middle, count in items:
        while middle >= bounds[at + 1]:
            at += 1
        counts[at] += count
    return tuple(
        Bin(lower_seconds=lower, upper_seconds=upper, count=count, ratio=count / total)
        for lower, upper, count in zip(bounds, bounds[1:], counts, strict=False)
    )


def percentile_seconds(buckets: Iterable[tuple[int, int]], ratio: float) -> float:
    """Duration that ``ratio`` (0..1) of the counts do not pass; 0.0 where nothing was counted.

    For the sum of many histograms, whose counts may not fit into one `Histogram`.
    """
    items = list(buckets)
    rank = max(1, math.ceil(ratio * sum(count for _, count in items)))
    seen = 0
    for index, count in items:
        seen += count
        if seen >= rank:
            return sum(bucket_bounds(index)) / 2e9
    return 0.0


def _unit_of(seconds: float) -> tuple[str, float]:
    """The largest unit that a duration reaches; bounds are a little off, as floats are."""
    return next((one for one in _UNITS if seconds * (1 + 1e-9) >= one[1]), _UNITS[-1])


def _bounds(lowest: float, highest: float) -> list[float]:
    """Round bounds from at most ``lowest`` to above ``highest``."""
    steps = _TEN_STEPS if math.log10(highest / lowest) <= _MAX_DECADES_IN_TENS else _FIVE_STEPS
    first, last = math.floor(math.log10(lowest)), math.floor(math.log10(highest)) + 1
    series = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    start = max(at for at, bound in enumerate(series) if bound <= lowest)
    end = min(at for at, bound in enumerate(series) if bound > highest)
    return series[start : end + 1]
