"""The latency histogram beside two sketches from PyPI: time of add, merge, p99, and the error.

How: the same 100,000 durations (log-normal around a millisecond, fixed seed) go into each; add is
the fastest of several repetitions of all of them, merge and p99 likewise of many single ones. The
error is the largest deviation of p50, p95 and p99 from those of the sorted list.

    python tests/benchmarks/histogram.py [--quick] [--peers DIRECTORY]

A sketch that is not installed is printed as such; see overhead.py --install-peers.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sa_perf.histogram import Histogram

_RATIOS = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What a sketch can do; ``add`` takes nanoseconds."""

    new: Callable[[], object]
    add: Callable[[object, int], object]
    merge: Callable[[object, object], object]
    percentile: Callable[[object, float], float]


def _ours() -> Sketch:
    return Sketch(
        new=Histogram, add=Histogram.add, merge=Histogram.merge, percentile=Histogram.percentile
    )


def _ddsketch() -> Sketch:
    from ddsketch import DDSketch

    return Sketch(
        new=lambda: DDSketch(0.016),
        add=DDSketch.add,
        merge=DDSketch.merge,
        percentile=DDSketch.get_quantile_value,
    )


def _hdrhistogram() -> Sketch:
    from hdrh.histogram import HdrHistogram

    return Sketch(
        new=lambda: HdrHistogram(1, 2**40, 2),
        add=HdrHistogram.record_value,
        merge=HdrHistogram.add,
        percentile=lambda sketch, ratio: sketch.get_value_at_percentile(100 * ratio),
    )


SKETCHES: dict[str, Callable[[], Sketch]] = {
    "sa_perf, 32 buckets an octave": _ours,
    "ddsketch, 1.6 %": _ddsketch,
    "hdrhistogram, 2 digits": _hdrhistogram,
}


def durations(count: int) -> list[int]:
    """Nanoseconds, log-normal around a millisecond; the same in every run."""
    source = random.Random(2013)
    return [int(source.lognormvariate(math.log(1e6), 1.0)) for _ in range(count)]


def _fastest(action: Callable[[], object], repetitions: int) -> float:
    best = math.inf
    for _ in range(repetitions):
        started = time.perf_counter_ns()
        action()
        best = min(best, time.perf_counter_ns() - started)
    return best / 1e3


def measure(sketch: Sketch, values: Sequence[int], repetitions: int) -> tuple[float, ...]:
    """(microseconds per add, per merge, per p99, largest error as a ratio)."""

    def fill() -> object:
        filled, add = sketch.new(), sketch.add
        for value in values:
            add(filled, value)
        return filled

    add = _fastest(fill, repetitions) / len(values)
    filled, other = fill(), fill()
    merge = _fastest(lambda: sketch.merge(sketch.new(), other), 10 * repetitions)
    query = _fastest(lambda: sketch.percentile(filled, 0.99), 10 * repetitions)
    ordered = sorted(values)
    errors = []
    for ratio in _RATIOS:
        exact = ordered[max(0, math.ceil(ratio * len(ordered)) - 1)]
        errors.append(abs(sketch.percentile(filled, ratio) - exact) / exact)
    return add, merge, query, max(errors)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2,000 durations, once")
    parser.add_argument("--peers", type=Path, help="directory of overhead.py --install-peers")
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.extend(str(arguments.peers / name) for name in ("ddsketch", "hdrhistogram"))
    values = durations(2_000 if arguments.quick else 100_000)
    table = Table(title=f"{len(values):,} durations", title_justify="left")
    table.add_column("sketch")
    for heading in ("us per add", "us per merge", "us per p99", "largest error"):
        table.add_column(heading, justify="right")
    for name, make in SKETCHES.items():
        try:
            sketch = make()
        except ImportError as error:
            table.add_row(name, "-", "-", "-", f"not installed: {error}")
            continue
        add, merge, query, error_ratio = measure(sketch, values, 1 if arguments.quick else 5)
        cells = (f"{add:.3f}", f"{merge:.1f}", f"{query:.1f}", f"{error_ratio:.2%}")
        table.add_row(name, *cells)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
