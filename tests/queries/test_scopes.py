"""Scopes: which statements belong to which request, job or function."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import sa_perf
from sa_perf.queries.scopes import current_scope


def name() -> str | None:
    """Name of the scope in which the caller is."""
    run = current_scope()
    return None if run is None else run.name


def names() -> list[str]:
    run = current_scope()
    return [] if run is None else [one.name for one in run.enclosing()]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that have ended, in their order."""
    found: list[str] = []
    listeners = [lambda run: found.append(run.name)]
    monkeypatch.setattr("sa_perf.queries.scopes._end_listeners", listeners)
    return found


@pytest.fixture
def perf() -> Iterator[Any]:
    engine = create_engine("sqlite://")
    installed = sa_perf.install(engine, explain=False)
    installed.engine_of_test = engine
    yield installed
    installed.uninstall()
    engine.dispose()


def run_statements(perf, count: int, statement: str = "SELECT 1") -> None:
    with perf.engine_of_test.connect() as connection:
        for _ in range(count):
            connection.execute(text(statement)).all()


def read(perf) -> dict[str, tuple[int, int]]:
    """Runs and statements by scope."""
    return {one.name: (one.runs, one.statements) for one in perf.snapshot().scopes}


def test_a_scope_holds_inside_the_block_only(ended) -> None:
    assert name() is None
    with sa_perf.scope("a"):
        assert name() == "a"
    assert name() is None
    assert ended == ["a"]


def test_a_scope_ends_when_its_block_raises(ended) -> None:
    with pytest.raises(KeyError), sa_perf.scope("a"):
        raise KeyError
    assert (name(), ended) == (None, ["a"])


def test_nested_scopes_are_seen_from_the_inside_out(ended) -> None:
    with sa_perf.scope("a"), sa_perf.scope("b"):
        assert names() == ["b", "a"]
    assert ended == ["b", "a"]


def test_a_scope_inside_itself_is_one_scope(ended) -> None:
    with sa_perf.scope("a"), sa_perf.scope("b"):
        with sa_perf.scope("a"):
            assert names() == ["b", "a"]
        assert names() == ["b", "a"]
    assert ended == ["b", "a"]


def test_one_scope_object_can_be_entered_again_and_again(ended) -> None:
    one = sa_perf.scope("a")
    for _ in range(2):
        with one, one:
            assert names() == ["a"]
        assert name() is None
    assert ended == ["a", "a"]


@pytest.mark.parametrize("wrong", ["", "x" * 201, None, 5, b"a"])
def test_a_scope_needs_a_name(wrong) -> None:
    with pytest.raises(ValueError, match="a text of 1 to 200 characters"):
        sa_perf.scope(wrong)


