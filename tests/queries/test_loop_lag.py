"""How long an event loop was busy elsewhere, told by an injected clock."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from sa_perf.queries.loop_lag import LoopLag, loop_lag

TICK_NS = 5_000_000


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


class _Loop:
    """The part of an event loop that is used, with a hand to turn it."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, object]] = []
        self.closed = False

    def call_later(self, delay: float, callback) -> None:
        self.timers.append((delay, callback))

    def is_closed(self) -> bool:
        return self.closed

    def turn(self) -> None:
        """Run the timers that are set now."""
        timers, self.timers = self.timers, []
        for _, callback in timers:
            callback()


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def loop() -> _Loop:
    return _Loop()


@pytest.fixture
def lag(loop, clock) -> LoopLag:
    return LoopLag(loop, clock=clock)


def test_a_loop_on_time_is_not_late(lag, loop, clock) -> None:
    before = lag.reading_ns()
    for _ in range(10):
        clock.now += TICK_NS
        loop.turn()
    assert lag.reading_ns() - before == 0


def test_a_late_tick_counts_what_it_is_late(lag, loop, clock) -> None:
    before = lag.reading_ns()
    clock.now += TICK_NS + 20_000_000
    loop.turn()
    assert lag.reading_ns() - before == 20_000_000


def test_a_tick_that_is_still_due_counts_at_the_reading(lag, loop, clock) -> None:
    before = lag.reading_ns()
    clock.now += TICK_NS + 30_000_000
    assert lag.reading_ns() - before == 30_000_000
    loop.turn()
    assert lag.reading_ns() - before == 30_000_000


def test_lateness_adds_up(lag, loop, clock) -> None:
    before = lag.reading_ns()
    for late in (1_000_000, 0, 2_000_000):
        clock.now += TICK_NS + late
        loop.turn()
    assert lag.reading_ns() - before == 3_000_000


def test_the_timer_stops_when_nobody_reads(lag, loop, clock) -> None:
    lag.reading_ns()
    turns = 0
    while loop.timers:
        clock.now += TICK_NS
        loop.turn()
        turns += 1
    assert turns == 200


def test_the_timer_starts_again_with_the_next_reading(lag, loop, clock) -> None:
    lag.reading_ns()
    while loop.timers:
        clock.now += TICK_NS
        loop.turn()
    clock.now += 10**12  # nobody looked meanwhile, so nothing is known of that time
    before = lag.reading_ns()
    assert before == 0
    assert len(loop.timers) == 1
    clock.now += TICK_NS + 7_000_000
    loop.turn()
    assert lag.reading_ns() == 7_000_000


def test_one_timer_is_set_however_often_it_is_read(lag, loop) -> None:
    for _ in range(100):
        lag.reading_ns()
    assert len(loop.timers) == 1


def test_a_closed_loop_is_left_alone(lag, loop) -> None:
    loop.closed = True
    assert lag.reading_ns() == 0
    assert loop.timers == []


def test_outside_of_a_loop_there_is_no_lag() -> None:
    assert loop_lag() is None


def test_each_loop_has_its_own_lag_and_takes_it_along() -> None:
    async def own() -> LoopLag:
        assert loop_lag() is loop_lag()
        return loop_lag()

    first, second = asyncio.run(own()), asyncio.run(own())
    assert first is not second
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
