"""Options that the commands share, and the snapshot that they are about."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence

import click
from click.core import ParameterSource

from sa_perf.cli.failures import UnreadableInput
from sa_perf.cli.output import Output
from sa_perf.cli.source import FilePatterns, from_files, from_url
from sa_perf.errors import SaPerfError

__all__ = ["chosen_database", "limit_option", "reads_snapshot"]

_TOKEN_VARIABLE = "SA_PERF_TOKEN"  # noqa: S105  # the variable's name
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
_HOW_TO_GIVE_ONE = (
    "which snapshot? Give --file PATH (or SA_PERF_FILE), a file that the application writes with "
    "perf.snapshot().write(path) or the setting snapshot_path; or --url URL (or SA_PERF_URL). "
    "For one to try: sa-perf demo --snapshot PATH"
)


def reads_snapshot(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for its snapshot and its output.

    The command is called with a `Snapshot`, an `Output` and its own options.
    """

    @functools.wraps(command)
    def run(
        *,
        file: tuple[str, ...],
        url: str | None,
        header: tuple[str, ...],
        timeout: float,
        as_json: bool | None,
        no_color: bool,
        **own: object,
    ) -> None:
        output = Output(as_json=as_json, no_color=no_color)
        files, url = _one_source(file, url)
        if files:
            snapshot = from_files(files)
        elif url is not None:
            snapshot = from_url(url, headers=_headers(header), timeout_seconds=timeout)
        else:
            raise click.UsageError(_HOW_TO_GIVE_ONE)
        try:
            command(snapshot, output, **own)
        except SaPerfError as error:
            raise UnreadableInput(str(error)) from error
        except RecursionError as error:
            raise UnreadableInput("damaged snapshot: a plan is nested too deeply") from error

    for option in reversed(_OPTIONS):
        option(run)
    return run


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


def _one_source(files: tuple[str, ...], url: str | None) -> tuple[tuple[str, ...], str | None]:
    """Of the two sources the one that counts: what is on the command line beats the environment."""
    if not files or url is None:
        return files, url
    context = click.get_current_context()
    typed = {
        name
        for name in ("file", "url")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if typed == {"file"}:
        return files, None
    if typed == {"url"}:
        return (), url
    given = "--file and --url are" if typed else "SA_PERF_FILE and SA_PERF_URL are"
    raise click.UsageError(f"{given} both given, but only one snapshot is read; give one of them")


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
