"""What runs did stands in the snapshots of the process that ran them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, insert
from sqlalchemy.sql import quoted_name

import sa_perf
from sa_perf.retention import statistics
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.runner import run
from sa_perf.snapshot import Snapshot

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    statistics.clear()
    yield
    statistics.clear()


def test_a_snapshot_has_the_sums_of_each_policys_runs(engine: Engine) -> None:
    metadata = MetaData()
    event, _ = (
        Table(
            name,
            metadata,
            Column("id", Integer, primary_key=True),
            Column("at", DateTime, nullable=False),
        )
        for name in ("event", "missing")
    )
    for table in metadata.tables.values():
        declare(table, RetentionPolicy(days=30, by="at"))
    perf = sa_perf.install(engine)
    with engine.begin() as connection:
        event.create(connection)
        old = (NOW - timedelta(days=40)).replace(tzinfo=None)
        connection.execute(insert(event), [{"id": at, "at": old} for at in range(1, 6)])
    recorded = perf.snapshot().calls
    for _ in range(2):
        run(engine, metadata, at=NOW)
    found = perf.snapshot()
    by_name = {one.policy: one for one in found.retention}
    assert list(by_name) == ["event", "missing"]
    assert (by_name["event"].runs, by_name["event"].rows_changed) == (2, 5)
    assert by_name["event"].last_outcome == "done"
    assert (by_name["missing"].runs, by_name["missing"].failures) == (2, 2)
    assert Snapshot.from_json(found.to_json()) == found
    # What retention sends itself is no statement of the application's.
    assert found.calls == recorded
    perf.uninstall()


def test_names_that_are_quoted_make_a_snapshot_that_can_be_read(engine: Engine) -> None:
    event = Table(
        quoted_name("event", quote=True),
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
    )
    event.create(engine)
    declare(event, RetentionPolicy(days=30, by="at"))
    perf = sa_perf.install(engine)
    run(engine, event)

    snapshot = perf.snapshot()
    assert Snapshot.from_dict(snapshot.to_dict()).retention == snapshot.retention
