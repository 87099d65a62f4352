"""What the inventory of every database tells alike."""

from __future__ import annotations

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    event,
    make_url,
)

from sa_perf.dialects.inventory import Inventory, read_inventory, refuse_missing
from sa_perf.errors import InventoryError, UnsupportedDatabase

ODD = 'we "ird`: %s\u202e'


def inventory_of(engine: Engine, *schemas: str) -> Inventory:
    with engine.connect() as connection:
        return read_inventory(connection, schemas)


def shop() -> MetaData:
    metadata = MetaData()
    customer = Table(
        "customer",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("code", String(20), nullable=False),
        Column("region", String(20)),
        Index("ux_code", "code", unique=True),
        Index("ix_region_code", "region", "code"),
    )
    Table(
        "order",
        metadata,
        Column("customer_id", ForeignKey(customer.c.id), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("parent_customer", Integer),
        Column("parent_number", Integer),
        ForeignKeyConstraint(
            ["parent_customer", "parent_number"], ["order.customer_id", "order.number"]
        ),
        Index("ix_parent", "parent_customer", "parent_number"),
    )
    return metadata


def test_tables_indexes_and_keys_are_told(db) -> None:
    engine = db.engine()
    shop().create_all(engine)

    found = inventory_of(engine)

    tables = {table.name: table for table in found.tables}
    assert list(tables) == ["customer", "order"]
    assert all(table.is_default_schema for table in found.tables)
    customer, order = tables.values()
    assert [(one.name, one.nullable) for one in customer.columns] == [
        ("id", False), ("code", False), ("region", True),
    ]  # fmt: skip
    indexes = {one.name: one for one in customer.indexes}
    assert {"ux_code", "ix_region_code"} < set(indexes)
    assert [part.column for part in indexes["ix_region_code"].parts] == ["region", "code"]
    assert (indexes["ux_code"].unique, indexes["ix_region_code"].unique) == (True, False)
    assert all(one.usable and one.ordered and one.invalid is None for one in indexes.values())
    (primary,) = (one for one in order.indexes if one.primary)
    assert [part.column for part in primary.parts] == ["customer_id", "number"]
    assert {(key.table, key.columns, key.referred_table, key.referred_columns) for key in found.foreign_keys} == {  # noqa: E501
        ("order", ("customer_id",), "customer", ("id",)),
        ("order", ("parent_customer", "parent_number"), "order", ("customer_id", "number")),
    }  # fmt: skip
    assert found.unanswered == frozenset()


def test_odd_names_come_as_they_are(db) -> None:
    engine = db.engine()
    metadata = MetaData()
    # pymysql writes % of a quoted name twice: that is its own matter, see SQLAlchemy's preparer.
    Table(ODD, metadata, Column("a b", Integer, primary_key=True), Column("c'd", Integer),
          Index("i x", "c'd"))  # fmt: skip
    metadata.create_all(engine)

    (table,) = inventory_of(engine).tables

    assert table.name == ODD
    assert [column.name for column in table.columns] == ["a b", "c'd"]
    assert "i x" in {index.name for index in table.indexes}


def test_an_empty_database_has_nothing_and_says_no_fault(db) -> None:
    found = inventory_of(db.engine())
    assert (found.tables, found.foreign_keys, found.counters) == ((), (), ())


def test_a_schema_that_is_not_there_is_named(db) -> None:
    with pytest.raises(InventoryError, match="there is no schema 'nowhere'; schemas are: "):
        inventory_of(db.engine(), "nowhere")


def test_the_number_of_questions_does_not_grow_with_the_tables(db) -> None:
    if db.backend == "sqlite":
        pytest.skip("it looks at each table's last rowid")
    engine = db.engine()
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    numbers = []
    for tables in (1, 12):
        metadata = MetaData()
        for at in range(tables):
            Table(f"t{tables}_{at}", metadata, Column("id", Integer, primary_key=True))
        metadata.create_all(engine)
        sent.clear()
        inventory_of(engine)
        numbers.append(len(sent))
    assert numbers[0] == numbers[1]


def test_the_connection_is_left_without_a_transaction(db) -> None:
    engine = db.engine()
    with engine.connect() as connection:
        read_inventory(connection)
        assert not connection.in_transaction()


def test_an_engine_that_commits_by_itself_will_do(db) -> None:
    engine = db.engine(isolation_level="AUTOCOMMIT")
    shop().create_all(engine)
    assert len(inventory_of(engine).tables) == 2


def test_an_unknown_database_is_refused() -> None:
    class Unknown:
        name = "oracle"
        default_schema_name = "x"

    class Connection:
        dialect = Unknown()

    with pytest.raises(UnsupportedDatabase, match="catalog of oracle"):
        read_inventory(Connection())


def test_a_file_that_is_not_there_is_not_made(tmp_path) -> None:
    path = tmp_path / "no.db"
    with pytest.raises(InventoryError, match="there is no file"):
        refuse_missing(make_url(f"sqlite:///{path}"))
    assert not path.exists()
    for url in ("sqlite://", "sqlite:///file:x?mode=memory&uri=true", "postgresql://h/d"):
        refuse_missing(make_url(url))
