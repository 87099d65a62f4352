"""Whose policies a command is about: the models and their database."""

from __future__ import annotations

import functools
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from sa_perf.cli.database import database_option, failures_in_one_line
from sa_perf.cli.failures import UnreadableInput
from sa_perf.cli.output import OUTPUT_SCHEMA, Output, write

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sa_perf.json_values import JSONValue

__all__ = ["load", "on_database", "on_models", "tell"]

_json_option = click.option(
    "--json/--no-json",
    "as_json",
    default=None,
    help="Print JSON, or tables. Default: tables on a terminal, else JSON.",
)
_app_option = click.option(
    "--app",
    metavar="MODULE:NAME",
    envvar="SA_PERF_APP",
    show_envvar=True,
    required=True,
    help="The application's MetaData or declarative base, e.g. shop.models:Base.",
)


def on_database(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an engine and its output; errors are told in one line."""

    @functools.wraps(command)
    def run(*, url: str, as_json: bool | None, **own: object) -> None:
        with _engine(url) as engine:
            command(engine, Output(as_json=as_json), **own)

    return database_option(_json_option(run))


def on_models(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an engine, the application's models and its output."""

    @functools.wraps(command)
    def run(*, url: str, app: str, as_json: bool | None, **own: object) -> None:
        with _engine(url) as engine:
            command(engine, load(app), Output(as_json=as_json), **own)

    return _app_option(database_option(_json_option(run)))


def load(path: str) -> Any:  # noqa: ANN401  # whatever the application calls its models
    """Import what ``module:name`` names.

    Raises:
        UnreadableInput: there is no such module or name.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise UnreadableInput(f"--app is {path!r}; write it like shop.models:Base")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: the folder that the command is run in
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise UnreadableInput(f"--app {path!r}: {error}") from error
    except Exception as error:  # whatever the application does when it is imported
        where = _line_of(error)
        raise UnreadableInput(f"--app {path!r}: {type(error).__name__}: {error}{where}") from error
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise UnreadableInput(f"--app {path!r}: {error}") from error
    return found


def tell(command: str, output: Output, content: Mapping[str, JSONValue], *shown: Any) -> None:  # noqa: ANN401
    """Print an answer as JSON, or for a person."""
    import json

    if output.as_json:
        head = {"schema": OUTPUT_SCHEMA, "command": f"retention {command}"}
        write(json.dumps({**head, **content}, indent=2, allow_nan=False) + "\n")
    else:
        output.print(*shown)


def _line_of(error: BaseException) -> str:
    """The line that an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    """An engine whose statements nobody records; asynchronous drivers are not run."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from sa_perf.connecting import url_of
    from sa_perf.errors import MigrationError

    with failures_in_one_line(None):
        address = url_of(url)
        if address.get_dialect().is_async:
            raise MigrationError(
                f"driver {address.drivername!r} is asynchronous; give the URL of a synchronous one"
            )
    engine = create_engine(address, poolclass=NullPool)
    try:
        with failures_in_one_line(address):
            yield engine
    finally:
        engine.dispose()
