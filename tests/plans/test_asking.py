from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from sa_perf.dialects.dbapi import fetch
from sa_perf.errors import ExplainRefused
from sa_perf.plans.asking import ask, engine_of


def rows_seen(dbapi_connection) -> int:
    return int(str(fetch(dbapi_connection, "SELECT count(*) FROM t")[0][0]))


def asked(bind) -> int:
    engine, connection = engine_of(bind, function="ask")
    return ask(engine, connection, rows_seen, timeout_seconds=1.0, call="ask(s)")


@pytest.fixture(params=[None, StaticPool])
def memory(request) -> Iterator[Engine]:
    """An SQLite database in memory with one row."""
    options = {} if request.param is None else {"poolclass": request.param}
    engine = create_engine("sqlite://", **options)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    yield engine
    engine.dispose()


def test_a_database_in_memory_is_asked_by_whatever_leads_to_it(memory: Engine) -> None:
    session = Session(memory)
    scoped = scoped_session(sessionmaker(memory))
    with memory.connect() as connection:
        assert [asked(one) for one in (memory, connection, session, scoped)] == [1, 1, 1, 1]
    session.close()
    scoped.remove()


def test_an_open_transaction_goes_on(memory: Engine) -> None:
    with memory.connect() as connection:
        connection.execute(text("INSERT INTO t VALUES (2)"))
        assert asked(memory) == 2
        assert asked(connection) == 2
        connection.commit()
    assert asked(memory) == 2


def test_an_open_session_goes_on(memory: Engine) -> None:
    with Session(memory) as session:
        session.execute(text("INSERT INTO t VALUES (2)"))
        assert asked(session) == 2
        session.rollback()
    assert asked(memory) == 1


def test_what_leads_to_no_engine_is_refused() -> None:
    with pytest.raises(ExplainRefused, match="takes a session, a connection or an engine, got int"):
        engine_of(3, function="ask")  # type: ignore[arg-type]


def test_an_application_s_transaction_is_not_seen_on_a_server(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a int)"))
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        assert asked(connection) == 0
        connection.rollback()


def test_asynchronous_binds_are_asked_within_their_loop_too(async_db) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    async def run() -> list[int]:
        engine = async_db.async_engine()
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (a int)"))
            await connection.execute(text("INSERT INTO t VALUES (1)"))
        async with AsyncSession(engine) as session, engine.connect() as connection:
            if async_db.name.startswith("sqlite_memory"):
                return [
                    await connection.run_sync(asked),
                    await session.run_sync(asked),
                    await session.run_sync(asked),
                ]
            found = [asked(engine), asked(session), asked(connection)]
            await asyncio.sleep(0)
            return found

    assert async_db.run(run()) == [1, 1, 1]


@pytest.mark.async_driver
def test_a_database_in_memory_needs_the_loop_s_own_connection(sqlite_database) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    async def run() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        try:
            with pytest.raises(ExplainRefused, match=r"await session.run_sync\(lambda s"):
                asked(engine)
        finally:
            await engine.dispose()

    asyncio.run(run())
