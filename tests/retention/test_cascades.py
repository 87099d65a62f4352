"""A row that several ways lead to is counted once where the database deletes it along."""

from __future__ import annotations

from typing import Any

import pytest
from retention_world import NOW, SMALL, ago, fill, ids, make
from sqlalchemy import Column, DateTime, Engine, ForeignKey, Integer, MetaData, Table, event

from sa_perf.retention.audit import batches_of, history
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.runner import run


@pytest.fixture
def watched(shared_engine: Engine) -> Engine:
    """Have SQLite watch foreign keys, as the other databases do."""
    if shared_engine.dialect.name == "sqlite":

        @event.listens_for(shared_engine, "connect")
        def connect(connection: Any, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

        with shared_engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA foreign_keys = ON")
    return shared_engine


def _table(metadata: MetaData, name: str, *references: str) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        *(
            Column(one.replace(".", "_"), ForeignKey(f"{one.split('.')[0]}.id", ondelete="CASCADE"))
            for one in references
        ),
    )


def _people(metadata: MetaData) -> Table:
    people = _table(metadata, "person")
    people.append_column(Column("at", DateTime, nullable=False))
    declare(people, RetentionPolicy(days=30, by="at", on_children="cascade", batch=SMALL))
    return people


def _changed(engine: Engine) -> dict[str, int]:
    """Rows that the audit has of each table."""
    (record,) = history(engine)
    found: dict[str, int] = {}
    for one in batches_of(engine, record.id):
        found[one.table_name] = found.get(one.table_name, 0) + one.rows_changed
    assert record.children_changed == sum(found.values()) - record.rows_changed
    return found


def test_a_row_with_two_references_is_counted_once(watched: Engine) -> None:
    metadata = MetaData()
    people = _people(metadata)
    message = _table(metadata, "message", "person.sender", "person.receiver")
    flag = _table(metadata, "flag", "message")
    make(watched, metadata)
    fill(watched, people, *({"id": at, "at": ago(40 if at < 3 else 20)} for at in (1, 2, 3)))
    rows = [(1, 1, 2), (2, 2, 1), (3, 1, 3), (4, 3, 3)]
    for at, sender, receiver in rows:
        fill(watched, message, {"id": at, "person_sender": sender, "person_receiver": receiver})
        fill(watched, flag, {"id": at, "message": at})
    (policy,) = run(watched, metadata, at=NOW).policies
    assert (policy.rows_changed, policy.children_changed) == (2, 6)
    assert _changed(watched) == {"person": 2, "message": 3, "flag": 3}
    assert ids(watched, message) == ids(watched, flag) == [4]


def test_a_row_at_the_end_of_a_diamond_is_counted_once(watched: Engine) -> None:
    metadata = MetaData()
    people = _people(metadata)
    order = _table(metadata, "orders", "person")
    bill = _table(metadata, "bill", "person")
    line = _table(metadata, "line", "orders", "bill", "person")
    make(watched, metadata)
    fill(watched, people, {"id": 1, "at": ago(40)}, {"id": 2, "at": ago(20)})
    for at in (1, 2):
        fill(watched, order, {"id": at, "person": at})
        fill(watched, bill, {"id": at, "person": at})
    for at, orders, bills, person in ((1, 1, 1, 1), (2, 2, 1, None), (3, 1, None, 2), (4, 2, 2, 2)):
        fill(watched, line, {"id": at, "orders": orders, "bill": bills, "person": person})
    (policy,) = run(watched, metadata, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("done", 1)
    assert _changed(watched) == {"person": 1, "orders": 1, "bill": 1, "line": 3}
    assert ids(watched, line) == [4]
