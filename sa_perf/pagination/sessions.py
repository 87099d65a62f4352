"""What pages are read with: sessions and connections, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Select

from sa_perf.errors import PaginationError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    Source: TypeAlias = Session | scoped_session[Any] | Connection
    AsyncSource: TypeAlias = AsyncSession | async_scoped_session[Any] | AsyncConnection

__all__ = ["AsyncSource", "Source", "connection_of", "dialect_of", "in_session"]

T = TypeVar("T")


def dialect_of(source: Source, stmt: Select[Any]) -> tuple[Dialect, bool]:
    """SQLAlchemy's dialect behind a session or connection, and whether it is a session.

    Raises:
        PaginationError: it is neither.
    """
    if isinstance(source, Connection):
        return source.dialect, False
    find = getattr(source, "get_bind", None)
    if find is None or hasattr(source, "run_sync"):
        raise PaginationError(
            f"pages are read with a Session or Connection, not {type(source).__name__}; "
            "for an async one use apage()"
        )
    entity = next((one["entity"] for one in stmt.column_descriptions if one.get("entity")), None)
    bind = find(entity, clause=stmt) if entity is not None else find(clause=stmt)
    return bind.dialect, True


def connection_of(source: Source, stmt: Select[Any]) -> Connection:
    """The connection on which a session would run a statement, within its transaction."""
    if isinstance(source, Connection):
        return source
    entity = next((one["entity"] for one in stmt.column_descriptions if one.get("entity")), None)
    arguments = {"clause": stmt} if entity is None else {"clause": stmt, "mapper": entity}
    return source.connection(bind_arguments=arguments)


async def in_session(source: AsyncSource, function: Callable[[Any], T]) -> T:
    """Call a function with the synchronous session or connection inside an async one.

    Raises:
        PaginationError: it is no async session or connection.
    """
    run_sync = getattr(source, "run_sync", None)
    if run_sync is None and callable(source):
        run_sync = getattr(source(), "run_sync", None)
    if run_sync is None:
        raise PaginationError(
            f"apage() wants an AsyncSession or AsyncConnection, not {type(source).__name__}; "
            "for a synchronous one use page()"
        )
    found: T = await run_sync(function)
    return found
