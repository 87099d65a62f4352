"""Fetch strategies that time and count the rows of a result.

A driver's ``execute`` often returns before the work is done (SQLite finds rows while they are
fetched), so what the fetches take is added to the execution's time.

The classes override SQLAlchemy's own strategies (`sqlalchemy.engine.cursor`), whose behaviour they
keep; `tests/queries/test_fetch.py` holds them against it for each supported version.
"""

# ruff: noqa: D102  # SQLAlchemy documents the methods that are overridden here
from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine.cursor import (
    _NO_CURSOR_DQL,
    BufferedRowCursorFetchStrategy,
    CursorFetchStrategy,
)

from sa_perf.queries.execution import Execution

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import CursorResult
    from sqlalchemy.engine.interfaces import DBAPICursor

    from sa_perf.queries.execution import Context

__all__ = ["BufferedFetch", "Fetch", "RowFetch"]

_clock = time.perf_counter_ns


class Fetch(Execution, CursorFetchStrategy):
    """The strategy of an ordinary result, one object an execution.

    Most results are fetched at once. One that is read bit by bit changes to a `RowFetch`. There is
    no ``__init__``: the recorder sets the attributes, which saves a frame per statement. (They do
    not hang on the execution context, since another attribute there costs more than this object.)
    """

    __slots__ = ()

    def fetchall(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor) -> Sequence[object]:
        started = _clock()
        try:
            rows: Sequence[object] = dbapi_cursor.fetchall()
            self.fetched_ns = ended = _clock()
            self.fetch_ns = fetch_ns = ended - started
            self.rows = len(rows)
            if self.counted or self.execute_ns + fetch_ns >= self.shape.slow_ns:
                self.shape.recorder.fetched(self, result.context)
            result._soft_close()
        except BaseException as error:
            self.handle_exception(result, dbapi_cursor, error)
        return rows

    def fetchone(
        self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, hard_close: bool = False
    ) -> object:
        # An iterator over the result holds on to this method, whatever strategy stands there now.
        strategy = result.cursor_strategy
        if strategy is self:
            strategy = self._bit_by_bit(result)
        return strategy.fetchone(result, dbapi_cursor, hard_close)

    def fetchmany(
        self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, size: int | None = None
    ) -> Sequence[object]:
        rows: Sequence[object] = self._bit_by_bit(result).fetchmany(result, dbapi_cursor, size)
        return rows

    def yield_per(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, num: int) -> None:
        self._bit_by_bit(result).yield_per(result, dbapi_cursor, num)

    def _bit_by_bit(self, result: CursorResult[Any]) -> RowFetch:
        strategy = RowFetch(self, result.context)
        result.cursor_strategy = strategy
        return strategy


class RowFetch(CursorFetchStrategy):
    """The strategy of one result that is read bit by bit; counted when it closes."""

    __slots__ = ("context", "fetch_ns", "opened", "rows")

    def __init__(self, opened: Fetch, context: Context) -> None:
        self.opened: Fetch | None = opened
        self.context = context
        self.fetch_ns = 0
        self.rows = 0

    def fetchall(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor) -> Sequence[object]:
        started = _clock()
        try:
            rows: Sequence[object] = dbapi_cursor.fetchall()
            self.fetch_ns += _clock() - started
            self.rows += len(rows)
            result._soft_close()
        except BaseException as error:
            self.handle_exception(result, dbapi_cursor, error)
        return rows

    def fetchone(
        self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, hard_close: bool = False
    ) -> object:
        started = _clock()
        try:
            row = dbapi_cursor.fetchone()
            self.fetch_ns += _clock() - started
            if row is None:
                result._soft_close(hard=hard_close)
            else:
                self.rows += 1
        except BaseException as error:
            self.handle_exception(result, dbapi_cursor, error)
        return row

    def fetchmany(
        self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, size: int | None = None
    ) -> Sequence[object]:
        started = _clock()
        try:
            rows: Sequence[object]
            rows = dbapi_cursor.fetchmany() if size is None else dbapi_cursor.fetchmany(size)
            self.fetch_ns += _clock() - started
            self.rows += len(rows)
            if not rows:
                result._soft_close()
        except BaseException as error:
            self.handle_exception(result, dbapi_cursor, error)
        return rows

    def yield_per(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, num: int) -> None:
        opened, self.opened = self.opened, None
        buffered = BufferedFetch(
            dbapi_cursor, {"max_row_buffer": num}, initial_buffer=deque(), growth_factor=0
        )
        buffered.opened, buffered.context = opened, self.context
        buffered.fetch_ns, buffered.rows = self.fetch_ns, self.rows
        result.cursor_strategy = buffered

    def soft_close(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor | None) -> None:
        result.cursor_strategy = _NO_CURSOR_DQL
        _count(self)

    # The base class's two closings are the same as well.
    hard_close = soft_close

    def __del__(self) -> None:
        # The result was dropped in the middle.
        _count(self, collected=True)


