"""The dry run: order, rows, ways, what to mend; nothing is touched."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from retention_world import add_own_tables
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    event,
    insert,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import NullPool, QueuePool

from sa_perf.errors import RetentionError
from sa_perf.retention import audit
from sa_perf.retention.archive import FileArchive
from sa_perf.retention.planner import plan
from sa_perf.retention.policy import RetentionPolicy, declare, retain
from sa_perf.retention.runner import run

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


class Base(DeclarativeBase):
    """The tests' own models."""


@retain(RetentionPolicy(days=2, by="at", on_children="detach", name="mapped"))
class Parent(Base):
    """Its children go with it in a session, but not in the database."""

    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    children: Mapped[list[Child]] = relationship(cascade="all, delete-orphan")


class Child(Base):
    """Of a parent."""

    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id"), index=True)


declare(
    Base.metadata.tables["parent"],
    RetentionPolicy(days=1, by="at", on_children="detach", name="of the table"),
)


def _event(metadata: MetaData, **changes: Any) -> Table:
    options: dict[str, Any] = {"days": 30, "by": "at", **changes}
    table = Table(
        "event",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=options.get("nulls") is not None),
        Column("kind", String(20)),
    )
    declare(table, RetentionPolicy(**options))
    return table


def _fill(engine: Engine, table: Table, days: int) -> None:
    """A row a day."""
    rows = [
        {"id": at, "at": (NOW - timedelta(days=at - 0.5)).replace(tzinfo=None)}
        for at in range(1, days + 1)
    ]
    with engine.begin() as connection:
        table.metadata.create_all(connection)
        connection.execute(insert(table), rows)


def test_rows_and_their_cut_off_are_told_and_none_is_touched(engine: Engine) -> None:
    table = _event(MetaData())
    Index("ix_event_at", table.c.at)
    _fill(engine, table, 60)
    written: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("DELETE", "UPDATE", "INSERT", "CREATE")):
            written.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    (one,) = plan(engine, table, at=NOW).policies
    assert (one.rows, one.rows_kind, one.cutoff) == (30, "exact", NOW - timedelta(days=30))
    assert (one.index, one.create_index, one.warnings, one.error) == ("ix_event_at", None, (), None)
    assert "DELETE FROM event" in one.statement
    assert written == []


def test_a_missing_index_is_named_as_it_is_to_be_made(engine: Engine) -> None:
    table = _event(MetaData())
    _fill(engine, table, 3)
    (one,) = plan(engine, table, at=NOW).policies
    assert one.index is None and one.create_index is not None
    assert one.walks == ("key",)
    assert any(one.create_index in warning for warning in one.warnings)
    with engine.begin() as connection:
        connection.execute(text(one.create_index))
    (mended,) = plan(engine, table, at=NOW).policies
    assert (mended.index, mended.create_index) == ("ix_event_at", None)


def test_a_missing_index_of_odd_names_can_be_made_as_it_is_told(engine: Engine) -> None:
    name = "order of " + "a customer " * 4
    conventions = {"ix": "Index on %(column_0_label)s"}
    table = Table(
        name.strip(),
        MetaData(naming_convention=conventions),
        Column("id", Integer, primary_key=True),
        Column("group", DateTime, nullable=False),
    )
    declare(table, RetentionPolicy(days=1, by="group"))
    table.create(engine)
    (one,) = plan(engine, table, at=NOW).policies
    assert one.create_index is not None and "Index on order of" in one.create_index
    with engine.begin() as connection:
        connection.execute(text(one.create_index))
    (mended,) = plan(engine, table, at=NOW).policies
    assert mended.create_index is None
    assert not table.indexes


def test_children_come_first_and_are_told_with_what_becomes_of_them(engine: Engine) -> None:
    metadata = MetaData()
    table = _event(metadata, on_children="delete_first")
    child = Table(
        "a_child",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
        Column("event_id", ForeignKey("event.id"), index=True),
    )
    declare(child, RetentionPolicy(days=10, by="at"))
    _fill(engine, table, 3)
    found = plan(engine, metadata, at=NOW)
    assert [one.policy for one in found.policies] == ["a_child", "event"]
    ((told,),) = [one.children for one in found.policies if one.policy == "event"]
    assert (told.table, told.columns, told.how) == ("a_child", ("event_id",), "delete_first")
    assert (told.refers_to, told.indexed) == ("event", True)


