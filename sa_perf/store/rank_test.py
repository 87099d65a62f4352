"""Whether two histograms hold equally long durations, by ranks. Pure.

The Mann-Whitney U test on counts by bucket: durations of one bucket are ties, for which the
variance is corrected, and the normal approximation with a correction for continuity is good from
some 20 durations a side on (Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3rd
edition, 4.1). Buckets are 3 % wide or less, so what is lost by them is next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sa_perf.histogram import Histogram

__all__ = ["RankTest", "adjusted", "rank_test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTest:
    """How the durations of one histogram compare with those of an earlier one.

    Attributes:
        p_value: how likely so large a difference is by chance alone, on either side; 1.0 where
            nothing can be said.
        slower_probability: that an execution after takes longer than one before, ties counted
            half (Vargha and Delaney's A); 0.5 where there is no difference.
    """

    p_value: float
    slower_probability: float


def rank_test(before: Histogram, after: Histogram) -> RankTest:
    """Compare the durations before with those after. O(buckets).

    It takes executions as independent of each other. Those of one burst are not, so that of equal
    loads somewhat more are found different than ``p_value`` says.
    """
    was, now = dict(before.items()), dict(after.items())
    n_was, n_now = sum(was.values()), sum(now.values())
    if not n_was or not n_now:
        return RankTest(p_value=1.0, slower_probability=0.5)
    # Twice the number of pairs in which the one after took longer: whole numbers are exact.
    wins_twice = passed = ties = 0
    for bucket in sorted({*was, *now}):
        here, there = was.get(bucket, 0), now.get(bucket, 0)
        wins_twice += there * (2 * passed + here)
        passed += here
        together = here + there
        ties += together**3 - together
    pairs, total = n_was * n_now, n_was + n_now
    # 12 N (N - 1) times the variance; nothing is left where all are in one bucket.
    variance = pairs * ((total + 1) * total * (total - 1) - ties)
    probability = wins_twice / (2 * pairs)
    if variance <= 0:
        return RankTest(p_value=1.0, slower_probability=probability)
    deviation = math.sqrt(variance / (12 * total * (total - 1)))
    distance = max(0.0, abs(wins_twice / 2 - pairs / 2) - 0.5)
    p_value = math.erfc(distance / deviation / math.sqrt(2))
    return RankTest(p_value=min(1.0, p_value), slower_probability=probability)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """P values of many tests, so that those below a level hold at most that share of false alarms.

    By Benjamini and Hochberg (Journal of the Royal Statistical Society B 57, 1995, 289-300).

    Args:
        p_values: 0..1, in any order.

    Returns:
        One for each, in their order, none smaller than it was.
    """
    ranked = sorted(range(len(p_values)), key=lambda at: p_values[at], reverse=True)
    found = [1.0] * len(p_values)
    least = 1.0
    for passed, at in enumerate(ranked):
        least = min(least, p_values[at] * len(p_values) / (len(p_values) - passed))
        found[at] = least
    return found
