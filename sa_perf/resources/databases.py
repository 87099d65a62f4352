"""Databases of engines: what they take, asked beside the application.

On a connection of its own, so that an exhausted pool gives nothing up for it, and on a thread that
lives as long as the question: a server that is silent holds up nothing but that thread.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from sa_perf.dialects import dialect_for
from sa_perf.dialects.sizes import DatabaseSizes, read_sizes
from sa_perf.resources.results import Occupancy, Unknown
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["DatabaseReading", "DatabaseWatch"]

#: How long a fork waits for a question that is being asked.
_JOIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReading:
    """What one database takes, or why that is not known.

    Attributes:
        database: label.
        at: of the last answer (UTC); None: there was none yet.
        sizes: of the last answer.
        unknown: why there is no newer one.
    """

    database: str
    at: datetime | None = None
    sizes: DatabaseSizes | None = None
    unknown: Unknown | None = None

    def occupancies(self) -> Iterator[Occupancy]:
        """Connections of the server, where it has a limit."""
        sizes = self.sizes
        if sizes is None or not sizes.max_connections or sizes.connections is None:
            return
        detail = f"{sizes.connections} of {sizes.max_connections} that the server lets open"
        yield Occupancy(
            resource=f"connections {self.database}",
            ratio=sizes.connections / sizes.max_connections,
            detail=detail,
        )


class DatabaseWatch:
    """Asks the database of one engine, one question at a time.

    Args:
        engine: sync or async; held weakly.
        database: label.
        timeout_seconds: limit for each question, > 0.
        tables: the largest ones, so many at most.
        now: monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        *,
        database: str,
        timeout_seconds: float = 10.0,
        tables: int = 20,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        self._engine = ref(cast("Engine", getattr(engine, "sync_engine", engine)))
        self._timeout_seconds = timeout_seconds
        self._tables = tables
        self._now = now
        self._reading = DatabaseReading(database=database)
        self._thread: threading.Thread | None = None
        self._asked = 0.0

    def reading(self) -> DatabaseReading:
        """The last answer."""
        return self._reading

    def ask(self) -> None:
        """Begin to ask; returns at once. While a question is open, no other one is asked."""
        now = self._now()
        if self._thread is not None and self._thread.is_alive():
            self._tell(f"no answer for {now - self._asked:,.0f} s")
            return
        self._asked = now
        self._thread = threading.Thread(
            target=self._run, name="sa_perf database sizes", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:  # the interpreter ends, or there is no thread left
            self._tell(str(error))

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the answer; whether it came in time."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        return self._thread is None or not self._thread.is_alive()

    def after_fork(self) -> None:
        """Begin anew in a child, which has none of the threads."""
        self._thread = None
        self._reading = DatabaseReading(database=self.database)

    def _run(self) -> None:
        _asking.add(threading.current_thread())
        try:
            self._ask()
        finally:
            _asking.discard(threading.current_thread())

    def _ask(self) -> None:
        engine = self._engine()
        if engine is None:
            return
        if dialect_for(engine).is_in_memory(engine.url):
            self._tell("only the application's own connection sees a database in memory")
            return
        try:
            sizes = _sizes(engine, self._tables, self._timeout_seconds)
        except Exception as error:  # the thread's boundary
            self._tell(_reason(error))
        else:
            self._reading = DatabaseReading(
                database=self.database, at=datetime.now(timezone.utc), sizes=sizes
            )

    def _tell(self, reason: str) -> None:
        before = self._reading
        self._reading = DatabaseReading(
            database=self.database,
            at=before.at,
            sizes=before.sizes,
            unknown=Unknown(resource=f"database {self.database}", reason=reason),
        )


#: Threads that ask now.
_asking: set[threading.Thread] = set()


def _sizes(engine: Engine, tables: int, timeout_seconds: float) -> DatabaseSizes:
    """Ask on a connection that neither the engine's pool nor the recorder knows of."""
    from sqlalchemy import Connection
    from sqlalchemy import Engine as PlainEngine
    from sqlalchemy.pool import NullPool

    pool: Any = engine.pool
    # Its creator and its listeners for `connect`, which prepare a connection for use.
    beside = NullPool(pool._creator, _dispatch=pool.dispatch, dialect=pool._dialect)

    def ask() -> DatabaseSizes:
        connected = beside.connect()
        # Copied now, for the first connection of all has told the dialect its server's version.
        own = PlainEngine(beside, _unwatched(engine.dialect), engine.url)
        with Connection(own, connected) as connection:
            return read_sizes(
                connection.execution_options(**UNRECORDED),
                tables=tables,
                timeout_seconds=timeout_seconds,
            )

    if not engine.dialect.is_async:
        return ask()
    import asyncio

    from sqlalchemy.util import greenlet_spawn

    async def run() -> DatabaseSizes:
        answer: DatabaseSizes = await greenlet_spawn(ask)
        return answer

    return asyncio.run(run())


def _unwatched(watched: Dialect) -> Dialect:
    """A copy of a dialect on which no listener hangs and no method is wrapped by sa_perf."""
    dialect = copy.copy(watched)
    ours = [name for name, value in vars(dialect).items() if hasattr(value, "sa_perf_watch")]
    for name in ("dispatch", *ours):
        dialect.__dict__.pop(name, None)
    return dialect


def _reason(error: Exception) -> str:
    """What a driver says, in one line; never a bind value, for there are none of the user's."""
    words = str(getattr(error, "orig", None) or error).strip().splitlines()
    return f"{type(error).__name__}: {words[0] if words else 'no reason was given'}"[:300]


def _before_fork() -> None:
    """Let a question be answered: Python warns of a fork beside threads, and with right."""
    for thread in list(_asking):
        thread.join(_JOIN_SECONDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_asking.clear)
