"""What pages are read with: sessions and connections, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.orm import Session, scoped_session

from sa_perf.errors import PaginationError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    Source: TypeAlias = Session | scoped_session[Any] | Connection
    AsyncSource: TypeAlias = AsyncSession | async_scoped_session[Any] | AsyncConnection

__all__ = [
    "AsyncSource", "Source", "connection_of", "dialect_of", "in_session", "require_async",
    "require_sync",
]  # fmt: skip

T = TypeVar("T")
_PLAIN = (Session, Connection, scoped_session)
_SYNC = "a Session, scoped_session or Connection"
_ASYNC = "an AsyncSession, async_scoped_session or AsyncConnection"


def require_sync(source: object, call: str, *, instead: str | None = None) -> None:
    """Refuse what is no synchronous session or connection.

    Args:
        source: of any type.
        call: name of the method that the application called.
        instead: what to write with an async one; by default the method's async twin.

    Raises:
        PaginationError: names what is wanted, or the call that takes what is given.
    """
    # Others that act like a session do as well, e.g. a proxy for one.
    if isinstance(source, _PLAIN) or _acts_like(source, asynchronous=False):
        return
    twin = instead or f"await a{call}(...)"
    hint = f"with an async one use: {twin}" if _acts_like(source, asynchronous=True) else None
    raise _refusal(source, call, _SYNC, hint)


def require_async(source: object, call: str) -> None:
    """Refuse what is no async session or connection.

    Args:
        source: of any type.
        call: name of the method that the application called, which begins with an "a".

    Raises:
        PaginationError: names what is wanted, or the call that takes what is given.
    """
    if _acts_like(source, asynchronous=True):
        return
    is_sync = isinstance(source, _PLAIN) or _acts_like(source, asynchronous=False)
    hint = f"with a synchronous one use: {call[1:]}(...)" if is_sync else None
    raise _refusal(source, call, _ASYNC, hint)


def dialect_of(source: Source, stmt: Select[Any]) -> tuple[Dialect, bool]:
    """SQLAlchemy's dialect behind a session or connection, and whether it is a session."""
    if isinstance(source, Connection):
        return source.dialect, False
    entity = next((one["entity"] for one in stmt.column_descriptions if one.get("entity")), None)
    find = source.get_bind
    bind = find(entity, clause=stmt) if entity is not None else find(clause=stmt)
    return bind.dialect, True


def connection_of(source: Source, stmt: Select[Any]) -> Connection:
    """The connection on which a session would run a statement, within its transaction."""
    if isinstance(source, Connection):
        return source
    entity = next((one["entity"] for one in stmt.column_descriptions if one.get("entity")), None)
    arguments = {"clause": stmt} if entity is None else {"clause": stmt, "mapper": entity}
    return source.connection(bind_arguments=arguments)


async def in_session(source: AsyncSource, function: Callable[[Any], T], *, call: str) -> T:
    """Call a function with the synchronous session or connection inside an async one.

    Args:
        source: that holds it.
        function: to be called.
        call: name of the method that the application called.

    Raises:
        PaginationError: it is no async session or connection.
    """
    require_async(source, call)
    inner: Any = source if hasattr(source, "run_sync") else source()  # async_scoped_session
    found: T = await inner.run_sync(function)
    return found


def _acts_like(source: object, *, asynchronous: bool) -> bool:
    """Whether it is a session or connection, not a class or maker of one, by its methods."""
    execute = getattr(type(source), "execute", None) or getattr(source, "execute", None)
    if isinstance(source, type) or execute is None:
        return False
    return iscoroutinefunction(execute) is asynchronous and (
        asynchronous or hasattr(source, "get_bind")
    )


def _refusal(source: object, call: str, wanted: str, hint: str | None) -> PaginationError:
    given = f"the class {source.__name__}" if isinstance(source, type) else type(source).__name__
    if isinstance(source, Engine) or (hasattr(source, "sync_engine") and hint is None):
        hint = "give a connection of it: engine.connect()"
    elif hint is None and callable(source):
        hint = "call it and give what it makes"
    message = f"{call}() wants {wanted}, not {given}"
    return PaginationError(message if hint is None else f"{message}; {hint}")
