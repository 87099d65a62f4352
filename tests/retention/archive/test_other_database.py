"""No row in another database takes another's place, and none of a killed run stays there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from retention_world import NOW, add_own_tables, ago, fill, ids, values
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    update,
)

from sa_perf.errors import ArchiveError, PolicyBusy
from sa_perf.retention import BatchLimits, RetentionPolicy, TableArchive, declare, restore, run
from sa_perf.retention.archive import tables
from sa_perf.retention.archive.keyed_rows import KeyedRows


def _event(archive: TableArchive, *, schema: str | None = None, **options: Any) -> Table:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
        Column("what", String(40)),
        schema=schema,
    )
    declare(table, RetentionPolicy(days=30, by="at", action="archive", archive=archive, **options))
    return table


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'archive.db'}")
    yield made
    made.dispose()


def _old(*numbers: int, what: str = "old") -> list[dict[str, Any]]:
    return [{"id": number, "at": ago(100 - number), "what": what} for number in numbers]


def _kept(other: Engine, table: Table, archive: TableArchive) -> list[Any]:
    return values(other, archive.table_for(table).c.what)


def test_rows_of_two_databases_do_not_replace_each_other(tmp_path, other) -> None:
    archive = TableArchive(engine=other)
    outcomes = []
    for name in ("one", "two"):
        engine = create_engine(f"sqlite:///{tmp_path / name}.db")
        add_own_tables(engine)
        table = _event(archive)
        table.metadata.create_all(engine)
        fill(engine, table, *_old(1, 2, 3, what=name))
        (policy,) = run(engine, table, at=NOW).policies
        outcomes.append((policy.outcome, policy.rows_archived, len(ids(engine, table))))
        engine.dispose()
    assert outcomes == [("done", 3, 0), ("failed", 0, 3)]
    assert "does not take a row" in policy.reason
    assert "'event_archive'" in policy.reason
    assert _kept(other, table, archive) == ["one"] * 3


def test_a_key_that_is_given_again_does_not_replace_the_first_row(engine, other) -> None:
    archive = TableArchive(engine=other)
    table = _event(archive)
    table.metadata.create_all(engine)
    fill(engine, table, *_old(1, 2, what="first"))
    assert run(engine, table, at=NOW).policies[0].outcome == "done"
    fill(engine, table, *_old(1, what="second"))
    (policy,) = run(engine, table, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("failed", 0)
    assert "second" not in policy.reason
    assert _kept(other, table, archive) == ["first", "first"]
    assert values(engine, table.c.what) == ["second"]


def test_tables_of_two_schemas_go_to_two_archive_tables(tmp_path, other) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'main.db'}")
    add_own_tables(engine)
    archive = TableArchive(engine=other)

    @event.listens_for(engine, "connect")
    def attach(connection: Any, _: Any) -> None:
        for name in ("t1", "t2"):
            connection.execute(f"ATTACH '{tmp_path / name}.db' AS {name}")

    engine.dispose()
    for schema in ("t1", "t2"):
        table = _event(archive, schema=schema, name=schema)
        table.metadata.create_all(engine)
        fill(engine, table, *_old(1, what=schema))
        assert run(engine, table, at=NOW).policies[0].rows_archived == 1
        assert archive.table_for(table).name == f"{schema}_event_archive"
        assert _kept(other, table, archive) == [schema]
    engine.dispose()


def test_a_collation_that_takes_two_keys_for_one_loses_neither(
    postgresql_database, mariadb_database
) -> None:
    engine, other = postgresql_database.engine(), mariadb_database.engine()
    add_own_tables(engine)
    archive = TableArchive(engine=other)
    table = Table(
        "link",
        MetaData(),
        Column("slug", String(20), primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    limits = BatchLimits(first_rows=1, min_rows=1, max_rows=1)
    declare(
        table,
        RetentionPolicy(days=30, by="at", action="archive", archive=archive, batch=limits),
    )
    table.create(engine)
    words = ["abc", "ABC", "Abc", "xyz"]
    fill(engine, table, *({"slug": one, "at": ago(90 - n)} for n, one in enumerate(words)))
    (policy,) = run(engine, table, at=NOW).policies
    assert policy.outcome == "failed"
    assert sorted(ids(engine, table) + ids(other, archive.table_for(table))) == sorted(words)


def test_two_tables_of_one_policy_do_not_share_an_archive_table(engine, other) -> None:
    archive = TableArchive(table="line_archive", engine=other)
    table = _event(archive)
    line = Table("line", table.metadata, Column("id", Integer, primary_key=True))
    table.metadata.create_all(engine)
    with pytest.raises(ArchiveError, match="would go to one archive table 'line_archive'"):
        archive.open(engine, table, policy="event", run="run-1", children=(line,))


class _Killed(BaseException):
    pass


def _kill_before_the_commit(monkeypatch: pytest.MonkeyPatch, *, at: int = 1) -> None:
    """Let a run end once its rows are committed there."""
    move = tables.TableSink.move

    def moved(self: Any, *args: Any, number: int) -> int:
        done = move(self, *args, number=number)
        if number == at:
            raise _Killed
        return done

    monkeypatch.setattr(tables.TableSink, "move", moved)


def test_what_a_killed_run_left_there_is_removed_by_the_next(engine, other, monkeypatch) -> None:
    archive = TableArchive(engine=other)
    table = _event(archive)
    table.metadata.create_all(engine)
    fill(engine, table, *_old(1, 2, 3))
    with monkeypatch.context() as patched:
        _kill_before_the_commit(patched)
        with pytest.raises(_Killed):
            run(engine, table, at=NOW)
    assert len(_kept(other, table, archive)) == len(ids(engine, table)) == 3
    with engine.begin() as connection:  # it does not expire any more
        connection.execute(update(table).where(table.c.id == 2).values(at=ago(1), what="young"))
        connection.execute(update(table).where(table.c.id == 3).values(what="later"))
    (policy,) = run(engine, table, at=NOW).policies
    assert (policy.outcome, policy.rows_archived) == ("done", 2)
    assert values(engine, table.c.what) == ["young"]
    assert _kept(other, table, archive) == ["old", "later"]


def test_a_restore_takes_no_row_that_a_killed_run_left_there(engine, other, monkeypatch) -> None:
    archive = TableArchive(engine=other)
    limits = BatchLimits(first_rows=2, min_rows=2, max_rows=2)
    table = _event(archive, batch=limits)
    table.metadata.create_all(engine)
    fill(engine, table, *_old(1, 2, 3, 4))
    with monkeypatch.context() as patched:
        _kill_before_the_commit(patched, at=2)
        with pytest.raises(_Killed):
            run(engine, table, at=NOW)
    assert (ids(engine, table), len(_kept(other, table, archive))) == ([3, 4], 4)
    done = restore(engine, archive=archive, metadata=table.metadata, policy="event")
    assert (done.rows, ids(engine, table), _kept(other, table, archive)) == (2, [1, 2, 3, 4], [])


def test_a_batch_that_is_tried_again_replaces_what_its_first_try_sent(
    engine, other, archiving
) -> None:
    archive = TableArchive(engine=other)
    table = _event(archive)
    table.metadata.create_all(engine)
    fill(engine, table, *_old(1, 2, 3))
    sink = archive.open(engine, table, policy="event", run="run-1")
    with engine.connect() as connection:  # rolled back
        assert sink.move(connection, table, [table.c.id < 4], number=1) == 3
    with engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == 1).values(what="later"))
    with engine.begin() as connection:
        assert sink.move(connection, table, [table.c.id < 3], number=1) == 2
    sink.committed()
    sink.close()
    assert _kept(other, table, archive) == ["later", "old"]
    assert ids(engine, table) == [3]


def test_a_row_that_a_later_run_archives_again_outlives_a_restore_under_way(
    engine, other, monkeypatch
) -> None:
    archive = TableArchive(engine=other)
    table = _event(archive)
    table.metadata.create_all(engine)
    fill(engine, table, *_old(1))
    first = run(engine, table, at=NOW).id
    there = archive.table_for(table)
    remove = KeyedRows.delete

    def removed(self: KeyedRows, connection: Any, *rest: Any) -> int:
        if self._table.name == there.name:  # as if another run had put it there meanwhile
            connection.execute(update(there).values(archived_run="later"))
        return remove(self, connection, *rest)

    monkeypatch.setattr(KeyedRows, "delete", removed)
    restore(engine, archive=archive, metadata=table.metadata, run=first)
    assert _kept(other, table, archive) == ["old"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_run_and_a_restore_of_one_policy_do_not_meet(engine, other, elsewhere) -> None:
    archive = TableArchive(engine=other) if elsewhere else TableArchive()
    table = _event(archive)
    table.metadata.create_all(engine)
    fill(engine, table, *_old(1, 2))
    first = run(engine, table, at=NOW).id
    met = []

    def meanwhile(done: int, total: int) -> None:
        if engine.url.database not in (None, ":memory:"):
            with pytest.raises(PolicyBusy):
                restore_tables_again(engine, archive, table, first)
            met.append(run(engine, table, at=NOW).policies[0].outcome)

    restore(engine, archive=archive, metadata=table.metadata, run=first, progress=meanwhile)
    assert set(met) <= {"busy"}
    assert ids(engine, table) == [1, 2]
    assert run(engine, table, at=NOW).policies[0].rows_archived == 2


def restore_tables_again(engine: Engine, archive: TableArchive, table: Table, run_id: str) -> None:
    again = create_engine(engine.url)
    try:
        restore(again, archive=archive, metadata=table.metadata, run=run_id)
    finally:
        again.dispose()
