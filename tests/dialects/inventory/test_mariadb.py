"""MariaDB's inventory: the clustered key, AUTO_INCREMENT, sequences, privileges, userstat."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from sa_perf.dialects.inventory import Inventory, SchemaIndex, read_inventory


def made(engine: Engine, *statements: str) -> Inventory:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    with engine.connect() as connection:
        return read_inventory(connection)


def by_name(found: Inventory) -> dict[str, SchemaIndex]:
    return {index.name: index for table in found.tables for index in table.indexes}


def test_what_makes_two_indexes_differ_is_told(mariadb_database) -> None:
    found = made(
        mariadb_database.engine(),
        "CREATE TABLE t (a int, b int, c varchar(80), d text, PRIMARY KEY (a, b),"
        " KEY i1 (c(10), a DESC), UNIQUE KEY i2 (b), FULLTEXT i3 (d), KEY i4 (c) IGNORED)",
        "CREATE TABLE m (a int PRIMARY KEY) ENGINE = MyISAM",
    )
    memory, table = found.tables
    assert (table.row_key, table.clustered) == (("a", "b"), True)
    assert (memory.row_key, memory.clustered) == ((), False)
    indexes = by_name(found)
    assert [part.text for part in indexes["i1"].parts] == ["c (10)", "a DESC"]
    assert [indexes[name].unique for name in ("i1", "i2")] == [False, True]
    assert (indexes["i3"].method, indexes["i3"].ordered) == ("fulltext", False)
    assert (indexes["i4"].usable, indexes["i4"].invalid) == (False, None)
    assert (indexes["i1"].bytes or 0) > 0


def test_counters_end_where_their_column_does(mariadb_database) -> None:
    found = made(
        mariadb_database.engine(),
        "CREATE TABLE a (id tinyint unsigned AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 201",
        "CREATE TABLE b (id int AUTO_INCREMENT PRIMARY KEY)",
        "CREATE SEQUENCE s START WITH 100 INCREMENT BY -1 MINVALUE 1 MAXVALUE 100 CACHE 1",
        "SELECT setval(s, 11)",
        "CREATE VIEW v AS SELECT * FROM a",
    )
    told = [(one.table or one.sequence, one.last, one.limit, one.remaining) for one in found.counters]  # noqa: E501  # fmt: skip
    assert told == [
        ("a", 200, 255, 55),
        ("b", None, 2**31 - 1, 2**31 - 2),
        ("s", 11, 1, 10),
    ]
    assert ("1 view", "v") in [(one.question, one.place) for one in found.unknowns]


def test_partitions_are_their_table(mariadb_database) -> None:
    (table,) = made(
        mariadb_database.engine(),
        "CREATE TABLE t (a int, KEY i (a)) PARTITION BY HASH (a) PARTITIONS 3",
    ).tables
    assert table.partitioned
    assert [(one.name, one.bytes) for one in table.indexes] == [("i", 3 * 16_384)]


@pytest.fixture
def nobody(mariadb_database, mariadb_server) -> Iterator[str]:
    """A user without any privilege."""
    user = f"nobody_{mariadb_database.url.database[-12:]}"
    mariadb_server.execute(f"CREATE USER {user}@localhost IDENTIFIED BY 'hunter2'")
    yield user
    mariadb_database.close()
    mariadb_server.execute(f"DROP USER {user}@localhost")


def test_a_user_sees_what_it_has_a_privilege_for(mariadb_database, mariadb_server, nobody) -> None:
    schema = mariadb_database.url.database
    made(
        mariadb_database.engine(),
        "CREATE TABLE mine (id int AUTO_INCREMENT PRIMARY KEY, a int, KEY i (a))",
        "CREATE TABLE others (id int PRIMARY KEY)",
    )
    mariadb_server.execute(f"GRANT SELECT ON {schema}.mine TO {nobody}@localhost")
    mariadb_database.url = mariadb_database.url.set(username=nobody, password="hunter2")
    with mariadb_database.engine().connect() as connection:
        found = read_inventory(connection)
    assert [(one.name, len(one.indexes)) for one in found.tables] == [("mine", 2)]
    assert {one.question for one in found.unknowns} == {"never used indexes", "sizes of indexes"}
    assert "denied" in " ".join(one.because for one in found.unknowns)
    assert found.unanswered == frozenset()


def test_a_user_without_privileges_is_told_so(mariadb_database, mariadb_server, nobody) -> None:
    schema = mariadb_database.url.database
    made(mariadb_database.engine(), "CREATE TABLE t (id int PRIMARY KEY)")
    mariadb_server.execute(f"GRANT EXECUTE ON {schema}.* TO {nobody}@localhost")
    mariadb_database.url = mariadb_database.url.set(username=nobody, password="hunter2")
    with mariadb_database.engine().connect() as connection:
        found = read_inventory(connection)
    assert found.tables == ()
    assert ("tables", schema) in [(one.question, one.place) for one in found.unknowns]


def test_without_a_database_in_the_url_each_is_read(mariadb_database, mariadb_server) -> None:
    schema = mariadb_database.url.database
    engine = mariadb_database.engine()
    made(engine, "CREATE TABLE t (id int PRIMARY KEY)")
    mariadb_database.url = mariadb_server.url
    with mariadb_database.engine().connect() as connection:
        found = read_inventory(connection, [schema])
        every = read_inventory(connection)
    assert [one.fullname for one in found.tables] == [f"{schema}.t"]
    assert schema in every.schemas
    assert "mysql" not in every.schemas


def test_questions_have_a_time_limit_and_cannot_write(mariadb_database) -> None:
    engine = mariadb_database.engine()
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    with engine.connect() as connection:
        read_inventory(connection, timeout_seconds=7)
    selects = [one for one in sent if "SELECT" in one]
    assert selects
    assert all("max_statement_time=7.0" in one for one in selects)
    assert sent.count("START TRANSACTION READ ONLY") == sent.count("ROLLBACK") >= len(selects)


def test_userstat_tells_which_indexes_were_used(mariadb_database, mariadb_server) -> None:
    (before,) = _values(mariadb_database.engine(), "SELECT @@GLOBAL.userstat")
    mariadb_server.execute("SET GLOBAL userstat = 1")
    try:
        engine = mariadb_database.engine(pool_pre_ping=False)
        found = made(
            engine,
            "CREATE TABLE t (id int PRIMARY KEY, a int, b int, KEY i (a), KEY j (b))",
            "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)",
            "SELECT b FROM t FORCE INDEX (i) WHERE a = 2",
        )
    finally:
        mariadb_server.execute(f"SET GLOBAL userstat = {before}")
    indexes = by_name(found)
    assert (indexes["i"].scans, indexes["j"].scans) == (1, 0)
    assert (found.counted_seconds or 0) > 0


def _values(engine: Engine, question: str) -> list[object]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(question).scalars())
