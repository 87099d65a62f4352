"""sa_perf's tables in the Alembic history of an application, by its own commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.util import CommandError
from alembic_project import CONFIGURE, Application
from sqlalchemy import Engine, MetaData, Table, inspect, text

from sa_perf import migration, retention
from sa_perf.errors import MigrationError, MissingTables
from sa_perf.migration.environment import TABLES
from sa_perf.retention.tables import leases
from sa_perf.tables import SCHEMA_VERSION, VERSION_TABLE, require_tables

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ROOT / "migrations" / "versions"
OURS = {table.name for table in TABLES}
NEXT = f'''
import sqlalchemy as sa
from alembic import op

revision = "sa_perf_9999"
down_revision = "{SCHEMA_VERSION}"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("sa_perf_retention_lease") as batch:
        batch.add_column(sa.Column("note", sa.String(20), server_default="none"))


def downgrade():
    with op.batch_alter_table("sa_perf_retention_lease") as batch:
        batch.drop_column("note")
'''


@pytest.fixture(
    params=[
        "sqlite_database",
        pytest.param("postgresql_database", marks=pytest.mark.postgresql),
        pytest.param("mariadb_database", marks=pytest.mark.mariadb),
    ]
)
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    database = request.getfixturevalue(request.param)
    made = Application(root=tmp_path / "application", database=database)
    yield made
    while str(made.root) in sys.path:
        sys.path.remove(str(made.root))
    sys.modules.pop(made.models, None)


@pytest.fixture
def branch(application: Application) -> Application:
    """The same with sa_perf's revisions as a branch."""
    application.configure = ""
    application.locations = [str(VERSIONS)]
    application.alembic("upgrade", "heads")
    application.alembic(
        "revision",
        "events",
        autogenerate=True,
        head="base",
        branch_label="application",
        version_path=str(application.root / "history" / "versions"),
    )
    application.alembic("upgrade", "heads")
    return application


def keep_a_lease(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO sa_perf_retention_lease (policy, token) VALUES ('x', 7)")
        )


def kept_token(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT token FROM sa_perf_retention_lease"))


def keep_old_events(engine: Engine, metadata: MetaData) -> None:
    old = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=400)
    events = metadata.tables["event"]
    with engine.begin() as connection:
        connection.execute(
            events.insert(), [{"id": i, "created_at": old, "kind": "old"} for i in range(1, 6)]
        )


# (a) In the application's own revisions


def test_autogenerate_makes_the_tables_and_then_finds_nothing_to_do(application) -> None:
    made = application.revision("first").read_text("utf-8")
    assert "from sa_perf" not in made and "import sa_perf" not in made
    assert "RetentionPolicy" not in made and "UtcDateTime" not in made
    application.alembic("upgrade", "head")
    application.alembic("check")
    assert {"event", "alembic_version"} | OURS == application.tables()
    assert migration.check(application.engine) == ()
    application.alembic("downgrade", "base")
    assert application.tables() == {"alembic_version"}
    application.alembic("upgrade", "head")
    application.alembic("check")


def test_retention_runs_on_tables_of_the_applications_history(application) -> None:
    application.revision("first")
    application.alembic("upgrade", "head")
    metadata, engine = application.metadata(), application.engine
    keep_old_events(engine, metadata)
    run = retention.run(engine, metadata)
    assert [policy.rows_changed for policy in run.policies] == [5]
    application.alembic("check")  # the archive table is there now
    assert "event_archive" in application.tables()


def test_an_application_that_was_there_before_takes_them_up(application) -> None:
    application.configure = ""
    application.revision("first")
    application.alembic("upgrade", "head")
    keep_old_events(application.engine, application.metadata())
    application.configure = CONFIGURE
    made = application.revision("sa_perf").read_text("utf-8")
    assert "create_table('event'" not in made
    assert made.count("op.create_table(") == made.count("op.drop_table(") == len(OURS)
    application.alembic("upgrade", "head")
    application.alembic("check")
    with application.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM event")) == 5


