"""The catalog tells which foreign keys refer to a table."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKeyConstraint, Integer, MetaData, Table

from sa_perf.dialects.foreign_keys import ForeignKeyFacts, referring_keys


def test_keys_of_several_columns_are_told_with_what_they_do(db) -> None:
    engine = db.engine()
    metadata = MetaData()
    parent = Table(
        "a parent",
        metadata,
        Column("a", Integer, primary_key=True, autoincrement=False),
        Column("b", Integer, primary_key=True, autoincrement=False),
    )
    for name, rule in (("child", "CASCADE"), ("second", None), ("third", "SET NULL")):
        Table(
            name,
            metadata,
            Column("id", Integer, primary_key=True),
            Column("x", Integer),
            Column("y", Integer),
            ForeignKeyConstraint(["x", "y"], [parent.c.a, parent.c.b], ondelete=rule),
        )
    metadata.create_all(engine)
    with engine.connect() as connection:
        found = referring_keys(connection, parent)
        none = referring_keys(connection, metadata.tables["child"])
    assert none == []
    assert [(one.fullname, one.columns) for one in found] == [
        (name, frozenset("xy")) for name in ("child", "second", "third")
    ]
    rules = [one.on_delete for one in found]
    assert (rules[0], rules[2]) == ("CASCADE", "SET NULL")
    assert rules[1] in ("NO ACTION", "RESTRICT")


def test_a_table_of_another_schema_is_named_with_it(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        for statement in (
            "CREATE SCHEMA other",
            "CREATE TABLE parent (id int PRIMARY KEY)",
            "CREATE TABLE other.child (parent_id int REFERENCES parent ON DELETE CASCADE)",
        ):
            connection.exec_driver_sql(statement)
        found = referring_keys(connection, Table("parent", MetaData()))
    assert found == [
        ForeignKeyFacts(
            schema="other",
            is_default_schema=False,
            table="child",
            columns=frozenset(["parent_id"]),
            on_delete="CASCADE",
        )
    ]
    assert found[0].fullname == "other.child"
