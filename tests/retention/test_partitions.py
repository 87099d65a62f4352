from __future__ import annotations

import gc
import pickle
import threading
import weakref
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    Column,
    Date,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sa_perf.errors import PartitionError, PolicyBusy, RetentionError
from sa_perf.migration import upgrade
from sa_perf.retention.holds import place, release
from sa_perf.retention.partitions import (
    PartitionPlan,
    attach,
    create_parent_ddl,
    declared_partition,
    maintain,
    move_from_default,
    partition,
    partitioned,
    status,
)
from sa_perf.retention.partitions.intervals import Every, Span, gaps, spans_ahead, suffix

UTC = timezone.utc
NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
LATER = datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.fixture(
    params=[
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def server(request: pytest.FixtureRequest) -> Any:
    """A database that has partitions."""
    return request.getfixturevalue(f"{request.param}_database")


def test_a_table_goes_with_its_declaration_and_is_pickled_without() -> None:
    table = event_table(must_keep=lambda rows: rows.c.kind == "kept").table
    copy = pickle.loads(pickle.dumps(table.metadata)).tables["event"]  # noqa: S301  # our own
    with pytest.raises(PartitionError, match="not declared"):
        declared_partition(copy)
    gone = weakref.ref(table)
    del table
    gc.collect()
    assert gone() is None


def event_table(*, zone: bool = True, type_: Any = None, **options: Any) -> PartitionPlan:
    table = Table(
        "event",
        MetaData(),
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("created_at", type_ or DateTime(timezone=zone), primary_key=True),
        Column("kind", String(20), index=True),
    )
    return partition(table, "created_at", **{"every": "1 month", "ahead": 1, **options})


def made(engine: Engine, plan: PartitionPlan, now: datetime = NOW) -> None:
    with engine.begin() as connection:
        for statement in create_parent_ddl(plan, engine.dialect, now=now):
            connection.exec_driver_sql(statement)


def put(engine: Engine, plan: PartitionPlan, *moments: datetime, first: int = 1) -> None:
    rows = [
        {"id": number, "created_at": moment, "kind": "x"}
        for number, moment in enumerate(moments, first)
    ]
    with engine.begin() as connection:
        connection.execute(insert(plan.table), rows)


def count(engine: Engine, plan: PartitionPlan) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(plan.table)) or 0


def months(engine: Engine, plan: PartitionPlan) -> list[str]:
    """Names of the partitions, those of PostgreSQL like those of MariaDB."""
    return [alike(one.name) for one in status(engine, plan, now=NOW).partitions]


def alike(name: str) -> str:
    return name.replace("event_2", "p2").replace("event_default", "p_future")


def no_sleep(seconds: float) -> None:
    """The tests' clock does not wait."""


def moments(month: int, rows: int = 3) -> list[datetime]:
    return [datetime(2026, month, 2, tzinfo=UTC) + timedelta(hours=n) for n in range(rows)]


# Intervals


@pytest.mark.parametrize(
    ("every", "lower", "upper", "name"),
    [
        ("1 hour", datetime(2026, 3, 15, 12), datetime(2026, 3, 15, 13), "p20260315_12"),
        ("6 hours", datetime(2026, 3, 15, 12), datetime(2026, 3, 15, 18), "p20260315_12"),
        ("day", datetime(2026, 3, 15), datetime(2026, 3, 16), "p20260315"),
        ("1 week", datetime(2026, 3, 9), datetime(2026, 3, 16), "p20260309"),
        ("1 month", datetime(2026, 3, 1), datetime(2026, 4, 1), "2026_03"),
        ("3 months", datetime(2026, 1, 1), datetime(2026, 4, 1), "2026_01"),
        ("1 year", datetime(2026, 1, 1), datetime(2027, 1, 1), "2026"),
    ],
)
def test_an_interval_holds_its_moment_and_is_named_by_its_beginning(
    every: str, lower: datetime, upper: datetime, name: str
) -> None:
    length = Every.parse(every)
    (span,) = spans_ahead(length, NOW.replace(tzinfo=None), 0)
    assert (span, suffix(length, span)) == (Span(lower, upper), name)


@pytest.mark.parametrize("every", ["1 hour", "5 hours", "1 day", "3 days", "1 week", "7 months"])
def test_intervals_follow_each_other_without_gap_or_overlap(every: str) -> None:
    length = Every.parse(every)
    spans = spans_ahead(length, datetime(2026, 2, 27, 23), 40)
    assert [one.upper for one in spans[:-1]] == [one.lower for one in spans[1:]]
    assert all(length.start(one.lower) == one.lower for one in spans)


@pytest.mark.parametrize("every", ["", "0 days", "1 fortnight", "-1 day", "1.5 days", "monthly"])
def test_a_length_that_is_none_is_refused(every: str) -> None:
    with pytest.raises(PartitionError, match="is no length of time; write '1 hour'"):
        Every.parse(every)


def test_what_existing_partitions_hold_is_cut_out() -> None:
    march = Span(datetime(2026, 3, 1), datetime(2026, 4, 1))
    past = Span(None, datetime(2026, 3, 10))
    week = Span(datetime(2026, 3, 20), datetime(2026, 3, 27))
    left = gaps([march], [past, week])
    assert left == [
        Span(datetime(2026, 3, 10), datetime(2026, 3, 20)),
        Span(datetime(2026, 3, 27), datetime(2026, 4, 1)),
    ]
    names = [suffix(Every(1, "month"), one) for one in left]
    assert names == ["p20260310", "p20260327"]


# Declaration


def test_a_key_without_the_moment_is_refused_with_the_key_that_would_do() -> None:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("created_at", DateTime),
        Column("code", String(9)),
        UniqueConstraint("code"),
    )
    with pytest.raises(PartitionError) as caught:
        partition(table, "created_at", ahead=-1, days=0)
    message = str(caught.value)
    assert "the primary key (id) must contain 'created_at'" in message
    assert "make it (id, created_at)" in message
    assert "the unique constraint over (code) must contain 'created_at'" in message
    assert "ahead=-1; allowed is 0 to 1,000" in message
    assert "would drop what was written just now" in message


