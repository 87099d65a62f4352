from __future__ import annotations

import random
import sqlite3
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.dialects.index_trials.sqlite_points import WANTED, draw
from sa_perf.dialects.index_trials.sqlite_sampling import (
    TableSample,
    UnreadableExpression,
    distinct_values,
)

ROWS = 40_000


def sampled(connection: sqlite3.Connection, *key: str) -> TableSample:
    points = draw(connection, "main.t", key or ("rowid",), by_rowid=not key, seconds=60)
    return TableSample(connection, "main.t", points)


def filled(sql: str, rows) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute(sql)
    rows = list(rows)
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO t VALUES ({marks})", rows)
    connection.commit()
    return connection


ID_SPACES = {
    "dense": lambda n, chance: n,
    "every third": lambda n, chance: 3 * n,
    "spread": lambda n, chance: chance.randrange(2**62),
    "negative": lambda n, chance: -n,
    "two clusters far apart": lambda n, chance: n if n % 2 else 10**15 + n,
    "one row far away": lambda n, chance: n if n else 2**62,
    "old ones thinned out": lambda n, chance: n if n > ROWS // 2 else 50 * n - 2_000_000,
}


@pytest.mark.parametrize("space", list(ID_SPACES))
def test_rows_are_counted_and_drawn_from_everywhere(space) -> None:
    chance = random.Random(3)
    ids = dict.fromkeys(ID_SPACES[space](n, chance) for n in range(ROWS))
    connection = filled(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, half INTEGER)",
        ((number, position * 2 // len(ids)) for position, number in enumerate(sorted(ids))),
    )
    sample = sampled(connection)
    assert sample.rows == pytest.approx(len(ids), rel=0.15)
    assert WANTED * 0.9 <= len(sample.points.keys) <= WANTED + 500
    if space != "old ones thinned out":  # there one half's gaps are wider, so it is drawn oftener
        assert sample.fraction("half = 0") == pytest.approx(0.5, abs=0.06)


def test_a_small_table_is_read_whole() -> None:
    connection = filled("CREATE TABLE t (a)", ((n % 10,) for n in range(WANTED)))
    sample = sampled(connection)
    assert sample.points.whole
    assert sample.rows == WANTED
    assert sample.distinct(["a"]) == 10
    assert sample.share(["a"]) == pytest.approx(0.1)


def test_a_table_without_rowid_is_sampled_by_its_key() -> None:
    connection = filled(
        "CREATE TABLE t (a TEXT, b INTEGER, c INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID",
        ((f"key {n % 100}", n, n % 7) for n in range(ROWS)),
    )
    sample = sampled(connection, "a", "b")
    assert sample.rows == pytest.approx(ROWS, rel=0.01)
    assert sample.points.whole_range
    assert sample.distinct(["a"]) == pytest.approx(100, abs=1)
    assert sample.distinct(["c"]) == 7
    assert sample.distinct(["a", "b"]) == pytest.approx(ROWS, rel=0.05)


def test_sampling_stops_when_time_is_over() -> None:
    connection = filled(
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b) WITHOUT ROWID", ((n, n) for n in range(ROWS))
    )
    ticks = iter(range(1_000_000))
    points = draw(
        connection, "main.t", ("a",), by_rowid=False, seconds=50, now=lambda: float(next(ticks))
    )
    assert not points.whole_range
    assert 10 < len(points.keys) < 60


@pytest.mark.parametrize(
    ("column", "distinct"),
    [("few", 3), ("hundreds", 500), ("thousands", 8_000), ("every", ROWS), ("empty", 1)],
)
def test_distinct_values_are_estimated(column, distinct) -> None:
    chance = random.Random(5)
    connection = filled(
        "CREATE TABLE t (few, hundreds, thousands, every, empty)",
        ((n % 3, chance.randrange(500), chance.randrange(8_000), n, None) for n in range(ROWS)),
    )
    assert sampled(connection).distinct([column]) == pytest.approx(distinct, rel=0.15)


