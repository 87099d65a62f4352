"""What leaves its table stands in the archive table as it was, whoever interferes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from retention_world import NOW, ago, fill, ids, values
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sa_perf.errors import ArchiveError
from sa_perf.retention import (
    FileArchive,
    RetentionPolicy,
    TableArchive,
    declare,
    restore,
    retain,
    run,
)
from sa_perf.retention.archive.same_database import SameDatabase

ARCHIVE = TableArchive()


def _table(name: str, *columns: Column[Any], metadata: MetaData | None = None) -> Table:
    return Table(
        name,
        MetaData() if metadata is None else metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
        *columns,
    )


def _declared(table: Table, archive: Any = ARCHIVE, **options: Any) -> Table:
    declare(table, RetentionPolicy(days=30, by="at", action="archive", archive=archive, **options))
    return table


def _refusing_trigger(engine: Engine, table: str) -> None:
    """Keeps the row 2."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(
                f"CREATE TRIGGER keep BEFORE DELETE ON {table} WHEN old.id = 2 "
                "BEGIN SELECT RAISE(IGNORE); END"
            )
            return
        connection.exec_driver_sql(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF old.id = 2 THEN RETURN NULL; END IF; RETURN old; END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION keep()"
        )


class _Base(DeclarativeBase):
    pass


class _Order(_Base):
    __tablename__ = "shop_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime | None] = mapped_column(index=True)


@retain(
    RetentionPolicy(days=30, by="order.closed_at", nulls="keep", action="archive", archive=ARCHIVE)
)
class _Line(_Base):
    __tablename__ = "shop_line"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("shop_order.id"), index=True)
    order: Mapped[_Order] = relationship()


def test_the_rows_that_go_are_those_that_were_copied(postgresql_database, monkeypatch) -> None:
    from retention_world import add_own_tables

    engine = postgresql_database.engine()
    add_own_tables(engine)
    _Base.metadata.create_all(engine)
    orders, lines = _Order.__table__, _Line.__table__
    fill(engine, orders, {"id": 1, "closed_at": ago(90)}, {"id": 2, "closed_at": None})
    fill(engine, lines, {"id": 1, "order_id": 1}, {"id": 2, "order_id": 2})
    copy, seen = SameDatabase._copy, []

    def copied(self: SameDatabase, *args: Any) -> int:
        done = copy(self, *args)
        if done and not seen:
            seen.append(done)  # the first order is opened again, the second one is closed
            with engine.begin() as connection:
                connection.execute(update(orders).values(closed_at=None).where(orders.c.id == 1))
                connection.execute(update(orders).values(closed_at=ago(90)).where(orders.c.id == 2))
        return done

    monkeypatch.setattr(SameDatabase, "_copy", copied)
    (policy,) = run(engine, _Base, at=NOW).policies
    assert (policy.outcome, seen) == ("done", [1])
    left, archived = ids(engine, lines), ids(engine, ARCHIVE.table_for(lines))
    assert (left, archived) == ([1], [2])


def test_a_row_that_a_trigger_keeps_is_refused_and_not_archived(db, engine) -> None:
    if db.backend == "mariadb":
        pytest.skip("its triggers cannot keep a row without an error")
    table = _declared(_table("event"))
    table.create(engine)
    fill(engine, table, *({"id": number, "at": ago(90 - number)} for number in range(1, 6)))
    _refusing_trigger(engine, "event")
    for archived in (4, 0):
        (policy,) = run(engine, table, at=NOW).policies
        found = (policy.outcome, policy.rows_archived, policy.rows_refused)
        assert found == ("done", archived, 1)
    assert ids(engine, table) == [2]
    assert ids(engine, ARCHIVE.table_for(table)) == [1, 3, 4, 5]


@pytest.mark.parametrize("kind", ["files", "other database"])
def test_without_returning_a_row_that_a_trigger_keeps_is_not_archived(
    sqlite_database, tmp_path, monkeypatch, archiving, kind
) -> None:
    from retention_world import add_own_tables

    from sa_perf.dialects.sqlite_purging import SQLitePurging

    monkeypatch.setattr(SQLitePurging, "returning", False)
    engine = sqlite_database.engine()
    add_own_tables(engine)
    archive = (
        FileArchive(tmp_path / "files")
        if kind == "files"
        else TableArchive(url=f"sqlite:///{tmp_path / 'other.db'}")
    )
    table = _declared(_table("event"), archive)
    table.create(engine)
    fill(engine, table, *({"id": number, "at": ago(90 - number)} for number in range(1, 6)))
    before = archiving.stored_rows(engine, table)
    _refusing_trigger(engine, "event")
    (policy,) = run(engine, table, at=NOW).policies
    assert (policy.outcome, policy.rows_archived, policy.rows_refused) == ("done", 4, 1)
    assert ids(engine, table) == [2]
    assert restore(engine, archive=archive, metadata=table.metadata, policy="event").rows == 4
    assert archiving.stored_rows(engine, table) == before


