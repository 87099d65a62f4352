"""Where the planner's guesses flatter an index: other values, corrected costs. No server."""

from __future__ import annotations

from typing import Any

import pytest

from sa_perf.dialects.index_trials.postgresql_corrections import corrected
from sa_perf.dialects.index_trials.postgresql_statistics import ColumnStatistics
from sa_perf.dialects.index_trials.postgresql_suppositions import (
    conditions,
    fits,
    plain_rows,
    unfavourable,
)

TRIED = "<13557>btree_orders_placed_at"


def column(**known: Any) -> ColumnStatistics:
    """A status that nine rows of ten have in common, or what is said instead."""
    common = known.pop("common", (("paid", 0.9), ("open", 0.05), ("void", 0.01)))
    values: dict[str, Any] = {
        "number": 1, "type": "text", "length": -1, "alignment": 4, "width": 5.0, "nulls": 0.0,
        "distinct": 10.0, "frequencies": sum(f for _, f in common),
        "squares": sum(f * f for _, f in common), "values": len(common), "common": common,
        "bounds": (),
    }  # fmt: skip
    return ColumnStatistics(**values | known)


def times(low: str = "2024-01-01 00:00:00+00", high: str = "2024-01-11 00:00:00+00") -> Any:
    return column(common=(), distinct=1e6, bounds=(low, "2024-01-06 00:00:00+00", high))


def scan(condition: str, **more: Any) -> list[dict[str, Any]]:
    node = {"Node Type": "Seq Scan", "Relation Name": "orders", "Alias": "o", "Plan Rows": 100}
    return [{"Plan": {**node, "Filter": condition, **more}}]


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("(status = $1)", {"status": ([1], [], [])}),
        ("((status)::text = ($1)::text)", {"status": ([1], [], [])}),
        ("((o.a = $2) AND (at >= $1) AND (at < $3))", {"at": ([], [1], [3]), "a": ([2], [], [])}),
        ("(a = ANY (ARRAY[$1, $2]))", {"a": ([1, 2], [], [])}),
        ('("odd ""a" = $1)', {'odd "a': ([1], [], [])}),
        ("(lower(email) = $1)", {}),
        ("(lower((email)::text) = $1)", {}),
        ("(a = ANY ($1))", {}),
        ("(a !~~ $1)", {}),
        ("(a = b)", {}),
    ],
)  # fmt: skip
def test_conditions_are_read_from_a_plan(condition: str, columns: dict[str, Any]) -> None:
    found = {c.column: (c.equal, c.above, c.below) for c in conditions(scan(condition))}
    assert found == columns


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        ({"Node Type": "Seq Scan"}, 100.0),
        ({"Node Type": "Sort", "Plans": [{"Node Type": "Hash Join"}]}, 100.0),
        ({"Node Type": "Gather", "Plans": [{"Node Type": "Aggregate"}]}, None),
        ({"Node Type": "Limit", "Plans": [{"Node Type": "Seq Scan"}]}, None),
        ({"Node Type": "ModifyTable", "Plans": [{"Node Type": "Seq Scan", "Plan Rows": 7}]}, 7.0),
    ],
)
def test_rows_are_expected_where_none_is_cut_off(node: Any, rows: float | None) -> None:
    assert plain_rows([{"Plan": {**node, "Plan Rows": 100}}]) == rows


@pytest.mark.parametrize(
    ("condition", "known", "factor", "values"),
    [
        # The planner expects a tenth of the rows for any status.
        ("(status = $1)", column(), 9.0, {1: "E'paid'"}),
        ("(status = $1)", column(), 0.1, {1: "E'void'"}),
        ("(status = $1)", column(bounds=("a", "m", "z")), 0.001, {1: "E'm'"}),
        # A third for an open range, 0.5 % for a closed one.
        ("(at >= $1)", times(), 0.3, {1: "E'2024-01-10 00:00:00+00'"}),
        ("(at < $1)", times(), 0.3, {1: "E'2024-01-02 00:00:00+00'"}),
        (
            "((at >= $1) AND (at < $2))",
            times(),
            40.0,
            {1: "E'2024-01-05 00:00:00+00'", 2: "E'2024-01-07 00:00:00+00'"},
        ),
        ("(n > $1)", column(bounds=("0", "50", "100")), 0.3, {1: "E'90'"}),
        ("(n > $1)", column(bounds=("0.5", "1.5", "2.5")), 1.5, {1: "E'1.5'"}),
        ("(d > $1)", column(bounds=("2024-01-01", "2024-01-11")), 0.3, {1: "E'2024-01-10'"}),
        ("(b > $1)", column(bounds=("a", "m", "z")), 0.3, {1: "E'z'"}),
    ],
)
def test_values_are_found_that_give_what_was_observed(
    condition: str, known: ColumnStatistics, factor: float, values: Any
) -> None:
    found = conditions(scan(condition))
    given = list(fits(found, {("o", found[0].column): known}, factor))
    assert given == [values]


