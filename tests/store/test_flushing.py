"""What a process recorded comes to the store once, whatever breaks on the way."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from sqlalchemy import Connection, event, text, update
from sqlalchemy.exc import OperationalError
from store_world import NOON, Store, Worker

from sa_perf import migration
from sa_perf.call_site import CallSite
from sa_perf.queries.repeats import RepeatStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.queries.transactions import TransactionStats
from sa_perf.resources.readings import Resources, Standing
from sa_perf.store import tables
from sa_perf.store.batch import Batch
from sa_perf.store.histogram_blob import from_blob
from sa_perf.store.reading import StoreReader
from sa_perf.store.tables import DAY, HOUR, MINUTE

SUMS = ("began_at", "calls", "row_count", "flush")


def scope(name: str, runs: int) -> ScopeStats:
    return ScopeStats(
        name=name, runs=runs, statements=2 * runs, max_statements=2, rows=runs,
        database_seconds=0.5 * runs, max_database_seconds=0.5, total_seconds=1.0 * runs,
    )  # fmt: skip


def slow(statement: str, ended_at: float) -> SlowExecution:
    return SlowExecution(
        fingerprint="f" * 16, statement=statement, database="sqlite:///shop.db",
        ended_at=datetime.fromtimestamp(ended_at, timezone.utc), duration_seconds=2.5,
        fetch_seconds=0.5, rows=7, call_site=CallSite(file="shop.py", line=3, function="buy"),
        scope=("GET /",), parameters=("'a secret'",),
    )  # fmt: skip


def repeat(calls: int) -> RepeatStats:
    return RepeatStats(
        kind="same_select", fingerprint="a" * 16, database="d", remedy="cache it", occurrences=1,
        calls=calls, max_calls=calls, total_seconds=1.0, wasted_seconds=0.5,
    )  # fmt: skip


def test_each_flush_holds_what_was_recorded_since_the_last(store: Store) -> None:
    worker = Worker(store)
    worker.run("SELECT a", rows=3)
    worker.run("SELECT a", rows=3)
    assert worker.flush()
    store.clock.now += 60
    worker.run("SELECT a")
    worker.run("SELECT b")
    assert worker.flush()
    assert store.rows(tables.queries[MINUTE], *SUMS) == [
        (NOON, 1, 1, 2), (NOON, 1, 1, 2), (NOON, 2, 6, 1),
    ]  # fmt: skip
    assert [text for _, text in store.rows(tables.statements, "id", "statement")] == [
        "SELECT a",
        "SELECT b",
    ]
    (process,) = store.rows(tables.processes, "service", "host", "pid", "flush", "seen_at")
    assert process == ("shop", "web-1", 1, 2, NOON + 60)
    for (blob,) in store.rows(tables.queries[MINUTE], "histogram"):
        assert from_blob(bytes(blob)).total() in (1, 2)


def test_a_flush_of_nothing_only_says_that_the_process_lives(store: Store) -> None:
    worker = Worker(store)
    assert worker.flush()
    assert store.rows(tables.queries[MINUTE]) == []
    assert store.rows(tables.processes, "flush") == [(1,)]


def test_scopes_transactions_slow_ones_and_repeats_are_stored(store: Store) -> None:
    worker = Worker(store)
    worker.more = {
        "scopes": (scope("GET /", 3),),
        "transactions": TransactionStats(commits=4, rollbacks=1, total_seconds=2, max_seconds=1),
        "slow": (slow("SELECT slow", NOON + 1),),
        "repeats": (repeat(9),),
    }
    assert worker.flush()
    worker.more["slow"] = ()
    worker.more["repeats"] = (repeat(11),)
    assert worker.flush()
    scopes = store.rows(tables.scopes[MINUTE], "name", "runs", "statements", "database_seconds")
    assert scopes == [("GET /", 3, 6, 1.5)]
    assert store.rows(tables.transactions[MINUTE], "commits", "rollbacks") == [(4, 1)]
    ((ended_at, rows, names, site),) = store.rows(
        tables.slow, "ended_at", "row_count", "scope", "call_site"
    )
    assert (ended_at, rows, json.loads(names)) == (NOON + 1, 7, ["GET /"])
    assert json.loads(site) == {"file": "shop.py", "line": 3, "function": "buy"}
    ((kind, document),) = store.rows(tables.documents, "kind", "document")
    assert (kind, json.loads(document)["calls"]) == ("repeats", 11)


def test_samples_of_resources_are_stored_and_read_as_their_course(store: Store) -> None:
    workers = [Worker(store, pid=1), Worker(store, pid=2)]
    for minute in range(4):
        store.clock.now = NOON + minute * 60
        for number, worker in enumerate(workers):
            one = Standing(
                resource="disk /data", level="warning" if minute == 3 else "ok", since=None,
                ratio=0.5 + minute / 10 + number / 100, detail=f"{5 - minute} GB are left",
            )  # fmt: skip
            worker.more = {"resources": Resources(standings=(one,))}
            worker.run("SELECT a")
            assert worker.flush()
    assert len(store.rows(tables.samples)) == 8
    window = StoreReader(store.engine).window()
    (standing,) = window.resources.standings
    assert (standing.level, standing.ratio, standing.detail) == ("warning", 0.81, "2 GB are left")
    (chart,) = window.resources.history
    assert chart.at == (NOON, NOON + 60, NOON + 120, NOON + 180)
    assert chart.ratios == pytest.approx((0.51, 0.61, 0.71, 0.81))
    assert [one.kind for one in window.findings] == ["resource_short"]


def test_no_parameter_is_ever_stored(store: Store) -> None:
    worker = Worker(store)
    worker.more = {"slow": (slow("SELECT slow", NOON + 1),)}
    assert worker.flush()
    for table in tables.TABLES:
        assert "a secret" not in repr(store.rows(table))


def test_two_processes_share_the_texts_and_nothing_else(store: Store) -> None:
    # Of the same number: on two machines, or one after the other.
    first, second = Worker(store, host="web-1"), Worker(store, host="web-2")
    for worker in (first, second):
        worker.run("SELECT a")
        assert worker.flush()
    assert len(store.rows(tables.statements)) == 1
    assert store.rows(tables.queries[MINUTE], "calls") == [(1,), (1,)]
    assert store.rows(tables.processes, "host", "pid") == [("web-1", 1), ("web-2", 1)]


def test_many_processes_may_begin_at_once(store: Store) -> None:
    workers = [Worker(store, pid=number) for number in range(6)]
    for worker in workers:
        for number in range(20):
            worker.run(f"SELECT {number}")
    threads = [threading.Thread(target=worker.flush) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        assert worker.flush(), worker.flusher.health()
    assert len(store.rows(tables.statements)) == 20
    assert sum(calls for (calls,) in store.rows(tables.queries[MINUTE], "calls")) == 120


def test_a_batch_whose_commit_got_no_answer_is_not_stored_twice(store: Store) -> None:
    worker = Worker(store)
    worker.run("SELECT a")
    write, answers = worker.flusher._writer.write, []

    def broken_off(*arguments: Any, **options: Any) -> bool:
        answers.append(write(*arguments, **options))
        if len(answers) == 1:
            raise OperationalError("COMMIT", None, Exception("connection lost"))
        return answers[-1]

    worker.flusher._writer.write = broken_off
    assert not worker.flush()
    assert worker.flusher.health().waiting == 1
    assert worker.flush()
    assert answers == [True, False, True]
    assert store.rows(tables.queries[MINUTE], "calls") == [(1,)]
    assert store.rows(tables.processes, "flush") == [(2,)]


def test_a_batch_that_breaks_off_leaves_nothing_and_comes_again(store: Store) -> None:
    worker = Worker(store)
    worker.run("SELECT a")
    worker.more = {"scopes": (scope("GET /", 1),)}
    worker.flush()
    insert, tries = worker.flusher._writer._insert, []

    def breaks(connection: Connection, batch: Batch) -> None:
        insert(connection, batch)
        tries.append(batch.number)
        if len(tries) == 1:
            raise OperationalError("INSERT", None, Exception("disk full"))

    worker.flusher._writer._insert = breaks
    worker.run("SELECT a")
    assert not worker.flush()
    assert len(store.rows(tables.queries[MINUTE])) == 1
    assert store.rows(tables.processes, "flush") == [(1,)]
    assert worker.flush()
    assert tries == [2, 2, 3]
    assert len(store.rows(tables.queries[MINUTE])) == 2


def test_what_comes_when_its_hour_is_closed_is_written_to_the_hour(store: Store) -> None:
    worker = Worker(store)
    worker.flush()
    close = update(tables.levels)
    store.execute(close.where(tables.levels.c.width == HOUR).values(closed_at=NOON + HOUR))
    store.clock.now += 120
    worker.run("SELECT a")
    worker.more = {"scopes": (scope("GET /", 1),)}
    assert worker.flush()
    assert store.rows(tables.queries[MINUTE]) == []
    assert store.rows(tables.queries[HOUR], *SUMS) == [(NOON, 1, 1, 2)]
    assert store.rows(tables.scopes[HOUR], "began_at", "runs") == [(NOON, 1)]
    store.execute(close.where(tables.levels.c.width == DAY).values(closed_at=NOON + DAY))
    worker.run("SELECT a")
    worker.run("SELECT a")
    assert worker.flush()
    assert store.rows(tables.queries[DAY], *SUMS) == [(NOON // DAY * DAY, 2, 2, 3)]


def test_a_clock_that_jumps_loses_nothing(store: Store) -> None:
    worker = Worker(store)
    for jump in (-7_200, 90_000, -90_000):
        worker.run("SELECT a")
        store.clock.now += jump
        assert worker.flush()
    assert sum(calls for (calls,) in store.rows(tables.queries[MINUTE], "calls")) == 3
    for began_at, *_ in store.rows(tables.queries[MINUTE], *SUMS):
        assert began_at % 60 == 0
        assert abs(began_at - NOON) <= 90_060


def test_odd_texts_are_stored_readably(store: Store) -> None:
    worker = Worker(store)
    odd = "SELECT 'a\0b', '\ud800', 'ü😀'"
    worker.run(odd)
    worker.more = {"scopes": (scope("GET \0 " + "x" * 300, 1), scope("GET \0 " + "x" * 400, 2))}
    assert worker.flush(), worker.flusher.health()
    assert store.rows(tables.statements, "statement") == [("SELECT 'a\\x00b', '\\ud800', 'ü😀'",)]
    ((name, runs),) = store.rows(tables.scopes[MINUTE], "name", "runs")
    assert (len(name), runs) == (200, 3)


def test_a_process_whose_row_was_deleted_gets_a_new_one(store: Store) -> None:
    worker = Worker(store)
    worker.flush()
    store.execute(tables.processes.delete())
    worker.run("SELECT a")
    assert not worker.flush()
    assert worker.flush(), worker.flusher.health()
    assert store.rows(tables.queries[MINUTE], "calls") == [(1,)]
    assert len(store.rows(tables.processes)) == 1


def test_texts_in_use_are_known_to_be_so_once_a_day(store: Store) -> None:
    worker = Worker(store)
    for days in (0, 0, 1, 1):
        store.clock.now = NOON + days * DAY + worker.nanoseconds / 1e9
        worker.run("SELECT a")
        assert worker.flush()
        ((seen_at,),) = store.rows(tables.statements, "seen_at")
        assert seen_at // DAY == NOON // DAY + days


def test_a_child_begins_anew_and_sends_nothing_of_its_parent(sqlite_store: Store) -> None:
    worker = Worker(sqlite_store)
    worker.run("SELECT a")
    worker.flusher.take()
    worker.statistics.clear()
    worker.flusher.after_fork()
    worker.run("SELECT b")
    assert worker.flush()
    assert sqlite_store.rows(tables.statements, "statement") == [("SELECT b",)]
    assert sqlite_store.rows(tables.processes, "flush") == [(1,)]


def test_spans_are_taken_at_their_ends_and_sent_soon_after(sqlite_store: Store) -> None:
    monotonic = [0.0]
    worker = Worker(sqlite_store, options={"clock": lambda: monotonic[0]})

    def tick(seconds: float) -> None:
        sqlite_store.clock.now += seconds
        monotonic[0] += seconds
        worker.flusher.tick()
        sender = worker.flusher._sender
        if sender is not None:
            sender.join(30)

    worker.run("SELECT a")
    tick(59)
    assert worker.flusher.health().flushes == worker.flusher.health().waiting == 0
    worker.run("SELECT a")
    tick(2)
    tick(10)
    assert worker.flusher.health().flushes == 1
    assert sqlite_store.rows(tables.queries[MINUTE], "began_at", "calls") == [(NOON, 2)]
    tick(40)
    assert worker.flusher.health().flushes == 1


def test_a_store_that_is_down_is_told_once_and_gets_everything_later(
    sqlite_store: Store, caplog, tmp_path
) -> None:
    monotonic = [0.0]
    worker = Worker(sqlite_store, options={"clock": lambda: monotonic[0]})
    url = worker.store.place.url
    away = url.set(database=str(tmp_path / "no" / "such" / "folder" / "perf.db"))
    worker.flusher._place = type(worker.store.place)(away.render_as_string(hide_password=False))
    for _ in range(3):
        worker.run("SELECT a")
        assert not worker.flush()
    health = worker.flusher.health()
    assert (health.flushes, health.waiting, health.failures) == (0, 3, 3)
    assert "unable to open database file" in health.last_error
    warnings = [one for one in caplog.records if one.name == "sa_perf.store"]
    assert [one.levelno for one in warnings] == [logging.WARNING]
    worker.flusher._place = sqlite_store.place
    assert worker.flush()
    assert sum(calls for (calls,) in sqlite_store.rows(tables.queries[MINUTE], "calls")) == 3
    assert worker.flusher.health().last_error is None
    assert "is there again" in caplog.text


def test_a_store_without_tables_says_what_to_run(sqlite_store: Store) -> None:
    migration.downgrade(sqlite_store.engine, "base")
    with sqlite_store.engine.begin() as connection:
        connection.execute(text("CREATE TABLE own (id INTEGER)"))
    worker = Worker(sqlite_store, options={"make_tables": migration.upgrade})
    worker.run("SELECT a")
    assert not worker.flush()
    assert "run: sa-perf db upgrade" in worker.flusher.health().last_error
    migration.upgrade(sqlite_store.engine)
    assert worker.flush()


@pytest.mark.parametrize(
    ("version", "said"),
    [("sa_perf_0001", "sa_perf_0001"), ("sa_perf_9999", "sa_perf_9999")],
)
def test_a_store_of_another_version_is_named_and_left_alone(
    sqlite_store: Store, version: str, said: str
) -> None:
    with sqlite_store.engine.begin() as connection:
        connection.execute(text(f"UPDATE sa_perf_alembic_version SET version_num = '{version}'"))
    worker = Worker(sqlite_store, options={"make_tables": migration.upgrade})
    worker.run("SELECT a")
    assert not worker.flush()
    assert said in worker.flusher.health().last_error
    assert sqlite_store.rows(tables.processes) == []


def test_a_file_of_its_own_gets_its_tables_by_itself(sqlite_store: Store) -> None:
    migration.downgrade(sqlite_store.engine, "base")
    with sqlite_store.engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS sa_perf_alembic_version"))
    worker = Worker(sqlite_store, options={"make_tables": migration.upgrade})
    worker.run("SELECT a")
    assert worker.flush(), worker.flusher.health()
    assert migration.check(sqlite_store.engine) == ()
    assert sqlite_store.rows(tables.queries[MINUTE], "calls") == [(1,)]


@pytest.mark.parametrize(
    ("pragma", "said"), [("query_only = ON", "readonly"), ("max_page_count = 1", "full")]
)
def test_a_store_that_takes_nothing_more_is_told_and_nothing_is_lost(
    sqlite_store: Store, pragma: str, said: str
) -> None:
    worker = Worker(sqlite_store)
    worker.flush()

    def limit(dbapi_connection: Any, record: object) -> None:
        dbapi_connection.execute(f"PRAGMA {pragma}")

    event.listen(sqlite_store.place._ready(), "connect", limit)
    for number in range(300):
        worker.run(f"SELECT {number} {'x' * 100}")
    assert not worker.flush()
    assert said in worker.flusher.health().last_error
    event.remove(sqlite_store.place._ready(), "connect", limit)
    assert worker.flush()
    assert sum(calls for (calls,) in sqlite_store.rows(tables.queries[MINUTE], "calls")) == 300


def test_what_was_dropped_is_counted_in_the_store_too(sqlite_store: Store) -> None:
    worker = Worker(sqlite_store)
    worker.flusher._outbox._max_rows = 1
    for _ in range(3):
        worker.run("SELECT a")
        worker.flusher.take()
    assert worker.flush()
    health = worker.flusher.health()
    assert (health.lost_flushes, health.lost_calls) == (3, 3)
    assert sqlite_store.rows(tables.processes, "lost_flushes", "lost_calls") == [(3, 3)]


def test_documents_that_have_not_changed_are_not_sent_again(sqlite_store: Store) -> None:
    worker = Worker(sqlite_store)
    worker.more = {"repeats": (repeat(9),)}
    worker.flush()
    sqlite_store.execute(tables.documents.delete())
    worker.flush()
    assert sqlite_store.rows(tables.documents) == []
    worker.more = {"repeats": (replace(repeat(9), calls=10),)}
    worker.flush()
    assert len(sqlite_store.rows(tables.documents)) == 1


def test_a_thread_that_is_about_to_end_does_not_leave_a_flush_behind(sqlite_store: Store) -> None:
    may_end, ending = threading.Event(), threading.Event()

    def upkeep(place: object, process: object) -> None:
        ending.set()
        may_end.wait(30)

    worker = Worker(sqlite_store, options={"upkeep": upkeep})
    worker.run("SELECT a")
    worker.flusher.take()
    worker.flusher._start_sending()
    assert ending.wait(30)
    worker.run("SELECT a")
    threading.Timer(0.05, may_end.set).start()
    assert worker.flush()
    assert sum(calls for (calls,) in sqlite_store.rows(tables.queries[MINUTE], "calls")) == 2
