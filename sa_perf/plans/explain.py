"""EXPLAIN for a person at a prompt.

`explain` prints the plan of a statement and what is wrong with it. The database is asked on a
connection of its own, so neither the session nor its transaction is touched; an in-memory SQLite
database is asked on the connection that sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql.compiler import SQLCompiler

from sa_perf.dialects import DBAPIConnection, Dialect, Plan, TableFacts, dialect_for
from sa_perf.errors import ExplainRefused
from sa_perf.plans.asking import ask, engine_of
from sa_perf.plans.offers import tables_of
from sa_perf.plans.reads_only import require_read

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Connection, Engine, Executable
    from sqlalchemy.orm import Query
    from sqlalchemy.sql import ClauseElement

    from sa_perf.plans.asking import Bind

    Statement: TypeAlias = "Executable | Query[object] | str"

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
    engine, connection = engine_of(bind, clause=_clause(statement), function="explain")
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
    def work(dbapi_connection: DBAPIConnection) -> tuple[Plan, Mapping[str, TableFacts]]:
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
        return plan, dialect.table_facts(dbapi_connection, tables)

    return ask(
        engine,
        connection,
        work,
        timeout_seconds=asked.timeout_seconds,
        call="explain(statement, s)",
    )


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
