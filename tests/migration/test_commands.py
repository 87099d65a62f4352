"""Upgrade, downgrade, current and check, from whatever names a database."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

import sa_perf
from sa_perf import migration
from sa_perf.errors import MigrationError
from sa_perf.tables import SCHEMA_VERSION

#: Databases on which DDL is undone with its transaction.
TRANSACTIONAL = [
    "sqlite_database",
    pytest.param("postgresql_database", marks=pytest.mark.postgresql),
]


def tables_of(engine: Engine) -> set[str]:
    return {name for name in inspect(engine).get_table_names() if name.startswith("sa_perf_ret")}


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_alembic_is_loaded_when_it_is_needed_only() -> None:
    code = "import sys, sa_perf.migration, sa_perf.cli.db; print('alembic' in sys.modules)"
    assert run_python(code).communicate()[0].strip() == "False"


def test_an_engine_is_upgraded_and_tells_so(db) -> None:
    engine = db.engine()
    assert migration.current(engine) is None
    assert migration.upgrade(engine) == ""
    assert migration.current(engine) == SCHEMA_VERSION
    assert len(tables_of(engine)) == 5
    migration.upgrade(engine)
    assert migration.check(engine) == ()


def test_a_url_is_upgraded(db) -> None:
    if db.name == "sqlite_memory":
        pytest.skip("each connection to it is another database")
    migration.upgrade(db.url.render_as_string(hide_password=False))
    assert migration.current(db.url) == SCHEMA_VERSION
    migration.downgrade(db.url, "base")
    assert migration.current(db.url) is None


def test_a_database_in_memory_that_is_shared_by_one_connection_is_upgraded() -> None:
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    migration.upgrade(engine)
    migration.require(engine)
    assert migration.check(engine) == ()
    engine.dispose()


def test_what_was_done_on_a_connection_is_committed(db) -> None:
    engine = db.engine()
    with engine.connect() as connection:
        migration.upgrade(connection)
        assert not connection.in_transaction()
        connection.rollback()
        assert migration.current(connection) == SCHEMA_VERSION
        assert migration.check(connection) == ()
        assert not connection.in_transaction()


def test_within_a_transaction_it_is_for_the_caller_to_commit(db) -> None:
    engine = db.engine()
    with engine.connect() as connection:
        with connection.begin():
            migration.upgrade(connection)
            assert connection.in_transaction()
        assert migration.check(connection) == ()


@pytest.mark.parametrize("fixture", TRANSACTIONAL)
def test_a_rolled_back_upgrade_leaves_nothing(fixture: str, request) -> None:
    engine = request.getfixturevalue(fixture).engine()
    with engine.connect() as connection:
        transaction = connection.begin()
        migration.upgrade(connection)
        transaction.rollback()
    assert inspect(engine).get_table_names() == []


@pytest.mark.parametrize("fixture", TRANSACTIONAL)
def test_an_upgrade_that_fails_leaves_nothing(fixture: str, request) -> None:
    engine = request.getfixturevalue(fixture).engine()
    with engine.begin() as connection:
        # On these databases an index may not have a table's name.
        name = "ix_sa_perf_retention_hold_table_name_row_key"
        connection.execute(text(f"CREATE TABLE {name} (id INTEGER)"))
    with pytest.raises(Exception, match="already"):
        migration.upgrade(engine)
    assert tables_of(engine) == set()
    assert migration.current(engine) is None


def test_an_upgrade_that_broke_off_is_told_with_what_to_do(db) -> None:
    engine = db.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE sa_perf_retention_run (id INTEGER)"))
    with pytest.raises(MigrationError, match=r"already exist.*broke off halfway.*drop what"):
        migration.upgrade(engine)
    assert tables_of(engine) == {"sa_perf_retention_run"}


def test_an_engine_in_autocommit_is_upgraded(db) -> None:
    engine = db.engine().execution_options(isolation_level="AUTOCOMMIT")
    migration.upgrade(engine)
    assert migration.check(engine) == ()


@pytest.mark.async_driver
def test_a_connection_of_an_async_engine_is_upgraded(async_db) -> None:
    async def upgraded() -> tuple[str, ...]:
        async with async_db.async_engine().connect() as connection:
            await connection.run_sync(migration.upgrade)
            return await connection.run_sync(migration.check)

    assert async_db.run(upgraded()) == ()


@pytest.mark.async_driver
def test_a_url_with_an_async_driver_is_upgraded(async_db) -> None:
    if async_db.name.startswith("sqlite_memory"):
        pytest.skip("each connection to it is another database")
    migration.upgrade(async_db.async_url)
    assert migration.check(async_db.async_url) == ()
    migration.require(async_db.engine())


@pytest.mark.async_driver
def test_an_async_engine_is_refused_with_what_to_write(async_db) -> None:
    async def refused() -> None:
        with pytest.raises(TypeError, match=r"run_sync\(sa_perf.migration.upgrade\)"):
            migration.upgrade(async_db.async_engine())
        if async_db.async_url.get_dialect()().is_async:  # psycopg is both
            with pytest.raises(MigrationError, match=r"run_sync\(sa_perf.migration.upgrade\)"):
                migration.upgrade(async_db.async_url)

    async_db.run(refused())


def test_four_processes_that_upgrade_at_once_do_it_once(db) -> None:
    if db.name == "sqlite_memory":
        pytest.skip("no other process sees it")
    code = "import sys; from sa_perf import migration; migration.upgrade(sys.argv[1])"
    url = db.url.render_as_string(hide_password=False)
    running = [run_python(code, url) for _ in range(4)]
    assert [process.communicate()[1] for process in running] == [""] * 4
    assert migration.check(db.url) == ()


def test_threads_of_a_process_upgrade_one_after_the_other(db) -> None:
    if db.name == "sqlite_memory":
        pytest.skip("no other thread sees it")
    engine, faults = db.engine(), []

    def upgrade() -> None:
        try:
            migration.upgrade(engine)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert migration.check(engine) == ()


def damaged(connection: Connection, statement: str) -> tuple[str, ...]:
    connection.execute(text(statement))
    connection.commit()
    return migration.check(connection)


def test_what_is_missing_or_more_is_said_by_name(db) -> None:
    engine = db.engine()
    (said,) = migration.check(engine)
    assert said == f"there are no tables, this sa_perf needs '{SCHEMA_VERSION}'"
    migration.upgrade(engine)
    with engine.connect() as connection:
        found = damaged(connection, "ALTER TABLE sa_perf_retention_lease DROP COLUMN position")
        assert found == ("column sa_perf_retention_lease.position is missing",)
        found = damaged(connection, "DROP TABLE sa_perf_retention_hold")
        assert sorted(found)[-1] == "table sa_perf_retention_hold is missing"
        found = damaged(connection, "ALTER TABLE sa_perf_retention_lease ADD COLUMN x INTEGER")
        assert "column sa_perf_retention_lease.x is not of this version" in found


def test_an_index_that_somebody_added_is_no_fault_and_one_dropped_is(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    with engine.connect() as connection:
        assert damaged(connection, "CREATE INDEX own ON sa_perf_retention_run (pid)") == ()
        on = " ON sa_perf_retention_run" if db.backend == "mariadb" else ""
        found = damaged(connection, f"DROP INDEX ix_sa_perf_retention_run_run{on}")
        assert found == ("index sa_perf_retention_run.ix_sa_perf_retention_run_run is missing",)


@pytest.mark.parametrize("revision", ["nonsense", "sa_perf_7", ""])
def test_a_revision_that_is_not_there_is_refused(db, revision: str) -> None:
    with pytest.raises(MigrationError):
        migration.upgrade(db.engine(), revision or "+9")
    assert migration.current(db.engine()) is None


def test_a_table_of_that_name_that_is_not_ours_is_not_touched(db) -> None:
    engine = db.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE own (id INTEGER)"))
        connection.execute(text("INSERT INTO own VALUES (7)"))
    migration.upgrade(engine)
    migration.downgrade(engine, "base")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT id FROM own")) == 7


def test_the_recorder_of_the_application_sees_none_of_it(db) -> None:
    engine = db.engine()
    engine.connect().close()  # the first one asks the database for its version and the like
    perf = sa_perf.install(engine)
    migration.upgrade(engine)
    migration.check(engine)
    assert perf.snapshot().calls == 0
    perf.uninstall()


def test_a_url_with_the_plugin_migrates_without_it(sqlite_database, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    url = sqlite_database.url.update_query_dict(
        {"plugin": "sa_perf", "sa_perf_snapshot_path": str(path)}
    )
    code = "import sys; from sa_perf import migration; migration.upgrade(sys.argv[1])"
    assert run_python(code, str(url)).communicate()[1] == ""
    assert migration.check(url) == ()
    assert not path.exists()


def test_plugins_of_others_stay_in_the_url() -> None:
    from sa_perf.connecting import url_of

    assert str(url_of("x://h/d?plugin=sa_perf,other&plugin=third&sa_perf_slow_seconds=1&a=b")) == (
        "x://h/d?a=b&plugin=other&plugin=third"
    )


@pytest.mark.parametrize(
    "url",
    ["hunter2", "://user:hunter2@host", "x://user:hunter2@host:port/x", "x://a:b@hunter2@h/x"],
)
def test_an_unreadable_url_is_an_error_without_its_text(url: str) -> None:
    with pytest.raises(MigrationError, match="cannot be read") as refused:
        migration.upgrade(url)
    assert "hunter2" not in str(refused.value)


def test_a_database_that_is_not_there_is_the_drivers_error(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="unable to open"):
        migration.current(f"sqlite:///{tmp_path / 'no' / 'such.db'}")