def test_an_older_version_of_the_tables_is_brought_up_and_keeps_its_rows(application) -> None:
    made = application.revision("first")
    lines = made.read_text("utf-8").splitlines(keepends=True)
    older = [line for line in lines if "'position'" not in line]
    assert len(older) == len(lines) - 1
    made.write_text("".join(older), "utf-8")
    application.alembic("upgrade", "head")
    engine = application.engine
    keep_a_lease(engine)
    with pytest.raises(MissingTables, match=r"sa_perf_retention_lease\.position.*upgrade heads"):
        require_tables(engine)
    assert migration.check(engine) == ("column sa_perf_retention_lease.position is missing",)
    with pytest.raises(CommandError, match="New upgrade operations"):
        application.alembic("check")
    added = application.revision("newer").read_text("utf-8")
    assert "drop_table" not in added
    for _ in range(2):
        application.alembic("upgrade", "head")
        application.alembic("check")
        require_tables(engine)
        assert kept_token(engine) == 7
        application.alembic("downgrade", "-1")
    assert kept_token(engine) == 7


def test_the_names_are_those_of_the_versions_whatever_the_applications_convention(
    application,
) -> None:
    application.revision("first")
    application.alembic("upgrade", "head")
    seen = inspect(application.engine)
    names = {one["name"] for one in seen.get_indexes("sa_perf_retention_run")}
    assert names == {
        "ix_sa_perf_retention_run_run",
        "ix_sa_perf_retention_run_policy_started_at",
    }
    assert {one["name"] for one in seen.get_indexes("event")} == {"index_event_created_at"}


def test_the_statements_of_the_history_make_the_tables(application) -> None:
    application.revision("first")
    script = application.alembic("upgrade", "head", sql=True)
    engine = application.database.engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))  # made by autogenerate
        for statement in filter(str.strip, script.split(";\n")):
            connection.execute(text(statement))
    application.alembic("check")
    assert migration.check(application.engine) == ()


# (b) A branch of sa_perf's revisions


def test_the_branch_makes_the_tables_and_autogenerate_leaves_them(branch) -> None:
    assert {"event", "alembic_version"} | OURS == branch.tables()
    branch.alembic("check")
    assert migration.check(branch.engine) == ()
    require_tables(branch.engine)
    (own,) = branch.revisions()
    assert "sa_perf_" not in own.read_text("utf-8")
    branch.alembic("downgrade", "sa_perf@base")
    assert branch.tables() == {"event", "alembic_version"}
    branch.alembic("upgrade", "heads")
    branch.alembic("check")


def test_a_newer_version_comes_with_the_next_upgrade_and_keeps_the_rows(
    branch, tmp_path: Path
) -> None:
    keep_a_lease(branch.engine)
    shutil.copytree(VERSIONS, tmp_path / "newer")
    (tmp_path / "newer" / "next.py").write_text(NEXT, "utf-8")
    branch.locations = [str(tmp_path / "newer")]
    with pytest.raises(CommandError, match="not up to date"):
        branch.alembic("check")
    for _ in range(2):
        branch.alembic("upgrade", "heads")
        branch.alembic("check")
        assert kept_token(branch.engine) == 7
        branch.alembic("downgrade", f"sa_perf@{SCHEMA_VERSION}")
    assert kept_token(branch.engine) == 7


def test_an_older_version_of_the_branch_is_brought_up_and_keeps_its_rows(application) -> None:
    application.configure = ""
    application.locations = [str(VERSIONS)]
    application.alembic("upgrade", "sa_perf@sa_perf_0001")
    keep_a_lease(application.engine)
    with pytest.raises(MissingTables, match=r"missing: sa_perf_retention_policy, sa_perf_store_"):
        require_tables(application.engine)
    application.alembic("upgrade", "heads")
    require_tables(application.engine)
    assert kept_token(application.engine) == 7


def test_the_statements_of_both_branches_can_be_had(branch) -> None:
    script = branch.alembic("upgrade", "heads", sql=True)
    for name in (*OURS, "event"):
        assert f"CREATE TABLE {name} (" in script


