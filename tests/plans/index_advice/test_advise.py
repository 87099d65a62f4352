from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, StaticPool

from sa_perf.dialects import dialect_for
from sa_perf.errors import ExplainError, ExplainRefused
from sa_perf.plans.index_advice import AdviceReport, WorkloadQuery, advise

BY_CUSTOMER = "SELECT * FROM orders WHERE customer_id = ?"
ON_CUSTOMER = "CREATE INDEX ix_orders_customer_id ON orders (customer_id)"


def fill(engine: Engine, table: str = "orders", rows: int = 8_000) -> None:
    key = "INTEGER PRIMARY KEY" if engine.dialect.name == "sqlite" else "INT PRIMARY KEY"
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    quoted = dialect_for(engine).quote("order")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE {table} (id {key}, customer_id INT, {quoted} INT, status VARCHAR(9))"
        )
        connection.exec_driver_sql(
            f"INSERT INTO {table} VALUES ({mark}, {mark}, {mark}, {mark})",
            [(n, n * 7919 % 1_500, n * 31 % 997, "done" if n % 50 else "new") for n in range(rows)],
        )
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"ANALYZE {table}")


def workload(*statements: str, **rest: Any) -> list[WorkloadQuery]:
    return [
        WorkloadQuery(
            fingerprint=f"f{at}", statement=one, **{"calls": 10, "mean_seconds": 0.1, **rest}
        )
        for at, one in enumerate(statements)
    ]


def created(report: AdviceReport) -> list[str]:
    return [one.create_sql for one in report.advice]


def reasons(report: AdviceReport) -> list[str]:
    return [one.because for one in report.unadvised]


@pytest.fixture
def shop(sqlite_database) -> Engine:
    engine = sqlite_database.engine()
    fill(engine)
    return engine


def test_an_empty_workload_gives_an_empty_report(shop: Engine) -> None:
    report = advise(shop, [])
    assert (report.advice, report.unadvised, report.examined, report.skipped) == ((), (), 0, 0)


def test_the_file_is_not_touched(shop: Engine) -> None:
    shop.dispose()
    path = Path(str(shop.url.database))
    before = path.read_bytes()
    assert created(advise(shop, workload(BY_CUSTOMER))) == [ON_CUSTOMER]
    shop.dispose()
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_catalog_of_a_server_is_not_touched(hypopg_database) -> None:
    engine = hypopg_database.engine(poolclass=NullPool)
    fill(engine)
    catalog = "SELECT relname, relfilenode, relpages FROM pg_class ORDER BY oid"
    with engine.connect() as connection:
        before = connection.execute(text(catalog)).all()
        report = advise(engine, workload(BY_CUSTOMER[:-1] + "%s"))
        assert connection.execute(text(catalog)).all() == before
    assert report.advice[0].verified


@pytest.mark.parametrize(
    "statement",
    ["", ";", "-- nothing", "DROP TABLE orders", "CREATE INDEX x ON orders (id)",
     "SELECT 1; DROP TABLE orders", "PRAGMA writable_schema = 1", "\0", f"{BY_CUSTOMER}\0",
     "VACUUM", "ATTACH 'x.db' AS x", "(", "'", "\ud800", "%s %(x)s %", "🐍" * 500],
)  # fmt: skip
def test_what_is_no_query_does_no_harm(shop: Engine, statement: str) -> None:
    report = advise(shop, workload(statement, BY_CUSTOMER))
    assert created(report) == [ON_CUSTOMER]
    assert inspect(shop).get_indexes("orders") == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM gone WHERE a = 'secret'",
        "SELECT no FROM orders",
        "SELECT FROM WHERE 4711",
    ],
)
def test_what_cannot_be_planned_is_told_without_values(shop: Engine, statement: str) -> None:
    report = advise(shop, workload(statement))
    assert len(report.unadvised) == 1
    assert "'secret'" not in repr(report)
    assert "4711" not in repr(report)


def test_statements_of_a_megabyte_are_survived(shop: Engine) -> None:
    long = "x" * 1_000_000
    report = advise(
        shop,
        workload(
            f"{BY_CUSTOMER} /* {long} */",
            f"SELECT * FROM orders WHERE status = '{long}'",
            f"SELECT * FROM orders WHERE id IN ({'?, ' * 300_000}?)",
            f"SELECT {'(' * 5_000}1{')' * 5_000}",
            f"SELECT * FROM orders WHERE {' OR '.join(['customer_id = ?'] * 3_000)}",
            BY_CUSTOMER,
        ),
    )
    assert ON_CUSTOMER in created(report)
    assert all(len(one.statement) <= 300 for one in report.unadvised)


