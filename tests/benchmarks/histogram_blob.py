"""Bytes and time of a histogram's blob, beside its JSON form and a deflated one.

How: durations of five shapes (fixed seed), as a fingerprint has them in a minute (10) to a day
(100,000); each histogram is written and read by each form. Times are the fastest of several
repetitions of all of them, by histogram.

    python tests/benchmarks/histogram_blob.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from sa_perf.histogram import Histogram
from sa_perf.store.histogram_blob import from_blob, to_blob

#: Name -> parts of a mixture: weight, median in nanoseconds, sigma of its logarithm.
SHAPES: Mapping[str, Sequence[tuple[float, float, float]]] = {
    "by key, narrow": ((1, 1e6, 0.2),),
    "usual": ((1, 1e6, 0.5),),
    "wide": ((1, 1e6, 1.0),),
    "cache hit or miss": ((9, 2e5, 0.3), (1, 2e7, 0.6)),
    "three ways and outliers": ((80, 3e5, 0.3), (19, 4e6, 0.5), (1, 1e9, 1.0)),
}
COUNTS = (10, 100, 1_000, 10_000, 100_000)
#: At the median over all shapes and counts.
TARGET_BYTES = 300


def histogram_of(shape: str, count: int) -> Histogram:
    """A histogram of durations; the same in every run."""
    source = random.Random(f"{shape} {count}")
    parts = SHAPES[shape]
    weights = [weight for weight, _, _ in parts]
    histogram = Histogram()
    for _, median, sigma in source.choices(parts, weights, k=count):
        histogram.add(int(source.lognormvariate(math.log(median), sigma)))
    return histogram


def _to_json(histogram: Histogram) -> bytes:
    return json.dumps(histogram.to_json_value(), separators=(",", ":")).encode()


def _from_json(content: bytes) -> Histogram:
    return Histogram.from_json_value(json.loads(content))


FORMS: Mapping[str, tuple[Callable[[Histogram], bytes], Callable[[bytes], Histogram]]] = {
    "blob": (to_blob, from_blob),
    "blob, deflated": (
        lambda histogram: zlib.compress(to_blob(histogram)),
        lambda content: from_blob(zlib.decompress(content)),
    ),
    "JSON": (_to_json, _from_json),
}


def _fastest(action: Callable[[], object], repetitions: int) -> float:
    best = math.inf
    for _ in range(repetitions):
        started = time.perf_counter_ns()
        action()
        best = min(best, time.perf_counter_ns() - started)
    return best / 1e3


def measure(histograms: Sequence[Histogram], repetitions: int) -> list[dict[str, object]]:
    """Bytes at the median and at most, microseconds of writing and reading, by form."""
    readings: list[dict[str, object]] = []
    for name, (write, read) in FORMS.items():
        written = [write(one) for one in histograms]
        if [read(one) for one in written] != list(histograms):
            raise SystemExit(f"{name} does not give the histograms back")
        sizes = sorted(map(len, written))
        readings.append(
            {
                "form": name,
                "median_bytes": statistics.median(sizes),
                "most_bytes": sizes[-1],
                "write_us": _fastest(lambda: list(map(write, histograms)), repetitions)  # noqa: B023  # called at once
                / len(histograms),
                "read_us": _fastest(lambda: list(map(read, written)), repetitions)  # noqa: B023  # called at once
                / len(histograms),
            }
        )
    return readings


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="up to 1,000 durations, once")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    counts = COUNTS[:3] if arguments.quick else COUNTS
    histograms = {
        (shape, count): histogram_of(shape, count) for shape in SHAPES for count in counts
    }
    readings = measure(list(histograms.values()), 1 if arguments.quick else 20)
    if arguments.json:
        print(json.dumps(readings))
        return 0
    forms = Table(title=f"{len(histograms)} histograms", title_justify="left")
    for heading in ("form", "bytes, median", "most", "us to write", "us to read"):
        forms.add_column(heading, justify="left" if heading == "form" else "right")
    for one in readings:
        size, most, write, read = list(one.values())[1:]
        forms.add_row(str(one["form"]), f"{size:.0f}", f"{most}", f"{write:.1f}", f"{read:.1f}")
    sizes = Table(title="Bytes of a blob", title_justify="left")
    sizes.add_column("durations")
    for count in counts:
        sizes.add_column(f"{count:,}", justify="right")
    for shape in SHAPES:
        sizes.add_row(shape, *(str(len(to_blob(histograms[shape, count]))) for count in counts))
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(forms, sizes)
    met = "met" if float(str(readings[0]["median_bytes"])) <= TARGET_BYTES else "missed"
    console.print(f"blob: at most {TARGET_BYTES} bytes at the median: {met}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
