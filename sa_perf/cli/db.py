"""``sa-perf db``: sa_perf's own tables in a database."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from sa_perf.cli.database import database_option, failures_in_one_line
from sa_perf.cli.failures import FOUND
from sa_perf.cli.output import OUTPUT_SCHEMA, Output, write
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.tables import SCHEMA_VERSION, database_label

if TYPE_CHECKING:
    from sqlalchemy import URL

    from sa_perf.json_values import JSONValue

__all__ = ["db"]

_NONE = "none"
_REMEDY = "see: sa-perf db upgrade, or the application's alembic upgrade heads"


@click.group()
def db() -> None:
    """Make, upgrade and check sa_perf's own tables.

    Retention keeps its runs, batches, leases and holds in the database that it works on.
    """


def _on_database(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its database, its output and errors of one line."""

    @functools.wraps(command)
    def run(*, url: str, as_json: bool | None, **own: object) -> None:
        with failures_in_one_line(None):
            from sa_perf.connecting import url_of

            address = url_of(url)
        with failures_in_one_line(address):
            command(address, Output(as_json=as_json), **own)

    for option in reversed(_OPTIONS):
        option(run)
    return run


_OPTIONS = (
    database_option,
    click.option(
        "--json/--no-json",
        "as_json",
        default=None,
        help="Print JSON, or a sentence. Default: a sentence on a terminal, else JSON.",
    ),
)
_sql_option = click.option(
    "--sql", is_flag=True, help="Print the statements; connect to no database."
)


@db.command("upgrade")
@click.argument("revision", default="head")
@_sql_option
@_on_database
def _upgrade(url: URL, output: Output, *, revision: str, sql: bool) -> None:
    """Make the tables, or bring them up to REVISION, by default the newest."""
    from sa_perf import migration

    if sql:
        write(migration.upgrade(url, revision, sql=True))
        return
    before = migration.current(url)
    migration.upgrade(url, revision)
    _tell_change("upgrade", url, output, before)


@db.command("downgrade")
@click.argument("revision")
@_sql_option
@_on_database
def _downgrade(url: URL, output: Output, *, revision: str, sql: bool) -> None:
    """Bring the tables back to REVISION; "base" drops them with all that they hold."""
    from sa_perf import migration

    if sql:
        write(migration.downgrade(url, revision, sql=True))
        return
    before = migration.current(url)
    migration.downgrade(url, revision)
    _tell_change("downgrade", url, output, before)


@db.command("release")
@_on_database
def _release(url: URL, output: Output) -> None:
    """Give the tables to the application's own Alembic history; drops their version table only."""
    from sa_perf import migration

    before = migration.current(url)
    migration.release(url)
    _tell_change("release", url, output, before)


@db.command("current")
@_on_database
def _current(url: URL, output: Output) -> None:
    """Show which version of the tables a database has."""
    from sa_perf import migration

    version = migration.current(url)
    content: dict[str, JSONValue] = {"version": version, "needed": SCHEMA_VERSION}
    sentence = f"{database_label(url)}: version {version or _NONE}, needed is {SCHEMA_VERSION}"
    _tell("current", url, output, content, sentence)


@db.command("check")
@_on_database
def _check(url: URL, output: Output) -> None:
    """Compare the tables with those that this sa_perf works with; exit with 1 if they differ."""
    from sa_perf import migration

    faults = migration.check(url)
    content: dict[str, JSONValue] = {"needed": SCHEMA_VERSION, "faults": [*faults]}
    found = "; ".join(faults) + f"; {_REMEDY}" if faults else "as they should be"
    _tell("check", url, output, content, f"{database_label(url)}: {found}")
    if faults:
        raise click.exceptions.Exit(FOUND)


def _tell_change(command: str, url: URL, output: Output, before: str | None) -> None:
    from sa_perf import migration

    after = migration.current(url)
    content: dict[str, JSONValue] = {"before": before, "version": after, "needed": SCHEMA_VERSION}
    change = f"{before or _NONE} -> {after or _NONE}" if before != after else f"{after or _NONE}"
    _tell(command, url, output, content, f"{database_label(url)}: version {change}")


def _tell(
    command: str, url: URL, output: Output, content: dict[str, JSONValue], sentence: str
) -> None:
    if not output.as_json:
        write(f"{one_line(sentence)}\n")
        return
    head = {"schema": OUTPUT_SCHEMA, "command": f"db {command}", "database": database_label(url)}
    write(json.dumps({**head, **content}, indent=2) + "\n")
