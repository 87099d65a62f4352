"""Counts flushes of sessions: INSERTs of one are told from many's."""

from __future__ import annotations

import itertools
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from sqlalchemy import event

if TYPE_CHECKING:
    from sa_perf.queries.execution import Context

__all__ = ["Flushes"]

#: The ORM executes what it flushes with a cache of its own.
_OF_FLUSH = "compiled_cache"
_number: ContextVar[int] = ContextVar("sa_perf_flush", default=0)
#: Of all threads, so that two which share a scope have no number in common.
_numbers = itertools.count(1)


class Flushes:
    """A listener on all sessions, put in place when the ORM's first INSERT is seen."""

    def __init__(self) -> None:
        self._open = False
        self._lock = threading.Lock()

    def number(self, context: Context) -> int | None:
        """Number of the flush under way in this context; None: the ORM flushes nothing here."""
        if _OF_FLUSH not in context.execution_options:
            return None
        if not self._open:
            self._listen()
        return _number.get()

    def close(self) -> None:
        """Take the listener away."""
        with self._lock:
            if self._open:
                from sqlalchemy.orm import Session

                self._open = False
                event.remove(Session, "before_flush", self._begins)

    def start_anew(self) -> None:
        """Go on in a forked child."""
        self._lock = threading.Lock()

    def _listen(self) -> None:
        with self._lock:
            if not self._open:
                from sqlalchemy.orm import Session

                event.listen(Session, "before_flush", self._begins)
                self._open = True

    def _begins(self, *_: object) -> None:
        _number.set(next(_numbers))
