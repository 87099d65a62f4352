"""No row is archived that would come back with less than it had."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Computed, Engine, Integer, MetaData, String, Table, Text

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive import FileArchive
from sa_perf.retention.archive.source_columns import missing_columns, require_whole_rows


def _made_with(engine: Engine, *further: Column) -> Table:
    """The model of a table that the database has with further columns."""
    columns = [("id", Integer), ("words", Text)]
    made = Table("note", MetaData(), *(Column(*one, primary_key=one[0] == "id") for one in columns))
    for one in further:
        made.append_column(one)
    made.create(engine)
    return Table("note", MetaData(), *(Column(*one, primary_key=one[0] == "id") for one in columns))


def test_a_column_that_the_model_lacks_is_named(engine: Engine) -> None:
    table = _made_with(engine, Column("extra", Text), Column("More", Text))
    with pytest.raises(ArchiveError, match=r"columns \['extra', 'More'\] in the database"):
        require_whole_rows(engine, [table])


def test_files_refuse_a_table_whose_model_lacks_a_column(engine: Engine, tmp_path) -> None:
    table = _made_with(engine, Column("extra", Text))
    with pytest.raises(ArchiveError, match="add them to the model"):
        FileArchive(tmp_path).open(engine, table, policy="note", run="run-1")


def test_what_the_database_computes_may_be_left_out(engine: Engine) -> None:
    table = _made_with(engine, Column("size", Integer, Computed("length(words)", persisted=True)))
    require_whole_rows(engine, [table])


def test_a_connection_is_left_as_it_was(engine: Engine) -> None:
    table = _made_with(engine)
    with engine.connect() as connection:
        require_whole_rows(connection, [table])
        assert not connection.in_transaction()
        with connection.begin():
            require_whole_rows(connection, [table])
            assert connection.in_transaction()


def test_a_table_is_looked_for_where_its_schema_is_translated_to(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA tenant")
        connection.exec_driver_sql("CREATE TABLE tenant.note (id int PRIMARY KEY, extra text)")
    table = Table("note", MetaData(), Column("id", Integer, primary_key=True))
    require_whole_rows(engine, [table])  # there is none in the schema that the model says
    with pytest.raises(ArchiveError, match="extra"):
        require_whole_rows(engine.execution_options(schema_translate_map={None: "tenant"}), [table])


def test_names_that_differ_in_case_only_are_one_column_or_two(db, engine: Engine) -> None:
    columns = "id int PRIMARY KEY, words text"
    with engine.begin() as connection:
        if db.backend == "postgresql":
            columns += ', "Words" text'
        else:
            columns = columns.replace("words", "Words")
        connection.exec_driver_sql(f"CREATE TABLE note ({columns})")
    table = Table(
        "note", MetaData(), Column("id", Integer, primary_key=True), Column("words", Text)
    )
    if db.backend == "postgresql":
        with pytest.raises(ArchiveError, match=r"\['Words'\]"):
            require_whole_rows(engine, [table])
    else:
        require_whole_rows(engine, [table])


def test_a_key_that_the_database_computes_is_refused(sqlite_database, tmp_path) -> None:
    table = Table(
        "note",
        MetaData(),
        Column("words", String(20)),
        Column("id", Integer, Computed("length(words)"), primary_key=True),
    )
    with pytest.raises(ArchiveError, match=r"primary key of table 'note' has columns \['id'\]"):
        FileArchive(tmp_path).open(sqlite_database.engine(), table, policy="note", run="run-1")


def test_columns_that_a_database_lacks_are_told(engine: Engine) -> None:
    table = _made_with(engine)
    with engine.connect() as connection:
        assert missing_columns(connection, table, ["id", "gone", "words"]) == ["gone"]
        other = Table("nowhere", MetaData(), Column("id", Integer))
        assert missing_columns(connection, other, ["id"]) == ["id"]
