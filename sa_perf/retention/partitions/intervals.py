"""Intervals of time that partitions hold: their bounds and names (pure).

Moments here are without a zone: UTC for columns that keep one, else the column's own wall time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sa_perf.errors import PartitionError

__all__ = ["Every", "Span", "gaps", "spans_ahead", "suffix"]

_WRITTEN = re.compile(r"\s*(\d+)?\s*(hour|day|week|month|year)s?\s*")
_DAYS = {"day": 1, "week": 7}


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment up to, but without, another; None: without bound."""

    lower: datetime | None
    upper: datetime | None


@dataclass(frozen=True, slots=True)
class Every:
    """A length by the calendar, e.g. one month.

    Attributes:
        count: of units, at least 1.
        unit: ``"hour"``, ``"day"``, ``"week"`` (from Monday), ``"month"`` or ``"year"``.
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, written: str) -> Every:
        """Read ``"1 month"``, ``"2 weeks"``, ``"day"``.

        Raises:
            PartitionError: it is no such length.
        """
        match = _WRITTEN.fullmatch(written.lower())
        count = int(match[1] or 1) if match else 0
        if not match or not 1 <= count <= 1_000:
            raise PartitionError(
                f"every={written!r} is no length of time; write '1 hour', '1 day', '1 week', "
                "'1 month' or '1 year', or several of one"
            )
        return cls(count, match[2])

    def start(self, moment: datetime) -> datetime:
        """The beginning of the interval that holds a moment; the same for every process."""
        if self.unit == "year":
            return datetime(max(1, moment.year - moment.year % self.count), 1, 1)
        if self.unit == "month":
            return _month(_months(moment) - _months(moment) % self.count)
        if self.unit == "hour":
            hours = moment.toordinal() * 24 + moment.hour
            days, hour = divmod(hours - hours % self.count, 24)
            return datetime.fromordinal(days) + timedelta(hours=hour)
        length = _DAYS[self.unit] * self.count
        days = moment.toordinal() - 1  # 1 January of the year 1 was a Monday
        return datetime.fromordinal(days - days % length + 1)

    def next(self, start: datetime) -> datetime:
        """The beginning of the interval behind the one that begins so."""
        if self.unit == "year":
            return datetime(start.year + self.count, 1, 1)
        if self.unit == "month":
            return _month(_months(start) + self.count)
        if self.unit == "hour":
            return start + timedelta(hours=self.count)
        return start + timedelta(days=_DAYS[self.unit] * self.count)

    def spans(self, first: datetime, last: datetime) -> list[Span]:
        """The intervals from the one that holds a moment to the one that holds another."""
        found, lower = [], self.start(first)
        while lower <= last:
            upper = self.next(lower)
            found.append(Span(lower, upper))
            lower = upper
        return found


def spans_ahead(every: Every, now: datetime, ahead: int) -> list[Span]:
    """The interval of now and those behind it."""
    found = every.spans(now, now)
    for _ in range(ahead):
        upper = found[-1].upper
        assert upper is not None  # noqa: S101  # every interval has one
        found.append(Span(upper, every.next(upper)))
    return found


def gaps(wanted: Sequence[Span], existing: Sequence[Span]) -> list[Span]:
    """What existing partitions leave of the intervals that are wanted, oldest first."""
    found = []
    for one in wanted:
        pieces = [one]
        for other in existing:
            pieces = [rest for piece in pieces for rest in _without(piece, other)]
        found += pieces
    return found


def suffix(every: Every, span: Span) -> str:
    """The part of a partition's name that tells its interval: ``2026_11``, ``p20261101``."""
    lower = span.lower
    if lower is None:
        return "past"
    whole = lower == every.start(lower) and span.upper == every.next(lower)
    if whole and every.unit == "year":
        return f"{lower:%Y}"
    if whole and every.unit == "month":
        return f"{lower:%Y_%m}"
    at_midnight = (lower.hour, lower.minute, lower.second) == (0, 0, 0)
    if at_midnight and every.unit != "hour":
        return f"p{lower:%Y%m%d}"
    return f"p{lower:%Y%m%d_%H}" if lower.minute == lower.second == 0 else f"p{lower:%Y%m%d_%H%M%S}"


def _months(moment: datetime) -> int:
    return moment.year * 12 + moment.month - 1


def _month(number: int) -> datetime:
    return datetime(max(1, number // 12), number % 12 + 1, 1)


def _without(one: Span, other: Span) -> list[Span]:
    """What is left of a span that has both bounds."""
    low, high = other.lower or datetime.min, other.upper or datetime.max
    lower, upper = one.lower or datetime.min, one.upper or datetime.max
    if high <= lower or low >= upper:
        return [one]
    found = []
    if lower < low:
        found.append(Span(lower, low))
    if high < upper:
        found.append(Span(high, upper))
    return found
