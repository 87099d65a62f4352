"""A transaction for changing the schema, beside which nobody else does.

MySQL and MariaDB commit at each CREATE and DROP TABLE, whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sa_perf.errors import MigrationError
from sa_perf.tables import UNRECORDED

__all__ = ["schema_change"]

_WAIT_SECONDS = 60


@contextmanager
def schema_change(connection: Connection) -> Iterator[None]:
    """A transaction beside which no other process changes sa_perf's tables.

    Args:
        connection: where it has a transaction, that one is used, and left to whoever began it.

    Raises:
        MigrationError: another process has been changing them for a minute.
    """
    own = not connection.in_transaction()
    with _named_lock(connection), connection.begin() if own else nullcontext():
        if connection.dialect.name == "sqlite":
            _begin(connection)
        elif connection.dialect.name == "postgresql":
            # Ends with the transaction, also through a pooler that changes sessions.
            _run(connection, "SELECT pg_advisory_xact_lock(hashtext('sa_perf_schema'))")
        yield


def _begin(connection: Connection) -> None:
    """Begin in earnest: Python's driver does so for INSERT and its like only, not for CREATE.

    https://docs.python.org/3/library/sqlite3.html#transaction-control-via-the-isolation-level-attribute
    """
    try:
        _run(connection, "BEGIN IMMEDIATE")
    except DBAPIError as error:
        if "within a transaction" not in str(error.orig):
            raise


@contextmanager
def _named_lock(connection: Connection) -> Iterator[None]:
    """MySQL's and MariaDB's lock, which goes with the session: given back after the commit.

    It is one for all databases of the server, so its name has the database in it.
    """
    if connection.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    own = not connection.in_transaction()
    name = "concat('sa_perf_schema_', md5(database()))"
    if not _run(connection, f"SELECT GET_LOCK({name}, {_WAIT_SECONDS})"):
        raise MigrationError("another process is changing sa_perf's tables; try again later")
    if own:
        connection.rollback()
    try:
        yield
    finally:
        _run(connection, f"SELECT RELEASE_LOCK({name})")
        if own:
            connection.rollback()


def _run(connection: Connection, statement: str) -> object:
    result = connection.exec_driver_sql(statement, execution_options=UNRECORDED)
    return result.scalar() if result.returns_rows else None