def test_values_that_lie_together_are_no_fewer_for_it() -> None:
    connection = filled("CREATE TABLE t (a)", ((n // 20,) for n in range(ROWS)))
    assert sampled(connection).distinct(["a"]) == pytest.approx(ROWS / 20, rel=0.15)


def test_the_share_of_equal_rows_counts_frequent_values_by_their_frequency() -> None:
    chance = random.Random(9)
    values = [int(chance.paretovariate(1.1)) for _ in range(ROWS)]
    connection = filled("CREATE TABLE t (a, b)", ((v, None if v % 2 else v) for v in values))
    sample = sampled(connection)
    counts = Counter(values)
    expected = sum(n * n for n in counts.values()) / ROWS**2
    assert sample.share(["a"]) == pytest.approx(expected, rel=0.1)
    # No parameter finds NULL.
    found = [v for v in values if v % 2 == 0]
    expected = sum(n * n for n in Counter(found).values()) / len(found) / ROWS
    assert sample.share(["b"]) == pytest.approx(expected, rel=0.15)


def test_a_condition_limits_what_is_looked_at() -> None:
    connection = filled("CREATE TABLE t (a, b)", ((n % 4, n % 100) for n in range(ROWS)))
    sample = sampled(connection)
    assert sample.fraction("a = 1") == pytest.approx(0.25, abs=0.03)
    assert sample.distinct(["b"], "a = 1") == pytest.approx(25)
    assert sample.share(["b"], "a = 1") == pytest.approx(1 / 25, rel=0.1)
    assert sample.fraction("a = 17") == 0
    assert sample.distinct(["b"], "a = 17") == 1


def test_an_order_that_rows_lie_in_is_seen() -> None:
    chance = random.Random(2)
    connection = filled(
        "CREATE TABLE t (up, down, none, mixed)",
        ((n, -n, chance.random(), n if n % 2 else f"x{n}") for n in range(ROWS)),
    )
    sample = sampled(connection)
    assert (sample.order("up"), sample.order("down")) == (1, 1)
    assert sample.order("none") < 0.1
    assert 0 <= sample.order("mixed") <= 1


def test_the_bytes_of_values_are_those_of_the_file_format() -> None:
    connection = filled(
        "CREATE TABLE t (a, b, c, d)", ((n % 2, 300, 1.5, "é" * 10) for n in range(100))
    )
    sample = sampled(connection)
    assert [sample.mean_bytes(column) for column in "abcd"] == [0, 2, 8, 20]


def test_long_texts_are_told_apart() -> None:
    connection = filled(
        "CREATE TABLE t (a, b)", (("x" * 5_000 + str(n), bytes(400 + n)) for n in range(50))
    )
    sample = sampled(connection)
    assert (sample.distinct(["a"]), sample.distinct(["b"])) == (50, 50)
    assert sample.mean_bytes("a") == pytest.approx(5_001.8)


def test_an_expression_that_cannot_be_read_is_told() -> None:
    sample = sampled(filled("CREATE TABLE t (a)", [(1,)]))
    with pytest.raises(UnreadableExpression, match="no such function: secret"):
        sample.share(["secret(a)"])


def test_columns_named_like_what_sampling_uses_are_read() -> None:
    connection = filled(
        "CREATE TABLE t (x, k0, rowid, sa_perf_point)", ((n, n, n % 5, 1) for n in range(ROWS))
    )
    points = draw(connection, "main.t", ("_rowid_",), by_rowid=True, seconds=60)
    sample = TableSample(connection, "main.t", points)
    assert sample.distinct(["rowid"]) == 5
    assert sample.distinct(["x"]) == sample.distinct(["k0"]) == pytest.approx(ROWS, rel=0.05)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.floats(1, 1e9))
def test_distinct_values_lie_between_those_seen_and_all_rows(frequencies, rows) -> None:
    estimate = distinct_values(frequencies, rows)
    assert len(frequencies) <= estimate <= max(rows, sum(frequencies)) * (1 + 1e-9)


def test_distinct_values_of_a_whole_table_are_those_seen() -> None:
    assert distinct_values([1, 1, 2, 6], 10) == 4
    assert distinct_values([1] * 10, 1_000) == 1_000
    assert distinct_values([], 1_000) == 0
