"""The aggregates: exact in total, bounded in number, whatever happens meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, literal, select, text
from sqlalchemy.pool import StaticPool

import sa_perf
from sa_perf.dialects import dialect_for
from sa_perf.queries.aggregate import OTHER, Aggregate
from sa_perf.queries.execution import PENDING, Execution
from sa_perf.queries.fingerprint import Fingerprinter, fingerprint_of
from sa_perf.queries.shape import Shape
from sa_perf.queries.statistics import Statistics

DATABASE = "sqlite:///x"


class Nobody:
    """Takes no fetches."""

    slow_ns = 1 << 62


def opened(aggregate: Aggregate, ended: int, execute: int) -> Execution:
    one = Execution()
    one.tally = None
    one.shape = Shape(Nobody(), aggregate, returns_rows=True)
    one.run, one.counted, one.rows = None, PENDING, -1
    one.ended_ns, one.execute_ns = ended, execute
    return one


def read(one: Execution, ended: int, fetch: int, rows: int) -> Execution:
    one.fetched_ns, one.fetch_ns, one.rows = ended, fetch, rows
    return one


def whole(aggregate: Aggregate, ended: int, execute: int, rows: int) -> Execution:
    return read(opened(aggregate, ended, execute), ended, 0, rows)


def add(statistics: Statistics, shape: str, execute: int = 1_000, rows: int = 1) -> Aggregate:
    aggregate = statistics.aggregate(DATABASE, shape, None)
    statistics.pending.append(whole(aggregate, 10**9, execute, rows))
    return aggregate


def totals(statistics: Statistics) -> tuple[int, int, float]:
    statistics.fold(wait=True)
    stats = statistics.stats()
    return (
        sum(one.calls for one in stats),
        sum(one.rows for one in stats),
        round(sum(one.total_seconds for one in stats) * 1e9),
    )


def test_an_execution_counts_in_every_sum() -> None:
    statistics = Statistics(10, wall=lambda: 1_000.0, clock=lambda: 0)
    aggregate = statistics.aggregate(DATABASE, "SELECT ?", None)
    statistics.pending.append(whole(aggregate, 5_000_000_000, 3_000_000, 7))
    statistics.pending.append(whole(aggregate, 6_000_000_000, 1_000_000, 1))
    statistics.fold(wait=True)
    (one,) = statistics.stats()
    assert one.fingerprint == fingerprint_of("SELECT ?")
    assert (one.statement, one.database, one.kind) == ("SELECT ?", DATABASE, "select")
    assert (one.calls, one.rows, one.errors, one.executions, one.parameter_sets) == (2, 8, 0, 2, 2)
    assert (one.min_seconds, one.max_seconds, one.total_seconds) == (0.001, 0.003, 0.004)
    assert (one.mean_seconds, one.stddev_seconds) == (0.002, pytest.approx(0.001))
    assert one.first_seen.timestamp() == pytest.approx(1_004.997)
    assert one.last_seen.timestamp() == pytest.approx(1_006)
    assert one.last_seen.tzinfo is timezone.utc
    assert one.histogram.total() == 2


def test_a_fetch_that_follows_at_once_belongs_to_its_execution() -> None:
    statistics = Statistics(10)
    aggregate = statistics.aggregate(DATABASE, "SELECT ?", None)
    statistics.pending.append(read(opened(aggregate, 100, 2_000_000), 200, 3_000_000, 9))
    statistics.fold(wait=True)
    (one,) = statistics.stats()
    assert (one.calls, one.rows) == (1, 9)
    assert (one.total_seconds, one.fetch_seconds, one.min_seconds) == (0.005, 0.003, 0.005)


fetches = st.integers(min_value=1, max_value=10**7)


@given(
    st.lists(st.tuples(fetches, fetches, st.integers(0, 9)), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_fetches_count_the_same_in_whatever_order_they_come(executions, random) -> None:
    orders = []
    for shuffled in (False, True):
        statistics = Statistics(10)
        aggregate = statistics.aggregate(DATABASE, "SELECT ?", None)
        runs = [(opened(aggregate, 10**9, run), fetch, rows) for run, fetch, rows in executions]
        statistics.pending.extend(run for run, _, _ in runs)
        if shuffled:
            statistics.fold(wait=True)
            random.shuffle(runs)
        for run, fetch, rows in runs:
            read(run, 10**9, fetch, rows)
            if run.counted:
                statistics.pending.append(run)
                statistics.fold(wait=True)
        statistics.fold(wait=True)
        (one,) = statistics.stats()
        orders.append(one)
    first, second = orders
    assert (first.calls, first.rows) == (second.calls, second.rows)
    assert first.total_seconds == second.total_seconds
    assert first.fetch_seconds == second.fetch_seconds
    assert (first.min_seconds, first.max_seconds) == (second.min_seconds, second.max_seconds)
    assert first.histogram == second.histogram
    assert first.sum_squares == pytest.approx(second.sum_squares)


def test_rows_that_arrive_while_their_execution_is_counted_count_once() -> None:
    statistics = Statistics(10)
    aggregate = statistics.aggregate(DATABASE, "SELECT ?", None)
    run = read(opened(aggregate, 100, 2_000_000), 200, 3_000_000, 9)
    # The reading thread saw it counted as open, the folding one saw its rows.
    statistics.pending.extend((run, run))
    assert totals(statistics) == (1, 9, 5_000_000)


def test_a_result_that_is_never_read_has_the_shortest_duration_of_its_execution() -> None:
    statistics = Statistics(10)
    aggregate = statistics.aggregate(DATABASE, "SELECT ?", None)
    statistics.pending.append(opened(aggregate, 10**9, 2_000_000))
    statistics.fold(wait=True)
    (one,) = statistics.stats()
    assert one.min_seconds == pytest.approx(0.002, rel=1 / 64)
    assert one.min_seconds <= one.p50_seconds <= one.max_seconds == 0.002


def test_batches_errors_and_waits_count_beside_the_calls() -> None:
    statistics = Statistics(10)
    aggregate = add(statistics, "INSERT INTO t")
    statistics.count_batches(aggregate, style="executemany", executions=1, parameter_sets=5)
    add(statistics, "INSERT INTO t")
    statistics.count_batches(aggregate, style="insertmanyvalues", executions=3, parameter_sets=40)
    statistics.count_error(aggregate, "IntegrityError")
    statistics.count_loop_wait(aggregate, 2_000_000_000)
    statistics.fold(wait=True)
    (one,) = statistics.stats()
    assert (one.calls, one.executions, one.parameter_sets) == (2, 4, 45)
    assert (one.executemany_calls, one.insertmanyvalues_calls) == (1, 1)
    assert (one.errors, one.last_error, one.loop_wait_seconds) == (1, "IntegrityError", 2.0)


def test_a_shape_without_executions_is_not_shown() -> None:
    statistics = Statistics(10)
    statistics.aggregate(DATABASE, "SELECT ?", None)
    assert statistics.stats() == ()


def test_the_same_shape_on_two_databases_is_two_entries() -> None:
    statistics = Statistics(10)
    for database in ("a", "b"):
        aggregate = statistics.aggregate(database, "SELECT ?", None)
        statistics.pending.append(whole(aggregate, 1, 1, 0))
    statistics.fold(wait=True)
    assert {one.database for one in statistics.stats()} == {"a", "b"}
    assert len({one.fingerprint for one in statistics.stats()}) == 1


def test_most_total_time_comes_first() -> None:
    statistics = Statistics(10)
    for number in (2, 3, 1):
        add(statistics, f"SELECT {'x' * number}", execute=number * 1_000_000)
    statistics.fold(wait=True)
    assert [len(one.statement) for one in statistics.stats()] == [10, 9, 8]


def test_raw_texts_that_sqlglot_prints_alike_are_one() -> None:
    statistics = Statistics(10)
    reader = Fingerprinter(dialect_for("sqlite"))
    for shape in ("select a from t where b=?", "SELECT a FROM t WHERE b = ?"):
        aggregate = statistics.aggregate(DATABASE, shape, reader)
        statistics.pending.append(whole(aggregate, 10**9, 1_000, 1))
        statistics.count_error(aggregate, "E")
    statistics.fold(wait=True)
    statistics.read_raw_shapes(60)
    (one,) = statistics.stats()
    assert (one.calls, one.errors, one.histogram.total()) == (2, 2, 2)


def test_a_text_is_parsed_once() -> None:
    class Reader(Fingerprinter):
        parsed = 0

        def canonical_shape(self, shape: str) -> str:
            self.parsed += 1
            return super().canonical_shape(shape)

    statistics, reader = Statistics(10), Reader(dialect_for("sqlite"))
    for _ in range(3):
        aggregate = statistics.aggregate(DATABASE, "select ?", reader)
        statistics.pending.append(whole(aggregate, 10**9, 1_000, 1))
        statistics.fold(wait=True)
        statistics.stats()
        statistics.read_raw_shapes(60)
    assert reader.parsed == 1


# Bounds


def test_shapes_beyond_the_capacity_go_into_other_and_totals_stay_exact() -> None:
    statistics = Statistics(10)
    for number in range(100):
        add(statistics, f"SELECT c{number}", execute=1_000 + number, rows=number)
        statistics.fold(wait=True)
    assert totals(statistics) == (100, sum(range(100)), 100_000 + sum(range(100)))
    stats = statistics.stats()
    assert len(stats) <= 11
    (other,) = [one for one in stats if one.fingerprint == OTHER]
    assert (other.statement, other.kind) == (OTHER, OTHER)
    assert other.calls == other.histogram.total() == statistics.evicted


def test_the_most_expensive_shapes_are_kept() -> None:
    statistics = Statistics(10)
    for number in range(5):
        add(statistics, f"SELECT expensive{number}", execute=10**9)
    statistics.fold(wait=True)
    for number in range(200):
        add(statistics, f"SELECT cheap{number}", execute=1_000)
        statistics.fold(wait=True)
    kept = {one.statement for one in statistics.stats()}
    assert {f"SELECT expensive{number}" for number in range(5)} <= kept


def test_a_shape_that_comes_back_after_its_eviction_counts_anew() -> None:
    statistics = Statistics(10)
    first = add(statistics, "SELECT first")
    statistics.fold(wait=True)
    for number in range(50):
        add(statistics, f"SELECT c{number}", execute=5_000)
        statistics.fold(wait=True)
    assert first.evicted
    # The compiled statement still holds the old aggregate.
    statistics.pending.append(whole(first, 10**9, 1_000, 1))
    statistics.count_error(first, "E")
    assert totals(statistics)[0] == 52
    assert sum(one.errors for one in statistics.stats()) == 1


def test_a_fetch_of_an_evicted_shape_is_not_lost() -> None:
    statistics = Statistics(10)
    aggregate = statistics.aggregate(DATABASE, "SELECT open", None)
    run = opened(aggregate, 10**9, 1_000)
    statistics.pending.append(run)
    statistics.fold(wait=True)
    for number in range(50):
        add(statistics, f"SELECT c{number}", execute=5_000)
        statistics.fold(wait=True)
    statistics.pending.append(read(run, 10**9, 500, 33))
    calls, rows, nanoseconds = totals(statistics)
    assert (calls, rows, nanoseconds) == (51, 50 + 33, 1_500 + 50 * 5_000)


@pytest.mark.exhaustive
def test_a_million_distinct_shapes_stay_bounded_and_exact() -> None:
    statistics = Statistics(1_000)
    for number in range(1_000_000):
        aggregate = statistics.aggregate(DATABASE, f"SELECT c{number}", None)
        statistics.pending.append(whole(aggregate, 10**9, 1_000, 1))
        if not number % 256:
            statistics.fold(wait=False)
    assert totals(statistics) == (1_000_000, 1_000_000, 1_000_000_000)
    assert len(statistics.stats()) <= 1_001
    assert statistics.evicted >= 999_000


def test_a_flood_of_texts_through_an_engine_stays_bounded_and_exact() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, max_fingerprints=100, explain=False)
    with engine.connect() as connection:
        for number in range(20_000):
            connection.execute(text(f"SELECT 1 AS c{number}")).all()
    snapshot = perf.snapshot()
    assert (snapshot.calls, sum(query.rows for query in snapshot.queries)) == (20_000, 20_000)
    assert len(snapshot.queries) <= 101
    assert snapshot.health.evicted_fingerprints >= 19_900
    assert len(perf.statistics._canonical) <= 200
    perf.uninstall()
    engine.dispose()


# Threads


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns a hundred times as often: more happens in between, in less time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 100)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, work) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.exhaustive
def test_sixteen_threads_with_100_000_executions_each_are_counted_exactly() -> None:
    statistics = Statistics(50)
    shapes = [statistics.aggregate(DATABASE, f"SELECT c{number}", None) for number in range(100)]

    def work(thread: int) -> None:
        append = statistics.pending.append
        for number in range(100_000):
            append(whole(shapes[(number * 7 + thread) % 100], 10**9, 1_000, 1))
            if len(statistics.pending) >= 256:
                statistics.fold(wait=False)

    in_threads(16, work)
    assert totals(statistics) == (1_600_000, 1_600_000, 1_600_000_000)
    assert sum(one.histogram.total() for one in statistics.stats()) == 1_600_000


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("capture", ["dialect_events", "cursor_events"])
def test_sixteen_threads_on_an_engine_are_counted_exactly(capture: str) -> None:
    engine = create_engine("sqlite://", pool_size=16)
    perf = sa_perf.install(engine, capture=capture, explain=False)
    statements = [select(literal(1).label(f"c{number}")) for number in range(5)]

    def work(thread: int) -> None:
        with engine.connect() as connection:
            for number in range(2_500):
                connection.execute(statements[number % 5]).all()

    in_threads(16, work)
    snapshot = perf.snapshot()
    counted = sorted((query.calls, query.rows) for query in snapshot.queries)
    assert counted == [(8_000, 8_000)] * 5
    assert snapshot.health.faults == 0
    perf.uninstall()
    engine.dispose()


@pytest.mark.usefixtures("hasty_threads")
def test_readings_while_others_record_never_go_back() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    perf = sa_perf.install(engine, explain=False)
    done = threading.Event()
    calls: list[int] = []

    def read() -> None:
        while not done.is_set():
            snapshot = perf.snapshot()
            calls.append(snapshot.calls)
            for query in snapshot.queries:
                assert query.histogram.total() == query.calls
                assert query.min_seconds <= query.p50_seconds <= query.max_seconds

    def work() -> None:
        try:
            with engine.connect() as connection:
                for number in range(300):
                    connection.execute(text(f"SELECT 1 AS c{number % 20}")).all()
        finally:
            done.set()

    in_threads(2, lambda number: read() if number else work())
    assert calls == sorted(calls)
    assert perf.snapshot().calls == 300
    perf.uninstall()


def test_a_frozen_reading_does_not_change() -> None:
    statistics = Statistics(10)
    add(statistics, "SELECT ?")
    statistics.fold(wait=True)
    (before,) = statistics.stats()
    add(statistics, "SELECT ?", execute=5_000_000)
    statistics.fold(wait=True)
    assert (before.calls, before.histogram.total()) == (1, 1)


def test_forgetting_empties_everything() -> None:
    statistics = Statistics(10)
    for number in range(30):
        add(statistics, f"SELECT c{number}")
        statistics.fold(wait=True)
    add(statistics, "SELECT pending")
    statistics.clear()
    assert totals(statistics) == (0, 0, 0)
    assert (statistics.evicted, statistics.scope_stats()) == (0, ())


def test_a_scope_end_is_about_no_statement() -> None:
    from sa_perf.queries.scopes import ScopeRun

    statistics = Statistics(10)
    run = ScopeRun("a", None)
    statistics.pending.append(run)
    statistics.fold(wait=True)
    assert statistics.stats() == ()
    assert [(one.name, one.runs) for one in statistics.scope_stats()] == [("a", 1)]


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_percentiles_stay_between_the_shortest_and_the_longest(ratio: float) -> None:
    statistics = Statistics(10)
    for execute in (1_001, 2_002, 900_000):
        add(statistics, "SELECT ?", execute=execute)
    statistics.fold(wait=True)
    (one,) = statistics.stats()
    assert one.min_seconds <= one.percentile_seconds(ratio) <= one.max_seconds
