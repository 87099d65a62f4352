from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey, IndexTrial, open_trial
from sa_perf.errors import ExplainError, ExplainRefused
from sa_perf.plans.index_advice import WorkloadQuery, advise

#: A shop; `ref` is NULL in the first rows and most others, `never` in all, `gap` at both ends.
SCHEMA = """
CREATE TABLE customers (id INT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(200), name VARCHAR(500),
  country CHAR(2), bio TEXT, note VARCHAR(2000), deleted_at DATETIME NULL);
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer_id INT, status VARCHAR(20),
  total DECIMAL(10, 2), placed_at DATETIME, `order` INT, ref VARCHAR(40) NULL, never INT NULL,
  gap INT NULL, flag TINYINT(1));
CREATE TABLE items (id INT PRIMARY KEY AUTO_INCREMENT, order_id INT, product_id INT, qty INT,
  KEY ix_order (order_id));
INSERT INTO customers (email, name, country, bio, note)
  SELECT concat('a', seq, '@x.org'), concat('n', seq), elt(1 + seq % 4, 'DE', 'FR', 'UK', 'US'),
         'bio', concat('note', seq) FROM seq_1_to_4000;
INSERT INTO orders (customer_id, status, total, placed_at, `order`, ref, gap, flag)
  SELECT seq * 7919 % 4000, if(seq % 100 = 0, 'pending', 'done'), seq % 1000,
         '2024-01-01' + INTERVAL seq MINUTE, seq % 777, if(seq % 3 = 2, concat('r', seq), NULL),
         if(seq BETWEEN 4000 AND 5000, seq, NULL), seq % 2 FROM seq_1_to_12000;
INSERT INTO items (order_id, product_id, qty)
  SELECT seq % 12000, seq * 31 % 3000, seq % 9 FROM seq_1_to_24000;
ANALYZE TABLE customers, orders, items
"""


@pytest.fixture(scope="module")
def engine(mariadb_server) -> Iterator[Engine]:
    with mariadb_server.database("mariadb") as database:
        engine = database.engine()
        with engine.begin() as connection:
            for statement in SCHEMA.split(";\n"):
                connection.exec_driver_sql(statement.replace("%", "%%"))
        yield engine


@pytest.fixture
def trial(engine: Engine) -> Iterator[IndexTrial]:
    with engine.connect() as connection:
        dbapi_connection = connection.connection.dbapi_connection
        dialect = dialect_for(engine)
        facts = dialect.table_facts(dbapi_connection, ["orders", "customers", "items"])
        trial = open_trial(dialect, dbapi_connection, facts)
        yield trial
        trial.close()


def guessed(engine: Engine, statement: str) -> list[tuple[str, ...]]:
    """Table and columns of what is advised for one statement."""
    query = WorkloadQuery(fingerprint="f", statement=statement, calls=9, mean_seconds=0.1)
    found = [one.definition for one in advise(engine, [query]).advice]
    return [(one.table, *one.columns) for one in found]


@pytest.mark.mariadb
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT * FROM orders WHERE customer_id = %s", [("orders", "customer_id")]),
        ("SELECT * FROM orders WHERE customer_id = %s ORDER BY placed_at DESC LIMIT %s",
         [("orders", "customer_id", "placed_at")]),
        ("SELECT * FROM orders WHERE customer_id IN (%s, %s)", [("orders", "customer_id")]),
        ("SELECT * FROM orders WHERE status = %s AND placed_at > %s",
         [("orders", "status", "placed_at")]),
        ("SELECT * FROM orders WHERE placed_at BETWEEN %s AND %s", [("orders", "placed_at")]),
        ("SELECT * FROM orders ORDER BY placed_at DESC LIMIT 20", [("orders", "placed_at")]),
        ("SELECT * FROM customers WHERE email = %s", [("customers", "email")]),
        ("SELECT * FROM orders WHERE `order` = %s", [("orders", "order")]),
        ("SELECT * FROM orders WHERE customer_id = %s AND total %% 2 = 0",
         [("orders", "customer_id")]),
        ("SELECT * FROM items WHERE product_id = %s", [("items", "product_id")]),
        ("SELECT DISTINCT customer_id FROM orders", [("orders", "customer_id")]),
        ("UPDATE orders SET status = %s WHERE customer_id = %s", [("orders", "customer_id")]),
        ("DELETE FROM orders WHERE placed_at < %s", [("orders", "placed_at")]),
        ("WITH x AS (SELECT * FROM orders WHERE customer_id = %s) SELECT * FROM x",
         [("orders", "customer_id")]),
        ("SELECT * FROM orders WHERE ref = %s", [("orders", "ref")]),
        ("SELECT * FROM customers WHERE deleted_at IS NULL AND email = %s",
         [("customers", "deleted_at", "email")]),
        ("SELECT * FROM orders WHERE customer_id = %s OR `order` = %s",
         [("orders", "customer_id"), ("orders", "order")]),
    ],
)  # fmt: skip
def test_a_guess_follows_the_rule_of_keys(engine: Engine, statement: str, expected: list) -> None:
    assert sorted(guessed(engine, statement)) == expected


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM orders WHERE id = %s",
        "SELECT * FROM items WHERE order_id = %s",
        "SELECT * FROM orders WHERE status = %s",
        "SELECT * FROM orders WHERE flag = %s",
        "SELECT * FROM orders WHERE ref IS NULL",
        "SELECT * FROM customers WHERE deleted_at IS NULL",
        "SELECT * FROM customers WHERE country = %s",
        "SELECT * FROM customers WHERE bio = %s",
        "SELECT * FROM customers WHERE note = %s",
        "SELECT * FROM customers WHERE lower(email) = %s",
        "SELECT * FROM customers WHERE email LIKE %s",
        "SELECT * FROM orders WHERE year(placed_at) = %s",
        "SELECT * FROM orders WHERE customer_id = %s OR status = %s OR total + 1 = %s",
        "SELECT * FROM orders LIMIT %s OFFSET %s",
        "SELECT count(*) FROM orders",
    ],
)
def test_no_index_is_guessed_where_none_would_help(engine: Engine, statement: str) -> None:
    assert guessed(engine, statement) == []


