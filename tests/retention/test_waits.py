"""Reasons to wait: load, and replicas where there are none."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

import pytest
from sqlalchemy import Engine

from sa_perf.retention.limits import Limits, load_above, replica_lag_above


def test_a_database_without_replicas_is_not_waited_for_and_that_is_told_once(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    wait = replica_lag_above(engine, 0.0)
    with caplog.at_level(logging.WARNING, "sa_perf.retention"):
        assert (wait(), wait()) == (None, None)
    (record,) = caplog.records
    assert record.getMessage().endswith("shows no replica, so none is waited for")


def test_load_above_the_ratio_is_told_with_its_number() -> None:
    assert load_above(1e9)() is None
    reason = load_above(-1.0)()
    assert reason is not None and "above -1" in reason


def test_a_run_that_waited_to_its_end_says_for_what() -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
    limits = Limits(deadline=now, now=lambda: now, waits=[lambda: None, lambda: "jobs wait"])
    assert limits.reached() == ("limited", "its deadline, 2026-11-01 12:00:00 UTC, has come")
    assert limits.reason_to_wait() == "jobs wait"
    assert limits.reached() == (
        "limited",
        "its deadline, 2026-11-01 12:00:00 UTC, has come while it waited: jobs wait",
    )
