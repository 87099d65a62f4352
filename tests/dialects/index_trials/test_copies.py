from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from sa_perf.dialects.index_trials import copies
from sa_perf.dialects.index_trials.copies import copied, is_same_database
from sa_perf.errors import ExplainError, ExplainRefused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "shop.db"
    path.parent.mkdir()
    fill(path)
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch) -> Path:
    """Where copies are made in this test."""
    folder = tmp_path / "with % and ? in it"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def fill(path: Path, journal: str = "delete") -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    connection.executemany("INSERT INTO t (b) VALUES (?)", [("x" * 500,) for _ in range(5_000)])
    connection.commit()
    connection.close()


def engine_for(path: Path) -> Engine:
    return create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)


def test_a_copy_may_be_changed_and_is_gone_afterwards(file: Path, temporary: Path) -> None:
    before = file.read_bytes()
    with copied(engine_for(file)) as copy, copy.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 5_000
        connection.execute(text("DROP TABLE t"))
        assert list(temporary.iterdir()) != []
    assert list(temporary.iterdir()) == []
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_an_interruption_leaves_no_copy(file: Path, temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), copied(engine_for(file)):
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_a_database_in_memory_is_copied(temporary: Path) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    with copied(engine) as copy, copy.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 0
    engine.dispose()


def test_a_full_disk_is_told_before_anything_is_copied(
    file: Path, temporary: Path, monkeypatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000))
    with (
        pytest.raises(ExplainRefused, match=r"has 1 MB left; set TMPDIR"),
        copied(engine_for(file)),
    ):
        pass
    assert list(temporary.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_told(file: Path, temporary: Path, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(copies, "_copy", full)
    with pytest.raises(ExplainError, match="disk is full"), copied(engine_for(file)):
        pass
    assert list(temporary.iterdir()) == []


def test_a_lock_is_not_waited_for_without_end(file: Path, temporary: Path) -> None:
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    engine = create_engine(URL.create("sqlite", database=str(file)), connect_args={"timeout": 0.01})
    seconds = iter(range(0, 1_000, 4))
    with pytest.raises(ExplainError, match="locked"), copied(engine, now=lambda: next(seconds)):
        pass
    writer.close()
    engine.dispose()


def test_a_database_that_is_written_to_all_the_time_is_given_up(
    file: Path, temporary: Path, monkeypatch
) -> None:
    writer = sqlite3.connect(file)

    def write_and_tell() -> float:
        writer.execute("UPDATE t SET b = b || 'y' WHERE a = 1")
        writer.commit()
        return 0.0

    monkeypatch.setattr(copies, "_PAGES", 100)
    with (
        pytest.raises(ExplainError, match="written to all the time"),
        copied(engine_for(file), now=write_and_tell),
    ):
        pass
    writer.close()


def test_with_a_write_ahead_log_writers_go_on(tmp_path: Path, temporary: Path, monkeypatch) -> None:
    path = tmp_path / "wal.db"
    fill(path, "wal")
    writer = sqlite3.connect(path)
    writes = []

    def write_and_tell() -> float:
        writer.execute("INSERT INTO t (b) VALUES ('new')")
        writer.commit()
        writes.append(1)
        return 0.0

    monkeypatch.setattr(copies, "_PAGES", 100)
    with copied(engine_for(path), now=write_and_tell) as copy, copy.connect() as connection:
        seen = connection.execute(text("SELECT count(*) FROM t")).scalar()
    assert len(writes) > 5
    assert 5_000 <= seen <= 5_001
    writer.close()


def test_of_a_server_no_copy_is_made(postgresql_database) -> None:
    with pytest.raises(ExplainRefused, match="give the URL of one"):
        copied(postgresql_database.engine()).__enter__()


def is_same(url, other) -> bool:
    engines = [create_engine(one, poolclass=NullPool) for one in (url, other)]
    with engines[0].connect() as connection, engines[1].connect() as second:
        return is_same_database(connection, second)


def test_a_file_is_known_by_every_path(file: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "link.db").symlink_to(file)
    other = tmp_path / "other.db"
    shutil.copy(file, other)
    monkeypatch.chdir(file.parent)
    url = f"sqlite:///{file}"
    assert is_same(url, "sqlite:///shop.db")
    assert is_same(url, f"sqlite:///{tmp_path / 'link.db'}")
    assert is_same(url, f"sqlite:///file:{file}?uri=true&mode=ro")
    assert not is_same(url, f"sqlite:///{other}")
    assert not is_same(url, "sqlite://")


def test_a_postgresql_database_is_known_by_every_spelling(hypopg_server) -> None:
    with hypopg_server.database("one") as first, hypopg_server.database("two") as second:
        socket = first.url
        assert is_same(socket, socket)
        assert is_same(socket, socket.update_query_dict({"application_name": "x"}))
        assert not is_same(socket, second.url)


def test_a_mariadb_database_is_known_by_every_spelling(mariadb_server) -> None:
    with mariadb_server.database("one") as first, mariadb_server.database("two") as second:
        socket = first.url
        assert is_same(socket, socket)
        assert is_same(socket, socket.set(drivername="mysql+pymysql"))
        assert not is_same(socket, second.url)


def test_what_is_not_known_is_taken_for_the_same(file: Path, monkeypatch) -> None:
    class Unknown:
        name = "unknown"

    monkeypatch.setattr(copies, "dialect_for", lambda engine: Unknown())
    other = engine_for(file.with_name("other.db"))
    with engine_for(file).connect() as connection, other.connect() as second:
        assert is_same_database(connection, second)
