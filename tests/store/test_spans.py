from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from sa_perf.store.spans import Levels, Piece, Window, window_of
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE

START = 20_000 * DAY
DAYS = 4


@dataclass
class Rows:
    """Stored rows in memory: (width, began_at, process) -> executions."""

    counts: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    rolled: dict[int, int] = field(default_factory=lambda: {HOUR: 0, DAY: 0})

    def flush(self, moment: int) -> None:
        """An execution of process 1, written as narrow as that is still possible."""
        width = DAY if moment < self.rolled[DAY] else HOUR if moment < self.rolled[HOUR] else MINUTE
        self.counts[width, moment - moment % width, 1] += 1

    def roll(self, width: int, until: int) -> None:
        """Add all up that is narrower and not yet added up."""
        narrower = MINUTE if width == HOUR else HOUR
        for (each, began_at, _), calls in list(self.counts.items()):
            if each == narrower and self.rolled[width] <= began_at < until:
                self.counts[width, began_at - began_at % width, MERGED] += calls
        self.rolled[width] = until

    def forget(self, width: int, before: int) -> None:
        """What retention does with old rows that are added up in wider ones."""
        for key in list(self.counts):
            if key[0] == width and key[1] < before:
                del self.counts[key]

    def levels(self) -> Levels:
        begins = {width: [at for each, at, _ in self.counts if each == width]
                  for width in (MINUTE, HOUR, DAY)}  # fmt: skip
        return Levels(
            rolled_hours=self.rolled[HOUR],
            rolled_days=self.rolled[DAY],
            whole_minutes=up(min(begins[MINUTE], default=None), HOUR),
            whole_hours=up(min(begins[HOUR], default=None), DAY),
        )

    def read(self, window: Window) -> int:
        return sum(
            calls
            for (width, began_at, process), calls in self.counts.items()
            for piece in window.pieces
            if width == piece.width
            and piece.begin <= began_at < piece.end
            and (process > MERGED or not piece.late)
        )


def up(moment: int | None, width: int) -> int | None:
    return None if moment is None else -(-moment // width) * width


moments = st.integers(START, START + DAYS * DAY - 1)
many = st.lists(moments, min_size=1, max_size=30)


@st.composite
def stores(draw: st.DrawFn, *, complete: bool) -> tuple[Rows, list[int]]:
    """A store after some days, and all that was ever executed."""
    rows, executed = Rows(), draw(many)
    for one in executed:
        rows.flush(one)
    hours = START + HOUR * draw(st.integers(0, DAYS * 24))
    days = hours - hours % DAY - DAY * draw(st.integers(0, 2))
    rows.roll(HOUR, hours)
    late: list[int] = []
    if not complete:
        late += draw(st.lists(moments, max_size=8))
        for one in late:
            rows.flush(one)
    rows.roll(DAY, max(days, 0))
    if not complete:
        later = draw(st.lists(moments, max_size=8))
        for one in later:
            rows.flush(one)
        late += later
        rows.forget(MINUTE, min(hours, START + MINUTE * draw(st.integers(0, DAYS * 1440))))
        rows.forget(HOUR, min(days, START + HOUR * draw(st.integers(0, DAYS * 24))))
    return rows, executed + late


@given(stores(complete=True), moments, moments)
def test_a_window_is_exact_to_the_minute_while_all_is_kept(store, one: int, two: int) -> None:
    rows, executed = store
    # The row of the first minute stands for the store's begin: before it nothing is cut off.
    rows.counts[MINUTE, START - DAY, 1] += 0
    rows.counts[HOUR, START - DAY, MERGED] += 0
    since, until = sorted((one, two))
    window = window_of(rows.levels(), since, until)
    assert (window.begin, window.end) == (-(-since // 60) * 60, -(-until // 60) * 60)
    assert rows.read(window) == sum(window.begin <= each < window.end for each in executed)


@given(stores(complete=False), st.lists(moments, max_size=5))
def test_windows_that_meet_count_everything_once(store, cuts: list[int]) -> None:
    rows, executed = store
    places = [START - DAY, *sorted(cuts), START + (DAYS + 1) * DAY]
    levels = rows.levels()
    windows = [window_of(levels, *pair) for pair in itertools.pairwise(places)]
    assert sum(map(rows.read, windows)) == len(executed)


@given(stores(complete=False), moments, moments)
def test_pieces_stay_within_the_window_and_its_bounds_move_forward(store, one, two) -> None:
    rows, _ = store
    since, until = sorted((one, two))
    window = window_of(rows.levels(), since, until)
    assert since <= window.begin <= window.end < until + DAY
    for piece in window.pieces:
        assert window.begin <= piece.begin < piece.end <= window.end
        assert piece.begin % piece.width == 0


def test_whole_hours_and_days_are_read_wide_and_edges_narrow() -> None:
    noon = START + 2 * DAY + 12 * HOUR
    levels = Levels(
        rolled_hours=noon, rolled_days=START + 2 * DAY, whole_minutes=START, whole_hours=START
    )
    since, until = START + 21 * HOUR + 30 * MINUTE, noon + 10 * MINUTE
    assert window_of(levels, since, until).pieces == (
        Piece(width=MINUTE, begin=since, end=START + 22 * HOUR),
        Piece(width=MINUTE, begin=noon, end=until),
        Piece(width=HOUR, begin=START + 22 * HOUR, end=START + DAY),
        Piece(width=HOUR, begin=START + 2 * DAY, end=noon),
        Piece(width=HOUR, begin=noon, end=until, late=True),
        Piece(width=DAY, begin=START + DAY, end=START + 2 * DAY),
        Piece(width=DAY, begin=START + 2 * DAY, end=until, late=True),
    )


def test_a_span_that_is_kept_wide_only_counts_where_it_begins() -> None:
    levels = Levels(rolled_hours=START + 3 * HOUR, whole_minutes=START + 3 * HOUR)
    window = window_of(levels, START + HOUR + 60, START + 2 * HOUR + 60)
    assert (window.begin, window.end) == (START + 2 * HOUR, START + 3 * HOUR)
    assert window.pieces == (Piece(width=HOUR, begin=window.begin, end=window.end),)


def test_an_empty_window_has_no_piece() -> None:
    assert window_of(Levels(), START, START).pieces == ()
    assert window_of(Levels(), START, START - 1).pieces == ()
