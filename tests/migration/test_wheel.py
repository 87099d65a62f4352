"""The revisions within an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sa_perf.migration import environment

ROOT = Path(__file__).resolve().parents[2]
UPGRADE = """
from pathlib import Path
import sqlalchemy, sa_perf
from sa_perf import migration
from sa_perf.migration.environment import scripts

home = Path(sa_perf.__file__).parent
assert scripts() == home / "migration" / "scripts", scripts()
engine = sqlalchemy.create_engine("sqlite:///wheel.db")
migration.upgrade(engine)
assert migration.check(engine) == ()
print(home)
"""


def test_the_folder_of_the_revisions_is_found() -> None:
    found = environment.scripts()
    assert (found / "env.py").is_file()
    assert list((found / "versions").glob("sa_perf_0001_*.py"))


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_an_installed_wheel_upgrades_a_database(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: object) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "venv")
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "wheels", ROOT)
    (wheel,) = (tmp_path / "wheels").glob("sa_perf-*.whl")
    shipped = {
        name.removeprefix("sa_perf/migration/scripts/")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("sa_perf/migration/scripts/")
    }
    kept = (ROOT / "migrations").rglob("*")
    assert shipped == {
        path.relative_to(ROOT / "migrations").as_posix()
        for path in kept
        if path.is_file() and path.suffix != ".pyc"
    }
    run(python, "-m", "pip", "install", "-q", wheel)
    assert str(tmp_path / "venv") in run(python, "-c", UPGRADE)
    script = python.with_name("sa-perf")
    assert '"faults": []' in run(script, "db", "check", "--url", "sqlite:///wheel.db")
