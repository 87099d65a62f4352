from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, event, text, update
from stored_world import LABEL, NOON, StoredWorld, at, histogram_of

from sa_perf.call_site import CallSite
from sa_perf.errors import MissingTables, SaPerfError, StoreError
from sa_perf.histogram import Histogram
from sa_perf.plans.results import ExplainedStatement
from sa_perf.queries.repeats import RepeatStats
from sa_perf.snapshot import Snapshot
from sa_perf.store import tables
from sa_perf.store.reading import StoreReader
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE
from sa_perf.tables import metadata

REPEAT = RepeatStats(
    kind="lazy_load", fingerprint="customer", database=LABEL, entity="Order", attribute="customer",
    occurrences=2, calls=20, max_calls=10, total_seconds=0.2, wasted_seconds=0.18,
    remedy="selectinload(Order.customer)",
)  # fmt: skip


@pytest.fixture
def world(sqlite_database) -> StoredWorld:
    """A store with a process that is still silent."""
    made = StoredWorld(sqlite_database.engine())
    made.process()
    return made


@pytest.fixture
def anywhere(shared_db) -> Iterator[StoredWorld]:
    """The same on every database."""
    made = StoredWorld(shared_db.engine())
    made.process()
    yield made
    metadata.drop_all(made.engine)
    shared_db.close()


def histogram(*milliseconds: float) -> Histogram:
    return histogram_of(milliseconds)


def test_all_processes_and_widths_are_added_up(anywhere: StoredWorld) -> None:
    anywhere.process(host="web-2", service="jobs", pid=7)
    orders, customer = anywhere.statement("orders"), anywhere.statement("customer")
    anywhere.roll(hours=NOON - HOUR, days=NOON - 12 * HOUR)
    anywhere.ran(orders, NOON - 12 * HOUR - DAY, [100], process=MERGED, width=DAY)
    anywhere.ran(orders, NOON - 12 * HOUR - DAY, [900], process=1, width=DAY)
    anywhere.ran(orders, NOON - 2 * HOUR, [10, 20], process=MERGED, width=HOUR)
    anywhere.ran(orders, NOON - 2 * HOUR, [40], process=2, width=HOUR)
    anywhere.ran(orders, NOON - 90 * MINUTE, [10, 20])  # added up in the hour already
    anywhere.ran(orders, NOON - MINUTE, [30, 50], process=1, errors=1, last_error="Timeout")
    anywhere.ran(orders, NOON - MINUTE, [70], process=2, fetch_seconds=0.01)
    anywhere.ran(customer, NOON - MINUTE, [1])

    snapshot = StoreReader(anywhere.engine).window(at(NOON - 3 * DAY))

    assert [one.fingerprint for one in snapshot.queries] == ["ordersxxxxxxxxxx", "customerxxxxxxxx"]
    found = snapshot.queries[0]
    durations = (100, 900, 10, 20, 40, 30, 50, 70)
    assert (found.calls, found.rows, found.executions, found.errors) == (8, 24, 8, 1)
    assert found.total_seconds == 1.22
    assert (found.min_seconds, found.max_seconds, found.fetch_seconds) == (0.01, 0.9, 0.01)
    assert found.sum_squares == pytest.approx(sum((one / 1e3) ** 2 for one in durations))
    assert (found.database, found.kind, found.last_error) == (LABEL, "select", "Timeout")
    assert found.histogram == histogram(*durations)
    assert found.last_seen == at(NOON - MINUTE + 0.5)
    assert snapshot.started_at == at(NOON - 12 * HOUR - DAY)
    assert snapshot.taken_at == at(NOON)
    assert (snapshot.processes, snapshot.pid) == (2, 7)
    assert (snapshot.service, snapshot.host) == ("jobs, shop", "web-1, web-2")
    assert snapshot.slow_seconds == 0.2
    assert [one.label for one in snapshot.databases] == [LABEL]
    assert snapshot.health.faults == 2
    assert {type(one) for query in snapshot.queries for one in (query.calls, query.rows)} == {int}


