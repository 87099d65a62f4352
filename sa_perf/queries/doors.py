"""The two ways to see statements: dialect events and cursor events.

Dialect events (``do_execute`` and its siblings) cost a fifth of cursor events, since they leave
``engine._has_events`` off, which would run SQLAlchemy's whole event machinery for every statement.
But the first of their listeners that returns True ends the dispatch, so where somebody else
listens to them already, cursor events are used. A listener that comes later is called by ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import event
from sqlalchemy.engine.interfaces import ExecuteStyle

from sa_perf.queries.execution import PENDING
from sa_perf.queries.fetch import Fetch
from sa_perf.queries.recorder import BATCH, DEFAULT_FETCH, IGNORE
from sa_perf.queries.scopes import current_scope
from sa_perf.queries.transactions import unwrap, wrap

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPICursor, Dialect

    from sa_perf.queries.execution import Context
    from sa_perf.queries.loop_lag import LoopLag
    from sa_perf.queries.recorder import Recorder
    from sa_perf.queries.shape import Parameters, Shape

__all__ = ["AsyncDialectEvents", "CursorEvents", "DialectEvents", "Door", "taken"]

_clock = time.perf_counter_ns
_EXECUTEMANY = ExecuteStyle.EXECUTEMANY
_EVENTS = ("do_execute", "do_executemany", "do_execute_no_params")


class Door(Protocol):
    """Listeners of one recorder on one engine."""

    name: str

    def open(self) -> None:
        """Put the listeners in place."""

    def close(self) -> None:
        """Take every one of them away."""

    def bypassed(self) -> bool:
        """Whether somebody else's listener now hides statements from ours."""


def taken(dialect: Dialect) -> bool:
    """Whether somebody else listens to a dialect's execution events already."""
    dispatch: Any = dialect.dispatch
    return any(_foreign(listener) for name in _EVENTS for listener in getattr(dispatch, name))


def _foreign(listener: Callable[..., object]) -> bool:
    return not (getattr(listener, "__module__", None) or "").startswith("sa_perf.")


def _restore_flag(owner: Engine | Dialect, had_events: bool) -> None:
    """Switch the dispatch of events off again, if nobody else listens.

    SQLAlchemy sets the flag on the instance and leaves it there when listeners are removed.
    """
    dispatch: Any = owner.dispatch
    left = any(len(getattr(dispatch, name)) for name in dispatch._event_names)
    if not had_events and not left:
        vars(owner).pop("_has_events", None)


class DialectEvents:
    """The cheap door: executes the statement itself, between two readings of the clock.

    `do_execute` does by hand what ``Recorder.succeeded`` does in the ordinary case: a call more
    would cost a tenth.
    """

    name = "dialect_events"

    def __init__(self, recorder: Recorder, dialect: Dialect) -> None:
        self._recorder = recorder
        self._dialect = dialect
        self._had_events = dialect._has_events
        self._streams = dialect.supports_server_side_cursors
        self._listeners: dict[str, Callable[..., Any]] = {
            "do_execute": self.do_execute,
            "do_executemany": self.do_executemany,
            "do_execute_no_params": self.do_execute_no_params,
            "handle_error": recorder.failed,
        }
        self._executes: Sequence[object] = ()

    def open(self) -> None:
        """Put the listeners in place."""
        for name, listener in self._listeners.items():
            event.listen(self._dialect, name, listener)
        dispatch: Any = self._dialect.dispatch
        self._executes = dispatch.do_execute.listeners
        wrap(self._dialect, self._recorder.transaction_ended)

    def close(self) -> None:
        """Take every one of them away."""
        unwrap(self._dialect, self._recorder.transaction_ended)
        for name, listener in self._listeners.items():
            event.remove(self._dialect, name, listener)
        _restore_flag(self._dialect, self._had_events)

    def bypassed(self) -> bool:
        """Whether somebody's listener that ends the dispatch stands before ours."""
        dispatch: Any = self._dialect.dispatch
        for name in _EVENTS:
            for listener in getattr(dispatch, name):
                if listener == self._listeners[name]:
                    break
                if _foreign(listener):
                    return True
        return False

    # Recorder.succeeded() stands here by hand for the ordinary case: the call would cost a tenth.
    def do_execute(
        self, cursor: DBAPICursor, statement: str, parameters: Parameters, context: Context
    ) -> bool:
        """Execute a statement and count it; True: nobody else has to."""
        try:
            shape: Shape | None = context.compiled._sa_perf_shape
        except AttributeError:
            shape = None
        started = _clock()
        try:
            if len(self._executes) == 1 or not self._done(cursor, statement, parameters, context):
                context.dialect.do_execute(cursor, statement, parameters, context)
        except BaseException:
            context._sa_perf_started = started
            raise
        ended, recorder = _clock(), self._recorder
        try:
            if (
                shape is not None
                and shape.recorder is recorder
                and (shape.fetches or (shape.asks and cursor.description is not None))
                and context.cursor_fetch_strategy is DEFAULT_FETCH
                and IGNORE not in (options := context.execution_options)
                and "stream_results" not in options
                and not (self._streams and context._is_server_side)
            ):
                fetch = Fetch()
                fetch.shape, fetch.execute_ns, fetch.ended_ns = shape, ended - started, ended
                fetch.run, fetch.rows, fetch.counted = (run := current_scope()), -1, PENDING
                looked_at = run is not None or shape.watched
                fetch.tally = recorder.watch.tally_of(shape, context, run) if looked_at else None
                recorder.append(fetch)
                context.cursor_fetch_strategy = fetch
                if fetch.execute_ns >= recorder.slow_ns or len(recorder.pending) >= BATCH:
                    recorder.attend(fetch, context)
                return True
        except Exception as error:
            recorder.faults.note("do_execute", error)
        else:
            recorder.succeeded(context, statement, cursor, ended - started)
        return True

    def do_executemany(
        self, cursor: DBAPICursor, statement: str, parameters: Parameters, context: Context
    ) -> bool:
        """The same for many parameter sets."""
        duration = self._run("do_executemany", context, cursor, statement, parameters, context)
        self._recorder.succeeded(
            context, statement, cursor, duration, parameter_sets=len(parameters)
        )
        return True

    def do_execute_no_params(self, cursor: DBAPICursor, statement: str, context: Context) -> bool:
        """The same for a statement that takes no parameters."""
        duration = self._run("do_execute_no_params", context, cursor, statement, context)
        self._recorder.succeeded(context, statement, cursor, duration)
        return True

    def _run(self, name: str, context: Context, *arguments: Any) -> int:  # noqa: ANN401
        """Execute as the dispatch would have. Returns the nanoseconds that it took."""
        started = _clock()
        try:
            if not self._handled_by_others(name, *arguments):
                getattr(context.dialect, name)(*arguments)
        except BaseException:
            context._sa_perf_started = started
            raise
        return _clock() - started

    def _done(self, *arguments: object) -> bool:
        return self._handled_by_others("do_execute", *arguments)

    def _handled_by_others(self, name: str, *arguments: object) -> bool:
        """Call the listeners that came after ours, as the dispatch would have."""
        own = self._listeners[name]
        dispatch: Any = self._dialect.dispatch
        later = iter(tuple(getattr(getattr(dispatch, name), "listeners", ())))
        for listener in later:
            if listener == own:
                break
        return any(listener(*arguments) for listener in later)


