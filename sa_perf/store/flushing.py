"""Takes what a process recorded, and sends it to the store.

What is taken is taken by the housekeeping thread at the end of each span, in some milliseconds.
What is sent is sent some seconds later by a thread of its own, which ends when nothing waits: the
database may be slow or away, and processes of one machine are not to come all at once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sqlalchemy.exc import (
    CompileError,
    DataError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    StatementError,
)

from sa_perf.errors import MissingTables, SaPerfError
from sa_perf.queries.transactions import TransactionStats
from sa_perf.snapshot import StoreHealth
from sa_perf.store.batch import Batch, Documents, Process, facts_of
from sa_perf.store.difference import scopes_since, transactions_since
from sa_perf.store.outbox import Outbox
from sa_perf.store.tables import MINUTE
from sa_perf.store.writing import Writer
from sa_perf.tables import require_tables

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.queries.faults import Faults
    from sa_perf.snapshot import Snapshot
    from sa_perf.store.place import Place

__all__ = ["Flusher"]

_LOGGER = logging.getLogger("sa_perf.store")
#: A process sends so long after the end of a span at most, or a quarter of a shorter span.
_JITTER_SECONDS = 10.0
_SHOWN_CHARACTERS = 200
#: What the database refuses however often it is asked, unlike what passes.
_REFUSALS = (
    DataError, IntegrityError, NotSupportedError, ProgrammingError, CompileError, ValueError,
    TypeError, OverflowError,
)  # fmt: skip


class Flusher:
    """What brings one process's statistics to the store.

    Args:
        place: of the store.
        process: says who this process is; asked again in a child.
        read: what was recorded since its last call, and everything else as it is now.
        faults: where errors of its own are noted.
        seconds: length of a span, >= 1.
        make_tables: makes the tables in a database of the store's own that has none.
        upkeep: rolls spans up and keeps the store small; called by the sending thread.
        wall: seconds since 1970 UTC.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        place: Place,
        process: Callable[[], Process],
        read: Callable[[], Snapshot],
        faults: Faults,
        *,
        seconds: float = 60.0,
        make_tables: Callable[[Connection], None] | None = None,
        upkeep: Callable[[Place, Process], None] | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._process = process
        self._read = read
        self._faults = faults
        self._seconds = seconds
        self._make_tables = make_tables
        self._upkeep = upkeep
        self._wall = wall
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        #: Over what is taken.
        self._taking = threading.Lock()
        #: Over what is sent; nobody holds it for long.
        self._lock = threading.Lock()
        self._sender: threading.Thread | None = None
        who = self._process()
        self._writer = Writer(who)
        self._documents = Documents(who.token)
        self._outbox = Outbox()
        self._before: Snapshot | None = None
        self._number = 0
        self._taken_at = self._wall()
        self._send_at = 0.0
        self._checked = False
        self._flushes = self._failures = 0
        self._last_error: str | None = None
        self._last_flush_at: datetime | None = None

    # Called by the housekeeping thread, and at exit

    def tick(self) -> None:
        """Take what was recorded if a span has ended; send if it is time."""
        now = self._wall()
        if int(now // self._seconds) != int(self._taken_at // self._seconds):
            self.take()
            jitter = min(_JITTER_SECONDS, self._seconds / 4)
            self._send_at = self._clock() + random.random() * jitter  # noqa: S311  # no secret
        if self._clock() >= self._send_at:
            with self._lock:
                due = self._outbox.is_due(self._clock())
            if due:
                self._start_sending()

    def take(self) -> None:
        """Let what was recorded since the last call wait to be sent."""
        with self._taking:
            began, self._taken_at = self._taken_at, self._wall()
            reading = self._read()
            before, self._before = self._before, reading
            scopes = () if before is None else before.scopes
            transactions = TransactionStats() if before is None else before.transactions
            self._number += 1
            batch = Batch(
                number=self._number,
                # A clock that was set back: the span is where it ended.
                began_at=int(min(began, self._taken_at)) // MINUTE * MINUTE,
                taken_at=self._taken_at,
                facts=facts_of(reading),
                queries=reading.queries,
                scopes=scopes_since(scopes, reading.scopes),
                transactions=transactions_since(transactions, reading.transactions),
                slow=reading.slow,
                samples=() if reading.resources is None else reading.resources.standings,
                documents=self._documents.changed(reading),
            )
            with self._lock:
                self._outbox.add(batch)

    def reset(self) -> None:
        """Take what was recorded, of which the process is about to forget everything."""
        self.take()
        with self._taking:
            self._before = None

    def flush(self, timeout_seconds: float) -> bool:
        """Take what was recorded and send all that waits, whatever failed before.

        Returns:
            Whether everything is stored, within the time.
        """
        self.take()
        end = self._clock() + timeout_seconds
        while True:
            # Another thread may be about to end, which has not seen what was just taken.
            own = self._start_sending(at_once=True)
            sender = self._sender
            if sender is not None:
                sender.join(max(0.0, end - self._clock()))
            with self._lock:
                if not self._outbox:
                    return True
            if own or self._clock() >= end:
                return False

    def after_fork(self) -> None:
        """Begin anew in a child process; what waits is the parent's to send."""
        self._begin()

    def before_fork(self, timeout_seconds: float) -> None:
        """Wait for the sending thread: a lock in its hand would stay locked in the child."""
        sender = self._sender
        if sender is not None and sender is not threading.current_thread():
            sender.join(timeout_seconds)

    def health(self) -> StoreHealth:
        """How it fares."""
        with self._lock:
            return StoreHealth(
                label=self._place.label,
                flushes=self._flushes,
                waiting=len(self._outbox),
                failures=self._failures,
                lost_flushes=self._outbox.lost_flushes,
                lost_calls=self._outbox.lost_calls,
                last_error=self._last_error,
                last_flush_at=self._last_flush_at,
            )

    # The sending thread

    def _start_sending(self, *, at_once: bool = False) -> bool:
        """Start the thread; False where it runs already."""
        sender = threading.Thread(
            target=self._send, args=(at_once,), name="sa_perf store", daemon=True
        )
        with self._lock:
            if self._sender is not None:
                return False
            try:
                # Within the lock: who finds it may join it.
                sender.start()
                self._sender = sender
                return True
            except RuntimeError:  # the interpreter is about to end
                pass
        self._send(at_once)
        return True

    def _send(self, at_once: bool) -> None:
        try:
            while True:
                with self._lock:
                    batch = self._outbox.first()
                    lost = self._outbox.lost_flushes, self._outbox.lost_calls
                    if batch is None or not (at_once or self._outbox.is_due(self._clock())):
                        break
                if not self._stored(batch, lost):
                    break
            if self._upkeep is not None and self._last_error is None:
                self._upkeep(self._place, self._writer.process)
        except Exception as error:
            self._faults.note("sending to the store", error)
        finally:
            with self._lock:
                self._sender = None

    def _stored(self, batch: Batch, lost: tuple[int, int]) -> bool:
        try:
            self._place.run(lambda connection: self._write(connection, batch, lost))
        except Exception as error:
            with self._lock:
                self._outbox.failed(batch, self._clock(), refused=isinstance(error, _REFUSALS))
                self._failures += 1
                self._checked = False
                self._tell(_in_words(error))
            return False
        with self._lock:
            self._outbox.stored(batch)
            self._flushes += 1
            self._last_flush_at = datetime.fromtimestamp(self._wall(), timezone.utc)
            if self._last_error is not None:
                _LOGGER.warning("the store %s is there again", self._place.label)
                self._last_error = None
        return True

    def _write(self, connection: Connection, batch: Batch, lost: tuple[int, int]) -> None:
        if not self._checked:
            self._see_to_tables(connection)
            self._checked = True
        self._writer.write(connection, batch, lost=lost)

    def _see_to_tables(self, connection: Connection) -> None:
        try:
            require_tables(connection)
        except MissingTables:
            if self._make_tables is None or not self._place.is_own_and_empty(connection):
                raise
            self._make_tables(connection)

    def _tell(self, error: str) -> None:
        """Log an error once, until it is another or all is well."""
        if error != self._last_error:
            self._last_error = error
            _LOGGER.warning(
                "the store %s took nothing: %s; %d flushes wait, %d were dropped",
                self._place.label,
                error,
                len(self._outbox),
                self._outbox.lost_flushes,
            )


def _in_words(error: Exception) -> str:
    """An error of one line: of a driver its own words, without the statement and its values."""
    if isinstance(error, SaPerfError):
        return str(error)
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    words = str(cause).strip().partition("\n")[0][:_SHOWN_CHARACTERS]
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__
