from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_mock_engine, text
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.sizes import DatabaseSizes, read_sizes
from sa_perf.dialects.sizes import sqlite as sqlite_sizes_module
from sa_perf.errors import UnsupportedDatabase
from sa_perf.json_values import decoded, encoded


def sizes(engine: Engine, **options: int) -> DatabaseSizes:
    with engine.connect() as connection:
        found = read_sizes(connection, **options)
        assert not connection.in_transaction()
        return found


def fill(engine: Engine, name: str = "big", rows: int = 3_000) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, word VARCHAR(200))"))
        connection.execute(text(f"CREATE INDEX ix_{name}_word ON {name} (word)"))
        connection.execute(
            text(f"INSERT INTO {name} VALUES (:id, :word)"),
            [{"id": at, "word": f"{at:0100d}"} for at in range(rows)],
        )


def test_each_database_tells_its_size_and_its_largest_tables(db) -> None:
    engine = db.engine()
    fill(engine)
    fill(engine, "little", 1)
    if db.backend == "mariadb":  # else its estimates follow when it finds the time
        with engine.begin() as connection:
            connection.execute(text("ANALYZE TABLE big, little"))
    found = sizes(engine)
    assert [one.name for one in found.tables] == ["big", "little"]
    big = found.tables[0]
    assert big.total_bytes > big.index_bytes > 100_000
    assert big.total_bytes - big.index_bytes > 200_000
    assert 0 <= big.dead_ratio <= 1
    assert found.total_bytes >= sum(one.total_bytes for one in found.tables)
    assert {one.question for one in found.unanswered} <= {"sizes of tables", "data directory"}
    assert decoded(DatabaseSizes, encoded(found)) == found


def test_only_so_many_tables_are_told(sqlite_database) -> None:
    engine = sqlite_database.engine()
    for number in range(4):
        fill(engine, f"t{number}", 10**number)
    assert [one.name for one in sizes(engine, tables=2).tables] == ["t3", "t2"]
    assert sizes(engine, tables=0).tables == ()


def test_a_file_tells_its_folder_its_log_and_what_is_free(sqlite_database) -> None:
    engine = sqlite_database.engine()
    path = Path(sqlite_database.url.database)
    with engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode = wal"))
    fill(engine)
    found = sizes(engine)
    assert found.folder == str(path.parent)
    assert found.log_bytes == os.path.getsize(f"{path}-wal") > 0
    assert found.free_bytes == 0
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE big"))
    assert sizes(engine).free_bytes > 300_000
    assert (found.max_connections, found.connections) == (None, None)


def test_a_database_in_memory_has_no_folder() -> None:
    from sqlalchemy import create_engine

    found = sizes(create_engine("sqlite://"))
    assert (found.folder, found.log_bytes) == (None, None)


def test_tables_of_a_big_file_are_not_read(sqlite_database, monkeypatch) -> None:
    monkeypatch.setattr(sqlite_sizes_module, "_MOST_BYTES", 10_000)
    engine = sqlite_database.engine()
    fill(engine)
    found = sizes(engine)
    assert found.total_bytes > 10_000
    assert found.tables == ()
    assert "more than 10,000 bytes" in found.unanswered[0].reason


def test_postgresql_tells_connections_its_log_and_its_folder(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.connect():
        found = sizes(engine)
    assert found.max_connections == 97
    assert found.connections >= 2
    assert found.log_bytes > 1_000_000
    assert (Path(found.folder) / "PG_VERSION").exists()
    assert found.unanswered == ()


def test_dead_rows_of_postgresql_are_counted(postgresql_database) -> None:
    engine = postgresql_database.engine()
    fill(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE big SET (autovacuum_enabled = false)"))
        connection.execute(text("DELETE FROM big WHERE id % 3 = 0"))
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    (big,) = sizes(engine).tables
    assert big.rows == 2_000
    assert big.dead_ratio == pytest.approx(1 / 3)


def test_partitions_count_as_their_table_and_other_schemas_are_named(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE event (id bigint, word text) PARTITION BY RANGE (id)")
        )
        for low in (0, 500):
            connection.execute(
                text(
                    f"CREATE TABLE event_{low} PARTITION OF event "
                    f"FOR VALUES FROM ({low}) TO ({low + 500})"
                )
            )
        connection.execute(
            text("INSERT INTO event SELECT i, repeat('x', 500) FROM generate_series(0, 999) i")
        )
        connection.execute(text('CREATE SCHEMA "Other"'))
        connection.execute(text('CREATE TABLE "Other".note (id int)'))
    event, note = sizes(engine).tables
    assert event.name == "event"
    assert event.total_bytes > 500_000
    assert note.name == '"Other".note'


def test_what_a_role_may_not_see_is_unknown_and_the_rest_is_told(postgresql_database) -> None:
    engine = postgresql_database.engine()
    role = f"little_{os.getpid()}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    try:
        little = postgresql_database.engine(
            query={"options": f"-c role={role}"},
        )
        found = sizes(little)
        little.dispose()
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {role}"))
    assert found.total_bytes > 1_000_000
    assert found.max_connections == 97
    assert {one.question for one in found.unanswered} == {
        "size of the write-ahead log", "data directory",
    }  # fmt: skip
    assert "permission denied" in found.unanswered[0].reason


def test_mariadb_tells_connections_and_the_size_of_its_logs(mariadb_database) -> None:
    found = sizes(mariadb_database.engine())
    assert found.max_connections >= 10
    assert found.connections >= 1
    assert found.log_bytes >= 0
    assert found.total_bytes == 0


def test_a_server_that_is_gone_is_an_error(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        connection.rollback()
        with postgresql_database.engine().begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(DBAPIError):
            read_sizes(connection)


def test_another_database_is_refused() -> None:
    class Connection:
        dialect = create_mock_engine("oracle://", lambda *_: None).dialect

    with pytest.raises(UnsupportedDatabase, match="does not ask oracle for sizes"):
        read_sizes(Connection())
