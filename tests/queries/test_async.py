"""Statements of asynchronous engines, on every driver and through both doors."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.exc import DBAPIError

import sa_perf
from sa_perf import Instrumentation

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

items = Table(
    "items",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(20)),
)


@pytest.fixture(params=["dialect_events", "cursor_events"])
def capture(request) -> str:
    return request.param


async def prepared(
    async_db, capture: str, **settings: float
) -> tuple[AsyncEngine, Instrumentation]:
    """A recorded asynchronous engine on a database with twenty items."""
    engine = async_db.async_engine()
    async with engine.begin() as connection:
        await connection.run_sync(items.metadata.create_all)
        await connection.execute(insert(items), [{"id": n, "name": "x"} for n in range(20)])
    perf = sa_perf.install(engine, capture=capture, explain=False, **settings)
    return engine, perf


def of_items(perf) -> list[tuple[str, int, int, int]]:
    return sorted(
        (query.kind, query.calls, query.rows, query.errors)
        for query in perf.snapshot().queries
        if "items" in query.statement
    )


def test_statements_of_an_asynchronous_engine_are_recorded(async_db, capture: str) -> None:
    async def work() -> Instrumentation:
        engine, perf = await prepared(async_db, capture)
        async with engine.begin() as connection:
            assert len((await connection.execute(select(items))).all()) == 20
            assert (await connection.execute(select(items.c.id))).first()
            await connection.execute(update(items).where(items.c.id < 5).values(name="y"))
            await connection.execute(insert(items), [{"id": 100}, {"id": 101}])
            result = await connection.stream(select(items.c.name))
            assert len([row async for row in result]) == 22
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError):
                await connection.execute(text("SELECT missing FROM items"))
        perf.uninstall()
        return perf

    perf = async_db.run(work())
    assert of_items(perf) == [
        # asyncpg does not tell how many rows an executemany has changed.
        ("insert", 1, 0 if async_db.name.endswith("asyncpg") else 2, 0),
        ("select", 1, 0, 1),
        ("select", 1, 1, 0),
        ("select", 1, 20, 0),
        ("select", 1, 22, 0),
        ("update", 1, 5, 0),
    ]
    snapshot = perf.snapshot()
    assert snapshot.transactions.commits == 1
    assert snapshot.health.faults == 0


def test_the_call_site_is_the_coroutine_that_awaits(async_db, capture: str) -> None:
    async def work() -> Instrumentation:
        engine, perf = await prepared(async_db, capture, slow_seconds=0)
        async with engine.connect() as connection:
            await handler(connection)
        perf.uninstall()
        return perf

    async def handler(connection) -> None:
        await connection.execute(select(items))

    sites = [one.call_site for one in async_db.run(work()).snapshot().slow if one.call_site]
    assert [site.function.rpartition(".")[2] for site in sites if site.line] != []
    assert any(site.function.endswith("handler") for site in sites)
    assert all(site.file.endswith("test_async.py") for site in sites)


def test_tasks_are_told_apart_by_their_scopes(async_db, capture: str) -> None:
    if async_db.name.startswith("sqlite_memory"):
        pytest.skip("an in-memory database has one connection")

    async def work() -> Instrumentation:
        engine, perf = await prepared(async_db, capture)

        async def task(number: int) -> None:
            with sa_perf.scope(f"task {number}"):
                async with engine.connect() as connection:
                    for _ in range(number):
                        (await connection.execute(select(items))).all()

        await asyncio.gather(*(task(number) for number in range(1, 4)))
        perf.uninstall()
        return perf

    scopes = async_db.run(work()).snapshot().scopes
    found = {one.name: (one.runs, one.statements, one.rows) for one in scopes}
    assert found == {f"task {number}": (1, number, number * 20) for number in range(1, 4)}


def test_a_task_that_blocks_the_loop_shows_as_waiting(async_db, capture: str) -> None:
    async def work() -> Instrumentation:
        engine, perf = await prepared(async_db, capture)
        async with engine.connect() as connection:
            await connection.execute(select(items))

            async def block() -> None:
                while not done.is_set():
                    until = time.perf_counter() + 0.012
                    while time.perf_counter() < until:
                        pass
                    await asyncio.sleep(0)

            done = asyncio.Event()
            blocking = asyncio.create_task(block())
            await asyncio.sleep(0)
            for _ in range(3):
                await connection.execute(select(items))
            done.set()
            await blocking
        perf.uninstall()
        return perf

    (query,) = (one for one in async_db.run(work()).snapshot().queries if "items" in one.statement)
    assert query.calls == 4
    assert 0 < query.loop_wait_seconds <= query.total_seconds


def test_installing_on_either_face_of_an_engine_is_the_same(async_db) -> None:
    async def work() -> None:
        engine, perf = await prepared(async_db, "auto")
        assert sa_perf.install(engine.sync_engine) is perf
        assert sa_perf.instrumentation(engine) is perf
        perf.uninstall()

    async_db.run(work())


def test_a_cancelled_statement_breaks_nothing(postgresql_database, capture: str) -> None:
    async def work() -> Instrumentation:
        engine, perf = await prepared(postgresql_database, capture)

        async def sleep() -> None:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(60), 'items'"))

        task = asyncio.create_task(sleep())
        async with engine.connect() as connection:
            asleep = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            while not await connection.scalar(asleep):
                await asyncio.sleep(0)
                await connection.rollback()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with engine.connect() as connection:
            assert len((await connection.execute(select(items))).all()) == 20
        perf.uninstall()
        return perf

    perf = postgresql_database.run(work())
    snapshot = perf.snapshot()
    (sleeping,) = (one for one in snapshot.queries if "pg_sleep" in one.statement.lower())
    assert (sleeping.calls, sleeping.errors) == (1, 1)
    assert sleeping.last_error == "CancelledError"
    assert snapshot.health.faults == 0
