from __future__ import annotations

import gc
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import weakref
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import StaticPool

from sa_perf.plans.sampler import PlanSampler

PATIENCE = 20.0
CANARY = "canary-7316"


class Clock:
    """Monotonic seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def sampler_of() -> Any:
    """Makes samplers that are closed after the test."""
    made = []

    def make(engine, **options: Any) -> PlanSampler:
        sampler = PlanSampler(engine, **options)
        made.append(sampler)
        return sampler

    yield make
    for sampler in made:
        sampler.close(PATIENCE)


@pytest.fixture
def flights(db) -> Any:
    """An engine with a table of 12,000 rows, most of them alike, and no index on `tail`."""
    engine = db.engine()
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE flights (id INTEGER PRIMARY KEY, tail VARCHAR(20), n INTEGER)")
        )
        connection.execute(
            text("INSERT INTO flights VALUES (:id, :tail, :n)"),
            [{"id": n, "tail": f"N{n % 3000}", "n": n} for n in range(12_000)],
        )
    return engine


def offered(sampler: PlanSampler, engine, sql: str, named=None, **changes: Any) -> bool:
    """Offer a statement with `:name` parameters as the driver of this engine gets it."""
    compiled = text(sql).compile(dialect=engine.dialect)
    values = named
    if named is not None and compiled.positional:
        values = tuple(named[name] for name in compiled.positiontup)
    with engine.connect() as connection:
        ran = {
            "statement": str(compiled),
            "parameters": values,
            "rows": 4,
            "dbapi_connection": connection.connection.dbapi_connection,
        }
        return blind_offer(sampler, **{**ran, **changes})


def blind_offer(sampler: PlanSampler, fingerprint: str = "f", **changes: Any) -> bool:
    """Offer a statement whose connection is gone."""
    return sampler.offer(
        **{
            "fingerprint": fingerprint,
            "statement": "SELECT 1",
            "parameters": None,
            "duration_seconds": 1.0,
            "rows": 0,
            "dbapi_connection": None,
            **changes,
        }
    )


SQL = "SELECT * FROM flights WHERE tail = :tail"


def test_a_slow_statement_is_explained_and_put_into_words(sampler_of, flights) -> None:
    # A database that was never analyzed may count some rows less.
    sampler = sampler_of(flights, big_table_rows=5_000)
    assert offered(sampler, flights, SQL, {"tail": "N5"})
    assert sampler.drain(PATIENCE)
    (result,) = sampler.results()
    assert (result.fingerprint, result.error, result.duration_seconds) == ("f", None, 1.0)
    assert result.explained_at.utcoffset().total_seconds() == 0
    assert [node.relation for node in result.plan.root.walk() if node.relation] == ["flights"]
    assert [(f.kind, f.fingerprint, f.remedy) for f in result.findings] == [
        ("filter_after_scan", "f", "CREATE INDEX ix_flights_tail ON flights (tail)")
    ]
    health = sampler.health()
    assert (health.explained, health.failed, health.queued, health.alive) == (1, 0, 0, True)


def test_no_bind_value_and_no_literal_is_left_in_the_results(sampler_of, flights) -> None:
    sampler = sampler_of(flights)
    statements = [
        (f"SELECT * FROM flights WHERE tail = :x AND n > 73160731 AND tail <> '{CANARY}'", CANARY),
        ("SELECT * FROM flights WHERE tail LIKE :x", f"%{CANARY}%"),
        ("SELECT * FROM flights WHERE n = :x", CANARY),
        (f"SELECT * FROM no_such_table WHERE tail = :x AND tail = '{CANARY}'", CANARY),
        (f"SELECT * FROM flights WHERE tail = :x AND AND '{CANARY}'", CANARY),
        ("SELECT * FROM flights ORDER BY n LIMIT 5 OFFSET :x", 73160731),
        ("UPDATE flights SET tail = :x", CANARY),
        (f'DROP TABLE "{CANARY}" -- :x', CANARY),
    ]
    for number, (sql, value) in enumerate(statements):
        offered(sampler, flights, sql, {"x": value}, fingerprint=str(number))
    assert sampler.drain(PATIENCE)
    results = sampler.results()
    assert len(results) == len(statements)
    kept = json.dumps([asdict(result) for result in results], default=str)
    assert CANARY not in kept
    assert "73160731" not in kept


def test_literals_are_kept_where_that_was_asked_for(sampler_of, flights) -> None:
    sampler = sampler_of(flights, keep_literals=True)
    offered(sampler, flights, f"SELECT * FROM flights WHERE tail = '{CANARY}'")
    assert sampler.drain(PATIENCE)
    assert CANARY in sampler.results()[0].plan.statement


def test_bind_values_are_let_go_once_explained(sampler_of, sqlite_database) -> None:
    class Value:
        pass

    engine = sqlite_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    sampler = sampler_of(engine)
    value = Value()
    watched = weakref.ref(value)
    offered(sampler, engine, "SELECT * FROM t WHERE a = :x", {"x": value})
    del value
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error is None
    gc.collect()
    assert watched() is None


def test_what_the_worker_sends_reaches_no_listener(sampler_of, flights) -> None:
    seen = []
    event.listen(flights, "before_cursor_execute", lambda *a: seen.append(a[2]))
    event.listen(flights, "do_execute", lambda cursor, sql, *a: seen.append(sql))
    sampler = sampler_of(flights)
    offered(sampler, flights, SQL, {"tail": "N5"})
    assert sampler.drain(PATIENCE)
    assert sampler.health().explained == 1
    assert seen == []


def test_a_known_statement_is_not_taken_again(sampler_of, flights) -> None:
    sampler = sampler_of(flights, now=Clock())
    assert offered(sampler, flights, SQL, {"tail": "N5"})
    assert not offered(sampler, flights, SQL, {"tail": "N6"})
    assert sampler.drain(PATIENCE)
    assert not offered(sampler, flights, SQL, {"tail": "N6"}, duration_seconds=3.9)
    assert sampler.health().explained == 1


def test_a_statement_that_became_four_times_slower_is_explained_again(sampler_of, flights) -> None:
    sampler = sampler_of(flights, now=Clock())
    offered(sampler, flights, SQL, {"tail": "N5"})
    assert sampler.drain(PATIENCE)
    assert offered(sampler, flights, SQL, {"tail": "N5"}, duration_seconds=4.0)
    assert sampler.drain(PATIENCE)
    assert [result.duration_seconds for result in sampler.results()] == [4.0]
    assert not offered(sampler, flights, SQL, {"tail": "N5"}, duration_seconds=5.0)


def test_a_statement_that_is_slow_for_an_hour_is_explained_again(sampler_of, flights) -> None:
    clock = Clock()
    sampler = sampler_of(flights, now=clock)
    offered(sampler, flights, SQL, {"tail": "N5"})
    assert sampler.drain(PATIENCE)
    clock.seconds += 3_599
    assert not offered(sampler, flights, SQL, {"tail": "N5"})
    clock.seconds += 1
    assert offered(sampler, flights, SQL, {"tail": "N5"})


def test_what_failed_is_tried_again_after_a_while(sampler_of, flights) -> None:
    clock = Clock()
    sampler = sampler_of(flights, now=clock, retry_after_seconds=30.0)
    offered(sampler, flights, "SELECT * FROM later")
    assert sampler.drain(PATIENCE)
    assert "later" in sampler.results()[0].error
    with flights.begin() as connection:
        connection.execute(text("CREATE TABLE later (a INTEGER)"))
    assert not offered(sampler, flights, "SELECT * FROM later")
    clock.seconds += 30
    assert offered(sampler, flights, "SELECT * FROM later")
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error is None
    health = sampler.health()
    assert (health.failed, health.explained) == (1, 1)


def test_a_statement_without_plan_is_named_once(sampler_of, flights) -> None:
    clock = Clock()
    sampler = sampler_of(flights, now=clock)
    offered(sampler, flights, "CREATE INDEX ix ON flights (tail)")
    assert sampler.drain(PATIENCE)
    assert "no plan" in sampler.results()[0].error
    clock.seconds += 600
    assert not offered(sampler, flights, "CREATE INDEX ix ON flights (tail)")


def test_a_statement_of_ten_megabytes_is_refused_at_once(sampler_of, flights) -> None:
    sampler = sampler_of(flights)
    offered(sampler, flights, "SELECT 1", statement=f"SELECT '{'x' * 10_000_000}'")
    assert sampler.drain(PATIENCE)
    assert "characters" in sampler.results()[0].error


@pytest.mark.parametrize(
    "odd", [{"statement": None}, {"parameters": object()}, {"dbapi_connection": object()},
            {"statement": "SELECT '\0'"}, {"statement": "\ud800"}, {"duration_seconds": "x"}]
)  # fmt: skip
def test_whatever_is_offered_nothing_is_raised(sampler_of, flights, odd: dict, caplog) -> None:
    sampler = sampler_of(flights)
    offered(sampler, flights, "SELECT * FROM flights", None, **odd)
    assert sampler.drain(PATIENCE)


def test_a_disabled_sampler_takes_nothing(sampler_of, flights) -> None:
    sampler = sampler_of(flights, enabled=False)
    assert not offered(sampler, flights, SQL, {"tail": "N5"})
    assert not sampler.health().alive


def test_a_pool_of_one_connection_is_not_exhausted(sampler_of, postgresql_database) -> None:
    engine = postgresql_database.engine(pool_size=1, max_overflow=0, pool_timeout=1)
    sampler = sampler_of(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    with engine.connect() as connection:
        held = connection.connection.dbapi_connection
        blind_offer(sampler, statement="SELECT * FROM t", dbapi_connection=held)
        assert sampler.drain(PATIENCE)
        assert sampler.results()[0].error is None


def test_a_disposed_engine_does_not_stop_the_worker(sampler_of, flights) -> None:
    sampler = sampler_of(flights)
    offered(sampler, flights, SQL, {"tail": "N5"})
    flights.dispose()
    assert sampler.drain(PATIENCE)
    if flights.url.database:
        offered(sampler, flights, SQL, {"tail": "N5"}, fingerprint="later")
        assert sampler.drain(PATIENCE)
        assert sampler.results()[-1].error is None


def test_a_database_that_is_gone_is_an_error_and_the_thread_goes_on(
    sampler_of, postgresql_database
) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    killed = []

    @event.listens_for(engine, "connect")
    def remember(dbapi_connection, record) -> None:
        killed.append(dbapi_connection.info.backend_pid)

    sampler = sampler_of(engine)
    blind_offer(sampler, "a", statement="SELECT * FROM t")
    assert sampler.drain(PATIENCE)
    with engine.connect() as connection:
        # The worker keeps its connection for a second; end it under its hands.
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": killed[0]})
    blind_offer(sampler, "b", statement="SELECT * FROM t")
    blind_offer(sampler, "c", statement="SELECT * FROM t WHERE a = 1")
    assert sampler.drain(PATIENCE)
    errors = {result.fingerprint: result.error for result in sampler.results()}
    assert errors["a"] is None
    assert errors["c"] is None


def test_a_lock_ends_in_a_timeout_and_is_reported(sampler_of, postgresql_database) -> None:
    engine = postgresql_database.engine()
    clock = Clock()
    sampler = sampler_of(engine, timeout_seconds=0.1, now=clock, retry_after_seconds=5.0)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE t IN ACCESS EXCLUSIVE MODE"))
        blind_offer(sampler, statement="SELECT * FROM t")
        assert sampler.drain(PATIENCE)
    assert sampler.health().timeouts == 1
    assert sampler.results()[0].error.startswith("no plan within 0.1 s: ")
    clock.seconds += 5
    assert blind_offer(sampler, statement="SELECT * FROM t")
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error is None


def test_mariadb_waits_for_no_lock_either(sampler_of, mariadb_database) -> None:
    engine = mariadb_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    sampler = sampler_of(engine, timeout_seconds=0.5)
    with engine.connect() as connection:
        connection.execute(text("LOCK TABLES t WRITE"))
        blind_offer(sampler, statement="SELECT * FROM t")
        assert sampler.drain(PATIENCE)
        connection.execute(text("UNLOCK TABLES"))
    assert sampler.health().timeouts == 1


def test_a_locked_sqlite_file_is_reported(sampler_of, sqlite_database) -> None:
    engine = sqlite_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    sampler = sampler_of(engine, timeout_seconds=0.05)
    holder = sqlite3.connect(engine.url.database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    blind_offer(sampler, statement="SELECT * FROM t")
    assert sampler.drain(PATIENCE)
    holder.close()
    assert "locked" in sampler.results()[0].error


@pytest.fixture
def gated(tmp_path) -> Any:
    """An engine whose new connections wait at a gate; `gate.arrived` counts who came to it."""
    path, gate = tmp_path / "gated.db", threading.Event()
    gate.arrived = threading.Semaphore(0)
    sqlite3.connect(path).close()

    def connect() -> sqlite3.Connection:
        gate.arrived.release()
        gate.wait(PATIENCE)
        return sqlite3.connect(path, check_same_thread=False)

    engine = create_engine(f"sqlite:///{path}", creator=connect)
    yield engine, gate
    gate.set()
    engine.dispose()


def test_a_full_queue_drops_and_counts(sampler_of, gated) -> None:
    engine, gate = gated
    sampler = sampler_of(engine, queue_size=3)
    taken = [blind_offer(sampler, str(n)) for n in range(6)]
    assert taken == [True] * 3 + [False] * 3
    assert (sampler.health().dropped, sampler.health().queued) == (3, 3)
    gate.set()
    assert sampler.drain(PATIENCE)
    assert blind_offer(sampler, "5")
    assert sampler.drain(PATIENCE)
    assert {result.fingerprint for result in sampler.results()} == {"0", "1", "2", "5"}


def test_draining_gives_up_in_time(sampler_of, gated) -> None:
    engine, _ = gated
    sampler = sampler_of(engine)
    blind_offer(sampler, "a")
    assert not sampler.drain(0.05)


def test_closing_leaves_a_hanging_worker_behind(gated) -> None:
    engine, gate = gated
    sampler = PlanSampler(engine)
    blind_offer(sampler, "a")
    assert gate.arrived.acquire(timeout=PATIENCE)
    sampler.close(0.05)
    health = sampler.health()
    assert (health.abandoned, health.alive, health.queued) == (1, False, 0)
    assert not blind_offer(sampler, "b")
    gate.set()


def test_what_an_abandoned_worker_finds_late_does_not_count(gated) -> None:
    engine, gate = gated
    sampler = PlanSampler(engine)
    blind_offer(sampler, "a")
    assert gate.arrived.acquire(timeout=PATIENCE)
    before = set(threading.enumerate())
    sampler.close(0.05)
    gate.set()
    for thread in before:
        if thread.name == "sa_perf-explain":
            thread.join(PATIENCE)
    assert sampler.results() == ()


def test_a_worker_that_hangs_is_replaced_thrice_at_most(sampler_of, gated) -> None:
    engine, gate = gated
    clock = Clock()
    sampler = sampler_of(engine, now=clock, queue_size=10, timeout_seconds=1.0)
    for number in range(3):
        blind_offer(sampler, str(number))
        assert gate.arrived.acquire(timeout=PATIENCE)
        clock.seconds += 31
    blind_offer(sampler, "last")
    health = sampler.health()
    assert (health.abandoned, health.alive) == (3, False)


def test_a_thread_that_a_driver_ends_is_an_error_and_the_next_one_goes_on(
    sampler_of, tmp_path
) -> None:
    path = tmp_path / "x.db"
    sqlite3.connect(path).close()
    ends = [SystemExit("the driver has had enough")]

    def connect() -> sqlite3.Connection:
        if ends:
            raise ends.pop()
        return sqlite3.connect(path, check_same_thread=False)

    engine = create_engine(f"sqlite:///{path}", creator=connect)
    sampler = sampler_of(engine)
    blind_offer(sampler, "a")
    assert sampler.drain(PATIENCE)
    blind_offer(sampler, "b")
    assert sampler.drain(PATIENCE)
    errors = {result.fingerprint: result.error for result in sampler.results()}
    assert errors == {"a": "SystemExit: the driver has had enough", "b": None}
    engine.dispose()


def test_a_value_that_cannot_be_written_down_fails_its_own_statement_only(
    sampler_of, gated
) -> None:
    class Unwritable:
        def __str__(self) -> str:
            raise RuntimeError("nobody writes this down")

    engine, gate = gated
    sampler = sampler_of(engine)
    blind_offer(sampler, "a", statement="SELECT * FROM nowhere", parameters=(Unwritable(),))
    blind_offer(sampler, "b")
    gate.set()
    assert sampler.drain(PATIENCE)
    errors = {result.fingerprint: result.error for result in sampler.results()}
    assert "nowhere" in errors["a"]
    assert errors["b"] is None


def test_of_many_sets_of_bind_values_one_is_held(sampler_of, gated) -> None:
    class Value:
        pass

    engine, gate = gated
    sampler = sampler_of(engine)
    second = Value()
    watched = weakref.ref(second)
    blind_offer(sampler, statement="SELECT ?", parameters=[[1], [second]])
    del second
    gc.collect()
    assert sampler.health().queued == 1
    assert watched() is None
    gate.set()
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error is None


@pytest.mark.exhaustive
def test_large_plans_push_out_the_oldest(sampler_of, gated) -> None:
    engine, gate = gated
    gate.set()
    sampler = sampler_of(engine)
    numbers = ", ".join(["1"] * 50_000)
    for number in range(60):
        blind_offer(sampler, str(number), statement=f"SELECT 1 WHERE 1 IN ({numbers})")
        assert sampler.drain(PATIENCE)
    kept = [result.fingerprint for result in sampler.results()]
    assert kept[-1] == "59"
    assert "0" not in kept
    assert sum(len(result.plan.statement) for result in sampler.results()) <= 8_000_000


def test_an_engine_that_was_collected_is_an_error(sampler_of, tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    sampler = sampler_of(engine)
    engine.dispose()
    del engine
    gc.collect()
    blind_offer(sampler, "a")
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error == "the engine is gone"


def test_in_memory_the_transaction_of_the_application_stays_as_it_is(sampler_of) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    sampler = sampler_of(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
        connection.commit()
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        raw = connection.connection.dbapi_connection
        assert raw.in_transaction
        deleted = {"statement": "DELETE FROM t WHERE a = ?", "parameters": (1,)}
        blind_offer(sampler, **deleted, dbapi_connection=raw)
        assert raw.in_transaction
        connection.rollback()
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error is None
    engine.dispose()


def test_in_memory_without_connection_the_reason_is_given(sampler_of) -> None:
    engine = create_engine("sqlite://")
    sampler = sampler_of(engine)
    blind_offer(sampler, "a")
    assert sampler.results()[0].error == "the database lives in memory and its connection is gone"
    engine.dispose()


def test_a_memory_url_whose_creator_opens_a_file_is_explained_beside(sampler_of, tmp_path) -> None:
    path = tmp_path / "real.db"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
    sampler = sampler_of(engine)
    offered(sampler, engine, "SELECT * FROM t")
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error is None
    engine.dispose()


def test_the_thread_ends_when_nothing_is_left_to_do(sampler_of, gated) -> None:
    engine, gate = gated
    gate.set()
    sampler = sampler_of(engine)
    blind_offer(sampler, "a")
    mine = [one for one in threading.enumerate() if one.name == "sa_perf-explain"]
    assert sampler.drain(PATIENCE)
    for thread in mine:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    blind_offer(sampler, "b")
    assert sampler.drain(PATIENCE)
    assert len(sampler.results()) == 2


def test_only_so_many_results_are_kept(sampler_of, gated) -> None:
    engine, gate = gated
    gate.set()
    sampler = sampler_of(engine, results_size=5)
    for number in range(12):
        blind_offer(sampler, str(number))
    assert sampler.drain(PATIENCE)
    assert len(sampler.results()) == 5


def test_an_asynchronous_engine_is_explained_on_a_loop_of_its_own(async_db, sampler_of) -> None:
    async def run() -> PlanSampler:
        engine = async_db.async_engine()
        sampler = sampler_of(engine.sync_engine)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (a INTEGER)"))
        async with engine.connect() as connection:
            compiled = text("SELECT * FROM t WHERE a = :x").compile(dialect=engine.dialect)
            raw = (await connection.get_raw_connection()).dbapi_connection

            def offer(_) -> None:
                values = (1,) if compiled.positional else {"x": 1}
                blind_offer(
                    sampler, statement=str(compiled), parameters=values, dbapi_connection=raw
                )

            await connection.run_sync(offer)
        return sampler

    sampler = async_db.run(run())
    assert sampler.drain(PATIENCE)
    (result,) = sampler.results()
    assert (result.error, result.plan.generic) == (None, False)


def test_an_in_memory_database_of_an_event_loop_is_explained_outside_of_sqlalchemy(
    sampler_of, async_db
) -> None:
    if not async_db.name.startswith("sqlite_memory"):
        return

    async def run() -> PlanSampler:
        import asyncio

        engine = async_db.async_engine()
        sampler = sampler_of(engine.sync_engine)
        async with engine.connect() as connection:
            await connection.execute(text("CREATE TABLE t (a INTEGER)"))
            raw = (await connection.get_raw_connection()).dbapi_connection
            blind_offer(sampler, statement="SELECT * FROM t", dbapi_connection=raw)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others)
        return sampler

    sampler = async_db.run(run())
    assert sampler.drain(PATIENCE)
    assert sampler.results()[0].error is None


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_a_forked_child_begins_anew(db, tmp_path) -> None:
    if db.name == "sqlite_memory":
        return  # nothing is shared with the parent
    script = """
        import os, sys, threading
        from sqlalchemy import create_engine
        from sa_perf.plans.sampler import PlanSampler

        engine = create_engine(sys.argv[1])
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        sampler = PlanSampler(engine)

        def explain(name):
            sampler.offer(fingerprint=name, statement="SELECT * FROM t", parameters=None,
                          duration_seconds=1.0, rows=0, dbapi_connection=None)
            return sampler.drain(20)

        assert explain("before")          # the worker now holds a connection
        pid = os.fork()
        if pid == 0:
            engine.dispose(close=False)
            good = explain("child") and sampler.results()[-1].error is None
            os._exit(0 if good and sampler.health().queued == 0 else 7)
        status = os.waitpid(pid, 0)[1]
        assert explain("after")
        errors = [result.error for result in sampler.results()]
        print(os.waitstatus_to_exitcode(status), errors)
    """
    url = db.url.render_as_string(hide_password=False)
    done = run_script(script, url)
    assert (done.stdout.strip(), done.stderr) == ("0 [None, None]", "")


def test_the_interpreter_ends_with_a_full_queue_and_a_hanging_worker() -> None:
    script = """
        import threading
        from sqlalchemy import create_engine
        from sa_perf.plans.sampler import PlanSampler

        engine = create_engine("sqlite:///nothing.db", creator=threading.Event().wait)
        sampler = PlanSampler(engine)
        for number in range(64):
            sampler.offer(fingerprint=str(number), statement="SELECT 1", parameters=None,
                          duration_seconds=1.0, rows=0, dbapi_connection=None)
        print(sampler.health().queued >= 63)
    """
    done = run_script(script)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "True", "")


def test_the_pool_events_of_the_application_do_not_see_the_samplers_connection(db) -> None:
    if db.name == "sqlite_memory":
        pytest.skip("explained on the application's own connection")
    engine = db.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE seen (id INTEGER)"))
    seen: list[str] = []
    for name in ("checkout", "checkin", "invalidate", "reset"):
        event.listen(engine, name, lambda *_, name=name: seen.append(name))
    sampler = PlanSampler(engine)

    assert blind_offer(sampler, statement="SELECT id FROM seen")
    assert sampler.drain(30)
    (result,) = sampler.results()
    assert (result.error, seen) == (None, [])
    sampler.close()
