"""Nothing is put back before everything was looked at, and nothing half."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Computed, Engine, ForeignKey, Integer, MetaData, Table, Text, insert

from sa_perf.errors import ArchiveError, RetentionError
from sa_perf.retention.archive import FileArchive, restore


@pytest.fixture
def archive(tmp_path) -> FileArchive:
    return FileArchive(tmp_path / "archive")


def _family(*further: Column, name: str = "leaf") -> tuple[Table, Table]:
    metadata = MetaData()
    node = Table("node", metadata, Column("id", Integer, primary_key=True))
    leaf = Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("node_id", ForeignKey("node.id")),
        *further,
    )
    return node, leaf


def _archived(archiving, engine: Engine, archive: FileArchive) -> None:
    """One node and its leaf, which has a text."""
    node, leaf = _family(Column("words", Text))
    node.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(node).values(id=1))
        connection.execute(insert(leaf).values(id=1, node_id=1, words="x"))
    run = archiving.Run(engine, node, archive).open(children=(leaf,))
    run.batch(leaf.c.id > 0, table=leaf)
    run.batch(node.c.id > 0)
    run.close()


def _nothing_is_put_in(archiving, engine: Engine) -> bool:
    return all(archiving.stored_rows(engine, one) == [] for one in _family())


def test_a_column_that_a_model_lacks_is_told_before_any_table_is_filled(
    engine, archiving, archive
) -> None:
    _archived(archiving, engine, archive)
    node, _ = _family()
    with pytest.raises(ArchiveError, match=r"holds columns \['words'\], which 'leaf' lacks"):
        restore(engine, archive=archive, metadata=node.metadata, policy="node")
    assert _nothing_is_put_in(archiving, engine)


def test_a_column_that_the_database_lacks_is_told_before_any_table_is_filled(
    engine, archiving, archive
) -> None:
    _archived(archiving, engine, archive)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE leaf DROP COLUMN words")
    node, _ = _family(Column("words", Text))
    with pytest.raises(ArchiveError, match=r"'leaf' lacks columns \['words'\] in the database"):
        restore(engine, archive=archive, metadata=node.metadata, policy="node")
    assert _nothing_is_put_in(archiving, engine)


def test_a_table_whose_key_cannot_be_put_in_is_told_before_any_table_is_filled(
    sqlite_database, archiving, archive
) -> None:
    engine = sqlite_database.engine()
    _archived(archiving, engine, archive)
    metadata = MetaData()
    node, _ = _family(Column("words", Text))
    other = Table(
        "other", metadata, Column("id", Integer, Computed("node_id"), primary_key=True),
        Column("node_id", Integer), Column("words", Text),
    )  # fmt: skip
    with pytest.raises(ArchiveError, match="'other' has no primary key that could be put in"):
        restore(
            engine, archive=archive, metadata=node.metadata, policy="node", into={"leaf": other}
        )
    assert _nothing_is_put_in(archiving, engine)


def test_a_table_to_fill_instead_of_one_that_there_is_not_is_refused(
    engine, archiving, archive
) -> None:
    _archived(archiving, engine, archive)
    node, leaf = _family(Column("words", Text))
    copy = leaf.to_metadata(MetaData(), name="copy")
    with pytest.raises(RetentionError, match=r"into names \['main.leaf'\].*\['leaf', 'node'\]"):
        restore(
            engine, archive=archive, metadata=node.metadata, policy="node",
            into={"main.leaf": copy},
        )  # fmt: skip
    assert _nothing_is_put_in(archiving, engine)


def test_a_transaction_is_one_where_the_engine_commits_by_itself(
    db, archiving, plain, archive
) -> None:
    engine = db.engine()
    archiving.fill(engine, plain)
    run = archiving.Run(engine, plain, archive).open()
    run.batch(plain.c.id <= 8)
    run.close()
    with engine.begin() as connection:
        connection.execute(insert(plain).values(id=8, words="new"))
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    with pytest.raises(ArchiveError, match="rolled back"):
        restore(alone, archive=archive, metadata=plain.metadata, run=run.run)
    assert len(archiving.stored_rows(engine, plain)) == 3


def test_a_wrong_row_does_not_stay_where_the_engine_commits_by_itself(
    sqlite_database, archiving, plain, archive
) -> None:
    engine = sqlite_database.engine(isolation_level="AUTOCOMMIT")
    archiving.fill(engine, plain)
    run = archiving.Run(engine, plain, archive).open()
    run.batch(plain.c.id <= 8)
    run.close()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER cut AFTER INSERT ON note BEGIN "
            "UPDATE note SET words = 'cut' WHERE id = new.id; END"
        )
    with pytest.raises(ArchiveError, match="rolled back"):
        restore(engine, archive=archive, metadata=plain.metadata, run=run.run)
    assert len(archiving.stored_rows(engine, plain)) == 2


def test_a_file_that_may_not_be_read_is_told(sqlite_database, archiving, plain, archive) -> None:
    engine = sqlite_database.engine()
    archiving.fill(engine, plain)
    run = archiving.Run(engine, plain, archive).open()
    file = run.batch(plain.c.id <= 8)
    path = archive.path / file.name
    path.unlink()
    path.mkdir()  # as root, permissions would not do
    with pytest.raises(ArchiveError, match="cannot be opened: Is a directory"):
        restore(engine, archive=archive, metadata=plain.metadata, run=run.run)
