"""A post: all that stands on one engine; and how new engines are found."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.engine.interfaces import Dialect

from sa_perf.dialects import dialect_for
from sa_perf.monitoring import resources, watch
from sa_perf.plans.sampler import PlanSampler, SamplerHealth
from sa_perf.queries.comments import Comments
from sa_perf.queries.doors import AsyncDialectEvents, CursorEvents, DialectEvents, taken
from sa_perf.queries.fingerprint import Fingerprinter
from sa_perf.queries.recorder import Recorder
from sa_perf.queries.transactions import mark_begun
from sa_perf.retention.statistics import policy_stats
from sa_perf.snapshot import Database, Snapshot, findings_of
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, ExecutionContext
    from sqlalchemy.engine.interfaces import DBAPICursor

    from sa_perf.plans.history import PlanChange
    from sa_perf.plans.index_advice import AdviceReport, WorkloadQuery
    from sa_perf.plans.results import ExplainedStatement
    from sa_perf.queries.doors import Door
    from sa_perf.queries.faults import Faults
    from sa_perf.queries.slow_log import SlowLog
    from sa_perf.queries.statistics import Statistics
    from sa_perf.settings import Settings

__all__ = [
    "Everywhere", "Post", "databases_of", "label_of", "plan_changes_of", "plans_of", "reading_of",
]  # fmt: skip


class Post:
    """Recorder, listeners and sampler of one engine; kept alive by the engine's dialect.

    Args:
        engine: to stand on.
        owner: the instrumentation, kept alive with the engine.
        settings: of the owner.
        statistics: of the owner.
        slow_log: of the owner.
        faults: of the owner.
    """

    def __init__(
        self,
        engine: Engine,
        owner: object,
        settings: Settings,
        statistics: Statistics,
        slow_log: SlowLog,
        faults: Faults,
    ) -> None:
        self.owner = owner
        self.label = label_of(engine.url)
        self._lock = threading.Lock()
        self._engine = weakref.ref(engine)
        self._dialect = weakref.ref(engine.dialect)
        self.sampler = PlanSampler(
            engine,
            database=self.label,
            enabled=settings.explain,
            queue_size=settings.explain_queue_size,
            timeout_seconds=settings.explain_timeout_seconds,
            big_table_rows=settings.big_table_rows,
            keep_literals=settings.parameters == "full",
        )
        self.recorder = Recorder(
            database=self.label,
            fingerprinter=Fingerprinter(dialect_for(engine)),
            statistics=statistics,
            slow_log=slow_log,
            settings=settings,
            faults=faults,
            offer=self.sampler.offer if settings.explain else None,
        )
        self.door: Door = self._chosen_door(engine, settings.capture)
        self.door.open()
        self._comments = _commenting(engine, settings, faults)
        self._watched = watch(engine, self.label, settings, faults)
        engine.dialect._sa_perf = self  # type: ignore[attr-defined]  # ours, dies with it

    def database(self) -> Database | None:
        """The frozen reading; None where the engine is gone."""
        dialect = self._dialect()
        if dialect is None:
            return None
        return Database(
            label=self.label,
            dialect=dialect.name,
            driver=dialect.driver,
            capture=self.door.name,
            connection_errors=self.recorder.connection_errors,
            plans=self.sampler.health(),
        )

    def advise(
        self, workload: Sequence[WorkloadQuery], *, limit: int, least_speedup: float
    ) -> AdviceReport | None:
        """Indexes that would help what ran here; None where the engine is gone."""
        from sa_perf.plans.index_advice import advise

        engine = self._engine()
        if engine is None:
            return None
        report = advise(engine, workload, limit=limit, least_speedup=least_speedup)
        return replace(report, database=self.label)

    def check_door(self) -> None:
        """Change to cursor events where somebody's listener hides statements from ours."""
        engine = self._engine()
        if engine is None:
            return
        with self._lock:
            if _stands(self, engine.dialect) and self.door.bypassed():
                self.door.close()
                self.door = CursorEvents(self.recorder, engine)
                self.door.open()

    def leave(self) -> None:
        """Take everything away from the engine."""
        dialect = self._dialect()
        if dialect is None:
            return
        with self._lock:
            if not _stands(self, dialect):
                return
            del dialect._sa_perf  # type: ignore[attr-defined]  # ours
            self.door.close()
            if self._comments is not None:
                self._comments.close()
            if self._watched is not None:
                self._watched.close()
        self.recorder.watch.close()
        self.sampler.close()

    def after_fork(self) -> None:
        """Begin anew in a child process: the lock may have been in another thread's hand."""
        self._lock = threading.Lock()
        self.recorder.watch.start_anew()

    def _chosen_door(self, engine: Engine, capture: str) -> Door:
        if capture == "cursor_events" or (capture == "auto" and taken(engine.dialect)):
            return CursorEvents(self.recorder, engine)
        kind = AsyncDialectEvents if engine.dialect.is_async else DialectEvents
        return kind(self.recorder, engine.dialect)


