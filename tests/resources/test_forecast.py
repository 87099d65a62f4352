from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.resources.forecast import forecast

HOUR, DAY = 3_600.0, 86_400.0


def grown(
    hours: int, per_day: float, *, start: float = 100.0, noise: float = 0.0, seed: int = 1
) -> list[tuple[float, float]]:
    """Hourly samples that grow evenly, with noise of a normal distribution."""
    source = random.Random(seed)
    return [
        (hour * HOUR, start + per_day * hour / 24 + source.gauss(0, noise)) for hour in range(hours)
    ]


def test_even_growth_is_carried_on() -> None:
    found = forecast(grown(97, 10), limit=200)
    assert found.per_day == pytest.approx(10)
    assert found.in_seconds == pytest.approx(6 * DAY)
    assert found.earliest_seconds == pytest.approx(6 * DAY)
    assert found.latest_seconds == pytest.approx(6 * DAY)
    assert (found.samples, found.span_seconds, found.limit) == (97, 4 * DAY, 200)


def test_the_interval_holds_the_truth_in_95_of_100_series() -> None:
    held = 0
    for seed in range(60):
        found = forecast(grown(97, 10, noise=4, seed=seed), limit=200)
        assert found.in_seconds == pytest.approx(6 * DAY, rel=0.2)
        assert found.earliest_seconds < found.in_seconds < (found.latest_seconds or math.inf)
        held += found.earliest_seconds <= 6 * DAY <= (found.latest_seconds or math.inf)
    assert held >= 54


def test_wild_values_do_not_matter() -> None:
    samples = grown(97, 10)
    for at in range(5, 97, 10):
        samples[at] = (samples[at][0], samples[at][1] * (3 if at % 20 else 0))
    found = forecast(samples, limit=200)
    assert found.per_day == pytest.approx(10, rel=0.05)


def test_after_rows_were_deleted_only_what_follows_counts() -> None:
    before = grown(60, 24, start=100)
    after = [(at + 60 * HOUR, value) for at, value in grown(37, 24, start=50)]
    found = forecast(before + after, limit=110)
    assert found.samples == 37
    assert found.per_day == pytest.approx(24)
    assert found.in_seconds == pytest.approx(DAY)  # at 86 after 36 hours


def test_a_load_of_much_at_once_is_no_growth() -> None:
    before = grown(60, 2.4, start=100)
    after = [(at + 60 * HOUR, value) for at, value in grown(37, 2.4, start=500)]
    found = forecast(before + after, limit=510)
    assert found.samples == 37
    assert found.per_day == pytest.approx(2.4)


def test_right_after_a_step_there_is_nothing_to_say() -> None:
    before = grown(60, 24, start=100)
    after = [(at + 60 * HOUR, value) for at, value in grown(5, 24, start=50)]
    assert forecast(before + after, limit=110) is None


def test_loads_that_recur_are_the_growth() -> None:
    samples = [(hour * HOUR, 100.0 + 20 * (hour // 24)) for hour in range(8 * 24)]
    found = forecast(samples, limit=300)
    assert found.per_day == pytest.approx(20, rel=0.15)


def test_what_is_purged_each_night_and_does_not_grow_is_never_full() -> None:
    samples = [(hour * HOUR, 100.0 + 3 * (hour % 24)) for hour in range(10 * 24)]
    assert forecast(samples, limit=175) is None


def test_what_is_purged_each_night_and_grows_is_full_at_a_peak() -> None:
    samples = [(hour * HOUR, 100.0 + 2 * (hour % 24) + 10 * (hour // 24)) for hour in range(240)]
    found = forecast(samples, limit=286)
    # Peaks of 146, 156, ... 236 at the ends of the days: 286 is five days away.
    assert found.per_day == pytest.approx(10)
    assert found.in_seconds == pytest.approx(5 * DAY, rel=0.05)


def test_two_purges_are_too_few_to_tell() -> None:
    samples = [(hour * HOUR, 100.0 + 2 * (hour % 24)) for hour in range(72)]
    assert forecast(samples, limit=160) is None


@pytest.mark.parametrize(
    ("samples", "limit"),
    [
        ([], 200),
        (grown(11, 10), 200),
        (grown(97, 0), 200),
        (grown(97, -10), 200),
        (grown(97, 10), 130),
        (grown(97, 0.01), 200),
    ],
    ids=["nothing", "too few", "flat", "shrinking", "passed already", "too far away"],
)
def test_where_the_data_cannot_say_there_is_silence(samples, limit) -> None:
    assert forecast(samples, limit) is None


def test_noise_alone_is_no_growth() -> None:
    told = sum(forecast(grown(97, 0, noise=8, seed=n), limit=140) is not None for n in range(100))
    assert told <= 5


def test_a_random_walk_is_mostly_no_growth() -> None:
    told = 0
    for seed in range(100):
        source, value, walk = random.Random(seed), 100.0, []
        for hour in range(97):
            value += source.gauss(0, 1)
            walk.append((hour * HOUR, value))
        told += forecast(walk, limit=200) is not None
    assert told <= 15


def test_what_is_not_finite_or_out_of_order_is_left_out() -> None:
    samples = grown(97, 10)
    odd = [*samples[:50], (math.nan, 1.0), (10.0, 5.0), (49 * HOUR, 9.0), *samples[50:]]
    odd.insert(20, (19.5 * HOUR, math.inf))
    assert forecast(odd, limit=200) == forecast(samples, limit=200)


def test_many_samples_are_thinned_and_say_the_same() -> None:
    minutes = [(minute * 60.0, 100 + 10 * minute / 1_440) for minute in range(4 * 1_440 + 1)]
    found = forecast(minutes, limit=200)
    assert found.samples == 5_761
    assert found.in_seconds == pytest.approx(6 * DAY, rel=0.01)


@given(
    st.lists(st.floats(-1e12, 1e12), max_size=60),
    st.floats(-1e12, 1e12, allow_nan=False),
)
def test_whatever_comes_the_interval_holds_the_forecast(values, limit) -> None:
    found = forecast([(at * HOUR, value) for at, value in enumerate(values)], limit)
    if found is not None:
        assert 0 <= found.earliest_seconds <= found.in_seconds
        assert found.latest_seconds is None or found.in_seconds <= found.latest_seconds
        assert found.per_day > 0


@given(st.floats(0.1, 1e9), st.floats(1.0, 5.0), st.integers(24, 200))
def test_scale_does_not_matter(scale, factor, hours) -> None:
    limit = 100 + 10 * hours / 24 * factor
    samples = grown(hours, 10)
    scaled = [(at, value * scale) for at, value in samples]
    one, other = forecast(samples, limit), forecast(scaled, limit * scale)
    assert (one is None) == (other is None)
    if one is not None:
        assert other.in_seconds == pytest.approx(one.in_seconds, rel=1e-6, abs=1)
