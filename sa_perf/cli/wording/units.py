"""Numbers as a person reads them: durations, counts, shares, moments."""

from __future__ import annotations

import math
from datetime import datetime, timezone

__all__ = ["count", "duration", "moment", "percent"]

_THREE_DIGITS = 99.95
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
#: Unit, its seconds, up to where it is used; the unit of the rest, its seconds.
_LONG = (
    ("min", _MINUTE, _HOUR, "s", 1),
    ("h", _HOUR, _DAY, "min", _MINUTE),
    ("d", _DAY, math.inf, "h", _HOUR),
)


def duration(seconds: float) -> str:
    """A length of time in the unit that fits: ``820 µs``, ``1.2 ms``, ``3.4 s``, ``2 min 5 s``.

    Args:
        seconds: of any sign; what is not finite gives ``"?"``.
    """
    if not math.isfinite(seconds):
        return "?"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    # Where rounding reaches the next unit, that unit is shown: 1.0 ms, not 1000 µs.
    for unit, size, end in (("µs", 1e-6, 999.5), ("ms", 1e-3, 999.5), ("s", 1.0, 59.5)):
        value = seconds / size
        if value < end:
            return f"{value:.1f} {unit}" if 0 < value < _THREE_DIGITS else f"{value:.0f} {unit}"
    whole = round(seconds)
    large, size, _, small, part = next(one for one in _LONG if whole < one[2])
    rest = whole % size // part
    return f"{whole // size:,} {large} {rest} {small}" if rest else f"{whole // size:,} {large}"


def count(number: float) -> str:
    """A number with separators at the thousands; a fraction keeps one digit."""
    if not math.isfinite(number):
        return "?"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def percent(ratio: float) -> str:
    """A share, 0..1, in per cent."""
    return f"{ratio * 100:.1f} %" if math.isfinite(ratio) else "?"


def moment(when: datetime) -> str:
    """A moment to the second, in UTC."""
    try:
        return f"{when.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:  # year 1 and year 9999 have no neighbours to convert into
        return when.isoformat()
