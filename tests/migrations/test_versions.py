"""The revisions of sa_perf's own tables, on every database."""

from __future__ import annotations

import ast
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, select, text

from sa_perf import migration
from sa_perf.errors import MigrationError
from sa_perf.migration import environment
from sa_perf.migration.environment import TABLES
from sa_perf.retention.tables import batches, holds, leases, runs
from sa_perf.tables import SCHEMA_VERSION, VERSION_TABLE, metadata

NOON = datetime(2026, 11, 23, 12, 0, 0, 654321, tzinfo=timezone.utc)
NAMES = {table.name for table in TABLES}
VERSIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"
ADDRESSES = [
    "sqlite:///file.db",
    "postgresql+psycopg://host/name",
    "mysql+pymysql://host/name",
    "mariadb+pymysql://host/name",
]

NEXT = '''"""A revision as one to come could be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "sa_perf_9999"
down_revision = "{head}"


def upgrade() -> None:
    with op.batch_alter_table("sa_perf_retention_run") as batch:
        batch.alter_column("host", type_=sa.String(300), existing_nullable=False)
        batch.add_column(sa.Column("note", sa.String(20), server_default="none"))


def downgrade() -> None:
    with op.batch_alter_table("sa_perf_retention_run") as batch:
        batch.drop_column("note")
        batch.alter_column("host", type_=sa.String(255), existing_nullable=False)
'''


def a_run(**fields: Any) -> dict[str, Any]:
    values = {
        "run": "20261123-1",
        "policy": "event",
        "table_name": "events",
        "action": "delete",
        "cutoff": NOON,
        "predicate": "created_at < ?",
        "started_at": NOON,
        "outcome": "running",
        "host": "web-1",
        "pid": 4711,
    }
    return {**values, **fields}


def a_batch(run_id: int) -> dict[str, Any]:
    counts = dict.fromkeys(("rows_scanned", "rows_archived", "rows_changed", "target_rows"), 2_000)
    times = {"seconds": 0.123456789012345, "pause_seconds": 0.0, "finished_at": NOON}
    return {"run_id": run_id, "number": 1, "table_name": "events", **counts, **times}


def catalog(engine: Engine) -> dict[str, Any]:
    """All that the database tells of the tables."""
    seen = inspect(engine)

    def options_of(name: str) -> dict[str, Any]:
        try:
            return seen.get_table_options(name)
        except NotImplementedError:  # of SQLAlchemy 2.0, for databases that have none
            return {}

    return {
        name: {
            "columns": [{**one, "type": repr(one["type"])} for one in seen.get_columns(name)],
            "key": seen.get_pk_constraint(name),
            "indexes": sorted(map(repr, seen.get_indexes(name))),
            "foreign keys": seen.get_foreign_keys(name),
            "options": options_of(name),
        }
        for name in sorted(NAMES)
    }


def test_the_version_that_the_package_needs_is_the_newest_revision() -> None:
    script = ScriptDirectory.from_config(environment.configuration())
    assert script.get_heads() == [SCHEMA_VERSION]


def test_the_tables_of_all_rooms_are_all_that_there_is() -> None:
    assert set(metadata.tables) == NAMES


def test_a_revision_takes_nothing_from_the_package_but_what_tables_are_called() -> None:
    for path in VERSIONS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, ast.Import) or "sa_perf" not in node.names[0].name
            if isinstance(node, ast.ImportFrom) and "sa_perf" in (node.module or ""):
                assert node.module == "sa_perf.tables"
                assert [one.name for one in node.names] == ["PREFIX", "TABLE_SCHEMA"]


def test_models_and_revisions_agree(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=environment.options())
        assert compare_metadata(context, metadata) == []


def test_the_database_cannot_tell_models_from_revisions(db) -> None:
    engine = db.engine()
    metadata.create_all(engine)
    of_models = catalog(engine)
    metadata.drop_all(engine)
    migration.upgrade(engine)
    assert catalog(engine) == of_models


def test_up_down_and_up_again_leaves_nothing_behind(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    first = catalog(engine)
    migration.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) == {VERSION_TABLE}
    migration.upgrade(engine)
    assert catalog(engine) == first


