"""Tables that the models do not know lose no rows by the database's own doing."""

from __future__ import annotations

from typing import Any

import pytest
from retention_world import NOW, ago, fill, ids, make
from sqlalchemy import Column, DateTime, Engine, ForeignKey, Integer, MetaData, Table, event

from sa_perf.retention.archive import TableArchive
from sa_perf.retention.planner import plan
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


def _parent(metadata: MetaData) -> Table:
    return Table(
        "event",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )


def _child(metadata: MetaData, rule: str | None, *, of: str = "event", name: str = "line") -> Table:
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("above_id", ForeignKey(f"{of}.id", ondelete=rule), index=True),
    )


def _made(engine: Engine, rule: str | None) -> tuple[Table, Table]:
    """A table whose policy knows nothing of the plugin's, and that one, each with a row."""
    parent = _parent(MetaData())
    whole = MetaData()
    _parent(whole)
    plugin = _child(whole, rule, name="plugin")
    make(engine, whole)
    fill(engine, parent, {"id": 1, "at": ago(40)})
    fill(engine, plugin, {"id": 1, "above_id": 1})
    return parent, plugin


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL"])
@pytest.mark.parametrize("action", ["delete", "archive"])
def test_a_key_that_would_change_rows_along_is_refused(watched: Engine, rule, action) -> None:
    parent, plugin = _made(watched, rule)
    archive = TableArchive() if action == "archive" else None
    declare(parent, RetentionPolicy(days=30, by="at", action=action, archive=archive))
    (policy,) = run(watched, parent, at=NOW).policies
    assert policy.outcome == "failed"
    words = f"plugin(above_id) refers to 'event' with ON DELETE {rule}"
    assert words in policy.reason
    assert ids(watched, plugin) == ids(watched, parent) == [1]
    (planned,) = plan(watched, parent, at=NOW).policies
    assert [one for one in planned.warnings if words in one]


def test_a_key_that_refuses_by_itself_is_left_to_the_database(watched: Engine) -> None:
    parent, _ = _made(watched, None)
    declare(parent, RetentionPolicy(days=30, by="at"))
    fill(watched, parent, {"id": 2, "at": ago(1)})
    (policy,) = run(watched, parent, at=NOW).policies
    assert policy.outcome == "failed"
    assert "ON DELETE" not in policy.reason
    assert ids(watched, parent) == [1, 2]


def test_rows_that_stay_take_none_along(watched: Engine) -> None:
    parent, _ = _made(watched, "CASCADE")
    changed = RetentionPolicy(days=30, by="at", action="anonymise", anonymise={"at": ago(1)})
    declare(parent, changed)
    assert run(watched, parent, at=NOW).policies[0].outcome == "done"


def test_a_key_of_a_childs_table_is_refused_too(watched: Engine) -> None:
    metadata, whole = MetaData(), MetaData()
    parent, child = _parent(metadata), _child(metadata, None)
    _parent(whole)
    _child(whole, None)
    plugin = _child(whole, "CASCADE", of="line", name="plugin")
    make(watched, whole)
    declare(parent, RetentionPolicy(days=30, by="at", on_children="delete_first"))
    fill(watched, parent, {"id": 1, "at": ago(40)})
    fill(watched, child, {"id": 1, "above_id": 1})
    fill(watched, plugin, {"id": 1, "above_id": 1})
    (policy,) = run(watched, metadata, at=NOW).policies
    assert (policy.outcome, ids(watched, plugin)) == ("failed", [1])
    assert "plugin(above_id) refers to 'line'" in policy.reason


def test_what_the_models_know_is_no_fault(watched: Engine) -> None:
    metadata = MetaData()
    parent = _parent(metadata)
    child = _child(metadata, "CASCADE")
    make(watched, metadata)
    declare(parent, RetentionPolicy(days=30, by="at", on_children="cascade"))
    fill(watched, parent, {"id": 1, "at": ago(40)})
    fill(watched, child, {"id": 1, "above_id": 1})
    (policy,) = run(watched, metadata, at=NOW).policies
    assert (policy.outcome, policy.children_changed) == ("done", 1)
