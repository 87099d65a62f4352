from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    event,
    insert,
    text,
)  # fmt: skip
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sa_perf.errors import RetentionError, SpaceRefused
from sa_perf.retention.space import SpaceResult, analyze, estimate, reclaim, stale_statistics

ROWS = 20_000
metadata = MetaData()
log = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line", String(200)),
    Column("written_at", DateTime),
)
Index("ix_log_line", log.c.line)


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)


def fill(connection: Connection, rows: int = ROWS, *, first: int = 0) -> None:
    values = [{"id": first + n, "line": f"{n:06d} " + "x" * 100} for n in range(1, rows + 1)]
    connection.execute(insert(log), values)
    counted(connection)


def half_gone(engine: Engine) -> None:
    """A table of which the first half was deleted."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        fill(connection)
    analyzed(engine)
    with engine.begin() as connection:
        connection.execute(delete(log).where(log.c.id <= ROWS // 2))
        counted(connection)


def counted(connection: Connection) -> None:
    """PostgreSQL's backends tell their counts after a second, unless they are asked to."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_stat_force_next_flush()"))


def analyzed(engine: Engine) -> None:
    words = "ANALYZE TABLE log" if engine.dialect.name in ("mysql", "mariadb") else "ANALYZE log"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(words)


def no_sleep(seconds: float) -> None:
    """The tests' clock does not wait."""


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, bool]]]:
    """Statements that run meanwhile, and whether the recorder leaves each out."""
    seen: list[tuple[str, bool]] = []

    def note(conn, cursor, statement, parameters, context, executemany) -> None:
        options = {} if context is None else context.execution_options
        seen.append((statement, bool(options.get("sa_perf_ignore"))))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


# Every database


def test_space_of_deleted_rows_is_freed_for_the_disk_or_for_later_rows(db) -> None:
    engine = db.engine()
    half_gone(engine)
    (result,) = reclaim(engine, [log], sleep=no_sleep, snapshot_seconds=3_600)
    if db.backend == "postgresql":
        with engine.connect() as connection:
            dead = connection.scalar(text("SELECT n_dead_tup FROM pg_stat_user_tables"))
        assert (result.how, dead, result.notes) == ("vacuum", 0, ())
    else:
        assert result.freed_bytes > result.bytes_before // 4
    assert result.seconds > 0


def test_an_estimate_changes_nothing_and_is_near_what_is_freed(db) -> None:
    engine = db.engine()
    half_gone(engine)
    how = "full" if db.backend == "postgresql" else "auto"
    (before,) = estimate(engine, [log], how=how, blocking=True, snapshot_seconds=3_600)
    (again,) = estimate(engine, [log], how=how, blocking=True, snapshot_seconds=3_600)
    assert before.bytes_before == again.bytes_before
    assert before.refusals == ()
    (result,) = reclaim(engine, [log], how=how, blocking=True, snapshot_seconds=3_600)
    if db.backend == "mariadb":  # data_free counts whole extents of 1 MiB only
        assert 0 < before.reclaimable_bytes <= result.bytes_before
    else:
        assert before.reclaimable_bytes == pytest.approx(result.freed_bytes, rel=0.3)
    assert 0 < before.seconds < before.loaded_seconds


def test_no_room_on_the_disk_is_refused_with_numbers_before_anything_is_done(db) -> None:
    engine = db.engine()
    half_gone(engine)
    how = "full" if db.backend == "postgresql" else "auto"
    if db.name == "sqlite_memory":
        assert estimate(engine, [log], how=how)[0].temporary_bytes == 0
        return
    with statements(engine) as seen, pytest.raises(SpaceRefused, match=r"MB free; make room"):
        reclaim(engine, [log], how=how, blocking=True, free_bytes=1_000, snapshot_seconds=3_600)
    assert not [one for one, _ in seen if one.startswith(("VACUUM", "OPTIMIZE"))]


def test_free_space_of_a_disk_of_this_machine_is_measured(db) -> None:
    engine = db.engine()
    half_gone(engine)
    (one,) = estimate(engine, [log], snapshot_seconds=3_600)
    if db.name == "sqlite_memory":
        assert one.free_bytes is None
    else:
        assert one.free_bytes is not None
        assert one.free_bytes > 1_000_000


