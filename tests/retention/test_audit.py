"""The audit adds up: of each run what its batches say, whatever ended it."""

from __future__ import annotations

from typing import Any

import pytest
from retention_world import NOW, add_own_tables, ago, fill, make
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    update,
)

from sa_perf.retention.audit import RunRecord, batches_of, history
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare
from sa_perf.retention.runner import run
from sa_perf.retention.tables import runs

FEW = BatchLimits(first_rows=7, min_rows=1, max_rows=7)


def _shop(on_children: str) -> Table:
    """Orders with lines, and policies for the orders."""
    metadata = MetaData()
    order = Table(
        "orders",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
        Column("kind", String(10)),
    )
    on_delete = "CASCADE" if on_children == "cascade" else None
    Table(
        "line",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("order_id", ForeignKey("orders.id", ondelete=on_delete), index=True),
    )
    policy: Any = {"days": 30, "by": "at", "on_children": on_children, "batch": FEW}
    declare(order, RetentionPolicy(**policy))
    return order


def _fill(engine: Engine, order: Table) -> None:
    make(engine, order.metadata)
    fill(engine, order, *({"id": at, "at": ago(60 - at)} for at in range(1, 51)))
    lines = ({"id": at, "order_id": at % 50 + 1} for at in range(1, 121))
    fill(engine, order.metadata.tables["line"], *lines)


def _sums(engine: Engine, run_id: int, table: str) -> dict[str, int]:
    """What the batches of a run say of it."""
    found = batches_of(engine, run_id)
    own = [one for one in found if one.table_name == table]
    return {
        "batches": len({one.number for one in found}),
        "rows_scanned": sum(one.rows_scanned for one in own),
        "rows_changed": sum(one.rows_changed for one in own),
        "rows_archived": sum(one.rows_archived for one in found),
        "children_changed": sum(one.rows_changed for one in found if one.table_name != table),
    }


def _told(record: RunRecord, sums: dict[str, int]) -> dict[str, int]:
    return {name: getattr(record, name) for name in sums}


@pytest.mark.parametrize("on_children", ["cascade", "delete_first", "detach"])
def test_a_run_says_what_its_batches_say(shared_engine: Engine, on_children: str) -> None:
    order = _shop(on_children)
    _fill(shared_engine, order)
    run(shared_engine, order, at=NOW)
    (record,) = history(shared_engine)
    sums = _sums(shared_engine, record.id, "orders")
    assert (sums["rows_changed"], sums["rows_scanned"] > 0) == (29, True)
    assert sums["children_changed"] > 0
    assert _told(record, sums) == sums


def test_a_range_that_is_looked_at_again_counts_once(sqlite_database: Any) -> None:
    engine = sqlite_database.engine()
    add_own_tables(engine)
    order = _shop("delete_first")
    _fill(engine, order)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER keeps BEFORE DELETE ON orders WHEN old.id IN (3, 29) "
            "BEGIN SELECT RAISE(IGNORE); END"
        )
    run(engine, order, at=NOW)
    (record,) = history(engine)
    sums = _sums(engine, record.id, "orders")
    assert (sums["rows_changed"], record.rows_refused) == (27, 2)
    looks = [one for one in batches_of(engine, record.id) if one.table_name == "orders"]
    assert len(looks) > len({one.upto_key for one in looks})
    assert _told(record, sums) == sums


def test_a_run_whose_runner_did_not_come_back_says_what_its_batches_say(
    shared_engine: Engine,
) -> None:
    order = _shop("delete_first")
    _fill(shared_engine, order)
    first = run(shared_engine, order, at=NOW, max_rows=10)
    with shared_engine.begin() as connection:  # as a kill leaves it
        unwritten = {"outcome": "running", "rows_changed": 0, "rows_scanned": 0, "batches": 0}
        connection.execute(update(runs).values(**unwritten, children_changed=0))
    run(shared_engine, order, at=NOW)
    _, record = history(shared_engine)
    assert (record.run, record.outcome) == (first.id, "failed")
    sums = _sums(shared_engine, record.id, "orders")
    assert sums["rows_changed"] == 10
    assert _told(record, sums) == sums


def test_a_policy_that_its_database_refuses_is_in_the_audit(shared_engine: Engine) -> None:
    table = Table(
        "event_view",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
    )
    declare(table, RetentionPolicy(days=30, by="at"))
    with shared_engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE VIEW event_view AS SELECT id, finished_at AS at FROM sa_perf_retention_batch"
        )
    try:
        (policy,) = run(shared_engine, table, at=NOW).policies
    finally:
        with shared_engine.begin() as connection:
            connection.exec_driver_sql("DROP VIEW event_view")
    (record,) = history(shared_engine)
    assert (policy.outcome, record.outcome) == ("failed", "failed")
    assert policy.reason == record.error
    assert "'event_view' is a view" in str(record.error)
