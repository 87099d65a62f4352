"""What scopes and transactions added between two readings."""

from __future__ import annotations

from sqlalchemy import create_engine, text

import sa_perf
from sa_perf import Snapshot
from sa_perf.queries.transactions import TransactionStats
from sa_perf.store.difference import scopes_since, transactions_since


def readings() -> tuple[Snapshot, Snapshot]:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine)

    def work(scope: str, *statements: int) -> None:
        for number in statements:
            with sa_perf.scope(scope), engine.begin() as connection:
                for _ in range(number):
                    connection.execute(text("SELECT 1")).all()

    work("GET /", 5, 1)
    work("GET /quiet", 1)
    before = perf.snapshot()
    work("GET /", 2, 3)
    work("GET /new", 7)
    after = perf.snapshot()
    perf.uninstall()
    engine.dispose()
    return before, after


def test_scopes_are_the_runs_between_the_readings() -> None:
    before, after = readings()
    found = {one.name: one for one in scopes_since(before.scopes, after.scopes)}
    assert {name: (one.runs, one.statements, one.rows) for name, one in found.items()} == {
        "GET /": (2, 5, 5),
        "GET /new": (1, 7, 7),
    }
    assert found["GET /new"].max_statements == 7
    # The run of five was before: of these only a bound is known.
    assert 3 <= found["GET /"].max_statements <= 5
    assert 0 < found["GET /"].database_seconds <= found["GET /"].total_seconds
    assert found["GET /"].repeats == ()


def test_transactions_are_those_between_the_readings() -> None:
    before, after = readings()
    found = transactions_since(before.transactions, after.transactions)
    assert found.commits == found.histogram.total() == 3
    assert 0 < found.max_seconds <= found.total_seconds * 1.04


def test_nothing_between_two_readings_is_nothing() -> None:
    _, after = readings()
    assert scopes_since(after.scopes, after.scopes) == ()
    assert transactions_since(after.transactions, after.transactions) == TransactionStats()


def test_all_counts_where_there_is_no_earlier_reading() -> None:
    _, after = readings()
    assert [one.runs for one in scopes_since((), after.scopes)] == [
        one.runs for one in after.scopes
    ]
    assert transactions_since(TransactionStats(), after.transactions) == after.transactions