def test_earlier_results_set_the_time(db) -> None:
    engine = db.engine()
    half_gone(engine)
    how = "full" if db.backend == "postgresql" else "auto"
    (plain,) = estimate(engine, [log], how=how, snapshot_seconds=3_600)
    slow = SpaceResult(
        subject=plain.subject, how=plain.how, statement="", bytes_before=plain.bytes_before,
        bytes_after=0, live_bytes=plain.live_bytes, seconds=123.0, notes=(),
    )  # fmt: skip
    (one,) = estimate(engine, [log], how=how, snapshot_seconds=3_600, earlier=[slow])
    assert one.seconds == pytest.approx(123.0)
    assert one.loaded_seconds == pytest.approx(123.0)


def test_without_tables_all_of_the_schema_are_meant(db) -> None:
    engine = db.engine()
    half_gone(engine)
    Base.metadata.create_all(engine)
    subjects = [one.subject for one in estimate(engine, snapshot_seconds=3_600)]
    if db.backend == "sqlite":
        assert len(subjects) == 1
    else:
        assert [one.rpartition(".")[2] for one in subjects] == ["log", "note"]


def test_classes_and_metadata_are_taken_like_tables(db) -> None:
    engine = db.engine()
    Base.metadata.create_all(engine)
    (by_class,) = estimate(engine, [Note], snapshot_seconds=3_600)
    (by_metadata,) = estimate(engine, Base.metadata, snapshot_seconds=3_600)
    assert by_class.statement == by_metadata.statement


def test_a_thing_that_is_no_table_is_refused(db) -> None:
    with pytest.raises(RetentionError, match="'log' is neither a table nor a class"):
        estimate(db.engine(), ["log"])


def test_a_way_that_the_database_does_not_know_is_refused_with_those_that_it_knows(db) -> None:
    unknown = "optimize" if db.backend != "mariadb" else "full"
    with pytest.raises(RetentionError, match=f"how='{unknown}' is no way of .*; ways are: '"):
        reclaim(db.engine(), how=unknown)


def test_own_statements_carry_the_option_by_which_the_recorder_leaves_them_out(db) -> None:
    engine = db.engine()
    half_gone(engine)
    with statements(engine) as seen:
        reclaim(engine, [log], sleep=no_sleep, snapshot_seconds=3_600)
        stale_statistics(engine, [log])
        analyze(engine, [log])
    assert [one for one, ignored in seen if not ignored] == []


def test_stale_statistics_are_found_and_read_anew(db) -> None:
    engine = db.engine()
    with engine.begin() as connection:
        options = " STATS_AUTO_RECALC=0, STATS_PERSISTENT=1" if db.backend == "mariadb" else ""
        if db.backend == "postgresql":
            options = " WITH (autovacuum_enabled = off)"
        connection.exec_driver_sql(
            "CREATE TABLE log (id integer PRIMARY KEY, line varchar(200), "
            f"written_at timestamp NULL){options}"
        )
        fill(connection, 100)
    analyzed(engine)
    assert stale_statistics(engine, [log]) == []
    with engine.begin() as connection:
        fill(connection, 5_000, first=100)
    (found,) = stale_statistics(engine, [log])
    assert found.known_rows == 100
    assert "rows" in found.reason
    assert len(analyze(engine, [log])) == 1
    assert stale_statistics(engine, [log]) == []


def test_a_table_that_was_never_analyzed_is_stale(sqlite_database) -> None:
    engine = sqlite_database.engine()
    metadata.create_all(engine)
    assert stale_statistics(engine) == []
    with engine.begin() as connection:
        fill(connection, 10)
    (found,) = stale_statistics(engine)
    assert (found.table, found.known_rows, found.reason) == ("log", None, "it was never analyzed")


# Asynchronous engines


def test_an_asynchronous_engine_is_refused_with_what_to_write(async_db) -> None:
    async def call() -> None:
        with pytest.raises(RetentionError, match=r"run_sync\(lambda inner"):
            estimate(async_db.async_engine())

    async_db.run(call())


