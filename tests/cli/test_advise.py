from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import create_engine, text

from sa_perf.cli.advise import advise as advise_command
from sa_perf.cli.terminal.advice import advice as parts_of
from sa_perf.cli.workload import as_written
from sa_perf.dialects import Plan, PlanNode, dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey
from sa_perf.plans import index_advice
from sa_perf.plans.index_advice import AdviceReport, Gain, IndexAdvice, Unadvised, WorkloadQuery
from sa_perf.plans.index_advice.measuring import _Bench
from sa_perf.snapshot import Database, Snapshot

BY_CUSTOMER = "SELECT * FROM orders WHERE customer_id = ?"
BY_STATUS = "SELECT * FROM orders WHERE status = 'pending' ORDER BY placed_at LIMIT 5"


@pytest.fixture(scope="module")
def shop_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("advise") / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, status TEXT, "
        "placed_at INTEGER, note TEXT)"
    )
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
        (
            (n, n * 7919 % 2_000, "pending" if n % 100 == 0 else "done", n * 31 % 9_973, "x" * 40)
            for n in range(1, 20_001)
        ),
    )
    connection.commit()
    connection.close()
    return path


@pytest.fixture
def url(shop_file: Path) -> Iterator[str]:
    """URL of the shop; its file is the same after the test as before."""
    before = digest(shop_file)
    yield f"sqlite:///{shop_file}"
    assert digest(shop_file) == before
    assert sorted(one.name for one in shop_file.parent.iterdir()) == [shop_file.name]


@pytest.fixture
def sql(tmp_path: Path) -> Callable[[str], str]:
    def write(content: str) -> str:
        path = tmp_path / "queries.sql"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report_of(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["schema"], document["command"]) == (1, "advise")
    return document["report"]


def created(result: Any) -> list[str]:
    return [one["create_sql"] for one in report_of(result)["advice"]]


# Which statements


def test_statements_of_a_file_are_advised(run, url: str, sql) -> None:
    result = run("advise", "--url", url, "--sql", sql(f"{BY_CUSTOMER};\n-- next\n{BY_STATUS};"))
    assert sorted(created(result)) == [
        "CREATE INDEX ix_orders_customer_id ON orders (customer_id)",
        "CREATE INDEX ix_orders_placed_at_partial ON orders (placed_at) WHERE status = 'pending'",
    ]


def test_statements_come_from_standard_input_too(run, url: str) -> None:
    result = run("advise", "--url", url, "--sql", "-", input=f"\ufeff{BY_CUSTOMER}")
    assert created(result) == ["CREATE INDEX ix_orders_customer_id ON orders (customer_id)"]


def test_a_statement_that_stands_there_twice_was_called_twice(run, url: str, sql) -> None:
    result = run("advise", "--url", url, "--sql", sql(f"{BY_CUSTOMER};" * 2))
    report = report_of(result)
    assert report["examined"] == 1
    assert [gain["calls"] for gain in report["advice"][0]["gains"]] == [2]


def test_the_same_shape_with_other_literals_is_another_statement(run, url: str, sql) -> None:
    texts = "".join(f"SELECT * FROM orders WHERE status = '{one}' ORDER BY placed_at LIMIT 5;"
                    for one in ("done", "pending"))  # fmt: skip
    report = report_of(run("advise", "--url", url, "--sql", sql(texts)))
    gains = [gain for one in report["advice"] for gain in one["gains"]]
    assert report["examined"] == 2
    assert len({gain["fingerprint"] for gain in gains}) == len(gains)


@pytest.mark.parametrize("place", [":id", "?", "$1", "%(id)s", "%s", ":id_1"])
def test_placeholders_of_any_kind_are_read(run, url: str, sql, place: str) -> None:
    content = sql(f"SELECT * FROM orders WHERE customer_id = {place}")
    assert len(created(run("advise", "--url", url, "--sql", content))) == 1


@pytest.mark.parametrize("content", ["", "\n;;\n-- nothing\n", "DROP TABLE orders; VACUUM;"])
def test_nothing_to_advise_on_is_no_failure(run, url: str, sql, content: str) -> None:
    result = run("advise", "--url", url, "--sql", sql(content), "--check")
    assert report_of(result)["advice"] == []


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM gone WHERE a = 1", "SELECT FROM WHERE", "SELECT no_such FROM orders"],
)
def test_what_cannot_be_planned_is_listed_with_the_reason(run, url, sql, statement: str) -> None:
    (one,) = report_of(run("advise", "--url", url, "--sql", sql(statement)))["unadvised"]
    assert one["statement"] == statement
    assert one["because"]


