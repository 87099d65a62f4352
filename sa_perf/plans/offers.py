"""A connection beside the application's pool, and what is done on it.

The connection is made by the engine's own creator with its connect listeners, in a pool of its own,
so no slot of the application's pool is taken. An asynchronous engine's connection lives in an event
loop of this thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sa_perf.dialects import DBAPIConnection, Dialect, Plan, TableFacts
from sa_perf.dialects.relations import tables_by_alias
from sa_perf.dialects.statement import first_parameters
from sa_perf.finding import Finding

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = [
    "Offer",
    "may_wait",
    "on_own_connection",
    "one_set",
    "prepare",
    "start_task",
    "tables_of",
    "words_for",
]

_LOGGER = logging.getLogger("sa_perf")
_tasks: set[object] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A slow statement that waits to be explained; holds its bind values while it does.

    Attributes:
        plan: already there for a database that only the application's connection sees.
        facts: likewise.
    """

    fingerprint: str
    statement: str
    parameters: object
    duration_seconds: float
    rows: int | None
    plan: Plan | None = None
    facts: dict[str, TableFacts] | None = None


def one_set(parameters: object) -> object:
    """One set of bind values out of what a driver was given, so that no more is held."""
    values = first_parameters(parameters)
    # A list would be taken for several sets.
    return tuple(values) if isinstance(values, list) else values


def on_own_connection(
    engine: Engine,
    work: Callable[[DBAPIConnection], None],
    held: Callable[[ConnectionPoolEntry | None], None] = lambda connection: None,
) -> None:
    """Open a connection, call ``work`` with its DBAPI connection, close it.

    Args:
        engine: whose creator, connect arguments and connect listeners are used.
        work: what to do; it may not use the engine.
        held: is told of the connection once it is open, and of None once it is closed.

    Raises:
        Exception: whatever the driver or ``work`` raised.
    """

    def run() -> None:
        # An entry that the pool has made but does not hold: it takes no slot, and runs the
        # application's connect and close listeners, but none for checkout and checkin.
        entry = engine.pool._create_connection()
        held(entry)
        try:
            if entry.dbapi_connection is not None:
                work(entry.dbapi_connection)  # type: ignore[arg-type]  # its protocol is wider
        finally:
            entry.close()
            held(None)

    if not engine.dialect.is_async:
        run()
        return
    import asyncio

    from sqlalchemy.util import greenlet_spawn

    asyncio.run(greenlet_spawn(run))


def prepare(
    dialect: Dialect,
    dbapi_connection: DBAPIConnection,
    offer: Offer,
    *,
    timeout_seconds: float,
    keep_literals: bool,
) -> Offer:
    """Ask the database for the plan of an offer and for the facts of its tables.

    Raises:
        ExplainError: or its relatives, as `Dialect.explain` does.
    """
    plan = dialect.explain(
        dbapi_connection,
        offer.statement,
        offer.parameters,
        timeout_seconds=timeout_seconds,
        keep_literals=keep_literals,
    )
    tables = tables_of(dialect, plan, offer.statement)
    try:
        facts = dialect.table_facts(dbapi_connection, tables)
    except Exception:  # a plan without facts is worth more than none
        _LOGGER.debug("no facts about %s", tables, exc_info=True)
        facts = {}
    return replace(offer, plan=plan, facts=facts)


def may_wait(engine: Engine) -> bool:
    """Whether a connection of this engine can be used right here.

    One of an asynchronous driver can be only where SQLAlchemy waits for it on an event loop.
    """
    if not engine.dialect.is_async:
        return True
    from sqlalchemy.util.concurrency import in_greenlet

    return in_greenlet()


def start_task(
    work: Callable[[], Offer],
    done: Callable[[Offer], object],
    failed: Callable[[BaseException], None],
) -> None:
    """Do some work on an asynchronous connection as a task of the event loop that runs here.

    The connection belongs to that loop, so no other thread can use it.

    Raises:
        RuntimeError: no event loop runs.
    """
    import asyncio

    from sqlalchemy.util import greenlet_spawn

    async def run() -> None:
        try:
            done(await greenlet_spawn(work))
        except BaseException as error:  # the task may be cancelled with its loop
            failed(error)
            if not isinstance(error, Exception):
                raise

    task = asyncio.get_running_loop().create_task(run())
    # The loop itself holds its tasks weakly.
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def tables_of(dialect: Dialect, plan: Plan, statement: str) -> list[str]:
    """Tables that a plan reads or writes, with the schema where the statement gives it."""
    written = tables_by_alias(dialect.lexer.names_and_marks(statement))
    schemas = {name.rpartition(".")[2].casefold(): name for name in written.values()}
    names = {node.relation for node in plan.root.walk() if node.relation}
    return sorted({schemas.get(name.casefold(), name) for name in names})


def words_for(dialect: Dialect, offer: Offer, *, big_table_rows: int) -> tuple[Finding, ...]:
    """Findings about a prepared offer, each with its fingerprint."""
    from sa_perf.plans.findings import find

    if offer.plan is None:
        return ()
    findings = find(
        offer.plan,
        statement=offer.statement,
        parameters=offer.parameters,
        facts=offer.facts or {},
        dialect=dialect,
        rows_returned=offer.rows,
        big_table_rows=big_table_rows,
    )
    return tuple(replace(finding, fingerprint=offer.fingerprint) for finding in findings)
