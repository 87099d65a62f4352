"""``sa-perf doctor``: a schema's faults as text, as JSON, as an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine

MESSY = (
    "CREATE TABLE customer (id INTEGER PRIMARY KEY, region text)",
    "CREATE INDEX ix_region ON customer (region)",
    "CREATE INDEX ix_region_2 ON customer (region)",
    'CREATE TABLE "order" (id INTEGER PRIMARY KEY, customer_id int REFERENCES customer)',
    "INSERT INTO customer (id) VALUES (5000)",
    "INSERT INTO customer (id) VALUES (9000000000000000000)",
    'INSERT INTO "order" (id) VALUES (5000)',
    "CREATE TABLE log (message text)",
    "CREATE VIEW recent AS SELECT * FROM log",
)
CLEAN = ("CREATE TABLE t (id INTEGER PRIMARY KEY)",)


def make(url: str, *statements: str) -> str:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return url


@pytest.fixture
def messy(sqlite_url: str) -> str:
    return make(sqlite_url, *MESSY)


def test_text_has_a_section_for_each_kind_and_what_to_copy(run, messy: str) -> None:
    result = run("doctor", "--no-json", "--url", messy)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"Schema of {messy}"
    assert lines[1].startswith("3 tables, 4 indexes, 1 foreign key in main; read in ")
    assert lines[1].endswith(", nothing was changed")
    assert lines[2] == "4 findings: 3 warning, 1 info"
    headings = [line for line in lines if line.endswith(")") and line[0].isupper() and "(" in line]
    assert headings == [
        "Foreign keys without an index (1)",
        "Tables without a primary key (1)",
        "Duplicate indexes (1)",
        "Sequences near their end (1)",
        "Cannot say (3)",
    ]
    for wanted in (
        '  CREATE INDEX ix_order_customer_id ON "order" (customer_id)',
        '  op.create_index("ix_order_customer_id", "order", ["customer_id"])',
        '  sa.Index("ix_order_customer_id", "customer_id")',
        "  DROP INDEX ix_region_2",
        '  op.drop_index("ix_region_2", table_name="customer")',
        "never used indexes: because SQLite does not count how often one is used",
        "1 view, recent: because they have no rows and no indexes of their own; "
        "their tables are read",
    ):
        assert wanted in lines


def test_json_holds_everything_with_names_and_units(run, messy: str) -> None:
    document = json.loads(run("doctor", "--url", messy).stdout)
    assert {key: document[key] for key in ("schema", "command", "database", "schemas")} == {
        "schema": 1, "command": "doctor", "database": messy, "schemas": ["main"],
    }  # fmt: skip
    assert (document["tables"], document["indexes"], document["foreign_keys"]) == (3, 4, 1)
    assert document["seconds"] > 0
    found = {one["kind"]: one for one in document["findings"]}
    assert found["duplicate_index"] == {
        "kind": "duplicate_index",
        "severity": "warning",
        "message": "ix_region_2 (region) has the same keys as ix_region (region): each write keeps "
        "both.",
        "remedy": "DROP INDEX ix_region_2",
        "place": "table customer",
        "fingerprint": None,
        "evidence": {
            "index": "ix_region_2",
            "freed_bytes": None,
            "scans": None,
            "table_rows": 9_000_000_000_000_000_000,
            "instead": "ix_region",
            "alembic": 'op.drop_index("ix_region_2", table_name="customer")',
        },
    }
    assert {"question", "place", "because"} == set(document["unknowns"][0])


@pytest.mark.parametrize(("fail_on", "code"), [("never", 0), ("warning", 1), ("critical", 0)])
def test_findings_fail_the_command_where_that_is_asked_for(run, messy, fail_on, code) -> None:
    for form in ("--json", "--no-json"):
        result = run("doctor", "--url", messy, "--fail-on", fail_on, form)
        assert (result.exit_code, result.stdout != "", result.stderr) == (code, True, "")


def test_a_critical_finding_fails_it_too(run, sqlite_url: str) -> None:
    last = 2**63 - 1
    make(sqlite_url, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)",
         f"INSERT INTO t VALUES ({last})")  # fmt: skip
    assert run("doctor", "--url", sqlite_url, "--fail-on", "critical").exit_code == 1


def test_a_sound_schema_says_so(run, sqlite_url: str) -> None:
    result = run("doctor", "--no-json", "--url", make(sqlite_url, *CLEAN), "--fail-on", "warning")
    assert (result.exit_code, "No faults found\n" in result.stdout) == (0, True)


def test_small_tables_count_where_that_is_asked_for(run, sqlite_url: str) -> None:
    make(sqlite_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, a int)",
         "CREATE INDEX i ON t (a)", "CREATE INDEX j ON t (a)")  # fmt: skip
    assert run("doctor", "--url", sqlite_url, "--fail-on", "warning").exit_code == 0
    strict = ("--small-rows", "0", "--fail-on", "warning")
    assert run("doctor", "--url", sqlite_url, *strict).exit_code == 1


def test_each_kind_shows_no_more_than_the_limit(run, sqlite_url: str) -> None:
    make(sqlite_url, *(f"CREATE TABLE t{at} (x text)" for at in range(12)))
    shown = [
        run("doctor", "--no-json", "--url", sqlite_url, *limit).stdout
        for limit in ((), ("--limit", "3"), ("--limit", "0"))
    ]
    assert [one.count("has no primary key") for one in shown] == [10, 3, 12]
    assert "and 2 more; --limit 0 shows all, --json too" in shown[0]
    assert "more; --limit" not in shown[2]
    document = json.loads(run("doctor", "--url", sqlite_url, "--limit", "3").stdout)
    assert len(document["findings"]) == 12


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_no_line_is_wider_than_the_terminal(run, messy: str, width: str) -> None:
    result = run("doctor", "--no-json", "--url", messy, env={"COLUMNS": width})
    assert max(map(len, result.stdout.splitlines())) <= int(width)


def test_names_cannot_act_on_the_terminal(run, sqlite_url: str) -> None:
    name = "x\x1b[2J\u202e\nDROP [b]"
    make(sqlite_url, f'CREATE TABLE "{name}" (a text)', f'CREATE VIEW "v{name}" AS SELECT 1')
    result = run("doctor", "--no-json", "--url", sqlite_url)
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert r"table x\x1b[2J\u202e DROP [b]" in result.stdout
    document = json.loads(run("doctor", "--url", sqlite_url).stdout)
    assert document["findings"][0]["place"] == f"table {name}"


def test_the_environment_may_name_the_database(run, messy: str) -> None:
    result = run("doctor", env={"SA_PERF_DATABASE_URL": messy})
    assert json.loads(result.stdout)["database"] == messy


def test_without_a_database_the_command_says_how_to_name_one(run) -> None:
    result = run("doctor")
    assert (result.exit_code, "--url" in result.stderr) == (2, True)


def test_a_file_that_is_not_there_is_one_line_and_not_made(run, tmp_path: Path) -> None:
    path = tmp_path / "mistyped.db"
    result = run("doctor", "--url", f"sqlite:///{path}")
    assert (result.exit_code, result.stderr) == (2, f"Error: there is no file '{path}'\n")
    assert not path.exists()


def test_a_file_that_is_no_database_is_one_line(run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database " * 100)
    result = run("doctor", "--url", f"sqlite:///{path}")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "not a database" in result.stderr


def test_a_schema_that_is_not_there_is_one_line(run, messy: str) -> None:
    result = run("doctor", "--url", messy, "--schema", "nowhere")
    assert result.exit_code == 2
    assert result.stderr == "Error: there is no schema 'nowhere'; schemas are: main\n"
    assert json.loads(run("doctor", "--url", messy, "--schema", "main").stdout)["tables"] == 3


@pytest.mark.parametrize(
    "url", ["hunter2", "x://app:hunter2@host:port/app", "nosuchdialect://app:hunter2@host/app"]
)
def test_a_database_that_cannot_be_had_is_one_line_without_secrets(run, url: str) -> None:
    result = run("doctor", "--url", url)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "hunter2" not in result.stderr


@pytest.mark.postgresql
def test_a_server_that_is_down_is_one_line_without_secrets(run) -> None:
    url = "postgresql+psycopg://app:hunter2@localhost:1/app?application_name=hunter3"
    result = run("doctor", "--url", url)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "hunter" not in result.stderr


@pytest.mark.async_driver
def test_an_async_driver_will_do(run, messy: str) -> None:
    url = messy.replace("sqlite:", "sqlite+aiosqlite:")
    assert json.loads(run("doctor", "--url", url).stdout)["tables"] == 3


def test_sizes_and_schemas_are_told_on_postgresql(run, postgresql_database) -> None:
    url = postgresql_database.url.render_as_string(hide_password=False)
    make(
        url,
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.t (id int PRIMARY KEY, a int)",
        "CREATE INDEX i ON sales.t (a)",
        "CREATE INDEX i2 ON sales.t (a, id)",
        "INSERT INTO sales.t SELECT i, i FROM generate_series(1, 5000) i",
        "ANALYZE",
    )
    text = run("doctor", "--no-json", "--url", url).stdout
    assert "2 indexes" not in text
    assert "1 table, 3 indexes, 0 foreign keys in public, sales; read in" in text
    assert "Redundant indexes (1, 1" in text
    assert "warning  table sales.t, 1" in text
    assert "  DROP INDEX CONCURRENTLY sales.i\n" in text
    assert "never used indexes: because the server has counted for" in text
    unused = run("doctor", "--no-json", "--url", url, "--unused-days", "0").stdout
    assert "Never used indexes (1, " in unused


def test_all_async_drivers_of_servers_will_do(run, async_db) -> None:
    if async_db.name.startswith("sqlite_memory"):
        pytest.skip("each connection to it is another database")
    url = async_db.async_url.render_as_string(hide_password=False)
    if async_db.name.startswith("sqlite"):
        make(async_db.url.render_as_string(hide_password=False), *CLEAN)
    result = run("doctor", "--url", url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["findings"] == []
