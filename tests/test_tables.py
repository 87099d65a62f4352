"""The check for sa_perf's own tables that each use of them begins with."""

from __future__ import annotations

import pytest
from sqlalchemy import event, text

import sa_perf
from sa_perf import migration
from sa_perf.errors import MissingTables
from sa_perf.tables import SCHEMA_VERSION, database_label, require_tables, stored_version


def test_an_empty_database_is_refused_with_the_command_to_run(db) -> None:
    with pytest.raises(MissingTables, match=r"has no tables.*sa-perf db upgrade --url") as refused:
        require_tables(db.engine())
    assert str(refused.value).startswith(database_label(db.url))


def test_upgraded_tables_are_accepted(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    require_tables(engine)
    with engine.connect() as connection:
        require_tables(connection)
        assert not connection.in_transaction()


def test_tables_of_another_version_are_refused_by_both_names(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sa_perf_alembic_version SET version_num = 'sa_perf_9'"))
    with pytest.raises(
        MissingTables, match=f"'sa_perf_9', but this sa_perf needs '{SCHEMA_VERSION}"
    ):
        require_tables(engine)


def test_tables_that_were_taken_back_are_missing(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    migration.downgrade(engine, "base")
    with pytest.raises(MissingTables, match="has no tables"):
        require_tables(engine)


def test_the_transaction_of_the_caller_lives_on(db) -> None:
    with db.engine().connect() as connection:
        connection.execute(text("CREATE TABLE own (id INTEGER)"))
        connection.execute(text("INSERT INTO own VALUES (1)"))
        with pytest.raises(MissingTables):
            require_tables(connection)
        assert connection.in_transaction()
        assert connection.execute(text("SELECT id FROM own")).scalar_one() == 1


def test_a_connection_in_autocommit_is_left_as_it_was(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(2):
            require_tables(connection)
            assert not connection.in_transaction()


def test_it_costs_one_statement_which_is_not_recorded(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    require_tables(engine)  # the first connection asks the database for its version and the like
    perf = sa_perf.install(engine)
    statements = []
    event.listen(
        engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    with engine.connect() as connection:
        statements.clear()
        require_tables(connection)
    assert len(statements) == 1
    assert perf.snapshot().calls == 0
    perf.uninstall()


def test_what_is_no_lack_of_tables_is_not_taken_for_one(sqlite_database) -> None:
    engine = sqlite_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE sa_perf_alembic_version (something INTEGER)"))
    with engine.connect() as connection, pytest.raises(Exception, match="version_num"):
        stored_version(connection)


def test_messages_hold_no_user_no_password_and_no_query(sqlite_database) -> None:
    url = sqlite_database.url.update_query_dict({"timeout": "7"})
    assert database_label(url) == str(sqlite_database.url)
    server = url.set(drivername="x", username="app", password="hunter2", host="db", database="shop")
    assert database_label(server) == "x://db/shop"
