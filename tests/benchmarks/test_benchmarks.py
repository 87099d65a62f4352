from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive

HERE = Path(__file__).resolve().parent


def run(script: str, *arguments: str) -> str:
    """Standard output of a benchmark; fails with its errors where it does."""
    finished = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "150", "NO_COLOR": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_overhead_prints_its_table_and_every_target() -> None:
    printed = run(
        "overhead.py", "--quick", "--rounds", "1", "--workloads", "core",
        "--subjects", "sa_perf;sa_perf cursor_events;sqltap",
    )  # fmt: skip
    assert "core: microseconds added per statement" in printed
    for row in ("bare", "floor", "sa_perf", "sa_perf cursor_events"):
        assert f"│ {row} " in printed
    assert "sa_perf, core: at most 0.5 x floor" in printed
    assert "sa_perf cursor_events, core: at most 1.5 x floor" in printed
    assert "sa_perf, core: at least 3 x below every peer" in printed


def test_overhead_names_the_reason_of_a_peer_without_figures() -> None:
    arguments = "--quick --json --rounds 1 --workloads core --subjects sqltap"
    document = json.loads(run("overhead.py", *arguments.split()))
    measured = document["results"]["core"]
    assert {"bare", "floor"} <= set(measured)
    assert ("sqltap" in measured) != bool(document["failures"].get("sqltap"))


def test_overhead_refuses_an_unknown_subject() -> None:
    finished = subprocess.run(
        [sys.executable, str(HERE / "overhead.py"), "--subjects", "sa-perf"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 1
    assert "unknown subjects ['sa-perf']; subjects are: bare;" in finished.stderr


def test_memory_prints_bytes_per_fingerprint_and_the_flood() -> None:
    printed = run("memory.py", "--quick")
    for row in ("fingerprint, histogram filled", "repeated execution", "flood: peak"):
        assert row in printed


def test_import_time_prints_the_difference_and_the_heaviest_modules() -> None:
    printed = run("import_time.py", "--quick")
    assert "above SQLAlchemy" in printed
    assert "│ sa_perf." in printed


def test_throughput_counts_every_statement() -> None:
    readings = json.loads(run("throughput.py", "--quick", "--json"))
    assert [one["capture"] for one in readings] == ["none", "dialect_events", "cursor_events"]
    for one in readings[1:]:
        assert (one["calls"], one["rows"], one["faults"]) == (one["executed"], one["read"], 0)
        assert one["executed"] == 2_000


@pytest.mark.postgresql
def test_pagination_times_and_counts_pages_on_each_database() -> None:
    document = json.loads(run("pagination.py", "--quick", "--json"))
    assert set(document["speed"]) == {"sqlite", "postgresql"}
    for speed in document["speed"].values():
        assert {"floor", "sa_perf, Core", "sa_perf, entities", "OFFSET"} <= set(speed)
        for results in speed.values():
            assert list(results) == ["0", "50", "2000", "18000"]
    for name, orderings in document["work"].items():
        for places in orderings.values():
            for work in places.values():
                assert work["items"] == 50, name
                assert work["count"] > 0
                assert 1 <= len(work["sent"]) <= 2


def test_pagination_prints_its_tables_and_every_target() -> None:
    printed = run("pagination.py", "--quick", "--databases", "sqlite")
    assert "sqlite: microseconds a page" in printed
    assert "sqlite: VM steps of a page" in printed
    for row in ("floor", "sa_perf, paginate()", "OFFSET, deferred join", "score DESC NULLS LAST"):
        assert f"│ {row} " in printed
    assert "Core rows at most 2.0 x floor" in printed
    assert "work of a page at most 250" in printed


def test_pagination_names_the_reason_of_a_peer_without_figures() -> None:
    arguments = "--quick --json --databases sqlite"
    document = json.loads(run("pagination.py", *arguments.split()))
    for peer in ("sqlakeyset, Core", "fastapi-pagination"):
        assert (peer in document["speed"]["sqlite"]) != bool(document["failures"].get(peer))


def test_pagination_refuses_an_unknown_database() -> None:
    finished = subprocess.run(
        [sys.executable, str(HERE / "pagination.py"), "--databases", "access"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 1
    assert "unknown databases ['access']; databases are: sqlite," in finished.stderr


def test_retention_prints_its_tables_and_every_target() -> None:
    printed = run("retention.py", "--quick", "--databases", "sqlite")
    assert "sqlite: throughput and batches" in printed
    assert "sqlite: milliseconds of a write meanwhile" in printed
    for row in ("one DELETE", "sa_perf", "sa_perf, to JSON Lines", "IN (SELECT ... LIMIT n)"):
        assert f"│ {row} " in printed
    assert "sa_perf: at least 65% of one DELETE" in printed
    assert "writer's p99 at most the target" in printed


def test_retention_purges_every_row_that_expired() -> None:
    arguments = "--quick --json --memory --databases sqlite"
    document = json.loads(run("retention.py", *arguments.split()))
    found = document["memory"]["sqlite"]
    assert {subject: one["rows"] for subject, one in found.items()} == dict.fromkeys(found, 10_000)
    assert len(found) == len(document["targets"]) == 3


def test_retention_refuses_an_unknown_database() -> None:
    finished = subprocess.run(
        [sys.executable, str(HERE / "retention.py"), "--databases", "access"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 1
    assert "unknown databases ['access']; databases are: sqlite," in finished.stderr


def test_lazy_loads_are_measured_for_every_subject() -> None:
    document = json.loads(run("lazy_loads.py", "--quick", "--json"))
    subjects = {"bare", "n_plus_one off", "sa_perf", "sa_perf, cursor_events"}
    assert [set(one) for one in document["figures"].values()] == [subjects] * 4
    # The aim is one for the search; what recording adds beside it is shown and has none.
    assert len(document["targets"]) == 2


def test_index_advice_is_measured_beside_the_expert_s() -> None:
    arguments = "--quick --json --databases sqlite --schemas time_series"
    document = json.loads(run("index_advice.py", *arguments.split()))
    (summary,) = document["summaries"]
    assert summary["advised"] == summary["verified"] > 5
    assert summary["gains"] >= summary["gains_twice_as_fast"] > 5
    (measurement,) = document["measurements"]["sqlite"]
    assert measurement["expert_unavailable"] or len(measurement["compared"]) == 45


@pytest.mark.parametrize("sketch", ["sa_perf", "ddsketch", "hdrhistogram"])
def test_histogram_has_a_row_for_each_sketch(sketch: str, histogram_table: str) -> None:
    assert sketch in histogram_table


@pytest.fixture(scope="module")
def histogram_table() -> str:
    return run("histogram.py", "--quick")