def test_a_value_that_the_archive_table_would_cut_stays_where_it_is(engine) -> None:
    old = _table("pay", Column("amount", Numeric(10, 2)), Column("code", Integer))
    ARCHIVE.table_for(old).create(engine)
    table = _declared(_table("pay", Column("amount", Numeric(12, 4)), Column("code", String(10))))
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO pay (id, at, amount, code) VALUES (1, :at, 1.2345, '1')"),
            {"at": "2020-01-01 00:00:00.000000"},
        )
    if engine.dialect.name == "postgresql":  # it does not make a number of a text by itself
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE pay_archive ALTER code TYPE varchar(10)")
    if engine.dialect.name == "sqlite":  # which keeps a number as it is, whatever its digits
        with engine.begin() as connection:
            connection.execute(update(table).values(code="01234"))
    (policy,) = run(engine, table, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("failed", 0)
    column = "code" if engine.dialect.name == "sqlite" else "amount"
    assert f"column {column!r} of 'pay_archive' holds another value" in policy.reason
    assert ids(engine, table) == [1]
    assert ids(engine, ARCHIVE.table_for(table)) == []


def test_a_wider_type_of_the_archive_table_is_no_fault(engine, archiving) -> None:
    old = _table("pay", Column("what", String(200)))
    ARCHIVE.table_for(old).create(engine)
    table = _declared(_table("pay", Column("what", String(10))))
    table.create(engine)
    fill(engine, table, {"id": 1, "at": ago(90), "what": "a "}, {"id": 2, "at": ago(90)})
    before = archiving.stored_rows(engine, table)
    done = run(engine, table, at=NOW)
    assert done.policies[0].rows_archived == 2
    restore(engine, archive=ARCHIVE, metadata=table.metadata, run=done.id)
    assert archiving.stored_rows(engine, table) == before


def test_a_restore_under_a_trigger_leaves_the_row_in_the_archive(sqlite_database) -> None:
    from retention_world import add_own_tables

    engine = sqlite_database.engine()
    add_own_tables(engine)
    table = _declared(_table("event", Column("what", String(20))))
    table.create(engine)
    fill(engine, table, {"id": 1, "at": ago(90), "what": "first"})
    done = run(engine, table, at=NOW)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER touch AFTER INSERT ON event BEGIN "
            "UPDATE event SET what = 'touched' WHERE id = new.id; END"
        )
    with pytest.raises(ArchiveError, match="column 'what' of 'event' holds another value"):
        restore(engine, archive=ARCHIVE, metadata=table.metadata, run=done.id)
    assert ids(engine, table) == []
    assert values(engine, ARCHIVE.table_for(table).c.what) == ["first"]


