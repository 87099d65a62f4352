"""SQLite's inventory: rowids, WITHOUT ROWID, attached files, what is virtual."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, create_engine

from sa_perf.dialects.inventory import Inventory, read_inventory


def made(engine: Engine, *statements: str) -> Inventory:
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()
        return read_inventory(connection)


def test_the_rowid_is_the_primary_key_and_ends_each_index(sqlite_database) -> None:
    (table,) = made(
        sqlite_database.engine(),
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a text)",
        "CREATE INDEX i ON t (a)",
    ).tables
    assert [(one.name, one.primary) for one in table.indexes] == [
        ("PRIMARY KEY", True),
        ("i", False),
    ]
    assert (table.row_key, table.clustered) == (("id",), True)


def test_a_primary_key_that_is_no_rowid_has_an_index_of_its_own(sqlite_database) -> None:
    found = made(
        sqlite_database.engine(),
        "CREATE TABLE a (id INT PRIMARY KEY)",
        "CREATE TABLE b (id INTEGER PRIMARY KEY DESC)",
        "CREATE TABLE c (x text, y text, PRIMARY KEY (x, y)) WITHOUT ROWID",
        "CREATE TABLE d (x text)",
    )
    told = {one.name: ([index.name for index in one.indexes], one.row_key) for one in found.tables}
    assert told == {
        "a": (["sqlite_autoindex_a_1"], ()),
        "b": (["sqlite_autoindex_b_1"], ()),
        "c": (["sqlite_autoindex_c_1"], ("x", "y")),
        "d": ([], ()),
    }


def test_directions_collations_expressions_and_conditions_are_told(sqlite_database) -> None:
    (table,) = made(
        sqlite_database.engine(),
        "CREATE TABLE t (a text, b text COLLATE NOCASE)",
        "CREATE INDEX i ON t (a DESC, b, a COLLATE RTRIM, lower(a)  DESC) WHERE a  IS NOT NULL",
    ).tables
    (index,) = table.indexes
    assert [part.text for part in index.parts] == [
        "a DESC", "b COLLATE NOCASE", "a COLLATE RTRIM", "(lower(a)) DESC",
    ]  # fmt: skip
    assert index.predicate == "a IS NOT NULL"


def test_a_key_without_columns_refers_to_the_primary_key(sqlite_database) -> None:
    found = made(
        sqlite_database.engine(),
        "CREATE TABLE Parent (x int, y int, PRIMARY KEY (x, y))",
        "CREATE TABLE child (a int, b int, FOREIGN KEY (a, b) REFERENCES parent)",
    )
    (key,) = found.foreign_keys
    assert (key.referred_table, key.referred_columns) == ("Parent", ("x", "y"))


def test_rowids_are_counted_up_to_the_greatest(sqlite_database) -> None:
    last = 2**63 - 1
    found = made(
        sqlite_database.engine(),
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        f"INSERT INTO a VALUES ({last})",
        "DELETE FROM a",
        "CREATE TABLE b (id INTEGER PRIMARY KEY)",
        "INSERT INTO b VALUES (7)",
        "CREATE TABLE c (x text)",
    )
    counters = {one.table: one for one in found.counters}
    assert (counters["a"].last, counters["a"].used_ratio, counters["a"].cycles) == (last, 1, False)
    assert (counters["b"].last, counters["b"].cycles) == (7, True)
    assert counters["c"].last is None


def test_rows_come_from_statistics_else_from_rowids(sqlite_database) -> None:
    found = made(
        sqlite_database.engine(),
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x)",
        "CREATE INDEX i ON a (x)",
        "INSERT INTO a VALUES (1000000, 1), (2, 1)",
        "ANALYZE",
        "CREATE TABLE b (x)",
        "INSERT INTO b VALUES (1), (2), (3)",
        "CREATE TABLE c (x)",
        "CREATE TABLE d (x PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO d VALUES (7)",
    )
    told = {one.name: one.rows_estimate for one in found.tables}
    assert told == {"a": 2, "b": 3, "c": 0, "d": 1}


def test_views_and_virtual_tables_are_told_apart(sqlite_database) -> None:
    found = made(
        sqlite_database.engine(),
        "CREATE TABLE t (x)",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE VIRTUAL TABLE words USING fts5(body)",
    )
    assert [one.name for one in found.tables] == ["t"]
    assert {one.question: one.place for one in found.unknowns} == {
        "1 view": "v",
        "1 virtual table": "words",
        "never used indexes": "database",
        "sizes of indexes": "database",
    }


def test_an_attached_file_is_a_schema(sqlite_database, tmp_path: Path) -> None:
    statements = (
        f"ATTACH '{tmp_path / 'other.db'}' AS \"other:x\"",
        'CREATE TABLE "other:x".t (id INTEGER PRIMARY KEY)',
        'CREATE INDEX "other:x".i ON t (id)',
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
    )
    with sqlite_database.engine().connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()
        found = read_inventory(connection)
        only = read_inventory(connection, ["other:x"])
    assert [(one.schema, one.fullname, len(one.indexes)) for one in found.tables] == [
        ("main", "t", 1),
        ("other:x", "other:x.t", 2),
    ]
    assert [one.schema for one in only.tables] == ["other:x"]


def test_a_file_that_may_only_be_read_will_do(sqlite_database) -> None:
    made(sqlite_database.engine(), "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    path = Path(str(sqlite_database.url.database))
    path.chmod(0o444)
    before = path.stat().st_mtime_ns
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    with engine.connect() as connection:
        assert len(read_inventory(connection).tables) == 1
    engine.dispose()
    assert path.stat().st_mtime_ns == before
