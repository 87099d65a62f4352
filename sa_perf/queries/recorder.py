"""Engine events -> executions; never raises into the application.

One `Recorder` stands on one SQLAlchemy dialect, that is on one engine and all that is derived from
it. What happens per statement is kept to: find the shape (an attribute of the compiled statement),
read the clock twice, replace the fetch strategy; and at the end of the result append one tuple.
Everything else happens in batches (`statistics`) or only to slow statements.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.engine.cursor import _DEFAULT_FETCH
from sqlalchemy.engine.interfaces import ExecuteStyle

from sa_perf.call_site import call_site
from sa_perf.queries.execution import PENDING, Execution
from sa_perf.queries.faults import Faults
from sa_perf.queries.fetch import BufferedFetch, Fetch
from sa_perf.queries.n_plus_one import Watch
from sa_perf.queries.parameters import described
from sa_perf.queries.scopes import current_scope
from sa_perf.queries.shape import Shape, Shapes
from sa_perf.queries.slow_log import SlowEntry

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext, ExecutionContext
    from sqlalchemy.engine.interfaces import DBAPICursor

    from sa_perf.queries.execution import Context, Counted
    from sa_perf.queries.fingerprint import Fingerprinter
    from sa_perf.queries.slow_log import SlowLog
    from sa_perf.queries.statistics import Statistics
    from sa_perf.queries.tally import Tally
    from sa_perf.settings import Settings

__all__ = ["BATCH", "DEFAULT_FETCH", "IGNORE", "Offer", "Recorder"]

#: Strategy of a result to which no dialect has done anything.
DEFAULT_FETCH = _DEFAULT_FETCH
#: Execution option of every statement that sa_perf itself issues.
IGNORE = "sa_perf_ignore"

#: Records after which the statistics are folded, on the thread that adds the last.
BATCH = 128
_LEAST_LOOP_WAIT_NS = 1_000_000
_clock = time.perf_counter_ns
_INSERTMANYVALUES = ExecuteStyle.INSERTMANYVALUES


class Offer(Protocol):
    """How a slow statement is handed on to be explained."""

    def __call__(
        self,
        *,
        fingerprint: str,
        statement: str,
        parameters: object,
        duration_seconds: float,
        rows: int | None,
        dbapi_connection: object | None,
    ) -> bool:
        """Queue it; False where it is already explained or the queue is full."""


class Recorder:
    """Records the executions of one engine.

    Args:
        database: label under which its statements are counted.
        fingerprinter: shapes for its texts.
        statistics: where executions are counted.
        slow_log: where slow ones are kept.
        settings: thresholds and modes.
        faults: where faults of our own are counted.
        offer: takes slow statements to be explained; None explains nothing.
    """

    def __init__(
        self,
        *,
        database: str,
        fingerprinter: Fingerprinter,
        statistics: Statistics,
        slow_log: SlowLog,
        settings: Settings,
        faults: Faults,
        offer: Offer | None = None,
    ) -> None:
        self.database = database
        self.faults = faults
        self.offer = offer
        self.connection_errors = 0
        self.watch = Watch(
            statistics,
            enabled=settings.n_plus_one,
            threshold=settings.n_plus_one_threshold,
            over_eager=settings.over_eager,
        )
        longest, loads = settings.max_statement_length, self.watch.loads
        self._shapes = Shapes(database, fingerprinter, statistics, longest, loads=loads)
        self._statistics = statistics
        self._slow_log = slow_log
        self._settings = settings
        self.slow_ns = int(settings.slow_seconds * 1e9)
        self.pending = statistics.pending
        self.append = statistics.pending.append

    def shape_of(self, context: ExecutionContext, statement: str) -> Shape | None:
        """The shape of a statement that is seen for the first time; None where that fails."""
        try:
            return self._shapes.shape_of(self, context, statement)
        except Exception as error:
            self.faults.note("fingerprint", error)
            return None

    def succeeded(
        self,
        context: Context,
        statement: str,
        cursor: DBAPICursor,
        duration_ns: int,
        *,
        parameter_sets: int | None = None,
    ) -> None:
        """Take note of a cursor execution that raised nothing.

        Args:
            context: of the execution.
            statement: as it went to the driver.
            cursor: of the driver; its rows are still to come.
            duration_ns: of the driver's execute.
            parameter_sets: of the driver's ``executemany``; None where that was not used.
        """
        streamed = False
        try:
            if IGNORE in context.execution_options:
                return
            if _is_default(context):
                self._whole(self._shapes.raw_shape(self, statement), context, 0, duration_ns)
                return
            shape = getattr(context.compiled, "_sa_perf_shape", None)
            if shape is None or shape.recorder is not self:
                shape = self.shape_of(context, statement)
            if shape is None:
                return
            if parameter_sets is not None:
                self._executed_many(shape, context, cursor, duration_ns, parameter_sets)
            else:
                streamed = self._executed(shape, context, cursor, duration_ns)
        except Exception as error:
            self.faults.note("execution", error)
        if streamed:
            self._open_stream(context, cursor)

    def _executed(
        self, shape: Shape, context: Context, cursor: DBAPICursor, duration_ns: int
    ) -> bool:
        """Returns whether the result is streamed: then `_open_stream` has to follow."""
        if shape.many and context.execute_style is _INSERTMANYVALUES:
            self._batch(shape, context, duration_ns)
            return False
        returns_rows = shape.returns_rows
        if returns_rows is None:
            returns_rows = cursor.description is not None
        tally = self.watch.tally_of(shape, context, run := current_scope())
        if not returns_rows or context.cursor_fetch_strategy is not DEFAULT_FETCH:
            # No rows, or the dialect has fetched them by itself.
            self._whole(shape, context, cursor.rowcount, duration_ns, tally=tally)
            return False
        fetch = Fetch()
        fetch.shape, fetch.execute_ns, fetch.ended_ns = shape, duration_ns, _clock()
        fetch.run, fetch.rows, fetch.counted, fetch.tally = run, -1, PENDING, tally
        self.append(fetch)
        # Last: what fails above must not leave the application a strategy that is half made.
        context.cursor_fetch_strategy = fetch
        if duration_ns >= self.slow_ns or len(self.pending) >= BATCH:
            self.attend(fetch, context)
        return _is_buffered(context)

    def attend(self, fetch: Fetch, context: Context) -> None:
        """Keep an execution whose ``execute`` alone was slow; fold when it is time to."""
        if fetch.execute_ns >= self.slow_ns:
            fetch.slow = self.slow(fetch.shape, context, fetch.execute_ns)
        if len(self.pending) >= BATCH:
            self.fold()

    def _open_stream(self, context: Context, cursor: DBAPICursor) -> None:
        """Buffer the first row of a streamed result, as SQLAlchemy would do a moment later.

        Raises:
            Exception: what the driver raises; SQLAlchemy handles it as its own fetch.
        """
        stream = BufferedFetch(cursor, context.execution_options)
        stream.opened = context.cursor_fetch_strategy
        stream.context = context
        context.cursor_fetch_strategy = stream

    def _executed_many(
        self,
        shape: Shape,
        context: Context,
        cursor: DBAPICursor,
        duration_ns: int,
        parameter_sets: int,
    ) -> None:
        if shape.writes:
            self.watch.wrote(current_scope())
        self._whole(shape, context, cursor.rowcount, duration_ns)
        self._statistics.count_batches(
            shape.aggregate, style="executemany", executions=1, parameter_sets=parameter_sets
        )

    def fetched(
        self,
        opened: Execution,
        context: Context,
        *,
        collected: bool = False,
    ) -> None:
        """Add the fetches of a result to its execution, see `CountsFetches`."""
        try:
            if opened.counted:
                self.append(opened)
            duration_ns = opened.execute_ns + opened.fetch_ns
            if duration_ns < self.slow_ns:
                return
            entry: SlowEntry | None = getattr(opened, "slow", None)
            if entry is not None:
                entry.fetch_ns, entry.rows = opened.fetch_ns, opened.rows
                entry.duration_ns = duration_ns
            else:
                self.slow(
                    opened.shape,
                    context,
                    opened.execute_ns,
                    fetch_ns=opened.fetch_ns,
                    rows=opened.rows,
                    collected=collected,
                )
        except Exception as error:
            self.faults.note("fetched", error)

    def failed(self, failure: ExceptionContext) -> None:
        """Listener of ``handle_error``: count the error, and the execution if it was one."""
        try:
            context: Context = failure.execution_context
            if context is None:
                if failure.connection is None and not failure.is_pre_ping:
                    self.connection_errors += 1
                return
            if IGNORE in context.execution_options:
                return
            statement = failure.statement or getattr(context, "statement", None) or ""
            shape = getattr(context.compiled, "_sa_perf_shape", None)
            if _is_default(context):
                shape = self._shapes.raw_shape(self, statement)
            elif shape is None or shape.recorder is not self:
                shape = self.shape_of(context, statement)
            if shape is None:
                return
            started = getattr(context, "_sa_perf_started", 0)
            if started:
                context._sa_perf_started = 0
                self._whole(shape, context, -1, _clock() - started)
            error = type(failure.original_exception).__name__
            self._statistics.count_error(shape.aggregate, error)
        except Exception as error:
            self.faults.note("handle_error", error)

    def loop_waited(self, context: Context, nanoseconds: int) -> None:
        """Count time in which the event loop was busy elsewhere, from a millisecond up."""
        if nanoseconds < _LEAST_LOOP_WAIT_NS:
            return
        try:
            shape = self._shapes.known(context)
            if shape is not None and IGNORE not in context.execution_options:
                self._statistics.count_loop_wait(shape.aggregate, nanoseconds)
        except Exception as error:
            self.faults.note("loop wait", error)

    def fold(self) -> None:
        """Add what is pending to the sums, unless somebody is at it."""
        self._statistics.fold(wait=False)

    def transaction_ended(self, committed: bool, duration_ns: int) -> None:
        """Count the end of a transaction."""
        if self._statistics.transactions.ended(committed=committed, duration_ns=duration_ns):
            self.fold()

    def _whole(
        self,
        shape: Shape,
        context: Context,
        rows: int,
        duration_ns: int,
        *,
        tally: Tally | None = None,
    ) -> None:
        """Count an execution that is complete: it returns no rows."""
        done = Execution()
        done.shape, done.execute_ns, done.counted = shape, duration_ns, PENDING
        done.ended_ns = done.fetched_ns = _clock()
        done.run, done.fetch_ns, done.rows = current_scope(), 0, max(rows, 0)
        done.tally = tally
        self.append(done)
        if duration_ns >= self.slow_ns:
            self.slow(shape, context, duration_ns, rows=rows)
        if len(self.pending) >= BATCH:
            self.fold()

    def _batch(self, shape: Shape, context: Context, duration_ns: int) -> None:
        """Add up a call that SQLAlchemy sends as several multi-row INSERTs."""
        durations: list[int] | None = getattr(context, "_sa_perf_batches", None)
        if durations is None:
            durations = context._sa_perf_batches = []
            self.watch.wrote(current_scope())
            # The number of batches is not known to listeners; post_exec runs after the last.
            context.post_exec = self._ending(shape, context, durations, context.post_exec)
        durations.append(duration_ns)

    def _ending(
        self, shape: Shape, context: Context, durations: list[int], post_exec: Callable[[], None]
    ) -> Callable[[], None]:
        def ended() -> None:
            del context.post_exec
            try:
                sets = len(context.compiled_parameters)
                self._whole(shape, context, sets, sum(durations))
                self._statistics.count_batches(
                    shape.aggregate,
                    style="insertmanyvalues",
                    executions=len(durations),
                    parameter_sets=sets,
                )
            except Exception as error:
                self.faults.note("insertmanyvalues", error)
            post_exec()

        return ended

    def slow(
        self,
        shape: Counted,
        context: Context,
        execute_ns: int,
        *,
        fetch_ns: int = 0,
        rows: int = -1,
        collected: bool = False,
    ) -> SlowEntry:
        """Keep a slow execution and have it explained; ``rows`` is -1 where it is not known."""
        aggregate = shape.aggregate
        run = current_scope()
        entry = SlowEntry(
            aggregate=aggregate,
            fingerprint=self._statistics.known_fingerprint(aggregate),
            statement=aggregate.statement,
            ended_ns=_clock(),
            duration_ns=execute_ns + fetch_ns,
            fetch_ns=fetch_ns,
            rows=rows,
            call_site=call_site(),
            scope=tuple(one.name for one in run.enclosing()) if run is not None else (),
            parameters=described(getattr(context, "parameters", None), self._settings.parameters),
        )
        if collected:
            self._slow_log.keep(entry)
            return entry
        self._slow_log.add(entry)
        if self.offer is not None and not _is_default(context):
            self.offer(
                fingerprint=aggregate.key,
                statement=context.statement,
                parameters=context.parameters[0] if context.parameters else None,
                duration_seconds=entry.duration_ns / 1e9,
                rows=entry.known_rows,
                dbapi_connection=context.root_connection.connection.dbapi_connection,
            )
        return entry


def _is_buffered(context: Context) -> bool:
    """Whether SQLAlchemy would give the result a `BufferedRowCursorFetchStrategy`.

    It does so where the driver knows no server-side cursor as well, but not for texts and writes
    (``DefaultExecutionContext._setup_result_proxy``).
    """
    asked = context.execution_options.get("stream_results", False)
    return bool(context._is_server_side or (asked and not context.is_crud and not context.is_text))


def _is_default(context: Context) -> bool:
    """Whether a column default or sequence is run on the context of a statement yet to come."""
    return not hasattr(context, "parameters")
