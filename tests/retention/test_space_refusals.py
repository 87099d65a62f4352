"""When space is not given back: no room, tables in use, roles without the right."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_mock_engine,
    event,
    insert,
    text,
)  # fmt: skip

from sa_perf.dialects.space import space_for
from sa_perf.errors import SpaceRefused, UnsupportedDatabase
from sa_perf.retention.space import analyze, estimate, reclaim

metadata = MetaData()
first, middle, last = (
    Table(name, metadata, Column("id", Integer, primary_key=True), Column("line", String(200)))
    for name in ("first", "middle", "last")
)
ROWS = 2_000
LOST = "SELECT pg_stat_reset_single_table_counters('first'::regclass)"


def filled(engine: Engine) -> Engine:
    """Three tables with rows."""
    metadata.create_all(engine)
    rows = [{"id": number, "line": "x" * 150} for number in range(1, ROWS + 1)]
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(insert(table), rows)
    return engine


def settled(engine: Engine, *statements: str) -> None:
    """Run statements outside of transactions."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


# Every database


def test_tables_beside_one_in_use_are_done_and_the_one_tells_why_it_was_not(db) -> None:
    engine = filled(db.engine())
    if db.backend == "sqlite":
        assert reclaim(engine)[0].refusal is None
        return
    how = "full" if db.backend == "postgresql" else "auto"
    with engine.connect() as user:
        user.execute(text("SELECT count(*) FROM middle")).all()
        done = reclaim(engine, how=how, blocking=True, lock_seconds=1, snapshot_seconds=3_600)
    by_name = {one.subject.rpartition(".")[2].strip("`"): one for one in done}
    assert {name: one.refusal is None for name, one in by_name.items()} == {
        "first": True, "last": True, "middle": False,
    }  # fmt: skip
    assert "middle was in use for longer than 1 s" in by_name["middle"].refusal.replace("`", "")


def test_a_database_that_is_not_known_is_refused_by_its_name() -> None:
    with pytest.raises(UnsupportedDatabase, match="does not know how oracle gives space back"):
        space_for(create_mock_engine("oracle://", lambda *_: None).dialect)


# PostgreSQL: room


@pytest.fixture
def crowded(postgresql_database) -> Engine:
    """An analyzed table, that nobody analyzes by himself."""
    engine = filled(postgresql_database.engine())
    settled(
        engine,
        "SELECT pg_stat_force_next_flush()",  # else the rows are counted once more behind VACUUM
        "ALTER TABLE first SET (autovacuum_enabled = off)",
        "VACUUM ANALYZE first",
    )
    return engine


def needed(engine: Engine) -> int:
    (one,) = estimate(engine, [first], how="full", blocking=True, snapshot_seconds=3_600)
    return one.temporary_bytes


def test_room_is_not_forgotten_with_the_statistics(crowded) -> None:
    before = needed(crowded)
    settled(crowded, LOST)
    (one,) = estimate(crowded, [first], how="full", snapshot_seconds=3_600)
    assert one.temporary_bytes == pytest.approx(before, rel=0.05)
    assert one.reclaimable_bytes < one.bytes_before // 5


def test_rows_that_came_after_the_last_analyze_count_when_the_statistics_are_lost(crowded) -> None:
    before = needed(crowded)
    settled(
        crowded,
        f"INSERT INTO first SELECT id + {ROWS}, line FROM first",
        "SELECT pg_stat_force_next_flush()",
        LOST,
    )
    assert needed(crowded) == pytest.approx(2 * before, rel=0.1)


def test_a_table_of_which_nothing_is_known_needs_room_for_all_of_it(crowded) -> None:
    settled(crowded, "ALTER TABLE first ADD COLUMN more text")  # it was never analyzed
    (one,) = estimate(crowded, [first], how="full", snapshot_seconds=3_600)
    assert one.temporary_bytes == 2 * one.bytes_before


def test_after_a_purge_that_was_counted_a_copy_needs_less(crowded) -> None:
    before = needed(crowded)
    settled(
        crowded,
        f"DELETE FROM first WHERE id < {ROWS * 9 // 10}",
        "SELECT pg_stat_force_next_flush()",
    )
    assert needed(crowded) < before / 4


