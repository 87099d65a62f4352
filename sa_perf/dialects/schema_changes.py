"""A transaction for changing the schema, beside which nobody else does.

MySQL and MariaDB commit at each CREATE and DROP TABLE, whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging import purging_for
from sa_perf.errors import MigrationError
from sa_perf.tables import UNRECORDED

__all__ = ["missing_schema", "schema_change", "tells_directions"]


def missing_schema(connection: Connection, schema: str) -> str | None:
    """Why sa_perf's tables cannot be in the schema that they are to be in; None where they can.

    SQLite's only schemas are attached files, which are of one connection.

    Args:
        connection: left as it was, within its transaction or without one.
        schema: of ``SA_PERF_TABLE_SCHEMA``.
    """
    within = connection.in_transaction()
    try:
        if inspect(connection).has_schema(schema):
            return None
    finally:
        if not within:
            connection.rollback()
    remedy = f"make it (CREATE SCHEMA {schema}), or unset the variable"
    if connection.dialect.name == "sqlite":
        remedy = "SQLite keeps no schemas, so unset the variable"
    return f"SA_PERF_TABLE_SCHEMA is {schema!r}, and this database has no such schema; {remedy}"


def tells_directions(connection: Connection) -> bool:
    """Whether SQLAlchemy's inspector tells which columns of an index descend.

    Where it does (``column_sorting``), it leaves out what ascends.
    """
    return connection.dialect.name == "postgresql"


@contextmanager
def schema_change(connection: Connection, *, wait_seconds: float = 60.0) -> Iterator[None]:
    """A transaction beside which no other process changes sa_perf's tables.

    Settings of the session that say how long to wait are put back.

    Args:
        connection: where it has a transaction, that one is used, and left to whoever began it.
        wait_seconds: how long to wait for another process, > 0.

    Raises:
        MigrationError: another process has been changing them for all that time.
    """
    alone = {
        "sqlite": _one_writer,
        "postgresql": _advisory_lock,
        "mysql": _named_lock,
        "mariadb": _named_lock,
    }.get(connection.dialect.name, _transaction)
    with alone(connection, wait_seconds):
        yield


@contextmanager
def _one_writer(connection: Connection, wait_seconds: float) -> Iterator[None]:
    """SQLite: begin in earnest. Python's driver does so for INSERT and its like, not for CREATE.

    https://docs.python.org/3/library/sqlite3.html#transaction-control-via-the-isolation-level-attribute
    """
    before = None
    try:
        with _transaction(connection):
            before = _run(connection, "PRAGMA busy_timeout")
            _run(connection, f"PRAGMA busy_timeout = {int(wait_seconds * 1_000)}")
            try:
                _run(connection, "BEGIN IMMEDIATE")
            except DBAPIError as error:
                if "within a transaction" not in str(error.orig):
                    raise _told(connection, error, wait_seconds) from error
            yield
    finally:
        if before is not None and not connection.invalidated:
            own = not connection.in_transaction()
            _run(connection, f"PRAGMA busy_timeout = {before}")
            if own:
                connection.rollback()


@contextmanager
def _advisory_lock(connection: Connection, wait_seconds: float) -> Iterator[None]:
    """PostgreSQL: it ends with the transaction, also through a pooler that changes sessions."""
    with _transaction(connection):
        before = _run(connection, "SHOW lock_timeout")
        _run(connection, f"SET LOCAL lock_timeout = {max(1, int(wait_seconds * 1_000))}")
        try:
            _run(connection, "SELECT pg_advisory_xact_lock(hashtext('sa_perf_schema'))")
        except DBAPIError as error:
            raise _told(connection, error, wait_seconds) from error
        _run(connection, f"SET LOCAL lock_timeout = '{before}'")
        yield


@contextmanager
def _named_lock(connection: Connection, wait_seconds: float) -> Iterator[None]:
    """MySQL and MariaDB: it goes with the session, so it is given back after the commit.

    It is one for all databases of the server, so its name has the database in it.
    """
    own = not connection.in_transaction()
    name = "concat('sa_perf_schema_', md5(database()))"
    taken = _run(connection, f"SELECT GET_LOCK({name}, {wait_seconds})")
    if own:
        connection.rollback()
    if not taken:
        raise _busy(wait_seconds)
    try:
        with _transaction(connection):
            yield
    finally:
        _run(connection, f"SELECT RELEASE_LOCK({name})")
        if own:
            connection.rollback()


def _transaction(
    connection: Connection, wait_seconds: float = 0.0
) -> AbstractContextManager[object]:
    """The connection's own, or one of ours."""
    return nullcontext() if connection.in_transaction() else connection.begin()


def _told(connection: Connection, error: DBAPIError, wait_seconds: float) -> Exception:
    """What is to be raised where the lock was not to be had."""
    transient = purging_for(connection.dialect).is_transient(error)
    return _busy(wait_seconds) if transient else error


def _busy(wait_seconds: float) -> MigrationError:
    return MigrationError(
        f"another process has been changing the database for {wait_seconds:g} s, so sa_perf's "
        "tables were left as they are; try again later"
    )


def _run(connection: Connection, statement: str) -> object:
    result = connection.exec_driver_sql(statement, execution_options=UNRECORDED)
    return result.scalar() if result.returns_rows else None
