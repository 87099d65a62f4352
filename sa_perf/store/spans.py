"""Which stored spans make up a window, each execution once. Pure.

Rows of an hour or a day are sums of narrower rows, which are kept for a while beside them. Up to
`Levels.rolled` the wider rows hold everything; whole hours and days are read there, and what a
window cuts off from one is read in narrower rows where these are still kept. Where they are not, a
span belongs to the window in which it begins: windows that meet never count anything twice, and
leave nothing out.

What a process brought late, when its hour or day had been added up already, stands in rows of that
width with the process's number; it too belongs to the window in which its span begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sa_perf.store.tables import DAY, HOUR, MINUTE

__all__ = ["Levels", "Piece", "Window", "window_of"]

_FINEST_FIRST = (MINUTE, HOUR, DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How far spans are added up, and from when on narrow ones are kept; seconds since 1970.

    Attributes:
        rolled_hours: before it rows of hours hold all that was in minutes.
        rolled_days: before it rows of days hold all that was in hours.
        whole_minutes: from then on every row of a minute is still kept; None where none is.
        whole_hours: the same of hours.
        oldest: when the store begins, as exactly as is still known; None where it is empty.
        newest: end of the newest span; None likewise.
    """

    rolled_hours: int = 0
    rolled_days: int = 0
    whole_minutes: int | None = None
    whole_hours: int | None = None
    oldest: int | None = None
    newest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Rows that count.

    Attributes:
        width: of their spans, in seconds.
        begin: of the first span.
        end: before it the last one begins.
        late: only those that came late, of single processes.
    """

    width: int
    begin: int
    end: int
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is read.

    Attributes:
        begin: seconds since 1970; the first moment from which spans are read.
        end: before it the last of them begins.
        pieces: none overlaps another.
    """

    begin: int
    end: int
    pieces: tuple[Piece, ...]


def window_of(levels: Levels, since: int, until: int) -> Window:
    """Find the rows that make up a window.

    Args:
        levels: of the store.
        since: seconds since 1970.
        until: later or as late, else the window is empty.
    """
    begin, end = _edge(since, levels), _edge(until, levels)
    if begin >= end:
        return Window(begin=begin, end=begin, pieces=())
    cuts = {
        begin, _up(begin, HOUR), _up(begin, DAY), levels.rolled_days, levels.rolled_hours,
        end - end % DAY, end - end % HOUR, end,
    }  # fmt: skip
    places = sorted(one for one in cuts if begin <= one <= end)
    stretches = [(_width(start, stop, levels), start, stop) for start, stop in pairwise(places)]
    return Window(begin=begin, end=end, pieces=tuple(_pieces(stretches)))


def _edge(moment: int, levels: Levels) -> int:
    """The first moment from the given one on at which the kept rows can be parted."""
    moment = _up(moment, MINUTE)
    if moment % HOUR and moment < levels.rolled_hours and _is_cut(moment, levels.whole_minutes):
        moment = _up(moment, HOUR)
    if moment % DAY and moment < levels.rolled_days and _is_cut(moment, levels.whole_hours):
        moment = _up(moment, DAY)
    return moment


def _is_cut(moment: int, whole: int | None) -> bool:
    return whole is None or moment < whole


def _width(start: int, stop: int, levels: Levels) -> int:
    """Of the rows that hold all of a stretch; the widest there are."""
    if stop <= levels.rolled_days and start % DAY == 0 and stop % DAY == 0:
        return DAY
    if stop <= levels.rolled_hours and start % HOUR == 0 and stop % HOUR == 0:
        return HOUR
    return MINUTE


def _pieces(stretches: list[tuple[int, int, int]]) -> Iterator[Piece]:
    for width in _FINEST_FIRST:
        own = [(start, stop) for each, start, stop in stretches if each == width]
        yield from (Piece(width=width, begin=one, end=two) for one, two in _joined(own))
        finer = [(start, stop) for each, start, stop in stretches if each < width]
        for one, two in _joined(finer):
            begin = _up(one, width)
            if begin < two:
                yield Piece(width=width, begin=begin, end=two, late=True)


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches in their order, those that meet as one."""
    found: list[tuple[int, int]] = []
    for start, stop in stretches:
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], stop
        else:
            found.append((start, stop))
    return found


def _up(moment: int, width: int) -> int:
    return -(-moment // width) * width
