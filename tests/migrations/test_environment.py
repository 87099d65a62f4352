"""The Alembic environment for sa_perf's own tables, run as a developer runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    inspect,
)

from sa_perf import migration
from sa_perf.migration.environment import TABLES
from sa_perf.retention import RetentionPolicy, TableArchive, declare

ROOT = Path(__file__).resolve().parents[2]


def alembic(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def upgrade(url: str) -> subprocess.CompletedProcess[str]:
    return alembic("-x", f"url={url}", "upgrade", "head")


def test_upgrading_an_empty_database_makes_the_tables(db) -> None:
    run = upgrade(db.url.render_as_string(hide_password=False))
    assert (run.returncode, "Running upgrade" in run.stderr) == (0, True), run.stderr
    if db.name != "sqlite_memory":
        names = {table.name for table in TABLES}
        assert set(inspect(db.engine()).get_table_names()) == {"sa_perf_alembic_version", *names}
        assert migration.check(db.url) == ()


def test_autogenerate_finds_nothing_to_do_and_drops_no_table_of_others(sqlite_database) -> None:
    engine = sqlite_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE own (id INTEGER)")
    migration.upgrade(engine)
    run = alembic("-x", f"url={sqlite_database.url}", "check")
    assert (run.returncode, "No new upgrade operations" in run.stdout) == (0, True), run.stderr


def _proposals(engine: Engine, metadata: MetaData, **options: Any) -> set[str]:
    """Tables that an application's autogenerate would drop."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, metadata)
        return {one[1].name for one in found if one[0] == "remove_table"}


def test_the_filter_of_the_guide_keeps_an_application_from_dropping_the_tables(db) -> None:
    page = (ROOT / "docs" / "howto" / "own-tables.md").read_text("utf-8")
    assert "include_name=migration.include_name(target_metadata)" in page
    engine = db.engine()
    migration.upgrade(engine)
    names = {"sa_perf_alembic_version", *(table.name for table in TABLES)}
    assert _proposals(engine, MetaData()) == names
    assert _proposals(engine, MetaData(), include_name=migration.include_name(MetaData())) == set()


def test_archive_tables_are_left_alone_and_others_are_not(db) -> None:
    metadata = MetaData()
    event = Table(
        "event",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    line = Table(
        "line",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("event_id", ForeignKey("event.id"), index=True),
    )
    archive = TableArchive()
    policy = RetentionPolicy(
        days=30, by="at", action="archive", archive=archive, on_children="delete_first"
    )
    declare(event, policy)
    engine = db.engine()
    metadata.create_all(engine)
    archive.open(engine, event, policy="event", run="run-1", children=(line,)).close()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE old_archive (id INTEGER)")
    stranger = {"old_archive"}
    assert _proposals(engine, metadata) == stranger | {"event_archive", "line_archive"}
    spared = migration.include_name(metadata)
    assert _proposals(engine, metadata, include_name=spared) == stranger


def test_an_archive_table_that_the_models_have_is_compared() -> None:
    metadata = MetaData()
    event = Table(
        "event",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    Table("event_archive", metadata, Column("id", Integer, primary_key=True))
    archive = TableArchive()
    declare(event, RetentionPolicy(days=30, by="at", action="archive", archive=archive))
    assert migration.include_name(metadata)("event_archive", "table", {"schema_name": None})


@pytest.mark.async_driver
def test_an_async_driver_migrates_too(sqlite_url: str) -> None:
    run = upgrade(sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"))
    assert (run.returncode, "Running upgrade" in run.stderr) == (0, True), run.stderr
    assert migration.check(sqlite_url) == ()


def test_a_script_can_be_written_without_a_database() -> None:
    run = alembic("-x", "url=sqlite://", "upgrade", "head", "--sql")
    assert (run.returncode, "CREATE TABLE" in run.stdout) == (0, True), run.stderr


def test_no_url_is_an_error_that_says_what_to_write() -> None:
    run = alembic("upgrade", "head")
    assert run.returncode != 0
    assert "alembic -x url=DATABASE_URL" in run.stderr + run.stdout


@pytest.mark.parametrize(
    "url",
    ["hunter2", "://user:hunter2@host", "x://user:hunter2@host:port/x", "x://a:b@hunter2@h/x"],
)
def test_an_unreadable_url_is_an_error_without_its_text(url: str) -> None:
    run = upgrade(url)
    assert run.returncode != 0
    assert "cannot be read" in run.stderr + run.stdout
    assert "hunter2" not in run.stderr + run.stdout
