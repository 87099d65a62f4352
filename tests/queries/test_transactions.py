"""Commits, rollbacks and how long transactions stay open."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError

import sa_perf
from sa_perf.histogram import Histogram
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


@pytest.mark.skipif(
    not hasattr(Dialect, "detect_autocommit_setting"), reason="SQLAlchemy tells from 2.0.43 on"
)
def test_where_each_statement_commits_itself_there_is_no_transaction(recorded) -> None:
    recorded.perf.reset()
    with recorded.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(insert(recorded.items).values(id=100))
        connection.commit()
        connection.execute(select(recorded.items)).all()
    transactions = recorded.perf.snapshot().transactions
    assert (transactions.commits, transactions.rollbacks) == (0, 0)
    with recorded.engine.begin() as connection:
        connection.execute(select(recorded.items)).all()
    assert recorded.perf.snapshot().transactions.commits == 1


@pytest.mark.skipif(
    not hasattr(Dialect, "detect_autocommit_setting"), reason="SQLAlchemy tells from 2.0.43 on"
)
def test_an_engine_that_is_adopted_may_commit_each_statement_too(sqlite_database) -> None:
    perf = sa_perf.install(Engine, explain=False)
    for level, commits in (("AUTOCOMMIT", 0), ("SERIALIZABLE", 1)):
        with sqlite_database.engine(isolation_level=level).begin() as connection:
            connection.execute(text("SELECT 1")).all()
        assert perf.snapshot().transactions.commits == commits
    perf.uninstall()


def test_a_transaction_that_sqlite_is_told_to_begin_is_counted(sqlite_database) -> None:
    # SQLAlchemy's recipe for SQLite, "Enabling Non-Legacy SQLite Transactional Modes".
    engine = sqlite_database.engine()

    @event.listens_for(engine, "connect")
    def leave_transactions_alone(dbapi_connection, _record) -> None:
        dbapi_connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection) -> None:
        connection.exec_driver_sql("BEGIN")

    perf = sa_perf.install(engine, explain=False)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1")).all()
    transactions = perf.snapshot().transactions
    perf.uninstall()
    assert (transactions.commits, transactions.rollbacks) == (1, 0)


@pytest.mark.async_driver
@pytest.mark.skipif(
    not hasattr(Dialect, "detect_autocommit_setting"), reason="SQLAlchemy tells from 2.0.43 on"
)
def test_an_asynchronous_connection_may_commit_each_statement_too(async_db) -> None:
    async def work() -> TransactionStats:
        engine = async_db.async_engine(isolation_level="AUTOCOMMIT")
        perf = sa_perf.install(engine, explain=False)
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.commit()
        perf.uninstall()
        return perf.snapshot().transactions

    transactions = async_db.run(work())
    assert (transactions.commits, transactions.rollbacks) == (0, 0)


def test_an_open_transaction_is_not_counted_yet(recorded) -> None:
    recorded.perf.reset()
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
        assert recorded.perf.snapshot().transactions == TransactionStats()
        connection.commit()
    assert recorded.perf.snapshot().transactions.commits == 1


@pytest.mark.parametrize("prepared", [True, False], ids=["prepared", "not prepared"])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_two_phase_transaction_is_counted_once(recorded, end: str, prepared: bool) -> None:
    _needs_two_phases(recorded, prepared=prepared)
    recorded.perf.reset()
    with recorded.engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(insert(recorded.items).values(id=100))
        if prepared:
            transaction.prepare()
        getattr(transaction, end)()
    transactions = recorded.perf.snapshot().transactions
    assert (transactions.commits, transactions.rollbacks) == ((1, 0) if end == "commit" else (0, 1))
    assert transactions.max_seconds > 0
    assert recorded.one("INSERT").calls == 1


def test_a_two_phase_transaction_that_is_left_open_is_rolled_back_once(recorded) -> None:
    _needs_two_phases(recorded, prepared=False)
    recorded.perf.reset()
    with recorded.engine.connect() as connection:
        connection.begin_twophase()
        connection.execute(insert(recorded.items).values(id=100))
    transactions = recorded.perf.snapshot().transactions
    assert (transactions.commits, transactions.rollbacks) == (0, 1)


def test_a_two_phase_commit_that_fails_is_no_commit(recorded) -> None:
    if recorded.engine.dialect.name != "mariadb":
        pytest.skip("a transaction can be ended behind SQLAlchemy's back on MariaDB only")
    recorded.perf.reset()
    with recorded.engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.exec_driver_sql(f"XA END '{transaction.xid}'")
        connection.exec_driver_sql(f"XA ROLLBACK '{transaction.xid}'")
        with pytest.raises(DBAPIError):
            transaction.commit()
        assert recorded.perf.snapshot().transactions == TransactionStats()
        connection.invalidate()


@pytest.mark.async_driver
def test_a_two_phase_commit_that_is_a_simple_one_to_its_driver_is_counted_once(
    postgresql_database,
) -> None:
    def in_two_phases(connection: Connection) -> None:
        transaction = connection.begin_twophase()
        connection.execute(text("SELECT 1"))
        transaction.commit()

    async def work() -> TransactionStats:
        engine = postgresql_database.async_engine()
        perf = sa_perf.install(engine, explain=False)
        async with engine.connect() as connection:
            await connection.run_sync(in_two_phases)
        perf.uninstall()
        return perf.snapshot().transactions

    transactions = postgresql_database.run(work())
    assert (transactions.commits, transactions.rollbacks) == (1, 0)


def _needs_two_phases(recorded, *, prepared: bool) -> None:
    name = recorded.engine.dialect.name
    if name == "sqlite" or (name == "postgresql" and prepared):
        pytest.skip("knows no prepared transactions, or has them switched off")


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
    ours = {name for name in vars(engine.dialect).keys() - before.keys() if name[0] != "_"}
    assert ours == {
        f"do_{verb}{kind}" for verb in ("begin", "commit", "rollback") for kind in ("", "_twophase")
    }
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


def test_a_wrapper_that_was_there_before_is_there_again_after_uninstalling() -> None:
    engine = create_engine("sqlite://")
    calls = []
    method = engine.dialect.do_commit

    def theirs(dbapi_connection) -> None:
        calls.append("commit")
        method(dbapi_connection)

    engine.dialect.do_commit = theirs
    sa_perf.install(engine, explain=False).uninstall()
    assert engine.dialect.do_commit is theirs


def test_a_wrapper_around_ours_hides_no_transaction_from_who_installs_again() -> None:
    engine = create_engine("sqlite://")
    first = sa_perf.install(engine, explain=False)
    ours = engine.dialect.do_commit
    engine.dialect.do_commit = lambda dbapi_connection: ours(dbapi_connection)
    first.uninstall()
    second = sa_perf.install(engine, explain=False)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1")).all()
    commits = [perf.snapshot().transactions.commits for perf in (first, second)]
    second.uninstall()
    assert commits == [0, 1]
