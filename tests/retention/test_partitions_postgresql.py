"""What else goes on at a table whose partitions are dropped: administrators, keys, late rows."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    MetaData,
    String,
    Table,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.schema import CreateTable

from sa_perf.errors import PartitionError
from sa_perf.retention.partitions import (
    PartitionPlan,
    attach,
    create_parent_ddl,
    maintain,
    partition,
    status,
)

UTC = timezone.utc
MADE = datetime(2026, 3, 15, tzinfo=UTC)
LATER = datetime(2026, 6, 15, tzinfo=UTC)
MARCH, APRIL = "event_2026_03", "event_2026_04"


def event_plan(name: str = "event", **options: Any) -> PartitionPlan:
    table = Table(
        name,
        MetaData(),
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("created_at", DateTime(timezone=True), primary_key=True),
        Column("kind", String(2_000)),
    )
    return partition(table, **{"every": "1 month", "ahead": 3, "days": 40, **options})


def old(engine: Engine, **options: Any) -> PartitionPlan:
    """Partitions of March to June, with a row each in March, April and June."""
    plan = event_plan(**options)
    with engine.begin() as connection:
        for statement in create_parent_ddl(plan, engine.dialect, now=MADE):
            connection.exec_driver_sql(statement)
        rows = [
            {"id": month, "created_at": datetime(2026, month, 10, tzinfo=UTC)}
            for month in (3, 4, 6)
        ]
        connection.execute(insert(plan.table), rows)
    return plan


def said(engine: Engine, *statements: str) -> None:
    """What an administrator or the application does."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def asked(engine: Engine, sql: str) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(sql).scalar()


def ids(engine: Engine, plan: PartitionPlan) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(select(plan.table.c.id).order_by(plan.table.c.id)))


def checks(engine: Engine, table: str) -> list[str]:
    return [
        str(one["name"])
        for one in inspect(engine).get_check_constraints(table)
        if str(one["name"]).startswith("sa_perf")
    ]


def no_sleep(seconds: float) -> None:
    """The tests' clock does not wait."""


def upkeep(engine: Engine, plan: PartitionPlan, **options: Any) -> Any:
    return maintain(engine, plan, now=LATER, sleep=no_sleep, **options)


# Whose table it is


def test_a_partition_that_somebody_else_detaches_meanwhile_is_not_dropped(
    postgresql_database,
) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)

    def archive(connection, table, rows) -> None:
        if table.name == MARCH:
            said(
                postgresql_database.engine(),
                f"ALTER TABLE event DETACH PARTITION {APRIL}",
                f"COMMENT ON TABLE {APRIL} IS 'kept for the auditors'",
            )

    run = upkeep(engine, plan, before_drop=archive)
    assert [one.name for one in run.dropped] == [MARCH]
    assert [(one.name, one.reason) for one in run.kept] == [
        (APRIL, "somebody else detached or dropped it meanwhile")
    ]
    assert asked(engine, f"SELECT count(*) FROM {APRIL}") == 1


def test_a_detaching_that_fails_leaves_no_mark_by_which_the_table_is_dropped(
    postgresql_database,
) -> None:
    engine = postgresql_database.engine()
    plan = old(engine, default=False)
    said(engine, f"COMMENT ON TABLE {MARCH} IS 'March'")
    with engine.connect() as other:
        other.exec_driver_sql("LOCK TABLE ONLY event IN SHARE UPDATE EXCLUSIVE MODE")
        run = upkeep(engine, event_plan(default=False, ahead=0), lock_seconds=0.05, tries=2)
    assert [one.name for one in run.kept] == [MARCH, APRIL]
    assert asked(engine, f"SELECT obj_description('{MARCH}'::regclass)") == "March"
    said(engine, f"ALTER TABLE event DETACH PARTITION {MARCH}")
    assert [one.name for one in upkeep(engine, plan).dropped] == [APRIL]
    assert inspect(engine).has_table(MARCH)


def detached_by_a_killed_run(engine: Engine, plan: PartitionPlan) -> None:
    kind = plan.partitioning(engine.dialect)
    with kind.connection(engine) as connection:
        with kind.yielding(connection, lock_seconds=1):
            parts = kind.parts(connection)
        kind.detach(connection, parts[0], lock_seconds=1)


