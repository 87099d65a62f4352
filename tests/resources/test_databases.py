from __future__ import annotations

import gc
import os
import socket
import threading

import pytest
from sqlalchemy import create_engine, event, text

import sa_perf
from sa_perf.json_values import decoded, encoded
from sa_perf.queries.transactions import TransactionStats
from sa_perf.resources.databases import DatabaseReading, DatabaseWatch


def answer(watch: DatabaseWatch) -> DatabaseReading:
    watch.ask()
    assert watch.wait(60)
    return watch.reading()


def test_a_database_is_asked_beside_the_pool_and_is_not_recorded(db) -> None:
    engine = db.engine()
    perf = sa_perf.install(engine)
    if db.name != "sqlite_memory":
        with engine.connect():
            pass
    perf.reset()
    reading = answer(DatabaseWatch(engine, database="shop"))
    if db.name == "sqlite_memory":
        assert "in memory" in reading.unknown.reason
    else:
        assert reading.unknown is None
        assert reading.sizes.total_bytes >= 0
        assert (engine.pool.checkedin(), engine.pool.checkedout()) == (1, 0)
    snapshot = perf.snapshot()
    assert (snapshot.calls, snapshot.transactions) == (0, TransactionStats())
    assert decoded(DatabaseReading, encoded(reading)) == reading
    perf.uninstall()


def test_an_asynchronous_engine_is_asked_on_a_loop_of_its_own(async_db) -> None:
    async def work() -> DatabaseReading:
        engine = async_db.async_engine()
        return answer(DatabaseWatch(engine, database="shop"))

    reading = async_db.run(work())
    if async_db.name.startswith("sqlite_memory"):
        assert reading.sizes is None
    else:
        assert reading.unknown is None
        assert reading.sizes.total_bytes >= 0


def test_an_exhausted_pool_is_no_hindrance(postgresql_database) -> None:
    engine = postgresql_database.engine(pool_size=1, max_overflow=0, pool_timeout=0.1)
    with engine.connect():
        reading = answer(DatabaseWatch(engine, database="shop"))
    assert reading.sizes.total_bytes > 1_000_000
    (connections,) = reading.occupancies()
    assert connections.resource == "connections shop"
    assert 0 < connections.ratio < 1


def test_what_prepares_the_application_s_connections_prepares_this_one(sqlite_database) -> None:
    engine = sqlite_database.engine()
    prepared = []
    event.listen(engine, "connect", lambda connection, _: prepared.append(connection))
    assert answer(DatabaseWatch(engine, database="shop")).unknown is None
    assert len(prepared) == 1


def test_a_database_that_was_killed_is_unknown_and_keeps_its_last_sizes(
    postgresql_database, postgresql_server
) -> None:
    engine = postgresql_database.engine()
    watch = DatabaseWatch(engine, database="shop")
    before = answer(watch)
    name = postgresql_database.url.database
    postgresql_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        after = answer(watch)
    finally:
        postgresql_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert (after.at, after.sizes) == (before.at, before.sizes)
    assert after.unknown.resource == "database shop"
    assert "not currently accepting connections" in after.unknown.reason
    assert answer(watch).unknown is None


@pytest.mark.postgresql
def test_a_server_that_is_silent_holds_up_nobody() -> None:
    clock = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        engine = create_engine(f"postgresql+psycopg://nobody@127.0.0.1:{port}/none")
        watch = DatabaseWatch(engine, database="shop", now=lambda: clock[0])
        watch.ask()
        caller, _ = silent.accept()
        clock[0] = 300.0
        watch.ask()
        assert watch.reading().unknown.reason == "no answer for 300 s"
        asking = [one for one in threading.enumerate() if one.name == "sa_perf database sizes"]
        assert [one.daemon for one in asking] == [True]
        caller.close()
    assert watch.wait(60)
    assert watch.reading().unknown.reason.startswith("OperationalError: ")


def test_an_engine_that_is_gone_is_asked_nothing() -> None:
    watch = DatabaseWatch(create_engine("sqlite://"), database="shop")
    gc.collect()
    reading = answer(watch)
    assert (reading.sizes, reading.unknown) == (None, None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_waits_for_the_answer_and_a_child_asks_anew(sqlite_database) -> None:
    engine = sqlite_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE word (id INTEGER)"))
    watch = DatabaseWatch(engine, database="shop")
    watch.ask()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watch.after_fork()
            engine.dispose(close=False)
            begun = watch.reading().sizes is None
            watch.ask()
            answered = watch.wait(30) and watch.reading().sizes is not None
            code = 0 if begun and answered else 1
        finally:
            os._exit(code)
    assert watch.wait(30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert watch.reading().sizes is not None
