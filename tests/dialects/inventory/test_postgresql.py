"""PostgreSQL's inventory: constraints, partitions, sequences, privileges, what is broken."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.inventory import Inventory, SchemaIndex, read_inventory


def made(engine: Engine, *statements: str) -> Inventory:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    with engine.connect() as connection:
        return read_inventory(connection)


def by_name(found: Inventory) -> dict[str, SchemaIndex]:
    return {index.name: index for table in found.tables for index in table.indexes}


def test_what_makes_two_indexes_differ_is_told(postgresql_database) -> None:
    indexes = by_name(
        made(
            postgresql_database.engine(),
            'CREATE TABLE t (a text, b text COLLATE "C", c int)',
            "CREATE INDEX i1 ON t (a DESC NULLS LAST, lower(b), c) INCLUDE (b) WHERE c > 1",
            'CREATE INDEX i2 ON t (a COLLATE "C", b COLLATE "default", a text_pattern_ops)',
            "CREATE INDEX i3 ON t USING brin (c) WITH (pages_per_range = 8)",
            "CREATE INDEX i4 ON t USING hash (c)",
        )
    )
    one = indexes["i1"]
    assert [(part.text, part.nulls_first) for part in one.parts] == [
        ("a DESC", False), ("(lower(b)) COLLATE C", False), ("c", False),
    ]  # fmt: skip
    assert (one.include, one.predicate) == (("b",), "(c > 1)")
    assert [part.kind for part in indexes["i2"].parts] == [
        "COLLATE C", "COLLATE default", "text_pattern_ops",
    ]  # fmt: skip
    assert [(one.method, one.ordered) for one in (indexes["i3"], indexes["i4"])] == [
        ("brin (pages_per_range=8)", False),
        ("hash", False),
    ]


def test_indexes_that_something_needs_are_pinned(postgresql_database) -> None:
    indexes = by_name(
        made(
            postgresql_database.engine(),
            "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL UNIQUE, b int, c int NOT NULL,"
            " EXCLUDE USING gist (int4range(b, b, '[]') WITH &&), UNIQUE (b) DEFERRABLE)",
            "CREATE UNIQUE INDEX identity ON t (c)",
            "ALTER TABLE t REPLICA IDENTITY USING INDEX identity",
            "CREATE UNIQUE INDEX target ON t (a, b)",
            "CREATE TABLE child (a int, b int, FOREIGN KEY (a, b) REFERENCES t (a, b))",
            "CREATE INDEX ordered ON t (b)",
            "CLUSTER t USING ordered",
        )
    )
    pinned = {name: one.pinned for name, one in indexes.items() if one.pinned}
    assert pinned == {
        "identity": "it is the table's replica identity",
        "ordered": "the table was put in its order by CLUSTER",
        "target": "foreign key child_a_b_fkey of public.child needs it",
        "t_int4range_excl": "it keeps an exclusion constraint",
    }
    constraints = {name: one.constraint for name, one in indexes.items() if one.constraint}
    assert set(constraints) == {"t_pkey", "t_a_key", "t_b_key", "t_int4range_excl"}
    assert indexes["t_b_key"].deferrable


def test_uniqueness_of_null_is_told(postgresql_database) -> None:
    indexes = by_name(
        made(
            postgresql_database.engine(),
            "CREATE TABLE t (a int)",
            "CREATE UNIQUE INDEX strict ON t (a) NULLS NOT DISTINCT",
            "CREATE UNIQUE INDEX usual ON t (a)",
        )
    )
    assert [indexes[name].nulls_distinct for name in ("strict", "usual")] == [False, True]


def test_an_index_whose_making_was_cut_short_is_invalid(postgresql_database) -> None:
    engine = postgresql_database.engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t AS SELECT 1 AS a FROM generate_series(1, 2)")
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)")
        found = by_name(read_inventory(connection))
    assert (found["broken"].usable, "cut short" in (found["broken"].invalid or "")) == (False, True)


def test_an_index_that_is_being_built_is_not_broken(postgresql_database) -> None:
    engine = postgresql_database.engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a int)")
        with engine.connect() as holder, postgresql_database.engine().connect() as writer:
            writer.exec_driver_sql("INSERT INTO t VALUES (1)")
            thread = threading.Thread(
                target=holder.exec_driver_sql, args=("CREATE INDEX CONCURRENTLY slow ON t (a)",)
            )
            thread.start()
            for _ in range(1_000):  # until it waits for the writer
                if "slow" in (found := by_name(read_inventory(connection))):
                    break
            writer.rollback()
            thread.join()
        after = by_name(read_inventory(connection))
    assert (found["slow"].usable, found["slow"].invalid) == (False, None)
    assert (after["slow"].usable, after["slow"].invalid) == (True, None)


def test_a_partitioned_table_is_one_with_the_sums_of_its_parts(postgresql_database) -> None:
    found = made(
        postgresql_database.engine(),
        "CREATE TABLE t (id int, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"
        " PARTITION BY LIST (id)",
        "CREATE TABLE t11 PARTITION OF t1 FOR VALUES IN (1)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
        "CREATE INDEX whole ON t (at)",
        "CREATE INDEX own ON t2 (id)",
        "CREATE INDEX half ON ONLY t (id)",
        "INSERT INTO t SELECT 1, date '2020-01-01' + i FROM generate_series(1, 360) i",
    )
    (table,) = found.tables
    indexes = {one.name: one for one in table.indexes}
    assert set(indexes) == {"t_pkey", "whole", "half"}
    assert (indexes["whole"].bytes or 0) >= 2 * 8_192
    assert indexes["whole"].scans == 0
    assert indexes["half"].invalid == "not every partition has its part of it"
    assert [len(one) for one in table.partition_indexes] == [2, 3]
    assert (table.partitioned, (table.rows_estimate or 0) > 0) == (True, True)


def test_sequences_are_told_with_the_columns_that_take_from_them(postgresql_database) -> None:
    found = made(
        postgresql_database.engine(),
        "CREATE SCHEMA other",
        "CREATE TABLE a (id serial PRIMARY KEY)",
        "CREATE TABLE other.b (id int GENERATED ALWAYS AS IDENTITY (MAXVALUE 100 CYCLE))",
        "CREATE SEQUENCE big",
        "CREATE DOMAIN small AS smallint",
        "CREATE TABLE c (id small DEFAULT nextval('big'))",
        "CREATE TABLE d (id text DEFAULT nextval('big'))",
        "CREATE SEQUENCE lone INCREMENT -2 MINVALUE -9",
        "SELECT setval('big', 30000)",
        "SELECT setval('lone', -5)",
        "CREATE TEMPORARY SEQUENCE gone",
    )
    told = {
        (one.sequence, one.table): (
            one.schema, one.column_type, one.last, one.limit,
            one.limited_by_column, one.limited_by_sequence, one.cycles,
        )
        for one in found.counters
    }  # fmt: skip
    assert told == {
        ("a_id_seq", "a"): ("public", "integer", None, 2**31 - 1, True, True, False),
        ("b_id_seq", "b"): ("other", "integer", None, 100, False, True, True),
        ("big", "c"): ("public", "smallint", 30_000, 2**15 - 1, True, False, False),
        ("big", "d"): ("public", "text", 30_000, 2**63 - 1, False, True, False),
        ("lone", None): ("public", None, -5, -9, False, True, False),
    }


def test_two_schemas_are_told_apart(postgresql_database) -> None:
    engine = postgresql_database.engine()
    found = made(
        engine,
        "CREATE SCHEMA other",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE other.t (id int PRIMARY KEY, t_id int REFERENCES public.t)",
    )
    assert [one.fullname for one in found.tables] == ["other.t", "t"]
    (key,) = found.foreign_keys
    assert (key.schema, key.referred_schema) == ("other", "public")
    with engine.connect() as connection:
        only = read_inventory(connection, ["public"])
    assert ([one.fullname for one in only.tables], len(only.foreign_keys)) == (["t"], 1)


def test_foreign_tables_and_views_are_no_ones_to_judge(postgresql_database) -> None:
    found = made(
        postgresql_database.engine(),
        "CREATE TABLE t (id int)",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM t",
        "CREATE UNIQUE INDEX i ON m (id)",
        "CREATE EXTENSION IF NOT EXISTS file_fdw",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        "CREATE FOREIGN TABLE f (x text) SERVER files OPTIONS (filename '/dev/null')",
    )
    assert [(one.name, one.materialized, len(one.indexes)) for one in found.tables] == [
        ("m", True, 1),
        ("t", False, 0),
    ]
    assert {one.question: one.place for one in found.unknowns} == {
        "1 foreign table": "public.f",
        "1 view": "public.v",
    }


def test_a_role_without_privileges_hears_all_but_positions(
    postgresql_database, postgresql_server
) -> None:
    engine = postgresql_database.engine()
    made(
        engine,
        "CREATE SCHEMA hidden",
        "CREATE TABLE hidden.t (id serial PRIMARY KEY, a int)",
        "CREATE INDEX i ON hidden.t (a)",
        "CREATE ROLE sa_perf_nobody LOGIN",
    )
    try:
        url = postgresql_database.url.set(username="sa_perf_nobody")
        postgresql_database.url = url
        with postgresql_database.engine().connect() as connection:
            found = read_inventory(connection)
    finally:
        postgresql_database.close()
        postgresql_server.execute("DROP ROLE sa_perf_nobody")
    assert [len(one.indexes) for one in found.tables] == [2]
    assert found.counters == ()
    assert [(one.question, one.place, one.because) for one in found.unknowns] == [
        (
            "position of 1 sequence",
            "hidden.t_id_seq",
            "this role has neither USAGE nor SELECT on them",
        )
    ]


def test_a_table_that_is_locked_is_told_with_an_estimated_size(postgresql_database) -> None:
    engine = postgresql_database.engine()
    made(engine, "CREATE TABLE t (id int PRIMARY KEY)")
    with engine.connect() as holder, engine.connect() as connection:
        holder.exec_driver_sql("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        found = read_inventory(connection, timeout_seconds=0.2)
    assert [len(one.indexes) for one in found.tables] == [1]
    assert [one.question for one in found.unknowns] == ["sizes on disk, which are estimated"]
    assert "lock timeout" in found.unknowns[0].because


@pytest.mark.parametrize("isolation", [None, "AUTOCOMMIT"])
def test_nothing_can_be_written_meanwhile(postgresql_database, isolation: str | None) -> None:
    options = {} if isolation is None else {"isolation_level": isolation}
    engine = postgresql_database.engine(**options)
    settings: list[tuple[str, ...]] = []

    def look(dbapi_connection, cursor, statement, *_: object) -> None:
        if "FROM pg_index" in statement:
            cursor.execute(
                "SELECT current_setting('transaction_read_only'),"
                " current_setting('statement_timeout'), current_setting('search_path')"
            )
            settings.append(tuple(cursor.fetchone()))

    event.listen(engine, "before_cursor_execute", look)
    with engine.connect() as connection:
        read_inventory(connection, timeout_seconds=7)
        after = connection.execute(text("SHOW search_path")).scalar()
    assert settings == [("on", "7s", "pg_catalog")]
    assert after == '"$user", public'


def test_uses_are_counted_since_a_moment(postgresql_database) -> None:
    engine = postgresql_database.engine()
    found = made(engine, "CREATE TABLE t (id int PRIMARY KEY)", "SELECT pg_stat_reset()")
    assert found.counted_since is not None
    assert 0 <= (found.counted_seconds or -1) < 3_600
    assert by_name(found)["t_pkey"].scans == 0
    made(engine, f'ALTER DATABASE "{engine.url.database}" SET track_counts = off')
    engine.dispose()
    with engine.connect() as connection:
        off = read_inventory(connection)
    assert (off.counted_seconds, by_name(off)["t_pkey"].scans) == (None, None)
    assert [one.because for one in off.unknowns] == ["the setting track_counts is off"]
