"""What one statement would take is settled with what the others take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from sa_perf.plans.index_advice import AdviceReport, WorkloadQuery, advise


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('choice') / 'shop.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INT, product_id INT, "
            "placed_at INT, note TEXT)"
        )
        connection.exec_driver_sql(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
            [(n, n * 7919 % 1_000, n * 31 % 700, n, "x" * 60) for n in range(20_000)],
        )
    yield engine
    engine.dispose()


def advised(shop: Engine, *conditions: str) -> AdviceReport:
    workload = [
        WorkloadQuery(
            fingerprint=f"f{at}", statement=f"SELECT * FROM orders {one}", calls=5, mean_seconds=0.1
        )
        for at, one in enumerate(conditions)
    ]
    return advise(shop, workload)


def columns(report: AdviceReport) -> list[tuple[str | None, ...]]:
    return sorted(one.definition.columns for one in report.advice)


def test_one_index_serves_what_asks_for_the_beginning_of_its_keys(shop: Engine) -> None:
    report = advised(
        shop,
        "WHERE customer_id = ?",
        "WHERE customer_id = ? ORDER BY placed_at DESC LIMIT 5",
        "WHERE product_id = ? AND customer_id = ?",
    )
    assert columns(report)[0][0] == "customer_id"
    assert len(report.advice) <= 2
    assert {gain.fingerprint for one in report.advice for gain in one.gains} == {"f0", "f1", "f2"}


def test_what_has_nothing_in_common_gets_an_index_each(shop: Engine) -> None:
    report = advised(shop, "WHERE customer_id = ?", "WHERE product_id = ?")
    assert columns(report) == [("customer_id",), ("product_id",)]
    assert [[gain.fingerprint for gain in one.gains] for one in report.advice] in (
        [["f0"], ["f1"]],
        [["f1"], ["f0"]],
    )


def test_no_advised_index_begins_another(shop: Engine) -> None:
    report = advised(
        shop,
        "WHERE customer_id = ?",
        "WHERE customer_id = ? AND placed_at > ?",
        "WHERE customer_id = ? AND product_id = ?",
        "WHERE product_id = ?",
        "ORDER BY placed_at DESC LIMIT 5",
    )
    found = columns(report)
    assert not any(one == other[: len(one)] for one in found for other in found if one is not other)


def test_each_gain_is_at_least_what_was_asked_for(shop: Engine) -> None:
    report = advised(shop, "WHERE customer_id = ?", "WHERE product_id = ?")
    for gain in (gain for one in report.advice for gain in one.gains):
        assert gain.speedup_ratio is not None
        assert gain.speedup_ratio >= 2.0
        assert gain.saved_seconds == pytest.approx(0.5 * (1 - 1 / gain.speedup_ratio))


def test_the_order_of_the_workload_does_not_matter(shop: Engine) -> None:
    texts = ["WHERE customer_id = ?", "WHERE product_id = ? AND placed_at > ?", "WHERE id = ?"]
    assert columns(advised(shop, *texts)) == columns(advised(shop, *reversed(texts)))


@pytest.fixture(scope="module")
def visits(tmp_path_factory) -> Iterator[Engine]:
    """Many rows with something in them: to read them all by an index takes long."""
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('choice') / 'visits.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE visits (id INTEGER PRIMARY KEY, cents INT, state TEXT, note TEXT)"
        )
        connection.exec_driver_sql(
            "INSERT INTO visits VALUES (?, ?, ?, ?)",
            [(n, n * 7919 % 20_011, "paid", "x" * 200) for n in range(20_000)],
        )
        connection.exec_driver_sql("ANALYZE")
    yield engine
    engine.dispose()


LARGEST = "SELECT id, cents FROM visits ORDER BY cents DESC LIMIT 20"


def advised_beside(visits: Engine, statement: str, *, calls: int) -> AdviceReport:
    """For the largest, beside a statement of a range that is nearly everything."""
    largest = WorkloadQuery(
        fingerprint="largest", statement=LARGEST, calls=50, mean_seconds=0.004, mean_rows=20
    )
    other = WorkloadQuery(
        fingerprint="other", statement=statement, calls=calls, mean_seconds=0.004, mean_rows=1
    )
    return advise(visits, [largest, other])


def test_an_index_is_made_wide_enough_for_what_it_would_make_slower(visits: Engine) -> None:
    report = advised_beside(
        visits, "SELECT count(*) FROM visits WHERE state != ? AND cents > ?", calls=100
    )
    assert [one.definition.columns for one in report.advice] == [("cents",)]
    assert [one.definition.include for one in report.advice] == [("state",)]
    assert [gain.fingerprint for gain in report.advice[0].gains] == ["largest"]
    assert report.unadvised == ()


def test_what_makes_more_slower_than_faster_is_not_advised_and_named(visits: Engine) -> None:
    report = advised_beside(
        visits,
        "SELECT max(note || state || id) FROM visits WHERE state != ? AND cents > ?",
        calls=100,
    )
    assert report.advice == ()
    assert [one.fingerprint for one in report.unadvised] == ["largest"]
    assert report.unadvised[0].because.endswith(
        "would help it, but the planner would take it for other too "
        "(SELECT max(note || state || id) FROM visits WHERE state != ? AND cents > ?), "
        "and lose more by that than is saved."
    )


def test_what_makes_less_slower_than_faster_is_advised(visits: Engine) -> None:
    report = advised_beside(
        visits,
        "SELECT max(note || state || id) FROM visits WHERE state != ? AND cents > ?",
        calls=1,
    )
    assert [one.definition.columns for one in report.advice] == [("cents",)]
    assert [gain.fingerprint for gain in report.advice[0].touched] == ["other"]
