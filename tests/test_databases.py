"""The database fixtures themselves: each gives an empty database that works, sync and async."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import emptied_postgresql
import memory_files
import private_mariadb
import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_database(db, turn: int) -> None:
    engine = db.engine()
    assert inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER)"))
        connection.execute(text("INSERT INTO numbers VALUES (1)"))
        assert connection.scalar(text("SELECT n FROM numbers")) == 1


@pytest.mark.parametrize(
    ("statement", "all_gone"),
    [
        ("CREATE TABLE numbers (n serial PRIMARY KEY)", True),
        ("CREATE VIEW numbers AS SELECT 1; GRANT SELECT ON numbers TO PUBLIC", True),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", True),
        ("CREATE SCHEMA other", False),
        ("CREATE PUBLICATION changes", False),
        ("SELECT lo_create(0)", False),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", False),
        ("REVOKE EXECUTE ON FUNCTION pg_sleep FROM PUBLIC", False),
        ("GRANT SELECT ON pg_statistic TO PUBLIC", False),
        ('ALTER DATABASE "{}" SET work_mem = 1024', False),
        ('ALTER DATABASE "{}" CONNECTION LIMIT 5', False),
    ],
)
def test_a_database_that_is_not_empty_again_is_not_used_again(
    postgresql_database, statement: str, all_gone: bool
) -> None:
    url = postgresql_database.url
    connection = postgresql_database.engine(isolation_level="AUTOCOMMIT").connect()
    connection.exec_driver_sql(statement.format(url.database))
    assert emptied_postgresql.emptied(url) is all_gone
    with pytest.raises(SQLAlchemyError):  # a test's connection does not outlive it
        connection.exec_driver_sql("SELECT 1")
    connection.invalidate()
    assert inspect(postgresql_database.engine()).get_table_names() == []


def test_each_async_driver_reaches_its_database(async_db) -> None:
    async def answer() -> int:
        engine = async_db.async_engine()
        assert engine.dialect.driver == async_db.name.partition("+")[2]
        async with engine.connect() as connection:
            return await connection.scalar(text("SELECT 42"))

    assert async_db.run(answer()) == 42


def test_a_file_is_shared_by_sync_and_async_engines(async_db) -> None:
    if async_db.name.startswith("sqlite_memory"):
        with pytest.raises(SQLAlchemyError):
            async_db.run(_read_over_async(async_db))
        return
    assert async_db.run(_read_over_async(async_db)) == 7


def test_a_directory_that_the_caller_chose_stays(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    memory_files.use_memory()
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_files_stay_on_the_disk_where_memory_is_short(monkeypatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(memory_files, "NEEDED", 1 << 60)
    monkeypatch.setattr(tempfile, "tempdir", "as it was")
    memory_files.use_memory()
    assert ("TMPDIR" in os.environ, tempfile.tempdir) == (False, "as it was")


@pytest.mark.mariadb
@pytest.mark.skipif(not private_mariadb.is_installed(), reason="no programs to start")
def test_a_server_that_does_not_start_tells_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no directory")
    with (
        pytest.raises(private_mariadb.NotStarted, match="data"),
        private_mariadb.started(tmp_path),
    ):
        pass


async def _read_over_async(database) -> int:
    with database.engine().begin() as connection:
        connection.execute(text("CREATE TABLE shared (n INTEGER)"))
        connection.execute(text("INSERT INTO shared VALUES (7)"))
    async with database.async_engine().connect() as connection:
        return await connection.scalar(text("SELECT n FROM shared"))
