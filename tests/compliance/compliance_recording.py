"""A pytest plugin for the suite's process: puts sa_perf on every engine, writes the outcomes.

``SUITE_REPORT`` names the JSON file to write; ``SUITE_ENGINE_ARGUMENTS``, where it is set, holds
arguments as JSON that every ``create_engine`` of the run gets in addition.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import sqlalchemy

REPORT = Path(os.environ["SUITE_REPORT"])
ENGINE_ARGUMENTS = json.loads(os.environ.get("SUITE_ENGINE_ARGUMENTS", "{}"))

_create_engine = sqlalchemy.create_engine
_outcomes: dict[str, str] = {}
_engines = {"created": 0, "recorded": 0}
_instrumentations = []


def create_engine(url: sqlalchemy.URL, **options: object) -> sqlalchemy.Engine:
    """Create an engine as the suite asks, with the run's own arguments besides."""
    engine = _create_engine(url, **{**options, **ENGINE_ARGUMENTS})
    _engines["created"] += 1
    if ENGINE_ARGUMENTS:
        import sa_perf

        _instrumentations.append(sa_perf.instrumentation(engine))
        _engines["recorded"] += 1
    return engine


# The suite's `testing_engine` imports the name from here at each call.
sqlalchemy.create_engine = create_engine


def pytest_runtest_logreport(report) -> None:
    """Keep the worst outcome of a test's three phases, with the reason of a failure."""
    if report.failed:
        reason = str(report.longrepr).strip().splitlines()[-1]
        _outcomes[report.nodeid] = f"{report.when} failed: {reason}"
    elif report.skipped or report.nodeid not in _outcomes:
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Write what happened."""
    snapshots = [perf.snapshot() for perf in _instrumentations]
    report = {
        "outcomes": _outcomes,
        "engines": _engines,
        "statements": sum(snapshot.calls for snapshot in snapshots),
        "plans": sum(len(snapshot.plans) for snapshot in snapshots),
        "faults": [snapshot.health.last_fault for snapshot in snapshots if snapshot.health.faults],
    }
    REPORT.write_text(json.dumps(report), encoding="utf-8")