def test_those_that_took_most_time_are_looked_at(shop: Engine) -> None:
    cheap = WorkloadQuery(fingerprint="c", statement=BY_CUSTOMER, calls=1, mean_seconds=0.001)
    dear = WorkloadQuery(
        fingerprint="d", statement="SELECT * FROM orders WHERE status = ?", mean_seconds=9.0
    )
    report = advise(shop, [cheap, dear], limit=1)
    assert (report.advice, report.examined, report.skipped) == ((), 1, 1)


def test_progress_is_told_up_to_the_end(shop: Engine) -> None:
    told: list[tuple[int, int]] = []
    advise(shop, workload(BY_CUSTOMER, "SELECT 1"), progress=lambda *one: told.append(one))
    assert told[-1] == (2, 2)
    assert told == sorted(told)


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"least_speedup": 1.0}, {"least_rows": -1}, {"timeout_seconds": 0.0}]
)
def test_an_argument_out_of_range_is_refused(shop: Engine, wrong: dict[str, float]) -> None:
    with pytest.raises(ExplainRefused, match=f"{next(iter(wrong))}="):
        advise(shop, [], **wrong)


def test_reserved_words_are_advised(shop: Engine) -> None:
    assert created(advise(shop, workload('SELECT * FROM orders WHERE "order" = ?'))) == [
        'CREATE INDEX ix_orders_order ON orders ("order")'
    ]


def test_expressions_of_quoted_names_are_advised(hypopg_database) -> None:
    engine = hypopg_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE "Users" (id int PRIMARY KEY, "Email" text)')
        connection.exec_driver_sql(
            "INSERT INTO \"Users\" SELECT n, 'User' || n FROM generate_series(1, 8000) n"
        )
        connection.exec_driver_sql('ANALYZE "Users"')
    statement = 'SELECT * FROM "Users" WHERE lower("Users"."Email") = %(x)s'
    (one,) = advise(engine, workload(statement)).advice
    assert one.create_sql == (
        'CREATE INDEX CONCURRENTLY "ix_Users_lower_email" ON "Users" ((LOWER("Email")))'
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(one.create_sql)


@pytest.mark.parametrize(
    "statement",
    [
        "WITH mine AS (SELECT * FROM orders WHERE customer_id = ?) SELECT * FROM mine",
        "SELECT *, row_number() OVER (ORDER BY id) FROM orders WHERE customer_id = ?",
        "SELECT * FROM (SELECT * FROM orders WHERE customer_id = ?) AS x",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = ?)",
        "SELECT * FROM orders WHERE customer_id = ? UNION ALL SELECT * FROM orders WHERE id = ?",
        "UPDATE orders SET status = ? WHERE customer_id = ?",
        "DELETE FROM orders WHERE customer_id = ?",
        'SELECT * FROM "main"."orders" WHERE customer_id = ?',
        "SELECT * FROM ORDERS WHERE CUSTOMER_ID = ?",
    ],
)
def test_a_condition_is_seen_wherever_it_stands(shop: Engine, statement: str) -> None:
    report = advise(shop, workload(statement))
    assert [one.definition.columns[0] for one in report.advice] == ["customer_id"]


def test_tables_of_one_name_in_two_schemas_are_told_apart(hypopg_database) -> None:
    engine = hypopg_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA one; CREATE SCHEMA two")
    fill(engine, "one.orders")
    fill(engine, "two.orders", rows=20)
    report = advise(engine, workload("SELECT * FROM one.orders WHERE customer_id = %s"))
    assert created(report) == [
        "CREATE INDEX CONCURRENTLY ix_orders_customer_id ON one.orders (customer_id)"
    ]
    assert 'schema="one"' in report.advice[0].alembic_upgrade


@pytest.mark.parametrize("pool", [None, StaticPool])
def test_a_database_in_memory_is_advised_and_its_transaction_goes_on(pool) -> None:
    engine = create_engine("sqlite://", **({} if pool is None else {"poolclass": pool}))
    fill(engine)
    with engine.connect() as connection, Session(engine) as session:
        connection.exec_driver_sql("INSERT INTO orders (id) VALUES (99999)")
        for bind in (engine, connection, session):
            assert created(advise(bind, workload(BY_CUSTOMER))) == [ON_CUSTOMER]
        count = connection.exec_driver_sql("SELECT count(*) FROM orders").scalar()
        assert count == 8_001
        assert connection.in_transaction()
    engine.dispose()


