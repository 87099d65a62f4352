"""The check for sa_perf's own tables that each use of them begins with."""

from __future__ import annotations

import pytest
from sqlalchemy import event, text

import sa_perf
from sa_perf import migration
from sa_perf.errors import InvalidSettings, MissingTables
from sa_perf.settings import Settings
from sa_perf.tables import (
    SCHEMA_VERSION,
    database_label,
    require_tables,
    stored_version,
    table_names_from,
)


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


def test_the_names_of_the_tables_are_the_environments() -> None:
    assert table_names_from({}) == ("sa_perf_", None)
    names = {"SA_PERF_TABLE_PREFIX": "perf_", "SA_PERF_TABLE_SCHEMA": "Ops", "OTHER": "x"}
    assert table_names_from(names) == ("perf_", "Ops")
    assert table_names_from({"SA_PERF_TABLE_SCHEMA": ""}) == ("sa_perf_", None)


@pytest.mark.parametrize("prefix", ["", "Perf_", "1_", "a-b", "a" * 21, "x;", "ä_", "a\n"])
def test_a_prefix_that_is_no_lower_case_name_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidSettings, match=r"SA_PERF_TABLE_PREFIX is .*; allowed are 1 to 20"):
        table_names_from({"SA_PERF_TABLE_PREFIX": prefix})


@pytest.mark.parametrize("schema", ["a.b", "1a", "a b", "a" * 64, '"a"', "a\n"])
def test_a_schema_that_is_no_name_is_refused(schema: str) -> None:
    with pytest.raises(InvalidSettings, match=r"SA_PERF_TABLE_SCHEMA is .*; allowed are 1 to 63"):
        table_names_from({"SA_PERF_TABLE_SCHEMA": schema})


def test_a_variable_of_the_tables_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidSettings, match=r"'SA_PERF_TABLE_SCHEME'; those .*_PREFIX and .*_S"):
        table_names_from({"SA_PERF_TABLE_SCHEME": "x"})


def test_the_settings_leave_them_alone_and_say_where_they_belong() -> None:
    Settings.load(environment={"SA_PERF_TABLE_PREFIX": "x_", "SA_PERF_TABLE_SCHEMA": "y"})
    with pytest.raises(InvalidSettings, match="environment only: SA_PERF_TABLE_PREFIX"):
        Settings.load(query={"sa_perf_table_prefix": "x_"}, environment={})
    with pytest.raises(InvalidSettings, match="environment only: SA_PERF_TABLE_SCHEMA"):
        Settings.load({"table_schema": "y"}, environment={})
