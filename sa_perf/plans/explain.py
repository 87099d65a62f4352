"""EXPLAIN for a person at a prompt.

`explain` prints the plan of a statement and what is wrong with it. The database is asked on a
connection of its own, so neither the session nor its transaction is touched; an in-memory SQLite
database is asked on the connection that sees it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql.compiler import SQLCompiler

from sa_perf.dialects import DBAPIConnection, Dialect, Plan, TableFacts, dialect_for
from sa_perf.errors import ExplainRefused
from sa_perf.plans.offers import may_wait, on_own_connection, tables_of
from sa_perf.plans.reads_only import require_read

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Connection, Engine, Executable
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Query, Session, scoped_session
    from sqlalchemy.sql import ClauseElement

    Statement: TypeAlias = "Executable | Query[object] | str"
    Bind: TypeAlias = (
        "Session | scoped_session[Session] | AsyncSession | Connection | AsyncConnection | Engine "
        "| AsyncEngine"
    )

__all__ = ["explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A statement as it goes to the driver, and how to ask for it."""

    statement: str
    parameters: object
    analyze: bool
    timeout_seconds: float


def explain(
    statement: Statement,
    bind: Bind,
    *,
    analyze: bool = False,
    timeout_seconds: float = 10.0,
    console: Console | None = None,
) -> Plan:
    """Print how the database runs a statement, and what is wrong with that.

    The statement is not run, unless ``analyze`` asks for it; then it must be a read, and it runs in
    a transaction that is rolled back. What only the session's own transaction or connection sees
    (temporary tables, uncommitted DDL) is not seen here. An asynchronous session may be given as
    it is; the call blocks, so in a coroutine ``await session.run_sync(lambda s: explain(stmt, s))``
    does the same in SQLAlchemy's own way.

    Args:
        statement: of Core or the ORM, a legacy ``Query``, or SQL as the driver takes it.
        bind: where to ask.
        analyze: run the statement and report what each step did.
        timeout_seconds: time limit that the database gets, > 0.
        console: where to print; by default standard output.

    Returns:
        The plan, with the literals that the database wrote into it.

    Raises:
        ExplainRefused: the statement has no plan, or ``analyze`` would run more than a read.
        ExplainError: the database did not give a plan.
        UnsupportedDatabase: no way to ask this database is known.

    Example:
        >>> explain(select(Flight).where(Flight.tail_number == "N14228"), session)  # doctest: +SKIP
    """
    if not timeout_seconds > 0:
        raise ExplainRefused(f"timeout_seconds is a number above 0, got {timeout_seconds!r}")
    engine, connection = _engine_of(bind, statement)
    dialect = dialect_for(engine)
    text, parameters = _compiled(statement, engine)
    dialect.require_explainable(text)
    notes = []
    if analyze and not dialect.analyzes:
        notes.append(f"{dialect.title} cannot report on a run; this is the plan alone.")
        analyze = False
    if analyze:
        require_read(text, dialect)
    asked = _Asked(
        statement=text, parameters=parameters, analyze=analyze, timeout_seconds=timeout_seconds
    )
    plan, facts = _ask(engine, connection, asked)
    _print(plan, facts, asked, dialect=dialect, notes=notes, console=console)
    return plan


def _engine_of(bind: Bind, statement: Statement) -> tuple[Engine, Connection | None]:
    """The engine to ask, and the connection that is already open, if there is one."""
    from sqlalchemy import Connection, Engine

    found: object = bind
    for name in ("sync_session", "sync_connection", "sync_engine"):
        found = getattr(found, name, None) or found
    if callable(found) and hasattr(found, "registry"):
        found = found()  # a scoped_session
    if hasattr(found, "get_bind"):
        session = cast("Session", found)
        clause = _clause(statement)
        found = session.get_bind(clause=clause)
        if isinstance(found, Engine) and session.in_transaction():
            options: dict[str, object] = {} if clause is None else {"clause": clause}
            return found, session.connection(bind_arguments=options)
    if isinstance(found, Connection):
        return found.engine, found
    if isinstance(found, Engine):
        return found, None
    raise ExplainRefused(
        f"explain() takes a session, a connection or an engine, got {type(bind).__name__}"
    )


def _clause(statement: Statement) -> ClauseElement | None:
    """What a session chooses its engine by; None for a text."""
    from sqlalchemy.sql import ClauseElement

    found = getattr(statement, "statement", statement)
    return found if isinstance(found, ClauseElement) else None


