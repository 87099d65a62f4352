from __future__ import annotations

import pytest

from sa_perf.demo.report import compare, named_indexes
from sa_perf.demo.workload import Answer
from sa_perf.finding import Finding


def finding(remedy: str, fingerprint: str | None = "f1") -> Finding:
    return Finding(
        kind="full_scan",
        severity="warning",
        message="reads all rows",
        remedy=remedy,
        fingerprint=fingerprint,
    )


@pytest.mark.parametrize(
    "remedy",
    [
        "CREATE INDEX ix_a ON t (a, b)",
        "CREATE INDEX ix_a ON t (a, b);",
        "Create an index: CREATE INDEX ix_a ON t (a, b); then ANALYZE t",
        "Run CREATE INDEX ix_a ON t (a, b), which the condition can use.",
    ],
)
def test_index_is_read_out_of_a_remedy(remedy: str) -> None:
    assert named_indexes([finding(remedy)]) == {"CREATE INDEX ix_a ON t (a, b)": ("f1",)}


def test_index_on_an_expression_is_read_whole() -> None:
    statement = "CREATE UNIQUE INDEX ix_a ON t (lower(a), b DESC)"

    assert list(named_indexes([finding(f"{statement}.")])) == [statement]


def test_partial_index_is_read_whole() -> None:
    statement = "CREATE INDEX ix_a ON t (a) WHERE (b IS NOT NULL)"

    assert list(named_indexes([finding(statement)])) == [statement]


def test_index_named_twice_is_one_with_both_fingerprints() -> None:
    named = named_indexes(
        [
            finding("CREATE INDEX ix_a ON t (a)", "f1"),
            finding("CREATE INDEX ix_a ON t (a)", "f2"),
            finding("CREATE INDEX ix_a ON t (a)", "f1"),
            finding("CREATE INDEX ix_b ON t (b)", None),
        ]
    )

    assert named == {"CREATE INDEX ix_a ON t (a)": ("f1", "f2"), "CREATE INDEX ix_b ON t (b)": ()}


def test_remedy_without_an_index_names_none() -> None:
    assert named_indexes([finding("use keyset pagination over (a, id)")]) == {}


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
