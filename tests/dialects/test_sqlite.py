from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import StaticPool

from sa_perf.dialects import dialect_for

DIALECT = dialect_for("sqlite")
KEY = "INTEGER PRIMARY KEY"
PARTIAL = "AUTOMATIC PARTIAL COVERING INDEX"


def parsed(*lines: str) -> Any:
    rows = [(n, 0, 0, line) for n, line in enumerate(lines, 1)]
    root = DIALECT.parse_plan(rows)
    return root.children[0] if len(root.children) == 1 else root.children


# Wording by version: "SCAN TABLE" until 3.35, constant rows and EXISTS from 3.47 and 3.51.
@pytest.mark.parametrize(
    ("line", "operation", "relation", "alias", "index"),
    [
        ("SCAN t", "full_scan", "t", None, None),
        ("SCAN TABLE t", "full_scan", "t", None, None),
        ("SCAN TABLE t AS x", "full_scan", "t", "x", None),
        ("SCAN t LEFT-JOIN", "full_scan", "t", None, None),
        ("SCAN t EXISTS", "full_scan", "t", None, None),
        ("SCAN t (~1048576 rows)", "full_scan", "t", None, None),
        ("SCAN t USING INDEX ix", "index_full_scan", "t", None, "ix"),
        ("SCAN t USING COVERING INDEX ix", "index_full_scan", "t", None, "ix"),
        ("SCAN TABLE t AS x USING COVERING INDEX ix", "index_full_scan", "t", "x", "ix"),
        ("SEARCH t USING INDEX ix (a=?)", "index_scan", "t", None, "ix"),
        ("SEARCH TABLE t AS x USING INDEX ix (a=? AND b>?)", "index_scan", "t", "x", "ix"),
        ("SEARCH t USING INDEX ix (ANY(a) AND b=?)", "index_scan", "t", None, "ix"),
        ("SEARCH t USING COVERING INDEX ix (a>? AND a<?)", "index_only_scan", "t", None, "ix"),
        ("SEARCH t USING INTEGER PRIMARY KEY (rowid=?)", "key_lookup", "t", None, KEY),
        ("SEARCH t USING INTEGER PRIMARY KEY (rowid>?)", "index_scan", "t", None, KEY),
        ("SEARCH t USING PRIMARY KEY (a=?)", "key_lookup", "t", None, "PRIMARY KEY"),
        ("SEARCH t EXISTS USING INDEX ix (a=?)", "index_scan", "t", None, "ix"),
        ("SEARCH t USING INDEX ix (a=?) LEFT-JOIN", "index_scan", "t", None, "ix"),
        ("SEARCH t USING AUTOMATIC COVERING INDEX (a=?)", "automatic_index", "t", None, None),
        (f"SEARCH t USING {PARTIAL} (a=?)", "automatic_index", "t", None, None),
        ("SCAN t VIRTUAL TABLE INDEX 0:M1", "virtual_scan", "t", None, None),
        ("SCAN TABLE t VIRTUAL TABLE INDEX 1:", "virtual_scan", "t", None, None),
        ("SCAN SUBQUERY 1", "subquery_scan", None, None, None),
        ("SCAN SUBQUERY 2 AS x", "subquery_scan", None, "x", None),
        ("SCAN (subquery-1)", "subquery_scan", None, None, None),
        ("SEARCH SUBQUERY 1 AS x USING AUTOMATIC COVERING INDEX (a=?)", "automatic_index", None, "x", None),  # noqa: E501
    ],
)  # fmt: skip
def test_each_wording_of_a_scan_is_read(line, operation, relation, alias, index) -> None:
    node = parsed(line)
    assert (node.operation, node.alias, node.index) == (operation, alias, index)
    if operation != "automatic_index" or relation is not None:
        assert node.relation == relation


