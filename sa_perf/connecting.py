"""From whatever names a database to a connection of sa_perf's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from sa_perf.errors import InvalidDatabaseURL
from sa_perf.settings import QUERY_PREFIX
from sa_perf.tables import UNRECORDED

__all__ = ["Bind", "Result", "on_connection", "readable_url", "url_of"]

#: What names a database.
Bind: TypeAlias = Engine | Connection | URL | str
Result = TypeVar("Result")

_PLUGIN = "sa_perf"


def on_connection(bind: Bind, function: Callable[[Connection], Result]) -> Result:
    """Call a function with a connection; one that was opened for it is closed afterwards.

    Args:
        bind: a connection is taken as it is, and what the function reads beside its transaction
            leaves none open; of a URL with an asynchronous driver an event loop is run.
        function: commits what it writes, unless it finds a transaction.

    Raises:
        InvalidDatabaseURL: the URL cannot be read, or wants an event loop where one runs.
        TypeError: it is nothing that names a database.
    """
    if isinstance(bind, Connection):
        within = bind.in_transaction()
        try:
            return function(bind)
        finally:
            if not within:
                bind.rollback()
    if isinstance(bind, Engine):
        with bind.connect() as connection:
            return function(connection.execution_options(**UNRECORDED))
    url = url_of(bind)
    if url.get_dialect().is_async:
        return _on_loop(url, function)
    return on_connection(create_engine(url, poolclass=NullPool), function)


def url_of(bind: Bind) -> URL:
    """The URL of a database, without sa_perf's own plugin and settings.

    Whoever migrates is another process than the application: it records nothing.

    Raises:
        InvalidDatabaseURL: the URL cannot be read.
        TypeError: it is nothing that names a database.
    """
    if isinstance(bind, (Engine, Connection)):
        return bind.engine.url
    if not isinstance(bind, (URL, str)):
        raise TypeError(
            f"{type(bind).__name__} names no database; give an Engine, a Connection or a URL, and "
            "of an AsyncEngine: await connection.run_sync(sa_perf.migration.upgrade)"
        )
    url = readable_url(bind)
    plugins = [
        name.strip() for one in url.normalized_query.get("plugin", ()) for name in one.split(",")
    ]
    settings = [name for name in url.query if name.startswith(QUERY_PREFIX)]
    url = url.difference_update_query(["plugin", *settings])
    others = [name for name in plugins if name != _PLUGIN]
    return url.update_query_dict({"plugin": others}) if others else url


def readable_url(given: URL | str) -> URL:
    """Read a database URL.

    Raises:
        InvalidDatabaseURL: it cannot be read. Its text may hold a password, so it is not repeated.
    """
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise InvalidDatabaseURL(
            "the database URL cannot be read; it is dialect://user@host/name"
        ) from None
    if "@" in (url.host or ""):
        # What stands before it is the rest of the password, and drivers show the host.
        raise InvalidDatabaseURL(
            "the database URL cannot be read: the @ of a password is to be written %40"
        )
    return url


def _on_loop(url: URL, function: Callable[[Connection], Result]) -> Result:
    """The same with an asynchronous driver, on an event loop of its own."""
    from sqlalchemy.ext.asyncio import create_async_engine

    async def run() -> Result:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.execution_options(**UNRECORDED)
            return await connection.run_sync(function)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    raise InvalidDatabaseURL(
        "an event loop runs here already; use: await connection.run_sync(sa_perf.migration.upgrade)"
    )