def test_the_revisions_of_the_wheel_are_named_by_the_package(
    sqlite_database, tmp_path: Path
) -> None:
    installed = tmp_path / "site" / "sa_perf"
    (installed / "migration").mkdir(parents=True)
    for source, target in (
        (ROOT / "sa_perf", installed),
        (ROOT / "sa_perf" / "migration", installed / "migration"),
    ):
        for path in source.iterdir():
            if path.name not in ("migration", "scripts", "__pycache__"):
                (target / path.name).symlink_to(path)
    shutil.copytree(ROOT / "migrations", installed / "migration" / "scripts")
    application = Application(
        root=tmp_path / "application",
        database=sqlite_database,
        configure="",
        locations=["sa_perf:migration/scripts/versions"],
    )
    application.write()

    run = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "heads"],
        cwd=application.root,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert OURS | {"alembic_version"} == application.tables()


# From one to the other, and two at once


def test_a_database_of_sa_perf_db_tells_the_applications_revision_what_to_do(application) -> None:
    revision = application.revision("sa_perf").stem.partition("_")[0]
    engine = application.engine
    migration.upgrade(engine)
    with pytest.raises(CommandError, match=r"already exists.*alembic stamp.*sa-perf db release"):
        application.alembic("upgrade", "head")
    with engine.begin() as connection:
        application.metadata().tables["event"].create(connection, checkfirst=True)
    application.alembic("stamp", revision)
    following = application.revision("policies").read_text("utf-8")
    assert "drop_table" not in following  # does not want to drop the version table
    assert "op.sa_perf_retention('event', {" in following
    application.alembic("upgrade", "head")
    application.alembic("check")
    migration.release(engine)
    application.alembic("check")
    require_tables(engine)
    assert VERSION_TABLE not in application.tables()
    for change in (migration.upgrade, lambda bind: migration.downgrade(bind, "base")):
        with pytest.raises(MigrationError, match="already exist"):
            change(engine)
    assert application.tables() >= OURS


def test_a_database_of_sa_perf_db_tells_the_branch_what_to_do(application) -> None:
    application.configure = ""
    application.locations = [str(VERSIONS)]
    engine = application.engine
    migration.upgrade(engine)
    keep_a_lease(engine)
    with pytest.raises(CommandError, match=r"already exists.*alembic-history"):
        application.alembic("upgrade", "heads")
    application.alembic("stamp", "sa_perf@head")
    migration.release(engine)
    application.alembic("upgrade", "heads")
    assert kept_token(engine) == 7
    require_tables(engine)


def test_a_branch_tells_sa_perf_db_that_it_is_there(branch) -> None:
    with pytest.raises(MigrationError, match=r"already exist.*alembic upgrade heads"):
        migration.upgrade(branch.engine)
    assert migration.current(branch.engine) is None
    assert migration.check(branch.engine) == ()


def test_tables_that_are_not_as_they_should_be_are_not_released(application) -> None:
    engine = application.engine
    with pytest.raises(MigrationError, match="there are no tables"):
        migration.release(engine)
    migration.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE sa_perf_retention_hold"))
    with pytest.raises(MigrationError, match="sa_perf_retention_hold is missing"):
        migration.release(engine)
    assert migration.current(engine) == SCHEMA_VERSION


def test_a_release_within_a_transaction_goes_with_it(sqlite_database) -> None:
    engine = sqlite_database.engine()
    migration.upgrade(engine)
    with engine.connect() as connection:
        transaction = connection.begin()
        migration.release(connection)
        transaction.rollback()
    assert migration.current(engine) == SCHEMA_VERSION


def test_what_names_no_metadata_is_refused() -> None:
    with pytest.raises(TypeError, match="of several give one"):
        migration.configure([MetaData()])  # type: ignore[arg-type]  # the fault that is tested


def test_configuring_twice_changes_nothing() -> None:
    metadata = MetaData()
    migration.configure(metadata)
    first = dict(metadata.tables)
    migration.configure(metadata)
    assert dict(metadata.tables) == first
    assert isinstance(first[leases.name], Table)
