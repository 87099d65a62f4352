"""Second tries of what met a lock, and pauses; the lease is kept.

The application goes first: whatever waits for a lock gives up soon, lets others have theirs and
tries again, so often as the policy allows. Who asks the run to stop does not wait for that.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import IntegrityError

from sa_perf.retention.disposal import RowsChanged
from sa_perf.retention.results import Outcome
from sa_perf.retention.wording import error_words

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.retention.lease import Lease
    from sa_perf.retention.limits import Limits
    from sa_perf.retention.steps import Step

__all__ = ["Ended", "Tries"]

T = TypeVar("T")
log = logging.getLogger("sa_perf.retention")
#: Seconds before the first new try; they double, up to the second.
_BACK_OFF = (0.02, 2.0)
#: New tries of a run's last statements where it was asked to stop: with the five seconds that each
#: of two waits for a lock, it ends within 45 s, before a service manager would kill it.
_HURRIED = 2


class Ended(Exception):
    """The run is to end before its walks do; not by an error.

    Attributes:
        how: outcome and reason.
    """

    def __init__(self, how: tuple[Outcome, str]) -> None:
        self.how = how
        super().__init__(how[1])


@dataclass(slots=True, kw_only=True)
class Tries:
    """The patience of one policy's run.

    Attributes:
        step: the policy.
        limits: of the run.
        connection: of the run.
        sleep: makes pauses.
        lease: kept over them; None: it is not had yet.
        hurried: the run was interrupted, so its end is not to take long.
    """

    step: Step
    limits: Limits
    connection: Connection
    sleep: Callable[[float], object]
    lease: Lease | None = None
    hurried: bool = False

    def of(self, function: Callable[[], T]) -> T:
        """What a short transaction gives; once more where a lock stands in its way.

        Raises:
            Ended: the run was asked to stop meanwhile.
        """
        failures = 0
        while True:
            try:
                return function()
            except Exception as error:
                failures += 1
                if not self.is_worth_one(error, failures):
                    raise
                self.back_off(error, failures)
                self.end_if_stopped()

    def at_last(self, function: Callable[[], T]) -> T:
        """The same for what ends a run: also where it was asked to stop, but then not for long."""
        failures = 0
        while True:
            try:
                return function()
            except Exception as error:
                failures += 1
                in_haste = self.hurried or self.limits.stop.is_set()
                enough = in_haste and failures > _HURRIED
                if enough or not self.is_worth_one(error, failures):
                    raise
                self.back_off(error, failures)

    def is_worth_one(self, error: Exception, failures: int) -> bool:
        """Whether a lock or a deadlock stood in the way, not too often, or a child came between."""
        again = self.step.purging.is_transient(error) or isinstance(error, RowsChanged)
        again = again or (isinstance(error, IntegrityError) and bool(self.step.children))
        return again and failures <= self.step.target.policy.batch.retries

    def back_off(self, error: Exception, failures: int) -> None:
        """Let others go first, before the next try.

        Raises:
            LeaseLost: another runner has the policy now.
        """
        log.info("retention of %s is tried again: %s", self.step.name, error_words(error))
        first, longest = _BACK_OFF
        wait = min(longest, first * 2 ** min(failures - 1, 10))
        self.sleep(wait * (0.5 + random.random()))  # noqa: S311  # no secret
        try:
            self.keep_lease()
        except Exception as other:
            # A lock stands in its way too: the next try meets it, or keeps the lease itself.
            if not self.step.purging.is_transient(other):
                raise

    def pause(self, seconds: float) -> None:
        """Let the application go first; ends early where the run is asked to stop.

        Raises:
            Ended: it was, while a lock stood in the lease's way.
            LeaseLost: another runner has the policy now.
        """
        part = seconds if self.lease is None else self.lease.seconds / 4
        while seconds > 0 and not self.limits.stop.is_set():
            self.sleep(min(seconds, part))
            seconds -= part
            self.of(self.keep_lease)

    def keep_lease(self) -> None:
        """Renew the lease, where there is one and it is time to; in no transaction.

        Raises:
            LeaseLost: another runner has the policy now.
        """
        if self.lease is not None:
            self.lease.keep(self.connection)

    def end_if_stopped(self) -> None:
        """End the run where it was asked to stop.

        Raises:
            Ended: it was.
        """
        if self.limits.stop.is_set():
            raise Ended(("stopped", "it was asked to stop"))
