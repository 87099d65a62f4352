"""What is installed and what the README promises, seen from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import sa_perf

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(str(files("sa_perf")))
DISTRIBUTION = distribution("sa-perf")
LOWEST = os.environ.get("SA_PERF_TEST_LOWEST") == "1"
CORE = {
    "alembic",
    "cbor2",
    "click",
    "itsdangerous",
    "psutil",
    "rich",
    "sqlalchemy",
    "sqlalchemy-utils",
    "sqlglot",
}


def readme_blocks() -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    return [block.strip() for block in blocks]


def core_requirements() -> list[str]:
    return [line for line in DISTRIBUTION.requires or () if "extra ==" not in line]


def test_the_core_dependencies_are_the_nine_of_the_architecture() -> None:
    names = {re.match(r"[\w-]+", line)[0].lower() for line in core_requirements()}
    assert names == CORE


def test_every_core_dependency_has_a_lower_bound() -> None:
    assert [line for line in core_requirements() if ">=" not in line] == []


@pytest.mark.skipif(not LOWEST, reason="only the tox environment `lowest` has lowest versions")
def test_the_lowest_environment_has_the_lowest_versions() -> None:
    bounds = dict(re.match(r"([\w-]+).*>=([\d.]+)", line).groups() for line in core_requirements())
    installed = {name: distribution(name).version for name in bounds}
    higher = {
        name: version
        for name, version in installed.items()
        if not f"{version}.".startswith(f"{bounds[name]}.")
    }
    assert higher == {}


def test_the_licence_is_stated_as_an_expression_and_shipped() -> None:
    metadata = DISTRIBUTION.metadata
    vendored = json.loads((PACKAGE / "web/static/vendor/manifest.json").read_text())
    licences = {"MIT", *(one["license"] for one in vendored)}
    assert "CC0 1.0 Universal" in (PACKAGE / "demo/data/LICENSE").read_text()
    licences.add("CC0-1.0")
    assert set(metadata["License-Expression"].split(" AND ")) == licences
    stated = set(metadata.get_all("License-File"))
    carried = {f"sa_perf/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*LICENSE*")}
    assert stated == {"LICENSE"} | carried


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_demonstration_data_take_at_most_three_megabytes() -> None:
    data = (PACKAGE / "demo" / "data").rglob("*")
    sizes = [path.stat().st_size for path in data if path.is_file()]
    assert 0 < sum(sizes) <= 3_000_000


def test_nothing_but_the_package_is_installed() -> None:
    installed = {path.parts[0] for path in DISTRIBUTION.files or () if path.parts[0] != ".."}
    assert {name for name in installed if not name.startswith(("sa_perf", "_"))} == set()


def test_the_plugin_is_found_by_its_entry_point() -> None:
    engine = create_engine("sqlite://?plugin=sa_perf")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    perf = sa_perf.instrumentation(engine)
    assert perf.snapshot().calls == 1
    perf.uninstall()
    engine.dispose()


@pytest.mark.parametrize(
    "start", [["-m", "sa_perf"], ["-c", "from sa_perf.cli import main; main()"]]
)
def test_the_command_starts_and_tells_its_version(start: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, *start, "--version"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, DISTRIBUTION.version in run.stdout) == (0, True), run.stderr


def test_the_console_script_is_declared() -> None:
    scripts = DISTRIBUTION.entry_points.select(group="console_scripts")
    assert [(script.name, script.value) for script in scripts] == [("sa-perf", "sa_perf.cli:main")]


def test_the_readme_begins_with_two_commands_of_one_line() -> None:
    demo, tests = readme_blocks()[:2]
    assert [command.count("\n") for command in (demo, tests)] == [0, 0]
    assert demo.endswith("sa-perf demo")
    assert re.search(r"/tox( |$)", tests)


def test_ci_runs_the_second_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    function = script[
        script.index("second_command() {") : script.index("install_debian_packages\n")
    ]
    run = subprocess.run(
        ["bash", "-c", f"{function}\nsecond_command"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == readme_blocks()[1]


REPORT = """<testsuites><testsuite time="1.5"><testcase name="a"/><testcase name="b">{}</testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("second_case", "code", "line"),
    [
        ("", 0, "2 passed in 1.50s"),
        ('<failure message="x"/>', 1, "1 failed, 1 passed in 1.50s"),
        ('<error message="x"/>', 1, "1 passed, 1 error in 1.50s"),
        ('<skipped message="not on this platform"/>', 0, "1 passed, 1 skipped in 1.50s"),
    ],
)
def test_the_summary_adds_up_reports(
    second_case: str, code: int, line: str, tmp_path: Path
) -> None:
    (tmp_path / "py311-sa21.xml").write_text(REPORT.format(second_case))
    run = summary(tmp_path)
    assert (run.returncode, line in run.stdout.splitlines()[-1]) == (code, True), run.stdout


def test_the_summary_fails_where_nothing_ran(tmp_path: Path) -> None:
    assert summary(tmp_path).returncode == 1


@pytest.mark.mariadb
def test_the_summary_fails_where_a_running_mariadb_was_skipped(
    mariadb_server, tmp_path: Path
) -> None:
    (tmp_path / "py311-sa21.xml").write_text(REPORT.format('<skipped message="no MariaDB: x"/>'))
    run = summary(tmp_path, SA_PERF_TEST_MARIADB_URL=str(mariadb_server.url))
    assert (run.returncode, "a MariaDB server answers" in run.stdout) == (1, True)


@pytest.mark.hypopg
def test_the_summary_fails_where_hypopg_was_skipped_but_is_there(
    hypopg_server, tmp_path: Path
) -> None:
    (tmp_path / "py311-sa21.xml").write_text(REPORT.format('<skipped message="no HypoPG: x"/>'))
    run = summary(tmp_path, SA_PERF_TEST_HYPOPG_URL=str(hypopg_server.url))
    assert (run.returncode, "HypoPG can be had" in run.stdout) == (1, True)


def summary(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "summary.py"), str(directory)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
