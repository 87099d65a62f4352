"""Commits, rollbacks and how long transactions stay open."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError

import sa_perf
from sa_perf.queries.histogram import Histogram
from sa_perf.queries.transactions import Transactions, TransactionStats, unwrap, wrap


def test_commits_and_rollbacks_are_counted(recorded) -> None:
    recorded.perf.reset()
    with recorded.engine.begin() as connection:
        connection.execute(select(recorded.items)).all()
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
        connection.rollback()
    transactions = recorded.perf.snapshot().transactions
    assert (transactions.commits, transactions.rollbacks) == (1, 1)
    assert 0 < transactions.max_seconds <= transactions.total_seconds


def test_a_savepoint_is_no_transaction_of_its_own(recorded) -> None:
    recorded.perf.reset()
    with recorded.engine.begin() as connection:
        with connection.begin_nested():
            connection.execute(insert(recorded.items).values(id=100))
        nested = connection.begin_nested()
        connection.execute(insert(recorded.items).values(id=101))
        nested.rollback()
    snapshot = recorded.perf.snapshot()
    assert (snapshot.transactions.commits, snapshot.transactions.rollbacks) == (1, 0)
    kinds = [query.kind for query in snapshot.queries if query.kind == "transaction"]
    assert kinds


def test_a_rollback_by_an_exception_is_counted(recorded) -> None:
    recorded.perf.reset()
    with pytest.raises(KeyError), recorded.engine.begin() as connection:
        connection.execute(select(recorded.items)).all()
        raise KeyError
    transactions = recorded.perf.snapshot().transactions
    assert (transactions.commits, transactions.rollbacks) == (0, 1)


def test_a_commit_that_fails_is_no_commit(recorded) -> None:
    recorded.perf.reset()
    dialect = recorded.engine.dialect
    if dialect.name != "sqlite":
        pytest.skip("only SQLite is locked by a reader of our own")
    with recorded.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.commit()
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql("INSERT INTO items (id, owner_id) VALUES (500, 999)")
        with pytest.raises(DBAPIError):
            connection.commit()
        connection.rollback()
    transactions = recorded.perf.snapshot().transactions
    assert (transactions.commits, transactions.rollbacks) == (1, 1)


def test_what_a_pool_rolls_back_is_no_transaction(recorded) -> None:
    recorded.perf.reset()
    for _ in range(3):
        with recorded.engine.connect() as connection:
            connection.execute(select(recorded.items)).all()
            connection.commit()
        raw = recorded.engine.raw_connection()
        raw.close()
    transactions = recorded.perf.snapshot().transactions
    assert (transactions.commits, transactions.rollbacks) == (3, 0)


def test_an_open_transaction_is_not_counted_yet(recorded) -> None:
    recorded.perf.reset()
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
        assert recorded.perf.snapshot().transactions == TransactionStats()
        connection.commit()
    assert recorded.perf.snapshot().transactions.commits == 1


def test_a_two_phase_transaction_does_not_break(recorded) -> None:
    if recorded.engine.dialect.name != "mariadb":
        pytest.skip("prepared transactions are switched off here")
    with recorded.engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(insert(recorded.items).values(id=100))
        transaction.prepare()
        transaction.commit()
    assert recorded.one("INSERT").calls == 1


def test_lengths_are_summed_and_bucketed() -> None:
    transactions = Transactions()
    for committed, duration in ((True, 2_000_000), (True, 4_000_000), (False, 6_000_000)):
        transactions.ended(committed=committed, duration_ns=duration)
    transactions.fold()
    stats = transactions.stats()
    assert (stats.commits, stats.rollbacks) == (2, 1)
    assert (stats.total_seconds, stats.max_seconds) == (0.012, 0.006)
    assert stats.p95_seconds == pytest.approx(0.006, rel=1 / 64)
    assert stats.histogram.total() == 3


def test_a_reading_does_not_change_with_what_follows() -> None:
    transactions = Transactions()
    transactions.ended(committed=True, duration_ns=5)
    transactions.fold()
    stats = transactions.stats()
    transactions.ended(committed=True, duration_ns=5)
    transactions.fold()
    assert (stats.commits, stats.histogram.total()) == (1, 1)


def test_no_transaction_has_no_length() -> None:
    assert TransactionStats().p95_seconds == 0.0
    assert TransactionStats().histogram == Histogram()


def test_uninstalling_leaves_the_methods_of_the_dialect_as_they_were() -> None:
    engine = create_engine("sqlite://")
    before = dict(vars(engine.dialect))

    def ended(committed: bool, duration_ns: int) -> None:
        raise AssertionError

    wrap(engine.dialect, ended)
    assert vars(engine.dialect).keys() - before.keys() == {"do_begin", "do_commit", "do_rollback"}
    unwrap(engine.dialect, ended)
    assert vars(engine.dialect) == before


def test_a_wrapper_of_somebody_else_stays() -> None:
    engine = create_engine("sqlite://")
    calls = []
    perf = sa_perf.install(engine, explain=False)
    ours = engine.dialect.do_commit

    def theirs(dbapi_connection) -> None:
        calls.append("commit")
        ours(dbapi_connection)

    engine.dialect.do_commit = theirs
    perf.uninstall()
    with engine.begin() as connection:
        connection.execute(text("SELECT 1")).all()
    assert calls == ["commit"]
    assert engine.dialect.do_commit is theirs
