"""Options that the commands share, and the snapshot that they are about."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

import click
from click.core import ParameterSource

from sa_perf.cli.failures import UnreadableInput
from sa_perf.cli.moments import Moment, MomentType
from sa_perf.cli.output import Output
from sa_perf.cli.source import FilePatterns, from_files, from_store, from_url, opened_store
from sa_perf.errors import SaPerfError
from sa_perf.snapshot import Snapshot

__all__ = [
    "DEFAULT_SINCE", "SnapshotOptions", "chosen_database", "limit_option", "one_source",
    "reads_snapshot", "refuse_window_without", "window_options",
]  # fmt: skip

#: What a store is read from where nothing is said.
DEFAULT_SINCE = Moment(ago=timedelta(hours=24))

_TOKEN_VARIABLE = "SA_PERF_TOKEN"  # noqa: S105  # the variable's name
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
_HOW_TO_GIVE_ONE = (
    "which snapshot? Give --file PATH (or SA_PERF_FILE), a file that the application writes with "
    "perf.snapshot().write(path) or the setting snapshot_path; or --url URL (or SA_PERF_URL); or "
    "--store URL (or SA_PERF_STORE), where all processes flush to. For one to try: sa-perf demo "
    "--snapshot PATH"
)


def reads_snapshot(
    command: Callable[..., None] | None = None,
    *,
    documents: Callable[[Mapping[str, object]], bool] = lambda own: True,
) -> Callable[..., Any]:
    """Give a command the options for its snapshot and its output.

    The command is called with a `Snapshot`, an `Output` and its own options.

    Args:
        command: None where this is called for a decorator.
        documents: whether it shows more than figures, by its own options: of a store the rest
            need not be read.
    """
    if command is None:
        return functools.partial(reads_snapshot, documents=documents)
    shown = command

    @functools.wraps(command)
    def run(*, as_json: bool | None, no_color: bool, **given: Any) -> None:  # noqa: ANN401
        output = Output(as_json=as_json, no_color=no_color)
        own = {name: value for name, value in given.items() if name not in _OF_SOURCES}
        source = SnapshotOptions(**{name: given[name] for name in _OF_SOURCES})
        with source.opened(documents=documents(own)) as snapshot:
            try:
                shown(snapshot, output, **own)
            except SaPerfError as error:
                raise UnreadableInput(str(error)) from error
            except RecursionError as error:
                raise UnreadableInput("damaged snapshot: a plan is nested too deeply") from error

    for option in reversed(_OUTPUT_OPTIONS):
        option(run)
    window_options(run)
    for option in reversed(_OPTIONS):
        option(run)
    return run


def window_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a store and of a window of it."""
    for option in reversed(_WINDOW_OPTIONS):
        option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """Where a command's snapshot is to come from, as the options say it."""

    file: tuple[str, ...]
    url: str | None
    header: tuple[str, ...]
    timeout: float
    store: str | None
    since: Moment | None
    until: Moment | None

    @contextmanager
    def opened(self, *, documents: bool) -> Iterator[Snapshot]:
        """Read the snapshot; of a store some of it is read when it is looked into."""
        source = one_source(file=self.file, url=self.url, store=self.store)
        if source is None:
            raise click.UsageError(_HOW_TO_GIVE_ONE)
        refuse_window_without(self.store if source == "store" else None, self.since, self.until)
        if source == "file":
            yield from_files(self.file)
        elif source == "url":
            headers = _headers(self.header)
            yield from_url(self.url or "", headers=headers, timeout_seconds=self.timeout)
        else:
            with opened_store(self.store or "") as reader:
                since = self.since or DEFAULT_SINCE
                yield from_store(reader, since, self.until, documents=documents)


