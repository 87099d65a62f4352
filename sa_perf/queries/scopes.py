"""Scopes: the request, job or function in which a statement runs.

A scope follows its context (``contextvars``), so threads, asyncio tasks and greenlets each see
their own. A nested scope belongs to the ones around it: its statements count for all of them.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar, cast, overload

if TYPE_CHECKING:
    from sa_perf.queries.tally import Unit

__all__ = [
    "Scope", "ScopeRun", "current_scope", "measuring_scope", "on_scope_end", "scope", "tracked",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")
_Generator: TypeAlias = Generator[object, object, object]
_AsyncGenerator: TypeAlias = AsyncGenerator[object, object]


class ScopeRun:
    """One run of a scope; compared by identity."""

    __slots__ = ("ended_ns", "name", "only_measures", "parent", "started_ns", "unit")

    def __init__(self, name: str, parent: ScopeRun | None) -> None:
        self.name = name
        self.parent = parent
        self.started_ns = time.perf_counter_ns()
        self.ended_ns = 0
        #: A test's, which is no request or job: scopes inside it repeat nothing together.
        self.only_measures = False
        #: What is watched for repetition in it, see `sa_perf.queries.n_plus_one`.
        self.unit: Unit | None = None

    def enclosing(self) -> Iterator[ScopeRun]:
        """This run and the ones around it, innermost first."""
        run: ScopeRun | None = self
        while run is not None:
            yield run
            run = run.parent


_current: ContextVar[ScopeRun | None] = ContextVar("sa_perf_scope", default=None)
#: Scopes that this context has entered, innermost first, as (scope, run, whether the run is its
#: own, the others); it is not where the scope was entered inside itself.
_entered: ContextVar[_Entered | None] = ContextVar("sa_perf_entered", default=None)
_Entered: TypeAlias = "tuple[Scope, ScopeRun, bool, _Entered | None]"
_MAX_OUTLIVED = 8
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

    __slots__ = ("_last_run", "_only_measures", "name")

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name or len(name) > 200:
            message = f"a scope's name is a text of 1 to 200 characters, not {name!r:.80}"
            raise ValueError(message)
        self.name = name
        self._only_measures = False
        self._last_run: ScopeRun | None = None

    def __enter__(self) -> Scope:
        others = _entered.get()
        while others is not None and others[1].ended_ns:
            others = others[3]
        run, is_own = _run_of(self.name) if not self._only_measures else _measuring(self.name)
        _entered.set((self, run, is_own, others))
        if is_own:
            _current.set(run)
            self._last_run = run
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entry = _entered.get()
        while entry is not None and entry[0] is not self:
            entry = entry[3]
        if entry is None:
            # A generator may be closed in another context than it began in: there is nothing to
            # restore in this one.
            run, self._last_run = self._last_run, None
            if run is not None:
                _end(run)
            return
        _, own, is_own, others = entry
        _entered.set(others)
        if is_own:
            _current.set(own.parent)
            _end(own)

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...
    def __call__(self, function: Callable[P, object]) -> Callable[P, object]:
        """Run each call of ``function``, of whatever kind, in a scope of this name."""
        return _wrapped(function, self.name)


scope = Scope


def measuring_scope(name: str) -> Scope:
    """A scope that is no request or job: those inside it are each looked at for repetition.

    It is one of its own even where one of its name is entered already.
    """
    made = Scope(name)
    made._only_measures = True
    return made


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
        def run_generator(*args: P.args, **kwargs: P.kwargs) -> object:
            return _in_steps(cast("_Generator", function(*args, **kwargs)), name)

        return run_generator
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        def run_async_generator(*args: P.args, **kwargs: P.kwargs) -> object:
            return _in_async_steps(cast("_AsyncGenerator", function(*args, **kwargs)), name)

        return run_async_generator

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> object:
        with Scope(name):
            return function(*args, **kwargs)

    return run


def _in_steps(generator: _Generator, name: str) -> _Generator:
    """A generator in a scope that rests while it is suspended.

    A generator shares its caller's context: what the caller runs between two items is not its own.
    """
    steps = _Steps(name)
    step: Callable[[], object] = functools.partial(next, generator)
    try:
        while True:
            with steps:
                try:
                    item = step()
                except StopIteration as stop:
                    return stop.value
            try:
                step = functools.partial(generator.send, (yield item))
            except GeneratorExit:
                with steps:
                    generator.close()
                raise
            except BaseException as error:
                step = functools.partial(generator.throw, error)
    finally:
        steps.end()


async def _in_async_steps(generator: _AsyncGenerator, name: str) -> _AsyncGenerator:
    """The same for an asynchronous generator."""
    steps = _Steps(name)
    step: Callable[[], Awaitable[object]] = generator.__anext__
    try:
        while True:
            with steps:
                try:
                    item = await step()
                except StopAsyncIteration:
                    return
            try:
                step = functools.partial(generator.asend, (yield item))
            except GeneratorExit:
                with steps:
                    await generator.aclose()
                raise
            except BaseException as error:
                step = functools.partial(generator.athrow, error)
    finally:
        steps.end()


def _measuring(name: str) -> tuple[ScopeRun, bool]:
    run = ScopeRun(name, _current.get())
    run.only_measures = True
    return run, True


def _run_of(name: str) -> tuple[ScopeRun, bool]:
    """A new run inside the current one, or the open run of that name; and whether it is new.

    A task keeps the context in which it was made, so it goes on naming the scopes that it has
    outlived: until one of them comes again (a job that makes its next one), or too many pile up.
    """
    around = _current.get()
    outlived = 0
    for run in around.enclosing() if around is not None else ():
        if run.ended_ns:
            outlived += _MAX_OUTLIVED if run.name == name else 1
        elif run.name == name:
            return run, False
    if outlived >= _MAX_OUTLIVED:
        while around is not None and around.ended_ns:
            around = around.parent
    return ScopeRun(name, around), True


class _Steps:
    """The scopes of a generator, in force while it runs and at rest while it is suspended."""

    __slots__ = ("_entered", "_inside", "_outside", "run")

    def __init__(self, name: str) -> None:
        run, is_own = _run_of(name)
        self.run = run if is_own else None
        self._inside = self.run or _current.get()
        self._entered = _entered.get()

    def __enter__(self) -> None:
        self._outside = _current.get(), _entered.get()
        _current.set(self._inside)
        _entered.set(self._entered)

    def __exit__(self, *raised: object) -> None:
        # The generator may be inside a scope that it has entered itself.
        self._inside, self._entered = _current.get(), _entered.get()
        outside, entered = self._outside
        _current.set(outside)
        _entered.set(entered)

    def end(self) -> None:
        """Count the run, now that the generator has ended."""
        if self.run is not None:
            _end(self.run)


def _end(run: ScopeRun) -> None:
    run.ended_ns = time.perf_counter_ns()
    for listener in _end_listeners:
        listener(run)
