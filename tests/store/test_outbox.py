"""Batches that wait: in order, bounded, tried again after longer and longer pauses."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from sa_perf.histogram import Histogram
from sa_perf.queries.aggregate import QueryStats
from sa_perf.store.batch import Batch
from sa_perf.store.outbox import Outbox

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def batch(number: int, queries: int = 1, calls: int = 3) -> Batch:
    one = QueryStats(
        fingerprint="a" * 16, statement="SELECT ?", database="d", kind="select", calls=calls,
        errors=0, rows=0, total_seconds=1.0, min_seconds=0.1, max_seconds=0.5, fetch_seconds=0.0,
        sum_squares=1.0, executions=calls, parameter_sets=calls, first_seen=NOON, last_seen=NOON,
        histogram=Histogram(),
    )  # fmt: skip
    return Batch(number=number, began_at=0, taken_at=1.0, facts="{}", queries=(one,) * queries)


def outbox(max_rows: int = 100) -> Outbox:
    return Outbox(max_rows, draw=lambda: 0.0)


def test_batches_go_in_their_order() -> None:
    box = outbox()
    for number in (1, 2, 3):
        box.add(batch(number))
    gone = []
    while (first := box.first()) is not None:
        gone.append(first.number)
        box.stored(first)
    assert (gone, len(box), box.lost_flushes) == ([1, 2, 3], 0, 0)


def test_nothing_is_lost_up_to_the_bound_and_what_is_lost_beyond_is_counted() -> None:
    box = outbox(max_rows=10)  # a batch of one query is two rows
    for number in range(1, 6):
        box.add(batch(number))
    assert (len(box), box.lost_flushes, box.lost_calls) == (5, 0, 0)
    box.add(batch(6, calls=7))
    box.add(batch(7))
    assert box.first().number == 3
    assert (len(box), box.lost_flushes, box.lost_calls) == (5, 2, 6)


def test_the_newest_batch_waits_however_large_it_is() -> None:
    box = outbox(max_rows=10)
    box.add(batch(1))
    box.add(batch(2, queries=50))
    assert (box.first().number, box.lost_flushes) == (2, 1)


def test_a_batch_that_was_dropped_while_it_was_sent_takes_no_other_along() -> None:
    box = outbox(max_rows=5)
    box.add(batch(1))
    under_way = box.first()
    box.add(batch(2))
    box.add(batch(3))
    assert box.lost_flushes == 1
    box.stored(under_way)
    assert [box.first().number, len(box)] == [2, 2]


def test_pauses_grow_up_to_five_minutes_and_end_with_a_success() -> None:
    box = outbox()
    box.add(batch(1))
    now, pauses = 0.0, []
    for _ in range(9):
        box.failed(box.first(), now, refused=False)
        assert not box.is_due(now)
        pause = next(seconds for seconds in range(1, 400) if box.is_due(now + seconds))
        pauses.append(pause)
        now += pause
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    box.stored(box.first())
    box.add(batch(2))
    assert box.is_due(now)


def test_processes_do_not_come_back_all_at_once() -> None:
    early, late = Outbox(draw=lambda: 1.0), Outbox(draw=lambda: 0.0)
    for box in (early, late):
        box.add(batch(1))
        box.failed(box.first(), 0.0, refused=False)
    assert early.is_due(2.5)
    assert not late.is_due(4.9)


def test_a_batch_that_is_refused_time_and_again_does_not_hold_up_the_others() -> None:
    box = outbox()
    box.add(batch(1, calls=9))
    box.add(batch(2))
    for _ in range(5):
        assert box.first().number == 1
        box.failed(box.first(), 0.0, refused=True)
    assert (box.first().number, box.lost_flushes, box.lost_calls) == (2, 1, 9)


def test_a_store_that_is_away_loses_nothing() -> None:
    box = outbox()
    box.add(batch(1))
    for _ in range(50):
        box.failed(box.first(), 0.0, refused=False)
    assert (len(box), box.lost_flushes) == (1, 0)


@pytest.mark.parametrize("refusals", [1, 4])
def test_refusals_count_only_in_a_row(refusals: int) -> None:
    box = outbox()
    box.add(batch(1))
    for _ in range(3):
        for _ in range(refusals):
            box.failed(box.first(), 0.0, refused=True)
        box.failed(box.first(), 0.0, refused=False)
    assert len(box) == 1
