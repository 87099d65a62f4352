"""Where a store is, and how to get there.

On a connection for each flush, none in between: to a database of its own by URL, also with an
asynchronous driver; or to the one that the application's engine leads to, on connections made as
the engine makes its own, but in no pool of the application.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from sa_perf.connecting import url_of
from sa_perf.dialects import dialect_for
from sa_perf.dialects.keeping import begin_writing, is_file
from sa_perf.errors import StoreError
from sa_perf.tables import UNRECORDED, database_label

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["APPLICATION", "Place"]

#: In place of a URL: the application's own database.
APPLICATION = "application"

Result = TypeVar("Result")


class Place:
    """Where a store is.

    Args:
        url: of its database; ``"application"`` for that of ``beside``.
        beside: the application's engine, which is not kept alive.
        seconds: that a statement may take, or wait for a lock; > 0.

    Raises:
        StoreError: the URL cannot be read, or no other connection would see the database.
    """

    def __init__(self, url: str, beside: Engine | None = None, *, seconds: float = 10.0) -> None:
        self._beside = None
        if url == APPLICATION:
            if beside is None:
                raise StoreError(
                    f"{APPLICATION!r} is the database of one engine, but sa_perf is installed on "
                    "all; give the store's URL"
                )
            self._beside = ref(beside)
        self.url = url_of(beside.url if beside is not None and url == APPLICATION else url)
        dialect = dialect_for(self.url.get_backend_name())
        if dialect.is_in_memory(self.url):
            raise StoreError(
                f"no other connection sees {database_label(self.url)}, so nothing can be kept "
                "there; give the URL of a file or a server as the store"
            )
        self._seconds = seconds
        self._engine: Engine | None = None

    @property
    def label(self) -> str:
        """The URL for messages: no user, no password, no query."""
        return database_label(self.url)

    @property
    def is_own(self) -> bool:
        """Whether the database is not the application's, as far as is known."""
        return self._beside is None

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Call a function with a connection, which is closed afterwards.

        Not from within an event loop where the driver is an asynchronous one.

        Args:
            work: is given a connection in no transaction, which the recorder leaves out.

        Raises:
            Exception: whatever the driver or ``work`` raised.
        """
        engine = self._ready()

        def connected() -> Result:
            with engine.connect() as plain:
                connection = plain.execution_options(**UNRECORDED)
                begin_writing(connection, seconds=self._seconds, own_file=self.is_own)
                return work(connection)

        if not engine.dialect.is_async:
            return connected()
        from sqlalchemy.util import greenlet_spawn

        return asyncio.run(greenlet_spawn(connected))

    def is_own_and_empty(self, connection: Connection) -> bool:
        """Whether tables may be made: it is a file of the store's own, without any table."""
        own_file = self.is_own and is_file(self.url)
        try:
            return own_file and not inspect(connection).get_table_names()
        finally:
            connection.rollback()

    def _ready(self) -> Engine:
        """An engine without a pool; made once, as it asks the database for its version at first."""
        if self._engine is not None:
            return self._engine
        if self._beside is None:
            self._engine = create_engine(self.url, poolclass=NullPool)
            return self._engine
        beside = self._beside()
        if beside is None:
            raise StoreError("the engine whose database is the store is gone")
        creator: Any = beside.pool._creator
        if beside.dialect.is_async:
            # By its URL a driver may be either.
            from sqlalchemy.ext.asyncio import create_async_engine

            made = create_async_engine(self.url, poolclass=NullPool, creator=creator)
            self._engine = made.sync_engine
        else:
            self._engine = create_engine(self.url, poolclass=NullPool, creator=creator)
        return self._engine
