"""When something that grows will pass a limit, or silence.

Pure. The slope is Theil's and Sen's: the median of the slopes between all pairs of samples, which
takes up to 29 % of wild values. Its interval is Sen's, by the ranks that Kendall's test gives
(P. K. Sen, JASA 63 (1968), section 3), wider where neighbours are alike (by the factor of an
autoregression of order one, S. Yue and C. Wang, Water Resour. Manag. 18 (2004)): a random walk
shows no trend.

Steps are not growth. After one, only what follows counts. Where space is freed again and again, the
heights before each time count; where steps upwards recur, they are the growth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TypeAlias

__all__ = ["Forecast", "forecast"]

#: Monotonic or wall seconds, value.
Sample: TypeAlias = "tuple[float, float]"

_LEAST_SAMPLES = 12
_LEAST_PEAKS = 4
_MOST_POINTS = 120
#: Nothing is said about a future that is so many times longer than the past.
_HORIZON = 10.0
#: Of the normal distribution: 95 of 100.
_Z = 1.959964
_STEP_DEVIATIONS = 8.0
_STEP_RANGE = 0.1
#: Of a normal distribution's standard deviation in median absolute deviations.
_DEVIATION = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When a limit is passed if growth goes on as it was.

    Attributes:
        limit: that is passed, in the unit of the samples.
        per_day: growth, in the unit of the samples.
        in_seconds: from the last sample on.
        earliest_seconds: with 95 % likelihood not before.
        latest_seconds: likewise not after; None: perhaps much later.
        samples: that it rests on.
        span_seconds: from the first of them to the last.
    """

    limit: float
    per_day: float
    in_seconds: float
    earliest_seconds: float
    latest_seconds: float | None
    samples: int
    span_seconds: float


def forecast(samples: Iterable[Sample], limit: float) -> Forecast | None:
    """Say when a limit is passed; O(samples), and 120 squared at most.

    Args:
        samples: (seconds, value), oldest first; what is not finite is left out.
        limit: in the unit of the values.

    Returns:
        None where the data cannot say: too few samples, no growth beyond chance, the limit is
        passed already, or so far away that the past is too short for it.

    Example:
        >>> hourly = [(3_600.0 * hour, 50.0 + hour / 24) for hour in range(72)]
        >>> one = forecast(hourly, limit=60.0)
        >>> round(one.per_day, 3), round(one.in_seconds / 86_400, 1)
        (1.0, 7.0)
        >>> forecast([(at, 50.0) for at, _ in hourly], limit=60.0) is None
        True
    """
    clean = _ascending(samples)
    if len(clean) < _LEAST_SAMPLES or clean[-1][1] >= limit:
        return None
    chosen = _growth_of(clean)
    if chosen is None:
        return None
    points = _thinned(chosen)
    slope, low, high = _slopes(points)
    span = chosen[-1][0] - chosen[0][0]
    if low <= 0 or not _grows_in_both_halves(points):
        return None
    end = clean[-1][0]
    starts = [value - slope * at for at, value in points]
    start = median(starts)
    left = max(0.0, limit - start - slope * end)
    if left / slope > _HORIZON * span:
        return None
    deviation = _DEVIATION * median(abs(one - start) for one in starts)
    # A median's error is 1.25 times that of a mean.
    error = _Z * 1.25 * deviation / math.sqrt(len(points)) * _widening(starts)
    latest = (left + error) / low
    return Forecast(
        limit=limit,
        per_day=slope * 86_400,
        in_seconds=left / slope,
        earliest_seconds=max(0.0, left - error) / high,
        latest_seconds=latest if latest <= 2 * _HORIZON * span else None,
        samples=len(chosen),
        span_seconds=span,
    )


def _ascending(samples: Iterable[Sample]) -> list[Sample]:
    found: list[Sample] = []
    for at, value in samples:
        fits = math.isfinite(at) and math.isfinite(value)
        if fits and (not found or at > found[-1][0]):
            found.append((at, value))
    return found


def _growth_of(samples: Sequence[Sample]) -> Sequence[Sample] | None:
    """The part that says how it grows; None where none does."""
    steps = _steps(samples)
    falls = [at for at, change in steps if change < 0]
    rises = [at for at, change in steps if change > 0]
    if len(falls) >= 2:
        peaks = [samples[at - 1] for at in falls]
        return peaks if len(peaks) >= _LEAST_PEAKS else None
    start = max(falls, default=0)
    recent = [at for at in rises if at > start]
    if len(recent) in {1, 2}:
        start = max(recent)
    chosen = samples[start:]
    return chosen if len(chosen) >= _LEAST_SAMPLES else None


def _steps(samples: Sequence[Sample]) -> list[tuple[int, float]]:
    """(index of the first sample behind it, height) of each sudden change of level."""
    rate = median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(samples))
    deviation = _DEVIATION * median(map(abs, _beyond(samples, rate)))
    smooth = _without_spikes(samples)
    values = [value for _, value in smooth]
    least = max(_STEP_DEVIATIONS * deviation, _STEP_RANGE * (max(values) - min(values)))
    return [
        (at, change)
        for at, change in enumerate(_beyond(smooth, rate), start=1)
        if abs(change) > max(least, 1e-12)
    ]


def _beyond(samples: Sequence[Sample], rate: float) -> list[float]:
    """Changes from sample to sample, less those of even growth."""
    return [b[1] - a[1] - rate * (b[0] - a[0]) for a, b in pairwise(samples)]


def _without_spikes(samples: Sequence[Sample]) -> list[Sample]:
    """Each the median of itself and its neighbours: a step stays where it is."""
    inner = [
        (samples[at][0], median(value for _, value in samples[at - 1 : at + 2]))
        for at in range(1, len(samples) - 1)
    ]
    return [samples[0], *inner, samples[-1]]


def _thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most so many points: medians of neighbours."""
    if len(samples) <= _MOST_POINTS:
        return list(samples)
    size = math.ceil(len(samples) / _MOST_POINTS)
    groups = [samples[at : at + size] for at in range(0, len(samples), size)]
    return [(median(at for at, _ in one), median(value for _, value in one)) for one in groups]


def _slopes(points: Sequence[Sample]) -> tuple[float, float, float]:
    """The median slope and its interval."""
    slopes = _pair_slopes(points)
    middle = median(slopes)
    number = len(points)
    width = _Z * math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    width *= _widening([value - middle * at for at, value in points])
    low = round((len(slopes) - width) / 2)
    high = round((len(slopes) + width) / 2)
    if low < 0 or high >= len(slopes):
        return middle, -math.inf, math.inf
    return middle, slopes[low], slopes[high]


def _pair_slopes(points: Sequence[Sample]) -> list[float]:
    return sorted(
        (other - value) / (later - at)
        for number, (at, value) in enumerate(points)
        for later, other in points[number + 1 :]
    )


def _widening(residuals: Sequence[float]) -> float:
    """By how much wider an interval is since neighbours are alike."""
    mean = math.fsum(residuals) / len(residuals)
    apart = [one - mean for one in residuals]
    whole = math.fsum(one * one for one in apart)
    if whole <= 1e-18 * max(1.0, mean * mean) * len(residuals):
        return 1.0
    shared = math.fsum(a * b for a, b in pairwise(apart)) / whole
    likeness = min(0.98, max(0.0, shared))
    return math.sqrt((1 + likeness) / (1 - likeness))


def _grows_in_both_halves(points: Sequence[Sample]) -> bool:
    if len(points) < 2 * _LEAST_PEAKS:
        return True
    half = len(points) // 2
    return all(median(_pair_slopes(part)) > 0 for part in (points[:half], points[half:]))
