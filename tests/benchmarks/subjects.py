"""What overhead.py measures: sa_perf, the floor, and its peers, each as one function.

A subject is put on an engine before the engine's first statement, as a plugin would be. What a
recorder collects is thrown away between the timed blocks, as a request's end would do, so that no
subject is slowed down by the size of its own heap. Work that a subject puts off (sa_perf folds its
records in batches, on the application's threads) is done at the end of each timed block, inside it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

__all__ = ["SUBJECTS", "Attached", "DoesNotWork", "Subject"]


class DoesNotWork(Exception):
    """A peer imports but does not do its work with what is installed."""


def _nothing() -> None:
    return None


@dataclass(slots=True, kw_only=True)
class Attached:
    """A subject that stands on an engine.

    Attributes:
        seen: statements recorded so far; None where it cannot be asked.
        begin: called before a block, outside the timed part.
        settle: called at the end of a block, inside the timed part: the work that was put off.
        end: called after a block, outside the timed part; throws away what was collected.
    """

    seen: Callable[[], int] | None = None
    begin: Callable[[], object] = _nothing
    settle: Callable[[], object] | None = None
    end: Callable[[], object] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One row of the table.

    Attributes:
        attach: puts it on an engine; raises where it cannot.
        distribution: its name on PyPI; None for sa_perf and for bare SQLAlchemy.
        orm_only: it does not see Core statements.
        note: what is not plain from the name.
    """

    attach: Callable[[Engine], Attached]
    distribution: str | None = None
    orm_only: bool = False
    note: str = ""


def _bare(engine: Engine) -> Attached:
    return Attached()


def _floor(engine: Engine) -> Attached:
    def before(conn, cursor, statement, parameters, context, executemany) -> None:
        return None

    def after(conn, cursor, statement, parameters, context, executemany) -> None:
        return None

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    return Attached()


def _faq_recipe(engine: Engine) -> Attached:
    logger = logging.getLogger("recipe")

    def before(conn, cursor, statement, parameters, context, executemany) -> None:
        conn.info.setdefault("query_start_time", []).append(time.perf_counter())
        logger.debug("Start Query: %s", statement)

    def after(conn, cursor, statement, parameters, context, executemany) -> None:
        total = time.perf_counter() - conn.info["query_start_time"].pop(-1)
        logger.debug("Query Complete!")
        logger.debug("Total Time: %f", total)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    return Attached()


def _sa_perf(
    capture: str, *, scoped: bool = False, charged: bool = True, store: bool = False
) -> Callable[[Engine], Attached]:
    def attach(engine: Engine) -> Attached:
        import sa_perf

        settings: dict[str, Any] = {"capture": capture}
        if store:
            folder = tempfile.TemporaryDirectory()
            atexit.register(folder.cleanup)
            settings |= {"store": f"sqlite:///{folder.name}/store.db", "store_seconds": 2}
        perf = sa_perf.install(engine, **settings)

        def settle() -> None:
            perf.statistics.fold(wait=False)

        attached = Attached(seen=lambda: perf.snapshot().calls, settle=settle if charged else None)
        if scoped:
            scope = sa_perf.scope("GET /benchmark")
            entered = []

            def begin() -> None:
                entered.append(scope.__enter__())

            def end() -> None:
                if entered:
                    entered.pop().__exit__(None, None, None)

            attached.begin, attached.end = begin, end
        return attached

    return attach


def _easy_profile(engine: Engine) -> Attached:
    from easy_profile import SessionProfiler

    profiler = SessionProfiler(engine)
    profiler.begin()

    def end() -> None:
        profiler.queries.queue.clear()

    return Attached(seen=lambda: profiler.queries.qsize(), end=end)


def _queryspy(*, stacks: bool) -> Callable[[Engine], Attached]:
    def attach(engine: Engine) -> Attached:
        # record() is a context manager around these; a benchmark needs them apart.
        from queryspy._recorder import Recorder, start

        recorder = Recorder(capture_stacks=stacks)
        start(recorder)

        def end() -> None:
            recorder.orm_records.clear()
            recorder.cursor_count = 0

        return Attached(seen=lambda: recorder.cursor_count, end=end)

    return attach


def _sqlalchemy_spy(**options: bool) -> Callable[[Engine], Attached]:
    def attach(engine: Engine) -> Attached:
        from sqlalchemy_spy import Profiler

        profiler = Profiler(engine, **options).start()
        return Attached(seen=lambda: len(profiler.queries), end=profiler.reset)

    return attach


