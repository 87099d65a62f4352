"""``sa-perf retention partitions``: how partitions stand, and their upkeep."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from retention_world import add_own_tables
from sqlalchemy import Column, DateTime, Integer, Table, create_engine, insert
from sqlalchemy.pool import NullPool

from sa_perf.retention.policy import RetentionPolicy, declare

MODELS = """
from datetime import datetime
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sa_perf.retention.partitions import partitioned

class Base(DeclarativeBase):
    pass

@partitioned("at", every="1 month", ahead=1, days=90, default=False)
class Event(Base):
    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
"""


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "partitioned_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import partitioned_models

    yield partitioned_models
    del sys.modules["partitioned_models"]


def _arguments(database: Any) -> tuple[str, ...]:
    url = database.url.render_as_string(hide_password=False)
    return ("retention", "partitions", "--app", "partitioned_models:Base", "--url", url)


def test_partitions_that_are_too_old_are_shown_and_then_dropped(
    run: Any, application: Any, postgresql_database: Any
) -> None:
    engine = create_engine(postgresql_database.url)
    application.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE event_2020_01 PARTITION OF event "
            "FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
        )
        connection.execute(insert(application.Event), {"id": 1, "at": datetime(2020, 1, 5)})
    engine.dispose()
    arguments = _arguments(postgresql_database)
    (table,) = json.loads(run(*arguments).stdout)["tables"]
    assert table["expired"] == ["event_2020_01"]
    done = json.loads(run("retention", "partitions", "--maintain", *arguments[2:]).stdout)
    assert [one["name"] for one in done["tables"][0]["dropped"]] == ["event_2020_01"]
    again = run(*arguments, "--no-json")
    assert (again.exit_code, "event_2020_01" in again.stdout) == (0, False)


def test_a_database_without_partitions_fails_the_command(
    run: Any, application: Any, sqlite_database: Any
) -> None:
    found = run(*_arguments(sqlite_database))
    assert found.exit_code == 1
    assert "event" in json.loads(found.stdout)["errors"]


def test_a_table_that_has_none_is_named_with_those_that_do(
    run: Any, application: Any, sqlite_database: Any
) -> None:
    found = run(*_arguments(sqlite_database), "nothing")
    assert (found.exit_code, "they are for: event" in found.stderr) == (2, True)


TWO_TABLES = """
from datetime import datetime
from sqlalchemy import BigInteger, Column, DateTime, MetaData, Table
from sa_perf.retention.partitions import partition

metadata = MetaData()

def archive(connection, rows, count):
    {hook}

def table(name, **options):
    made = Table(
        name,
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("at", DateTime, primary_key=True),
    )
    partition(made, "at", days=90, ahead=1, default=False, **options)

table("first")
table("second", before_drop=archive, must_keep=lambda rows: rows.id == 7)
"""


@pytest.fixture
def two_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql_database: Any
) -> Iterator[Any]:
    """Tables with a partition of 2020 each, and a function that runs sa-perf on them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    engine = create_engine(postgresql_database.url, poolclass=NullPool)

    def make(hook: str = "pass", row: int = 1) -> Any:
        (tmp_path / "two_tables.py").write_text(TWO_TABLES.format(hook=hook))
        import two_tables

        two_tables.metadata.create_all(engine)
        with engine.begin() as connection:
            for name in ("first", "second"):
                connection.exec_driver_sql(
                    f"CREATE TABLE {name}_2020_01 PARTITION OF {name} "
                    "FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
                )
                moment = datetime(2020, 1, 5)
                values = {"id": row, "at": moment}
                connection.execute(insert(two_tables.metadata.tables[name]), values)
        return engine

    yield make
    engine.dispose()
    sys.modules.pop("two_tables", None)


def _maintain(run: Any, engine: Any, *more: str) -> Any:
    url = engine.url.render_as_string(hide_password=False)
    app = ("--app", "two_tables:metadata", "--url", url)
    return run("retention", "partitions", "--maintain", *app, *more)


def _dropped(found: Any) -> dict[str, list[str]]:
    tables = json.loads(found.stdout)["tables"]
    return {one["table"]: [part["name"] for part in one["dropped"]] for one in tables}


