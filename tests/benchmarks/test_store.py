from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive


def test_the_benchmark_of_reading_the_store_reads_all_that_it_wrote() -> None:
    script = Path(__file__).resolve().parent / "store_reading.py"
    finished = subprocess.run(
        [sys.executable, str(script), "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    assert answer["rows"] == 5 * 8 * 20
    assert list(answer["seconds"]) == [
        "window, 20 percentiles", "window, all percentiles", "sa-perf top, with its start",
    ]  # fmt: skip


def test_the_benchmark_of_a_flush_rolls_up_what_it_wrote() -> None:
    script = Path(__file__).resolve().parent / "store_flush.py"
    finished = subprocess.run(
        [sys.executable, str(script), "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    assert answer["hour"]["rows of minutes"] == 2 * 8 * 20
    assert min(answer["flush"].values()) > 0
