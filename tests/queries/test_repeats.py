"""Sums of what is issued one by one, and their bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sa_perf.call_site import Line
from sa_perf.queries import repeats
from sa_perf.queries.aggregate import Aggregate
from sa_perf.queries.faults import Faults
from sa_perf.queries.repeats import Repeats, RepeatStats
from sa_perf.queries.tally import RepeatKind, Tally, Unit


def somewhere() -> None:
    """Stands for the application."""


def aggregate(key: str = "a1") -> Aggregate:
    return Aggregate(key, f"SELECT {key}", "sqlite:///", None)


def tally(of: Aggregate, *, line: int = 1, kind: RepeatKind | None = "same_select") -> Tally:
    made = Tally(kind, of, Unit())
    made.line = Line(somewhere.__code__, line)
    return made


def frozen(kept: Repeats) -> list[RepeatStats]:
    return list(kept.frozen(lambda one: one.key))


def count(kept: Repeats, one: Tally, times: int, nanoseconds: int = 10) -> None:
    for _ in range(times):
        kept.count(one, nanoseconds)


def test_what_is_below_the_threshold_is_not_kept() -> None:
    kept = Repeats(threshold=3)
    count(kept, tally(aggregate()), 2)
    assert frozen(kept) == []


def test_the_first_executions_count_once_the_threshold_is_reached() -> None:
    kept = Repeats(threshold=3)
    count(kept, tally(aggregate()), 4, nanoseconds=1_000)
    (found,) = frozen(kept)
    assert (found.occurrences, found.calls, found.max_calls) == (1, 4, 4)
    assert found.total_seconds == pytest.approx(4e-6)
    assert found.wasted_seconds == pytest.approx(3e-6)


def test_occurrences_of_one_line_are_one_entry() -> None:
    kept, of = Repeats(threshold=3), aggregate()
    count(kept, tally(of), 3)
    count(kept, tally(of), 5)
    count(kept, tally(of), 2)
    (found,) = frozen(kept)
    assert (found.occurrences, found.calls, found.max_calls) == (2, 8, 5)


@pytest.mark.parametrize(
    "other",
    [
        lambda of: tally(of, line=2),
        lambda of: tally(aggregate("b2")),
        lambda of: tally(of, kind="expired_reload"),
    ],
)
def test_another_line_statement_or_kind_is_another_entry(
    other: Callable[[Aggregate], Tally], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, of = Repeats(threshold=2), aggregate()
    count(kept, tally(of), 2)
    count(kept, other(of), 2)
    assert len(frozen(kept)) == 2


def test_code_that_is_compiled_anew_is_the_same_line() -> None:
    kept, of = Repeats(threshold=2), aggregate()
    for _ in range(3):
        one = tally(of)
        one.line = Line(compile("1", "page.html", "exec"), 1)
        count(kept, one, 2)
    assert [one.occurrences for one in frozen(kept)] == [3]


def test_a_repetition_without_a_line_is_kept() -> None:
    kept, one = Repeats(threshold=2), tally(aggregate())
    one.line = None
    count(kept, one, 2)
    assert [found.call_site for found in frozen(kept)] == [None]


def test_what_is_fetched_later_is_added() -> None:
    kept, one = Repeats(threshold=2), tally(aggregate())
    count(kept, one, 1)
    kept.add_fetch(one, 100)
    count(kept, one, 1)
    kept.add_fetch(one, 1_000)
    (found,) = frozen(kept)
    assert found.total_seconds == pytest.approx(1.12e-6)


def test_so_many_are_kept_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_MAX_ENTRIES", 3)
    kept, of = Repeats(threshold=2), aggregate()
    for line in range(5):
        count(kept, tally(of, line=line), 4)
    count(kept, tally(of, line=0), 2)
    assert [one.calls for one in frozen(kept)] == [6, 4, 4]
    assert kept.dropped == 2
    kept.clear()
    assert (frozen(kept), kept.dropped) == ([], 0)


def test_what_began_before_all_was_forgotten_counts_no_more() -> None:
    kept, one = Repeats(threshold=2), tally(aggregate())
    count(kept, one, 3)
    kept.clear()
    count(kept, one, 3)
    kept.add_fetch(one, 5)
    assert frozen(kept) == []


def test_eager_loads_are_none() -> None:
    kept = Repeats(threshold=2)
    one = tally(aggregate(), kind=None)
    count(kept, one, 100)
    assert frozen(kept) == []
    assert one.nanoseconds == 1_000


@pytest.mark.parametrize("pattern", ["*test_repeats.py", "*test_repeats.py:1", "job *"])
def test_a_pattern_ignores_by_file_line_or_scope(pattern: str) -> None:
    kept, one = Repeats(threshold=2, ignore=(pattern,)), tally(aggregate())
    one.scopes = ("inner", "job 1")
    count(kept, one, 2)
    assert frozen(kept) == []


def test_a_mapping_that_defeats_the_reading_is_counted_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def defeated(_: Tally) -> None:
        raise KeyError("a relationship of another kind")

    monkeypatch.setattr(repeats, "remedy_for", defeated)
    faults = Faults()
    kept, of = Repeats(threshold=2, faults=faults), aggregate()
    count(kept, tally(of), 3)
    count(kept, tally(of), 3)

    assert frozen(kept) == []
    assert (faults.count, faults.last) == (1, "remedy: KeyError")
    assert len(caplog.records) == 1
