"""The Alembic environment for sa_perf's own tables, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect

ROOT = Path(__file__).resolve().parents[2]


def alembic(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def upgrade(url: str) -> subprocess.CompletedProcess[str]:
    return alembic("-x", f"url={url}", "upgrade", "head")


def test_upgrading_an_empty_database_says_that_nothing_is_to_do(db) -> None:
    run = upgrade(db.url.render_as_string(hide_password=False))
    assert (run.returncode, "nothing to do" in run.stderr) == (0, True), run.stderr
    if db.name != "sqlite_memory":
        assert set(inspect(db.engine()).get_table_names()) <= {"sa_perf_alembic_version"}


@pytest.mark.async_driver
def test_an_async_driver_migrates_too(sqlite_url: str) -> None:
    run = upgrade(sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"))
    assert (run.returncode, "nothing to do" in run.stderr) == (0, True), run.stderr


def test_a_script_can_be_written_without_a_database() -> None:
    run = alembic("-x", "url=sqlite://", "upgrade", "head", "--sql")
    assert run.returncode == 0, run.stderr


def test_no_url_is_an_error_that_says_what_to_write() -> None:
    run = alembic("upgrade", "head")
    assert run.returncode != 0
    assert "alembic -x url=DATABASE_URL" in run.stderr + run.stdout


@pytest.mark.parametrize("url", ["hunter2", "://user:hunter2@host"])
def test_an_unreadable_url_is_an_error_without_its_text(url: str) -> None:
    run = upgrade(url)
    assert run.returncode != 0
    assert "cannot be read" in run.stderr + run.stdout
    assert "hunter2" not in run.stderr + run.stdout


def test_an_application_may_have_migrations_of_its_own(sqlite_url: str) -> None:
    assert upgrade(sqlite_url).returncode == 0
    assert alembic("-x", f"url={sqlite_url}", "check").returncode == 0