def test_a_snapshot_is_advised(run, url: str, snapshot: Snapshot, write) -> None:
    result = run("advise", "--url", url, "--file", write(snapshot))
    report = report_of(result)
    assert report["examined"] == 3
    reasons = " ".join(one["because"] for one in report["unadvised"])
    assert "no such column: orders.total" in reasons
    assert "no such table: customers" in reasons


def test_the_recorded_calls_and_times_count(run, url, snapshot, write, make_query) -> None:
    query = make_query("cccc000000000001", BY_CUSTOMER, [100.0] * 30)
    result = run("advise", "--url", url, "--file", write(replace(snapshot, queries=(query,))))
    (gain,) = report_of(result)["advice"][0]["gains"]
    assert (gain["fingerprint"], gain["calls"]) == (query.fingerprint, 30)
    assert gain["mean_seconds"] == pytest.approx(0.1)


def test_statements_of_another_driver_are_read(
    run, postgresql_database, snapshot, write, make_query
) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id serial PRIMARY KEY, customer_id int)"))
        connection.execute(
            text("INSERT INTO orders (customer_id) SELECT n % 900 FROM generate_series(1, 9000) n")
        )
        connection.execute(text("ANALYZE orders"))
    statement = "SELECT id FROM orders WHERE customer_id = $1::INTEGER AND id % 2 = $2"
    recorded = replace(
        snapshot,
        databases=(Database(label="x", dialect="postgresql", driver="asyncpg", capture="c"),),
        queries=(make_query("f" * 16, statement, [9.0], database="x"),),
    )
    url = postgresql_database.url.render_as_string(hide_password=False)
    report = report_of(run("advise", "--url", url, "--file", write(recorded)))
    assert report["unadvised"] == []
    assert [one["create_sql"] for one in report["advice"]] == [
        "CREATE INDEX CONCURRENTLY ix_orders_customer_id ON orders (customer_id)"
    ]


def test_a_percent_sign_is_shown_as_it_was_written(run, postgresql_database, sql) -> None:
    url = postgresql_database.url.render_as_string(hide_password=False)
    statement = "SELECT * FROM gone WHERE a LIKE '%shirt%' AND b % 2 = 1"
    (one,) = report_of(run("advise", "--url", url, "--sql", sql(statement)))["unadvised"]
    assert one["statement"] == statement
    assert 'relation "gone" does not exist' in one["because"]


def test_percent_signs_of_all_statements_are_shown_as_they_were_written() -> None:
    plan = Plan(
        database="", server_version="", statement="", root=PlanNode(operation="", label=""), raw=""
    )
    gain = Gain(
        fingerprint="f",
        statement="SELECT a %% 2",
        calls=1,
        mean_seconds=None,
        cost_before=None,
        cost_after=None,
        plan_before=plan,
        plan_after=None,
    )
    index = IndexDefinition(table="t", keys=(IndexKey(column="a"),))
    lines = ("create_sql", "index", "alembic_upgrade", "alembic_downgrade")
    one = IndexAdvice(
        definition=index, gains=(gain,), touched=(gain,), verified=True, **dict.fromkeys(lines, "")
    )
    other = Unadvised(fingerprint="g", statement="SELECT b %% 2", because="of f (SELECT a %% 2)")
    report = AdviceReport(database="", advice=(one,), unadvised=(other,))
    shown = as_written(report, dialect_for("postgresql"))
    gains = [*shown.advice[0].gains, *shown.advice[0].touched]
    assert [each.statement for each in gains] == ["SELECT a % 2"] * 2
    assert shown.unadvised[0].statement == "SELECT b % 2"
    assert shown.unadvised[0].because == "of f (SELECT a % 2)"


def on(label: str, dialect: str = "sqlite") -> Database:
    return Database(label=label, dialect=dialect, driver="x", capture="cursor_events")


