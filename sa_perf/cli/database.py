"""The database that a command works on: its option and its failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from sa_perf.cli.failures import DatabaseFailure
from sa_perf.errors import SaPerfError
from sa_perf.tables import database_label

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["database_option", "failures_in_one_line"]

database_option = click.option(
    "--url",
    metavar="URL",
    envvar="SA_PERF_DATABASE_URL",
    show_envvar=True,
    required=True,
    help="Database, as SQLAlchemy's create_engine takes it. A password is safer in the "
    "environment, for process lists show the command line.",
)


@contextmanager
def failures_in_one_line(url: URL | None) -> Iterator[None]:
    """Let what an application would handle end the command in one line, without secrets."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except SaPerfError as error:
        raise DatabaseFailure(str(error)) from error
    except (SQLAlchemyError, ImportError, OSError) as error:
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        if url is None:
            raise DatabaseFailure(reason) from error
        if url.password:
            reason = reason.replace(str(url.password), "***")
        raise DatabaseFailure(f"{database_label(url)}: {reason}") from error