@pytest.mark.mariadb
def test_what_is_guessed_can_be_made(engine: Engine) -> None:
    with engine.connect() as connection:
        for statement in (
            "SELECT * FROM customers WHERE name = %s AND note = %s AND email = %s",
            "SELECT * FROM customers WHERE name = %s AND email = %s ORDER BY note",
        ):
            query = WorkloadQuery(fingerprint="f", statement=statement)
            (advice,) = advise(engine, [query]).advice
            connection.execute(text(advice.create_sql))
            connection.execute(text(f"DROP INDEX {advice.definition.name} ON customers"))


@pytest.mark.mariadb
def test_nothing_is_verified_and_the_reason_is_told(engine: Engine, trial: IndexTrial) -> None:
    before = inspect(engine).get_indexes("orders")
    query = WorkloadQuery(fingerprint="f", statement="SELECT * FROM orders WHERE customer_id = %s")
    (advice,) = advise(engine, [query]).advice
    assert not advice.verified
    assert advice.unverified_because == "MariaDB has no hypothetical indexes."
    assert advice.gains[0].plan_before.root.children
    assert advice.gains[0].speedup_ratio is None
    assert inspect(engine).get_indexes("orders") == before
    index = IndexDefinition(table="orders", keys=(IndexKey(column="customer_id"),))
    with pytest.raises(ExplainRefused, match="no hypothetical indexes"):
        trial.plan(query.statement, [index])


@pytest.mark.mariadb
def test_a_column_whose_rows_have_no_value_is_told(engine: Engine) -> None:
    for column in ("never", "gap"):
        statement = f"SELECT * FROM orders WHERE {column} = %s"
        report = advise(engine, [WorkloadQuery(fingerprint="f", statement=statement)])
        assert report.advice == ()
        assert [one.because for one in report.unadvised] == [
            "MariaDB plans for given values only, and no row that was looked at has one in "
            f"{column}"
        ]


@pytest.mark.mariadb
def test_the_share_of_equal_values_leaves_out_null(trial: IndexTrial) -> None:
    share = trial.matched_share("orders", ["status"])
    assert share == pytest.approx(0.98, abs=0.01)
    assert trial.matched_share("orders", ["ref"]) == pytest.approx(1 / 4_000)
    assert trial.matched_share("orders", ["never"]) is None
    assert trial.matched_share("nowhere", ["x"]) is None
    assert trial.matched_share("orders", ["no_such_column"]) is None


@pytest.mark.mariadb
def test_without_privileges_it_cannot_be_told(engine: Engine, mariadb_server) -> None:
    name = engine.url.database
    user = f"{name}_u"[-32:]
    mariadb_server.execute(
        f"CREATE USER '{user}'@'localhost' IDENTIFIED BY 'sekrit'",
        f"GRANT SELECT ON {name}.items TO '{user}'@'localhost'",
        f"GRANT SELECT (id, customer_id) ON {name}.orders TO '{user}'@'localhost'",
    )
    try:
        theirs = create_engine(
            engine.url.set(username=user, password="sekrit"),
            poolclass=NullPool,
        )
        workload = [
            WorkloadQuery(fingerprint=statement, statement=statement)
            for statement in (
                "SELECT * FROM customers WHERE email = %s",
                "SELECT id FROM orders WHERE customer_id = %s",
                "SELECT id FROM orders WHERE status = %s",
                "SELECT * FROM items WHERE product_id = %s",
            )
        ]
        report = advise(theirs, workload)
        assert sorted(one.definition.table for one in report.advice) == ["items", "orders"]
        reasons = [one.because for one in report.unadvised]
        assert len(reasons) == 2
        assert all("denied" in one for one in reasons)
        assert "sekrit" not in repr(report)
    finally:
        mariadb_server.execute(f"DROP USER '{user}'@'localhost'")


@pytest.mark.mariadb
def test_a_table_that_is_gone_is_told(trial: IndexTrial) -> None:
    with pytest.raises(ExplainError, match=r"doesn't exist"):
        trial.plan("SELECT * FROM gone WHERE a = 1")