def test_a_mark_of_what_was_only_meant_lets_nobody_drop_the_table(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine, default=False)
    detached_by_a_killed_run(engine, plan)
    mark = asked(engine, f"SELECT obj_description('{MARCH}'::regclass)")
    meant = mark.replace("sa_perf: detached", "sa_perf: to be detached")
    said(engine, f"COMMENT ON TABLE {MARCH} IS '{meant}'")
    assert [one.name for one in upkeep(engine, plan).dropped] == [APRIL]
    found = status(engine, plan, now=LATER)
    assert found.detached == ()
    assert MARCH in found.warnings[-1]
    assert "a run that was to detach it ended, and somebody else may have" in found.warnings[-1]


def test_a_detached_table_that_was_renamed_is_not_dropped(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    detached_by_a_killed_run(engine, plan)
    said(engine, f"ALTER TABLE {MARCH} RENAME TO evidence")
    assert [one.name for one in upkeep(engine, plan).dropped] == [APRIL]
    assert asked(engine, "SELECT count(*) FROM evidence") == 1
    (warning,) = status(engine, plan, now=LATER).warnings
    assert f"its comment was written for public.{MARCH}" in warning
    assert "COMMENT ON TABLE public.evidence IS NULL" in warning


def test_a_comment_that_somebody_wrote_on_is_no_mark(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    detached_by_a_killed_run(engine, plan)
    said(engine, f"COMMENT ON TABLE {MARCH} IS 'sa_perf: detached {{ but kept'")
    assert [one.name for one in upkeep(engine, plan).dropped] == [APRIL]
    assert inspect(engine).has_table(MARCH)


def test_a_table_that_is_attached_again_has_its_own_comment(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(engine, f"COMMENT ON TABLE {MARCH} IS 'it''s March'")
    detached_by_a_killed_run(engine, plan)
    march, april = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4))
    attach(engine, plan, table=MARCH, lower=march, upper=april)
    assert asked(engine, f"SELECT obj_description('{MARCH}'::regclass)") == "it's March"


def test_a_detaching_that_somebody_else_began_is_not_ended(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine, default=False)
    with engine.connect() as reader, engine.connect() as other:
        reader.execute(select(plan.table)).all()
        other.execution_options(isolation_level="AUTOCOMMIT")
        other.exec_driver_sql("SET lock_timeout = '50ms'")
        with pytest.raises(Exception, match="lock timeout"):
            other.exec_driver_sql(f"ALTER TABLE event DETACH PARTITION {MARCH} CONCURRENTLY")
    run = upkeep(engine, plan)
    assert run.dropped == ()
    assert "somebody else began to detach it" in run.kept[0].reason


@pytest.mark.parametrize("default", [True, False])
def test_a_partition_of_another_schema_is_dropped_and_no_table_of_its_name(
    postgresql_database, default
) -> None:
    engine = postgresql_database.engine()
    plan = old(engine, default=default)
    said(
        engine,
        "CREATE SCHEMA parts",
        f"ALTER TABLE {MARCH} SET SCHEMA parts",
        f"CREATE TABLE {MARCH} (precious int)",
    )
    first = status(engine, plan, now=LATER).partitions[0]
    assert (first.name, first.schema) == (MARCH, "parts")
    seen: list[str] = []
    run = upkeep(engine, plan, before_drop=lambda c, table, rows: seen.append(table.fullname))
    assert [one.name for one in run.dropped] == [MARCH, APRIL]
    assert seen == [f"parts.{MARCH}", APRIL]
    assert inspect(engine).has_table(MARCH)
    assert inspect(engine).has_table(MARCH, schema="parts") is False


def test_what_a_killed_run_has_detached_in_another_schema_is_dropped(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(engine, "CREATE SCHEMA parts", f"ALTER TABLE {MARCH} SET SCHEMA parts")
    detached_by_a_killed_run(engine, plan)
    assert [one.name for one in upkeep(engine, plan).dropped] == [MARCH, APRIL]
    assert ids(engine, plan) == [6]


def test_partitions_are_their_parents_owners(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(
        engine,
        "DO $$ BEGIN CREATE ROLE sa_perf_app; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "ALTER TABLE event OWNER TO sa_perf_app",
    )
    (made, *_) = upkeep(engine, plan).created
    owner = f"SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = '{made}'"
    assert asked(engine, owner) == "sa_perf_app"


# Foreign keys


def test_a_partition_that_rows_refer_to_stays_with_the_keys_name(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(
        engine,
        "CREATE TABLE line (event_id bigint, at timestamptz, CONSTRAINT fk_line "
        "FOREIGN KEY (event_id, at) REFERENCES event)",
        "INSERT INTO line VALUES (3, '2026-03-10+00'), (NULL, '2026-04-10+00')",
    )
    run = upkeep(engine, plan)
    assert [(one.name, one.reason) for one in run.kept] == [
        (MARCH, "rows of line refer to it by the foreign key fk_line; delete those first")
    ]
    assert [one.name for one in run.dropped] == [APRIL]
    said(engine, "DELETE FROM line")
    assert [one.name for one in upkeep(engine, plan).dropped] == [MARCH]


def test_a_key_of_a_table_that_cannot_be_read_is_told(postgresql_database) -> None:
    old(postgresql_database.engine())
    said(
        postgresql_database.engine(),
        "DO $$ BEGIN CREATE ROLE sa_perf_app; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "GRANT CREATE ON SCHEMA public TO sa_perf_app",
        "CREATE TABLE line (event_id bigint, at timestamptz, CONSTRAINT fk_line "
        "FOREIGN KEY (event_id, at) REFERENCES event)",
        "INSERT INTO line VALUES (3, '2026-03-10+00')",
        *(f"ALTER TABLE {name} OWNER TO sa_perf_app" for name in ("event", MARCH, APRIL)),
        "ALTER TABLE event_default OWNER TO sa_perf_app",
    )
    engine = postgresql_database.engine()

    @event.listens_for(engine, "connect")
    def act(connection, record) -> None:
        connection.execute("SET ROLE sa_perf_app")
        connection.commit()

    run = upkeep(engine, event_plan(ahead=0))
    assert [one.name for one in run.kept] == [MARCH, APRIL]
    assert "fk_line" in run.kept[0].reason


# Late rows


@pytest.mark.parametrize("bulk", [0, 20_000])
def test_rows_that_came_meanwhile_go_back_with_their_partition(postgresql_database, bulk) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(
        engine,
        "INSERT INTO event SELECT n, '2030-01-01+00', repeat('x', 500) "
        f"FROM generate_series(1, {bulk}) n",
    )

    def archive(connection, table, rows) -> None:
        said(postgresql_database.engine(), "INSERT INTO event VALUES (77, '2026-03-11+00')")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        upkeep(engine, plan, before_drop=archive)
    assert asked(engine, f"SELECT array_agg(id ORDER BY id) FROM {MARCH}") == [3, 77]
    assert status(engine, plan, now=LATER).detached == ()
    assert checks(engine, MARCH) == checks(engine, "event_default") == []
    run = upkeep(engine, plan, must_keep=lambda c: c.id == 3)
    assert [one.name for one in run.kept] == [MARCH]
    assert asked(engine, "SELECT count(*) FROM event WHERE created_at < '2026-05-01+00'") == 2


def test_a_late_row_with_a_key_that_is_there_is_told(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    detached_by_a_killed_run(engine, plan)
    said(engine, "INSERT INTO event VALUES (3, '2026-03-10+00')")
    kind = plan.partitioning(engine.dialect)
    with kind.connection(engine) as connection:
        with kind.yielding(connection, lock_seconds=1):
            (left,) = kind.detached(connection)
        with pytest.raises(PartitionError, match="with keys that it has too"):
            kind.attach_back(connection, left, lock_seconds=1)
    assert checks(engine, MARCH) == []


# Nobody waits while a table is read


def notices(engine: Engine, seen: list[str]) -> None:
    """Note what PostgreSQL reads, as it says at this level."""

    @event.listens_for(engine, "connect")
    def listen(connection, record) -> None:
        connection.add_notice_handler(lambda notice: seen.append(notice.message_primary))
        connection.execute("SET client_min_messages = debug1")
        connection.commit()


def test_a_partition_is_put_back_without_reading_it_under_a_lock(postgresql_database) -> None:
    plan = old(postgresql_database.engine())
    engine, seen = postgresql_database.engine(), list[str]()
    notices(engine, seen)
    upkeep(engine, plan)
    seen.clear()
    plan = event_plan()
    detached_by_a_killed_run(engine, plan)
    kind = plan.partitioning(engine.dialect)
    with kind.connection(engine) as connection:
        with kind.yielding(connection, lock_seconds=1):
            (left,) = kind.detached(connection)
        kind.attach_back(connection, left, lock_seconds=1)
    proof = f'partition constraint for table "{left.table}" is implied by existing constraints'
    assert proof in seen
    read = seen.index(f'verifying table "{left.table}"')
    assert seen.count(f'verifying table "{left.table}"') == 1  # for the constraint
    assert read < seen.index(proof)


def test_a_big_default_partition_is_not_read_under_a_lock(postgresql_database) -> None:
    plan = old(postgresql_database.engine())
    engine, seen = postgresql_database.engine(), list[str]()
    said(
        engine,
        "INSERT INTO event SELECT n, '2030-01-01+00', repeat('x', 500) "
        "FROM generate_series(1, 20000) n",
    )
    notices(engine, seen)
    engine.dispose()
    created = maintain(engine, plan, now=LATER).created
    assert created == ("event_2026_07", "event_2026_08", "event_2026_09")
    proof = (
        'updated partition constraint for default partition "event_default" is implied by '
        "existing constraints"
    )
    assert seen.count(proof) == 3
    assert checks(engine, "event_default") == []


def test_what_a_killed_run_left_on_the_default_partition_is_taken_off(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(
        engine,
        "ALTER TABLE event_default ADD CONSTRAINT sa_perf_attaching "
        "CHECK (created_at < '2026-07-01+00' OR created_at >= '2026-08-01+00')",
    )
    upkeep(engine, plan)
    assert checks(engine, "event_default") == []


# Attaching


def test_bounds_that_overlap_are_refused_and_leave_nothing(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(engine, "CREATE TABLE past (LIKE event)")
    lower, upper = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(PartitionError, match=r"'past' cannot be a partition .* would overlap"):
        attach(engine, plan, table="past", lower=lower, upper=upper)
    assert checks(engine, "past") == []


def test_rows_of_a_tables_time_in_the_default_partition_are_told(postgresql_database) -> None:
    engine = postgresql_database.engine()
    plan = old(engine)
    said(engine, "CREATE TABLE past (LIKE event)", "INSERT INTO event VALUES (1, '2026-02-02+00')")
    lower, upper = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(PartitionError, match="lie in the default partition event_default"):
        attach(engine, plan, table="past", lower=lower, upper=upper)
    assert checks(engine, "past") == []


# What is made, and what is left as it was


def test_a_default_partition_that_is_declared_and_missing_is_told_and_made(
    postgresql_database,
) -> None:
    engine = postgresql_database.engine()
    plan = event_plan()
    with engine.begin() as connection:
        connection.execute(CreateTable(plan.table))  # as a migration does
    assert any("default partition" in one for one in status(engine, plan, now=LATER).warnings)
    assert upkeep(engine, plan).created[-1] == "event_default"
    found = status(engine, plan, now=LATER)
    assert found.partitions[-1].is_default
    assert found.warnings == ()
    assert upkeep(engine, plan).created == ()


@pytest.mark.parametrize("default", [True, False])
def test_the_sessions_own_lock_timeout_is_put_back(postgresql_database, default) -> None:
    engine = postgresql_database.engine(pool_size=1, max_overflow=0)
    plan = old(postgresql_database.engine(), default=default)

    @event.listens_for(engine, "connect")
    def limit(connection, record) -> None:
        connection.execute("SET lock_timeout = '7s'")
        connection.commit()

    assert len(upkeep(engine, plan).dropped) == 2
    assert asked(engine, "SHOW lock_timeout") == "7s"


# pg_partman


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("Event", "public.Event"),
        ("event", "public.event"),
        ("order events", "public.order events"),
        ("Event", 'public."Event"'),
    ],
)
def test_pg_partman_names_tables_without_quotes(postgresql_database, name, entry) -> None:
    engine = postgresql_database.engine()
    plan, other = event_plan(name), event_plan("other")
    plan.table.metadata.create_all(engine)
    other.table.metadata.create_all(engine)
    said(
        engine,
        "CREATE SCHEMA partman",
        "CREATE TABLE partman.part_config (parent_table text PRIMARY KEY, control text, "
        "partition_interval text, premake int, retention text)",
        f"INSERT INTO partman.part_config VALUES ('{entry}', 'created_at', '1 mon', 4, NULL)",
    )
    assert (
        status(engine, plan).managed_by
        == "pg_partman (partman.part_config: every 1 mon, premake 4)"
    )
    assert status(engine, other).managed_by is None
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(other.table)) == 0