def _compiled(statement: Statement, engine: Engine) -> tuple[str, object]:
    """The text and the parameters that the driver would be given; None if values are missing."""
    if isinstance(statement, str):
        return statement, None
    clause = _clause(statement)
    if clause is None:
        raise ExplainRefused(f"explain() takes a statement, got {type(statement).__name__}")
    compiled = clause.compile(dialect=engine.dialect, compile_kwargs={"render_postcompile": True})
    if not isinstance(compiled, SQLCompiler):
        raise ExplainRefused(f"{type(statement).__name__} has no plan: it is no query")
    try:
        values = dict(compiled.construct_params(escape_names=False) or {})
    except InvalidRequestError:
        return str(compiled), None
    # Only one set of values is compiled, so each has one processor, not several.
    processors = cast("Mapping[str, Callable[[object], object]]", compiled._bind_processors)
    bound = {
        name: processors[name](value) if name in processors else value
        for name, value in values.items()
    }
    if compiled.positional:
        return str(compiled), tuple(bound[name] for name in compiled.positiontup or ())
    escaped: Mapping[str, str] = compiled.escaped_bind_names or {}
    return str(compiled), {escaped.get(name, name): value for name, value in bound.items()}


def _ask(
    engine: Engine, connection: Connection | None, asked: _Asked
) -> tuple[Plan, Mapping[str, TableFacts]]:
    answers: list[tuple[Plan, Mapping[str, TableFacts]]] = []

    def ask(dbapi_connection: DBAPIConnection) -> None:
        # Now that the engine has connected, it is known which database it is.
        dialect = dialect_for(engine)
        plan = dialect.explain(
            dbapi_connection,
            asked.statement,
            asked.parameters,
            timeout_seconds=asked.timeout_seconds,
            analyze=asked.analyze,
            keep_literals=True,
        )
        tables = tables_of(dialect, plan, asked.statement)
        answers.append((plan, dialect.table_facts(dbapi_connection, tables)))

    def ask_beside() -> None:
        def ask_ready(dbapi_connection: DBAPIConnection) -> None:
            dialect_for(engine).begin_session(dbapi_connection, asked.timeout_seconds)
            ask(dbapi_connection)

        on_own_connection(engine, ask_ready)

    if not _asked_here(engine, connection, ask):
        _outside_of_event_loops(engine, ask_beside)
    return answers[0]


def _asked_here(
    engine: Engine, connection: Connection | None, ask: Callable[[DBAPIConnection], None]
) -> bool:
    """Ask on the connection that alone sees the database; False if any connection sees it."""
    dialect = dialect_for(engine)
    if engine.dialect.is_async and dialect.is_in_memory(engine.url) and not may_wait(engine):
        raise ExplainRefused(
            "only the session's own connection sees this database; call: "
            "await session.run_sync(lambda s: explain(statement, s))"
        )
    if connection is not None:
        dbapi_connection = connection.connection.dbapi_connection
        if dbapi_connection is None or not _is_private(dialect, dbapi_connection, engine):
            return False
        ask(dbapi_connection)  # type: ignore[arg-type]  # SQLAlchemy's protocol is wider
        return True
    if not dialect.is_in_memory(engine.url):
        return False
    raw = engine.raw_connection()
    try:
        if raw.dbapi_connection is None or not _is_private(dialect, raw.dbapi_connection, engine):
            return False
        ask(raw.dbapi_connection)  # type: ignore[arg-type]  # likewise
        return True
    finally:
        raw.close()


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


def _print(
    plan: Plan,
    facts: Mapping[str, TableFacts],
    asked: _Asked,
    *,
    dialect: Dialect,
    notes: Sequence[str],
    console: Console | None,
) -> None:
    from rich.console import Console
    from rich.text import Text

    from sa_perf.plans.findings import find
    from sa_perf.plans.render import render_plan

    out = Console() if console is None else console
    out.print(render_plan(plan))
    for note in notes:
        out.print(Text(note, style="italic"))
    findings = find(
        plan,
        statement=asked.statement,
        parameters=asked.parameters,
        facts=facts,
        dialect=dialect,
    )
    for finding in findings:
        style = {"critical": "bold red", "warning": "yellow"}.get(finding.severity, "cyan")
        line = Text(f"{finding.severity}: ", style=style)
        line.append(finding.message, style="default")
        out.print(line)
        out.print(Text(f"  {finding.remedy}"), soft_wrap=True)
    if not findings:
        out.print(Text("Nothing to mend was found.", style="green"))