def test_where_nothing_was_observed_values_are_frequent_and_ranges_wide() -> None:
    found = conditions(scan("((status = $1) AND (at > $2) AND (id = $3))"))
    known = {("o", "status"): column(), ("o", "at"): times()}
    known["o", "id"] = column(common=(), distinct=1e6)
    assert unfavourable(found, known) == {1: "E'paid'", 2: "E'2024-01-06 00:00:00+00'"}


def test_of_two_ranges_one_is_narrow_and_the_other_wide() -> None:
    found = conditions(scan("((n > $1) AND (m < $2))"))
    bounds = tuple(str(number) for number in range(0, 101, 10))
    known = {("o", name): column(bounds=bounds) for name in "nm"}
    # A ninth of the rows is expected, 1 % came: half of them within the one, 2 % in the other.
    assert list(fits(found, known, 0.09)) == [
        {1: "E'98'", 2: "E'50'"},
        {1: "E'50'", 2: "E'2'"},
    ]


def test_a_pattern_is_supposed_to_be_short() -> None:
    found = conditions(scan("(name ~~ $1)"))
    known = {("o", "name"): column(bounds=("Ada", "Max", "Zoe"))}
    assert unfavourable(found, known) == {1: "E'Ma%'"}
    assert [*fits(found, known, 3.0)] == []


def test_a_value_of_the_statistics_cannot_leave_its_literal() -> None:
    found = conditions(scan("(status = $1)"))
    common = (("it's \\'; DROP TABLE orders", 0.9),)
    assert unfavourable(found, {("o", "status"): column(common=common)}) == {
        1: "E'it''s \\\\''; DROP TABLE orders'"
    }


def walk(**more: Any) -> dict[str, Any]:
    """Twenty rows from the beginning of an order."""
    below = {"Node Type": "Index Scan", "Index Name": TRIED, "Total Cost": 50_000.0, **more}
    return {"Node Type": "Limit", "Total Cost": 40.0, "Plan Rows": 20, "Plans": [below]}


def joined(outer: dict[str, Any]) -> dict[str, Any]:
    below = {**walk(), "Plans": [{"Node Type": "Nested Loop", "Total Cost": 90_000.0}]}
    below["Plans"][0]["Plans"] = [outer, {"Node Type": "Seq Scan"}]
    return below


@pytest.mark.parametrize(
    ("root", "full", "cost"),
    [
        (walk(), False, 40.0),
        (walk(Filter="(status = $1)"), True, 400.0),
        (walk(Filter="(status = $1)"), False, 50_000.0),
        (walk(**{"Index Name": "orders_pkey", "Filter": "(status = $1)"}), False, 40.0),
        (walk(**{"Node Type": "Bitmap Heap Scan", "Index Name": None}), False, 40.0),
        (joined({"Node Type": "Index Scan", "Index Name": TRIED}), True, 400.0),
        (joined({"Node Type": "Index Scan", "Index Name": TRIED}), False, 90_000.0),
        (joined({"Node Type": "Sort", "Plans": [walk()["Plans"][0]]}), False, 40.0),
    ],
)
def test_a_walk_that_may_not_end_early_is_priced_to_its_end(
    root: Any, full: bool, cost: float
) -> None:
    given = corrected(root, {TRIED}, full=full, share_of=lambda name: None)
    assert given.cost == pytest.approx(cost)
    assert bool(given.notes) == (cost != 40.0)


@pytest.mark.parametrize(
    ("share", "cost"), [(0.005, 1_000.0), (0.5, 100_000.0), (0.0005, 120.0), (0.0, 20.0)]
)
def test_an_expression_s_skew_is_priced(share: float, cost: float) -> None:
    child = {"Node Type": "Bitmap Index Scan", "Index Name": TRIED, "Index Cond": "(f(a) = $1)"}
    root = {"Node Type": "Bitmap Heap Scan", "Total Cost": 1_000.0, "Plans": [child]}
    given = corrected(root, {TRIED}, full=False, share_of=lambda name: share)
    assert given.cost == pytest.approx(cost)