def test_scopes_and_transactions_are_added_up(anywhere: StoredWorld) -> None:
    for moment in (NOON - 2 * MINUTE, NOON - MINUTE):
        anywhere.scope("GET /orders", moment, 5, 0.5)
        anywhere.transaction(moment, [1, 2])
    anywhere.scope("GET /orders", NOON - 2 * HOUR, 5, 0.5)
    anywhere.ran(anywhere.statement("orders"), NOON - MINUTE, [1])

    snapshot = StoreReader(anywhere.engine).window(at(NOON - HOUR))

    (scope,) = snapshot.scopes
    assert (scope.name, scope.runs, scope.statements, scope.max_statements) == (
        "GET /orders", 10, 40, 4,
    )  # fmt: skip
    assert (scope.database_seconds, scope.total_seconds) == (1.0, 2.0)
    assert (scope.max_database_seconds, scope.rows) == (0.1, 90)
    assert (snapshot.transactions.commits, snapshot.transactions.rollbacks) == (4, 0)
    assert snapshot.transactions.total_seconds == 0.006
    assert snapshot.transactions.max_seconds == 0.002
    assert snapshot.transactions.histogram == histogram(1, 2, 1, 2)


def test_a_window_has_both_ends(world: StoredWorld) -> None:
    orders = world.statement("orders")
    for minutes in (1, 2, 3, 4):
        world.ran(orders, NOON - minutes * MINUTE, [float(minutes)])
    reader = StoreReader(world.engine)
    assert reader.window().calls == 4
    between = reader.window(at(NOON - 3 * MINUTE), at(NOON - MINUTE))
    assert between.queries[0].histogram == histogram(2, 3)
    assert between.started_at == at(NOON - 3 * MINUTE)
    assert between.taken_at == at(NOON - MINUTE)
    assert reader.window(at(NOON - 3 * MINUTE) + timedelta(seconds=0.5)).calls == 2


@pytest.mark.parametrize("kept", [True, False])
def test_the_first_hour_is_cut_to_the_minute_while_all_of_it_is_kept(
    world: StoredWorld, kept: bool
) -> None:
    orders = world.statement("orders")
    world.ran(orders, NOON - 100 * MINUTE, [1, 2, 3], process=MERGED, width=HOUR)
    world.roll(hours=NOON - HOUR)
    if kept:
        world.ran(orders, NOON - 100 * MINUTE, [1])
    world.ran(orders, NOON - 80 * MINUTE, [2, 3])
    world.ran(orders, NOON - MINUTE, [4])
    reader = StoreReader(world.engine)
    cut = at(NOON - 90 * MINUTE)
    expected = [1, 3] if kept else [3, 1]
    assert [reader.window(None, cut).calls, reader.window(cut).calls] == expected
    began = NOON - 100 * MINUTE if kept else NOON - 2 * HOUR
    assert reader.window().started_at == at(began)


def test_histograms_are_read_by_blocks_when_one_is_looked_into(world: StoredWorld) -> None:
    for number in range(70):
        world.ran(world.statement(f"t{number}"), NOON - MINUTE, [100 - number])
    asked: list[str] = []
    event.listen(
        world.engine, "before_cursor_execute", lambda *given: asked.append(given[2]), named=False
    )
    snapshot = StoreReader(world.engine).window(at(NOON - HOUR))
    of_histograms = lambda: sum("histogram" in one and "statement_id" in one for one in asked)  # noqa: E731
    assert of_histograms() == 0
    assert [round(one.p50_seconds, 3) for one in snapshot.top_queries(20)][:2] == [0.1, 0.099]
    assert of_histograms() == 1
    ranked = snapshot.top_queries(70, by="p95_seconds")
    assert [one.statement for one in ranked] == [one.statement for one in snapshot.queries]
    assert of_histograms() == 3
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    merged = Snapshot.merge([snapshot, snapshot])
    assert merged.queries[0].histogram == histogram(100, 100)
    assert of_histograms() == 3


def test_a_read_histogram_can_be_copied_and_changed_as_any_other(world: StoredWorld) -> None:
    world.ran(world.statement("orders"), NOON - MINUTE, [10])
    first = StoreReader(world.engine).window().queries[0].histogram
    first.add(20_000_000)
    assert first == histogram(10, 20)
    second = StoreReader(world.engine).window().queries[0].histogram
    copied = second.copy()
    copied.merge(first)
    assert (copied.total(), second.total()) == (3, 1)
    third = StoreReader(world.engine).window()
    assert pickle.loads(pickle.dumps(third)) == third  # noqa: S301  # our own
    with pytest.raises(AttributeError):
        _ = second.nothing  # type: ignore[attr-defined]


