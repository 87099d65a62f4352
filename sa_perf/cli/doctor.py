"""``sa-perf doctor``: what is wrong with a database's schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from sa_perf.cli.database import database_option, failures_in_one_line
from sa_perf.cli.options import limit_option
from sa_perf.cli.output import OUTPUT_SCHEMA, Output, write
from sa_perf.cli.rows import row
from sa_perf.cli.severity import exit_when_found, fail_on_option

if TYPE_CHECKING:
    from sa_perf.plans.schema import Limits, SchemaReport

__all__ = ["doctor"]


@click.command()
@database_option
@click.option(
    "--schema",
    "schemas",
    metavar="NAME",
    multiple=True,
    help="Only this schema; may be repeated. Default: all of the application's; where a schema is "
    "a database, the URL's.",
)
@click.option(
    "--small-rows",
    type=click.IntRange(min=0),
    default=1_000,
    show_default=True,
    metavar="N",
    help="What is wrong with indexes of tables with fewer rows is told as info; 0 has each count.",
)
@click.option(
    "--unused-days",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="N",
    help='Say "never used" only where uses have been counted for so long.',
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=3_600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For each question to the database.",
)
@limit_option(10, "findings of each kind on a terminal")
@fail_on_option
@click.option(
    "--json/--no-json",
    "as_json",
    default=None,
    help="Print JSON, or text. Default: text on a terminal, else JSON.",
)
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR does the same.")
def doctor(
    *,
    url: str,
    schemas: tuple[str, ...],
    small_rows: int,
    unused_days: float,
    timeout: float,
    limit: int,
    fail_on: str,
    as_json: bool | None,
    no_color: bool,
) -> None:
    """Look for faults in a database's schema; read only.

    Indexes that are duplicate, redundant, invalid or never used; foreign keys without an index;
    sequences near their end; tables without a primary key. Each with the statement and the Alembic
    operation that mend it, and what could not be told, with the reason.
    """
    from sa_perf.plans.schema import Limits

    output = Output(as_json=as_json, no_color=no_color)
    limits = Limits(small_rows=small_rows, unused_days=unused_days)
    report = _examined(url, schemas, limits, timeout)
    if output.as_json:
        head = {"schema": OUTPUT_SCHEMA, "command": "doctor"}
        write(json.dumps({**head, **row(report)}, indent=2, allow_nan=False) + "\n")
    else:
        from sa_perf.cli.terminal.doctor import report_parts

        output.print(*report_parts(report, limit))
    exit_when_found(report.findings, fail_on)


def _examined(
    url: str, schemas: tuple[str, ...], limits: Limits, timeout_seconds: float
) -> SchemaReport:
    """The report on a database, also by an asynchronous driver."""
    with failures_in_one_line(None):
        from sa_perf.connecting import on_connection, url_of
        from sa_perf.dialects.inventory import refuse_missing
        from sa_perf.plans.schema import examine

        address = url_of(url)
        refuse_missing(address)
    with failures_in_one_line(address):
        return on_connection(
            address,
            lambda connection: examine(
                connection, schemas=schemas, limits=limits, timeout_seconds=timeout_seconds
            ),
        )
