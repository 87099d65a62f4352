from __future__ import annotations

import itertools
import math
import random

import pytest

from sa_perf.histogram import Histogram
from sa_perf.store.rank_test import adjusted, rank_test


def histogram(durations: list[int]) -> Histogram:
    """Of buckets that hold one of the durations each, below 64."""
    return Histogram.from_items([(one, 1) for one in durations])


def exact_p_value(before: list[int], after: list[int]) -> float:
    """By all the ways to deal the durations out: how often U is at least so far from its middle."""
    everything = before + after

    def distance(chosen: list[int], others: list[int]) -> float:
        wins = sum((a > b) + (a == b) / 2 for a in chosen for b in others)
        return abs(wins - len(chosen) * len(others) / 2)

    seen = distance(after, before)
    ways = hits = 0
    for places in itertools.combinations(range(len(everything)), len(after)):
        chosen = [everything[at] for at in places]
        others = [one for at, one in enumerate(everything) if at not in set(places)]
        ways += 1
        hits += distance(chosen, others) >= seen - 1e-9
    return hits / ways


@pytest.mark.parametrize("seed", range(6))
def test_the_p_value_is_near_that_of_all_permutations(seed: int) -> None:
    draw = random.Random(seed)
    ties = seed % 2 == 0
    before = [draw.randrange(6 if ties else 60) for _ in range(8)]
    after = [draw.randrange(2, 8) if ties else draw.randrange(20, 80) for _ in range(7)]
    expected = exact_p_value(before, after)
    found = rank_test(histogram(before), histogram(after)).p_value
    assert found == pytest.approx(expected, abs=0.03)


def test_the_probability_is_that_of_all_pairs() -> None:
    draw = random.Random(7)
    before = [draw.randrange(30) for _ in range(40)]
    after = [draw.randrange(10, 40) for _ in range(25)]
    pairs = [(a > b) + (a == b) / 2 for a in after for b in before]
    found = rank_test(histogram(before), histogram(after))
    assert found.slower_probability == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_the_variance_is_corrected_for_ties() -> None:
    # 10 of 20 against 16 of 20 in the longer of two buckets: U = 260, and its variance by hand.
    before = Histogram.from_items([(1, 10), (2, 10)])
    after = Histogram.from_items([(1, 4), (2, 16)])
    ties = (14**3 - 14 + 26**3 - 26) / (40 * 39)
    deviation = math.sqrt(20 * 20 / 12 * (41 - ties))
    z = (260 - 200 - 0.5) / deviation
    found = rank_test(before, after)
    assert found.slower_probability == 0.65
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-12)


def test_both_directions_are_equally_likely() -> None:
    before, after = histogram([1, 2, 3, 4, 9]), histogram([3, 5, 6, 7, 8, 8])
    forth, back = rank_test(before, after), rank_test(after, before)
    assert forth.p_value == back.p_value
    assert forth.slower_probability == pytest.approx(1 - back.slower_probability)


def test_nothing_is_said_where_nothing_can_be_said() -> None:
    some, one_bucket = histogram([1, 2]), Histogram.from_items([(5, 1_000)])
    for before, after in ((some, Histogram()), (Histogram(), some), (one_bucket, one_bucket)):
        found = rank_test(before, after)
        assert (found.p_value, found.slower_probability) == (1.0, 0.5)


def test_millions_of_executions_are_no_trouble() -> None:
    before = Histogram.from_items([(100, 10**12), (200, 10**12)])
    after = Histogram.from_items([(100, 10**12), (201, 10**12)])
    found = rank_test(before, after)
    assert (found.p_value, found.slower_probability) == (0.0, 0.625)


def test_equal_loads_are_found_different_as_seldom_as_the_level_says() -> None:
    draw = random.Random(20)
    found = 0
    for _ in range(600):
        sides = []
        for _ in range(2):
            side = Histogram()
            for _ in range(40):
                side.add(int(draw.lognormvariate(14, 1)))
            sides.append(side)
        found += rank_test(*sides).p_value < 0.05
    # 30 are expected, and a binomial's standard deviation is 5.3.
    assert 14 <= found <= 46


def test_p_values_are_adjusted_by_benjamini_and_hochberg() -> None:
    # The example of their paper, 3.2: at a level of 0.05 the first four are discoveries.
    given = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip
    found = adjusted(given)
    assert [one <= 0.05 for one in found] == [True] * 4 + [False] * 11
    assert found[0] == pytest.approx(0.0015)
    assert found[3] == pytest.approx(0.0095 * 15 / 4)
    assert found == sorted(found)


def test_the_order_of_p_values_is_kept_and_none_shrinks() -> None:
    given = [0.9, 0.01, 0.04, 0.01]
    found = adjusted(given)
    assert found == pytest.approx([0.9, 0.02, 0.16 / 3, 0.02])
    assert adjusted([]) == []
    assert adjusted([0.3]) == [0.3]
