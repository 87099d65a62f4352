"""What goes into an archive comes back equal, of every type, in every form."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive import FileArchive, TableArchive, restore

PACKAGES = {"parquet": "pyarrow", "zstd": "zstandard", "fsspec": "fsspec"}
COMPRESSIONS = (None, "gzip", "zstd")
FORMS = [
    *(("jsonl", each) for each in COMPRESSIONS[:2]),
    *(("csv", each) for each in COMPRESSIONS[:2]),
    *(pytest.param(each, "zstd", marks=pytest.mark.extras) for each in ("jsonl", "csv")),
    *(pytest.param("parquet", each, marks=pytest.mark.extras) for each in COMPRESSIONS),
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


@pytest.mark.extras
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


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def elsewhere(request, db, tmp_path) -> Iterator[Engine]:
    """A database of each other kind."""
    if db.backend == request.param:
        pytest.skip("it is the same kind")
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    else:
        server = request.getfixturevalue(f"{request.param}_server")
        made = request.getfixturevalue("closing")(server.database("other")).engine()
    yield made
    made.dispose()


#: Types of which some database holds less than another one.
NARROWER = {"aware", "exact", "single", "span"}
DOCUMENTS = [5, 1.5, "5", "text", "", True, [], {"b": [None], "a": "\u00e4"}]


def _of_some_types(archiving, engine: Engine, names: list[str]) -> Table:
    """A table of types that every database has, with rows."""
    every = archiving.every_type(MetaData(), "")
    columns = {one.key: one for one in every.columns if one.name in ("id", *names)}
    table = Table("some types", MetaData(), *(one._copy() for one in columns.values()))
    table.create(engine)
    with engine.begin() as connection:
        for row in archiving.ordinary_rows("mariadb"):  # its days and no others are held by all
            connection.execute(insert(table), {key: row[key] for key in columns})
        for number, document in enumerate(DOCUMENTS if "document" in names else ()):
            connection.execute(insert(table), {"id": 300 + number, "document": document})
    return table


def _through(archiving, engine: Engine, elsewhere: Engine, table: Table) -> None:
    archive = TableArchive(engine=elsewhere)
    run = archiving.Run(engine, table, archive, run=f"run of {table.columns.keys()[1]}").open()
    run.batch(table.c.id > 0)
    run.close()
    restore(engine, archive=archive, metadata=table.metadata, run=run.run)


def test_every_type_comes_back_through_another_kind_of_database(
    engine: Engine, elsewhere: Engine, archiving
) -> None:
    every = [one.name for one in archiving.every_type(MetaData(), "").columns]
    table = _of_some_types(archiving, engine, [one for one in every if one not in NARROWER])
    before = archiving.stored_rows(engine, table)
    _through(archiving, engine, elsewhere, table)
    assert archiving.stored_rows(engine, table) == before


@pytest.mark.parametrize("name", sorted(NARROWER))
def test_a_value_that_another_kind_of_database_cannot_hold_is_not_changed(
    engine: Engine, elsewhere: Engine, archiving, name
) -> None:
    table = _of_some_types(archiving, engine, [name])
    before = archiving.stored_rows(engine, table)
    with suppress(ArchiveError):
        _through(archiving, engine, elsewhere, table)
    assert archiving.stored_rows(engine, table) == before


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


@pytest.mark.parametrize("kind", ["files", "table", "another database"])
def test_an_hour_that_comes_twice_comes_back_as_two(
    mariadb_server, mariadb_database, archiving, closing, tmp_path, kind
) -> None:
    """Sessions are in a zone that puts its clocks back, here, there and at restore."""
    there = closing(mariadb_server.database("other"))
    engine, other = (_in_berlin(one.engine()) for one in (mariadb_database, there))
    table = Table(
        "stamped",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", mysql.TIMESTAMP(fsp=6), nullable=False),
    )
    table.create(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("SET time_zone = '+00:00'")
        connection.execute(
            insert(table), [{"id": n, "at": datetime(2024, 10, 27, n - 1, 30)} for n in range(1, 5)]
        )
        connection.exec_driver_sql("SET time_zone = 'Europe/Berlin'")
    before = _seconds(engine)
    assert len(set(before)) == 4
    archive = {
        "files": FileArchive(tmp_path / "archive"),
        "table": TableArchive(),
        "another database": TableArchive(engine=other),
    }[kind]
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id >= 0)
    run.close()
    restore(engine, archive=archive, metadata=table.metadata, run="run-1")
    assert _seconds(engine) == before


def _in_berlin(engine: Engine) -> Engine:
    def put(connection, _) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = 'Europe/Berlin'")

    event.listen(engine, "connect", put)
    try:
        engine.connect().close()
    except DBAPIError:
        pytest.skip("the server has no time zones (mariadb-tzinfo-to-sql)")
    return engine


def _seconds(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return list(
            connection.exec_driver_sql("SELECT UNIX_TIMESTAMP(at) FROM stamped ORDER BY id")
            .scalars()
            .all()
        )


def test_zones_of_two_databases_may_differ(
    postgresql_server, postgresql_database, archiving, closing
) -> None:
    engine = postgresql_database.engine()
    other = closing(postgresql_server.database("other")).engine(
        connect_args={"options": "-c TimeZone=Asia/Kathmandu"}
    )
    table = archiving.fill_every_type(engine)
    before = archiving.stored_rows(engine, table)
    archive = TableArchive(engine=other)
    run = archiving.Run(engine, table, archive).open()
    run.batch(table.c.id > 0)
    run.close()
    restore(engine, archive=archive, metadata=table.metadata, run="run-1")
    assert archiving.stored_rows(engine, table) == before
