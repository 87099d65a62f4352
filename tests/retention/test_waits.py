"""Reasons to wait: load and replicas."""

from __future__ import annotations

from sqlalchemy import Engine

from sa_perf.retention.limits import load_above, replica_lag_above


def test_a_database_without_replicas_gives_no_reason_to_wait(engine: Engine) -> None:
    assert replica_lag_above(engine, 0.0)() is None


def test_load_above_the_ratio_is_told_with_its_number() -> None:
    assert load_above(1e9)() is None
    reason = load_above(-1.0)()
    assert reason is not None and "above -1" in reason
