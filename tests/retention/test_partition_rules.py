"""What a declaration says about partitions, for whoever maintains them; what is in the way."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import pytest
from partition_world import (
    LATER,
    NOW,
    UTC,
    alike,
    detach,
    event_table,
    kinds,
    made,
    no_sleep,
    old_and_new,
)
from sqlalchemy import TIMESTAMP, DateTime, Engine, MetaData, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sa_perf.errors import PartitionError
from sa_perf.retention.partitions import (
    declared_partitions,
    maintain,
    partition,
    partitioned,
    status,
)


@pytest.fixture(
    params=[
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """A database that has partitions."""
    found: Engine = request.getfixturevalue(f"{request.param}_database").engine()
    return found


# Rules


def test_what_must_be_kept_is_declared_for_every_caller(engine) -> None:
    plan = old_and_new(engine, must_keep=lambda event: event.kind == "march")
    run = maintain(engine, plan, now=LATER)
    assert [(alike(one.name), one.hindered) for one in run.kept] == [("p2026_03", False)]
    assert (run.ok, kinds(engine, plan)) == (True, ["june", "march"])
    run = maintain(engine, plan, now=LATER, must_keep=lambda event: event.kind == "none")
    assert [alike(one.name) for one in run.dropped] == ["p2026_03"]


def test_a_hook_is_declared_for_every_caller_and_sees_what_a_killed_run_left(engine) -> None:
    seen: list[list[str]] = []

    def archive(connection, table, count) -> None:
        seen.append(list(connection.scalars(select(table.c.kind))))

    plan = old_and_new(engine, before_drop=archive)
    detach(engine, plan)
    maintain(engine, plan, now=LATER)
    assert seen == [["march"], ["april"]]


def test_a_hook_that_is_given_takes_the_place_of_the_declared_one(engine) -> None:
    seen: list[str] = []
    plan = old_and_new(engine, before_drop=lambda *_: seen.append("declared"))
    maintain(engine, plan, now=LATER, before_drop=lambda *_: seen.append("given"))
    assert seen == ["given", "given"]


def test_a_mapped_class_declares_its_rules_by_decorator(engine) -> None:
    class Base(DeclarativeBase):
        pass

    @partitioned("at", days=40, ahead=3, must_keep=lambda event: event.id == 1)
    class Event(Base):
        __tablename__ = "event"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        at: Mapped[datetime] = mapped_column(primary_key=True)

    (plan,) = declared_partitions(Base)
    made(engine, plan)
    with engine.begin() as connection:
        connection.execute(Event.__table__.insert().values(id=1, at=datetime(2026, 3, 10)))
    run = maintain(engine, Event, now=LATER)
    assert [alike(one.name) for one in run.kept] == ["p2026_03"]


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("today", [None, 365])
def test_what_a_killed_run_left_is_put_back_where_the_declaration_has_changed(
    engine, default, today
) -> None:
    plan = old_and_new(engine, default=default)
    detach(engine, plan)
    kept = event_table(days=today, default=default)
    run = maintain(engine, kept, now=LATER)
    assert [(alike(one.name), one.reason) for one in run.kept] == [
        ("p2026_03", "by today's declaration it is not old enough; it was put back")
    ]
    assert (run.dropped, run.ok) == ((), True)
    assert kinds(engine, kept) == ["april", "june", "march"]
    assert status(engine, kept, now=LATER).detached == ()
    assert maintain(engine, kept, now=LATER).kept == ()


def test_what_was_detached_and_belongs_to_these_days_is_put_back_before_others_are_made(
    engine,
) -> None:
    plan = old_and_new(engine, days=None)
    detach(engine, plan)
    run = maintain(engine, plan, now=NOW)
    assert run.created == ()
    assert kinds(engine, plan) == ["april", "june", "march"]


# Declarations


def test_declarations_are_found_by_metadata_class_and_table() -> None:
    class Base(DeclarativeBase):
        pass

    @partitioned("at")
    class Later(Base):
        __tablename__ = "later"
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime] = mapped_column(primary_key=True)

    class Plain(Base):
        __tablename__ = "plain"
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime] = mapped_column(primary_key=True)

    earlier = partition(Plain.__table__.to_metadata(Base.metadata, name="earlier"), "at")
    (later,) = declared_partitions(Later)
    assert declared_partitions(Base) == declared_partitions(Base.metadata) == [earlier, later]
    assert declared_partitions(earlier.table) == [earlier]
    assert declared_partitions(Plain) == declared_partitions(MetaData()) == []


def test_what_has_no_tables_has_no_declarations() -> None:
    with pytest.raises(PartitionError, match="mapped class or Table, not module"):
        declared_partitions(os.path)  # type: ignore[arg-type]


# Time zones


def test_the_age_is_counted_in_the_zone_of_what_the_database_keeps(postgresql_database) -> None:
    engine = postgresql_database.engine()
    moment = DateTime().with_variant(TIMESTAMP(timezone=True), "postgresql")
    plan = event_table(type_=moment, every="1 hour", days=1, timezone="Asia/Tokyo")
    begin = datetime(2026, 6, 14, tzinfo=UTC)
    made(engine, plan, begin)
    assert status(engine, plan, now=begin).partitions[0].upper == datetime(2026, 6, 14, 1)
    edge = begin + timedelta(days=1, hours=1)
    assert status(engine, plan, now=edge - timedelta(seconds=1)).expired == ()
    assert status(engine, plan, now=edge).expired == ("event_p20260614_00",)


# What is in the way


def test_a_table_in_use_is_told_from_rows_that_are_to_stay(engine) -> None:
    plan = old_and_new(engine)
    maintain(engine, event_table(days=None), now=LATER)
    with engine.connect() as reader:
        reader.execute(select(plan.table)).all()
        run = maintain(engine, plan, now=LATER, lock_seconds=0.05, tries=2, sleep=no_sleep)
    assert [(alike(one.name), one.hindered) for one in run.kept] == [
        ("p2026_03", True),
        ("p2026_04", True),
    ]
    assert not run.ok
    assert kinds(engine, plan) == ["april", "june", "march"]


@pytest.mark.parametrize("default", [True, False])
def test_rows_that_refer_to_a_partition_keep_it_and_not_the_others(
    postgresql_database, default
) -> None:
    engine = postgresql_database.engine()
    plan = old_and_new(engine, default=default)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE line (event_id bigint, event_at timestamp, CONSTRAINT line_of_event "
            "FOREIGN KEY (event_id, event_at) REFERENCES event (id, created_at))"
        )
        connection.exec_driver_sql("INSERT INTO line VALUES (1, '2026-03-10')")
    run = maintain(engine, plan, now=LATER)
    assert [(one.name, one.hindered) for one in run.kept] == [("event_2026_03", True)]
    assert "line_of_event" in run.kept[0].reason
    assert [one.name for one in run.dropped] == ["event_2026_04"]


# Status


def test_the_status_of_what_is_no_partitioned_table_is_refused(engine) -> None:
    plan = event_table()
    with pytest.raises(PartitionError, match="'event' does not exist"):
        status(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE event (id bigint, created_at timestamp NULL)")
    with pytest.raises(PartitionError, match="'event' is no partitioned table"):
        status(engine, plan)


def test_what_another_manager_is_to_do_is_not_asked_of_maintain(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = event_table()
    made(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA partman")
        connection.exec_driver_sql(
            "CREATE TABLE partman.part_config (parent_table text PRIMARY KEY, control text, "
            "partition_interval text, premake int, retention text)"
        )
        connection.exec_driver_sql(
            "INSERT INTO partman.part_config VALUES ('public.event', 'created_at', '1 mon', 4)"
        )
    found = status(engine, plan, now=LATER)
    assert len(found.missing) == 3
    assert (found.warnings, found.ok) == ((), True)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO event VALUES (1, '2027-01-01', 'x')")
    (warning,) = status(engine, plan, now=LATER).warnings
    assert warning.startswith("1 rows fell into the default partition; pg_partman")


def test_a_default_partition_that_is_declared_and_missing_is_made(engine) -> None:
    plan = event_table()
    made(engine, event_table(default=False))
    run = maintain(engine, plan, now=NOW)
    assert [alike(one) for one in run.created] == ["p_future"]
    assert maintain(engine, plan, now=NOW).created == ()
