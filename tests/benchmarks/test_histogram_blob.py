from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive


def run(*arguments: str) -> str:
    """What the benchmark prints."""
    script = Path(__file__).resolve().parent / "histogram_blob.py"
    finished = subprocess.run(
        [sys.executable, str(script), "--quick", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "150", "NO_COLOR": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_histogram_blobs_keep_to_their_bytes() -> None:
    readings = json.loads(run("--json"))
    assert [one["form"] for one in readings] == ["blob", "blob, deflated", "JSON"]
    assert readings[0]["median_bytes"] <= 300


def test_the_benchmark_of_histogram_blobs_prints_every_shape() -> None:
    printed = run()
    for row in ("blob", "by key, narrow", "three ways and outliers"):
        assert f"│ {row} " in printed
    assert "blob: at most 300 bytes at the median: met" in printed
