"""Zones by name, where there is a database of them and where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from sa_perf.retention.zones import zone_named


def test_utc_needs_no_database_of_zones() -> None:
    assert zone_named("UTC") is timezone.utc
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['tzdata'] = None\n"
            "from sa_perf.retention import RetentionPolicy, Window\n"
            "RetentionPolicy(days=1, by='at'); Window.parse('02:00-04:00')",
        ],
        env={**os.environ, "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")


def test_a_name_is_looked_up_and_one_that_is_none_refused() -> None:
    assert zone_named("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    with pytest.raises(ZoneInfoNotFoundError):
        zone_named("Europe/Nowhere")
