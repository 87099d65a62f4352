"""``sa-perf resources``: what is short here and in a database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep
from typing import TYPE_CHECKING

import click

from sa_perf.cli.database import failures_in_one_line
from sa_perf.cli.failures import NothingFound
from sa_perf.cli.output import OUTPUT_SCHEMA, Output, write
from sa_perf.cli.rows import row
from sa_perf.cli.source import FilePatterns, from_files
from sa_perf.tables import database_label

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sa_perf.resources.readings import Resources
    from sa_perf.resources.thresholds import Levels, Threshold

__all__ = ["resources"]

#: Of this process, which is not the application.
_OWN = frozenset({"open files"})
_EXIT_CODES = {"ok": 0, "warning": 1, "critical": 2}
_DEFAULT_SECONDS = 10.0


def _pairs(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """``NAME=VALUE``, one by one; a name alone stands for itself."""
    found = []
    for text in given:
        name, sign, value = text.partition("=")
        if not name or (sign and not value):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", ctx=context, param=parameter)
        found.append((name, value or name))
    return tuple(found)


@click.command()
@click.option(
    "--disk",
    "disks",
    callback=_pairs,
    multiple=True,
    metavar="[NAME=]PATH",
    help="File system to look at, by a path on it; may be repeated. Default: the root's.",
)
@click.option(
    "--url",
    metavar="URL",
    envvar="SA_PERF_DATABASE_URL",
    show_envvar=True,
    help="Database whose size, largest tables, log and connections are shown, and whose disk, "
    "where it is on this machine.",
)
@click.option(
    "--file",
    "files",
    metavar="PATH",
    type=FilePatterns(),
    multiple=True,
    help="Snapshot of an application that watches its resources, instead of what is seen from "
    "here: its pools, levels and forecasts. May be repeated, and be a pattern.",
)
@click.option(
    "--warning",
    type=click.FloatRange(0, 100),
    default=85.0,
    show_default=True,
    metavar="PERCENT",
    help="Used, from which on a resource is short.",
)
@click.option(
    "--critical",
    type=click.FloatRange(0, 100),
    default=95.0,
    show_default=True,
    metavar="PERCENT",
    help="Used, from which on it is nearly gone.",
)
@click.option(
    "--threshold",
    "thresholds",
    callback=_pairs,
    multiple=True,
    metavar="RESOURCE=WARNING,CRITICAL",
    help="The same for one resource, or a pattern such as 'disk *'; may be repeated.",
)
@click.option(
    "--watch",
    type=click.FloatRange(min=0.5, max=86_400),
    is_flag=False,
    flag_value=str(_DEFAULT_SECONDS),
    metavar="[SECONDS]",
    help="Look again and again until it is interrupted; every 10 seconds where none are given.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=3_600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For each question to the database.",
)
@click.option(
    "--json/--no-json",
    "as_json",
    default=None,
    help="Print JSON, or tables. Default: tables on a terminal, else JSON.",
)
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR does the same.")
def resources(
    *,
    disks: tuple[tuple[str, str], ...],
    url: str | None,
    files: tuple[str, ...],
    warning: float,
    critical: float,
    thresholds: tuple[tuple[str, str], ...],
    watch: float | None,
    timeout: float,
    as_json: bool | None,
    no_color: bool,
) -> None:
    """Show memory, disks and a database against their limits.

    Exits with 1 where something is short, or what was asked for cannot be read, and with 2 where
    something is nearly gone: fit for cron and for continuous integration. Pools belong to the
    application: its snapshot (--file) shows them.
    """
    from sa_perf.resources.thresholds import Levels

    output = Output(as_json=as_json, no_color=no_color)
    with failures_in_one_line(None):
        standard = _threshold("--warning and --critical", warning, critical)
        levels = Levels(standard, by_resource=_by_resource(thresholds))
    if files and (disks or url):
        raise click.UsageError("--file shows what the application saw; leave out --disk and --url")
    source = _recorded(files) if files else _seen(disks, url, levels, timeout)
    code = 0
    with source as look:
        try:
            while True:
                left_out = frozenset() if files else _OWN
                code = _shown(look(), output, left_out, watching=watch is not None)
                if watch is None:
                    break
                sleep(watch)
        except KeyboardInterrupt:
            pass
    raise click.exceptions.Exit(code)


@contextmanager
def _recorded(files: tuple[str, ...]) -> Iterator[Callable[[], Resources]]:
    """What reads the snapshots again at each call."""

    def look() -> Resources:
        found = from_files(files).resources
        if found is None:
            raise NothingFound(
                "the snapshot has no resources; the application is to call "
                "sa_perf.install(engine, resources=True)"
            )
        return found

    yield look


def _threshold(place: str, warning: float, critical: float) -> Threshold:
    from sa_perf.errors import InvalidSettings
    from sa_perf.resources.thresholds import Threshold

    try:
        return Threshold(warning_ratio=warning / 100, critical_ratio=critical / 100)
    except InvalidSettings as error:
        raise click.UsageError(f"{place}: {error}") from error


def _by_resource(given: tuple[tuple[str, str], ...]) -> dict[str, Threshold]:
    found = {}
    for resource, numbers in given:
        try:
            warning, critical = map(float, numbers.split(","))
        except ValueError:
            problem = f"{resource}={numbers} is not RESOURCE=WARNING,CRITICAL in per cent"
            raise click.BadParameter(problem, param_hint="'--threshold'") from None
        found[resource] = _threshold(f"--threshold {resource}", warning, critical)
    return found


@contextmanager
def _seen(
    disks: tuple[tuple[str, str], ...], url: str | None, levels: Levels, timeout: float
) -> Iterator[Callable[[], Resources]]:
    """What looks from here at each call, and tells nobody."""
    from sa_perf.resources.databases import DatabaseWatch
    from sa_perf.resources.disks import Disks
    from sa_perf.resources.host import Host
    from sa_perf.resources.monitor import Monitor

    paths = dict(disks) or {"root": os.path.abspath(os.sep)}
    monitor = Monitor(host=Host(Disks(paths)), levels=levels, sinks=())
    engine = None if url is None else _engine(url)
    watch = None
    if engine is not None:
        label = database_label(engine.url)
        watch = DatabaseWatch(engine, database=label, timeout_seconds=timeout)
        monitor.add(database=watch)

    def look() -> Resources:
        if watch is not None:
            watch.ask()
            watch.wait(6 * timeout)
        monitor.sample()
        return monitor.resources()

    yield look
    if engine is not None:
        engine.dispose()


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from sa_perf.connecting import url_of
    from sa_perf.dialects.inventory import refuse_missing

    with failures_in_one_line(None):
        address = url_of(url)
        refuse_missing(address)
    with failures_in_one_line(address):
        if address.get_dialect().is_async:
            from sqlalchemy.ext.asyncio import create_async_engine

            return create_async_engine(address, poolclass=NullPool).sync_engine
        return create_engine(address, poolclass=NullPool)


def _shown(found: Resources, output: Output, left_out: frozenset[str], *, watching: bool) -> int:
    """Print a reading but for some resources; the exit code that it asks for."""
    unknowns = [] if found.host is None else list(found.host.unknowns)
    unknowns += [one.unknown for one in found.databases if one.unknown is not None]
    standings = [one for one in found.standings if one.resource not in left_out]
    code = max((_EXIT_CODES[one.level] for one in standings), default=0)
    if any(one.resource.startswith(("disk ", "database ")) for one in unknowns):
        code = max(code, _EXIT_CODES["warning"])
    if output.as_json:
        document = {
            "schema": OUTPUT_SCHEMA,
            "command": "resources",
            "at": None if found.host is None else found.host.at.isoformat(),
            "resources": [row(one) for one in standings],
            "databases": [row(one) for one in found.databases],
            "pools": [row(one) for one in found.pools],
            "forecasts": [row(one) for one in found.forecasts],
            "unknowns": [row(one) for one in unknowns],
        }
        write(json.dumps(document, indent=None if watching else 2, allow_nan=False) + "\n")
        return code
    from sa_perf.cli.terminal.resources import resource_parts

    if watching and output.on_terminal:
        click.clear()
    output.print(*resource_parts(found, standings, unknowns))
    return code