def test_a_blob_that_cannot_be_read_is_left_out_and_counted(world: StoredWorld) -> None:
    orders = world.statement("orders")
    world.ran(orders, NOON - MINUTE, [10, 20])
    world.ran(orders, NOON - MINUTE, [30], histogram=b"\x01broken")
    world.transaction(NOON - MINUTE, [1], histogram=b"")
    reader = StoreReader(world.engine)
    snapshot = reader.window()
    assert snapshot.queries[0].calls == 3
    assert snapshot.queries[0].histogram == histogram(10, 20)
    assert reader.warnings() == ("2 histograms in the store cannot be read; left out",)


def test_what_is_known_beside_sums_is_read_with_its_findings(world: StoredWorld) -> None:
    orders = world.statement("orders")
    world.ran(orders, NOON - MINUTE, [500])
    world.slow(orders, NOON - 30, 0.5)
    world.slow(orders, NOON - 20, 0.7, call_site=None, scope="[]")
    world.slow(orders, NOON - DAY, 0.6)
    world.document("repeats", REPEAT, identity="1")
    world.document("repeats", REPEAT, identity="2")
    world.document("repeats", REPEAT, identity="3", seen_at=NOON - DAY)
    plan = {"plan": None, "findings": (), "error": "no", "duration_seconds": 0.5}
    for identity, name in (("1", "orders"), ("2", "others")):
        explained = ExplainedStatement(
            fingerprint=f"{name:x<16}", database=LABEL, explained_at=at(NOON - 3 * DAY), **plan
        )  # fmt: skip
        world.document("plans", explained, identity=identity, seen_at=NOON - 3 * DAY)

    snapshot = StoreReader(world.engine).window(at(NOON - HOUR))

    assert [one.duration_seconds for one in snapshot.slow] == [0.7, 0.5]
    assert snapshot.slow[1].call_site == CallSite(file="shop/views.py", line=42, function="orders")
    assert snapshot.slow[1].scope == ("GET /orders",)
    assert (snapshot.slow[0].call_site, snapshot.slow[0].scope) == (None, ())
    assert [(one.calls, one.occurrences) for one in snapshot.repeats] == [(40, 4)]
    assert [one.kind for one in snapshot.findings] == ["n_plus_one"]
    # What is known of a statement last holds, however old; others did not run in the window.
    assert [one.fingerprint for one in snapshot.plans] == ["ordersxxxxxxxxxx"]
    without = StoreReader(world.engine).window(at(NOON - HOUR), documents=False)
    assert (without.slow, without.repeats, without.findings) == ((), (), ())
    assert without.queries == snapshot.queries


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"kind": 7}', "[" * 100_000])
def test_a_document_that_cannot_be_read_is_left_out_and_counted(
    world: StoredWorld, document: str
) -> None:
    orders = world.statement("orders")
    world.ran(orders, NOON - MINUTE, [500])
    world.slow(orders, NOON - 30, 0.5, call_site=document)
    world.document("repeats", document)
    world.process(facts=document)
    reader = StoreReader(world.engine)
    snapshot = reader.window()
    assert (snapshot.repeats, snapshot.slow, snapshot.processes) == ((), (), 2)
    expected = 2 if document.startswith("{") else 3  # facts may all be missing
    assert reader.warnings() == (f"{expected} documents in the store cannot be read; left out",)


def test_losses_and_texts_that_are_gone_are_told(world: StoredWorld) -> None:
    world.ran(77, NOON - MINUTE, [1])
    world.ran(world.statement("orders"), NOON - MINUTE, [1])
    world.process(lost_flushes=2, lost_calls=30)
    reader = StoreReader(world.engine)
    assert reader.window().calls == 1
    texts, lost = reader.warnings()
    assert texts == "1 texts of statements in the store cannot be read; left out"
    assert lost.startswith("30 executions of 2 flushes never reached the store")


def test_processes_of_other_times_are_not_counted(world: StoredWorld) -> None:
    world.ran(world.statement("orders"), NOON - MINUTE, [1])
    world.process(seen_at=NOON - DAY, host="old")
    world.process(started_at=NOON + 1, host="new")
    snapshot = StoreReader(world.engine).window(at(NOON - HOUR), at(NOON))
    assert (snapshot.processes, snapshot.host) == (1, "web-1")