def test_a_column_that_is_no_moment_is_refused() -> None:
    table = Table("event", MetaData(), Column("id", Integer, primary_key=True))
    with pytest.raises(PartitionError, match=r"'id' is .*; it must be DateTime or Date"):
        partition(table, "id")
    with pytest.raises(PartitionError, match="by='created_at' is no column; columns are: id"):
        partition(table)


def test_a_day_has_no_hours() -> None:
    with pytest.raises(PartitionError, match="has no hours"):
        event_table(type_=Date(), every="1 hour")


def test_a_mapped_class_is_declared_by_decorator_and_not_in_table_info() -> None:
    class Base(DeclarativeBase):
        pass

    @partitioned("at", every="1 week", days=30)
    class Event(Base):
        __tablename__ = "event"
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime] = mapped_column(primary_key=True)

    plan = declared_partition(Event)
    assert (plan.every, plan.keep) == (Every(1, "week"), timedelta(days=30))
    assert declared_partition(Event.__table__) is plan
    assert Event.__table__.info == {}
    assert Event.__table__.dialect_options["postgresql"]["partition_by"] == "RANGE (at)"


def test_a_table_that_was_not_declared_is_refused() -> None:
    with pytest.raises(PartitionError, match="'other' is not declared; call partition"):
        declared_partition(Table("other", MetaData()))


# Making


@pytest.mark.parametrize(
    "type_", [DateTime(timezone=True), DateTime(), Date(), TIMESTAMP()], ids=str
)
def test_create_all_makes_the_table_with_its_first_partitions(server, type_) -> None:
    engine = server.engine()
    plan = event_table(type_=type_, ahead=2)
    plan.table.metadata.create_all(engine)
    found = status(engine, plan)
    assert len(found.partitions) == 4
    assert [one.is_default for one in found.partitions] == [False, False, False, True]
    assert found.missing == found.warnings == ()
    put(engine, plan, *[date.today() if isinstance(type_, Date) else datetime.now(UTC)])
    assert status(engine, plan).default_rows == 0
    plan.table.metadata.drop_all(engine)


