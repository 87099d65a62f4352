"""Minutes become hours and hours days, and every execution still counts once."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from sqlalchemy import Connection, select, update
from store_world import NOON, Store, Worker

from sa_perf import Snapshot
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.transactions import TransactionStats
from sa_perf.store import levels as rolling
from sa_perf.store import tables
from sa_perf.store.histogram_blob import from_blob
from sa_perf.store.keeping import keep_small
from sa_perf.store.levels import Rolled, roll_up
from sa_perf.store.reading import StoreReader
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE

#: So long after the end of an hour it is rolled up.
LATER = 240


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def read(store: Store, begin: int, end: int) -> Snapshot:
    return StoreReader(store.engine).window(at(begin), at(end))


def sums(snapshot: Snapshot) -> dict[str, tuple]:
    return {
        one.statement: (
            one.calls, one.rows, round(one.total_seconds, 6), one.min_seconds, one.max_seconds,
            one.first_seen, one.last_seen, one.p50_seconds, one.p99_seconds,
        )
        for one in snapshot.queries
    }  # fmt: skip


def work_for(store: Store, minutes: int, *workers: Worker) -> int:
    """Some work in eight of these minutes, and a flush of each worker after it."""
    chosen = range(0, minutes, -(-minutes // 8))
    for minute in chosen:
        store.clock.now = NOON + minute * MINUTE + 30
        for number, worker in enumerate(workers):
            worker.run("SELECT a", seconds=0.001 * (minute % 7 + 1), rows=number)
            worker.run(f"SELECT {minute % 3}", seconds=0.02 * (number + 1))
            worker.more = {
                "scopes": (
                    ScopeStats(
                        name="GET /", runs=1 + minute, statements=2, max_statements=2, rows=1,
                        database_seconds=0.1, max_database_seconds=0.1, total_seconds=1.0,
                    ),
                ),
                "transactions": TransactionStats(commits=minute + 1, total_seconds=1.0),
            }  # fmt: skip
            store.clock.now += 30
            assert worker.flush()
            store.clock.now -= 30
    return len(chosen) * len(workers)


def roll(store: Store, now: float) -> Rolled:
    return store.run(lambda connection: roll_up(connection, "me", now, sleep=lambda _: None))


def test_an_hour_holds_what_its_minutes_held(store: Store) -> None:
    flushes = work_for(store, 75, Worker(store), Worker(store, pid=2))
    before = read(store, NOON, NOON + 2 * HOUR)
    known = sums(before)
    assert before.calls == flushes * 2
    assert roll(store, NOON + HOUR + 60) == Rolled()
    assert roll(store, NOON + HOUR + LATER) == Rolled((NOON + HOUR,))
    assert {key[0] for key in store.rows(tables.queries[HOUR], "process_id")} == {MERGED}
    after = read(store, NOON, NOON + 2 * HOUR)
    assert sums(after) == known
    assert after.scopes == before.scopes
    assert after.transactions.commits == before.transactions.commits
    # Those of the hour are not needed any more.
    minutes = tables.queries[MINUTE]
    store.execute(minutes.delete().where(minutes.c.began_at < NOON + HOUR))
    assert sums(read(store, NOON, NOON + 2 * HOUR)) == known
    assert roll(store, NOON + HOUR + LATER) == Rolled()


def test_a_day_holds_what_its_hours_held_and_what_came_late(store: Store) -> None:
    day = NOON // DAY * DAY
    worker, late = Worker(store), Worker(store, pid=2)
    work_for(store, 3, worker)
    assert roll(store, NOON + HOUR + LATER) == Rolled((NOON + HOUR,))
    late.flusher._taken_at = store.clock.now = NOON + 90
    late.run("SELECT late")
    assert late.flush()
    assert store.rows(tables.queries[HOUR], "began_at", "process_id", "calls")[-1][0] == NOON
    known = sums(read(store, day, day + DAY))
    assert known["SELECT late"][0] == 1
    rolled = roll(store, day + DAY + LATER)
    assert rolled.ends[-1] == day + DAY
    assert {process for (process,) in store.rows(tables.queries[DAY], "process_id")} == {MERGED}
    assert sums(read(store, day, day + DAY)) == known


def test_whoever_is_stopped_halfway_is_followed(store: Store, monkeypatch) -> None:
    work_for(store, 61, Worker(store))
    known = sums(read(store, NOON, NOON + 2 * HOUR))
    monkeypatch.setattr(rolling, "_STATEMENTS_AT_ONCE", 1)

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    def halfway(connection: Connection) -> None:
        with pytest.raises(KeyboardInterrupt):
            roll_up(connection, "first", NOON + HOUR + LATER, sleep=stop)

    store.run(halfway)
    assert len(store.rows(tables.queries[HOUR])) == 1
    assert sums(read(store, NOON, NOON + 2 * HOUR)) == known
    # The first one may only be slow.
    now = NOON + HOUR + LATER
    assert roll(store, now) == Rolled()
    assert roll(store, now + 700) == Rolled((NOON + HOUR,))
    assert len(store.rows(tables.queries[HOUR])) == 4
    assert sums(read(store, NOON, NOON + 2 * HOUR)) == known


def test_whoever_is_overtaken_takes_nothing_back(store: Store) -> None:
    work_for(store, 61, Worker(store))
    known = sums(read(store, NOON, NOON + 2 * HOUR))
    now = NOON + HOUR + LATER

    def overtake(_: float) -> None:
        level = update(tables.levels).where(tables.levels.c.width == HOUR)
        store.execute(level.values(closed_at=NOON + 5 * HOUR, rolled_at=NOON + 5 * HOUR))

    store.run(lambda connection: roll_up(connection, "slow", now, sleep=overtake))
    assert (HOUR, NOON + 5 * HOUR, NOON + 5 * HOUR) in store.rows(
        tables.levels, "width", "closed_at", "rolled_at"
    )
    assert sums(read(store, NOON, NOON + HOUR)) == known


def test_a_blob_that_is_damaged_costs_its_histogram_and_no_more(store: Store) -> None:
    work_for(store, 4, Worker(store))
    minutes = tables.queries[MINUTE]
    store.execute(
        update(minutes).where(minutes.c.began_at == NOON).values(histogram=b"\x01damaged")
    )
    rolled = roll(store, NOON + HOUR + LATER)
    assert rolled == Rolled((NOON + HOUR,), unreadable=2)
    hours = store.rows(tables.queries[HOUR], "calls", "histogram")
    assert sum(calls for calls, _ in hours) == 8
    assert sum(from_blob(bytes(blob)).total() for _, blob in hours) == 6


def test_a_store_that_was_left_alone_catches_up_without_empty_spans(store: Store) -> None:
    work_for(store, 1, Worker(store))
    days = 40
    rolled = roll(store, NOON + days * DAY)
    assert rolled.ends[0] == NOON + HOUR
    for _ in range(3):
        roll(store, NOON + days * DAY)
    assert {began_at for (began_at,) in store.rows(tables.queries[HOUR], "began_at")} == {NOON}
    assert store.rows(tables.queries[DAY], "began_at")[0] == (NOON // DAY * DAY,)
    ((_, closed_at), (_, rolled_at)) = (
        store.rows(tables.levels, "width", name)[-1] for name in ("closed_at", "rolled_at")
    )
    assert closed_at == rolled_at >= NOON // DAY * DAY + DAY


def test_old_spans_are_deleted_by_our_own_policies(store: Store) -> None:
    worker = Worker(store)
    # Long before now by any clock, so that a server's own may be what it is.
    work_for(store, 2, worker)
    now = int(datetime.now(timezone.utc).timestamp())
    store.clock.now = worker.flusher._taken_at = now
    worker.run("SELECT now")
    assert worker.flush()
    work = Worker(store, pid=3)
    work.flusher._taken_at = store.clock.now = now - 26 * HOUR
    work.run("SELECT yesterday")
    assert work.flush()
    ended = store.run(keep_small)
    assert ended.ok, ended
    kept = {began_at for (began_at,) in store.rows(tables.queries[MINUTE], "began_at")}
    assert kept == {now // MINUTE * MINUTE}
    with store.engine.connect() as connection:
        assert connection.execute(select(tables.statements.c.id)).all()
