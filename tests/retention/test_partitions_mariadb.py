"""Partitions of MySQL and MariaDB, which change places with tables."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from partition_world import (
    LATER,
    NOW,
    UTC,
    detach,
    event_table,
    kinds,
    made,
    no_sleep,
    old_and_new,
    put,
    rows,
)
from sqlalchemy import (
    TIMESTAMP,
    Column,
    Date,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Table,
    TypeDecorator,
    inspect,
    text,
)

from sa_perf.errors import PartitionError
from sa_perf.retention.partitions import attach, maintain, partition, status

MARCH = datetime(2026, 3, 11)


@pytest.fixture
def engine(mariadb_database: Any) -> Engine:
    made: Engine = mariadb_database.engine()
    return made


def late(kind: str = "late") -> Any:
    return text(f"INSERT INTO event VALUES (77, '{MARCH}', '{kind}')")


def waiting(engine: Engine) -> bool:
    """Whether somebody waits for a table's structure."""
    with engine.connect() as connection:
        found = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%'"
        return connection.execute(text(found)).first() is not None


class UncommittedRow:
    """A transaction of the application's that commits once somebody waits for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection = engine.connect()
        self._connection.execute(late())
        self._thread = threading.Thread(target=self._commit)
        self._thread.start()

    def _commit(self) -> None:
        while not waiting(self._engine):
            pass
        self._connection.commit()
        self._connection.close()

    def wait(self) -> None:
        self._thread.join()


# Rows that come meanwhile


def test_a_row_that_is_committed_while_a_partition_is_put_back_is_not_lost(engine) -> None:
    plan = old_and_new(engine)
    application: list[UncommittedRow] = []

    def archive(connection, table, count) -> None:
        application.append(UncommittedRow(engine))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        maintain(engine, plan, now=LATER, before_drop=archive, lock_seconds=20)
    application[0].wait()
    assert kinds(engine, plan) == ["april", "june", "late", "march"]
    assert inspect(engine).get_table_names() == ["event"]


def test_rows_that_come_meanwhile_are_put_beside_the_others(engine) -> None:
    plan = old_and_new(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE noted (id int)")
        connection.exec_driver_sql(
            "CREATE TRIGGER note AFTER INSERT ON event FOR EACH ROW INSERT INTO noted VALUES (1)"
        )
    detach(engine, plan)
    with engine.begin() as connection:
        connection.execute(late())
    run = maintain(engine, plan, now=LATER, must_keep=lambda c: c.kind.in_(["march", "april"]))
    reason = "it has a row that must_keep names"
    assert [one.reason for one in run.kept] == [reason, reason]
    assert kinds(engine, plan) == ["april", "june", "late", "march"]
    assert rows(engine, "noted") == 2  # once when it came, once when it was copied
    assert inspect(engine).get_table_names() == ["event", "noted"]


def test_putting_back_that_was_interrupted_goes_on(engine) -> None:
    plan = old_and_new(engine)
    side = detach(engine, plan)
    with engine.begin() as connection:
        connection.execute(late())
    options = {"isolation_level": "AUTOCOMMIT"}
    with engine.connect().execution_options(**options) as connection:  # the first half of it
        connection.exec_driver_sql(
            f"ALTER TABLE event EXCHANGE PARTITION p2026_03 WITH TABLE {side}"
        )
    maintain(engine, plan, now=LATER, must_keep=lambda c: c.kind != "june")
    assert kinds(engine, plan) == ["april", "june", "late", "march"]
    assert inspect(engine).get_table_names() == ["event"]


def test_a_row_of_the_same_key_that_came_meanwhile_is_not_overwritten(engine) -> None:
    plan = old_and_new(engine)
    side = detach(engine, plan)
    put(engine, plan, again=datetime(2026, 3, 10))
    run = maintain(engine, plan, now=LATER, must_keep=lambda c: c.kind == "march")
    assert "rows of the same keys came into that meanwhile" in run.kept[0].reason
    assert (run.kept[0].hindered, run.ok) == (True, False)
    assert kinds(engine, plan) == ["june", "march"]
    assert rows(engine, side) == 1


def test_a_row_that_is_committed_while_a_table_takes_the_place_is_not_lost(engine) -> None:
    plan = old_and_new(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM event WHERE kind = 'march'")
        connection.exec_driver_sql("CREATE TABLE past LIKE event")
        connection.exec_driver_sql("ALTER TABLE past REMOVE PARTITIONING")
    application = UncommittedRow(engine)
    march, april = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4))
    attach(engine, plan, table="past", lower=march, upper=april, lock_seconds=20)
    application.wait()
    assert kinds(engine, plan) == ["april", "june", "late"]
    assert rows(engine, "past") == 0


def test_a_table_that_is_not_there_cannot_become_a_partition(engine) -> None:
    plan = old_and_new(engine)
    with pytest.raises(PartitionError, match="'past' does not exist"):
        attach(engine, plan, table="past", lower=NOW, upper=LATER)


def test_a_partition_that_somebody_dropped_meanwhile_is_told(engine) -> None:
    plan = old_and_new(engine)
    side = detach(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE event DROP PARTITION p2026_03")
    run = maintain(engine, plan, now=LATER, must_keep=lambda c: c.kind == "march")
    assert "there is no such partition any more" in run.kept[0].reason
    assert rows(engine, side) == 1


# Tables that partitions change places with


def test_a_table_of_the_application_is_not_taken_for_one_of_ours(engine) -> None:
    plan = old_and_new(engine)
    side = detach(engine, plan)
    assert next(one.name for one in maintain(engine, plan, now=LATER).dropped) == "p2026_03"
    other = old_and_new_again(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {side} (id int)")
        connection.exec_driver_sql(f"INSERT INTO {side} VALUES (1)")
    run = maintain(engine, other, now=LATER)
    assert run.dropped == ()
    assert f"is to become table '{side}', but one of that name exists" in run.kept[0].reason
    assert rows(engine, side) == 1
    assert kinds(engine, other) == ["april", "june", "march"]


def old_and_new_again(engine: Engine) -> Any:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE event")
    return old_and_new(engine)


def test_tables_whose_names_begin_alike_do_not_share_a_place(engine) -> None:
    europe = old_and_new(engine, "a" * 55 + "_eu")
    america = old_and_new(engine, "a" * 55 + "_us")
    detach(engine, europe)
    run = maintain(engine, america, now=LATER, must_keep=lambda c: c.kind == "march")
    assert [one.name for one in run.dropped] == ["p2026_04"]
    assert kinds(engine, america) == ["june", "march"]
    assert len(maintain(engine, europe, now=LATER).dropped) == 2
    assert kinds(engine, europe) == ["june"]


@pytest.mark.parametrize("name", ["événement", 'ev"ent', "ev'ent", "ev\\ent", "événemént"])
@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES"])
def test_what_a_killed_run_left_is_recognised_whatever_the_table_is_called(
    mariadb_database, name: str, mode: str
) -> None:
    options = {"connect_args": {"sql_mode": f"TRADITIONAL,{mode}"}}
    engine = mariadb_database.engine(**options)
    plan = old_and_new(engine, name)
    side = detach(engine, plan)
    assert status(engine, plan, now=LATER).detached == (side,)
    seen: list[int] = []
    run = maintain(engine, plan, now=LATER, before_drop=lambda c, table, n: seen.append(n))
    assert [one.name for one in run.dropped] == ["p2026_03", "p2026_04"]
    assert seen == [1, 1]
    assert inspect(engine).get_table_names() == [name]


def test_a_comment_that_only_begins_like_ours_stops_nobody(engine) -> None:
    plan = old_and_new(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE x (id int) COMMENT 'sa_perf: detached {'")
    assert len(maintain(engine, plan, now=LATER).dropped) == 2
    assert inspect(engine).has_table("x")


def test_an_empty_table_that_a_killed_run_made_is_made_anew(engine) -> None:
    plan = old_and_new(engine)
    side = detach(engine, plan)
    maintain(engine, plan, now=LATER)
    plan = old_and_new_again(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {side} LIKE event")
        connection.exec_driver_sql("ALTER TABLE event ADD COLUMN note int")
    assert len(maintain(engine, plan, now=LATER).dropped) == 2
    assert inspect(engine).get_table_names() == ["event"]


# Dropping


def test_dropping_goes_on_where_the_table_is_in_use_after_the_rows_are_gone(engine) -> None:
    plan = old_and_new(engine)
    readers: list[Any] = []

    def archive(connection, table, count) -> None:
        if not readers:
            readers.append(engine.connect())
            readers[0].exec_driver_sql("SELECT * FROM event").all()

    run = maintain(
        engine, plan, now=LATER, before_drop=archive, lock_seconds=1,
        sleep=lambda seconds: readers[0].close(),
    )  # fmt: skip
    assert [one.name for one in run.dropped] == ["p2026_03", "p2026_04"]
    assert (run.retries, run.warnings) == (1, ())
    assert next(one.name for one in status(engine, plan, now=LATER).partitions) == "p2026_05"


def test_an_empty_partition_that_could_not_go_is_told_and_goes_with_the_next_run(engine) -> None:
    plan = old_and_new(engine)
    readers: list[Any] = []

    def archive(connection, table, count) -> None:
        readers.append(engine.connect())
        readers[-1].exec_driver_sql("SELECT * FROM event").all()

    run = maintain(
        engine, plan, now=LATER, before_drop=archive, lock_seconds=1, tries=2, sleep=no_sleep
    )
    assert [one.name for one in run.dropped] == ["p2026_03"]
    assert "the rows of 'p2026_03' are gone, and the empty partition is left" in run.warnings[0]
    assert [(one.name, one.hindered) for one in run.kept] == [("p2026_04", True)]
    readers[0].close()
    maintain(engine, plan, now=LATER)
    assert next(one.name for one in status(engine, plan, now=LATER).partitions) == "p2026_05"


# The default partition


def test_the_default_partition_is_known_by_its_bound_not_by_its_name(engine) -> None:
    plan = event_table(ahead=1)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE event (id bigint, created_at datetime, kind varchar(20), "
            "PRIMARY KEY (id, created_at)) PARTITION BY RANGE COLUMNS (created_at) "
            "(PARTITION p2026_05 VALUES LESS THAN ('2026-06-01'), "
            "PARTITION pmax VALUES LESS THAN (MAXVALUE))"
        )
    put(engine, plan, july=datetime(2026, 7, 10))
    assert status(engine, plan, now=LATER).default_rows == 1
    run = maintain(engine, plan, now=LATER)
    assert run.created == ("p2026_06",)
    assert "lie in the default partition" in run.warnings[0]
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM event")
    assert maintain(engine, plan, now=LATER).created == ("p2026_07",)
    names = [one.name for one in status(engine, plan, now=LATER).partitions]
    assert names == ["p2026_05", "p2026_06", "p2026_07", "pmax"]


# What the table is partitioned by


def by_two_moments(engine: Engine, written: str) -> Any:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("created_at", DateTime, primary_key=True),
        Column("at", DateTime, primary_key=True),
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE event (id int, created_at datetime, at datetime, "
            f"PRIMARY KEY (id, created_at, at)) PARTITION BY {written}"
        )
    return partition(table, "at", days=40)


def test_a_column_whose_name_holds_the_declared_one_is_another(engine) -> None:
    plan = by_two_moments(
        engine, "RANGE COLUMNS (created_at) (PARTITION p1 VALUES LESS THAN ('2026-04-01'))"
    )
    for call in (maintain, status):
        with pytest.raises(PartitionError, match="not by RANGE COLUMNS of 'at' alone"):
            call(engine, plan, now=LATER)


def test_partitions_by_several_columns_are_refused(engine) -> None:
    written = "RANGE COLUMNS (at, id) (PARTITION p1 VALUES LESS THAN ('2026-04-01', 5))"
    with pytest.raises(PartitionError, match="not by RANGE COLUMNS of 'at' alone"):
        maintain(engine, by_two_moments(engine, written), now=LATER)


# Time zones


def test_the_age_of_a_timestamp_is_counted_in_the_zone_of_its_bounds(engine) -> None:
    begin = datetime(2026, 6, 14, tzinfo=UTC)
    plan = event_table(type_=TIMESTAMP(), every="1 hour", days=1, timezone="Asia/Tokyo", ahead=12)
    made(engine, plan, begin)
    assert status(engine, plan, now=begin).partitions[0].upper == datetime(2026, 6, 14, 1)
    edge = begin + timedelta(days=1, hours=1)
    assert status(engine, plan, now=edge - timedelta(seconds=1)).expired == ()
    assert status(engine, plan, now=edge).expired == ("p20260614_00",)


def test_where_the_database_drops_zones_the_declared_one_holds(engine) -> None:
    zoned = DateTime(timezone=True)
    plan = event_table(type_=zoned, every="1 hour", days=1, timezone="America/New_York", ahead=1)
    begin = datetime(2026, 6, 14, 12, tzinfo=UTC)
    made(engine, plan, begin)
    assert status(engine, plan, now=begin).partitions[0].upper == datetime(2026, 6, 14, 9)
    edge = begin + timedelta(days=1, hours=1)
    assert status(engine, plan, now=edge - timedelta(seconds=1)).expired == ()
    assert status(engine, plan, now=edge).expired == ("p20260614_08",)


class Moment(TypeDecorator[datetime]):
    impl = TIMESTAMP
    cache_ok = True


class Day(TypeDecorator[Any]):
    impl = Date
    cache_ok = True


@pytest.mark.parametrize(
    "type_",
    [Moment(), Day(), DateTime().with_variant(TIMESTAMP(), "mysql", "mariadb")],
    ids=["decorated", "decorated_day", "variant"],
)
def test_a_column_is_what_the_database_keeps_of_it(engine, type_) -> None:
    plan = event_table(type_=type_)
    plan.table.metadata.create_all(engine)
    found = status(engine, plan)
    assert (len(found.partitions), found.missing, found.warnings) == (5, (), ())


# The session


def test_the_connection_goes_back_to_the_pool_as_it_came(mariadb_database) -> None:
    engine = mariadb_database.engine(pool_size=1, max_overflow=0)
    asked = text(
        "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout, @@time_zone, @@autocommit"
    )
    with engine.connect() as connection:
        before = connection.execute(asked).one()
    plan = old_and_new(engine)
    maintain(engine, plan, now=LATER)
    status(engine, plan, now=LATER)
    with engine.connect() as connection:
        assert connection.execute(asked).one() == before