def test_of_several_databases_the_one_at_the_url_is_taken(
    run, url: str, snapshot: Snapshot, write, make_query
) -> None:
    queries = tuple(
        make_query(f"{at:016}", statement, [5.0], database=label)
        for at, (label, statement) in enumerate(
            [(url, BY_CUSTOMER), ("sqlite:///other.db", "SELECT * FROM other"), ("pg", "SELECT 1")]
        )
    )
    databases = (on(url), on("sqlite:///other.db"), on("pg", "postgresql"))
    path = write(replace(snapshot, databases=databases, queries=queries))
    assert report_of(run("advise", "--url", url, "--file", path))["examined"] == 1
    chosen = run("advise", "--url", url, "--file", path, "--database", "other")
    assert report_of(chosen)["unadvised"][0]["statement"] == "SELECT * FROM other"


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (["a", "b"], (), "which database is at --url? Give --database, one of: a, b"),
        (["a", "b"], ("--database", "c"), "'c' is no database of the snapshot: a, b"),
        ([], (), "it holds nothing of a database like the one at --url (sqlite), only: none"),
    ],
)
def test_an_unclear_database_is_refused(
    run, url, snapshot, write, labels, options, words: str
) -> None:
    path = write(replace(snapshot, databases=tuple(map(on, labels))))
    result = run("advise", "--url", url, "--file", path, *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("options", [(), ("--database", "pg")])
def test_a_snapshot_of_another_kind_of_database_is_refused(
    run, url, snapshot, write, options
) -> None:
    path = write(replace(snapshot, databases=(on("pg", "postgresql"),)))
    result = run("advise", "--url", url, "--file", path, *options)
    assert result.exit_code == 2
    assert "only: postgresql" in result.stderr


def test_mariadb_goes_by_either_name(run, mariadb_database, snapshot, write, make_query) -> None:
    label = "mysql://localhost/x"
    recorded = replace(
        snapshot,
        databases=(Database(label=label, dialect="mysql", driver="asyncmy", capture="c"),),
        queries=(make_query("f" * 16, "SELECT * FROM gone WHERE a = %s", [9.0], database=label),),
    )
    url = mariadb_database.url.render_as_string(hide_password=False)
    report = report_of(run("advise", "--url", url, "--file", write(recorded)))
    assert "doesn't exist" in report["unadvised"][0]["because"]


# What is refused


def test_a_workload_is_needed(run, url: str) -> None:
    result = run("advise", "--url", url)
    assert result.exit_code == 2
    assert "which statements?" in result.stderr


def test_two_workloads_are_one_too_many(run, url: str, shop: str, sql, monkeypatch) -> None:
    result = run("advise", "--url", url, "--file", shop, "--sql", sql(BY_CUSTOMER))
    assert result.exit_code == 2
    assert "--file and --sql are both given" in result.stderr
    monkeypatch.setenv("SA_PERF_FILE", shop)
    assert report_of(run("advise", "--url", url, "--sql", sql(BY_CUSTOMER)))["examined"] == 1


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_an_unreadable_file_of_statements_is_one_line(run, url, tmp_path, content) -> None:
    path = tmp_path / "bad.sql"
    if content is not None:
        path.write_bytes(content)
    result = run("advise", "--url", url, "--sql", str(path))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: cannot read")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "bad",
    [
        "postgresql+psycopg://u:sekrit@127.0.0.1:1/x",
        "postgresql+asyncpg://u:sekrit@127.0.0.1:1/x",
        "mysql+pymysql://u:sekrit@127.0.0.1:1/x",
        "mysql+asyncmy://u:sekrit@127.0.0.1:1/x",
        "nonsense://u:sekrit@h/x",
        "no url sekrit",
    ],
)
@pytest.mark.postgresql
@pytest.mark.mariadb
def test_a_database_that_does_not_answer_is_one_line_without_password(run, sql, bad: str) -> None:
    result = run("advise", "--url", bad, "--sql", sql(BY_CUSTOMER))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "sekrit" not in result.stderr


@pytest.mark.parametrize("option", ["--url", "--apply-to-shadow"])
def test_a_missing_file_is_not_made(run, url: str, sql, tmp_path: Path, option: str) -> None:
    missing = tmp_path / "typo.db"
    options = {"--url": url, option: f"sqlite:///{missing}", "--sql": sql(BY_CUSTOMER)}
    result = run("advise", *[word for pair in options.items() for word in pair])
    assert result.exit_code == 2
    assert "there is no file" in result.stderr
    assert not missing.exists()