_OF_SOURCES = frozenset(one.name for one in fields(SnapshotOptions))
_OPTIONS = (
    click.option(
        "--file",
        metavar="PATH",
        type=FilePatterns(),
        multiple=True,
        envvar="SA_PERF_FILE",
        show_envvar=True,
        help="Snapshot to read; - is standard input. May be repeated, and be a pattern such as "
        "'perf-*.json': those of several processes are added up.",
    ),
    click.option(
        "--url",
        metavar="URL",
        envvar="SA_PERF_URL",
        show_envvar=True,
        help="Snapshot to fetch by http or https, at most 64 MB.",
    ),
    click.option(
        "--header",
        metavar="'NAME: VALUE'",
        multiple=True,
        help="Header to send to --url; may be repeated. SA_PERF_TOKEN in the environment is sent "
        "as a bearer token.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True, max=3_600),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="For the whole answer of --url.",
    ),
)
_WINDOW_OPTIONS = (
    click.option(
        "--store",
        metavar="URL",
        envvar="SA_PERF_STORE",
        show_envvar=True,
        help="Database that processes flush to: all of them together, within a window. A password "
        "is safer in the environment, for process lists show the command line.",
    ),
    click.option(
        "--since",
        metavar="MOMENT",
        type=MomentType(),
        help="Begin of the window of --store: how long ago (90m, 24h, 7d), an ISO time, or deploy: "
        "when the newest release was first seen.  [default: 24h]",
    ),
    click.option("--until", metavar="MOMENT", type=MomentType(), help="Its end; default: now."),
)
_OUTPUT_OPTIONS = (
    click.option(
        "--json/--no-json",
        "as_json",
        default=None,
        help="Print JSON, or tables. Default: tables on a terminal, else JSON.",
    ),
    click.option("--no-color", is_flag=True, help="No colours; NO_COLOR does the same."),
)


def limit_option(default: int, what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option ``--limit``, of which 0 means all."""
    return click.option(
        "--limit",
        type=click.IntRange(min=0),
        default=default,
        show_default=True,
        help=f"How many {what} at most; 0 is all.",
    )


def chosen_database(wanted: str | None, labels: Sequence[str]) -> str | None:
    """The label that was meant by a label or a part of one.

    Args:
        wanted: as given; None is every database.
        labels: of the snapshot.

    Raises:
        click.BadParameter: none or several are meant; names them.
    """
    if wanted is None or wanted in labels:
        return wanted
    meant = [label for label in labels if wanted.lower() in label.lower()]
    if len(meant) == 1:
        return meant[0]
    known = ", ".join(meant or labels) or "none"
    problem = "is meant by several" if meant else "is no database of the snapshot"
    raise click.BadParameter(f"{wanted!r} {problem}: {known}", param_hint="'--database'")


def one_source(**given: object) -> str | None:
    """Of several sources the one that counts: the command line beats the environment.

    Args:
        given: what each option holds, by its name; nothing, or what is false, is not given.

    Returns:
        The name of the option; None where none is given.

    Raises:
        click.UsageError: several are.
    """
    names = [name for name, value in given.items() if value]
    context = click.get_current_context()
    typed = [
        name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    chosen = typed or names
    if len(chosen) < 2:
        return chosen[0] if chosen else None
    words = [f"--{one}" if typed else f"SA_PERF_{one.upper()}" for one in chosen]
    all_of_them = f"{', '.join(words[:-1])} and {words[-1]}"
    number = "both" if len(words) == 2 else "all"
    raise click.UsageError(
        f"{all_of_them} are {number} given, but only one snapshot is read; give one of them"
    )


def refuse_window_without(store: str | None, since: Moment | None, until: Moment | None) -> None:
    """See to it that a window is not asked for of what has none.

    Raises:
        click.UsageError: it is.
    """
    if store is None and (since or until):
        word = "--since" if since else "--until"
        raise click.UsageError(
            f"{word} is for a store, and a snapshot holds all since its process began; give "
            "--store URL"
        )


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    token = os.environ.get(_TOKEN_VARIABLE)
    if token:
        if not _HEADER_VALUE.fullmatch(token):
            raise click.UsageError(f"{_TOKEN_VARIABLE} holds a character that no header may hold")
        headers["Authorization"] = f"Bearer {token}"
    for text in given:
        name, colon, value = text.partition(":")
        name, value = name.strip().capitalize(), value.strip()
        if not colon or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            # Not shown: it may be a password.
            raise click.BadParameter("a header is given as 'Name: value'", param_hint="'--header'")
        headers[name] = value
    return headers
