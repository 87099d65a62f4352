from __future__ import annotations

from sa_perf.demo.report import compare
from sa_perf.demo.workload import Answer


def test_comparison_takes_medians_and_notices_other_rows() -> None:
    before = [Answer(seconds=seconds, rows=[1]) for seconds in (0.1, 0.2, 0.9)]
    after = [Answer(seconds=seconds, rows=[1]) for seconds in (0.01, 0.04, 0.02)]

    same = compare("GET /", ["index"], before=before, after=after, statements=(3.0, 1.0))
    other = compare(
        "GET /", ["code"], before=before, after=[*after[:2], Answer(seconds=1.0, rows=[])],
        statements=(3.0, 1.0),
    )  # fmt: skip

    assert (same.before_seconds, same.after_seconds, same.speedup_ratio) == (0.2, 0.02, 10.0)
    assert same.same_rows
    assert not other.same_rows
    assert (other.before_rows, other.after_rows) == (3, 2)