def test_a_file_that_is_no_database_is_one_line(run, sql, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("this is no database " * 100)
    result = run("advise", "--url", f"sqlite:///{tmp_path / 'no.db'}", "--sql", sql(BY_CUSTOMER))
    assert "file is not a database" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_a_locked_database_is_one_line(run, sql, tmp_path: Path, shop_file: Path) -> None:
    path = tmp_path / "locked.db"
    path.write_bytes(shop_file.read_bytes())
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    result = run("advise", "--url", f"sqlite:///{path}", "--sql", sql(BY_CUSTOMER))
    writer.close()
    assert result.exit_code == 2
    assert "database is locked" in result.stderr
    assert result.stderr.count("\n") == 1


# Exit codes


def test_check_fails_where_an_index_is_advised(run, url: str, sql) -> None:
    arguments = ("advise", "--url", url, "--sql", sql(BY_CUSTOMER))
    assert run(*arguments).exit_code == 0
    assert run(*arguments, "--check").exit_code == 1
    assert run(*arguments, "--check", "--least-speedup", "1000000").exit_code == 0


# Measuring


def test_a_copy_is_measured_and_the_database_left_alone(run, url: str, sql) -> None:
    result = run("advise", "--url", url, "--sql", sql(BY_CUSTOMER), "--apply-to-shadow")
    (one,) = report_of(result)["advice"]
    assert one["build_seconds"] > 0
    (gain,) = one["gains"]
    assert gain["measured_before_seconds"] > gain["measured_after_seconds"] > 0


@pytest.mark.async_driver
def test_an_asynchronous_url_is_copied_too(run, url: str, sql) -> None:
    there = url.replace("sqlite:", "sqlite+aiosqlite:")
    result = run("advise", "--url", there, "--sql", sql(BY_CUSTOMER), "--apply-to-shadow")
    assert report_of(result)["advice"][0]["build_seconds"] > 0


def test_a_named_shadow_is_as_before_when_all_is_done(
    run, url: str, sql, shop_file, tmp_path
) -> None:
    shadow = tmp_path / "shadow.db"
    shadow.write_bytes(shop_file.read_bytes())
    result = run(
        "advise", "--url", url, "--sql", sql(BY_CUSTOMER), "--apply-to-shadow",
        f"sqlite:///{shadow}",
    )  # fmt: skip
    assert report_of(result)["advice"][0]["build_seconds"] > 0
    assert indexes_of(shadow) == []


@pytest.mark.parametrize("method", ["make", "run", "renew_statistics"])
def test_an_interruption_leaves_no_index_in_a_shadow(
    run, url, sql, shop_file, tmp_path, monkeypatch, method: str
) -> None:
    shadow = tmp_path / "shadow.db"
    shadow.write_bytes(shop_file.read_bytes())
    original = getattr(_Bench, method)
    seen = []

    def interrupted(self: _Bench, *arguments: Any) -> Any:
        found = original(self, *arguments)
        seen.append(indexes_of(shadow))
        if seen[-1]:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(_Bench, method, interrupted)
    result = run(
        "advise", "--url", url, "--sql", sql(BY_CUSTOMER), "--apply-to-shadow",
        f"sqlite:///{shadow}",
    )  # fmt: skip
    assert result.exit_code != 0
    assert seen[-1] != []
    assert indexes_of(shadow) == []


def indexes_of(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        return [name for (name,) in rows if not name.startswith("sqlite_")]
    finally:
        connection.close()


def spellings(path: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "hard.db").hardlink_to(path)
    return [
        f"sqlite:///{path}",
        f"sqlite+pysqlite:///{path}",
        f"sqlite:///{path.parent}/../{path.parent.name}/{path.name}",
        f"sqlite:///{path.name}",
        f"sqlite:///{tmp_path / 'link.db'}",
        f"sqlite:///{tmp_path / 'hard.db'}",
        f"sqlite:///file:{path}?uri=true",
        f"sqlite:///{path}?timeout=3",
    ]


def test_the_database_itself_is_no_shadow_however_it_is_spelled(
    run, url: str, sql, shop_file: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(shop_file.parent)
    for spelling in spellings(shop_file, tmp_path):
        result = run(
            "advise", "--url", url, "--sql", sql(BY_CUSTOMER), "--apply-to-shadow", spelling
        )
        assert result.exit_code == 2, spelling
        assert "this is the database at --url itself" in " ".join(
            result.stderr.replace("│", " ").split()
        )


@pytest.mark.parametrize(
    ("shadow", "words"),
    [
        ("postgresql://u:sekrit@h/x", "a copy of a sqlite database is no postgresql one"),
        ("sqlite+aiosqlite:///x.db", "is asynchronous"),
        ("no url sekrit", "the database URL cannot be read"),
        ("sqlite://", "cannot be made in the copy"),
    ],
)
@pytest.mark.postgresql
def test_a_shadow_that_is_none_is_refused(run, url: str, sql, shadow: str, words: str) -> None:
    result = run("advise", "--url", url, "--sql", sql(BY_CUSTOMER), "--apply-to-shadow", shadow)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert "sekrit" not in result.stderr


def test_a_server_s_database_needs_the_url_of_a_copy(run, postgresql_database, sql) -> None:
    url = postgresql_database.url.render_as_string(hide_password=False)
    result = run("advise", "--url", url, "--sql", sql("SELECT 1"), "--apply-to-shadow")
    assert result.exit_code == 2
    assert "give the URL of one, e.g. of a restored backup" in result.stderr


# For a person


def shop_report(shop_file: Path, **rest: Any) -> index_advice.AdviceReport:
    engine = create_engine(f"sqlite:///{shop_file}")
    queries = [
        WorkloadQuery(fingerprint="a" * 16, statement=BY_CUSTOMER, calls=9, mean_seconds=0.1),
        WorkloadQuery(fingerprint="b" * 16, statement=BY_STATUS, calls=9, mean_seconds=0.1),
        WorkloadQuery(fingerprint="c" * 16, statement="SELECT * FROM gone WHERE a = 'secret'"),
    ]
    try:
        return index_advice.advise(engine, queries, **rest)
    finally:
        engine.dispose()


def shown(report: index_advice.AdviceReport, width: int = 100, **options: Any) -> str:
    console = Console(width=width, **options)
    with console.capture() as capture:
        for part in parts_of(report):
            console.print(part)
    return capture.get()


def test_a_person_reads_index_code_gain_and_plans(run, url: str, sql) -> None:
    result = run("advise", "--url", url, "--sql", sql(BY_CUSTOMER), "--no-json")
    assert result.exit_code == 0
    for words in (
        "1 statements were looked at",
        "1. orders (customer_id)",
        "Verified: the planner uses it.",
        "CREATE INDEX ix_orders_customer_id ON orders (customer_id)",
        'Index("ix_orders_customer_id", "customer_id")',
        'op.create_index("ix_orders_customer_id", "orders", ["customer_id"])',
        "SCAN orders",
        "SEARCH orders USING",
    ):
        assert words in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_output_fits_the_terminal(shop_file: Path, width: int) -> None:
    printed = shown(shop_report(shop_file, keep_literals=True), width)
    assert max(map(len, printed.splitlines())) <= width
    assert "CREATEINDEXix_orders_customer_id" in "".join(printed.split())


def test_literals_of_a_snapshot_s_statements_are_not_shown(shop_file: Path) -> None:
    report = shop_report(shop_file)
    for told in (shown(report, 200), repr(report)):
        assert "pending" not in told
        assert "secret" not in told


def test_measured_times_are_told_from_estimates(shop_file: Path) -> None:
    report = shop_report(shop_file)
    one = report.advice[0]
    assert "~" in shown(report)
    gain = replace(one.gains[0], measured_before_seconds=0.5, measured_after_seconds=0.001)
    measured = replace(report, advice=(replace(one, gains=(gain,), build_seconds=2.0),))
    told = shown(measured, 120)
    assert "500 x" in told
    assert "~" not in told
    assert "took 2.0 s to make" in told


def test_names_that_act_on_a_terminal_are_made_harmless(run, sql, tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    table, column = "t\x1b[31mx", "c\x1b]0;evil\x07 [bold]"
    connection = sqlite3.connect(path)
    connection.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, "{column}")')
    rows = [(n,) for n in range(5_000)]
    connection.executemany(f'INSERT INTO "{table}" ("{column}") VALUES (?)', rows)
    connection.commit()
    connection.close()
    statement = f'SELECT * FROM "{table}" WHERE "{column}" = ?'
    result = run("advise", "--url", f"sqlite:///{path}", "--sql", sql(statement), "--no-json")
    assert result.exit_code == 0
    assert "CREATE INDEX" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout
    assert "[bold]" in result.stdout


def test_nothing_found_is_said(run, url: str, sql) -> None:
    result = run("advise", "--url", url, "--sql", sql("SELECT 1"), "--no-json")
    assert "No index was found that would pay." in result.stdout


def test_the_help_names_every_option() -> None:
    assert all(one.help for one in advise_command.params)  # type: ignore[attr-defined]