@pytest.mark.parametrize(
    ("line", "operation", "temporary"),
    [
        ("SCAN CONSTANT ROW", "result", False),
        ("SCAN 3 CONSTANT ROWS", "values", False),
        ("SCAN 3-ROW VALUES CLAUSE", "values", False),
        ("USE TEMP B-TREE FOR ORDER BY", "sort", True),
        ("USE TEMP B-TREE FOR RIGHT PART OF ORDER BY", "sort", True),
        ("USE TEMP B-TREE FOR LAST TERM OF ORDER BY", "sort", True),
        ("USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY", "sort", True),
        ("USE TEMP B-TREE FOR GROUP BY", "group", True),
        ("USE TEMP B-TREE FOR DISTINCT", "distinct", True),
        ("USE TEMP B-TREE FOR count(DISTINCT)", "sort", True),
        ("CO-ROUTINE x", "subquery", False),
        ("MATERIALIZE x", "materialize", True),
        ("CORRELATED SCALAR SUBQUERY 1", "subquery", False),
        ("CORRELATED LIST SUBQUERY 2", "subquery", False),
        ("SCALAR SUBQUERY 1", "subquery", False),
        ("LIST SUBQUERY 1", "subquery", False),
        ("REUSE LIST SUBQUERY 1", "subquery", False),
        ("REUSE SUBQUERY 1", "subquery", False),
        ("COMPOUND QUERY", "set_operation", False),
        ("LEFT-MOST SUBQUERY", "subquery", False),
        ("UNION ALL", "append", False),
        ("UNION USING TEMP B-TREE", "set_operation", True),
        ("INTERSECT USING TEMP B-TREE", "set_operation", True),
        ("EXCEPT USING TEMP B-TREE", "set_operation", True),
        ("MERGE (UNION)", "set_operation", False),
        ("LEFT", "subquery", False),
        ("RIGHT", "subquery", False),
        ("SETUP", "subquery", False),
        ("RECURSIVE STEP", "recursive_union", False),
        ("MULTI-INDEX OR", "bitmap_scan", False),
        ("INDEX 1", "subquery", False),
        ("BLOOM FILTER ON t (a=?)", "bloom_filter", False),
        ("USING INDEX ix FOR IN-OPERATOR", "index_only_scan", False),
        ("USING ROWID SEARCH ON TABLE t FOR IN-OPERATOR", "key_lookup", False),
        ("RIGHT-JOIN t", "full_scan", False),
        ("SOMETHING OF LATER VERSIONS", "unknown", False),
    ],
)
def test_each_wording_of_a_step_is_read(line: str, operation: str, temporary: bool) -> None:
    node = parsed(line)
    assert (node.operation, node.temporary) == (operation, temporary)


def test_a_scan_of_what_was_materialized_is_no_scan_of_a_table() -> None:
    root = DIALECT.parse_plan(
        [(1, 0, 0, "MATERIALIZE x"), (2, 1, 0, "SCAN t"), (3, 0, 0, "SCAN x")]
    )
    scan = next(node for node in root.walk() if node.label == "SCAN x")
    assert scan.operation == "subquery_scan"


def test_the_loops_of_a_join_stand_below_one_node_in_their_order() -> None:
    join = parsed("SCAN a", "SEARCH b USING INDEX ix (x=?)")
    assert join.operation == "nested_loop"
    assert [node.relation for node in join.children] == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "in_memory"),
    [
        ("sqlite://", True),
        ("sqlite:///:memory:", True),
        ("sqlite:///file::memory:?cache=shared&uri=true", True),
        ("sqlite:///file:x?mode=memory&cache=shared&uri=true", True),
        ("sqlite+aiosqlite://", True),
        ("sqlite:////tmp/app.db", False),
        ("sqlite:///relative.db", False),
    ],
)
def test_databases_in_memory_are_told_by_their_url(url: str, in_memory: bool) -> None:
    assert DIALECT.is_in_memory(make_url(url)) is in_memory


def test_a_connection_knows_better_than_the_url(tmp_path) -> None:
    memory, file = sqlite3.connect(":memory:"), sqlite3.connect(tmp_path / "app.db")
    assert (DIALECT.is_private(memory), DIALECT.is_private(file)) == (True, False)
    memory.close()
    file.close()


@pytest.mark.parametrize(
    ("statement", "own"),
    [
        ("SELECT * FROM orders", True),
        ("INSERT INTO orders VALUES (1)", True),
        ("PRAGMA foreign_keys = ON", False),
        ("SELECT 1", False),
        ("SELECT ?", False),
        ("SELECT 1 FROM orders", True),
        ("SELECT name FROM sqlite_master WHERE type = 'table'", False),
        ("SAVEPOINT x", False),
        ("BEGIN", False),
    ],
)
def test_the_noise_of_drivers_and_reflection_is_told_apart(statement: str, own: bool) -> None:
    assert DIALECT.is_application_statement(statement) is own


@pytest.fixture
def connection() -> Any:
    opened = sqlite3.connect(":memory:")
    yield opened
    opened.close()