def _queryguard(engine: Engine) -> Attached:
    # record_queries() is a context manager around these.
    from pytest_queryguard.collector import QueryCollector, push
    from pytest_queryguard.listeners import install, internal_error

    install()
    collector = QueryCollector()
    push(collector)

    def seen() -> int:
        error = internal_error()
        if error is not None:
            raise DoesNotWork(f"{type(error).__name__}: {error}")
        return len(collector.statements)

    def end() -> None:
        collector.statements.clear()

    return Attached(seen=seen, end=end)


def _fastapi_silk(engine: Engine) -> Attached:
    from fastapi_silk.profiler import setup_sql_profiler
    from fastapi_silk.storage import request_queries

    setup_sql_profiler(engine)
    return Attached(seen=lambda: len(request_queries.get()), begin=lambda: request_queries.set([]))


def _asgi_profiler(engine: Engine) -> Attached:
    from asgi_profiler import instrument

    instrument.install()

    def begin() -> None:
        # As its middleware does at the start of a request.
        instrument.current_queries.set([])
        instrument.current_origin.set((time.perf_counter(), threading.get_ident()))

    return Attached(seen=lambda: len(instrument.current_queries.get() or ()), begin=begin)


def _opentelemetry(*, sampled: bool, check: bool) -> Callable[[Engine], Attached]:
    def attach(engine: Engine) -> Attached:
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult as Result
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

        exported = [0]

        class Exporter(SpanExporter):
            def export(self, spans) -> Result:
                exported[0] += len(spans)
                return Result.SUCCESS

        provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
        processor = BatchSpanProcessor(Exporter())
        provider.add_span_processor(processor)
        instrumentor = SQLAlchemyInstrumentor()
        instrumentor.instrument(engine=engine, tracer_provider=provider, skip_dep_check=not check)
        if not instrumentor.is_instrumented_by_opentelemetry:
            raise DoesNotWork("instrument() refused this SQLAlchemy and instrumented nothing")

        def seen() -> int:
            processor.force_flush()
            return exported[0]

        def end() -> None:
            exported[0] = 0

        return Attached(seen=seen if sampled else None, end=end)

    return attach


def _sentry(*, traced: bool) -> Callable[[Engine], Attached]:
    def attach(engine: Engine) -> Attached:
        import sentry_sdk
        from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
        from sentry_sdk.transport import Transport

        class Nowhere(Transport):
            def capture_envelope(self, envelope) -> None:
                return None

        sentry_sdk.init(
            dsn="https://key@sentry.invalid/1",
            integrations=[SqlalchemyIntegration()],
            traces_sample_rate=1.0 if traced else None,
            transport=Nowhere,
        )
        if not traced:
            scope = sentry_sdk.get_isolation_scope()
            return Attached(seen=lambda: len(scope._breadcrumbs), end=scope.clear_breadcrumbs)
        open_transactions: list[Any] = []

        def begin() -> None:
            # A transaction keeps 1,000 spans at most, so each block is one of its own.
            transaction = sentry_sdk.start_transaction(name="block", op="benchmark")
            open_transactions.append(transaction.__enter__())

        def seen() -> int:
            return len(open_transactions[-1]._span_recorder.spans) - 1

        def end() -> None:
            while open_transactions:
                open_transactions.pop().__exit__(None, None, None)
            sentry_sdk.get_isolation_scope().clear_breadcrumbs()

        return Attached(seen=seen, begin=begin, end=end)

    return attach


def _sqltap(*, profiler: bool) -> Callable[[Engine], Attached]:
    def attach(engine: Engine) -> Attached:
        with contextlib.suppress(ImportError):
            import sqltap.profiling  # only sqltap-profiler has it

            if not profiler:
                raise DoesNotWork("the module sqltap is sqltap-profiler's here; see --peers")
        import sqltap

        session = sqltap.start(engine)
        collected = session.collector

        def end() -> None:
            collected.queue.clear()

        return Attached(seen=collected.qsize, end=end)

    return attach


