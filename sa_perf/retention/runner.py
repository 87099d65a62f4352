"""Runs policies one after the other, each in batches."""

from __future__ import annotations

import getpass
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy.schema import sort_tables_and_constraints

from sa_perf.dialects.purging import purging_of
from sa_perf.errors import PolicyBusy, RetentionError, SaPerfError
from sa_perf.retention import statistics
from sa_perf.retention.execution import Context, Execution
from sa_perf.retention.limits import Limits, Wait, Window
from sa_perf.retention.policy import declared_in
from sa_perf.retention.results import Hooks, PolicyRun, Progress, RetentionRun
from sa_perf.retention.steps import read_step
from sa_perf.retention.wording import error_words, logged
from sa_perf.tables import require_tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sa_perf.retention.policy import Declared, Source

__all__ = ["arun", "in_order", "new_run_id", "policies_of", "run"]

log = logging.getLogger("sa_perf.retention")
#: From how many seconds on two clocks are said to differ.
_CLOCKS_DIFFER = 60.0


def run(
    engine: Engine,
    source: Source,
    *,
    policies: Sequence[str] | None = None,
    at: datetime | None = None,
    max_rows: int | None = None,
    deadline: datetime | None = None,
    window: Window | str | None = None,
    stop: threading.Event | None = None,
    waits: Sequence[Wait] = (),
    progress: Callable[[Progress], None] | None = None,
    hooks: Hooks | None = None,
    actor: str | None = None,
    sleep: Callable[[float], object] | None = None,
) -> RetentionRun:
    """Carry out the retention policies of an application.

    Rows of children go before those of their parents. Each batch is one short transaction; what
    was done stays done, whatever ends the run. A policy that fails does not keep the others.

    Example:
        >>> result = run(engine, Base.metadata, window="02:00-04:00")
        >>> result.rows_changed, result.ok
        (500000, True)

    Args:
        engine: of the database that holds the tables.
        source: MetaData, declarative base, mapped class or table whose policies are meant.
        policies: only these, by name.
        at: count ages up to this moment (aware) instead of the database's now; not in the future.
        max_rows: end when so many rows were changed.
        deadline: end at this moment (aware).
        window: end outside of these hours: ``"02:00-04:00"`` (UTC), or a `Window`.
        stop: end when it is set; the batch under way is finished.
        waits: before each batch, wait while one of these gives a reason.
        progress: called after each batch, in this thread.
        hooks: called around the run, its policies and batches.
        actor: who runs it, for the audit; by default the user of the process.
        sleep: makes pauses, in seconds; by default it ends early when ``stop`` is set.

    Raises:
        MissingTables: the database lacks sa_perf's tables; nothing was done.
        RetentionError: an argument does not fit; nothing was done.
    """
    found = policies_of(source, policies)
    limits = Limits(
        max_rows=max_rows,
        deadline=deadline,
        window=Window.parse(window) if isinstance(window, str) else window,
        waits=waits,
        stop=stop or threading.Event(),
    )
    if at is not None and at.tzinfo is None:
        raise RetentionError(f"at is {at!r}, which has no time zone; give an aware moment")
    context = Context(
        engine=engine,
        purging=purging_of(engine),
        limits=limits,
        hooks=hooks or Hooks(),
        progress=progress,
        actor=actor or _user(),
        sleep=sleep or limits.stop.wait,
    )
    return _Run(context=context, at=at).go(in_order(found))


async def arun(engine: AsyncEngine, source: Source, **options: Any) -> RetentionRun:  # noqa: ANN401
    """`run` on an asynchronous engine; takes the same arguments.

    Statements and pauses let the event loop go on; archive files are written in its thread.
    """
    import asyncio

    from sqlalchemy.util import await_only, greenlet_spawn

    def sleep(seconds: float) -> None:
        await_only(asyncio.sleep(seconds))

    options.setdefault("sleep", sleep)
    result: RetentionRun = await greenlet_spawn(run, engine.sync_engine, source, **options)
    return result


def policies_of(source: Source, names: Sequence[str] | None = None) -> list[Declared]:
    """The policies of an application, or those of them that are named.

    Raises:
        RetentionError: there is none of that name, or two of one.
    """
    found = declared_in(source)
    known = [one.name for one in found]
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise RetentionError(f"two policies are called {', '.join(twice)}; give each a name=...")
    if names is None:
        return found
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RetentionError(
            f"there is no policy {', '.join(unknown)}; there are: {', '.join(sorted(known)) or '-'}"
        )
    return [one for one in found if one.name in names]


