"""Scopes: the request, job or function in which a statement runs.

A scope follows its context (``contextvars``), so threads, asyncio tasks and greenlets each see
their own. A nested scope belongs to the ones around it: its statements count for all of them.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import ParamSpec, TypeVar, cast, overload

__all__ = ["Scope", "ScopeRun", "current_scope", "on_scope_end", "scope", "tracked"]

P = ParamSpec("P")
R = TypeVar("R")


class ScopeRun:
    """One run of a scope; compared by identity."""

    __slots__ = ("ended_ns", "name", "parent", "started_ns")

    def __init__(self, name: str, parent: ScopeRun | None) -> None:
        self.name = name
        self.parent = parent
        self.started_ns = time.perf_counter_ns()
        self.ended_ns = 0

    def enclosing(self) -> Iterator[ScopeRun]:
        """This run and the ones around it, innermost first."""
        run: ScopeRun | None = self
        while run is not None:
            yield run
            run = run.parent


_current: ContextVar[ScopeRun | None] = ContextVar("sa_perf_scope", default=None)
_end_listeners: list[Callable[[ScopeRun], None]] = []

#: The run in which the calling context is, or None.
current_scope = _current.get


def on_scope_end(listener: Callable[[ScopeRun], None]) -> None:
    """Call ``listener`` with every run that ends, in the context that ends it."""
    _end_listeners.append(listener)


class Scope:
    """Context manager and decorator that groups the statements run inside it.

    A scope that is entered again inside itself is one scope.

    Example:
        >>> with scope("GET /users"):
        ...     pass
        >>> @scope("nightly report")
        ... async def report() -> None: ...
    """

    __slots__ = ("_entered", "name")

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name or len(name) > 200:
            message = f"a scope's name is a text of 1 to 200 characters, not {name!r:.80}"
            raise ValueError(message)
        self.name = name
        self._entered: list[tuple[ScopeRun, Token[ScopeRun | None]] | None] = []

    def __enter__(self) -> Scope:
        around = _current.get()
        if around is not None and any(run.name == self.name for run in around.enclosing()):
            self._entered.append(None)
        else:
            run = ScopeRun(self.name, around)
            self._entered.append((run, _current.set(run)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered = self._entered.pop()
        if entered is None:
            return
        run, token = entered
        run.ended_ns = time.perf_counter_ns()
        # A generator may be closed in another context than it began in; there is nothing to
        # restore in this one.
        with suppress(ValueError):
            _current.reset(token)
        for listener in _end_listeners:
            listener(run)

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...
    def __call__(self, function: Callable[P, object]) -> Callable[P, object]:
        """Run each call of ``function`` (plain, async or generator) in a scope of this name."""
        return _wrapped(function, self.name)


scope = Scope


@overload
def tracked(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]: ...
@overload
def tracked(function: Callable[P, R]) -> Callable[P, R]: ...
def tracked(function: Callable[P, object]) -> Callable[P, object]:
    """Run each call of a function in a scope named after it (``module.qualname``)."""
    return _wrapped(function, f"{function.__module__}.{function.__qualname__}"[-200:])


def _wrapped(function: Callable[P, object], name: str) -> Callable[P, object]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: P.args, **kwargs: P.kwargs) -> object:
            with Scope(name):
                return await cast("Awaitable[object]", function(*args, **kwargs))

        return run_async
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def run_generator(*args: P.args, **kwargs: P.kwargs) -> Iterator[object]:
            with Scope(name):
                yield from cast("Iterator[object]", function(*args, **kwargs))

        return run_generator

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> object:
        with Scope(name):
            return function(*args, **kwargs)

    return run