class Everywhere:
    """Listeners on the class Engine that adopt each engine at its first statement.

    Args:
        adopt: puts a post on an engine; None where it has one already.
    """

    def __init__(self, adopt: Callable[[Engine], Post | None]) -> None:
        self._adopt = adopt
        self._had_events = False
        self._listeners: dict[str, Callable[..., bool]] = {
            "do_execute": self._do_execute,
            "do_executemany": self._do_executemany,
            "do_execute_no_params": self._do_execute_no_params,
        }

    def open(self) -> None:
        """Put the listeners in place."""
        self._had_events = Dialect._has_events
        for name, listener in self._listeners.items():
            event.listen(Engine, name, listener)

    def close(self) -> None:
        """Take the listeners away."""
        for name, listener in self._listeners.items():
            event.remove(Engine, name, listener)
        # SQLAlchemy leaves the switch on, for all engines of the process.
        dispatch: Any = DefaultDialect().dispatch
        left = any(len(getattr(dispatch, name)) for name in dispatch._event_names)
        if not self._had_events and not left:
            Dialect._has_events = False

    def _do_execute(
        self, cursor: DBAPICursor, statement: str, parameters: object, context: ExecutionContext
    ) -> bool:
        door = self._discovered(context)
        return door is not None and door.do_execute(cursor, statement, parameters, context)

    def _do_executemany(
        self, cursor: DBAPICursor, statement: str, parameters: object, context: ExecutionContext
    ) -> bool:
        door = self._discovered(context)
        return door is not None and door.do_executemany(cursor, statement, parameters, context)

    def _do_execute_no_params(
        self, cursor: DBAPICursor, statement: str, context: ExecutionContext
    ) -> bool:
        door = self._discovered(context)
        return door is not None and door.do_execute_no_params(cursor, statement, context)

    def _discovered(self, context: ExecutionContext) -> DialectEvents | None:
        """A door for the first statement of a new engine; None for all that follow.

        The new post's own listeners are seen from the next statement on.
        """
        dialect = context.dialect
        if getattr(dialect, "_sa_perf", None) is not None:
            return None
        if context.execution_options.keys() & UNRECORDED.keys():
            return None  # an engine of sa_perf's own
        connection = context.root_connection
        post = self._adopt(getattr(connection.engine, "_proxied", connection.engine))
        if post is None:
            return None
        mark_begun(connection.connection, dialect)
        return DialectEvents(post.recorder, dialect)


def reading_of(
    posts: Sequence[Post],
    statistics: Statistics,
    settings: Settings,
    **parts: Any,  # noqa: ANN401  # as different as the fields are
) -> Snapshot:
    """A snapshot of what stands on engines, with its findings.

    Args:
        posts: on the engines.
        statistics: of all of them.
        settings: in force.
        **parts: fields of `Snapshot` that none of these knows.
    """
    reading = Snapshot(
        taken_at=datetime.now(timezone.utc),
        service=settings.service,
        host=socket.gethostname(),
        pid=os.getpid(),
        slow_seconds=settings.slow_seconds,
        databases=databases_of(posts),
        scopes=statistics.scope_stats(),
        transactions=statistics.transaction_stats(),
        plans=plans_of(posts, statistics),
        plan_changes=plan_changes_of(posts, statistics),
        repeats=statistics.repeat_stats(),
        eager_loads=statistics.eager_load_stats(),
        retention=policy_stats(),
        resources=resources(),
        **parts,
    )
    return replace(reading, findings=findings_of(reading))


def databases_of(posts: Iterable[Post]) -> tuple[Database, ...]:
    """The databases that posts stand on, by label."""
    by_label: dict[str, Database] = {}
    for post in posts:
        one = post.database()
        if one is not None:
            known = by_label.get(one.label)
            by_label[one.label] = one if known is None else _together(known, one)
    return tuple(by_label[label] for label in sorted(by_label))


def plans_of(posts: Iterable[Post], statistics: Statistics) -> tuple[ExplainedStatement, ...]:
    """Explained statements under their public fingerprints, newest first."""
    plans = []
    for post in posts:
        for one in post.sampler.results():
            public = statistics.public_fingerprint(post.label, one.fingerprint)
            findings = tuple(replace(each, fingerprint=public) for each in one.findings)
            plans.append(replace(one, fingerprint=public, findings=findings))
    return tuple(sorted(plans, key=lambda one: one.explained_at, reverse=True))


def plan_changes_of(posts: Iterable[Post], statistics: Statistics) -> tuple[PlanChange, ...]:
    """Changed plans under their public fingerprints, newest change first."""
    changes = [
        replace(one, fingerprint=statistics.public_fingerprint(post.label, one.fingerprint))
        for post in posts
        for one in post.sampler.changes()
    ]
    return tuple(sorted(changes, key=lambda one: one.changed_at, reverse=True))


def _together(first: Database, second: Database) -> Database:
    """One reading of two engines on the same database, e.g. a synchronous and an asynchronous."""
    plans = first.plans or second.plans
    if first.plans is not None and second.plans is not None:
        counts = {
            one.name: getattr(first.plans, one.name) + getattr(second.plans, one.name)
            for one in fields(SamplerHealth)
            if one.name != "alive"
        }
        plans = SamplerHealth(**counts, alive=first.plans.alive and second.plans.alive)
    errors = first.connection_errors + second.connection_errors
    return replace(first, connection_errors=errors, plans=plans)


def _commenting(engine: Engine, settings: Settings, faults: Faults) -> Comments | None:
    """The comments behind statements, in place, where they are asked for."""
    tags = settings.comment_tag_names
    if not tags:
        return None
    comments = Comments(engine, tags, application=settings.service, faults=faults)
    comments.open()
    return comments


def _stands(post: Post, dialect: Dialect) -> bool:
    return getattr(dialect, "_sa_perf", None) is post


def label_of(url: URL) -> str:
    """Dialect, host and database of a URL: no user, no password, no query."""
    dialect = url.get_backend_name()
    where = url.host or ""
    if url.port:
        where = f"{where}:{url.port}"
    database = (url.database or "").partition("?")[0]
    return f"{dialect}://{where}/{database}"
