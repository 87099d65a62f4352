"""``sa-perf demo``: see on real data what sa_perf finds."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from sa_perf.cli.failures import USAGE
from sa_perf.cli.output import Output, write

if TYPE_CHECKING:
    from sa_perf.demo.report import Report
    from sa_perf.demo.run import Options

__all__ = ["demo"]


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, 365),
    default=365,
    show_default=True,
    help="Days of flights to load, from 1 January 2013.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Multiplies the number of requests.",
)
@click.option(
    "--slow-seconds",
    type=click.FloatRange(0, 3600),
    default=0.003,
    show_default=True,
    help="From how many seconds a statement counts as slow.",
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Folder to make the database's folder in, instead of the temporary one.",
)
@click.option("--keep", is_flag=True, help="Leave the database behind and say where it is.")
@click.option(
    "--snapshot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write the snapshot to this file, for sa-perf top, slow, explain and report.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def demo(
    *,
    days: int,
    rounds: int,
    slow_seconds: float,
    directory: Path | None,
    keep: bool,
    snapshot: Path | None,
    as_json: bool,
) -> None:
    """Show what sa_perf finds in an application over real data.

    Loads the flights that left New York in 2013 into a temporary SQLite database, answers requests
    as a web application would, prints the slow statements, why they are slow and what to do, then
    does it and measures the same requests again. Last it archives and deletes old flights by a
    retention policy, and gives their space back.
    """
    if snapshot is not None and not snapshot.parent.is_dir():
        raise click.BadParameter(
            f"folder {str(snapshot.parent)!r} does not exist", param_hint="'--snapshot'"
        )
    # Not at the top: the command's help needs none of them, and they take half a second.
    from sa_perf.cli.terminal.demonstration import parts
    from sa_perf.demo.run import Options

    options = Options(
        days=days,
        rounds=rounds,
        slow_seconds=slow_seconds,
        directory=directory,
        keep=keep,
        snapshot=snapshot,
    )
    report = _run(options)
    output = Output(as_json=as_json)
    if output.as_json:
        write(json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n")
    else:
        output.print(*parts(report))


class _CannotRun(click.ClickException):
    exit_code = USAGE


def _run(options: Options) -> Report:
    """Run with progress bars on standard error, where they leave the answer alone."""
    from rich.console import Console

    from sa_perf.demo.run import run

    try:
        with _ended_by_sigterm():
            return run(options, console=Console(stderr=True))
    except OSError as error:
        raise _CannotRun(f"the demonstration could not run: {error}") from error


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the run as an exception, so that the temporary folder is removed."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