def test_within_run_sync_an_asynchronous_engine_serves(async_db) -> None:
    async def call() -> list[SpaceResult]:
        engine = async_db.async_engine()
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        async with engine.connect() as connection:
            return await connection.run_sync(
                lambda inner: reclaim(inner.engine, [log], snapshot_seconds=3_600)
            )

    assert len(async_db.run(call())) == 1


# SQLite


def incremental(engine: Engine) -> Engine:
    @event.listens_for(engine, "connect")
    def prepare(dbapi_connection, record) -> None:
        dbapi_connection.execute("PRAGMA auto_vacuum = 2")
        dbapi_connection.execute("PRAGMA journal_mode = WAL")

    return engine


def test_incremental_vacuum_frees_every_page_in_steps_with_pauses(sqlite_database) -> None:
    engine = incremental(sqlite_database.engine())
    half_gone(engine)
    with engine.begin() as connection:
        connection.execute(delete(log))
    pauses: list[float] = []
    (result,) = reclaim(engine, sleep=pauses.append)
    pages = result.freed_bytes // 4_096
    assert result.how == "incremental"
    assert result.bytes_after == result.live_bytes < 100_000
    assert len(pauses) == pages // 1_000
    assert os.path.getsize(sqlite_database.url.database) == result.bytes_after


def test_incremental_vacuum_of_a_file_not_made_for_it_is_refused(sqlite_database) -> None:
    engine = sqlite_database.engine()
    half_gone(engine)
    with pytest.raises(SpaceRefused, match="auto_vacuum is 0, so it frees nothing; set PRAGMA"):
        reclaim(engine, how="incremental")


def test_one_vacuum_fits_a_file_for_incremental_vacuum(sqlite_database) -> None:
    engine = sqlite_database.engine()
    half_gone(engine)
    reclaim(engine, how="vacuum", make_incremental=True)
    with engine.begin() as connection:
        connection.execute(delete(log))
    (result,) = reclaim(engine, sleep=no_sleep)
    assert result.how == "incremental"
    assert result.freed_bytes > 0


def test_after_a_vacuum_the_wal_file_is_empty(sqlite_database) -> None:
    engine = sqlite_database.engine()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    half_gone(engine)
    (expected,) = estimate(engine)
    (result,) = reclaim(engine)
    file = str(sqlite_database.url.database)
    assert result.notes == ()
    assert os.path.getsize(f"{file}-wal") == 0
    assert os.path.getsize(file) == result.bytes_after
    # The copy loses half-filled pages, too.
    assert result.bytes_after == pytest.approx(expected.live_bytes, rel=0.1)
    assert result.bytes_after <= expected.live_bytes


def test_a_reader_that_keeps_the_wal_file_long_is_told_of(sqlite_database) -> None:
    engine = sqlite_database.engine()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    half_gone(engine)
    with engine.connect() as reader:
        reader.execute(text("BEGIN"))
        reader.execute(text("SELECT count(*) FROM log")).all()
        (result,) = reclaim(engine, lock_seconds=0.05)
    assert "a reader keeps the -wal file from being cut" in result.notes[0]


def test_a_writer_that_does_not_end_is_not_waited_for(sqlite_database) -> None:
    engine = sqlite_database.engine()
    half_gone(engine)
    with engine.connect() as writer:
        writer.execute(text("INSERT INTO log (id) VALUES (99999999)"))
        (result,) = reclaim(engine, lock_seconds=0.05)
    assert "somebody reads or writes for longer than 0.05 s" in result.refusal
    assert result.freed_bytes == 0


def test_writers_get_in_between_the_steps(sqlite_database) -> None:
    engine = incremental(sqlite_database.engine())
    half_gone(engine)
    with engine.begin() as connection:
        connection.execute(delete(log))
    written: list[int] = []

    def write(seconds: float) -> None:
        with sqlite3.connect(str(sqlite_database.url.database), timeout=0) as other:
            number = 1_000_000 + len(written)
            other.execute("INSERT INTO log (id) VALUES (?)", (number,))
            written.append(number)
        other.close()

    reclaim(engine, sleep=write)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM log")) == len(written) > 0


