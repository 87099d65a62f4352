"""Batch sizes that keep each transaction near a target time. Pure.

Sizes at most halve or double from batch to batch, so that one slow batch (a checkpoint, a cold
cache) does not ruin the ones behind it; far below the target they grow faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.retention.rules import BatchLimits

__all__ = ["Throttle"]

_MARGIN = 0.85
#: How much larger a batch may be than the one before: up to twice at all events, else up to two
#: thirds of what the target allows, since small batches are dear for their rows.
_SURE, _LARGEST = 2 / 3, 8.0


class Throttle:
    """Sizes of the batches of one walk.

    Args:
        limits: of the policy.
        target_seconds: the database's default, where the policy has none.
        least_pause_ratio: below which the database must not go.
        least_pause_seconds: the same behind batches that took longer.
        margin: share of the target to aim at, so that somewhat slower batches still meet it.
    """

    def __init__(
        self,
        limits: BatchLimits,
        *,
        target_seconds: float,
        least_pause_ratio: float,
        least_pause_seconds: float = 0.0,
        margin: float = _MARGIN,
    ) -> None:
        self._limits = limits
        self._rows = float(limits.first_rows)
        given = limits.target_seconds
        self.target_seconds = target_seconds if given is None else given
        self.pause_ratio = max(limits.pause_ratio or 0.0, least_pause_ratio)
        self._least_pause, self._margin = least_pause_seconds, margin

    @property
    def rows(self) -> int:
        """Rows that the next batch should scan."""
        return round(self._rows)

    def took(self, rows: int, seconds: float) -> float:
        """Learn from a batch; the pause to make now, in seconds.

        Args:
            rows: that it scanned; of the last of a walk there are fewer than asked for.
            seconds: that its transaction took.
        """
        factor = max(0.5, self._margin * self.target_seconds / max(seconds, 1e-6))
        factor = min(factor, max(2.0, min(_LARGEST, _SURE * factor)))
        # A batch of fewer rows than were asked for says only whether it was too slow.
        if rows >= self.rows or seconds > self.target_seconds:
            self._resize(self._rows * factor)
        return self.pause(seconds)

    def pause(self, seconds: float) -> float:
        """The pause to make behind a transaction that took so long."""
        return max(seconds * self.pause_ratio, min(seconds, self._least_pause))

    def failed(self) -> None:
        """A batch met a lock: the next one is smaller, so that it holds fewer."""
        self._resize(self._rows / 2)

    def _resize(self, rows: float) -> None:
        self._rows = min(float(self._limits.max_rows), max(float(self._limits.min_rows), rows))
