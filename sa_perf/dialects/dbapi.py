"""Raw DBAPI connections: what is used of them, how SQL is sent.

No listener of SQLAlchemy sees what is sent this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["DBAPIConnection", "DBAPICursor", "fetch", "is_plain"]

_PLAIN = (type(None), bool, int, float, str, bytes)


class DBAPICursor(Protocol):
    """The part of a PEP 249 cursor that is used here."""

    @property
    def description(self) -> Sequence[Sequence[object]] | None:
        """One item a column, its name first."""

    def execute(self, operation: str, parameters: object = ..., /) -> object:
        """Run one statement."""

    def fetchall(self) -> Sequence[Sequence[object]]:
        """All rows that are left."""

    def close(self) -> None:
        """Give the cursor up."""


class DBAPIConnection(Protocol):
    """The part of a PEP 249 connection that is used here."""

    def cursor(self) -> DBAPICursor:
        """Open a cursor."""

    def rollback(self) -> None:
        """End the transaction without a trace."""


def fetch(
    dbapi_connection: DBAPIConnection, sql: str, parameters: object = None
) -> list[tuple[object, ...]]:
    """Run one statement on a fresh cursor and return its rows, if it gives any."""
    dbapi_cursor = dbapi_connection.cursor()
    try:
        if parameters is None:
            dbapi_cursor.execute(sql)
        else:
            dbapi_cursor.execute(sql, parameters)
        if dbapi_cursor.description is None:
            return []
        return [tuple(row) for row in dbapi_cursor.fetchall()]
    finally:
        dbapi_cursor.close()


def is_plain(value: object) -> bool:
    """Whether a bind value can go to a driver again without running the application's code."""
    return type(value) in _PLAIN