def test_threads_do_not_see_each_others_scopes(ended) -> None:
    shared = sa_perf.scope("shared")
    barrier = threading.Barrier(4)
    found: list[tuple[list[str], str | None]] = []

    def work(number: int) -> None:
        with shared, sa_perf.scope(f"thread {number}"):
            barrier.wait()
            inside = names()
            barrier.wait()
        barrier.wait()
        found.append((inside, name()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [([f"thread {number}", "shared"], None) for number in range(4)]
    assert sorted(ended) == ["shared"] * 4 + [f"thread {number}" for number in range(4)]


def test_tasks_do_not_see_each_others_scopes(ended) -> None:
    shared = sa_perf.scope("shared")

    async def work(number: int) -> tuple[list[str], str | None]:
        with shared, sa_perf.scope(f"task {number}"):
            await asyncio.sleep(0)
            inside = names()
            await asyncio.sleep(0)
        return inside, name()

    async def together() -> list[tuple[list[str], str | None]]:
        return await asyncio.gather(*(work(number) for number in range(4)))

    found = asyncio.run(together())
    assert found == [([f"task {number}", "shared"], None) for number in range(4)]
    assert len(ended) == 8


def test_a_task_belongs_to_the_scope_in_which_it_was_made(ended) -> None:
    async def child() -> list[str]:
        with sa_perf.scope("child"):
            return names()

    async def parent() -> list[str]:
        with sa_perf.scope("parent"):
            task = asyncio.create_task(child())
        return await task

    assert asyncio.run(parent()) == ["child", "parent"]
    assert ended == ["parent", "child"]


def test_a_job_that_makes_its_next_one_is_a_run_each_time(ended) -> None:
    deep: list[list[str]] = []

    @sa_perf.scope("job")
    async def job(left: int) -> None:
        deep.append(names())
        if left:
            following.append(asyncio.create_task(job_after(left - 1, asyncio.current_task())))

    async def job_after(left: int, before: asyncio.Task[None]) -> None:
        await before
        await job(left)

    following: list[asyncio.Task[None]] = []

    async def work() -> None:
        await asyncio.create_task(job(3))
        while following:
            await following.pop()

    asyncio.run(work())
    assert ended == ["job"] * 4
    assert deep == [["job"]] * 4


def test_what_an_ended_scope_has_left_behind_does_not_pile_up(ended) -> None:
    from sa_perf.queries.scopes import _entered

    def depth() -> int:
        entry, found = _entered.get(), 0
        while entry is not None:
            entry, found = entry[-1], found + 1
        return found

    context = contextvars.copy_context()
    for _ in range(50):
        with_its_scopes: list[contextvars.Context] = []

        def job(found: list[contextvars.Context] = with_its_scopes) -> None:
            with sa_perf.scope("job"), sa_perf.scope("part"), sa_perf.scope("job"):
                found.append(contextvars.copy_context())

        context.run(job)
        (context,) = with_its_scopes
    assert context.run(depth) == 3
    assert context.run(names) == ["part", "job"]
    assert ended == ["part", "job"] * 50


def test_jobs_of_ever_new_names_that_make_each_other_do_not_pile_up(ended) -> None:
    context = contextvars.copy_context()
    for number in range(50):
        found: list[contextvars.Context] = []

        def job(name: str, found: list[contextvars.Context] = found) -> None:
            with sa_perf.scope(name):
                found.append(contextvars.copy_context())

        context.run(job, f"job {number}")
        (context,) = found
    assert len(context.run(names)) < 10
    assert len(ended) == 50


def test_a_decorated_function_runs_in_its_scope(ended) -> None:
    @sa_perf.scope("report")
    def report(number: int, *, twice: bool) -> tuple[str | None, int]:
        return name(), number * (1 + twice)

    assert report(3, twice=True) == ("report", 6)
    assert report.__name__ == "report"
    assert ended == ["report"]


def test_a_tracked_function_is_named_by_its_module_and_qualified_name(ended) -> None:
    @sa_perf.tracked
    def report() -> str | None:
        return name()

    assert report() == f"{__name__}.{report.__qualname__}"[-200:]


def test_a_decorated_coroutine_runs_in_its_scope(ended) -> None:
    @sa_perf.scope("report")
    async def report() -> str | None:
        await asyncio.sleep(0)
        return name()

    assert inspect.iscoroutinefunction(report)
    assert asyncio.run(report()) == "report"
    assert ended == ["report"]


def test_a_decorated_generator_shares_no_scope_with_its_consumer(ended) -> None:
    @sa_perf.scope("rows")
    def rows() -> Generator[Any, Any, Any]:
        yield name()
        with sa_perf.scope("inner"):
            yield name()
            yield name()
        return name()

    found = []
    generator = rows()
    while True:
        try:
            found.append((next(generator), name()))
        except StopIteration as stop:
            found.append((stop.value, name()))
            break
    assert found == [("rows", None), ("inner", None), ("inner", None), ("rows", None)]
    assert ended == ["inner", "rows"]


def test_a_decorated_generator_is_sent_and_thrown_values(ended) -> None:
    @sa_perf.tracked
    def echo() -> Generator[Any, Any, Any]:
        try:
            received = yield 1
        except KeyError:
            received = "caught"
        yield received

    sent, thrown = echo(), echo()
    assert (next(sent), sent.send("a")) == (1, "a")
    assert (next(thrown), thrown.throw(KeyError())) == (1, "caught")
    with pytest.raises(ZeroDivisionError):
        sent.throw(ZeroDivisionError())
    thrown.close()


def test_a_decorated_generator_that_is_dropped_ends_its_scope(ended) -> None:
    cleaned = []

    @sa_perf.scope("rows")
    def rows() -> Generator[Any, Any, Any]:
        try:
            yield 1
        finally:
            cleaned.append(name())

    generator = rows()
    next(generator)
    del generator
    gc.collect()
    assert (ended, cleaned, name()) == (["rows"], ["rows"], None)


def test_a_generator_with_a_scope_may_be_closed_in_another_context(ended) -> None:
    def rows() -> Generator[Any, Any, Any]:
        with sa_perf.scope("rows"):
            yield 1

    generator = rows()
    contextvars.copy_context().run(next, generator)
    generator.close()
    assert (ended, name()) == (["rows"], None)


def test_a_decorated_asynchronous_generator_shares_no_scope(ended) -> None:
    @sa_perf.scope("rows")
    async def rows() -> AsyncIterator[Any]:
        yield name()
        await asyncio.sleep(0)
        yield name()

    async def consume() -> list[tuple[str | None, str | None]]:
        return [(item, name()) async for item in rows()]

    assert inspect.isasyncgen(rows())
    assert asyncio.run(consume()) == [("rows", None), ("rows", None)]
    assert ended == ["rows"]


def test_an_asynchronous_generator_that_is_closed_early_ends_its_scope(ended) -> None:
    cleaned = []

    @sa_perf.tracked
    async def rows() -> AsyncIterator[Any]:
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(name() is not None)

    async def consume() -> None:
        generator = rows()
        assert await generator.__anext__() == 1
        await generator.aclose()

    asyncio.run(consume())
    assert (len(ended), cleaned) == (1, [True])


# What is counted


def test_statements_count_for_their_scope_and_those_around_it(perf) -> None:
    with sa_perf.scope("request"):
        run_statements(perf, 2)
        with sa_perf.scope("part"):
            run_statements(perf, 3)
    run_statements(perf, 5)
    assert read(perf) == {"request": (1, 5), "part": (1, 3)}


def test_a_scope_without_statements_is_a_run(perf) -> None:
    with sa_perf.scope("idle"):
        pass
    assert read(perf) == {"idle": (1, 0)}


def test_runs_are_told_apart_from_each_other(perf) -> None:
    for count in (1, 4, 2):
        with sa_perf.scope("request"):
            run_statements(perf, count)
    (stats,) = perf.snapshot().scopes
    assert (stats.runs, stats.statements, stats.max_statements, stats.rows) == (3, 7, 4, 7)
    assert 0 < stats.max_database_seconds <= stats.database_seconds <= stats.total_seconds


def test_an_open_run_is_not_counted_yet(perf) -> None:
    with sa_perf.scope("request"):
        run_statements(perf, 1)
        assert read(perf) == {}
    assert read(perf) == {"request": (1, 1)}


def test_repeats_name_the_statement_and_its_worst_run(perf) -> None:
    for count in (3, 5):
        with sa_perf.scope("request"):
            run_statements(perf, count, "SELECT 1 AS repeated")
            run_statements(perf, 1, "SELECT 1 AS once")
    snapshot = perf.snapshot()
    (repeat,) = snapshot.scopes[0].repeats
    assert (repeat.calls, repeat.max_calls) == (8, 5)
    assert snapshot.query(repeat.fingerprint).statement == "SELECT ? AS repeated"


def test_a_result_that_is_read_after_its_scope_counts_its_statement(perf) -> None:
    with perf.engine_of_test.connect() as connection:
        with sa_perf.scope("request"):
            result = connection.execute(text("SELECT 1"))
        result.all()
    assert read(perf) == {"request": (1, 1)}


def test_more_scope_names_than_are_kept_are_summed_as_other(perf) -> None:
    for number in range(600):
        with sa_perf.scope(f"request {number}"):
            pass
    found = read(perf)
    assert len(found) <= 501
    assert sum(runs for runs, _ in found.values()) == 600
    assert "other" in found


def test_scopes_that_are_never_left_do_not_pile_up(perf) -> None:
    def rows() -> Generator[Any, Any, Any]:
        with sa_perf.scope("abandoned"):
            run_statements(perf, 1)
            yield

    generators = [rows() for _ in range(1_200)]
    for generator in generators:
        contextvars.copy_context().run(next, generator)
    perf.fold()
    assert len(perf.statistics.scopes._open) <= 1_000
    assert read(perf) == {}


def test_many_runs_at_the_same_time_are_counted_once_each(perf) -> None:
    contexts = [contextvars.copy_context() for _ in range(1_001)]
    scopes = [sa_perf.scope("busy") for _ in contexts]
    for context, one in zip(contexts, scopes, strict=True):
        context.run(one.__enter__)
        context.run(run_statements, perf, 1)
    perf.fold()
    for context, one in zip(contexts, scopes, strict=True):
        context.run(one.__exit__, None, None, None)
    (busy,) = perf.snapshot().scopes
    assert (busy.runs, busy.statements) == (1_001, 1_001)
