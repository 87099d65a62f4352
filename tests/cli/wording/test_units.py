from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.cli.wording.units import count, duration, moment, percent


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 µs"),
        (0.0000004, "0.4 µs"),
        (0.000_82, "820 µs"),
        (0.000_999_7, "1.0 ms"),
        (0.0012, "1.2 ms"),
        (0.0999, "99.9 ms"),
        (0.123, "123 ms"),
        (0.9999, "1.0 s"),
        (3.4, "3.4 s"),
        (59.6, "1 min"),
        (125.0, "2 min 5 s"),
        (3_600.0, "1 h"),
        (11_520.0, "3 h 12 min"),
        (90_000.0, "1 d 1 h"),
        (86_400.0 * 3_000, "3,000 d"),
        (-0.5, "-500 ms"),
        (float("nan"), "?"),
        (float("inf"), "?"),
    ],
)
def test_a_duration_reads_in_the_unit_that_fits(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_is_a_duration_of_at_most_a_few_words(seconds: float) -> None:
    assert 1 <= len(duration(seconds).split()) <= 4


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (1_234_567, "1,234,567"), (246.6, "246.6"), (5.0, "5"), (float("nan"), "?")],
)
def test_a_count_has_separators_at_the_thousands(number: float, shown: str) -> None:
    assert count(number) == shown


def test_a_share_is_shown_in_per_cent() -> None:
    assert [percent(0.2056), percent(1), percent(float("nan"))] == ["20.6 %", "100.0 %", "?"]


def test_a_moment_is_shown_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    assert moment(datetime(2026, 11, 23, 13, 0, 1, tzinfo=berlin)) == "2026-11-23 12:00:01 UTC"


def test_a_moment_at_the_end_of_the_calendar_does_not_fail() -> None:
    assert "9999" in moment(datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))
