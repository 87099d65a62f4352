"""What was sampled: fine for the last hour, coarse for the week.

Bounded: 22 kB a resource, 64 resources. Not thread-safe: the monitor's lock stands over it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Chart", "History"]

_FINE = 360
_COARSE = 1_008
_COARSE_SECONDS = 600.0
_MOST_RESOURCES = 64
_MOST_POINTS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The course of one resource, thinned for drawing.

    Attributes:
        resource: kind and name.
        at: seconds since 1970, oldest first.
        ratios: used of what there is, one for each moment.
    """

    resource: str
    at: tuple[float, ...]
    ratios: tuple[float, ...]


class _Ring:
    """The last samples, in eight bytes a number."""

    __slots__ = ("_next", "_size", "_times", "_values")

    def __init__(self, size: int) -> None:
        self._size = size
        self._next = 0
        self._times, self._values = array("d"), array("d")

    def add(self, at: float, value: float) -> None:
        if len(self._times) < self._size:
            self._times.append(at)
            self._values.append(value)
        else:
            self._times[self._next], self._values[self._next] = at, value
        self._next = (self._next + 1) % self._size

    def samples(self) -> list[tuple[float, float]]:
        found = list(zip(self._times, self._values, strict=True))
        return found if len(found) < self._size else found[self._next :] + found[: self._next]


class _Series:
    __slots__ = ("coarse", "coarse_due", "fine", "last")

    def __init__(self) -> None:
        self.fine, self.coarse = _Ring(_FINE), _Ring(_COARSE)
        self.coarse_due = self.last = float("-inf")


class History:
    """Samples of many resources.

    Example:
        >>> history = History()
        >>> for second in range(0, 7_200, 10):
        ...     history.add("disk data", float(second), 0.5)
        >>> samples = history.samples("disk data")
        >>> samples[0], samples[-1], len(samples)
        ((0.0, 0.5), (7190.0, 0.5), 366)
    """

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}

    def add(self, resource: str, at: float, ratio: float) -> None:
        """Keep a sample; one that is not newer than the last is left out.

        Args:
            resource: kind and name; the one not seen for longest gives way to a new one.
            at: seconds since 1970.
            ratio: used of what there is.
        """
        series = self._series.get(resource)
        if series is None:
            if len(self._series) >= _MOST_RESOURCES:
                del self._series[min(self._series, key=lambda name: self._series[name].last)]
            series = self._series[resource] = _Series()
        if at <= series.last:
            return
        series.last = at
        series.fine.add(at, ratio)
        if at >= series.coarse_due:
            series.coarse.add(at, ratio)
            series.coarse_due = at + _COARSE_SECONDS

    def samples(self, resource: str) -> list[tuple[float, float]]:
        """(seconds since 1970, ratio), oldest first: coarse ones, then the fine ones."""
        series = self._series.get(resource)
        if series is None:
            return []
        fine = series.fine.samples()
        return [one for one in series.coarse.samples() if one[0] < fine[0][0]] + fine

    def charts(self) -> Iterator[Chart]:
        """Each resource with at most 120 points, evenly in time."""
        for resource in list(self._series):
            points = _thinned(self.samples(resource))
            yield Chart(
                resource=resource,
                at=tuple(at for at, _ in points),
                ratios=tuple(ratio for _, ratio in points),
            )


def _thinned(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The highest sample of each stretch of time, and the last of all."""
    if len(samples) <= _MOST_POINTS:
        return samples
    start, end = samples[0][0], samples[-1][0]
    stretch = (end - start) / (_MOST_POINTS - 1)
    highest: dict[int, tuple[float, float]] = {}
    for one in samples[:-1]:
        place = min(_MOST_POINTS - 2, int((one[0] - start) / stretch))
        if place not in highest or one[1] > highest[place][1]:
            highest[place] = one
    return [*highest.values(), samples[-1]]