def in_order(declared: Sequence[Declared]) -> list[Declared]:
    """Policies in the order in which they run: tables that refer before those referred to."""
    tables = {one.table for one in declared}
    every = {table for one in tables for table in one.metadata.tables.values()}
    # By name first: the order of a set, and so of tables without foreign keys, is by chance.
    named = sorted(every, key=lambda table: table.fullname)
    ordered: Any = sort_tables_and_constraints(named)  # type: ignore[no-untyped-call]
    sorted_tables = [one for one, _ in ordered if one is not None]
    place = {table: at for at, table in enumerate(reversed(sorted_tables))}
    return sorted(declared, key=lambda one: (place[one.table], one.name))


def new_run_id(now: datetime) -> str:
    """A run's id: when it began, and chance; sorts by time."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


@dataclass(slots=True, kw_only=True)
class _Run:
    context: Context
    at: datetime | None

    def go(self, declared: Sequence[Declared]) -> RetentionRun:
        began = time.monotonic()
        with self.context.purging.connection(self.context.engine) as connection:
            require_tables(connection)
            now = self._look_at_clock(connection)
            cascades = self._cascades(connection)
        self.context.run = new_run_id(now)
        if self.at is not None and self.at > now:
            raise RetentionError(
                f"at is {self.at.isoformat()}, but the database's clock says {now.isoformat()}: "
                "rows that are too young would count as expired"
            )
        self.context.hooks.before_run(self.context.run)
        log.info("retention run %s begins, %d policies", self.context.run, len(declared))
        done = [self._policy(one, now, cascades=cascades) for one in declared]
        result = RetentionRun(
            id=self.context.run,
            started_at=now,
            seconds=time.monotonic() - began,
            clock_difference_seconds=self.context.clock_difference,
            policies=tuple(done),
        )
        log.info("retention run %s ends: %d rows changed", self.context.run, result.rows_changed)
        self.context.hooks.after_run(result)
        return result

    def _look_at_clock(self, connection: Connection) -> datetime:
        """The database's clock; ages are counted by it, not by this machine's."""
        with self.context.purging.reading(connection):
            now = self.context.purging.utc_now(connection)
        self.context.clock_difference = (datetime.now(timezone.utc) - now).total_seconds()
        if abs(self.context.clock_difference) >= _CLOCKS_DIFFER:
            log.warning(
                "this machine's clock is %+.0f seconds from the database's, by which ages count",
                self.context.clock_difference,
            )
        return now

    def _cascades(self, connection: Connection) -> bool:
        with self.context.purging.reading(connection):
            return self.context.purging.enforces_foreign_keys(connection)

    def _policy(self, declared: Declared, now: datetime, *, cascades: bool) -> PolicyRun:
        began = time.monotonic()
        moment = self.at or now
        result = PolicyRun(
            policy=declared.name,
            table=declared.table.fullname,
            action=declared.policy.action,
            cutoff=moment - declared.policy.age,
            outcome="failed",
        )
        try:
            self.context.hooks.before_policy(declared.name)
            reached = self.context.limits.reached()
            if reached is not None:
                outcome: Any = reached[0]
                result = replace(result, outcome=outcome, reason=reached[1])
            else:
                ways = self.context.purging
                step = read_step(declared, moment, ways, cascades=cascades, now=now)
                result = Execution(context=self.context, step=step).go()
        except PolicyBusy as error:
            result = replace(result, outcome="busy", reason=str(error))
        except SaPerfError as error:
            result = replace(result, reason=str(error))
        except Exception as error:
            log.error("retention policy %r failed", declared.name, exc_info=logged(error))
            result = replace(result, reason=error_words(error))
        result = replace(result, seconds=time.monotonic() - began)
        statistics.note(result, datetime.now(timezone.utc))
        log.info(
            "retention policy %s: %s, %d rows", result.policy, result.outcome, result.rows_changed
        )
        try:
            self.context.hooks.after_policy(result)
        except Exception as error:
            log.error(
                "the hook after retention policy %r failed", declared.name, exc_info=logged(error)
            )
            result = replace(result, outcome="failed", reason=error_words(error))
        return result


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
