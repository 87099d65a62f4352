"""Take the tables in each of the three ways, called as the environment says; wrong ends with 1.

Arguments: a folder for the projects, the database's URL, and what `context.configure` is to be told
besides. In a process of its own, since the names are read once in one.
"""

from __future__ import annotations

import itertools
import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

from alembic_project import CONFIGURE, ROOT, Application
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

import sa_perf
from sa_perf import migration, retention
from sa_perf.cli import main
from sa_perf.store.keeping import keep_small
from sa_perf.tables import SCHEMA_VERSION, TABLE_SCHEMA, VERSION_TABLE, metadata

folder, address, more = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
engine = create_engine(address, poolclass=NullPool)
database = SimpleNamespace(url=engine.url, engine=lambda: engine)
NUMBERS = itertools.count(1)  # the archive lives on
OURS = {table.name for table in metadata.sorted_tables}


def tables() -> set[str]:
    return set(inspect(engine).get_table_names(TABLE_SCHEMA))


def sa_perf_db(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["db", *arguments, "--url", address])
    assert done.exit_code == 0, done.output
    return done.output


def use_the_store() -> None:
    own = create_engine("sqlite://")
    perf = sa_perf.install(own, store=address, store_seconds=3_600)
    with own.connect() as connection:
        connection.exec_driver_sql("SELECT 'stored'")
    assert perf.flush()
    perf.uninstall()
    options = ["top", "--store", address, "--since", "1h", "--json"]
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    assert [row["calls"] for row in json.loads(done.output)["rows"]] == [1]
    with engine.connect() as connection:
        kept = keep_small(connection)
    assert {policy.outcome for policy in kept.policies} == {"done"}, kept


def see_to_it(application: Application | None = None) -> None:
    assert tables() >= OURS, tables()
    sa_perf_db("check")
    migration.require(engine)
    if application:
        old = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=400)
        with engine.begin() as connection:
            event = application.metadata().tables["event"]
            connection.execute(
                event.insert(), {"id": next(NUMBERS), "created_at": old, "kind": "old"}
            )
        run = retention.run(engine, application.metadata())
        assert [policy.rows_changed for policy in run.policies] == [1]
        application.alembic("check")


def by_command() -> None:
    assert f'"version": "{SCHEMA_VERSION}"' in sa_perf_db("upgrade")
    see_to_it()
    use_the_store()
    assert VERSION_TABLE in tables()
    sa_perf_db("downgrade", "base")
    assert not tables() & OURS
    script = sa_perf_db("upgrade", "--sql")
    place = f"{TABLE_SCHEMA}." if TABLE_SCHEMA else ""
    assert all(f"CREATE TABLE {place}{name} (" in script for name in (*OURS, VERSION_TABLE))
    sa_perf_db("upgrade")
    sa_perf_db("release")
    assert VERSION_TABLE not in tables()
    metadata.drop_all(engine)


def in_own_revisions() -> None:
    application = Application(
        root=folder / "own", database=database, configure=CONFIGURE, more=more
    )
    application.revision("first")
    application.alembic("upgrade", "head")
    see_to_it(application)
    application.alembic("downgrade", "base")
    assert not tables() & OURS


def as_a_branch() -> None:
    versions = str(ROOT / "migrations" / "versions")
    application = Application(
        root=folder / "branch", database=database, configure="", more=more, locations=[versions]
    )
    application.alembic("stamp", "base", purge=True)
    application.alembic("upgrade", "heads")
    own = str(application.root / "history" / "versions")
    application.revision("events", head="base", branch_label="application", version_path=own)
    application.alembic("upgrade", "heads")
    see_to_it(application)
    application.alembic("downgrade", "sa_perf@base")
    assert not tables() & OURS


by_command()
in_own_revisions()
as_a_branch()
sys.stdout.write("\n" + " ".join(sorted(OURS)))
