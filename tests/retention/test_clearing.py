"""Rows below are looked at again while those above them are locked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from retention_world import NOW, SMALL, ago, fill, ids, make
from sqlalchemy import Column, DateTime, Engine, ForeignKey, Integer, MetaData, Table, event

from sa_perf.retention.archive import FileArchive, TableArchive
from sa_perf.retention.audit import batches_of, history
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.runner import run

ARCHIVES: dict[str, Callable[[Path], FileArchive | TableArchive]] = {
    "files": lambda folder: FileArchive(folder / "archive"),
    "table": lambda folder: TableArchive(),
}


class Shop:
    """An order, its line, and notes on the line, all of which the database deletes along."""

    def __init__(self, **options: Any) -> None:
        self.metadata = MetaData()
        self.order = self._table("orders", Column("at", DateTime, nullable=False, index=True))
        self.line = self._table("line", self._reference("orders"))
        self.note = self._table("note", self._reference("line"))
        declare(self.order, RetentionPolicy(days=30, by="at", batch=SMALL, **options))

    def _table(self, name: str, *columns: Any) -> Table:
        return Table(name, self.metadata, Column("id", Integer, primary_key=True), *columns)

    def _reference(self, name: str) -> Any:
        return Column(f"{name}_id", ForeignKey(f"{name}.id", ondelete="CASCADE"), index=True)

    def fill(self, engine: Engine, *, notes: int) -> None:
        make(engine, self.metadata)
        fill(engine, self.order, {"id": 1, "at": ago(40)})
        fill(engine, self.line, {"id": 1, "orders_id": 1}, {"id": 2, "orders_id": 1})
        fill(engine, self.note, *({"id": at, "line_id": 1} for at in range(1, notes + 1)))

    def note_comes_late(self, engine: Engine) -> list[bool]:
        """Add a note before the first line goes, as if before it was locked."""
        done: list[bool] = []

        @event.listens_for(engine, "before_cursor_execute")
        def add(connection: Any, _: object, statement: str, *__: object) -> None:
            goes = statement.startswith(("DELETE FROM line", "INSERT INTO line_archive"))
            if goes and not done:
                done.append(True)
                connection.execute(self.note.insert().values(id=9, line_id=1))

        return done


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


@pytest.mark.parametrize("archive", ARCHIVES)
def test_a_grandchild_that_comes_in_between_is_archived_too(
    watched: Engine, tmp_path: Path, archive: str
) -> None:
    place = ARCHIVES[archive](tmp_path)
    shop = Shop(action="archive", archive=place, on_children="delete_first")
    shop.fill(watched, notes=1)
    late = shop.note_comes_late(watched)
    (policy,) = run(watched, shop.metadata, at=NOW).policies
    assert late == [True]
    assert (policy.outcome, policy.rows_refused) == ("done", 0)
    assert ids(watched, shop.note) == ids(watched, shop.line) == ids(watched, shop.order) == []
    assert (policy.rows_archived, policy.children_changed) == (5, 4)
    (record,) = history(watched)
    archived = [
        one.rows_archived for one in batches_of(watched, record.id) if one.table_name == "note"
    ]
    assert sum(archived) == 2


def test_a_grandchild_that_restricts_and_comes_in_between_keeps_its_parent(watched: Engine) -> None:
    shop = Shop(on_children={"line": "delete_first", "note": "restrict"})
    shop.fill(watched, notes=0)
    late = shop.note_comes_late(watched)
    (policy,) = run(watched, shop.metadata, at=NOW).policies
    assert late == [True]
    assert policy.outcome == "done"
    assert ids(watched, shop.note) == [9]
    assert 1 in ids(watched, shop.line)
    assert ids(watched, shop.order) == [1]
