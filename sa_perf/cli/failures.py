"""How a command ends that cannot do its work: one line, an exit code."""

from __future__ import annotations

from typing import IO, Any

import click

from sa_perf.cli.wording.plain_text import one_line

__all__ = ["FOUND", "USAGE", "DatabaseFailure", "NothingFound", "Refused", "UnreadableInput"]

#: Exit code: findings were asked to fail the command, or nothing answers to the fingerprint.
FOUND = 1
#: Exit code: wrong usage, or input that cannot be read.
USAGE = 2


class _OneLine(click.ClickException):
    """Shown as one line on standard error, with nothing in it that acts on a terminal."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message."""
        line = f"Error: {one_line(self.message)}"
        click.echo(line.encode("ascii", "backslashreplace").decode(), file=file, err=file is None)


class UnreadableInput(_OneLine):
    """A snapshot cannot be had from where it was said to be."""

    exit_code = USAGE


class NothingFound(_OneLine):
    """The snapshot does not hold what was asked for."""

    exit_code = FOUND


class Refused(_OneLine):
    """What was asked for would do harm or no good as things stand; nothing was done."""

    exit_code = FOUND


class DatabaseFailure(_OneLine):
    """A database cannot be reached, or not be brought to what was asked for."""

    exit_code = USAGE
