"""``sa-perf retention restore`` and ``vacuum``."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, event, insert, select, text, update

from sa_perf.retention.audit import history
from sa_perf.retention.tables import batches, runs


@pytest.fixture
def archived(shop) -> Any:
    """The application after a run that archived nine alerts with their notes."""
    assert shop.run("run").exit_code == 0
    assert (shop.count("alert"), shop.count("note")) == (11, 11)
    return shop


def run_of(shop) -> str:
    return history(shop.engine)[0].run


# restore


def test_a_run_is_put_back_whole(archived) -> None:
    result = archived.run("restore", "--run", run_of(archived), "--no-json")
    assert result.exit_code == 0
    assert result.stdout == "rows put back: 9 into alert, 9 into note\n"
    assert (archived.count("alert"), archived.count("note")) == (20, 20)


def test_restore_as_json(archived) -> None:
    content = json.loads(archived.run("restore", "--policy", "alert").stdout)
    assert (content["command"], content["rows"], content["skipped"]) == (
        "retention restore", 18, 0,
    )  # fmt: skip
    assert content["tables"] == {"alert": 9, "note": 9}


def test_rows_that_are_there_are_an_error_that_names_the_option(archived) -> None:
    run = run_of(archived)
    archived.run("restore", "--run", run)
    again = archived.run("restore", "--run", run)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "--skip-existing" in again.stderr
    assert "on_conflict" not in again.stderr
    skipping = archived.run("restore", "--run", run, "--skip-existing", "--no-json")
    assert (skipping.exit_code, skipping.stdout) == (
        0, "rows put back: none; 18 were there already\n",
    )  # fmt: skip


def test_a_file_that_was_changed_brings_nothing_back(archived) -> None:
    file = next(archived.archive.rglob("*-alert.jsonl.gz"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    result = archived.run("restore", "--run", run_of(archived))
    assert (result.exit_code, result.stdout) == (2, "")
    assert file.name in result.stderr
    assert archived.count("alert") == 11


def test_a_run_that_was_killed_is_put_back_too(archived) -> None:
    with archived.engine.begin() as connection:  # its row was never closed
        connection.execute(update(runs).values(rows_archived=0, outcome="running"))
    result = archived.run("restore", "--run", run_of(archived))
    assert (result.exit_code, archived.count("alert")) == (0, 20)


def test_parents_are_put_back_before_children_of_another_policy(
    run, models, sqlite_url, tmp_path
) -> None:
    app = models(PARENTS.format(archive=str(tmp_path / "archive")))
    metadata = __import__(app).metadata
    common = ("--url", sqlite_url, "--app", f"{app}:metadata")
    run("db", "upgrade", "--url", sqlite_url)
    engine = create_engine(sqlite_url)
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
    with engine.begin() as connection:
        metadata.create_all(connection)
        for name in ("post", "comment"):
            row = {
                "id": 1,
                "at": datetime(2020, 1, 1),
                **({"post_id": 1} if name == "comment" else {}),
            }
            connection.execute(insert(metadata.tables[name]), [row])
    done = json.loads(run("retention", "run", *common).stdout)
    assert [one["rows_archived"] for one in done["policies"]] == [1, 1]
    restored = json.loads(run("retention", "restore", "--run", done["id"], *common).stdout)
    assert list(restored["tables"]) == ["post", "comment"]
    with engine.connect() as connection:
        assert connection.execute(select(metadata.tables["comment"].c.id)).scalars().all() == [1]
    engine.dispose()


PARENTS = """
from sqlalchemy import Column, DateTime, ForeignKey, Integer, MetaData, Table

from sa_perf.retention import FileArchive, RetentionPolicy, declare