def test_a_key_that_the_database_would_count_up_stays_in_the_archive(mariadb_database) -> None:
    from retention_world import add_own_tables

    engine = mariadb_database.engine()
    add_own_tables(engine)
    table = _declared(_table("event"))
    table.create(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("SET sql_mode = concat(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
        connection.exec_driver_sql("INSERT INTO event VALUES (0, '2020-01-01')")
    engine.dispose()
    done = run(engine, table, at=NOW)
    assert done.policies[0].rows_archived == 1
    with pytest.raises(ArchiveError, match="a row of 'event' is not there"):
        restore(engine, archive=ARCHIVE, metadata=table.metadata, run=done.id)
    assert (ids(engine, table), ids(engine, ARCHIVE.table_for(table))) == ([], [0])


def test_columns_with_a_key_of_their_own_come_back(engine) -> None:
    metadata = MetaData()
    table = Table(
        "event",
        metadata,
        Column("event_id", Integer, key="id", primary_key=True),
        Column("up", ForeignKey("event.id"), key="above", index=True),
        Column("at", DateTime, nullable=False, index=True, key="moment"),
    )
    policy = RetentionPolicy(
        days=30, by="moment", action="archive", archive=ARCHIVE, on_children="detach"
    )
    if engine.dialect.name != "sqlite":
        policy = RetentionPolicy(
            days=30, by="moment", action="archive", archive=ARCHIVE, on_children="restrict"
        )
    declare(table, policy)
    metadata.create_all(engine)
    fill(engine, table, *({"id": number, "moment": ago(90 - number)} for number in (1, 2, 3)))
    done = run(engine, metadata, at=NOW)
    assert done.policies[0].rows_archived == 3
    assert restore(engine, archive=ARCHIVE, metadata=metadata, run=done.id).rows == 3
    assert ids(engine, table) == [1, 2, 3]


def test_a_conflict_in_one_table_leaves_the_others_as_they_are(engine) -> None:
    metadata = MetaData()
    table = _table("event", metadata=metadata)
    child = Table(
        "child",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("event_id", ForeignKey("event.id"), index=True),
    )
    _declared(table, on_children="delete_first")
    metadata.create_all(engine)
    fill(engine, table, {"id": 1, "at": ago(90)})
    fill(engine, child, {"id": 1, "event_id": 1})
    done = run(engine, metadata, at=NOW)
    fill(engine, child, {"id": 1, "event_id": None})
    with pytest.raises(ArchiveError, match="1 rows are in 'child' already; nothing was changed"):
        restore(engine, archive=ARCHIVE, metadata=metadata, run=done.id)
    assert ids(engine, table) == []
    assert len(ids(engine, ARCHIVE.table_for(table))) == 1


@pytest.mark.parametrize("how", ["restrict", "detach"])
def test_children_whose_rows_stay_need_no_archive_table(engine, how) -> None:
    metadata = MetaData()
    table = _declared(_table("event", metadata=metadata), on_children=how)
    link = Table("link", metadata, Column("event_id", ForeignKey("event.id"), index=True))
    metadata.create_all(engine)
    fill(engine, table, {"id": 1, "at": ago(90)}, {"id": 2, "at": ago(90)})
    with engine.begin() as connection:
        connection.execute(link.insert().values(event_id=2))
    (policy,) = run(engine, metadata, at=NOW).policies
    assert (policy.outcome, policy.rows_archived) == ("done", 1 if how == "restrict" else 2)
    with engine.connect() as connection:
        assert not connection.dialect.has_table(connection, "link_archive")


def test_an_archive_table_with_another_key_is_refused(engine) -> None:
    table = _declared(_table("event"))
    table.create(engine)
    fill(engine, table, {"id": 1, "at": ago(90)})
    made = ARCHIVE.table_for(table)
    keyless = Table(
        made.name,
        MetaData(),
        *(Column(one.name, one.type, autoincrement=False) for one in made.columns),
    )
    keyless.create(engine)
    (policy,) = run(engine, table, at=NOW).policies
    assert policy.outcome == "failed"
    assert "has the primary key [] instead of ['id']" in policy.reason
    assert ids(engine, table) == [1]


def test_a_column_that_the_model_lacks_is_not_lost(engine) -> None:
    table = _declared(_table("event"))
    table.create(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE event ADD COLUMN extra VARCHAR(20)")
    fill(engine, table, {"id": 1, "at": ago(90)})
    (policy,) = run(engine, table, at=NOW).policies
    assert (policy.outcome, ids(engine, table)) == ("failed", [1])
    assert "extra" in policy.reason


def test_a_run_on_an_engine_of_autocommit_moves_each_row_once(db, engine, tmp_path) -> None:
    if db.name == "sqlite_memory":
        pytest.skip("another engine sees another database")
    other = TableArchive(url=f"sqlite:///{tmp_path / 'other.db'}")
    for archive in (ARCHIVE, other):
        table = _declared(_table("event"), archive)
        table.metadata.create_all(engine)
        fill(engine, table, *({"id": number, "at": ago(90 - number)} for number in range(1, 6)))
        auto = db.engine(isolation_level="AUTOCOMMIT")
        done = run(auto, table, at=NOW)
        assert done.policies[0].rows_archived == 5
        assert restore(auto, archive=archive, metadata=table.metadata, run=done.id).rows == 5
        assert ids(engine, table) == [1, 2, 3, 4, 5]
        table.metadata.drop_all(engine)
