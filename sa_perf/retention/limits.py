"""When a run has to end or to wait: rows, deadline, window, load."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timezone
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy.exc import InterfaceError, OperationalError

from sa_perf.dialects.purging import purging_of
from sa_perf.errors import RetentionError
from sa_perf.retention.wording import error_words
from sa_perf.retention.zones import zone_named
from sa_perf.tables import database_label

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Limits", "Wait", "Window", "load_above", "replica_lag_above"]

log = logging.getLogger("sa_perf.retention")
#: Asked before each batch: a reason to wait, in words, or None. What it raises ends the policy.
Wait: TypeAlias = "Callable[[], str | None]"

#: How often in a row a replica may be out of reach: with a second between, for a restart.
_PATIENCE = 60
_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the day in which a run may work, e.g. ``"02:00-04:00"``; over midnight too.

    They go by this machine's clock, as the timer does that starts the run: by the database's, a run
    that is started at the first minute might find itself early and end at once.

    Attributes:
        start: first minute.
        end: first minute in which it may not any more.
        zone: IANA name of the zone of both.
    """

    start: time
    end: time
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Window:
        """Read ``"02:00-04:00"``.

        Raises:
            RetentionError: it is something else.
        """
        found = _WINDOW.fullmatch(text.strip())
        try:
            if found is None:
                raise ValueError
            first, second, third, fourth = (int(part) for part in found.groups())
            window = cls(time(first, second), time(third, fourth), zone)
            zone_named(zone)
        except (ValueError, OSError, KeyError):
            raise RetentionError(
                f"window is {text!r} in zone {zone!r}; write it like '02:00-04:00' and 'UTC'"
            ) from None
        if window.start == window.end:
            raise RetentionError(f"window {text!r} is empty")
        return window

    def holds(self, moment: datetime) -> bool:
        """Whether a moment (aware) lies in it."""
        now = moment.astimezone(zone_named(self.zone)).time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end


@dataclass(slots=True, kw_only=True)
class Limits:
    """What ends a run before it is done.

    Attributes:
        max_rows: that may be changed; None: any number.
        deadline: moment (aware) at which it ends.
        window: outside of which it ends.
        stop: set by a signal's handler or another thread; the batch under way is finished.
        waits: reasons to wait, asked before each batch.
        wait_seconds: between two questions.
        now: this machine's wall clock, aware; ages go by the database's.
    """

    max_rows: int | None = None
    deadline: datetime | None = None
    window: Window | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    waits: Sequence[Wait] = ()
    wait_seconds: float = 1.0
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    _changed: int = 0
    _waited: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.max_rows is not None and self.max_rows < 1:
            raise RetentionError(f"max_rows is {self.max_rows!r}; it is at least 1")
        if self.deadline is not None and self.deadline.tzinfo is None:
            raise RetentionError(f"deadline {self.deadline!r} has no time zone")

    def changed(self, rows: int) -> None:
        """Take note of rows that a batch changed."""
        self._changed += rows

    @property
    def rows_left(self) -> int | None:
        """How many rows may still be changed; None: any number."""
        return None if self.max_rows is None else max(0, self.max_rows - self._changed)

    def reached(self) -> tuple[str, str] | None:
        """Why the run has to end now, as its outcome and in words; None: it may go on."""
        if self.stop.is_set():
            return "stopped", "it was asked to stop"
        if self.rows_left == 0:
            return "limited", f"max_rows={self.max_rows:,} rows were changed"
        now = self.now()
        if self.deadline is not None and now >= self.deadline:
            come = f"its deadline, {self.deadline:%Y-%m-%d %H:%M:%S %Z}, has come"
            return "limited", self._while_it_waited(come)
        if self.window is not None and not self.window.holds(now):
            hours = f"{self.window.start:%H:%M}-{self.window.end:%H:%M} {self.window.zone}"
            return "limited", self._while_it_waited(f"its window, {hours}, is closed")
        return None

    def reason_to_wait(self) -> str | None:
        """Why the next batch should not begin yet; None: it may."""
        reasons = (wait() for wait in self.waits)
        self._waited = next((reason for reason in reasons if reason is not None), None)
        return self._waited

    def _while_it_waited(self, end: str) -> str:
        return end if self._waited is None else f"{end} while it waited: {self._waited}"


def load_above(ratio: float) -> Wait:
    """Wait while the machine's load average of one minute, per core, is above a ratio."""

    def wait() -> str | None:
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        return f"the load per core is {load:.2f}, above {ratio:g}" if load > ratio else None

    return wait


def replica_lag_above(engine: Engine, seconds: float) -> Wait:
    """Wait while a replica is further behind than some seconds, or does not replicate.

    Each question is a query on a connection of its own. A database that cannot be reached is a
    reason to wait too, sixty times in a row; then its error ends the policy. Where no replica is
    seen, a warning is logged once.

    Args:
        engine: of the primary (PostgreSQL; its role needs ``pg_monitor``), or of the replica
            itself: on MySQL and MariaDB only that knows (REPLICATION CLIENT, REPLICA MONITOR).
        seconds: of lag that may be.
    """
    return _ReplicaLag(engine=engine, seconds=seconds)


@dataclass(slots=True, kw_only=True)
class _ReplicaLag:
    engine: Engine
    seconds: float
    _failures: int = 0
    _warned: bool = False

    def __call__(self) -> str | None:
        try:
            lag = self._lag()
        except (OperationalError, InterfaceError) as error:
            self._failures += 1
            if self._failures > _PATIENCE:
                raise
            return f"how far a replica is behind cannot be asked: {error_words(error)}"
        self._failures = 0
        if lag is None:
            self._warn()
            return None
        if lag <= self.seconds:
            return None
        if math.isinf(lag):
            return "a replica does not replicate, or is only catching up"
        return f"a replica is {lag:,.1f} s behind, more than {self.seconds:g} s"

    def _lag(self) -> float | None:
        purging = purging_of(self.engine)
        with purging.connection(self.engine) as connection, purging.reading(connection):
            return purging.replica_lag_seconds(connection)

    def _warn(self) -> None:
        """Say, once, that the limit limits nothing."""
        if not self._warned:
            log.warning(
                "%s shows no replica, so none is waited for", database_label(self.engine.url)
            )
        self._warned = True
