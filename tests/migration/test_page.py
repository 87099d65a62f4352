"""The guides to an application's Alembic history do what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import alembic
import pytest

from sa_perf.migration import environment

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
PAGE = HOWTO / "alembic-history.md"
DECLARED = HOWTO / "autogenerate-declared.md"
FILE = re.compile(r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```", re.M | re.S)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
NEEDS_LINES = tuple(map(int, alembic.__version__.split(".")[:2])) < (1, 16)

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


def section(heading: str) -> str:
    (_, text) = PAGE.read_text("utf-8").split(f"\n## {heading}\n")
    return text.split("\n## ")[0]


@pytest.mark.parametrize(
    "heading",
    [
        "In your own revisions",
        pytest.param(
            "As a branch",
            marks=pytest.mark.skipif(NEEDS_LINES, reason="the page is for Alembic 1.16 and later"),
        ),
    ],
)
def test_a_project_made_by_the_page_takes_the_tables(heading: str, tmp_path: Path) -> None:
    own = dict(FILE.findall(section("In your own revisions")))
    files = {**own, **dict(FILE.findall(section(heading)))}
    if heading == "As a branch":
        files["history/env.py"] = files["history/env.py"].replace(
            "migration.configure(target_metadata)\n", ""
        )
    begin(tmp_path, {"models.py": MODELS, **files})

    (commands,) = CONSOLE.findall(section(heading))
    said = [run(tmp_path, command) for command in commands.splitlines()]

    assert sum("No new upgrade operations" in one for one in said) == 1
    assert '"faults": []' in said[-1]


def test_a_project_made_by_the_page_sees_what_its_models_declare(tmp_path: Path) -> None:
    own = dict(FILE.findall(section("In your own revisions")))
    page = DECLARED.read_text("utf-8")
    begin(tmp_path, {**own, **dict(FILE.findall(page))})

    (commands,) = CONSOLE.findall(page)
    said = [run(tmp_path, command) for command in commands.splitlines()]

    assert "No new upgrade operations" in said[-1]
    (revision,) = (tmp_path / "history" / "versions").glob("*.py")
    shown = page.split("The revision has, besides the tables:\n\n```\n")[1].split("```")[0]
    assert shown in revision.read_text("utf-8")


def begin(folder: Path, files: dict[str, str]) -> None:
    """As ``alembic init`` does, and with these files."""
    run(folder, "alembic init history")
    place = str(environment.scripts() / "versions")
    for name, text in files.items():
        path = folder / name
        path.write_text(text.replace("sa_perf:migration/scripts/versions", place), "utf-8")
    ini = folder / "alembic.ini"
    url = "sqlalchemy.url = sqlite:///app.db"
    ini.write_text(re.sub("^sqlalchemy.url = .*$", url, ini.read_text("utf-8"), flags=re.M))


def run(folder: Path, command: str) -> str:
    module, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", module.replace("-", "_"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