def test_a_child_without_an_index_on_its_foreign_key_is_warned_of(engine: Engine) -> None:
    metadata = MetaData()
    table = _event(metadata, on_children="delete_first")
    Index("ix_event_at", table.c.at)
    Table(
        "child",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("event_id", ForeignKey("event.id")),
    )
    _fill(engine, table, 3)
    (one,) = plan(engine, table, at=NOW).policies
    # InnoDB makes an index for each foreign key by itself.
    indexed = engine.dialect.name in ("mysql", "mariadb")
    assert [child.indexed for child in one.children] == [indexed]
    assert any("no index serves child(event_id)" in text for text in one.warnings) != indexed


def test_a_policy_that_cannot_be_run_leaves_the_others_their_plan(engine: Engine) -> None:
    metadata = MetaData()
    table = _event(metadata)
    missing = Table(
        "missing",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
    ).to_metadata(metadata)
    declare(missing, RetentionPolicy(days=1, by="at"))
    with engine.begin() as connection:
        table.create(connection)
    found = plan(engine, metadata, at=NOW)
    errors = {one.policy: one.error for one in found.policies}
    assert errors["event"] is None
    assert errors["missing"] == "the database has no table 'missing'"
    assert not found.ok


def test_rows_without_a_moment_that_stay_are_counted(engine: Engine) -> None:
    table = _event(MetaData(), nulls="keep")
    _fill(engine, table, 40)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"id": 100 + at, "at": None} for at in range(3)])
    (one,) = plan(engine, table, at=NOW).policies
    assert (one.rows, one.timeless_rows) == (10, 3)
    assert any("no moment" in warning for warning in one.warnings)


def _run_before(engine: Engine, *transactions: dict[str, Any]) -> None:
    """A run of the policy in the audit."""
    with engine.begin() as connection:
        values = {"table_name": "event", "action": "delete", "cutoff": NOW, "predicate": ""}
        run_id = audit.open_run(connection, run="1", policy="event", started_at=NOW, **values)
        numbers = {"rows_archived": 0, "rows_changed": 0, "target_rows": 0, "pause_seconds": 0.0}
        for one in transactions:
            common = {"run_id": run_id, "table_name": "event", "finished_at": NOW}
            audit.add_batch(connection, **{**common, **numbers, **one})


@pytest.mark.parametrize("index", [True, False])
def test_the_time_goes_by_the_rows_that_are_gone_over(engine: Engine, index: bool) -> None:
    table = _event(MetaData(), where=lambda c: c.id == 60)
    if index:
        Index("ix_event_at", table.c.at)
    _fill(engine, table, 60)
    (before,) = plan(engine, table, at=NOW).policies
    assert (before.rows, before.seconds) == (1, None)
    _run_before(engine, {"number": 1, "rows_scanned": 10, "seconds": 4.0, "pause_seconds": 1.0})
    (after,) = plan(engine, table, at=NOW).policies
    # An index leads to the thirty that are old; without one all sixty are looked at.
    assert after.seconds == pytest.approx(15.0 if index else 30.0)


def test_the_time_has_that_of_children_and_no_transaction_or_pause_twice(engine: Engine) -> None:
    table = _event(MetaData())
    _fill(engine, table, 60)
    paused = {"pause_seconds": 1.0}
    _run_before(
        engine,
        {"number": 1, "table_name": "child", "rows_scanned": 500, "seconds": 2.0, **paused},
        {"number": 2, "rows_scanned": 10, "seconds": 4.0, **paused},
        {"number": 2, "table_name": "other", "rows_scanned": 0, "seconds": 4.0, **paused},
        {"number": 3, "rows_scanned": 0, "seconds": 3.0, **paused},  # a second look
    )
    (found,) = plan(engine, table, at=NOW).policies
    assert found.seconds == pytest.approx(60.0)


def test_a_run_tells_the_next_plan_its_time(engine: Engine) -> None:
    table = _event(MetaData())
    _fill(engine, table, 60)
    run(engine, table, at=NOW, max_rows=10)
    (after,) = plan(engine, table, at=NOW).policies
    assert after.rows == 20
    assert after.seconds is not None and after.seconds > 0