@pytest.mark.parametrize(
    "type_", [DateTime(timezone=True), DateTime(), Date(), TIMESTAMP()], ids=str
)
def test_bounds_are_read_as_they_were_written_whatever_the_session_zone(server, type_) -> None:
    engine = server.engine()
    plan = event_table(type_=type_, default=False)
    with engine.begin() as connection:
        zone = "SET time_zone = '-05:00'" if server.backend == "mariadb" else "SET TimeZone = -5"
        connection.exec_driver_sql(zone)
    made(engine, plan)
    last = status(engine, plan, now=NOW).partitions[-1]
    assert last.upper == datetime(2026, 5, 1)
    if not isinstance(type_, Date):
        put(server.engine(), plan, datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC))


def test_a_database_without_partitions_gets_a_plain_table(sqlite_database) -> None:
    engine = sqlite_database.engine()
    plan = event_table()
    plan.table.metadata.create_all(engine)
    assert inspect(engine).get_table_names() == ["event"]
    for call in (maintain, status, move_from_default):
        with pytest.raises(PartitionError, match="delete its old rows in batches instead"):
            call(engine, plan)


def test_foreign_keys_are_refused_where_partitions_cannot_have_them(mariadb_database) -> None:
    metadata = MetaData()
    Table("person", metadata, Column("id", Integer, primary_key=True))
    table = Table(
        "event",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("created_at", DateTime, primary_key=True),
        Column("person_id", ForeignKey("person.id")),
    )
    partition(table)
    with pytest.raises(PartitionError, match="cannot have foreign keys"):
        metadata.create_all(mariadb_database.engine())


def test_maintaining_makes_what_is_missing_and_a_second_time_nothing(server) -> None:
    engine = server.engine()
    plan = event_table()
    made(engine, plan)
    run = maintain(engine, plan, now=LATER)
    again = maintain(engine, plan, now=LATER)
    if server.backend == "postgresql":
        assert run.created == ("event_2026_06", "event_2026_07")
    else:
        assert run.created == ("p2026_06", "p2026_07")
    assert (again.created, again.dropped, again.warnings) == ((), (), ())
    assert status(engine, plan, now=LATER).missing == ()


def old_and_new(engine: Engine, **options: Any) -> PartitionPlan:
    """Partitions from March on, three rows in March and April each, two in June."""
    plan = event_table(**{"days": 40, **options})
    made(engine, plan)
    maintain(engine, plan, now=LATER - timedelta(days=40))
    maintain(engine, event_table(**{**options, "days": None}), now=LATER)
    put(engine, plan, *moments(3), *moments(4), *moments(6, 2))
    return plan


# Dropping


@pytest.mark.parametrize("default", [True, False])
def test_partitions_that_are_old_are_dropped_with_their_rows(server, default) -> None:
    engine = server.engine()
    plan = old_and_new(engine, default=default)
    run = maintain(engine, plan, now=LATER)
    assert [alike(one.name) for one in run.dropped] == ["p2026_03", "p2026_04"]
    assert run.kept == run.warnings == ()
    assert count(engine, plan) == 2
    assert months(engine, plan) == ["p2026_05", "p2026_06", "p2026_07", *["p_future"] * default]
    assert inspect(engine).has_table("event_2026_03") is False
    assert maintain(engine, plan, now=LATER).dropped == ()


def test_a_partition_whose_end_is_not_yet_old_stays(server) -> None:
    engine = server.engine()
    plan = old_and_new(engine)
    edge = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(days=40)
    dropped = maintain(engine, plan, now=edge - timedelta(seconds=1)).dropped
    assert [alike(one.name) for one in dropped] == ["p2026_03"]
    assert [alike(one.name) for one in maintain(engine, plan, now=edge).dropped] == ["p2026_04"]


def test_without_an_age_nothing_is_dropped(server) -> None:
    engine = server.engine()
    plan = old_and_new(engine, days=None)
    assert maintain(engine, plan, now=LATER + timedelta(days=3_650)).dropped == ()
    assert count(engine, plan) == 8


@pytest.mark.parametrize("default", [True, False])
def test_a_partition_with_a_held_row_stays_until_that_is_released(server, default) -> None:
    engine = server.engine()
    upgrade(engine)
    plan = old_and_new(engine, default=default)
    hold = place(engine, plan.table, (2, moments(3)[1]), reason="lawsuit")
    run = maintain(engine, plan, now=LATER)
    assert [(alike(one.name), one.reason) for one in run.kept] == [
        ("p2026_03", "it has a row under legal hold")
    ]
    assert [alike(one.name) for one in run.dropped] == ["p2026_04"]
    assert count(engine, plan) == 5
    release(engine, hold.id)
    assert [alike(one.name) for one in maintain(engine, plan, now=LATER).dropped] == ["p2026_03"]