def test_an_asynchronous_engine_is_advised_within_its_loop(async_db) -> None:
    fill_with = async_db.engine()
    memory = async_db.name.startswith("sqlite_memory")
    mark = "?" if async_db.backend == "sqlite" else "%s"
    if not memory:
        fill(fill_with)

    async def run() -> AdviceReport:
        engine = async_db.async_engine()
        style = dialect_for(engine).paramstyle
        place = "$1" if style == "numeric_dollar" else mark
        queries = workload(f"SELECT * FROM orders WHERE customer_id = {place}")
        if not memory:
            return advise(engine, queries)
        async with engine.connect() as connection:
            await connection.run_sync(lambda sync: fill(sync.engine))
            return await connection.run_sync(lambda sync: advise(sync, queries))

    report = async_db.run(run())
    assert [one.definition.columns for one in report.advice] == [("customer_id",)]


def test_a_locked_database_is_told_in_time(sqlite_database) -> None:
    engine = sqlite_database.engine()
    fill(engine)
    writer = sqlite3.connect(str(engine.url.database), isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ExplainError, match="database is locked"):
        advise(engine, workload(BY_CUSTOMER), timeout_seconds=0.1)
    writer.close()


def test_a_writer_does_not_stand_in_the_way(shop: Engine) -> None:
    writer = sqlite3.connect(str(shop.url.database), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO orders (id) VALUES (99999)")
    assert created(advise(shop, workload(BY_CUSTOMER))) == [ON_CUSTOMER]
    writer.execute("COMMIT")
    writer.close()


@pytest.mark.postgresql
@pytest.mark.mariadb
@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://u:sekrit@127.0.0.1:1/x", "mysql+pymysql://u:sekrit@127.0.0.1:1/x",
     "postgresql+asyncpg://u:sekrit@127.0.0.1:1/x", "sqlite:////no/such/folder/x.db"],
)  # fmt: skip
def test_a_database_that_does_not_answer_is_an_error_of_ours(url: str) -> None:
    with pytest.raises(ExplainError) as caught:
        advise(create_engine(url), workload(BY_CUSTOMER))
    assert "sekrit" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_without_privileges_the_others_are_advised(hypopg_database, hypopg_server) -> None:
    engine = hypopg_database.engine()
    fill(engine)
    fill(engine, "open_orders")
    role = f"{engine.url.database}_r"
    hypopg_server.execute(f"CREATE ROLE {role}")
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"GRANT SELECT ON open_orders TO {role}")
        theirs = hypopg_database.engine(connect_args={"options": f"-c role={role}"})
        report = advise(
            theirs,
            workload(*(f"SELECT * FROM {one} WHERE customer_id = %s" for one in
                       ("orders", "open_orders"))),
        )  # fmt: skip
        assert [one.definition.table for one in report.advice] == ["open_orders"]
        assert reasons(report) == ["InsufficientPrivilege: permission denied for table orders"]
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
        hypopg_server.execute(f"DROP ROLE {role}")


def test_without_hypopg_the_rule_alone_speaks_and_says_so(postgresql_database) -> None:
    engine = postgresql_database.engine()
    fill(engine)
    (one,) = advise(engine, workload(BY_CUSTOMER[:-1] + "%s")).advice
    assert not one.verified
    assert "HypoPG" in str(one.unverified_because)
    assert one.gains[0].plan_after is None


def test_a_temporary_table_is_none_that_can_be_told_of(shop: Engine) -> None:
    with shop.connect() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE mine (a INT)")
        report = advise(connection, workload("SELECT * FROM mine WHERE a = ?"))
    assert reasons(report) == ["OperationalError: no such table: mine"]


def test_a_view_is_told_of(shop: Engine, hypopg_database) -> None:
    server = hypopg_database.engine()
    fill(server)
    for engine, mark in ((shop, "?"), (server, "%s")):
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE VIEW mine AS SELECT * FROM orders")
        report = advise(engine, workload(f"SELECT * FROM mine WHERE customer_id = {mark}"))
        assert reasons(report) == ["it reads mine, whose own statement is not looked into."]


@pytest.mark.parametrize(
    ("statement", "because"),
    [
        (f"{BY_CUSTOMER} AND status = '{'x' * 200_000}'", "at most 200000 are explained"),
        (f"{BY_CUSTOMER}\0", "NUL character"),
        (f"{BY_CUSTOMER}; {BY_CUSTOMER}", "more than one statement"),
        (f"/* a page */ {BY_CUSTOMER}; {BY_CUSTOMER}", "more than one statement"),
        (f"WITH a AS ({BY_CUSTOMER}) SELECT * INTO b FROM a", "SELECT ... INTO writes"),
        ("SELEC * FROM orders WHERE customer_id = ?", "'SELEC' has no plan"),
        ("(orders)", "'ORDERS' has no plan"),
    ],
)
def test_a_query_that_is_not_looked_at_is_told_of(
    shop: Engine, statement: str, because: str
) -> None:
    (reason,) = reasons(advise(shop, workload(statement)))
    assert because in reason
