"""Which statements were explained, and when that is due again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from sa_perf.plans.results import ExplainedStatement

__all__ = ["Memory", "Reservation"]

#: Of all plans' texts together; the tree of a plan takes some times as much as its text.
_MAX_CHARACTERS = 8_000_000


@dataclass(slots=True)
class _Known:
    """When and at which duration a fingerprint was last looked at."""

    at: float
    duration_seconds: float
    failed: bool = False
    waiting: bool = True


@dataclass(frozen=True, slots=True)
class Reservation:
    """A fingerprint that someone now explains, and what was known of it before."""

    fingerprint: str
    before: _Known | None


class Memory:
    """Thread-safe; bounded to ``size`` fingerprints, the oldest are forgotten.

    Of plans whose texts are beyond eight million characters together, the oldest go as well.

    Args:
        now: monotonic seconds.
        slower_ratio: due again when it took this many times as long as it had, > 1.
        again_after_seconds: due again after this time, > 0.
        retry_after_seconds: what failed is due again after this time, >= 0.
        size: fingerprints remembered, >= 1.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        slower_ratio: float,
        again_after_seconds: float,
        retry_after_seconds: float,
        size: int,
    ) -> None:
        self._now = now
        self._slower_ratio = slower_ratio
        self._again_after_seconds = again_after_seconds
        self._retry_after_seconds = retry_after_seconds
        self._size = size
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._results: OrderedDict[str, ExplainedStatement] = OrderedDict()
        self._lock = threading.Lock()
        self._characters = 0
        self.explained = self.failed = self.timeouts = 0

    def is_due(self, fingerprint: str, duration_seconds: float) -> bool:
        """Whether a statement is worth explaining now. Takes no lock; under a microsecond."""
        known = self._known.get(fingerprint)
        if known is None:
            return True
        if known.waiting:
            return False
        age = self._now() - known.at
        if known.failed:
            return age >= self._retry_after_seconds
        return (
            duration_seconds >= known.duration_seconds * self._slower_ratio
            or age >= self._again_after_seconds
        )

    def reserve(self, fingerprint: str, duration_seconds: float) -> Reservation | None:
        """Claim a fingerprint so that nobody else explains it; None if it is not due."""
        with self._lock:
            if not self.is_due(fingerprint, duration_seconds):
                return None
            reservation = Reservation(fingerprint, self._known.get(fingerprint))
            self._known[fingerprint] = _Known(self._now(), duration_seconds)
            self._known.move_to_end(fingerprint)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
            return reservation

    def release(self, reservation: Reservation) -> None:
        """Give a claim up: all is as it was before it."""
        with self._lock:
            if reservation.before is None:
                self._known.pop(reservation.fingerprint, None)
            else:
                self._known[reservation.fingerprint] = reservation.before

    def record(self, result: ExplainedStatement, *, timed_out: bool, final: bool) -> None:
        """Keep a result.

        Args:
            result: the latest of its fingerprint.
            timed_out: it failed because of a time limit.
            final: if it failed, trying again soon would be in vain.
        """
        failed = result.error is not None
        with self._lock:
            self.explained += not failed
            self.failed += failed
            self.timeouts += timed_out
            self._known[result.fingerprint] = _Known(
                self._now(), result.duration_seconds, failed=failed and not final, waiting=False
            )
            while len(self._known) > self._size:
                self._known.popitem(last=False)
            self._keep(result)

    def _keep(self, result: ExplainedStatement) -> None:
        before = self._results.pop(result.fingerprint, None)
        self._characters += _characters(result) - _characters(before)
        self._results[result.fingerprint] = result
        while len(self._results) > self._size or (
            self._characters > _MAX_CHARACTERS and len(self._results) > 1
        ):
            _, oldest = self._results.popitem(last=False)
            self._characters -= _characters(oldest)

    def results(self) -> tuple[ExplainedStatement, ...]:
        """The latest of each fingerprint; what was explained last stands last."""
        with self._lock:
            return tuple(self._results.values())

    def start_anew(self) -> None:
        """Give up all claims, as a forked child must; what was found out stays."""
        self._lock = threading.Lock()
        for fingerprint in [name for name, known in self._known.items() if known.waiting]:
            del self._known[fingerprint]


def _characters(result: ExplainedStatement | None) -> int:
    if result is None or result.plan is None:
        return 0
    return len(result.plan.statement) + len(result.plan.raw)