def test_explaining_begins_no_transaction_and_changes_nothing(connection) -> None:
    connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    connection.execute("INSERT INTO t VALUES (1, 'x')")
    connection.commit()
    before = connection.total_changes
    DIALECT.explain(connection, "DELETE FROM t WHERE a = ?", (1,))
    assert not connection.in_transaction
    assert connection.total_changes == before
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_explaining_leaves_an_open_transaction_and_an_open_cursor_alone(connection) -> None:
    connection.execute("CREATE TABLE t (a INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(50)])
    reading = connection.execute("SELECT a FROM t ORDER BY a")
    first = reading.fetchone()
    DIALECT.explain(connection, "UPDATE t SET a = 7")
    assert connection.in_transaction
    assert [first, *reading.fetchall()] == [(n,) for n in range(50)]
    connection.rollback()


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("SELECT * FROM t WHERE a = ? AND b = ?", None),
        ("SELECT * FROM t WHERE a = :x AND b = :y", None),
        ("SELECT * FROM t WHERE a = ?2 AND b = ?1", None),
        ("SELECT * FROM t WHERE a = @x", None),
        ("SELECT * FROM t WHERE a = ?", (object(),)),
        ("SELECT * FROM t WHERE a = :x", {"x": object()}),
        ("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, "b")]),
    ],
)
def test_values_that_are_missing_or_odd_are_bound_as_null(
    connection, statement: str, parameters: object
) -> None:
    connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    style = "named" if ":" in statement else "qmark"
    plan = DIALECT.explain(connection, statement, parameters, paramstyle=style)
    assert plan.database == "sqlite"


def test_facts_hold_sizes_columns_and_indexes(connection) -> None:
    connection.executescript(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, n INT NOT NULL, x);
        CREATE INDEX ix_t ON t (n, lower(name)) WHERE n > 5;
        CREATE UNIQUE INDEX ux_t ON t (name);
        """
    )
    connection.executemany("INSERT INTO t VALUES (?, ?, 1, 1)", [(n, str(n)) for n in range(500)])
    facts = DIALECT.table_facts(connection, ["T", "main.t", "nothing"])
    assert set(facts) == {"T", "main.t"}
    assert facts["T"] == facts["main.t"]
    found = facts["T"]
    assert (found.name, found.rows_estimate) == ("t", 500.0)
    assert [(c.name, c.type, c.nullable, c.collation) for c in found.columns] == [
        ("id", "integer", False, None),
        ("name", "text", True, "nocase"),
        ("n", "int", False, None),
        ("x", "", True, None),
    ]
    assert [(i.name, i.columns, i.unique, i.primary, i.predicate) for i in found.indexes] == [
        ("PRIMARY KEY", ("id",), True, True, None),
        ("ix_t", ("n", None), False, False, "n > 5"),
        ("ux_t", ("name",), True, False, None),
    ]
    assert found.indexes[1].expressions == ("lower(name)",)


@pytest.mark.parametrize("gap", [1, 1_000_000_007])
def test_rows_are_estimated_by_density_where_ids_have_gaps(connection, gap: int) -> None:
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
    connection.executemany(
        "INSERT INTO t VALUES (?, 'text')", [(n * gap,) for n in range(1, 30_001)]
    )
    rows = DIALECT.table_facts(connection, ["t"])["t"].rows_estimate
    assert rows == pytest.approx(30_000, rel=0.01)


def test_the_statistics_of_analyze_are_believed(connection) -> None:
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(100)])
    connection.execute("ANALYZE")
    connection.execute("UPDATE sqlite_stat1 SET stat = '123456'")
    assert DIALECT.table_facts(connection, ["t"])["t"].rows_estimate == 123_456.0


def test_a_table_without_rowid_is_counted_up_to_a_limit(connection) -> None:
    connection.execute("CREATE TABLE t (a TEXT PRIMARY KEY, b) WITHOUT ROWID")
    connection.executemany("INSERT INTO t VALUES (?, 1)", [(str(n),) for n in range(100)])
    assert DIALECT.table_facts(connection, ["t"])["t"].rows_estimate == 100.0


def test_tables_of_attached_and_temporary_databases_are_found(connection) -> None:
    connection.execute("ATTACH ':memory:' AS other")
    connection.execute("CREATE TABLE other.far (a)")
    connection.execute("CREATE TEMP TABLE near (a)")
    facts = DIALECT.table_facts(connection, ["far", "near", "other.far"])
    assert set(facts) == {"far", "near", "other.far"}


def test_names_with_quotes_are_quoted(connection) -> None:
    connection.execute('CREATE TABLE "odd ""name""" ("c""1" TEXT)')
    assert DIALECT.table_facts(connection, ['odd "name"'])['odd "name"'].columns[0].name == 'c"1'


def test_the_dialect_of_an_engine_and_of_its_connection_is_the_same_class() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connected:
        connected.execute(text("SELECT 1"))
        kinds = {type(dialect_for(one)) for one in (engine, connected, engine.dialect, "sqlite")}
    engine.dispose()
    assert len(kinds) == 1
