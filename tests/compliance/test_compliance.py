"""SQLAlchemy's dialect suite comes out the same with sa_perf on every engine as without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compliance

HERE = Path(__file__).parent
# Way of recording -> settings, and how many statements must have been explained at least.
WAYS: dict[str, tuple[dict[str, object], int]] = {
    "as installed": ({}, 0),
    "through cursor events": ({"sa_perf_capture": "cursor_events"}, 0),
    "with every statement slow": (
        {
            "sa_perf_slow_seconds": 0,
            "sa_perf_log_slow": False,
            "sa_perf_explain_queue_size": 10_000,
        },
        100,
    ),
}
# A floor, so that a suite that skips everything cannot pass: 1,000 ran when this was written.
RUN_AT_LEAST = 900


@pytest.fixture(scope="session")
def postgresql_suite_url(postgresql_server) -> str:
    """A database with the two schemas that the suite expects."""
    postgresql_server.execute("CREATE DATABASE suite TEMPLATE template0")
    postgresql_server.execute(
        "CREATE SCHEMA test_schema", "CREATE SCHEMA test_schema_2", database="suite"
    )
    return postgresql_server.url.set(database="suite").render_as_string(hide_password=False)


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def suite_url(request) -> str:
    """Where the suite runs."""
    if request.param == "sqlite":
        return "sqlite:///:memory:"
    return request.getfixturevalue("postgresql_suite_url")


@pytest.fixture(scope="session")
def bare(suite_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The suite's report without sa_perf."""
    return _run_suite(suite_url, tmp_path_factory.mktemp("bare"), {})


def test_the_suite_passes_without_sa_perf(bare: dict) -> None:
    assert _failures(bare) == {}
    assert list(bare["outcomes"].values()).count("passed") >= RUN_AT_LEAST


@pytest.mark.parametrize("way", WAYS)
def test_the_suite_comes_out_the_same(way: str, bare: dict, suite_url: str, tmp_path: Path) -> None:
    settings, plans = WAYS[way]
    recorded = _run_suite(suite_url, tmp_path, {"plugins": ["sa_perf"], **settings})
    assert _failures(recorded) == {}
    assert recorded["outcomes"] == bare["outcomes"]
    assert recorded["engines"]["recorded"] == bare["engines"]["created"]
    assert recorded["statements"] >= RUN_AT_LEAST
    assert recorded["faults"] == []
    assert recorded["plans"] >= plans


def _run_suite(url: str, directory: Path, engine_arguments: dict[str, object]) -> dict:
    """Run the suite in a process of its own; its files stay in `directory`."""
    report = directory / "report.json"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        "SUITE_REPORT": str(report),
        "SUITE_ENGINE_ARGUMENTS": json.dumps(engine_arguments),
    }
    plugins = ["sqlalchemy.testing.plugin.pytestplugin", "compliance_recording", "no:cacheprovider"]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-c", str(HERE / "test.cfg")),
            *(argument for plugin in plugins for argument in ("-p", plugin)),
            *("--dburi", url, str(HERE / "dialect_suite.py")),
        ],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        pytest.fail(f"the suite did not run:\n{run.stdout[-5000:]}\n{run.stderr[-5000:]}")
    result = json.loads(report.read_text(encoding="utf-8"))
    assert isinstance(result, dict)
    return result


def _failures(report: dict) -> dict[str, str]:
    return {
        test: outcome
        for test, outcome in report["outcomes"].items()
        if outcome not in {"passed", "skipped"}
    }
