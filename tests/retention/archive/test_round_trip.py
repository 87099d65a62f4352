"""What goes into an archive comes back equal, of every type, in every form."""

from __future__ import annotations

import importlib.util

import pytest
from sqlalchemy import Engine, create_engine, select

from sa_perf.retention.archive import FileArchive, TableArchive, restore

PACKAGES = {"parquet": "pyarrow", "zstd": "zstandard", "fsspec": "fsspec"}
FORMS = [
    (format_, compression)
    for format_ in ("jsonl", "csv", "parquet")
    for compression in (None, "gzip", "zstd")
]


def _skip_without(*names: str | None) -> None:
    for package in filter(None, map(PACKAGES.get, names)):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize(("format_", "compression"), FORMS)
def test_every_type_comes_back_from_a_file_as_it_went(
    engine: Engine, archiving, tmp_path, format_, compression
) -> None:
    _skip_without(format_, compression)
    table = archiving.fill_every_type(engine)
    before = archiving.stored_rows(engine, table)
    archive = FileArchive(tmp_path / "archive", format=format_, compression=compression)
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id < 10)
    run.batch(table.c.id >= 10)
    assert archiving.stored_rows(engine, table) == []
    result = restore(engine, archive=archive, metadata=table.metadata, run="run-1", batch_rows=7)
    assert (result.rows, result.skipped, result.files) == (len(before), 0, 2)
    assert archiving.stored_rows(engine, table) == before


def test_every_type_comes_back_from_a_store(engine: Engine, archiving) -> None:
    _skip_without("fsspec")
    table = archiving.fill_every_type(engine)
    before = archiving.stored_rows(engine, table)
    archive = FileArchive(f"memory://archive-{id(table)}", format="csv")
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id < 10)
    run.batch(table.c.id >= 10)
    restore(engine, archive=archive, metadata=table.metadata, policy=run.policy)
    assert archiving.stored_rows(engine, table) == before


def test_every_type_comes_back_from_a_table(engine: Engine, archiving) -> None:
    table = archiving.fill_every_type(engine)
    before = archiving.stored_rows(engine, table)
    archive = TableArchive()
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id < 10)
    run.batch(table.c.id >= 10)
    copied = archive.table_for(table)
    with engine.connect() as connection:
        assert len(connection.execute(select(copied.c.id)).all()) == len(before)
    result = restore(engine, archive=archive, metadata=table.metadata, run="run-1", batch_rows=7)
    assert result.rows == len(before)
    assert archiving.stored_rows(engine, table) == before
    with engine.connect() as connection:
        assert connection.execute(select(copied.c.id)).all() == []


def test_every_type_comes_back_from_a_database_of_the_same_kind(
    db, engine: Engine, archiving, request, tmp_path
) -> None:
    if db.backend == "sqlite":
        other = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    else:
        server = request.getfixturevalue(f"{db.backend}_server")
        made = server.database("other")
        other = request.getfixturevalue("closing")(made).engine()
    table = archiving.fill_every_type(engine)
    before = archiving.stored_rows(engine, table)
    archive = TableArchive(engine=other)
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id < 10)
    run.batch(table.c.id >= 10)
    run.close()
    assert archiving.stored_rows(engine, table) == []
    restore(engine, archive=archive, metadata=table.metadata, run="run-1", batch_rows=7)
    assert archiving.stored_rows(engine, table) == before
    with other.connect() as connection:
        assert connection.execute(select(archive.table_for(table).c.id)).all() == []
    other.dispose()


def test_rows_come_back_through_another_kind_of_database(
    engine: Engine, archiving, plain, tmp_path
) -> None:
    archiving.fill(engine, plain)
    before = archiving.stored_rows(engine, plain)
    archive = TableArchive(url=f"sqlite:///{tmp_path / 'other.db'}")
    run = archiving.Run(engine, plain, archive).open()
    assert run.batch(plain.c.id < 8) == 7
    run.close()
    restore(engine, archive=archive, metadata=plain.metadata, run="run-1")
    assert archiving.stored_rows(engine, plain) == before
