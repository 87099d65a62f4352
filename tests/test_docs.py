from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sa_perf.settings import Settings
from sa_perf.snapshot import Snapshot

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What only some environments have; a page that shows one of them is run there.
OPTIONAL = ("aiosqlite", "fastapi", "flask")
# The plan shows the public face of parts that are still to come.
PLAN = DOCS / "explanation" / "architecture.md"
PAGES = sorted(
    page for page in DOCS.rglob("*.md") if page != PLAN and BLOCK.search(page.read_text("utf-8"))
)


def code_of(page: Path) -> str:
    """The Python blocks of a page, which a reader types one after the other."""
    return "\n".join(BLOCK.findall(page.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_code_of_a_page_runs_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    code = code_of(page)
    for optional in OPTIONAL:
        if optional in code:
            pytest.importorskip(optional, reason=f"the page shows {optional}")
    script = tmp_path / "page.py"
    script.write_text(code, "utf-8")

    run = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert run.returncode == 0, run.stderr


def test_the_tutorial_shows_what_it_says_however_often_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(code_of(DOCS / "tutorial" / "first-slow-query.md"), "utf-8")

    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "shop.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

        assert "WHERE orders.email = ?" in run.stdout
        assert re.search(r"remedy: .*CREATE INDEX .*email", run.stdout)
        assert re.search(r"[\d.]+ ms -> [\d.]+ ms", run.stdout)
        # The file that the reader looks at holds the fault, not the mended state.
        snapshot = Snapshot.read(tmp_path / "perf.json")
        assert [one.remedy.startswith("CREATE INDEX") for one in snapshot.findings] == [True]


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    page = (DOCS / "reference" / "settings.md").read_text("utf-8")
    documented = {
        name: default
        for name, default in re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", page, re.MULTILINE)
    }

    assert documented == {one.name: shown(one.default) for one in fields(Settings)}


def shown(default: object) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
