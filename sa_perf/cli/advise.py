"""``sa-perf advise``: the indexes that would help a workload."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, TYPE_CHECKING, Any

import click

from sa_perf.cli.database import database_option, failures_in_one_line
from sa_perf.cli.failures import FOUND
from sa_perf.cli.options import window_options
from sa_perf.cli.output import OUTPUT_SCHEMA, Output, write
from sa_perf.cli.workload import WorkloadSource, as_written, workload_of
from sa_perf.json_values import encoded

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from sa_perf.plans.index_advice import AdviceReport, WorkloadQuery

__all__ = ["advise"]

_MADE_HERE = "copy"


@click.command()
@database_option
@click.option(
    "--file",
    metavar="PATH",
    envvar="SA_PERF_FILE",
    show_envvar=True,
    help="Snapshot whose statements to look at; - is standard input.",
)
@window_options
@click.option(
    "--sql",
    metavar="PATH",
    help="Statements to look at instead, each ended by a semicolon; - is standard input. Their "
    "literals are shown.",
)
@click.option(
    "--database",
    metavar="LABEL",
    help="Of a snapshot with several databases: the one at --url; a part is enough.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Statements to look at, those that took most time first.",
)
@click.option(
    "--least-speedup",
    type=click.FloatRange(min=1, min_open=True),
    default=2.0,
    show_default=True,
    help="How many times as fast a statement must become.",
)
@click.option(
    "--apply-to-shadow",
    "shadow",
    metavar="URL",
    is_flag=False,
    flag_value=_MADE_HERE,
    help="Make the indexes in a copy of the database and measure: without URL in a temporary copy "
    "(of a database in one file), else in the database at URL, e.g. a restored backup, where they "
    "are dropped again.",
)
@click.option(
    "--to",
    metavar="PATH",
    type=click.File("w", "utf-8", lazy=True, atomic=True),
    help="Write the JSON to a file too, from which an application's Alembic makes the indexes.",
)
@click.option("--check", is_flag=True, help="Exit with 1 where an index is advised.")
@click.option(
    "--json/--no-json",
    "as_json",
    default=None,
    help="Print JSON, or text. Default: text on a terminal, else JSON.",
)
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR does the same.")
def advise(
    *,
    url: str,
    sql: str | None,
    database: str | None,
    limit: int,
    least_speedup: float,
    shadow: str | None,
    to: IO[str] | None,
    check: bool,
    as_json: bool | None,
    no_color: bool,
    **where: Any,  # noqa: ANN401  # options of the snapshot
) -> None:
    """Say which indexes would help a workload, each tried before it is named.

    The database at --url is asked and never changed: on SQLite indexes are tried in a copy of the
    schema, on PostgreSQL by the extension HypoPG. Elsewhere, or without HypoPG, they are marked as
    unverified.
    """
    output = Output(as_json=as_json, no_color=no_color)
    source = WorkloadSource(sql=sql, **where)
    with failures_in_one_line(None):
        from sa_perf.connecting import url_of
        from sa_perf.dialects import dialect_for
        from sa_perf.dialects.inventory import refuse_missing

        address = url_of(url)
        refuse_missing(address)
    with failures_in_one_line(address), _engine(address) as engine:
        workload = workload_of(engine, source, database)
        report = _report(
            engine, workload, output, limit, least_speedup, keep_literals=sql is not None
        )
        if shadow is not None:
            report = _measured(engine, report, shadow, least_speedup)
        report = as_written(report, dialect_for(engine))
    _tell(report, output, to)
    if check and report.advice:
        raise click.exceptions.Exit(FOUND)


def _tell(report: AdviceReport, output: Output, to: IO[str] | None) -> None:
    content = {"schema": OUTPUT_SCHEMA, "command": "advise", "report": encoded(report)}
    written = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if to is not None:
        to.write(written)
    if output.as_json:
        write(written)
    else:
        from sa_perf.cli.terminal.advice import advice

        output.print(*advice(report))


@contextmanager
def _engine(url: URL) -> Iterator[Engine]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    in_memory = not url.database or url.database == ":memory:"
    engine = create_engine(url) if in_memory else create_engine(url, poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


def _report(
    engine: Engine,
    workload: tuple[WorkloadQuery, ...],
    output: Output,
    limit: int,
    least_speedup: float,
    *,
    keep_literals: bool,
) -> AdviceReport:
    from sa_perf.plans import index_advice

    with _progress(output) as progress:
        return index_advice.advise(
            engine,
            workload,
            limit=limit,
            least_speedup=least_speedup,
            keep_literals=keep_literals,
            progress=progress,
        )


@contextmanager
def _progress(output: Output) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's standard error, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    with nullcontext() if output.as_json else bar:
        task = bar.add_task("Trying indexes")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _measured(
    engine: Engine, report: AdviceReport, shadow: str, least_speedup: float
) -> AdviceReport:
    from sa_perf.plans.index_advice.measuring import measured

    with _copy(engine.url) if shadow == _MADE_HERE else _other(engine.url, shadow) as copy:
        return measured(report, copy, least_speedup=least_speedup)


@contextmanager
def _copy(url: URL) -> Iterator[Engine]:
    """A copy that is made here, by the synchronous driver that Python has."""
    from sa_perf.dialects.index_trials.copies import copied

    if url.get_dialect().is_async:
        url = url.set(drivername=url.get_backend_name())
    with _engine(url) as engine, copied(engine) as copy:
        yield copy


@contextmanager
def _other(url: URL, shadow: str) -> Iterator[Engine]:
    from sa_perf.connecting import on_connection, url_of
    from sa_perf.dialects import are_alike
    from sa_perf.dialects.index_trials.copies import is_same_database
    from sa_perf.dialects.inventory import refuse_missing

    other = url_of(shadow)
    own, theirs = url.get_backend_name(), other.get_backend_name()
    if not are_alike(own, theirs):
        raise _no_shadow(f"a copy of a {own} database is no {theirs} one")
    if other.get_dialect().is_async:
        raise _no_shadow(
            f"{other.drivername} is asynchronous; give a URL with a synchronous driver"
        )
    refuse_missing(other)
    with failures_in_one_line(other), _engine(other) as engine:

        def is_same(connection: Connection) -> bool:
            with engine.connect() as copy:
                return is_same_database(connection, copy)

        if on_connection(url, is_same):
            raise _no_shadow(
                "this is the database at --url itself; give another one, in which indexes may be "
                "made"
            )
        yield engine


def _no_shadow(why: str) -> click.BadParameter:
    return click.BadParameter(why, param_hint="'--apply-to-shadow'")
