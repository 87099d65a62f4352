"""How long an event loop was busy elsewhere while a statement waited.

On an async driver the measured duration holds the time in which the answer lay ready but the loop
ran other callbacks. A timer that ticks every 5 ms while statements are in flight sees that as
its own lateness. What is shorter than a tick is not seen, so the figure is a lower bound.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable

__all__ = ["LoopLag", "loop_lag"]

_TICK_SECONDS = 0.005
_IDLE_TICKS = 200


class LoopLag:
    """Accumulated lateness of one event loop; used only in the loop's own thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._loop = weakref.ref(loop)
        self._clock = clock
        self._late_ns = 0
        self._due_ns = 0
        self._idle = _IDLE_TICKS

    def reading_ns(self) -> int:
        """Lateness so far, the current tick's included. Keeps the timer going for a second."""
        now = self._clock()
        if self._idle >= _IDLE_TICKS:
            self._idle = 0
            self._schedule(now)
            return self._late_ns
        self._idle = 0
        return self._late_ns + max(0, now - self._due_ns)

    def _schedule(self, now: int) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            self._due_ns = now + int(_TICK_SECONDS * 1e9)
            loop.call_later(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        now = self._clock()
        self._late_ns += max(0, now - self._due_ns)
        self._idle += 1
        if self._idle < _IDLE_TICKS:
            self._schedule(now)


_lags: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopLag] = weakref.WeakKeyDictionary()


def loop_lag() -> LoopLag | None:
    """The lag of the running loop; None outside of any."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    lag = _lags.get(loop)
    if lag is None:
        lag = _lags[loop] = LoopLag(loop)
    return lag
