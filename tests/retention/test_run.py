"""A run takes exactly what has expired, in batches, and writes it down."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
)

from sa_perf.retention.audit import batches_of, history, status
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare
from sa_perf.retention.results import Progress
from sa_perf.retention.runner import in_order, policies_of, run

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
SMALL = BatchLimits(first_rows=7, min_rows=1, max_rows=7)


def _events(policy: RetentionPolicy, *, index: bool = True) -> Table:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
        Column("kind", String(20)),
    )
    if index:
        Index("ix_event_at", table.c.at)
    declare(table, policy)
    return table


def _fill(engine: Engine, table: Table, ages: list[float], **values: Any) -> None:
    """Rows of so many days, with keys from 1 on."""
    rows = [
        {"id": at, "at": (NOW - timedelta(days=age)).replace(tzinfo=None), **values}
        for at, age in enumerate(ages, 1)
    ]
    with engine.begin() as connection:
        table.create(connection, checkfirst=True)
        connection.execute(insert(table), rows)


def _ids(engine: Engine, table: Table) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(select(table.c.id).order_by(table.c.id)))


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("order", ["rising", "falling", "mixed", "alike"])
def test_a_run_deletes_what_has_expired_and_nothing_else(
    engine: Engine, order: str, index: bool
) -> None:
    table = _events(RetentionPolicy(days=30, by="at", batch=SMALL), index=index)
    ages = {
        "rising": [60 - at for at in range(60)],
        "falling": list(range(60)),
        "mixed": [(at * 37) % 60 for at in range(60)],
        "alike": [31.0 if at % 2 else 29.0 for at in range(60)],
    }[order]
    _fill(engine, table, ages)
    result = run(engine, table, at=NOW)
    assert _ids(engine, table) == [at for at, age in enumerate(ages, 1) if age <= 30]
    (policy,) = result.policies
    assert (policy.outcome, policy.reason) == ("done", None)
    assert policy.rows_changed == sum(age > 30 for age in ages)
    assert policy.batches > 2


def test_the_audit_has_the_run_and_its_batches(engine: Engine) -> None:
    table = _events(RetentionPolicy(days=30, by="at", batch=SMALL))
    _fill(engine, table, [60 - at for at in range(60)])
    result = run(engine, table, at=NOW, actor="tester")
    (record,) = history(engine)
    assert record.run == result.id
    assert (record.policy, record.table_name, record.action) == ("event", "event", "delete")
    assert record.cutoff == NOW - timedelta(days=30)
    assert (record.outcome, record.error, record.actor) == ("done", None, "tester")
    assert record.rows_changed == 30
    assert "at <" in record.predicate
    batches = batches_of(engine, record.id)
    assert sum(one.rows_changed for one in batches) == 30
    assert [one.number for one in batches] == list(range(1, len(batches) + 1))
    (lease,) = status(engine)
    assert (lease.policy, lease.owner, lease.position) == ("event", None, None)


def test_a_second_run_finds_nothing_to_do(engine: Engine) -> None:
    table = _events(RetentionPolicy(days=30, by="at"))
    _fill(engine, table, [40, 20])
    assert run(engine, table, at=NOW).rows_changed == 1
    assert run(engine, table, at=NOW).rows_changed == 0
    assert [one.outcome for one in history(engine)] == ["done", "done"]


def test_a_run_ends_at_its_number_of_rows_and_the_next_goes_on(engine: Engine) -> None:
    table = _events(RetentionPolicy(days=30, by="at", batch=SMALL))
    _fill(engine, table, [60 - at for at in range(60)])
    first = run(engine, table, at=NOW, max_rows=20)
    assert first.rows_changed == 20
    assert first.policies[0].outcome == "limited"
    assert len(_ids(engine, table)) == 40
    assert run(engine, table, at=NOW).rows_changed == 10


def test_a_run_that_is_stopped_finishes_its_batch(engine: Engine) -> None:
    table = _events(RetentionPolicy(days=30, by="at", batch=SMALL))
    _fill(engine, table, [60 - at for at in range(60)])
    stop = threading.Event()
    result = run(engine, table, at=NOW, stop=stop, progress=lambda _: stop.set())
    (policy,) = result.policies
    assert policy.outcome == "stopped"
    assert policy.rows_changed == 7
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(table)) == 53
    assert history(engine)[0].outcome == "stopped"


def test_progress_tells_how_many_rows_are_expected(engine: Engine) -> None:
    table = _events(RetentionPolicy(days=30, by="at", batch=SMALL))
    _fill(engine, table, [60 - at for at in range(60)])
    seen: list[Progress] = []
    run(engine, table, at=NOW, progress=seen.append)
    assert {one.rows_expected for one in seen} == {30}
    assert [one.rows_changed for one in seen] == sorted(one.rows_changed for one in seen)
    assert seen[-1].rows_changed == 30


def test_policies_have_one_order_in_every_process() -> None:
    metadata = MetaData()
    names = [f"table_{at}" for at in (3, 1, 4, 0, 2)]
    for name in names:
        columns = (Column("id", Integer, primary_key=True), Column("at", DateTime, nullable=False))
        declare(Table(name, metadata, *columns), RetentionPolicy(days=1, by="at"))
    found = [one.name for one in in_order(policies_of(metadata))]
    assert found == sorted(names, reverse=True)


def test_a_number_of_rows_does_not_make_batches_of_rows_that_stay_small(engine: Engine) -> None:
    table = _events(RetentionPolicy(days=30, by="at", batch=BatchLimits()), index=False)
    _fill(engine, table, [20.0] * 300 + [40.0] * 3)
    (policy,) = run(engine, table, at=NOW, max_rows=1).policies
    assert (policy.outcome, policy.rows_changed, policy.batches) == ("limited", 1, 1)
    assert _ids(engine, table)[-2:] == [302, 303]
    (policy,) = run(engine, table, at=NOW, max_rows=2).policies
    assert (policy.rows_changed, policy.batches) == (2, 1)


def test_a_number_of_rows_is_kept_to_along_an_index(engine: Engine) -> None:
    table = _events(RetentionPolicy(days=30, by="at", batch=BatchLimits()))
    _fill(engine, table, [40.0 - at % 7 for at in range(60)])
    for changed in (5, 20, 35):
        assert run(engine, table, at=NOW, max_rows=changed).rows_changed == changed
    assert _ids(engine, table) == []
