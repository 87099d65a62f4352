"""A child that somebody adds while its parent goes is not lost, whatever is to become of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from retention_world import NOW, ago, fill, ids, make
from sqlalchemy import Column, DateTime, Engine, ForeignKey, Integer, MetaData, Table, event

from sa_perf.retention.archive import FileArchive
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare
from sa_perf.retention.runner import run

#: In SQLite nobody else writes while a batch does.
SERVERS = pytest.mark.parametrize(
    "shared_db",
    [
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
    indirect=True,
)


class _Family:
    """A table, its child, and the child's own."""

    def __init__(self, *, model_knows: bool = True, **options: Any) -> None:
        self.metadata = MetaData()
        rule = "CASCADE" if model_knows else None
        self.parent = self._table("parent", Column("at", DateTime, nullable=False, index=True))
        self.child = self._table("child", self._reference("parent", rule))
        self.grandchild = self._table("grandchild", self._reference("child", rule))
        batch = BatchLimits(lock_seconds=10)
        declare(self.parent, RetentionPolicy(days=30, by="at", batch=batch, **options))

    def _table(self, name: str, *columns: Any) -> Table:
        return Table(name, self.metadata, Column("id", Integer, primary_key=True), *columns)

    def _reference(self, name: str, rule: str | None) -> Any:
        return Column("above_id", ForeignKey(f"{name}.id", ondelete=rule), index=True)


@pytest.fixture
def adding(shared_db: Any, shared_engine: Engine) -> Iterator[Callable[[Table], list[str]]]:
    """Adds a row in a transaction that is committed once the run waits for it."""
    application: Engine = shared_db.engine()
    connection = application.connect()
    timers: list[threading.Timer] = []

    def add(table: Table) -> list[str]:
        connection.execute(table.insert().values(id=9, above_id=1))
        seen: list[str] = []

        @event.listens_for(shared_engine, "before_cursor_execute")
        def waits(_: Any, __: object, statement: str, *___: object) -> None:
            lock = "FOR UPDATE" in statement or statement.startswith("DELETE")
            if lock and "sa_perf" not in statement and not seen:
                seen.append(statement)
                timers.append(threading.Timer(0.3, connection.commit))
                timers[0].start()

        return seen

    yield add
    for timer in timers:
        timer.join()
    connection.close()


@SERVERS
@pytest.mark.parametrize("action", ["delete", "archive"])
def test_a_child_that_restricts_keeps_its_parent(
    shared_engine: Engine, adding: Callable[[Table], list[str]], tmp_path: Path, action: str
) -> None:
    options: dict[str, Any] = {"action": action}
    if action == "archive":
        options["archive"] = FileArchive(tmp_path)
    family = _Family(on_children="restrict", **options)
    make(shared_engine, family.metadata)
    fill(shared_engine, family.parent, {"id": 1, "at": ago(40)})
    seen = adding(family.child)
    (policy,) = run(shared_engine, family.metadata, at=NOW).policies
    assert seen
    assert (policy.outcome, policy.rows_changed) == ("done", 0)
    assert ids(shared_engine, family.parent) == [1]
    assert ids(shared_engine, family.child) == [9]


@SERVERS
def test_a_grandchild_that_restricts_keeps_all_above_it(
    shared_engine: Engine, adding: Callable[[Table], list[str]]
) -> None:
    family = _Family(on_children={"child": "cascade", "grandchild": "restrict"})
    make(shared_engine, family.metadata)
    fill(shared_engine, family.parent, {"id": 1, "at": ago(40)})
    fill(shared_engine, family.child, {"id": 1, "above_id": 1})
    seen = adding(family.grandchild)
    (policy,) = run(shared_engine, family.metadata, at=NOW).policies
    assert seen
    assert (policy.outcome, policy.rows_changed) == ("done", 0)
    assert ids(shared_engine, family.child) == [1]
    assert ids(shared_engine, family.grandchild) == [9]


@SERVERS
def test_a_child_of_which_the_models_do_not_say_that_it_goes_along_is_archived(
    shared_engine: Engine, adding: Callable[[Table], list[str]], tmp_path: Path
) -> None:
    make(shared_engine, _Family(on_children="cascade").metadata)
    family = _Family(
        model_knows=False,
        action="archive",
        archive=FileArchive(tmp_path),
        on_children="delete_first",
    )
    fill(shared_engine, family.parent, {"id": 1, "at": ago(40)})
    seen = adding(family.child)
    (policy,) = run(shared_engine, family.metadata, at=NOW).policies
    assert seen
    assert (policy.outcome, policy.rows_archived) == ("done", 2)
    assert ids(shared_engine, family.parent) == ids(shared_engine, family.child) == []