def test_a_plan_needs_one_connection(sqlite_database: Any) -> None:
    table = _event(MetaData())
    Table(
        "child",
        table.metadata,
        Column("id", Integer, primary_key=True),
        Column("event_id", ForeignKey("event.id", ondelete="CASCADE")),
    )
    pool = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    engine = sqlite_database.engine(**pool)
    add_own_tables(engine)
    _fill(engine, table, 3)
    policy = RetentionPolicy(days=1, by="at", on_children="cascade", name="with children")
    declare(table, policy)
    found = {one.policy: one for one in plan(engine, table).policies}["with children"]
    assert (found.error, len(found.children)) == (None, 1)


def test_many_rows_are_estimated_within_a_fifth(engine: Engine) -> None:
    table = _event(MetaData())
    Index("ix_event_at", table.c.at)
    _fill(engine, table, 8_000)
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        mysql = engine.dialect.name in ("mysql", "mariadb")
        connection.exec_driver_sql("ANALYZE TABLE event" if mysql else "ANALYZE")
    (one,) = plan(engine, table, at=NOW).policies
    assert one.rows is not None and abs(one.rows - 7_970) < 1_600
    assert one.bytes is None or one.bytes > 0


def test_rows_are_counted_where_statistics_are_old(postgresql_database: Any) -> None:
    engine = postgresql_database.engine(poolclass=NullPool)
    table = _event(MetaData())
    Index("ix_event_at", table.c.at)
    _fill(engine, table, 8_000)

    def told() -> tuple[int | None, str]:
        (one,) = plan(engine, table, at=NOW).policies
        return one.rows, one.rows_kind

    never_analyzed = told()
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE event")
    analyzed = told()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM event WHERE id > 3000")
    assert never_analyzed == (7_970, "exact")
    assert analyzed[1] == "estimated"
    assert told() == (2_970, "exact")


def test_the_statement_can_be_run_as_it_is_told(engine: Engine) -> None:
    table = _event(
        MetaData(),
        where=lambda c: c.kind.like("x%"),
        action="anonymise",
        anonymise={"kind": "xx% :kind_1"},
    )
    _fill(engine, table, 60)
    with engine.begin() as connection:
        connection.execute(table.update().values(kind="x"))
    (one,) = plan(engine, table, at=NOW).policies
    assert "x%%" not in one.statement
    with engine.begin() as connection:
        raw: Any = connection.connection.dbapi_connection
        cursor = raw.cursor()
        cursor.execute(one.statement)
        changed = cursor.rowcount
        cursor.close()
    assert changed == 30


@pytest.mark.parametrize("form", ["json", "sql", "text"])
def test_the_plan_is_written_in_each_form(engine: Engine, tmp_path: Any, form: str) -> None:
    table = _event(
        MetaData(),
        action="archive",
        archive=FileArchive(tmp_path / "kept"),
        where=lambda c: c.kind == "x",
    )
    _fill(engine, table, 3)
    found = plan(engine, table, at=NOW)
    shown = {
        "json": lambda: json.dumps(found.to_dict(), allow_nan=False),
        "sql": found.to_sql,
        "text": lambda: str(found),
    }[form]()
    assert "event" in shown
    assert ("kind" in shown) == (form != "text")
    assert ("kept" in shown) == (form != "sql")


def test_a_moment_without_a_zone_and_a_policy_that_is_none_are_refused(engine: Engine) -> None:
    table = _event(MetaData())
    with pytest.raises(RetentionError, match="no time zone"):
        plan(engine, table, at=datetime(2026, 1, 1))
    with pytest.raises(RetentionError, match=r"no policy nobody; there are: event"):
        plan(engine, table, policies=["nobody"])


def test_a_relationship_that_would_delete_along_is_told(sqlite_database: Any) -> None:
    engine = sqlite_database.engine()
    Base.metadata.create_all(engine)
    found = {one.policy: one for one in plan(engine, Base).policies}
    assert any("Parent.children" in warning for warning in found["mapped"].warnings)
    assert not any("Parent.children" in warning for warning in found["of the table"].warnings)