def test_the_time_to_wait_for_locks_is_put_back(sqlite_database) -> None:
    engine = sqlite_database.engine(pool_size=1)
    half_gone(engine)
    reclaim(engine, lock_seconds=1.5)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5_000


# PostgreSQL


def test_a_full_vacuum_wants_to_be_allowed_to_block(postgresql_database) -> None:
    engine = postgresql_database.engine()
    half_gone(engine)
    with pytest.raises(SpaceRefused, match=r"'full' blocks everybody .* say blocking=True"):
        reclaim(engine, [log], how="full")
    (result,) = reclaim(engine, [log], how="full", blocking=True)
    assert result.freed_bytes > result.bytes_before // 3


def test_a_vacuum_that_an_old_snapshot_would_bring_to_naught_is_refused(
    postgresql_database,
) -> None:
    engine = postgresql_database.engine()
    metadata.create_all(engine)
    with engine.begin() as connection:
        fill(connection)
    old = postgresql_database.engine(
        isolation_level="REPEATABLE READ", connect_args={"application_name": "report"}
    )
    with old.connect() as reader:
        reader.execute(text("SELECT count(*) FROM log")).all()
        with engine.begin() as connection:
            connection.execute(delete(log))
        with pytest.raises(SpaceRefused, match=r"report \(idle in transaction\) \(pid \d+, .* old"):
            reclaim(engine, [log], snapshot_seconds=0)
        (kept,) = reclaim(engine, [log], snapshot_seconds=3_600)
        assert kept.notes == (f"{ROWS:,} dead rows had to stay: a transaction may still see them",)
    (freed,) = reclaim(engine, [log], snapshot_seconds=0)
    assert freed.notes == ()


def test_a_table_in_use_is_left_to_the_application(postgresql_database) -> None:
    engine = postgresql_database.engine()
    half_gone(engine)
    with engine.connect() as user:
        user.execute(text("SELECT count(*) FROM log")).all()
        (result,) = reclaim(
            engine, [log], how="full", blocking=True, lock_seconds=0.05, snapshot_seconds=3_600
        )
    assert "log was in use for longer than 0.05 s" in result.refusal


def test_partitions_count_with_their_table(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE log (id int, line text) PARTITION BY RANGE (id)")
        part = "CREATE TABLE log_{} PARTITION OF log FOR VALUES FROM ({}) TO ({})"
        connection.exec_driver_sql(part.format(1, 0, ROWS // 2 + 1))
        connection.exec_driver_sql(part.format(2, ROWS // 2 + 1, ROWS + 1))
        fill(connection)
        connection.execute(delete(log).where(log.c.id <= ROWS // 2))
    (one,) = estimate(engine, [log], snapshot_seconds=3_600)
    assert one.bytes_before > 2_000_000
    (result,) = reclaim(engine, [log], snapshot_seconds=3_600)
    assert result.freed_bytes > 0  # the first partition is empty, so its file is cut


# MariaDB


def test_optimize_leaves_a_table_in_use_to_the_application(mariadb_database) -> None:
    engine = mariadb_database.engine()
    half_gone(engine)
    with engine.connect() as user:
        user.execute(text("SELECT count(*) FROM log")).all()
        (result,) = reclaim(engine, [log], lock_seconds=1)
    assert "log was in use for longer than 1 s" in result.refusal
    assert reclaim(engine, [log], lock_seconds=1)[0].freed_bytes > 0


def test_a_shared_tablespace_never_shrinks(mariadb_database) -> None:
    engine = mariadb_database.engine()
    half_gone(engine)
    with engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT @@global.innodb_file_per_table").scalar()
        connection.exec_driver_sql("SET GLOBAL innodb_file_per_table = 0")
        try:
            with pytest.raises(SpaceRefused, match="innodb_file_per_table is off"):
                reclaim(engine, [log])
        finally:
            connection.exec_driver_sql(f"SET GLOBAL innodb_file_per_table = {before}")