def _tracepanel(engine: Engine) -> Attached:
    from tracepanel.core import conf
    from tracepanel.core.context import start_trace
    from tracepanel.integrations import sqlalchemy as integration

    conf.configure(enabled=True, agent="off", root="/")
    integration.install()
    blocks: list[Any] = []
    traces: list[Any] = []

    def begin() -> None:
        # A trace keeps 2,000 spans at most, so each block is one of its own.
        blocks.append(start_trace("command", "block"))
        traces.append(blocks[-1].__enter__())

    def end() -> None:
        traces.clear()
        while blocks:
            blocks.pop().__exit__(None, None, None)

    def seen() -> int:
        return sum(span.kind == "sql" for span in traces[-1].spans)

    return Attached(seen=seen, begin=begin, end=end)


def _nplus1(engine: Engine) -> Attached:
    from nplusone.core import listeners, profiler, signals
    from nplusone.ext.sqlalchemy import apply_patches

    apply_patches()
    started = profiler.Profiler()
    started.__enter__()
    loads = [0]

    def loaded(*_: object, **__: object) -> None:
        loads[0] += 1

    if not listeners.listeners:
        raise DoesNotWork("it has no listeners")
    signals.load.connect(loaded, weak=False)

    def end() -> None:
        loads[0] = 0

    return Attached(seen=lambda: loads[0], end=end)


SUBJECTS: dict[str, Subject] = {
    "bare": Subject(attach=_bare, note="SQLAlchemy alone; what the others are subtracted from"),
    "floor": Subject(attach=_floor, note="an empty pair of before/after_cursor_execute listeners"),
    "faq recipe": Subject(attach=_faq_recipe, note="query profiling of SQLAlchemy's FAQ"),
    "sa_perf": Subject(attach=_sa_perf("auto")),
    "sa_perf, folds apart": Subject(
        attach=_sa_perf("auto", charged=False),
        note="folds fall on a block in five; the fastest has none",
    ),
    "sa_perf, store": Subject(
        attach=_sa_perf("auto", store=True), note="flushes to a store every two seconds"
    ),
    "sa_perf scope": Subject(attach=_sa_perf("auto", scoped=True), note="inside sa_perf.scope()"),
    "sa_perf cursor_events": Subject(attach=_sa_perf("cursor_events"), note="the fallback"),
    "easy-profile": Subject(attach=_easy_profile, distribution="sqlalchemy-easy-profile"),
    "queryspy": Subject(attach=_queryspy(stacks=True), distribution="queryspy"),
    "queryspy, no stacks": Subject(attach=_queryspy(stacks=False), distribution="queryspy"),
    "sqlalchemy-spy": Subject(attach=_sqlalchemy_spy(), distribution="sqlalchemy-spy"),
    "sqlalchemy-spy, no stack": Subject(
        attach=_sqlalchemy_spy(capture_stack=False), distribution="sqlalchemy-spy"
    ),
    "sqlalchemy-spy, explain": Subject(
        attach=_sqlalchemy_spy(capture_stack=False, explain=True),
        distribution="sqlalchemy-spy",
        note="no stack",
    ),
    "pytest-queryguard": Subject(attach=_queryguard, distribution="pytest-queryguard"),
    "fastapi-silk": Subject(attach=_fastapi_silk, distribution="fastapi-silk"),
    "asgi-profiler": Subject(attach=_asgi_profiler, distribution="asgi-profiler"),
    "tracepanel": Subject(attach=_tracepanel, distribution="tracepanel"),
    "opentelemetry": Subject(
        attach=_opentelemetry(sampled=True, check=True),
        distribution="opentelemetry-instrumentation-sqlalchemy",
        note="as documented",
    ),
    "opentelemetry, unsampled": Subject(
        attach=_opentelemetry(sampled=False, check=False),
        distribution="opentelemetry-instrumentation-sqlalchemy",
        note="its check of SQLAlchemy's version off",
    ),
    "opentelemetry, sampled": Subject(
        attach=_opentelemetry(sampled=True, check=False),
        distribution="opentelemetry-instrumentation-sqlalchemy",
        note="its check of SQLAlchemy's version off",
    ),
    "sentry, errors only": Subject(attach=_sentry(traced=False), distribution="sentry-sdk"),
    "sentry, traced": Subject(attach=_sentry(traced=True), distribution="sentry-sdk"),
    "sqltap-profiler": Subject(attach=_sqltap(profiler=True), distribution="sqltap-profiler"),
    "sqltap": Subject(attach=_sqltap(profiler=False), distribution="sqltap"),
    "nplus1": Subject(attach=_nplus1, distribution="nplus1", orm_only=True),
}
