"""Histograms that are read when somebody first looks into one.

A day of a busy application has hundreds of thousands of them, of which ``sa-perf top`` shows the
sums of twenty statements. They are read by blocks, the most costly statements first: 20 by the
first question, and with each further one twice as many.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from sa_perf.errors import InvalidHistogram
from sa_perf.histogram import BUCKETS, Histogram
from sa_perf.store.histogram_blob import items_of

__all__ = ["Blobs", "HistogramLoader", "StoredHistogram", "summed"]

#: As many as `sa-perf top` shows.
_FIRST_BLOCK = 20
#: Histograms by number of the statement; the same bytes may come often.
Blobs: TypeAlias = "Mapping[int, Counter[bytes]]"


class StoredHistogram(Histogram):
    """One that is read when it is needed; may then raise what reading the store does."""

    __slots__ = ("_load",)

    def __init__(self, load: Callable[[], None]) -> None:
        # What the base class sets is left out: a slot that is not set asks __getattr__.
        self._load = load

    def __getattr__(self, name: str) -> object:
        if name not in ("_first", "_counts"):
            raise AttributeError(name)
        self._load()
        return object.__getattribute__(self, name)

    def __reduce__(self) -> tuple[Callable[..., Histogram], tuple[object, ...]]:
        """Be read, and go elsewhere as an ordinary one: what loads it cannot go along."""
        return Histogram.from_items, (self.items(),)

    def fill(self, histogram: Histogram) -> None:
        """Take over what was read; the other one is not used any more."""
        self._first, self._counts = histogram._first, histogram._counts


class HistogramLoader:
    """Reads the histograms of many statements by blocks. Thread-safe.

    Args:
        statements: numbers of the statements, the most costly first.
        read: the histograms of some of them; may leave out those that have none.
        unreadable: told how many of them cannot be read; what can is used.
    """

    def __init__(
        self,
        statements: Sequence[int],
        read: Callable[[Sequence[int]], Blobs],
        unreadable: Callable[[int], None],
    ) -> None:
        self._read = read
        self._unreadable = unreadable
        self._lock = threading.Lock()
        self._size = _FIRST_BLOCK
        self._waiting = {
            number: StoredHistogram(lambda number=number: self._load(number))  # type: ignore[misc]  # a default binds it
            for number in statements
        }
        self._histograms = dict(self._waiting)

    def __getitem__(self, statement: int) -> StoredHistogram:
        return self._histograms[statement]

    def _load(self, statement: int) -> None:
        with self._lock:
            if statement not in self._waiting:
                return  # another thread was faster
            block = [statement, *(one for one in self._waiting if one != statement)][: self._size]
            blobs = self._read(block)
            self._size *= 2
            for one in block:
                histogram, unreadable = summed(blobs.get(one, Counter()))
                self._waiting.pop(one).fill(histogram)
                if unreadable:
                    self._unreadable(unreadable)


def summed(blobs: Mapping[bytes, int] | Iterable[bytes]) -> tuple[Histogram, int]:
    """Add histograms up, and count those that cannot be read or added.

    Args:
        blobs: as `to_blob` writes them, with how often each is there.
    """
    counts = [0] * BUCKETS
    unreadable = 0
    for blob, times in (blobs if isinstance(blobs, Mapping) else Counter(blobs)).items():
        try:
            items = items_of(blob)
        except InvalidHistogram:
            unreadable += times
            continue
        for bucket, count in items:
            counts[bucket] += count * times
    try:
        items = [(bucket, count) for bucket, count in enumerate(counts) if count]
        return Histogram.from_items(items), unreadable
    except ValueError:
        # Counts beyond 2**63 - 1, of which no sum can be made.
        return Histogram(), sum(Counter(blobs).values())