class BufferedFetch(BufferedRowCursorFetchStrategy):
    """The strategy of one streamed result; rows are counted when the application gets them."""

    __slots__ = ("context", "fetch_ns", "opened", "rows")

    def __init__(
        self,
        dbapi_cursor: DBAPICursor,
        execution_options: object,
        growth_factor: int = 5,
        initial_buffer: deque[object] | None = None,
    ) -> None:
        self.opened: Fetch | None = None
        self.context: Context = None
        self.rows = 0
        started = _clock()
        super().__init__(
            dbapi_cursor,
            execution_options,  # type: ignore[arg-type]  # a private mapping type of SQLAlchemy
            growth_factor,
            initial_buffer,
        )
        self.fetch_ns = _clock() - started

    def fetchone(
        self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, hard_close: bool = False
    ) -> object:
        if not self._rowbuffer:
            started = _clock()
            self._buffer_rows(result, dbapi_cursor)
            self.fetch_ns += _clock() - started
            if not self._rowbuffer:
                try:
                    result._soft_close(hard=hard_close)
                except BaseException as error:
                    self.handle_exception(result, dbapi_cursor, error)
                return None
        self.rows += 1
        return self._rowbuffer.popleft()

    def fetchmany(
        self, result: CursorResult[Any], dbapi_cursor: DBAPICursor, size: int | None = None
    ) -> Sequence[object]:
        if size is None:
            return self.fetchall(result, dbapi_cursor)
        missing = size - len(self._rowbuffer)
        exhausted = False
        if missing > 0:
            started = _clock()
            try:
                fetched = dbapi_cursor.fetchmany(missing)
            except BaseException as error:
                self.handle_exception(result, dbapi_cursor, error)
            self.fetch_ns += _clock() - started
            self._rowbuffer.extend(fetched)
            exhausted = not fetched
        rows = [self._rowbuffer.popleft() for _ in range(min(size, len(self._rowbuffer)))]
        self.rows += len(rows)
        if exhausted:
            result._soft_close()
        return rows

    def fetchall(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor) -> Sequence[object]:
        started = _clock()
        try:
            rows = [*self._rowbuffer, *dbapi_cursor.fetchall()]
            self.fetch_ns += _clock() - started
            self.rows += len(rows)
            self._rowbuffer.clear()
            result._soft_close()
        except BaseException as error:
            self.handle_exception(result, dbapi_cursor, error)
        return rows

    def soft_close(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor | None) -> None:
        super().soft_close(result, dbapi_cursor)
        _count(self)

    def hard_close(self, result: CursorResult[Any], dbapi_cursor: DBAPICursor | None) -> None:
        super().hard_close(result, dbapi_cursor)
        _count(self)

    def __del__(self) -> None:
        _count(self, collected=True)


def _count(strategy: RowFetch | BufferedFetch, *, collected: bool = False) -> None:
    """Hand on what was fetched, once."""
    opened, strategy.opened = strategy.opened, None
    if opened is not None:
        opened.fetched_ns = _clock()
        opened.fetch_ns = strategy.fetch_ns
        opened.rows = strategy.rows
        shape = opened.shape
        if opened.counted or opened.execute_ns + opened.fetch_ns >= shape.slow_ns:
            shape.recorder.fetched(opened, strategy.context, collected=collected)
