"""EXPLAIN of slow statements, off the hot path.

`PlanSampler.offer` is called where a slow statement ended: it decides in microseconds, puts the
statement into a bounded queue and returns. One daemon thread explains what is queued, on a
connection of its own, and ends when nothing is left to do. Thread-safe; survives fork.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
import weakref
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from sa_perf.dialects import DBAPIConnection, Dialect, Plan, dialect_for
from sa_perf.errors import ExplainError, ExplainRefused, SaPerfError, UnsupportedDatabase
from sa_perf.finding import Finding
from sa_perf.plans.history import PlanChange, PlanHistory
from sa_perf.plans.memory import Memory, Reservation
from sa_perf.plans.offers import (
    Offer,
    may_wait,
    on_own_connection,
    one_set,
    prepare,
    start_task,
    words_for,
)
from sa_perf.plans.results import ExplainedStatement, SamplerHealth
from sa_perf.plans.worker import Turn, Worker

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["ExplainedStatement", "PlanSampler", "SamplerHealth"]

_LOGGER = logging.getLogger("sa_perf")
#: A worker that answers no more for this time, or this many time limits, is left behind.
_HANG_SECONDS = 30.0
_HANG_LIMITS = 10
#: A fork waits this long for EXPLAINs under way.
_REST_SECONDS = 3.0
_EXIT_SECONDS = 0.2


class PlanSampler:
    """Explains each slow statement once, and again when its condition changed.

    Args:
        engine: synchronous face (``AsyncEngine.sync_engine``); held weakly.
        database: label that the results carry.
        enabled: False refuses every offer.
        queue_size: statements that may wait, >= 1; more are dropped and counted.
        timeout_seconds: time and lock limit given to the database for one EXPLAIN, > 0.
        big_table_rows: tables below this size give no findings, >= 0.
        keep_literals: keep strings and numbers in the plans' texts.
        now: monotonic seconds.
        slower_ratio: explain again when a statement took this many times as long as it had when
            it was explained, > 1.
        again_after_seconds: explain again when it is still slow after this time, > 0.
        retry_after_seconds: take again what failed only after this time, >= 0.
        results_size: fingerprints remembered, >= 1; the oldest are forgotten.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        database: str | None = None,
        enabled: bool = True,
        queue_size: int = 64,
        timeout_seconds: float = 2.0,
        big_table_rows: int = 10_000,
        keep_literals: bool = False,
        now: Callable[[], float] = time.monotonic,
        slower_ratio: float = 4.0,
        again_after_seconds: float = 3_600.0,
        retry_after_seconds: float = 30.0,
        results_size: int = 1_000,
    ) -> None:
        self._engine = weakref.ref(engine)
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._big_table_rows = big_table_rows
        self._keep_literals = keep_literals
        self._enabled = enabled
        self._dropped = 0
        self._memory = Memory(
            now=now,
            slower_ratio=slower_ratio,
            again_after_seconds=again_after_seconds,
            retry_after_seconds=retry_after_seconds,
            size=results_size,
        )
        self._history = PlanHistory()
        self._worker = Worker(
            size=queue_size,
            hang_seconds=max(_HANG_SECONDS, _HANG_LIMITS * timeout_seconds),
            now=now,
            run=self._run,
            failed=self._fallen,
        )
        _samplers.add(self)

    # The application's side

    def offer(
        self,
        *,
        fingerprint: str,
        statement: str,
        parameters: object,
        duration_seconds: float,
        rows: int | None,
        dbapi_connection: object | None,
    ) -> bool:
        """Take a slow statement to be explained. Never waits for the database, never raises.

        Costs less than a microsecond for a statement that is known. A database that only the
        application's connection sees (SQLite in memory) is asked here and now, on a cursor of its
        own, which begins no transaction: about a millisecond, once a statement.

        Args:
            fingerprint: id of its shape.
            statement: as it went to the driver.
            parameters: as they went to the driver; one set of them is held, while it is queued.
            duration_seconds: how long it took, >= 0.
            rows: rows that it returned or changed; None if unknown.
            dbapi_connection: the one that it ran on; None if it is gone.

        Returns:
            Whether it was taken.
        """
        try:
            self._history.ran(fingerprint, duration_seconds)
            if not self._memory.is_due(fingerprint, duration_seconds):
                return False
            if not self._enabled or self._worker.closed:
                return False
            return self._accept(
                Offer(
                    fingerprint=fingerprint,
                    statement=statement,
                    parameters=one_set(parameters),
                    duration_seconds=duration_seconds,
                    rows=rows,
                ),
                dbapi_connection,
            )
        except Exception:
            _LOGGER.warning("a slow statement could not be taken for EXPLAIN", exc_info=True)
            return False

    def results(self) -> tuple[ExplainedStatement, ...]:
        """The latest of each fingerprint; what was explained last stands last."""
        return self._memory.results()

    def changes(self) -> tuple[PlanChange, ...]:
        """Statements that are run in another way than before, newest change first."""
        return self._history.changes()

    def health(self) -> SamplerHealth:
        """Counters and the state of the queue."""
        return SamplerHealth(
            queued=len(self._worker.queue),
            explained=self._memory.explained,
            failed=self._memory.failed,
            dropped=self._dropped,
            timeouts=self._memory.timeouts,
            abandoned=self._worker.abandoned,
            alive=self._enabled and not self._worker.closed,
        )

    def drain(self, timeout_seconds: float) -> bool:
        """Wait until nothing is queued or being explained.

        Args:
            timeout_seconds: how long to wait at most, >= 0.

        Returns:
            Whether that was reached.
        """
        return self._worker.drain(timeout_seconds)

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Refuse further offers, forget the queue and end the worker.

        A worker that does not end in time is a daemon: it is left behind and counted.

        Args:
            timeout_seconds: how long to wait at most, >= 0.
        """
        self._worker.close(timeout_seconds)

    # Deciding

    def _accept(self, offer: Offer, dbapi_connection: object | None) -> bool:
        reservation = self._memory.reserve(offer.fingerprint, offer.duration_seconds)
        if reservation is None:
            return False
        try:
            prepared = self._asked_here(offer, dbapi_connection, reservation)
        except Exception as error:
            self._fail(offer, error)
            return True
        # None: a task of the application's event loop goes on with it.
        return prepared is None or self._put(prepared, reservation)

    def _put(self, offer: Offer, reservation: Reservation) -> bool:
        if self._worker.put(offer):
            return True
        self._dropped += 1
        self._memory.release(reservation)
        return False

    def _asked_here(
        self, offer: Offer, dbapi_connection: object | None, reservation: Reservation
    ) -> Offer | None:
        """Ask at once where a connection of our own would see another database."""
        engine = self._alive_engine()
        dialect = dialect_for(engine)
        dialect.require_explainable(offer.statement)
        private = dialect.is_in_memory(engine.url)
        if dbapi_connection is None:
            if private:
                raise ExplainError("the database lives in memory and its connection is gone")
            return offer
        connection: DBAPIConnection = dbapi_connection  # type: ignore[assignment]  # a driver's
        if not engine.dialect.is_async:
            # A closed connection does not answer: the URL's word stands.
            with contextlib.suppress(Exception):
                private = dialect.is_private(connection)
        if not private:
            return offer
        work = partial(self._prepared, dialect, connection, offer)
        if may_wait(engine):
            return work()
        start_task(work, partial(self._put, reservation=reservation), partial(self._fail, offer))
        return None

    def _prepared(self, dialect: Dialect, connection: DBAPIConnection, offer: Offer) -> Offer:
        return prepare(
            dialect,
            connection,
            offer,
            timeout_seconds=self._timeout_seconds,
            keep_literals=self._keep_literals,
        )

    def _alive_engine(self) -> Engine:
        engine = self._engine()
        if engine is None:
            raise ExplainError("the engine is gone")
        return engine

    # The worker's side

    def _run(self, turn: Turn) -> None:
        engine = self._alive_engine()
        dialect = dialect_for(engine)
        if turn.next_is_prepared():
            offer = turn.take()
            if offer is not None:
                self._finish(dialect, offer, turn)
            return

        def explain_all(connection: DBAPIConnection) -> None:
            dialect.begin_session(connection, self._timeout_seconds)
            while self._explain_next(dialect, connection, turn):
                pass

        def hold(connection: ConnectionPoolEntry | None) -> None:
            turn.held = connection

        on_own_connection(engine, explain_all, hold)

    def _explain_next(self, dialect: Dialect, connection: DBAPIConnection, turn: Turn) -> bool:
        """Explain the next offer; False if none came or the connection is of no more use."""
        offer = turn.take()
        if offer is None:
            return False
        usable = True
        try:
            if offer.plan is None:
                offer = self._prepared(dialect, connection, offer)
            self._finish(dialect, offer, turn)
        except SaPerfError as error:
            if turn.is_current():
                self._fail(offer, error)
            # The next one gets a new connection: nobody knows in what state this one is.
            usable = isinstance(error, ExplainRefused)
        turn.done()
        return usable

    def _finish(self, dialect: Dialect, offer: Offer, turn: Turn) -> None:
        findings: tuple[Finding, ...] = ()
        try:
            findings = words_for(dialect, offer, big_table_rows=self._big_table_rows)
        except Exception:
            # The plan is worth keeping; a statement that defeats the reading is ours to mend.
            _LOGGER.warning("a plan could not be put into words", exc_info=True)
        if turn.is_current():
            self._record(offer, offer.plan, findings, None)

    def _fallen(self, error: BaseException, offers: list[Offer]) -> None:
        for offer in offers:
            self._fail(offer, error)

    def _fail(self, offer: Offer, error: BaseException) -> None:
        engine = self._engine()
        dialect = Dialect() if engine is None else dialect_for(engine)
        if isinstance(error, SaPerfError):
            reason = str(error)
        else:
            reason = dialect.reason(error, offer.statement, offer.parameters)
        if dialect.is_timeout(error):
            reason = f"no plan within {self._timeout_seconds:g} s: {reason}"
        final = isinstance(error, (ExplainRefused, UnsupportedDatabase))
        timed_out = dialect.is_timeout(error)
        self._record(offer, None, (), reason, timed_out=timed_out, final=final)

    def _record(
        self,
        offer: Offer,
        plan: Plan | None,
        findings: tuple[Finding, ...],
        error: str | None,
        *,
        timed_out: bool = False,
        final: bool = False,
    ) -> None:
        result = ExplainedStatement(
            fingerprint=offer.fingerprint,
            database=self._database,
            plan=plan,
            findings=findings,
            explained_at=datetime.now(timezone.utc),
            error=error,
            duration_seconds=offer.duration_seconds,
        )
        self._history.explained(result)
        self._memory.record(result, timed_out=timed_out, final=final)

    def _start_in_child(self) -> None:
        """Begin anew in a forked child: the parent's thread, queue and connection are not ours."""
        self._worker.start_anew()
        self._memory.start_anew()
        self._history.start_anew()


_samplers: weakref.WeakSet[PlanSampler] = weakref.WeakSet()


def _rest_all() -> None:
    deadline = time.monotonic() + _REST_SECONDS
    for sampler in list(_samplers):
        sampler._worker.rest(max(0.0, deadline - time.monotonic()))


def _go_on_all() -> None:
    for sampler in list(_samplers):
        sampler._worker.go_on()


def _start_all_in_child() -> None:
    for sampler in list(_samplers):
        sampler._start_in_child()


def _close_all_at_exit() -> None:
    for sampler in list(_samplers):
        sampler.close(_EXIT_SECONDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_rest_all, after_in_parent=_go_on_all, after_in_child=_start_all_in_child
    )
atexit.register(_close_all_at_exit)
