from __future__ import annotations

from sa_perf.json_values import decoded, encoded
from sa_perf.resources.history import Chart, History


def filled(seconds: int, step: int = 10) -> History:
    history = History()
    for second in range(0, seconds, step):
        history.add("disk data", float(second), second / seconds)
    return history


def test_the_last_hour_is_fine_and_the_time_before_coarse() -> None:
    samples = filled(3 * 3_600).samples("disk data")
    times = [at for at, _ in samples]
    assert times == sorted(set(times))
    assert len(samples) == 360 + 12
    assert times[:3] == [0.0, 600.0, 1_200.0]
    assert times[-360:] == [float(at) for at in range(7_200, 10_800, 10)]


def test_a_week_is_kept_and_no_more() -> None:
    samples = filled(10 * 86_400, step=60).samples("disk data")
    assert len(samples) == 360 + 1_008 - 36
    assert samples[0][0] == (1_440 - 1_008) * 600.0
    assert samples[-1][0] == 864_000 - 60


def test_what_is_not_newer_is_left_out() -> None:
    history = History()
    for at in (10.0, 10.0, 5.0, 20.0):
        history.add("memory", at, 0.5)
    assert [at for at, _ in history.samples("memory")] == [10.0, 20.0]


def test_an_unknown_resource_has_no_samples() -> None:
    assert History().samples("memory") == []


def test_the_resource_not_seen_for_longest_gives_way() -> None:
    history = History()
    for number in range(64):
        history.add(f"disk {number}", float(number), 0.5)
    history.add("disk 0", 100.0, 0.5)
    history.add("disk new", 101.0, 0.5)
    assert history.samples("disk 1") == []
    assert len(history.samples("disk 0")) == 2
    assert len(list(history.charts())) == 64


def test_a_chart_keeps_peaks_and_the_last_sample() -> None:
    history = filled(3_600)
    history.add("disk data", 3_600.0, 0.1)
    history.add("disk data", 3_610.0, 2.0)
    history.add("disk data", 3_620.0, 0.2)
    (chart,) = history.charts()
    assert len(chart.at) == len(chart.ratios) <= 121
    assert max(chart.ratios) == 2.0
    assert (chart.at[-1], chart.ratios[-1]) == (3_620.0, 0.2)
    assert list(chart.at) == sorted(chart.at)
    assert decoded(Chart, encoded(chart)) == chart