def test_a_partition_with_a_row_that_must_be_kept_stays(server) -> None:
    engine = server.engine()
    plan = old_and_new(engine)
    run = maintain(engine, plan, now=LATER, must_keep=lambda c: c.id == 5)
    assert [alike(one.name) for one in run.dropped] == ["p2026_03"]
    assert [one.reason for one in run.kept] == ["it has a row that must_keep names"]


@pytest.mark.parametrize("default", [True, False])
def test_a_row_that_is_held_only_after_detaching_brings_its_partition_back(server, default) -> None:
    engine = server.engine()
    plan = old_and_new(engine, default=default)
    detach(engine, plan, 0)
    assert count(engine, plan) == 5
    run = maintain(engine, plan, now=LATER, must_keep=plan.table.c.id == 2)
    assert [alike(one.name) for one in run.kept] == ["p2026_03"]
    assert [alike(one.name) for one in run.dropped] == ["p2026_04"]
    assert count(engine, plan) == 5
    assert status(engine, plan, now=LATER).detached == ()


@pytest.mark.parametrize("default", [True, False])
def test_the_hook_sees_exactly_the_rows_that_go(server, default) -> None:
    engine = server.engine()
    plan = old_and_new(engine, default=default)
    seen: list[tuple[list[int], int]] = []

    def archive(connection, table, rows) -> None:
        seen.append((sorted(connection.scalars(select(table.c.id))), rows))

    run = maintain(engine, plan, now=LATER, before_drop=archive)
    assert seen == [([1, 2, 3], 3), ([4, 5, 6], 3)]
    assert [one.rows for one in run.dropped] == [3, 3]


@pytest.mark.parametrize("default", [True, False])
def test_a_hook_that_fails_puts_the_partition_back(server, default) -> None:
    engine = server.engine()
    plan = old_and_new(engine, default=default)

    def archive(connection, table, rows) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        maintain(engine, plan, now=LATER, before_drop=archive)
    assert count(engine, plan) == 8
    assert len(maintain(engine, plan, now=LATER).dropped) == 2


def detach(engine: Engine, plan: PartitionPlan, number: int) -> None:
    """What a run has done that was killed before it dropped."""
    kind = plan.partitioning(engine.dialect)
    with kind.connection(engine) as connection:
        with kind.yielding(connection, lock_seconds=1):
            parts = kind.parts(connection)
        kind.detach(connection, parts[number], lock_seconds=1)


@pytest.mark.parametrize("default", [True, False])
def test_what_a_killed_run_has_detached_the_next_one_drops(server, default) -> None:
    engine = server.engine()
    plan = old_and_new(engine, default=default)
    detach(engine, plan, 0)
    (left,) = status(engine, plan, now=LATER).detached
    assert "detached and not dropped" in status(engine, plan, now=LATER).warnings[-1]
    seen: list[int] = []
    run = maintain(engine, plan, now=LATER, before_drop=lambda c, table, rows: seen.append(rows))
    assert [alike(one.name) for one in run.dropped] == ["p2026_03", "p2026_04"]
    assert seen == [3, 3]
    assert inspect(engine).has_table(left) is False
    assert count(engine, plan) == 2