class AsyncDialectEvents(DialectEvents):
    """The cheap door on an async driver: also notes how busy the event loop was elsewhere."""

    def __init__(self, recorder: Recorder, dialect: Dialect) -> None:
        super().__init__(recorder, dialect)
        self._loop_lag = _loop_lag()

    def do_execute(
        self, cursor: DBAPICursor, statement: str, parameters: Parameters, context: Context
    ) -> bool:
        """Execute a statement and count it; True: nobody else has to."""
        lag = self._loop_lag()
        before = lag.reading_ns() if lag is not None else 0
        handled = super().do_execute(cursor, statement, parameters, context)
        if lag is not None:
            self._recorder.loop_waited(context, lag.reading_ns() - before)
        return handled


class CursorEvents:
    """The public door: ``before_cursor_execute`` and ``after_cursor_execute``."""

    name = "cursor_events"

    def __init__(self, recorder: Recorder, engine: Engine) -> None:
        self._recorder = recorder
        self._engine = engine
        self._had_events = engine._has_events, engine.dialect._has_events
        self._loop_lag = _loop_lag() if engine.dialect.is_async else None
        self._listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "handle_error": recorder.failed,
        }

    def open(self) -> None:
        """Put the listeners in place."""
        for name, listener in self._listeners.items():
            event.listen(self._engine, name, listener)
        wrap(self._engine.dialect, self._recorder.transaction_ended)

    def close(self) -> None:
        """Take every one of them away."""
        unwrap(self._engine.dialect, self._recorder.transaction_ended)
        for name, listener in self._listeners.items():
            event.remove(self._engine, name, listener)
        on_engine, on_dialect = self._had_events
        _restore_flag(self._engine, on_engine)
        _restore_flag(self._engine.dialect, on_dialect)

    def bypassed(self) -> bool:
        """Never: nothing ends the dispatch of cursor events."""
        return False

    def _before(
        self,
        conn: Connection,
        cursor: DBAPICursor,
        statement: str,
        parameters: object,
        context: Context,
        executemany: bool,
    ) -> None:
        if self._loop_lag is not None:
            lag = self._loop_lag()
            context._sa_perf_lag = lag.reading_ns() if lag is not None else 0
        context._sa_perf_started = _clock()

    def _after(
        self,
        conn: Connection,
        cursor: DBAPICursor,
        statement: str,
        parameters: Parameters,
        context: Context,
        executemany: bool,
    ) -> None:
        duration = _clock() - context._sa_perf_started
        context._sa_perf_started = 0
        sets = len(parameters) if context.execute_style is _EXECUTEMANY else None
        self._recorder.succeeded(context, statement, cursor, duration, parameter_sets=sets)
        lag = self._loop_lag() if self._loop_lag is not None else None
        if lag is not None:
            self._recorder.loop_waited(context, lag.reading_ns() - context._sa_perf_lag)


def _loop_lag() -> Callable[[], LoopLag | None]:
    # Synchronous applications do not pay for the import of asyncio.
    from sa_perf.queries.loop_lag import loop_lag

    return loop_lag
