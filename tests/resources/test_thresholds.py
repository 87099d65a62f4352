from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.errors import InvalidSettings
from sa_perf.json_values import decoded, encoded
from sa_perf.resources.thresholds import LEVELS, Alert, Levels, Threshold

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
RATIOS = st.floats(0, 1.2, allow_nan=False)


def alerts(
    levels: Levels, ratios: list[float | None], *, step: float = 100.0, resource: str = "disk data"
) -> list[Alert | None]:
    return [
        levels.observe(resource, ratio, now=at * step, at=START + timedelta(seconds=at * step))
        for at, ratio in enumerate(ratios)
    ]


def told(levels: Levels, ratios: list[float | None], **options: float) -> list[str | None]:
    return [one and one.level for one in alerts(levels, ratios, **options)]


def test_each_change_of_level_is_told_once() -> None:
    ratios = [0.5, 0.85, 0.9, 0.95, 0.99, 0.5]
    assert told(Levels(), ratios) == [None, "warning", None, "critical", None, "ok"]


def test_a_resource_that_is_short_from_the_start_is_told() -> None:
    assert told(Levels(), [0.97, 0.97]) == ["critical", None]


def test_a_level_clears_five_points_below_its_threshold() -> None:
    assert told(Levels(), [0.86, 0.84, 0.81, 0.80]) == ["warning", None, None, "ok"]
    assert told(Levels(), [0.96, 0.91, 0.90, 0.81, 0.79]) == [
        "critical", None, "warning", None, "ok",
    ]  # fmt: skip


def test_a_level_that_has_just_begun_does_not_fall_before_its_hold() -> None:
    levels = Levels(Threshold(hold_seconds=60))
    assert told(levels, [0.9, 0.1, 0.1, 0.1], step=25) == ["warning", None, None, "ok"]


def test_a_rise_is_not_held_back() -> None:
    levels = Levels(Threshold(hold_seconds=3_600))
    assert told(levels, [0.9, 0.99], step=1) == ["warning", "critical"]


def test_an_alert_says_what_stands_since_when_and_which_limit_was_passed() -> None:
    up, down = alerts(Levels(), [0.961, 0.2])
    assert up == Alert(
        resource="disk data",
        level="critical",
        previous="ok",
        value_ratio=0.961,
        limit_ratio=0.95,
        since=START,
        message="disk data: critical, 96.1 % used, limit 95.0 %",
    )
    assert down is not None
    assert (down.level, down.previous, down.limit_ratio) == ("ok", "critical", 0.95)
    assert down.message == "disk data: ok again, 20.0 % used, limit 95.0 %"


def test_an_alert_has_a_json_form() -> None:
    (alert,) = alerts(Levels(), [0.9])
    assert decoded(Alert, encoded(alert)) == alert


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_an_unknown_value_changes_nothing(unknown: float | None) -> None:
    levels = Levels()
    assert told(levels, [0.9, unknown, 0.9]) == ["warning", None, None]
    assert (levels.level("disk data"), levels.since("disk data")) == ("warning", START)


def test_a_resource_has_its_own_threshold_by_name_or_by_pattern() -> None:
    tight = Threshold(warning_ratio=0.5, critical_ratio=0.6)
    exact = Threshold(warning_ratio=0.1, critical_ratio=0.2)
    levels = Levels(by_resource={"disk *": tight, "disk log": exact})
    assert levels.threshold("disk data") is tight
    assert levels.threshold("disk log") is exact
    assert levels.threshold("memory") == Threshold()


def test_resources_do_not_mix() -> None:
    levels = Levels()
    assert told(levels, [0.9]) == ["warning"]
    assert [one and one.level for one in alerts(levels, [0.9], resource="memory")] == ["warning"]


def test_a_forgotten_resource_begins_anew() -> None:
    levels = Levels()
    told(levels, [0.9])
    levels.forget("disk data")
    levels.forget("never seen")
    assert levels.since("disk data") is None
    assert told(levels, [0.9]) == ["warning"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"warning_ratio": 1.5}, "warning_ratio is 1.5"),
        ({"critical_ratio": float("nan")}, "critical_ratio is nan"),
        ({"clear_ratio": -0.1}, "clear_ratio is -0.1"),
        ({"hold_seconds": -1}, "hold_seconds is -1"),
        ({"warning_ratio": 0.9, "critical_ratio": 0.8}, "warning_ratio 0.9 is above"),
    ],
)
def test_a_threshold_out_of_range_is_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        Threshold(**settings)


@given(st.lists(RATIOS, max_size=60), st.floats(1, 50))
def test_a_value_at_the_edge_does_not_flap(wobble: list[float], step: float) -> None:
    ratios: list[float | None] = [0.81 + 0.08 * min(1.0, one) for one in wobble]
    # Between the clearing point and above the threshold: told once at most.
    assert sum(one is not None for one in alerts(Levels(), ratios, step=step)) <= 1


@given(st.lists(RATIOS, max_size=60), st.floats(1, 200))
def test_levels_follow_the_rules_whatever_comes(values: list[float], step: float) -> None:
    threshold = Threshold()
    seen = alerts(Levels(), list(values), step=step)
    level, changed = "ok", -float("inf")
    for at, (ratio, alert) in enumerate(zip(values, seen, strict=True)):
        assert (alert is None) or alert.previous == level
        if alert is not None:
            fell = LEVELS.index(alert.level) < LEVELS.index(alert.previous)
            assert not fell or at * step - changed >= threshold.hold_seconds
            level, changed = alert.level, at * step
        assert LEVELS.index(level) >= LEVELS.index(threshold.level(ratio))