metadata = MetaData()
old = dict(days=30, by="at", action="archive", archive=FileArchive({archive!r}))
post = Table(
    "post",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime, nullable=False),
)
comment = Table(
    "comment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime, nullable=False),
    Column("post_id", ForeignKey("post.id"), nullable=False, index=True),
)
declare(post, RetentionPolicy(on_children="restrict", **old))
declare(comment, RetentionPolicy(**old))
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--run", "nope"), "the audit has no run 'nope'; see: sa-perf retention history"),
        (("--policy", "nope"), "there is no policy nope; there are: alert, entry"),
        (("--policy", "entry"), "policy entry has no archive in the application"),
    ],
)
def test_rows_that_are_in_no_archive(archived, arguments: tuple[str, str], words: str) -> None:
    result = archived.run("restore", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {words}\n")


def test_a_run_that_archived_nothing(archived) -> None:
    with archived.engine.begin() as connection:
        connection.execute(delete(batches))
    result = archived.run("restore", "--run", run_of(archived))
    assert (result.exit_code, "archived nothing" in result.stderr) == (2, True)


def test_restore_wants_to_know_which_rows(archived) -> None:
    result = archived.run("restore")
    assert (result.exit_code, "--run ID" in result.stderr) == (2, True)


# vacuum


def fill(shop, rows: int = 20_000) -> None:
    """Make the file big and empty it again."""
    with shop.engine.begin() as connection:
        connection.execute(text("CREATE TABLE big (id INTEGER PRIMARY KEY, words TEXT)"))
        connection.execute(
            text(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
                "INSERT INTO big SELECT i, 'some words that take room in the file' FROM n"
            )
        )
    with shop.engine.begin() as connection:
        connection.execute(text("DELETE FROM big"))


def size(shop) -> int:
    return Path(shop.url.removeprefix("sqlite:///")).stat().st_size


def test_vacuum_only_says_what_it_would_cost(shop) -> None:
    fill(shop)
    before = size(shop)
    result = shop.run("vacuum", "--no-json")
    assert result.exit_code == 0
    assert "nothing was done; with --yes it is" in result.stdout
    (one,) = json.loads(shop.run("vacuum").stdout)["estimates"]
    assert one["reclaimable_bytes"] > 900_000
    assert one["how"] == "vacuum"
    assert size(shop) == before


def test_vacuum_gives_the_space_back(shop) -> None:
    fill(shop)
    before = size(shop)
    (one,) = json.loads(shop.run("vacuum", "--yes").stdout)["results"]
    assert size(shop) == one["bytes_after"] < before / 2
    shown = " ".join(shop.run("vacuum", "--yes", "--no-json").stdout.split())
    assert "Freed" in shown


def test_a_file_can_be_fitted_for_small_steps(shop) -> None:
    fill(shop)
    refused = shop.run("vacuum", "--yes", "--how", "incremental")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--how vacuum --make-incremental" in refused.stderr
    estimate = " ".join(shop.run("vacuum", "--how", "incremental", "--no-json").stdout.split())
    assert "with --yes it would be refused" in estimate
    assert "make_incremental=" not in estimate
    assert shop.run("vacuum", "--yes", "--how", "vacuum", "--make-incremental").exit_code == 0
    (one,) = json.loads(shop.run("vacuum", "--yes").stdout)["results"]
    assert one["how"] == "incremental"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nosuch",), "the database has no table 'nosuch'"),
        (("--how", "full"), "ways are: 'vacuum', 'incremental'"),
        (("--how", "quick"), "Invalid value for '--how'"),
    ],
)
def test_what_cannot_be_vacuumed(shop, arguments: tuple[str, ...], words: str) -> None:
    result = shop.run("vacuum", *arguments)
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_tables_are_taken_by_name(shop, postgresql_database, run) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA other"))
        connection.execute(text("CREATE TABLE other.event AS SELECT generate_series(1, 1000) id"))
    url = postgresql_database.url.render_as_string(hide_password=False)
    result = run("retention", "vacuum", "other.event", "--yes", "--url", url)
    (one,) = json.loads(result.stdout)["results"]
    assert "event" in one["subject"]
    assert run("retention", "vacuum", "event", "--url", url).exit_code == 2


@pytest.fixture
def served(postgresql_database, run) -> Any:
    """``sa-perf retention vacuum`` on two tables of PostgreSQL, and an engine for them."""
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        for name in ("event", "note"):
            connection.execute(text(f"CREATE TABLE {name} AS SELECT generate_series(1, 1000) id"))
    url = postgresql_database.url.render_as_string(hide_password=False)
    return engine, lambda *arguments: run("retention", "vacuum", "--url", url, *arguments)


def test_what_would_block_or_not_fit_is_refused_with_exit_code_1(served) -> None:
    _, vacuum = served
    blocking = vacuum("--how", "full", "--yes")
    assert (blocking.exit_code, blocking.stdout) == (1, "")
    assert "say --blocking" in blocking.stderr
    small = vacuum("--how", "full", "--yes", "--blocking", "--free-bytes", "10")
    assert (small.exit_code, "0.0 MB free" in small.stderr) == (1, True)
    assert vacuum("--how", "full", "--yes", "--blocking").exit_code == 0


def test_a_table_in_use_ends_with_exit_code_1_and_what_was_done_is_told(served) -> None:
    engine, vacuum = served
    arguments = ("--how", "full", "--yes", "--blocking", "--lock-seconds", "0.05")
    with engine.connect() as user:
        user.execute(text("SELECT count(*) FROM event")).all()
        told = vacuum(*arguments)
        shown = vacuum(*arguments, "--no-json")
    results = json.loads(told.stdout)["results"]
    assert (told.exit_code, shown.exit_code) == (1, 1)
    assert [one["refusal"] is None for one in results] == [False, True]
    words = " ".join(shown.stdout.split())
    assert "public.event was in use for longer than 0.05 s" in words
    assert "or raise --lock-seconds" in words


def test_what_all_tables_have_in_common_is_said_once(served) -> None:
    engine, vacuum = served
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE third (id integer)"))
    words = " ".join(vacuum("--no-json").stdout.split())
    assert words.count("blocks nobody") == 1
    assert "each of 3 tables: meanwhile it blocks nobody" in words
    assert words.count("--how full gives it to the disk") == 1


def test_a_role_that_may_not_ask_for_the_disk_says_what_is_free(
    served, postgresql_database, run
) -> None:
    engine, _ = served
    role = str(postgresql_database.url.database)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"ALTER TABLE event OWNER TO {role}"))
    url = postgresql_database.url.update_query_dict({"user": role})
    options = ("--how", "full", "--blocking", "--url", url.render_as_string(hide_password=False))
    try:
        estimate = " ".join(run("retention", "vacuum", *options, "--no-json").stdout.split())
        assert "unknown" in estimate
        assert "say --free-bytes" in estimate
        assert run("retention", "vacuum", *options, "--yes").exit_code == 1
        done = run("retention", "vacuum", *options, "--yes", "--free-bytes", "1000000000")
        assert done.exit_code == 0
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))
