"""The last slow executions, bounded, and their log records.

One `SlowExecution` for each execution over the threshold in a ring; a record on the logger
``sa_perf.slow`` with the same facts in ``extra["sa_perf"]``, at most 10 a second: an application in
trouble must not drown in its own log.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sa_perf.call_site import CallSite

if TYPE_CHECKING:
    from sa_perf.queries.aggregate import Aggregate
    from sa_perf.queries.statistics import Statistics

__all__ = ["SlowEntry", "SlowExecution", "SlowLog"]

_LOGGER = logging.getLogger("sa_perf.slow")
_RECORDS_A_SECOND = 10
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowExecution:
    """One run of a statement that took longer than ``slow_seconds``.

    Attributes:
        fingerprint: id of the statement's shape.
        statement: the shape.
        database: ``Database.label`` of where it ran.
        ended_at: when its last row was fetched, aware UTC.
        duration_seconds: time inside the driver, execute plus fetch.
        fetch_seconds: the part spent fetching.
        rows: rows fetched or changed; 0 while nothing has been fetched.
        call_site: nearest application line; None where there was none on the stack.
        scope: names of the scopes around it, innermost first; empty outside of any.
        parameters: one text a parameter; types and sizes unless asked for more.
    """

    fingerprint: str
    statement: str
    database: str
    ended_at: datetime
    duration_seconds: float
    fetch_seconds: float
    rows: int
    call_site: CallSite | None
    scope: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class SlowEntry:
    """A slow execution as it is kept; its rows are filled in when they have been fetched.

    ``rows`` is -1 until then, and where the driver does not tell how many were changed.
    """

    aggregate: Aggregate
    fingerprint: str | None
    statement: str
    ended_ns: int
    duration_ns: int
    fetch_ns: int
    rows: int
    call_site: CallSite | None
    scope: tuple[str, ...]
    parameters: tuple[str, ...]

    @property
    def known_rows(self) -> int | None:
        """Rows fetched or changed; None where nobody knows yet."""
        return self.rows if self.rows >= 0 else None


class SlowLog:
    """Ring buffer of slow executions. Appending is atomic and takes no lock.

    Args:
        size: executions kept, >= 0.
        log: also write log records.
        now: monotonic seconds, for the limit of records.
    """

    def __init__(
        self, size: int, *, log: bool = True, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries: deque[SlowEntry] = deque(maxlen=size)
        self._log = log
        self._now = now
        self._second = 0
        self._written = 0
        self._suppressed = 0
        self._taken: list[SlowEntry] = []

    def add(self, entry: SlowEntry) -> None:
        """Keep an entry and log it."""
        self.keep(entry)
        if self._log and _LOGGER.isEnabledFor(logging.WARNING):
            self._write(entry)

    def keep(self, entry: SlowEntry) -> None:
        """Keep an entry without logging it; takes no lock."""
        self._entries.append(entry)

    def take(self, statistics: Statistics) -> tuple[SlowExecution, ...]:
        """What was added since the last call and is kept, newest first; for one caller only."""
        # Held, so that no other entry gets the number of one.
        known, self._taken = self._taken, list(self._entries.copy())
        numbers = {id(entry) for entry in known}
        return tuple(
            _frozen(entry, statistics)
            for entry in reversed(self._taken)
            if id(entry) not in numbers
        )

    def executions(self, statistics: Statistics) -> tuple[SlowExecution, ...]:
        """What is kept, newest first."""
        return tuple(_frozen(entry, statistics) for entry in reversed(self._entries.copy()))

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

    def _write(self, entry: SlowEntry) -> None:
        second = int(self._now())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= _RECORDS_A_SECOND:
            self._suppressed += 1
            return
        self._written += 1
        suppressed, self._suppressed = self._suppressed, 0
        facts = {
            # None for a raw text that sqlglot has not read yet.
            "fingerprint": entry.fingerprint,
            "statement": entry.statement,
            "database": entry.aggregate.database,
            "duration_seconds": entry.duration_ns / 1e9,
            "fetch_seconds": entry.fetch_ns / 1e9,
            # None until they are fetched: a result is logged when its execute has ended.
            "rows": entry.known_rows,
            "call_site": str(entry.call_site) if entry.call_site else None,
            "scope": list(entry.scope),
            "parameters": list(entry.parameters),
            "suppressed": suppressed,
        }
        _LOGGER.warning(
            "%.3f s, %s%s: %s",
            entry.duration_ns / 1e9,
            "" if entry.known_rows is None else f"{entry.known_rows} rows, ",
            entry.call_site or "no application frame",
            entry.statement[:_SHOWN_CHARACTERS],
            extra={"sa_perf": facts},
        )


def _frozen(entry: SlowEntry, statistics: Statistics) -> SlowExecution:
    return SlowExecution(
        fingerprint=entry.fingerprint or statistics.fingerprint(entry.aggregate),
        statement=entry.statement,
        database=entry.aggregate.database,
        ended_at=statistics.datetime_of(entry.ended_ns),
        duration_seconds=entry.duration_ns / 1e9,
        fetch_seconds=entry.fetch_ns / 1e9,
        rows=entry.known_rows or 0,
        call_site=entry.call_site,
        scope=entry.scope,
        parameters=entry.parameters,
    )
