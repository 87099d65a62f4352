"""What the real servers of today answer; the recorded plans hold what they answered before."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sa_perf.dialects import dialect_for
from sa_perf.errors import ExplainError, ExplainRefused

SHOP = Path(__file__).resolve().parent.parent / "data" / "plans" / "shop.py"


@pytest.fixture(scope="module")
def shop() -> Any:
    spec = importlib.util.spec_from_file_location("recorded_shop", SHOP)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def small_shop(db, shop) -> Any:
    """The shop with the first rows of each table."""
    engine = db.engine()
    shop.metadata.create_all(engine)
    with engine.begin() as connection:
        for table, rows in shop.rows():
            connection.execute(table.insert(), rows[:200])
    return engine


@pytest.fixture
def raw(db) -> Any:
    """An engine with a table of three rows, and a DBAPI connection of it."""
    engine = db.engine()
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b VARCHAR(40))")
        )
        connection.execute(text("INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y'), (3, 30, 'z')"))
    borrowed = engine.raw_connection()
    yield engine, borrowed.driver_connection
    borrowed.close()


def test_every_recorded_statement_is_still_understood(small_shop, shop) -> None:
    dialect = dialect_for(small_shop)
    borrowed = small_shop.raw_connection()
    unknown = {}
    for case in shop.CASES:
        if case.databases and dialect.name not in case.databases:
            continue
        compiled = text(case.sql).compile(dialect=small_shop.dialect)
        values = {name: case.values[name] for name in compiled.params}
        if compiled.positional:
            values = tuple(values[name] for name in compiled.positiontup)
        plan = dialect.explain(
            borrowed.driver_connection,
            str(compiled),
            values if case.known else None,
            analyze=case.analyze,
        )
        steps = [node.label for node in plan.root.walk() if node.operation == "unknown"]
        if steps:
            unknown[case.name] = steps
    borrowed.close()
    assert unknown == {}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (4, 40, 'new')",
        "INSERT INTO t SELECT id + 10, a, b FROM t",
        "UPDATE t SET a = a + 1",
        "DELETE FROM t",
    ],
)
def test_explaining_a_write_changes_nothing(raw, statement: str) -> None:
    engine, dbapi_connection = raw
    dialect_for(engine).explain(dbapi_connection, statement, ())
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, a, b FROM t ORDER BY id")).fetchall()
    assert [tuple(row) for row in rows] == [(1, 10, "x"), (2, 20, "y"), (3, 30, "z")]


def test_explaining_a_write_leaves_no_lock(raw) -> None:
    engine, dbapi_connection = raw
    dialect_for(engine).explain(dbapi_connection, "UPDATE t SET a = 5 WHERE id = 1", ())
    with engine.begin() as connection:
        connection.execute(text("UPDATE t SET a = 6 WHERE id = 1"))


@pytest.mark.parametrize("call", ["nextval('numbers')", "setval('numbers', 70)"])
def test_explaining_a_sequence_does_not_advance_it(postgresql_database, call: str) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE SEQUENCE numbers"))
        connection.execute(text("SELECT nextval('numbers')"))
    borrowed = engine.raw_connection()
    dialect_for(engine).explain(borrowed.driver_connection, f"SELECT {call}", None)
    borrowed.close()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT last_value FROM numbers")) == 1


def test_postgresql_runs_no_write_even_if_it_is_told_to(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    borrowed = engine.raw_connection()
    dialect = dialect_for(engine)
    with pytest.raises(ExplainError, match="read-only"):
        dialect.explain(borrowed.driver_connection, "DELETE FROM t", None, analyze=True)
    borrowed.close()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 1


def test_mariadb_refuses_to_analyze_a_write(mariadb_database) -> None:
    engine = mariadb_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    borrowed = engine.raw_connection()
    with pytest.raises(ExplainRefused, match="write"):
        dialect_for(engine).explain(borrowed.driver_connection, "DELETE FROM t", None, analyze=True)
    borrowed.close()


@pytest.mark.parametrize("style", ["pyformat", "numeric_dollar"])
def test_postgresql_plans_for_any_values(postgresql_database, style: str) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER, b TEXT)"))
    borrowed = engine.raw_connection()
    marks = ("%(x)s", "%(y)s") if style == "pyformat" else ("$1", "$2")
    plan = dialect_for(engine).explain(
        borrowed.driver_connection,
        f"SELECT * FROM t WHERE a = {marks[0]} AND b = {marks[1]}",
        None,
        paramstyle=style,
    )
    borrowed.close()
    assert plan.generic
    assert plan.root.filter == "((a = $1) AND (b = $2))"


def test_mariadb_says_that_it_needs_the_values(mariadb_database) -> None:
    engine = mariadb_database.engine()
    borrowed = engine.raw_connection()
    with pytest.raises(ExplainError, match="values"):
        dialect_for(engine).explain(borrowed.driver_connection, "SELECT 1 + %(x)s", None)
    borrowed.close()


def test_a_mysql_url_that_leads_to_mariadb_is_known_for_what_it_is(mariadb_database) -> None:
    engine = mariadb_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    borrowed = engine.raw_connection()
    plan = dialect_for("mysql").explain(borrowed.driver_connection, "SELECT * FROM t", None)
    borrowed.close()
    assert plan.database == "mariadb"
    assert dialect_for(engine).name == "mariadb"


def test_facts_are_read_from_each_catalog(raw) -> None:
    engine, dbapi_connection = raw
    with engine.begin() as connection:
        connection.execute(text("CREATE INDEX ix_t_b ON t (b, a)"))
    facts = dialect_for(engine).table_facts(dbapi_connection, ["t", "no_such_table"])
    assert set(facts) == {"t"}
    found = facts["t"]
    assert [column.name for column in found.columns] == ["id", "a", "b"]
    assert [column.nullable for column in found.columns] == [False, True, True]
    keys = {index.columns: (index.unique, index.primary) for index in found.indexes}
    assert keys == {("id",): (True, True), ("b", "a"): (False, False)}


def test_postgresql_tells_expressions_and_conditions_of_indexes(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA apart"))
        connection.execute(text('CREATE TABLE apart.t (a INTEGER, b TEXT COLLATE "C")'))
        connection.execute(text("CREATE INDEX ix ON apart.t (lower(b), a) WHERE a > 3"))
    borrowed = engine.raw_connection()
    found = dialect_for(engine).table_facts(borrowed.driver_connection, ["apart.t"])["apart.t"]
    borrowed.close()
    assert found.column("b").collation == "C"
    assert found.indexes[0].columns == (None, "a")
    assert found.indexes[0].expressions == ("lower(b)",)
    assert found.indexes[0].predicate == "(a > 3)"


def test_postgresql_counts_the_rows_of_all_partitions(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER) PARTITION BY RANGE (a)"))
        for start in (0, 1_000):
            connection.execute(
                text(
                    f"CREATE TABLE t{start} PARTITION OF t FOR VALUES FROM ({start}) "
                    f"TO ({start + 1_000})"
                )
            )
        connection.execute(text("INSERT INTO t SELECT g FROM generate_series(0, 1999) AS g"))
        connection.execute(text("ANALYZE t"))
    borrowed = engine.raw_connection()
    found = dialect_for(engine).table_facts(borrowed.driver_connection, ["t"])
    borrowed.close()
    assert found["t"].rows_estimate == 2_000


def test_rows_that_were_never_analyzed_are_estimated_by_size(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE t (a INTEGER, b TEXT) WITH (autovacuum_enabled = false)")
        )
        connection.execute(
            text("INSERT INTO t SELECT g, repeat('x', 30) FROM generate_series(1, 20000) AS g")
        )
    borrowed = engine.raw_connection()
    found = dialect_for(engine).table_facts(borrowed.driver_connection, ["t"])
    borrowed.close()
    assert found["t"].rows_estimate == pytest.approx(20_000, rel=0.3)


def test_an_error_of_the_server_comes_without_values(raw) -> None:
    engine, dbapi_connection = raw
    with pytest.raises(ExplainError) as caught:
        dialect_for(engine).explain(
            dbapi_connection, "SELECT * FROM no_such_table WHERE a = 'canary-7316'", ()
        )
    assert "canary" not in str(caught.value)
    assert "no_such_table" in str(caught.value)


def test_after_an_error_the_connection_can_be_used(raw) -> None:
    engine, dbapi_connection = raw
    dialect = dialect_for(engine)
    with pytest.raises(ExplainError):
        dialect.explain(dbapi_connection, "SELECT * FROM no_such_table", ())
    assert dialect.explain(dbapi_connection, "SELECT * FROM t", ()).root is not None
