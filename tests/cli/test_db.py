"""``sa-perf db``: sa_perf's own tables from the command line."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import create_engine, inspect, text

from sa_perf import migration
from sa_perf.tables import SCHEMA_VERSION

COMMANDS = [("upgrade",), ("downgrade", "base"), ("current",), ("check",)]


def test_upgrade_makes_the_tables_and_says_from_where_to_where(run, db) -> None:
    if db.name == "sqlite_memory":
        pytest.skip("each connection to it is another database")
    url = db.url.render_as_string(hide_password=False)
    result = run("db", "upgrade", "--no-json", "--url", url)
    assert (result.exit_code, f"version none -> {SCHEMA_VERSION}" in result.stdout) == (0, True)
    assert migration.check(db.url) == ()
    again = run("db", "upgrade", "--no-json", "--url", url)
    assert again.stdout.endswith(f"version {SCHEMA_VERSION}\n")


def test_the_way_up_and_down_as_json(run, sqlite_url: str) -> None:
    up = json.loads(run("db", "upgrade", "--url", sqlite_url).stdout)
    assert up == {
        "schema": 1,
        "command": "db upgrade",
        "database": sqlite_url,
        "before": None,
        "version": SCHEMA_VERSION,
        "needed": SCHEMA_VERSION,
    }
    down = json.loads(run("db", "downgrade", "base", "--url", sqlite_url).stdout)
    assert (down["before"], down["version"]) == (SCHEMA_VERSION, None)
    engine = create_engine(sqlite_url)
    assert inspect(engine).get_table_names() == ["sa_perf_alembic_version"]
    engine.dispose()


def test_downgrade_goes_nowhere_by_default(run, sqlite_url: str) -> None:
    result = run("db", "downgrade", "--url", sqlite_url)
    assert (result.exit_code, "REVISION" in result.stderr) == (2, True)


def test_current_says_which_version_is_there_and_which_is_needed(run, sqlite_url: str) -> None:
    found = json.loads(run("db", "current", "--url", sqlite_url).stdout)
    assert (found["version"], found["needed"]) == (None, SCHEMA_VERSION)
    migration.upgrade(sqlite_url)
    said = run("db", "current", "--no-json", "--url", sqlite_url)
    wanted = f"{sqlite_url}: version {SCHEMA_VERSION}, needed is {SCHEMA_VERSION}\n"
    assert (said.exit_code, said.stdout) == (0, wanted)


def test_check_fails_until_the_tables_are_as_they_should_be(run, sqlite_url: str) -> None:
    before = run("db", "check", "--url", sqlite_url)
    assert before.exit_code == 1
    (fault,) = json.loads(before.stdout)["faults"]
    assert "there are no tables" in fault
    said = run("db", "check", "--no-json", "--url", sqlite_url)
    assert (said.exit_code, "sa-perf db upgrade" in said.stdout) == (1, True)
    migration.upgrade(sqlite_url)
    after = run("db", "check", "--url", sqlite_url)
    assert (after.exit_code, json.loads(after.stdout)["faults"]) == (0, [])


def test_a_release_drops_the_version_only_and_the_tables_are_the_applications(
    run, sqlite_url: str
) -> None:
    refused = run("db", "release", "--url", sqlite_url)
    assert (refused.exit_code, "there are no tables" in refused.stderr) == (2, True)
    migration.upgrade(sqlite_url)
    told = json.loads(run("db", "release", "--url", sqlite_url).stdout)
    assert (told["before"], told["version"]) == (SCHEMA_VERSION, None)
    assert run("db", "check", "--url", sqlite_url).exit_code == 0
    again = run("db", "upgrade", "--url", sqlite_url)
    assert (again.exit_code, "alembic upgrade heads" in again.stderr) == (2, True)


def test_check_names_what_is_missing(run, sqlite_url: str) -> None:
    migration.upgrade(sqlite_url)
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_sa_perf_retention_run_run"))
    engine.dispose()
    result = run("db", "check", "--no-json", "--url", sqlite_url)
    assert (result.exit_code, "ix_sa_perf_retention_run_run is missing" in result.stdout) == (
        1,
        True,
    )


@pytest.mark.parametrize(
    ("arguments", "word"), [(("upgrade",), "CREATE TABLE"), (("downgrade", "base"), "DROP TABLE")]
)
def test_the_statements_are_printed_where_no_database_answers(run, arguments, word: str) -> None:
    url = "postgresql+psycopg://app:hunter2@localhost:1/app"
    result = run("db", *arguments, "--sql", "--url", url)
    assert (result.exit_code, word in result.stdout) == (0, True)
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_environment_may_name_the_database(run, sqlite_url: str, command) -> None:
    result = run("db", *command, env={"SA_PERF_DATABASE_URL": sqlite_url})
    assert (result.exit_code, json.loads(result.stdout)["database"]) in {
        (0, sqlite_url),
        (1, sqlite_url),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_database_the_command_says_how_to_name_one(run, command) -> None:
    result = run("db", *command)
    assert (result.exit_code, "--url" in result.stderr) == (2, True)
    assert "SA_PERF_DATABASE_URL" in run("db", command[0], "--help").stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "x://app:hunter2@host:port/app",
        "x://app:hun@ter2@host/app",
        "nosuchdialect://app:hunter2@host/app",
        "sqlite:////no/such/folder/app.db",
    ],
)
def test_a_database_that_cannot_be_had_is_one_line_without_secrets(run, command, url: str) -> None:
    result = run("db", *command, "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "ter2" not in result.stderr


@pytest.mark.postgresql
@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_down_is_one_line_without_secrets(run, command) -> None:
    url = "postgresql+psycopg://app:hunter2@localhost:1/app?application_name=hunter3"
    result = run("db", *command, "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: postgresql+psycopg://localhost:1/app: ")
    assert result.stderr.count("\n") == 1
    assert "hunter" not in result.stderr


def test_a_password_that_is_refused_is_not_shown(run, mariadb_database) -> None:
    url = mariadb_database.url.set(username="nobody", password="hunter2")
    result = run("db", "upgrade", "--url", url.render_as_string(hide_password=False))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Access denied" in result.stderr
    assert "hunter2" not in result.stderr


def test_a_driver_that_is_not_installed_is_one_line(run, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pymysql", None)
    result = run("db", "check", "--url", "mysql+pymysql://app:hunter2@host/app")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "pymysql" in result.stderr


def test_an_unknown_revision_is_one_line(run, sqlite_url: str) -> None:
    result = run("db", "upgrade", "nonsense", "--url", sqlite_url)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "nonsense" in result.stderr


@pytest.mark.async_driver
def test_an_async_driver_will_do(run, sqlite_url: str) -> None:
    url = sqlite_url.replace("sqlite:", "sqlite+aiosqlite:")
    assert run("db", "upgrade", "--url", url).exit_code == 0
    assert migration.check(sqlite_url) == ()
