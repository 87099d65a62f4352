"""``sa-perf compare``: what got slower between two windows of a store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import click

from sa_perf.cli.failures import FOUND, UnreadableInput
from sa_perf.cli.moments import Moment, MomentType, Stretch, StretchType
from sa_perf.cli.options import limit_option
from sa_perf.cli.output import OUTPUT_SCHEMA, Output, write
from sa_perf.cli.source import opened_store
from sa_perf.json_values import encoded

if TYPE_CHECKING:
    from sa_perf.store.comparing import Comparison
    from sa_perf.store.reading import StoreReader

__all__ = ["compare"]

#: What is looked at before the other window, where nothing is said: as long, but this at least.
_LEAST_BEFORE = timedelta(hours=1)


@click.command()
@click.option(
    "--store",
    metavar="URL",
    envvar="SA_PERF_STORE",
    show_envvar=True,
    help="Database that processes flush to. A password is safer in the environment, for process "
    "lists show the command line.",
)
@click.option(
    "--since",
    metavar="MOMENT",
    type=MomentType(),
    help="Compare what ran since with as long a time before, an hour at least: how long ago "
    "(90m, 24h, 7d), an ISO time, or deploy: when the newest release was first seen.  "
    "[default: deploy]",
)
@click.option("--before", metavar="A..B", type=StretchType(), help="The first window.")
@click.option(
    "--after", metavar="C..D", type=StretchType(), help="The second; without D it is up to now."
)
@limit_option(10, "queries of each table as text")
@click.option(
    "--check", is_flag=True, help="Exit with 1 where a query is slower or run more often."
)
@click.option(
    "--json/--no-json",
    "as_json",
    default=None,
    help="Print JSON, or tables. Default: tables on a terminal, else JSON.",
)
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR does the same.")
def compare(
    *,
    store: str | None,
    since: Moment | None,
    before: Stretch | None,
    after: Stretch | None,
    limit: int,
    check: bool,
    as_json: bool | None,
    no_color: bool,
) -> None:
    """Say what got slower, or is run more often, between two windows.

    A query is slower where its mean, the ranks of its durations and chance agree; those that cost
    most time an hour stand first.
    """
    if store is None:
        raise click.UsageError(
            "which store? Give --store URL (or SA_PERF_STORE), the database that processes flush "
            "to by the setting store"
        )
    if since is not None and (before or after):
        raise click.UsageError("--since finds both windows; give it, or --before and --after")
    output = Output(as_json=as_json, no_color=no_color)
    with opened_store(store) as reader:
        windows = _windows(reader, since, before, after)
        found = _compared(reader, windows)
    if output.as_json:
        head = {"schema": OUTPUT_SCHEMA, "command": "compare", "release": windows.release}
        content = {**head, "comparison": encoded(found)}
        write(json.dumps(content, indent=2, allow_nan=False) + "\n")
    else:
        from sa_perf.cli.terminal.comparison import comparison

        output.print(*comparison(found, windows.release, limit))
    if check and found.regressed:
        raise click.exceptions.Exit(FOUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Windows:
    """What is compared with what; None is from the first, or up to now.

    Attributes:
        release: the newest, where its deploy parts the windows.
    """

    first: tuple[datetime | None, datetime]
    second: tuple[datetime, datetime | None]
    release: str | None = None


def _compared(reader: StoreReader, windows: _Windows) -> Comparison:
    from sa_perf.store.comparing import compare as compared

    first = reader.window(*windows.first, documents=False)
    second = reader.window(*windows.second, documents=False)
    return compared(first, second)


def _windows(
    reader: StoreReader, since: Moment | None, before: Stretch | None, after: Stretch | None
) -> _Windows:
    now = datetime.now(timezone.utc)
    deploys: list[tuple[str, datetime]] = []

    def last_deploy() -> datetime:
        if not deploys:
            deploys.append(reader.last_deploy())
        return deploys[0][1]

    def at(moment: Moment | None) -> datetime | None:
        return None if moment is None else moment.resolved(now, last_deploy)

    if before is None and after is None:
        begin = (since or Moment()).resolved(now, last_deploy)
        first, second = (begin - max(now - begin, _LEAST_BEFORE), begin), (begin, None)
        return _Windows(first=first, second=second, release=deploys[0][0] if deploys else None)
    first_end = None if before is None else at(before.until)
    second_begin = first_end if after is None else at(after.since)
    if second_begin is None:
        given = "--after" if after is not None else "--before"
        raise click.BadParameter(
            "give a begin of the second window: A..B behind --before, or C.. behind --after",
            param_hint=f"'{given}'",
        )
    second_end = None if after is None else at(after.until)
    first_end = first_end or second_begin
    length = (second_end or now) - second_begin
    first_begin = first_end - max(length, _LEAST_BEFORE) if before is None else at(before.since)
    _refuse_disorder(first_begin, first_end, second_begin, second_end)
    return _Windows(first=(first_begin, first_end), second=(second_begin, second_end))


def _refuse_disorder(*moments: datetime | None) -> None:
    """See to it that the windows come one after the other."""
    known = [one for one in moments if one is not None]
    if known != sorted(known) or len({known[0], known[-1]}) < 2:
        shown = ", ".join(f"{one:%Y-%m-%d %H:%M}" for one in known)
        raise UnreadableInput(
            f"the windows are not one after the other: {shown} (UTC); the first is to end before "
            "the second begins"
        )