def test_what_the_declaration_keeps_the_command_keeps(run: Any, two_tables: Any) -> None:
    found = _maintain(run, two_tables(row=7))
    assert _dropped(found) == {"first": ["first_2020_01"], "second": []}
    assert found.exit_code == 0  # a rule keeps it: nothing is to be seen to


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("connection.exec_driver_sql('SELECT x')", 'column "x" does not exist'),
        ("raise OSError('disk full')", "OSError: disk full"),
        ("raise KeyError('shelf')", "KeyError: 'shelf'"),
    ],
)
def test_what_fails_with_one_table_is_told_beside_what_was_done_to_others(
    run: Any, two_tables: Any, hook: str, words: str
) -> None:
    found = _maintain(run, two_tables(hook))
    assert found.exit_code == 1
    assert _dropped(found) == {"first": ["first_2020_01"]}
    ((table, error),) = json.loads(found.stdout)["errors"].items()
    assert (table, error.endswith(words), "SELECT" in error) == ("second", True, False)


def test_a_partition_that_could_not_go_fails_the_command(run: Any, two_tables: Any) -> None:
    engine = two_tables()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE line (id bigint, at timestamp, CONSTRAINT line_of_second "
            "FOREIGN KEY (id, at) REFERENCES second (id, at))"
        )
        connection.exec_driver_sql("INSERT INTO line VALUES (1, '2020-01-05')")
    found = _maintain(run, engine)
    (_, second) = json.loads(found.stdout)["tables"]
    assert (second["kept"][0]["name"], second["kept"][0]["hindered"]) == ("second_2020_01", True)
    assert "line_of_second" in second["kept"][0]["reason"]
    assert found.exit_code == 1
    assert "line_of_second" in _maintain(run, engine, "--no-json").stdout.replace("\n", "")


def test_a_database_that_cannot_be_reached_is_no_fault_of_a_table(
    run: Any, application: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/nowhere/x.db"
    found = run("retention", "partitions", "--app", "partitioned_models:Base", "--url", url)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "unable to open database file" in found.stderr


def test_an_app_without_tables_is_told_in_one_line(run: Any, sqlite_url: str) -> None:
    found = run("retention", "partitions", "--app", "os:path", "--url", sqlite_url)
    assert found.exit_code == 2
    assert "partitions are looked up by MetaData" in found.stderr


# run --partitions


def _run(run: Any, engine: Any, *more: str) -> Any:
    url = engine.url.render_as_string(hide_password=False)
    return run("retention", "run", "--app", "two_tables:metadata", "--url", url, *more)


def test_a_run_sees_to_the_partitions_behind_its_policies(run: Any, two_tables: Any) -> None:
    engine = two_tables("raise OSError('disk full')")
    add_own_tables(engine)
    without = _run(run, engine)
    assert (without.exit_code, "partitions" in json.loads(without.stdout)) == (0, False)
    found = _run(run, engine, "--partitions")
    content = json.loads(found.stdout)
    assert content["partitions"]["errors"] == {"second": "OSError: disk full"}
    (first,) = content["partitions"]["tables"]
    assert [one["name"] for one in first["dropped"]] == ["first_2020_01"]
    assert (found.exit_code, content["ok"]) == (1, False)


def test_a_run_tells_a_person_what_became_of_partitions(run: Any, two_tables: Any) -> None:
    engine = two_tables()
    add_own_tables(engine)
    found = _run(run, engine, "--partitions", "--no-json")
    assert found.exit_code == 0
    assert "dropped: first_2020_01" in found.stdout


def test_a_run_that_was_ended_early_leaves_partitions_to_the_next(
    run: Any, two_tables: Any
) -> None:
    engine = two_tables()
    add_own_tables(engine)
    now = datetime.now(timezone.utc)
    hours = [f"{now + timedelta(hours=ahead):%H:00}" for ahead in (2, 3)]
    window = ("--window", "-".join(hours))
    found = _run(run, engine, "--partitions", *window)
    assert json.loads(found.stdout)["partitions"] is None
    assert found.exit_code == 0
    assert "left to the next run" in _run(run, engine, "--partitions", "--no-json", *window).stdout


def test_a_run_on_a_database_without_partitions_says_nothing_of_them(shop: Any) -> None:
    found = shop.run("run", "--partitions")
    assert (found.exit_code, "partitions" in json.loads(found.stdout)) == (0, False)
    assert "partition" not in shop.run("run", "--partitions", "--no-json").stdout


def test_a_run_that_its_rows_ended_leaves_partitions_alone(run: Any, two_tables: Any) -> None:
    engine = two_tables()
    add_own_tables(engine)
    import two_tables as module

    entry = Table(
        "entry",
        module.metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, index=True),
    )
    declare(entry, RetentionPolicy(days=30, by="at", nulls="keep"))
    entry.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(entry), [{"at": datetime(2020, 1, 1)}] * 3)
    content = json.loads(_run(run, engine, "--partitions", "--max-rows", "1").stdout)
    assert content["policies"][0]["outcome"] == "limited"
    assert content["partitions"] is None
