"""The README's first command, run as a newcomer runs it: in a fresh clone, with its own venv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FROM_THIS_ENVIRONMENT = ("PYTHON", "VIRTUAL_ENV", "SA_PERF_", "UV_", "TOX_")

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(900)]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of every file that git knows, as it is now."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files belong to it is not known")
    for name in listing.stdout.splitlines():
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return tmp_path / "clone"


def test_the_first_command_installs_and_shows_what_is_slow(clone: Path) -> None:
    command = re.findall(r"^```\w*\n(.*?)^```", (clone / "README.md").read_text(), re.M | re.S)[0]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FROM_THIS_ENVIRONMENT)
    }
    run = subprocess.run(
        ["bash", "-c", command],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "CREATE INDEX" in run.stdout
