from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, inspect

from sa_perf.dialects.index_trials import IndexDefinition, IndexKey
from sa_perf.errors import ExplainError
from sa_perf.plans.index_advice import AdviceReport, WorkloadQuery, advise
from sa_perf.plans.index_advice.measuring import _Bench, measured

BY_CUSTOMER = "SELECT * FROM orders WHERE customer_id = ?"


def fill(engine: Engine, *, table: str = "orders", rows: int = 12_000) -> None:
    sqlite = engine.dialect.name == "sqlite"
    key = "INTEGER PRIMARY KEY" if sqlite else "INT PRIMARY KEY"
    numbers = {
        "sqlite": "WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g "
        f"WHERE n < {rows}) SELECT n, n * 7919 %% 1500, 'x' FROM g",
        "postgresql": f"SELECT n, n * 7919 %% 1500, 'x' FROM generate_series(1, {rows}) n",
        "mariadb": f"SELECT seq, seq * 7919 %% 1500, 'x' FROM seq_1_to_{rows}",
    }[engine.dialect.name]  # fmt: skip
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE {table} (id {key}, customer_id INT, note VARCHAR(40))"
        )
        source = numbers.replace("%%", "%") if sqlite else numbers
        connection.exec_driver_sql(f"INSERT INTO {table} {source}")


def reported(engine: Engine, *statements: str) -> AdviceReport:
    queries = [
        WorkloadQuery(fingerprint=f"f{at}", statement=one, calls=10, mean_seconds=0.1)
        for at, one in enumerate(statements)
    ]
    return advise(engine, queries)


def ticking() -> Callable[[], float]:
    """A clock by which everything takes as long."""
    times = iter(range(1_000_000))
    return lambda: float(next(times))


def test_times_before_and_after_are_told_and_the_copy_is_as_it_was(db) -> None:
    engine = db.engine()
    fill(engine)
    report = reported(engine, BY_CUSTOMER if db.backend == "sqlite" else BY_CUSTOMER[:-1] + "%s")
    (advice,) = measured(report, engine, least_speedup=1.000001).advice
    gain = advice.gains[0]
    assert advice.verified
    assert advice.unverified_because is None
    assert advice.build_seconds > 0
    assert gain.measured_ratio == gain.measured_before_seconds / gain.measured_after_seconds
    assert gain.speedup_ratio == gain.measured_ratio
    assert inspect(engine).get_indexes("orders") == []


def test_what_does_not_pay_is_taken_out_with_its_times(sqlite_database) -> None:
    engine = sqlite_database.engine()
    fill(engine)
    report = measured(reported(engine, BY_CUSTOMER), engine, now=ticking())
    assert report.advice == ()
    (one,) = report.unadvised
    assert one.because == (
        "CREATE INDEX ix_orders_customer_id ON orders (customer_id) made it 1.0 times as fast on "
        "the copy, which does not pay."
    )


def test_what_writes_is_not_run(sqlite_database) -> None:
    engine = sqlite_database.engine()
    fill(engine)
    report = reported(engine, "DELETE FROM orders WHERE customer_id = ?")
    (advice,) = measured(report, engine).advice
    assert advice.gains[0].measured_ratio is None
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 12_000


def test_indexes_in_schemas_with_odd_names_are_measured(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Odd %%"')
    table = '"Odd %%"."order %%s"'
    fill(engine, table=table)
    keys = (IndexKey(column="customer_id"),)
    index = IndexDefinition(
        table="order %s", schema="Odd %", keys=keys, predicate="note LIKE '%x%'"
    )
    fill(engine)
    report = reported(engine, "SELECT * FROM orders WHERE customer_id = %s")
    one = report.advice[0]
    gain = replace(
        one.gains[0],
        statement=f"SELECT * FROM {table} WHERE customer_id = %s AND note LIKE '%%x%%'",
    )
    report = replace(report, advice=(replace(one, definition=index, gains=(gain,)),))
    result = measured(report, engine, least_speedup=1.000001)
    assert [each.build_seconds is not None for each in result.advice] == [True]
    assert inspect(engine).get_indexes("order %s", schema="Odd %") == []


def test_statistics_are_renewed_before_either_measurement(sqlite_database, monkeypatch) -> None:
    engine = sqlite_database.engine()
    fill(engine)
    report = reported(engine, BY_CUSTOMER)
    order: list[str] = []
    for name in ("renew_statistics", "run", "make"):
        original = getattr(_Bench, name)

        def noted(self: _Bench, *arguments: Any, name: str = name, original: Any = original) -> Any:
            order.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(_Bench, name, noted)
    measured(report, engine)
    assert order == ["renew_statistics", "run", "make", "renew_statistics", "run"]


def test_an_index_that_cannot_be_made_is_told_and_the_others_are_dropped(db) -> None:
    engine = db.engine()
    fill(engine)
    report = reported(engine, BY_CUSTOMER if db.backend == "sqlite" else BY_CUSTOMER[:-1] + "%s")
    (good,) = report.advice
    gone = IndexDefinition(table="gone", keys=(IndexKey(column="a"),))
    report = replace(report, advice=(good, replace(good, definition=gone)))
    with pytest.raises(ExplainError, match=r"CREATE INDEX ix_gone_a_try2 .* cannot be made"):
        measured(report, engine)
    assert inspect(engine).get_indexes("orders") == []


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interruption_while_an_index_is_made_leaves_none(db, monkeypatch, after: int) -> None:
    engine = db.engine()
    fill(engine)
    report = reported(engine, BY_CUSTOMER if db.backend == "sqlite" else BY_CUSTOMER[:-1] + "%s")
    original = _Bench._change
    seen: list[str] = []

    def interrupted(self: _Bench, sql: str) -> None:
        if after != 1 or not sql.startswith("CREATE"):
            original(self, sql)
        if sql.startswith("CREATE") or seen:
            seen.append(sql)
            if len(seen) > after - 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(_Bench, "_change", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(report, engine)
    assert seen
    assert inspect(engine).get_indexes("orders") == []


def test_an_index_that_stays_is_named(sqlite_database, monkeypatch) -> None:
    engine = sqlite_database.engine()
    fill(engine)
    report = reported(engine, BY_CUSTOMER)
    original = _Bench.run

    def dropped_by_another(self: _Bench, statements: Any) -> Any:
        found = original(self, statements)
        for index in inspect(engine).get_indexes("orders"):
            self._change(f"DROP INDEX {index['name']}")
        return found

    monkeypatch.setattr(_Bench, "run", dropped_by_another)
    with pytest.raises(ExplainError, match="ix_orders_customer_id_try1 is left in the copy"):
        measured(report, engine)


def test_an_empty_report_measures_nothing(sqlite_database) -> None:
    report = AdviceReport(database="x")
    assert measured(report, sqlite_database.engine()) == report
