"""A database's schema examined, and every remedy carried out on it."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine, create_engine, event

import sa_perf
from sa_perf.errors import InventoryError
from sa_perf.plans.schema import Limits, SchemaReport, examine

EVERYTHING = Limits(small_rows=0, unused_days=0)
MENDED = ("duplicate_index", "redundant_index", "foreign_key_without_index")


def messy(schema: str | None = None) -> sa.MetaData:
    """A schema with one of each fault that every database can have."""
    metadata = sa.MetaData(schema=schema)
    sa.Table(
        "customer",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(40), nullable=False),
        sa.Column("region", sa.String(40)),
        sa.Index("ux_email", "email", unique=True),
        sa.Index("Ix Email", "email"),
        sa.Index("ix_region", "region"),
        sa.Index("ix_region_email", "region", "email"),
        sa.Index("ix_region_email_2", "region", "email"),
    )
    sa.Table(
        "order",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("customer_id", sa.Integer, sa.ForeignKey("customer.id" if schema is None else f"{schema}.customer.id")),  # noqa: E501
        sa.Column("group", sa.Integer),
    )  # fmt: skip
    sa.Table("log", metadata, sa.Column("message", sa.String(40)))
    return metadata


def kinds(report: SchemaReport) -> list[tuple[str, str | None]]:
    return sorted((one.kind, one.place) for one in report.findings if one.kind in MENDED)


def expected(db, prefix: str = "") -> list[tuple[str, str]]:
    faults = [
        ("duplicate_index", f"table {prefix}customer"),
        ("duplicate_index", f"table {prefix}customer"),
        ("redundant_index", f"table {prefix}customer"),
    ]
    # MySQL and MariaDB make the index themselves.
    own = [] if db.backend == "mariadb" else [("foreign_key_without_index", f"table {prefix}order")]
    return sorted(faults + own)


@pytest.fixture
def engine(db) -> Engine:
    made: Engine = db.engine()
    messy().create_all(made)
    return made


def test_the_faults_of_a_schema_are_found(db, engine: Engine) -> None:
    report = examine(engine, limits=EVERYTHING)
    assert kinds(report) == expected(db)
    assert ("table_without_primary_key", "table log") in {(one.kind, one.place) for one in report.findings}  # noqa: E501  # fmt: skip
    assert (report.tables, report.foreign_keys, report.seconds > 0) == (3, 1, True)
    assert report.database.startswith(db.backend)


def test_the_statements_mend_it(db, engine: Engine) -> None:
    report = examine(engine, limits=EVERYTHING)
    with engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        for one in report.findings:
            if one.kind in MENDED:
                alone.exec_driver_sql(one.remedy)
    assert kinds(examine(engine, limits=EVERYTHING)) == []


def test_the_alembic_operations_mend_it(db, engine: Engine) -> None:
    report = examine(engine, limits=EVERYTHING)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        with context.begin_transaction(_per_migration=True):
            for one in report.findings:
                if one.kind in MENDED:
                    exec(str(one.evidence["alembic"]), {"op": Operations(context), "sa": sa})  # noqa: S102
        connection.commit()
    assert kinds(examine(engine, limits=EVERYTHING)) == []


def test_a_schema_beside_the_default_one_is_mended_too(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
    messy("other").create_all(engine)
    report = examine(engine, schemas=["other"], limits=EVERYTHING)
    assert kinds(report) == expected(postgresql_database, "other.")
    with engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        for one in report.findings:
            if one.kind in MENDED:
                alone.exec_driver_sql(one.remedy)
    assert kinds(examine(engine, limits=EVERYTHING)) == []


def test_remedies_for_keys_counters_and_broken_indexes_run_on_postgresql(
    postgresql_database,
) -> None:
    engine = postgresql_database.engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in (
            "CREATE TABLE bare (a int)",
            "CREATE TABLE keyed (a int NOT NULL)",
            "CREATE UNIQUE INDEX ux_keyed ON keyed (a)",
            "CREATE TABLE named (a int NOT NULL UNIQUE)",
            "CREATE TABLE counting (id serial PRIMARY KEY)",
            "SELECT setval('counting_id_seq', 2000000000)",
            "CREATE TABLE owned (id int GENERATED ALWAYS AS IDENTITY (START 2100000000)"
            " PRIMARY KEY)",
            "INSERT INTO owned DEFAULT VALUES",
            "CREATE TABLE twice AS SELECT 1 AS a FROM generate_series(1, 2)",
            "CREATE TABLE child (a int REFERENCES counting)",
            "ALTER TABLE child ADD CONSTRAINT late FOREIGN KEY (a) REFERENCES counting NOT VALID",
        ):
            connection.exec_driver_sql(statement)
        with pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON twice (a)")
        connection.exec_driver_sql("DELETE FROM twice")
        report = examine(engine, limits=EVERYTHING)
        found = {one.kind for one in report.findings}
        assert found == {
            "foreign_key_without_index", "invalid_index", "sequence_near_end",
            "table_without_primary_key", "unvalidated_foreign_key",
        }  # fmt: skip
        for one in report.findings:
            connection.exec_driver_sql(one.remedy)
    left = examine(engine, limits=Limits(small_rows=0))
    # What refers to a column that became wider is to follow.
    assert {one.kind for one in left.findings} <= {"narrow_foreign_key"}


def test_remedies_for_keys_and_counters_run_on_mariadb(mariadb_database) -> None:
    engine = mariadb_database.engine()
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE bare (a int)",
            "CREATE TABLE keyed (a int NOT NULL, UNIQUE KEY ux (a))",
            "CREATE TABLE counting (id int AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 2100000000",
            "CREATE SEQUENCE s MAXVALUE 100 CACHE 1",
            "SELECT setval(s, 95)",
        ):
            connection.exec_driver_sql(statement)
        report = examine(engine, limits=EVERYTHING)
        assert len(report.findings) == 4
        for one in report.findings:
            connection.exec_driver_sql(one.remedy)
    assert examine(engine, limits=EVERYTHING).findings == ()


def test_never_used_indexes_are_told_once_counts_are_old_enough(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
        connection.exec_driver_sql("CREATE INDEX ix_a ON t (a)")
        connection.exec_driver_sql("CREATE INDEX ix_b ON t (b)")
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SELECT * FROM t WHERE a = 1")
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    young = examine(engine)
    assert [one.kind for one in young.findings] == []
    assert [one.question for one in young.unknowns] == ["never used indexes"]
    told = examine(engine, limits=EVERYTHING).findings
    assert [(one.kind, one.evidence["index"]) for one in told] == [("unused_index", "ix_b")]


def test_sa_perf_does_not_record_its_own_questions(engine: Engine) -> None:
    perf = sa_perf.install(engine)
    try:
        examine(engine)
        assert perf.snapshot().queries == ()
    finally:
        perf.uninstall()


def test_nothing_is_written(db, engine: Engine) -> None:
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    examine(engine)
    reading = re.compile(
        r"\s*(SELECT|SHOW|PRAGMA|SET TRANSACTION READ ONLY|START TRANSACTION READ ONLY|ROLLBACK"
        r"|SET STATEMENT .* FOR SELECT)\b"
    )
    assert [one for one in sent if not reading.match(one)] == []


def test_a_connection_with_a_transaction_is_refused(engine: Engine) -> None:
    with engine.begin() as connection, pytest.raises(InventoryError, match="has a transaction"):
        examine(connection)
    with engine.connect() as connection:
        assert examine(connection).tables == 3


def test_an_asynchronous_engine_is_told_what_to_write(async_db) -> None:
    engine = async_db.async_engine()
    with pytest.raises(InventoryError, match=r"await connection.run_sync\(examine\)"):
        examine(engine)

    async def on_a_loop() -> SchemaReport:
        async with engine.connect() as connection:
            with pytest.raises(InventoryError, match="asynchronous"):
                examine(connection)
            report: SchemaReport = await connection.run_sync(examine)
            return report

    assert async_db.run(on_a_loop()).tables == 0


def test_a_missing_file_is_not_made(tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'no.db'}")
    with pytest.raises(InventoryError, match="there is no file"):
        examine(engine)
    assert list(tmp_path.iterdir()) == []
