from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive


def test_the_benchmark_of_pools_prints_every_pool_and_the_target() -> None:
    script = Path(__file__).resolve().parent / "pool_checkout.py"
    finished = subprocess.run(
        [sys.executable, str(script), "--quick"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "150", "NO_COLOR": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    for row in ("QueuePool  │ one line", "StaticPool │ many lines"):
        assert f"│ {row} " in finished.stdout
    assert "watched: at most 3 us more than bare: " in finished.stdout