def test_an_empty_store_and_an_empty_window_say_what_there_is(world: StoredWorld) -> None:
    reader = StoreReader(world.engine)
    with pytest.raises(StoreError, match="the store is empty: no process has flushed yet"):
        reader.window()
    world.ran(world.statement("orders"), NOON - MINUTE, [1])
    asked = "between 2026-11-22 12:00 UTC and 2026-11-22 13:00 UTC"
    there = "oldest span begins at 2026-11-23 11:59 UTC, the newest ends at 2026-11-23 12:00 UTC"
    with pytest.raises(StoreError, match=f"nothing was flushed {asked}; the {there}"):
        reader.window(at(NOON - DAY), at(NOON - DAY + HOUR))
    with pytest.raises(StoreError, match="nothing was flushed since 2026-11-23 13:00 UTC"):
        reader.window(at(NOON + HOUR))


def test_the_last_deploy_is_when_the_newest_release_came(world: StoredWorld) -> None:
    reader = StoreReader(world.engine)
    with pytest.raises(StoreError, match="no process has told its release"):
        reader.last_deploy()
    for release, ago in (("1.0", 50), ("1.1", 9), ("1.1", 20), ("1.0", 5)):
        world.process(release_name=release, started_at=NOON - ago)
    assert reader.last_deploy() == ("1.1", at(NOON - 20))


def test_a_store_that_cannot_be_read_says_what_to_do(sqlite_database, tmp_path) -> None:
    with pytest.raises(MissingTables, match="sa-perf db upgrade"):
        StoreReader(sqlite_database.engine()).window()
    absent = f"sqlite:///{tmp_path / 'absent.db'}"
    with pytest.raises(SaPerfError, match="there is no file"):
        StoreReader(absent).window()
    assert not (tmp_path / "absent.db").exists()
    (tmp_path / "other.db").write_text("no database" * 100)
    with pytest.raises(StoreError, match=r"the store at sqlite:///.*other.db cannot be read"):
        StoreReader(f"sqlite:///{tmp_path / 'other.db'}").window()


@pytest.mark.postgresql
def test_a_store_that_is_away_is_told_without_its_password() -> None:
    url = "postgresql+psycopg://shop:secret@localhost:1/perf?connect_timeout=1"
    with pytest.raises(StoreError, match=r"the store at .*localhost:1/perf cannot be read") as told:
        StoreReader(url).window()
    assert "secret" not in str(told.value)


def test_an_asynchronous_url_can_be_read(world: StoredWorld) -> None:
    pytest.importorskip("aiosqlite")
    world.ran(world.statement("orders"), NOON - MINUTE, [10])
    url = str(world.engine.url).replace("sqlite:", "sqlite+aiosqlite:")
    snapshot = StoreReader(url).window()
    assert snapshot.queries[0].p50_seconds == 0.01


def test_nothing_is_written_and_a_connection_is_left_as_it_was(world: StoredWorld) -> None:
    world.ran(world.statement("orders"), NOON - MINUTE, [10])
    with world.engine.connect() as connection:
        assert StoreReader(connection).window().queries[0].p50_seconds == 0.01
        assert not connection.in_transaction()
    file = world.engine.url.database
    read_only = create_engine(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert StoreReader(read_only).window().calls == 1
    read_only.dispose()


def test_moments_have_a_zone(world: StoredWorld) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        StoreReader(world.engine).window(at(NOON).replace(tzinfo=None))


def test_a_statement_that_only_failed_to_fetch_has_no_durations(world: StoredWorld) -> None:
    world.ran(world.statement("orders"), NOON - MINUTE, [], errors=1)
    (found,) = StoreReader(world.engine).window().queries
    assert (found.calls, found.errors, found.min_seconds, found.p95_seconds) == (0, 1, 0.0, 0.0)


def test_rows_of_a_roll_under_way_do_not_count(world: StoredWorld) -> None:
    orders = world.statement("orders")
    world.roll(hours=NOON - HOUR)
    world.ran(orders, NOON - 30 * MINUTE, [10])
    world.ran(orders, NOON - 30 * MINUTE, [10], process=MERGED, width=HOUR)
    reader = StoreReader(world.engine)
    assert reader.window().calls == 1
    with world.engine.begin() as connection:
        connection.execute(
            update(tables.levels).where(tables.levels.c.width == HOUR).values(rolled_at=NOON)
        )
        connection.execute(text("DELETE FROM sa_perf_store_query_minute"))
    assert reader.window().calls == 1
