from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive


def test_the_benchmark_of_doctor_prints_its_figures() -> None:
    script = Path(__file__).resolve().parent / "doctor.py"
    finished = subprocess.run(
        [sys.executable, str(script), "--quick", "--json", "--databases", "sqlite"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    document = json.loads(finished.stdout)
    assert document["aim_seconds"] == 10.0
    figures = document["results"]["sqlite"]
    assert (figures["tables"], figures["indexes"], figures["foreign_keys"]) == (50, 205, 49)
    assert figures["findings"] == 49 + 5
    assert figures["examine_seconds"] > 0
