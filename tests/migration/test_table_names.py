"""The tables with another prefix and in another schema, whichever way they are taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sa_perf import migration

WORLD = Path(__file__).parent / "world"
LONG = "a_very_long_prefix_1"
PREFIX, SCHEMA = "SA_PERF_TABLE_PREFIX", "SA_PERF_TABLE_SCHEMA"


def run(*command: str, **names: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(WORLD), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path, **names},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("fixture", "prefix", "with_schema"),
    [
        ("sqlite_database", "perf_", False),
        pytest.param("postgresql_database", LONG, True, marks=pytest.mark.postgresql),
        pytest.param("mariadb_database", LONG, True, marks=pytest.mark.mariadb),
    ],
)
def test_the_tables_are_called_and_placed_as_the_environment_says_in_each_way(
    fixture: str, prefix: str, with_schema: bool, request, tmp_path: Path
) -> None:
    database = request.getfixturevalue(fixture)
    names = {PREFIX: prefix}
    if with_schema:
        names[SCHEMA] = f"{database.url.database}_perf"
        refused = run("-m", "sa_perf", "db", "upgrade", "--url", str(database.url), **names)
        assert refused.returncode == 2
        assert f"no such schema; make it (CREATE SCHEMA {names[SCHEMA]})" in refused.stderr
        with database.engine().begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {names[SCHEMA]}")
    url = database.url.render_as_string(hide_password=False)
    more = "include_schemas=True" if with_schema else ""
    try:
        done = run(str(WORLD / "three_ways.py"), str(tmp_path), url, more, **names)
    finally:
        if with_schema and fixture == "mariadb_database":  # a database beside that of the test
            with database.engine().begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA {names[SCHEMA]}")
    assert done.returncode == 0, done.stderr
    assert all(name.startswith(prefix) for name in done.stdout.splitlines()[-1].split())


def test_a_database_without_schemas_says_so(sqlite_database) -> None:
    done = run("-m", "sa_perf", "db", "upgrade", "--url", str(sqlite_database.url), **{SCHEMA: "x"})
    assert done.returncode == 2
    assert "SA_PERF_TABLE_SCHEMA is 'x'" in done.stderr
    assert "SQLite keeps no schemas, so unset the variable" in done.stderr
    assert migration.current(sqlite_database.url) is None