@pytest.fixture
def stranger(crowded, postgresql_database) -> Iterator[Engine]:
    """An engine whose role owns the table, but may not ask where the data lie."""
    name = str(postgresql_database.url.database)
    settled(crowded, f"CREATE ROLE {name} LOGIN", f"ALTER TABLE first OWNER TO {name}")
    settled(crowded, f"GRANT SELECT ON middle TO {name}")
    yield postgresql_database.engine(query={"user": name})
    settled(crowded, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def test_a_full_vacuum_is_refused_where_it_is_unknown_whether_there_is_room(stranger) -> None:
    with pytest.raises(
        SpaceRefused, match=r"MB for a time, and what .* is not known .* free_bytes"
    ):
        reclaim(stranger, [first], how="full", blocking=True, snapshot_seconds=3_600)
    (done,) = reclaim(
        stranger, [first], how="full", blocking=True, free_bytes=10**9, snapshot_seconds=3_600
    )
    assert done.refusal is None


def test_a_plain_vacuum_needs_no_room_that_could_be_unknown(stranger) -> None:
    assert reclaim(stranger, [first], snapshot_seconds=3_600)[0].refusal is None


def test_a_table_of_somebody_else_is_refused_since_vacuum_only_warns(stranger) -> None:
    with pytest.raises(SpaceRefused, match=r"middle: this role may not vacuum it; .* its owner, p"):
        reclaim(stranger, [middle], snapshot_seconds=3_600)


def test_all_tables_are_those_that_the_role_may_vacuum(stranger) -> None:
    found = estimate(stranger, snapshot_seconds=3_600)
    assert [one.subject for one in found] == ["public.first"]


def test_whoever_was_granted_maintain_may_vacuum(crowded, stranger) -> None:
    name = stranger.url.query["user"]
    settled(crowded, f"GRANT MAINTAIN ON middle TO {name}")
    assert reclaim(stranger, [middle], snapshot_seconds=3_600)[0].refusal is None


# PostgreSQL: snapshots of replicas


@contextmanager
def replica(engine: Engine, slot: str | None) -> Iterator[None]:
    """Whoever holds back the oldest snapshot by hot_standby_feedback, as a standby would.

    https://www.postgresql.org/docs/18/protocol-replication.html: the message is "h", then the
    time, and the oldest transaction with its epoch.
    """
    from psycopg import pq

    with engine.connect() as connection:
        oldest = int(connection.execute(text("SELECT txid_current()")).scalar_one())
    where = f"host={engine.url.query['host']} user={engine.url.username} replication=true"
    with closing(Finishing(pq.PGconn.connect(where.encode()))) as held:
        server = held.server
        start = server.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2)
        if slot is not None:
            server.exec_(f"CREATE_REPLICATION_SLOT {slot} TEMPORARY PHYSICAL RESERVE_WAL".encode())
        named = "" if slot is None else f"SLOT {slot} "
        server.exec_(f"START_REPLICATION {named}PHYSICAL ".encode() + start)
        server.put_copy_data(struct.pack("!cqIIII", b"h", 0, oldest & 0xFFFFFFFF, 0, 0, 0))
        server.flush()
        with engine.connect() as connection:
            while not connection.exec_driver_sql(
                "SELECT (SELECT count(*) FROM pg_replication_slots WHERE xmin IS NOT NULL)"
                " + (SELECT count(*) FROM pg_stat_replication WHERE backend_xmin IS NOT NULL)"
            ).scalar():
                connection.rollback()
        yield


class Finishing:
    """A connection of libpq that is closed as others are."""

    def __init__(self, server) -> None:
        self.server = server

    def close(self) -> None:
        self.server.finish()


@pytest.mark.parametrize("slot", ["standby", None])
def test_a_replica_hinders_by_the_number_of_transactions_that_its_snapshot_is_old(
    postgresql_database, slot: str | None
) -> None:
    engine = filled(postgresql_database.engine())
    with replica(engine, slot):
        assert reclaim(engine, [first], snapshot_seconds=0)[0].refusal is None
        settled(engine, *["SELECT txid_current()"] * 20)
        assert reclaim(engine, [first], snapshot_seconds=0)[0].refusal is None
        holder = "replication slot standby" if slot else "walsender"
        with pytest.raises(SpaceRefused, match=rf"{holder}.* \d+ transactions old\) holds"):
            reclaim(engine, [first], snapshot_seconds=0, snapshot_transactions=10)


# MariaDB: other storage engines


@pytest.mark.parametrize("engine_name", ["MyISAM", "Aria"])
def test_a_table_that_is_locked_all_the_while_wants_to_be_allowed_to_block(
    mariadb_database, engine_name: str
) -> None:
    engine = mariadb_database.engine()
    filled(engine)
    settled(engine, f"ALTER TABLE first ENGINE = {engine_name}")
    settled(engine, f"DELETE FROM first WHERE id < {ROWS // 2}")
    with pytest.raises(SpaceRefused, match=rf"all the while \({engine_name}\).* blocking=True"):
        reclaim(engine, [first])
    (online,) = estimate(engine, [middle])
    assert (online.exclusive, online.refusals) == (False, ())
    (planned,) = estimate(engine, [first], blocking=True)
    (done,) = reclaim(engine, [first], blocking=True)
    assert planned.exclusive
    assert done.freed_bytes > 100_000
    if engine_name == "MyISAM":  # Aria counts no free pages
        assert done.freed_bytes == pytest.approx(planned.reclaimable_bytes, rel=0.3)


# What the application had set


@pytest.mark.parametrize(
    ("fixture", "setting", "own"),
    [
        pytest.param("postgresql_database", "lock_timeout", "7s", marks=pytest.mark.postgresql),
        pytest.param("mariadb_database", "lock_wait_timeout", "77", marks=pytest.mark.mariadb),
        ("sqlite_database", "busy_timeout", "7777"),
    ],
)
def test_what_the_application_had_set_is_put_back(request, fixture, setting, own) -> None:
    database = request.getfixturevalue(fixture)
    engine = database.engine(pool_size=1)
    words = {
        "postgresql": (f"SET lock_timeout = '{own}'", f"SHOW {setting}"),
        "mariadb": (f"SET SESSION {setting} = {own}", f"SELECT @@session.{setting}"),
        "sqlite": (f"PRAGMA {setting} = {own}", f"PRAGMA {setting}"),
    }
    change, question = words[database.backend]

    @event.listens_for(engine, "connect")
    def prepare(raw, record) -> None:
        cursor = raw.cursor()
        cursor.execute(change)
        cursor.close()
        raw.commit()

    filled(engine)
    reclaim(engine, [first], snapshot_seconds=3_600)
    with engine.connect() as connection:
        assert str(connection.exec_driver_sql(question).scalar()) == own


# SQLite


def test_a_table_whose_name_is_a_word_of_sql_is_analyzed(sqlite_database) -> None:
    engine = sqlite_database.engine()
    settled(
        engine, 'CREATE TABLE "order" (id INTEGER PRIMARY KEY)', 'INSERT INTO "order" VALUES (1)'
    )
    assert [one.table for one in analyze(engine)] == ["order"]
