"""Rows come back whole, in an order that their foreign keys allow, and never twice."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Computed,
    Engine,
    Identity,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    event,
    insert,
    select,
    update,
)

from sa_perf.errors import ArchiveError, RetentionError
from sa_perf.retention.archive import FileArchive, TableArchive, restore
from sa_perf.retention.archive.returning import parents_first


@pytest.fixture(params=["files", "table", "other database"])
def archive(request, tmp_path) -> FileArchive | TableArchive:
    """Each kind of archive in turn."""
    if request.param == "files":
        return FileArchive(tmp_path / "archive")
    url = f"sqlite:///{tmp_path / 'other.db'}" if request.param == "other database" else None
    return TableArchive(url=url)


def _archived(archiving, engine, table, archive) -> Any:
    archiving.fill(engine, table)
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id <= 3)
    run.batch(table.c.id.between(4, 8))
    run.close()
    return run


def _enforced(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA foreign_keys = ON"))
        engine.dispose()


def test_rows_that_are_there_already_are_an_error(engine, archiving, plain, archive) -> None:
    run = _archived(archiving, engine, plain, archive)
    with engine.begin() as connection:
        connection.execute(insert(plain).values(id=2, words="new"))
    before = archiving.stored_rows(engine, plain)
    with pytest.raises(ArchiveError, match="already"):
        restore(engine, archive=archive, metadata=plain.metadata, run=run.run, batch_rows=100_000)
    left = archiving.stored_rows(engine, plain)
    assert [row for row in left if row in before] == before


def test_rows_that_are_there_already_stay_as_they_are(engine, archiving, plain, archive) -> None:
    run = _archived(archiving, engine, plain, archive)
    with engine.begin() as connection:
        connection.execute(insert(plain).values(id=2, words="new"))
    seen: list[tuple[int, int]] = []
    result = restore(
        engine, archive=archive, metadata=plain.metadata, run=run.run, on_conflict="skip",
        batch_rows=2, progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert (result.rows, result.skipped, result.tables) == (7, 1, {"note": 7})
    assert seen[-1] == (8, 8)
    with engine.connect() as connection:
        rows = dict(connection.execute(select(plain.c.id, plain.c.words)).all())
    assert rows == {n: "new" if n == 2 else f"text {n}" for n in range(1, 11)}


def test_a_restore_goes_on_where_it_was_interrupted(engine, archiving, plain, archive) -> None:
    archiving.fill(engine, plain)
    before = archiving.stored_rows(engine, plain)
    run = archiving.Run(engine, plain, archive).open()
    run.batch(plain.c.id <= 8)
    run.close()

    def interrupt(done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(
            engine, archive=archive, metadata=plain.metadata, run=run.run, batch_rows=2,
            progress=interrupt,
        )  # fmt: skip
    restore(
        engine, archive=archive, metadata=plain.metadata, run=run.run, on_conflict="skip",
    )  # fmt: skip
    assert archiving.stored_rows(engine, plain) == before


def test_parents_come_before_children_and_before_themselves(
    engine, archiving, family, archive
) -> None:
    _enforced(engine)
    node, leaf = family
    node.metadata.create_all(engine)
    with engine.begin() as connection:
        for number in range(1, 9):  # a chain whose last node was made first
            connection.execute(insert(node).values(id=9 - number, above=None))
        for number in range(1, 8):
            connection.execute(update(node).where(node.c.id == number).values(above=number + 1))
        connection.execute(insert(leaf), [{"id": n, "node_id": n} for n in range(1, 9)])
    before = [archiving.stored_rows(engine, table) for table in family]
    run = archiving.Run(engine, node, archive).open(children=(leaf,))
    run.batch(leaf.c.id > 0, table=leaf)
    run.batch(node.c.id <= 3)
    if engine.dialect.name not in ("mysql", "mariadb"):  # there each row is checked by itself
        run.batch(node.c.id > 3)
        run.close()
    else:
        for number in range(4, 9):
            run.batch(node.c.id == number)
        run.close()
    assert archiving.stored_rows(engine, node) == []
    restore(engine, archive=archive, metadata=node.metadata, policy=run.policy, batch_rows=2)
    assert [archiving.stored_rows(engine, table) for table in family] == before


def test_rows_behind_each_other_in_a_circle_are_all_kept(family) -> None:
    node, _ = family
    rows = [(1, 2), (2, 1), (3, 1), (4, 5), (5, None), (6, 6)]
    ordered = parents_first(node, ["id", "above"], rows)
    assert sorted(ordered) == sorted(rows)
    assert ordered.index((5, None)) < ordered.index((4, 5))


def test_rows_may_go_to_another_table(engine, archiving, plain, tmp_path) -> None:
    archive = FileArchive(tmp_path / "archive")
    run = _archived(archiving, engine, plain, archive)
    copy = plain.to_metadata(MetaData(), name="note_again")
    copy.create(engine)
    restore(engine, archive=archive, metadata=plain.metadata, run=run.run, into={"note": copy})
    assert len(archiving.stored_rows(engine, copy)) == 8
    assert len(archiving.stored_rows(engine, plain)) == 2


def test_a_value_that_does_not_fit_any_more_is_noticed(
    sqlite_database, archiving, plain, tmp_path
) -> None:
    engine = sqlite_database.engine()
    archive = FileArchive(tmp_path / "archive")
    run = _archived(archiving, engine, plain, archive)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER cut AFTER INSERT ON note BEGIN "
            "UPDATE note SET words = 'cut' WHERE id = new.id; END"
        )
    with pytest.raises(ArchiveError, match="column 'words' of 'note' holds another value"):
        restore(engine, archive=archive, metadata=plain.metadata, run=run.run)
    assert len(archiving.stored_rows(engine, plain)) == 2


def test_what_the_database_computes_is_computed_again(engine, archiving, archive) -> None:
    table = Table(
        "computed",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("words", String(20)),
        Column("twice", Integer, Computed("id * 2", persisted=True)),
    )
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"id": n, "words": "x"} for n in (1, 2)])
    before = archiving.stored_rows(engine, table)
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id > 0)
    run.close()
    restore(engine, archive=archive, metadata=table.metadata, run=run.run)
    assert archiving.stored_rows(engine, table) == before


def test_identity_columns_get_their_old_values(postgresql_database, archiving, archive) -> None:
    engine = postgresql_database.engine()
    table = Table(
        "identity", MetaData(), Column("id", Integer, Identity(always=True), primary_key=True)
    )
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(table).values({}))
        connection.execute(insert(table).values({}))
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id == 1)
    run.close()
    restore(engine, archive=archive, metadata=table.metadata, run=run.run)
    with engine.connect() as connection:
        assert connection.scalars(select(table.c.id).order_by(table.c.id)).all() == [1, 2]


def test_a_composite_key_tells_rows_apart(engine, archiving, archive) -> None:
    table = Table(
        "pair",
        MetaData(),
        Column("a", Integer, primary_key=True, autoincrement=False),
        Column("id", String(10), primary_key=True),
        Column("words", Text),
    )
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(table), [{"a": a, "id": b, "words": a + b} for a in "12" for b in "xy"]
        )
    before = archiving.stored_rows(engine, table)
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id != "")
    run.close()
    restore(engine, archive=archive, metadata=table.metadata, run=run.run, batch_rows=3)
    assert archiving.stored_rows(engine, table) == before


def test_an_archive_table_without_a_column_is_refused(engine, archiving, plain) -> None:
    archiving.fill(engine, plain)
    Table("note_archive", MetaData(), Column("id", Integer, primary_key=True)).create(engine)
    with pytest.raises(ArchiveError, match=r"lacks columns \['words', 'archived_at'"):
        archiving.Run(engine, plain, TableArchive()).open()
    assert len(archiving.stored_rows(engine, plain)) == 10


def test_a_key_that_is_in_the_archive_already_stops_the_batch(engine, archiving, plain) -> None:
    from sqlalchemy.exc import IntegrityError

    run = _archived(archiving, engine, plain, TableArchive())
    with engine.begin() as connection:
        connection.execute(insert(plain).values(id=2, words="another"))
    run.open()
    with pytest.raises(IntegrityError):
        run.batch(plain.c.id == 2)
    assert len(archiving.stored_rows(engine, plain)) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "say what to restore"),
        ({"run": "other"}, "no batch archived to files"),
        ({"run": "run-1", "on_conflict": "maybe"}, "on_conflict is 'maybe'"),
        ({"run": "run-1", "batch_rows": 0}, "batch_rows is 0"),
        ({"run": "run-1", "metadata": MetaData()}, r"has no tables \['note'\]"),
    ],
)
def test_a_restore_that_cannot_be_is_refused(
    sqlite_database, archiving, plain, tmp_path, arguments, words
) -> None:
    engine = sqlite_database.engine()
    archive = FileArchive(tmp_path / "archive")
    _archived(archiving, engine, plain, archive)
    with pytest.raises(RetentionError, match=words):
        restore(engine, **{"archive": archive, "metadata": plain.metadata, **arguments})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "sqlite://", "engine": object()}, "either url= or engine="),
        ({"table": 7}, "table is 7"),
        ({"engine": object()}, "synchronous Engine"),
        ({"suffix": ""}, "the archive would be the source"),
        ({"url": "nonsense"}, "no URL"),
    ],
)
def test_a_table_archive_that_cannot_work_is_refused(arguments, words) -> None:
    with pytest.raises(RetentionError, match=words):
        TableArchive(**arguments)


def test_a_table_archive_in_words_holds_no_password() -> None:
    archive = TableArchive(url="postgresql://me:secret@host/db?password=x", schema="old")
    assert str(archive) == "table old.*_archive in postgresql://host/db"


def test_rows_go_back_before_they_leave_the_archive(engine, archiving, plain) -> None:
    archive = TableArchive()
    run = _archived(archiving, engine, plain, archive)
    source = archive.table_for(plain)
    with engine.begin() as connection:
        connection.execute(delete(source).where(source.c.id == 1))
    result = restore(engine, archive=archive, metadata=plain.metadata, run=run.run)
    assert result.rows == 7