def test_older_tables_are_brought_up_and_keep_their_rows_there_and_back(db) -> None:
    engine = db.engine()
    migration.upgrade(engine, "sa_perf_0001")
    with engine.begin() as connection:
        connection.execute(leases.insert(), {"policy": "event", "token": 7})
    assert migration.check(engine) == (
        f"the tables are of version 'sa_perf_0001', this sa_perf needs {SCHEMA_VERSION!r}",
    )
    for _ in range(2):
        migration.upgrade(engine)
        assert migration.check(engine) == ()
        with engine.connect() as connection:
            assert connection.scalar(select(leases.c.token)) == 7
        migration.downgrade(engine, "sa_perf_0001")
    with engine.connect() as connection:
        assert connection.scalar(select(leases.c.token)) == 7


def test_rows_go_into_each_table_and_come_out_as_they_were(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    with engine.begin() as connection:
        (run_id,) = connection.execute(runs.insert(), a_run()).inserted_primary_key
        connection.execute(batches.insert(), a_batch(run_id))
        connection.execute(leases.insert(), {"policy": "event", "token": 1, "expires_at": NOON})
        connection.execute(
            holds.insert(),
            {"table_name": "events", "row_key": "[1]", "reason": "x", "placed_at": NOON},
        )
    with engine.connect() as connection:
        run = connection.execute(select(runs)).one()
        batch = connection.execute(select(batches)).one()
        assert (run.cutoff, run.rows_changed, run.finished_at) == (NOON, 0, None)
        assert (batch.run_id, batch.seconds) == (run.id, 0.123456789012345)
        assert connection.scalar(select(leases.c.expires_at)) == NOON
        assert connection.scalar(select(holds.c.row_key)) == "[1]"


def test_policies_that_differ_in_case_have_a_lease_each(db) -> None:
    engine = db.engine()
    migration.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(
            leases.insert(), [{"policy": name, "token": 1} for name in ("event", "Event")]
        )


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_statements_can_be_had_without_a_database(address: str) -> None:
    up = migration.upgrade(address, sql=True)
    down = migration.downgrade(address, "base", sql=True)
    for name in (*NAMES, VERSION_TABLE):
        assert f"CREATE TABLE {name} (" in up
    for name in NAMES:
        assert f"DROP TABLE {name};" in down
    assert f"SET version_num='{SCHEMA_VERSION}'" in up


def test_the_statements_do_what_an_upgrade_and_a_downgrade_do(db) -> None:
    engine = db.engine()
    for revision, script in (
        (SCHEMA_VERSION, migration.upgrade(engine, sql=True)),
        (None, migration.downgrade(engine, "base", sql=True)),
    ):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in filter(str.strip, script.split(";\n")):
                connection.execute(text(statement))
        assert migration.current(engine) == revision
        assert (migration.check(engine) == ()) is (revision is not None)
    assert not NAMES & set(inspect(engine).get_table_names())


def test_a_revision_in_batch_mode_keeps_the_rows(db, tmp_path: Path, monkeypatch) -> None:
    scripts = tmp_path / "scripts"
    shutil.copytree(VERSIONS.parent, scripts)
    (scripts / "versions" / "next.py").write_text(NEXT.format(head=SCHEMA_VERSION), "utf-8")
    engine = db.engine()
    migration.upgrade(engine)
    before = catalog(engine)
    with engine.begin() as connection:
        (run_id,) = connection.execute(runs.insert(), a_run()).inserted_primary_key
        connection.execute(batches.insert(), a_batch(run_id))

    with monkeypatch.context() as patch:
        patch.setattr(environment, "scripts", lambda: scripts)
        migration.upgrade(engine)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT note FROM sa_perf_retention_run")) == "none"
            assert connection.scalar(select(batches.c.run_id)) == run_id
        migration.downgrade(engine, SCHEMA_VERSION)

    assert catalog(engine) == before
    with engine.connect() as connection:
        assert connection.execute(select(runs.c.id, runs.c.cutoff)).one() == (run_id, NOON)
        assert connection.scalar(select(batches.c.run_id)) == run_id


def test_tables_of_a_newer_version_are_left_alone(db, tmp_path: Path, monkeypatch) -> None:
    scripts = tmp_path / "scripts"
    shutil.copytree(VERSIONS.parent, scripts)
    (scripts / "versions" / "next.py").write_text(NEXT.format(head=SCHEMA_VERSION), "utf-8")
    engine = db.engine()
    with monkeypatch.context() as patch:
        patch.setattr(environment, "scripts", lambda: scripts)
        migration.upgrade(engine)
    for change in (migration.upgrade, lambda bind: migration.downgrade(bind, "base")):
        with pytest.raises(MigrationError, match=r"'sa_perf_9999', which .* does not know"):
            change(engine)
    assert migration.current(engine) == "sa_perf_9999"
