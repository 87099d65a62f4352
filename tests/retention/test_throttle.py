"""Batches grow and shrink until they take their time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.retention.policy import BatchLimits
from sa_perf.retention.throttle import Throttle


def _throttle(**limits: float) -> Throttle:
    return Throttle(
        BatchLimits(**limits),  # type: ignore[arg-type]
        target_seconds=0.1,
        least_pause_ratio=0.25,
    )


@pytest.mark.parametrize("rows_a_second", [1_000, 50_000, 400_000])
def test_sizes_come_to_what_takes_somewhat_less_than_the_target(rows_a_second: int) -> None:
    throttle = _throttle(min_rows=50)
    for _ in range(15):
        throttle.took(throttle.rows, throttle.rows / rows_a_second)
    assert throttle.rows == pytest.approx(0.085 * rows_a_second, rel=0.05)


def test_one_slow_batch_halves_the_next_at_most() -> None:
    throttle = _throttle(first_rows=1_000)
    throttle.took(1_000, 30.0)
    assert throttle.rows == 500


def test_a_batch_of_fewer_rows_than_asked_for_does_not_let_sizes_grow() -> None:
    throttle = _throttle(first_rows=1_000)
    throttle.took(3, 0.0001)
    assert throttle.rows == 1_000


def test_a_slow_batch_of_fewer_rows_than_asked_for_halves_sizes() -> None:
    throttle = _throttle(first_rows=1_000)
    throttle.took(0, 5.0)
    assert throttle.rows == 500


def test_a_batch_that_met_a_lock_makes_the_next_one_smaller() -> None:
    throttle = _throttle(first_rows=1_000)
    throttle.failed()
    assert throttle.rows == 500


def test_the_databases_pause_is_the_least() -> None:
    assert _throttle(pause_ratio=0.0).took(10, 2.0) == 0.5
    assert _throttle(pause_ratio=1.5).took(10, 2.0) == 3.0


def test_the_policys_target_goes_before_the_databases() -> None:
    assert _throttle().target_seconds == 0.1
    assert _throttle(target_seconds=2.0).target_seconds == 2.0


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1_000))))
def test_sizes_keep_to_their_bounds_and_change_step_by_step(taken: list[tuple[int, float]]) -> None:
    throttle = _throttle(first_rows=100, min_rows=10, max_rows=5_000)
    for rows, seconds in taken:
        before = throttle.rows
        throttle.took(rows, seconds)
        assert 10 <= throttle.rows <= 5_000
        assert before // 2 <= throttle.rows <= before * 8 + 8