def test_a_detaching_that_was_interrupted_is_ended(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old_and_new(engine, default=False)
    with engine.connect() as reader:
        reader.execute(select(plan.table)).all()  # detaching waits for it
        run = maintain(engine, plan, now=LATER, lock_seconds=0.05, tries=2, sleep=no_sleep)
    assert [one.name for one in run.kept] == ["event_2026_03", "event_2026_04"]
    assert "the table was in use" in run.kept[0].reason
    assert status(engine, plan, now=LATER).partitions[0].pending
    again = maintain(engine, plan, now=LATER)
    assert [one.name for one in again.dropped] == ["event_2026_03", "event_2026_04"]


def test_the_application_goes_first_and_the_change_is_tried_again(server) -> None:
    engine = server.engine()
    plan = old_and_new(engine)
    reader = engine.connect()
    reader.execute(select(plan.table)).all()
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            reader.close()

    run = maintain(engine, plan, now=LATER, lock_seconds=0.05, sleep=wait)
    assert pauses == [0.25, 0.5]
    assert run.retries == 2
    assert len(run.dropped) == 2


def test_of_two_at_once_one_runs_and_one_says_so(server) -> None:
    engine = server.engine()
    plan = old_and_new(engine)
    refused: list[str] = []

    def archive(connection, table, rows) -> None:
        try:
            maintain(engine, plan, now=LATER)
        except PolicyBusy as error:
            refused.append(str(error))

    run = maintain(engine, plan, now=LATER, before_drop=archive)
    assert len(run.dropped) == 2
    assert len(refused) == 2
    assert "somebody else changes the partitions of 'event' now" in refused[0]


def test_many_at_once_make_each_partition_once(server) -> None:
    engine = server.engine()
    plan = event_table(ahead=6)
    made(engine, plan)
    created: list[str] = []
    faults: list[BaseException] = []

    def run() -> None:
        try:
            created.extend(maintain(server.engine(), plan, now=LATER).created)
        except PolicyBusy:
            pass
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(created) == len(set(created)) > 0
    assert status(engine, plan, now=LATER).missing == ()


def test_a_name_that_another_table_has_is_refused(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = event_table()
    made(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE event_2026_06 (id int)")
    with pytest.raises(PartitionError, match="'event_2026_06' is to be a partition of 'event'"):
        maintain(engine, plan, now=LATER)


# The default partition


def test_rows_in_the_default_partition_are_seen_and_moved_into_partitions(server) -> None:
    engine = server.engine()
    plan = event_table()
    made(engine, plan)
    put(engine, plan, *moments(6), *moments(8, 2))
    found = status(engine, plan, now=LATER)
    assert found.default_rows == 5
    assert "5 rows fell into the default partition; move_from_default()" in found.warnings[0]
    run = maintain(engine, plan, now=LATER)
    assert "lie in the default partition" in run.warnings[0]
    moved = move_from_default(engine, plan)
    assert [(alike(one.partition), one.rows) for one in moved] == [("p2026_06", 3), ("p2026_08", 2)]
    assert maintain(engine, plan, now=LATER).warnings == ()
    after = status(engine, plan, now=LATER)
    assert (after.default_rows, after.missing, after.warnings) == (0, (), ())
    assert count(engine, plan) == 5


def test_many_rows_in_the_default_partition_are_not_moved_unasked(server) -> None:
    engine = server.engine()
    plan = event_table()
    made(engine, plan)
    put(engine, plan, *moments(6))
    with pytest.raises(PartitionError, match="has more than 2 rows, and writers would wait"):
        move_from_default(engine, plan, max_rows=2)


def test_rows_that_a_foreign_key_would_see_deleted_are_not_moved(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = event_table()
    made(engine, plan)
    put(engine, plan, *moments(6))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE note (event_id bigint, at timestamptz, CONSTRAINT fk_note "
            "FOREIGN KEY (event_id, at) REFERENCES event ON DELETE CASCADE)"
        )
    with pytest.raises(PartitionError, match="foreign key fk_note of note would see them deleted"):
        move_from_default(engine, plan)
    assert count(engine, plan) == 3


# Attaching


def test_a_table_is_attached_without_reading_it_under_a_lock(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = event_table()
    made(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE past (id bigint NOT NULL, created_at timestamptz NOT NULL, "
            "kind varchar(20))"
        )
        connection.exec_driver_sql("INSERT INTO past VALUES (1, '2026-01-02+00', 'a')")
    january, february = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2))
    attach(engine, plan, table="past", lower=january, upper=february)
    first = status(engine, plan, now=NOW).partitions[0]
    assert (first.name, first.lower) == ("past", datetime(2026, 1, 1))
    assert count(engine, plan) == 1
    assert inspect(engine).get_check_constraints("past") == []


def test_a_table_takes_the_place_of_an_empty_partition(mariadb_database) -> None:
    engine = mariadb_database.engine()
    plan = event_table()
    made(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE past LIKE event")
        connection.exec_driver_sql("ALTER TABLE past REMOVE PARTITIONING")
        connection.exec_driver_sql("INSERT INTO past VALUES (1, '2026-03-02', 'a')")
    march, april = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4))
    attach(engine, plan, table="past", lower=march, upper=april)
    assert count(engine, plan) == 1


def test_rows_beside_the_bounds_are_not_attached(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = event_table()
    made(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE past (LIKE event)")
        connection.exec_driver_sql("INSERT INTO past VALUES (1, '2026-02-02+00', 'a')")
    january, february = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2))
    with pytest.raises(PartitionError, match="'past' has rows that are not of 2026-01-01"):
        attach(engine, plan, table="past", lower=january, upper=february)


# pg_partman


def test_a_table_that_pg_partman_manages_is_left_to_it(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = event_table(days=1)
    made(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA partman")
        connection.exec_driver_sql(
            "CREATE TABLE partman.part_config (parent_table text PRIMARY KEY, control text, "
            "partition_interval text, premake int, retention text)"
        )
    assert status(engine, plan, now=NOW).managed_by is None
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO partman.part_config "
            "VALUES ('public.event', 'created_at', '1 mon', 4, '90 days')"
        )
    found = status(engine, plan, now=LATER)
    assert found.managed_by == (
        "pg_partman (partman.part_config: every 1 mon, premake 4, retention 90 days)"
    )
    for call in (maintain, move_from_default):
        with pytest.raises(PartitionError, match="'event' is managed by pg_partman"):
            call(engine, plan)
    assert len(status(engine, plan, now=LATER).partitions) == 3


# Faults


def test_a_table_that_is_not_partitioned_is_refused(server) -> None:
    engine = server.engine()
    plan = event_table()
    with pytest.raises(PartitionError, match="'event' does not exist"):
        maintain(engine, plan)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE event (id bigint, created_at timestamp NULL)")
    with pytest.raises(PartitionError, match="'event' is no partitioned table"):
        maintain(engine, plan)


def test_a_moment_without_zone_is_refused(server) -> None:
    engine = server.engine()
    plan = event_table()
    made(engine, plan)
    with pytest.raises(PartitionError, match="has no time zone; give an aware datetime"):
        maintain(engine, plan, now=datetime(2026, 3, 1))


def test_an_asynchronous_engine_is_refused_with_what_to_write(postgresql_database) -> None:
    async def call() -> None:
        with pytest.raises(RetentionError, match=r"run_sync\(lambda inner"):
            maintain(postgresql_database.async_engine(), event_table())

    postgresql_database.run(call())


def test_names_that_need_quotes_and_are_long_serve(server) -> None:
    engine = server.engine()
    table = Table(
        'Ev"ent ' + "x" * 50,
        MetaData(),
        Column("Id", BigInteger, primary_key=True, autoincrement=False),
        Column("Created At", DateTime, primary_key=True),
    )
    plan = partition(table, "Created At", every="1 day", days=2, ahead=1)
    table.metadata.create_all(engine)
    now = datetime.now(UTC)
    maintain(engine, plan, now=now + timedelta(days=1))
    assert maintain(engine, plan, now=now + timedelta(days=4)).dropped != ()


def test_own_statements_carry_the_option_by_which_the_recorder_leaves_them_out(server) -> None:
    from sqlalchemy import event as events

    engine = server.engine()
    plan = old_and_new(engine)
    seen: list[str] = []

    def note(conn, cursor, statement, parameters, context, executemany) -> None:
        if context is None or not context.execution_options.get("sa_perf_ignore"):
            seen.append(statement)

    events.listen(engine, "before_cursor_execute", note)
    maintain(engine, plan, now=LATER)
    move_from_default(engine, plan)
    status(engine, plan, now=LATER)
    assert seen == []


def test_a_database_of_another_schema_serves(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA log"))
    table = Table(
        "event",
        MetaData(schema="log"),
        Column("id", Integer, primary_key=True),
        Column("created_at", DateTime, primary_key=True),
    )
    plan = partition(table, days=40, ahead=1)
    made(engine, plan)
    run = maintain(engine, plan, now=LATER)
    assert [one.name for one in run.dropped] == ["event_2026_03", "event_2026_04"]
    assert run.created == ("event_2026_06", "event_2026_07")
