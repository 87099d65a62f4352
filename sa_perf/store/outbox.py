"""Batches that wait to be stored: in order, bounded."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from sa_perf.store.batch import Batch

__all__ = ["MAX_ROWS", "Outbox"]

#: Rows held while the store is away; about 1 kB each.
MAX_ROWS = 50_000
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0
#: Times that a batch is tried which the database refuses, though it is there.
_REFUSALS = 5


class Outbox:
    """Batches that wait, and when to try again. Not thread-safe.

    Args:
        max_rows: of all batches together; beyond it the oldest go, but for the newest one.
        draw: a number from 0 to 1, by which pauses differ between processes.
    """

    def __init__(
        self, max_rows: int = MAX_ROWS, *, draw: Callable[[], float] = random.random
    ) -> None:
        self._max_rows = max_rows
        self._draw = draw
        self._batches: deque[Batch] = deque()
        self._rows = 0
        self._failures = 0
        self._refusals = 0
        self._not_before = 0.0
        self.lost_flushes = 0
        self.lost_calls = 0

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, batch: Batch) -> None:
        """Let a batch wait; where there is no room the oldest are dropped and counted."""
        self._batches.append(batch)
        self._rows += batch.rows
        while self._rows > self._max_rows and len(self._batches) > 1:
            self._drop()

    def first(self) -> Batch | None:
        """The batch whose turn it is; None where none waits."""
        return self._batches[0] if self._batches else None

    def is_due(self, now: float) -> bool:
        """Whether there is something to send and the pause after a failure is over.

        Args:
            now: monotonic seconds.
        """
        return bool(self._batches) and now >= self._not_before

    def stored(self, batch: Batch) -> None:
        """Take a batch out that is stored; it may have been dropped meanwhile."""
        if self._batches and self._batches[0] is batch:
            self._rows -= self._batches.popleft().rows
        self._failures = self._refusals = 0
        self._not_before = 0.0

    def failed(self, batch: Batch, now: float, *, refused: bool) -> None:
        """Wait before the next try: 5 s, twice as long each time, up to 5 minutes, less a share.

        Args:
            batch: that was tried.
            now: monotonic seconds.
            refused: the database is there and does not take it; after 5 times it is dropped.
        """
        self._failures += 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 16), _LONGEST_PAUSE_SECONDS)
        self._not_before = now + pause * (1 - self._draw() / 2)
        self._refusals = self._refusals + 1 if refused else 0
        if self._refusals >= _REFUSALS and self._batches and self._batches[0] is batch:
            self._refusals = 0
            self._drop()

    def _drop(self) -> None:
        batch = self._batches.popleft()
        self._rows -= batch.rows
        self.lost_flushes += 1
        self.lost_calls += batch.calls
