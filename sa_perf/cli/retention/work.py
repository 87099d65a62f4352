"""``sa-perf retention plan`` and ``run``."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from sa_perf.cli.failures import FOUND
from sa_perf.cli.output import write
from sa_perf.cli.retention.application import on_models, tell

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sa_perf.cli.output import Output
    from sa_perf.retention.limits import Wait, Window
    from sa_perf.retention.results import Hooks, Progress, RetentionRun

__all__ = ["plan", "run"]

_policy_option = click.option(
    "--policy",
    "policies",
    metavar="NAME",
    multiple=True,
    help="Only this policy; may be repeated.",
)
_at_option = click.option(
    "--at",
    metavar="MOMENT",
    help="Count ages up to this moment instead of now, with its zone: 2026-11-24T02:00+00:00.",
)


@click.command()
@_policy_option
@_at_option
@click.option("--sql", is_flag=True, help="Print the plan as an SQL script, for reading.")
@on_models
def plan(
    engine: Engine,
    models: Any,  # noqa: ANN401
    output: Output,
    *,
    policies: tuple[str, ...],
    at: str | None,
    sql: bool,
) -> None:
    """Show what a run would do now; touches nothing.

    Each policy with its rows, size, statement, the index that serves it and what to mend first. A
    "~" stands before an estimate, a ">" where counting was ended. Exits with 1 if a policy cannot
    be run.
    """
    from sa_perf.retention.planner import plan as planned

    found = planned(engine, models, policies=policies or None, at=_moment(at))
    if sql:
        write(found.to_sql())
    else:
        from sa_perf.cli.terminal.retention import plan_parts

        tell("plan", output, found.to_dict(), *plan_parts(found))
    if not found.ok:
        raise click.exceptions.Exit(FOUND)


@click.command()
@_policy_option
@_at_option
@click.option("--max-rows", type=click.IntRange(min=1), help="End after so many rows.")
@click.option(
    "--window",
    metavar="HH:MM-HH:MM",
    help="Work within these hours only, over midnight too; outside of them the run ends.",
)
@click.option(
    "--window-zone",
    metavar="ZONE",
    help="IANA name of the zone of --window, e.g. Europe/Prague. Default: UTC.",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="End after so many seconds; the batch under way is finished.",
)
@click.option(
    "--max-load",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATIO",
    help="Wait while this machine's load average per core is above.",
)
@click.option(
    "--max-lag",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait while a replica is further behind.",
)
@click.option("--actor", metavar="NAME", help="Who runs it, for the audit. Default: the user.")
@click.option(
    "--partitions",
    "with_partitions",
    is_flag=True,
    help="Then do what `partitions --maintain` does, unless something ended the run early.",
)
@on_models
def run(
    engine: Engine,
    models: Any,  # noqa: ANN401
    output: Output,
    *,
    policies: tuple[str, ...],
    at: str | None,
    actor: str | None,
    with_partitions: bool,
    **limits: Any,  # noqa: ANN401  # the options that end it or let it wait
) -> None:
    """Carry out the policies, in batches, until done or told to end.

    SIGINT and SIGTERM let the batch under way finish; a second one rolls it back. Exits with 1 if
    a policy failed or is being run by somebody else, or partitions need care; with 128 and the
    signal's number if stopped.
    """
    from sa_perf.retention.runner import run as carry_out

    bounds = _bounds(engine, **limits)
    with _stopped_by_signals() as stopping, _logged(), _shown(output) as (progress, hooks):
        result = carry_out(
            engine,
            models,
            policies=policies or None,
            at=_moment(at),
            stop=stopping.event,
            progress=progress,
            hooks=hooks,
            actor=actor,
            **bounds,
        )
    from sa_perf.cli.terminal.retention import run_parts

    content, parts, ok = result.to_dict(), [*run_parts(result)], result.ok
    if with_partitions:
        early = _ended_early(result, stopping.event, bounds)
        more, shown, well = _partitions(engine, models, at, early=early)
        ok = ok and well
        content, parts = {**content, **more, "ok": ok}, [*parts, *shown]
    tell("run", output, content, *parts)
    if not ok:
        raise click.exceptions.Exit(FOUND)
    if stopping.signal is not None:
        raise click.exceptions.Exit(128 + stopping.signal)


def _ended_early(result: RetentionRun, stop: threading.Event, bounds: dict[str, Any]) -> bool:
    """Whether a limit or a signal ended a run; also where there was no policy to be ended."""
    from sa_perf.retention.limits import Limits

    limits = Limits(stop=stop, deadline=bounds["deadline"], window=bounds["window"])
    ended = any(one.outcome in ("limited", "stopped") for one in result.policies)
    return ended or limits.reached() is not None


def _partitions(
    engine: Engine,
    models: Any,  # noqa: ANN401
    at: str | None,
    *,
    early: bool,
) -> tuple[dict[str, Any], list[Any], bool]:
    """See to partitions behind a run; for the JSON, for a person, and whether all is well.

    Nothing is said of a database without partitions.
    """
    from sa_perf.cli.retention.partitions import upkeep
    from sa_perf.cli.terminal.partitions import left_parts, upkeep_parts
    from sa_perf.dialects.partitioning import can_partition

    if not can_partition(engine.dialect):
        return {}, [], True
    if early:
        return {"partitions": None}, [*left_parts()], True
    done = upkeep(engine, models, now=_moment(at))
    return {"partitions": done.to_dict()}, [*upkeep_parts(done.found, done.failed)], done.ok


def _bounds(
    engine: Engine,
    *,
    max_rows: int | None,
    max_seconds: float | None,
    max_load: float | None,
    max_lag: float | None,
    window: str | None,
    window_zone: str | None,
) -> dict[str, Any]:
    """What ends a run or lets it wait, as the runner takes it."""
    if window_zone is not None and window is None:
        raise click.UsageError("--window-zone is the zone of --window, which is not given")
    return {
        "max_rows": max_rows,
        "deadline": _in(max_seconds),
        "window": _window(window, window_zone),
        "waits": _waits(engine, max_load, max_lag),
    }


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        moment = datetime.min  # as good as one without a zone
    if moment.tzinfo is None:
        raise click.BadParameter(
            f"{text!r} is no moment with a zone; write it like 2026-11-24T02:00+00:00",
            param_hint="'--at'",
        )
    return moment


def _window(text: str | None, zone: str | None) -> Window | None:
    from sa_perf.retention.limits import Window

    return None if text is None else Window.parse(text, zone or "UTC")


def _in(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.now(timezone.utc) + timedelta(seconds=seconds)


def _waits(engine: Engine, max_load: float | None, max_lag: float | None) -> list[Wait]:
    from sa_perf.retention.limits import load_above, replica_lag_above

    found = [] if max_load is None else [load_above(max_load)]
    return found + ([] if max_lag is None else [replica_lag_above(engine, max_lag)])


class _Stopping:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.signal: int | None = None


@contextmanager
def _stopped_by_signals() -> Iterator[_Stopping]:
    """Let the first signal end the run after its batch, and the second one at once."""
    stopping = _Stopping()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.event.is_set():
            raise KeyboardInterrupt
        stopping.signal = number
        stopping.event.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopping  # only the main thread may handle signals
        return
    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


class _OneLine(logging.Formatter):
    """A log record without its traceback: the run's result says what happened."""

    def formatException(self, ei: Any) -> str:  # noqa: ANN401  # logging's own
        """Nothing."""
        return ""


@contextmanager
def _logged() -> Iterator[None]:
    """Show warnings of the run on standard error, a line each."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
    logger = logging.getLogger("sa_perf.retention")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _shown(output: Output) -> Iterator[tuple[Callable[[Progress], None] | None, Hooks]]:
    """Progress as bars on standard error, where somebody looks at it; else nobody asks for it."""
    from sa_perf.retention.results import Hooks

    if output.as_json or not sys.stderr.isatty():
        yield None, Hooks()
        return
    from sa_perf.cli.terminal.retention import ProgressBars

    with ProgressBars() as bars:
        yield bars.show, Hooks(after_policy=lambda done: bars.ended(done.policy, done.rows_changed))
