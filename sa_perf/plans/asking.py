"""Ask an engine's database something, beside what the application does.

On a connection of its own, so neither a session nor its transaction is touched; a database that
only one connection sees (SQLite in memory) is asked on that one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from sa_perf.dialects import DBAPIConnection, Dialect, dialect_for
from sa_perf.errors import ExplainRefused
from sa_perf.plans.offers import may_wait, on_own_connection

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session, scoped_session
    from sqlalchemy.sql import ClauseElement

    Bind: TypeAlias = (
        "Session | scoped_session[Session] | AsyncSession | Connection | AsyncConnection | Engine "
        "| AsyncEngine"
    )

__all__ = ["ask", "engine_of"]

Answer = TypeVar("Answer")


def engine_of(
    bind: Bind, *, function: str, clause: ClauseElement | None = None
) -> tuple[Engine, Connection | None]:
    """The engine to ask, and the connection that is already open, if there is one.

    Args:
        bind: what the application has at hand.
        function: that it was given to, for the message.
        clause: what a session chooses its engine by.

    Raises:
        ExplainRefused: it leads to no engine.
    """
    from sqlalchemy import Connection, Engine

    found: object = bind
    for name in ("sync_session", "sync_connection", "sync_engine"):
        found = getattr(found, name, None) or found
    if callable(found) and hasattr(found, "registry"):
        found = found()  # a scoped_session
    if hasattr(found, "get_bind"):
        session = cast("Session", found)
        found = session.get_bind(clause=clause)
        if isinstance(found, Engine) and session.in_transaction():
            options: dict[str, object] = {} if clause is None else {"clause": clause}
            return found, session.connection(bind_arguments=options)
    if isinstance(found, Connection):
        return found.engine, found
    if isinstance(found, Engine):
        return found, None
    raise ExplainRefused(
        f"{function}() takes a session, a connection or an engine, got {type(bind).__name__}"
    )


def ask(
    engine: Engine,
    connection: Connection | None,
    work: Callable[[DBAPIConnection], Answer],
    *,
    timeout_seconds: float,
    call: str,
) -> Answer:
    """Do some work on a connection that sees the engine's database.

    Args:
        engine: whose database it is.
        connection: one of its own that is open; None if there is none.
        work: what to do with the DBAPI connection, which is in no transaction unless it is the
            only one that sees the database.
        timeout_seconds: limit for each statement on a connection of our own, > 0.
        call: what an asynchronous application is to call with its session ``s``.

    Raises:
        ExplainRefused: only an asynchronous connection sees the database, and no event loop can
            be waited for here.
        Exception: whatever the driver or ``work`` raised.
    """
    answers: list[Answer] = []

    def here(dbapi_connection: DBAPIConnection) -> None:
        answers.append(work(dbapi_connection))

    def beside() -> None:
        def ready(dbapi_connection: DBAPIConnection) -> None:
            dialect_for(engine).begin_session(dbapi_connection, timeout_seconds)
            here(dbapi_connection)

        on_own_connection(engine, ready)

    if not _asked_here(engine, connection, here, call):
        _outside_of_event_loops(engine, beside)
    return answers[0]


def _asked_here(
    engine: Engine,
    connection: Connection | None,
    work: Callable[[DBAPIConnection], None],
    call: str,
) -> bool:
    """Ask on the connection that alone sees the database; False if any connection sees it."""
    dialect = dialect_for(engine)
    if engine.dialect.is_async and dialect.is_in_memory(engine.url) and not may_wait(engine):
        raise ExplainRefused(
            "only the session's own connection sees this database; call: "
            f"await session.run_sync(lambda s: {call})"
        )
    if connection is not None:
        dbapi_connection = connection.connection.dbapi_connection
        if dbapi_connection is None or not _is_private(dialect, dbapi_connection, engine):
            return False
        work(dbapi_connection)  # type: ignore[arg-type]  # SQLAlchemy's protocol is wider
        return True
    if not dialect.is_in_memory(engine.url):
        return False
    raw = engine.raw_connection()
    try:
        if raw.dbapi_connection is None or not _is_private(dialect, raw.dbapi_connection, engine):
            return False
        work(raw.dbapi_connection)  # type: ignore[arg-type]  # likewise
        return True
    finally:
        # Given back without the pool's rollback: a StaticPool has given the same connection to the
        # application, whose transaction may be open on it.
        raw._close_special(transaction_reset=True)


def _is_private(dialect: Dialect, dbapi_connection: object, engine: Engine) -> bool:
    if engine.dialect.is_async:
        return dialect.is_in_memory(engine.url)
    try:
        return dialect.is_private(dbapi_connection)  # type: ignore[arg-type]  # a driver's own
    except Exception:  # bound to another thread: the URL's word stands
        return dialect.is_in_memory(engine.url)


def _outside_of_event_loops(engine: Engine, work: Callable[[], None]) -> None:
    """Run where no event loop runs, since an asynchronous driver gets one of its own."""
    if not engine.dialect.is_async:
        work()
        return
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="sa_perf-explain-now", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
