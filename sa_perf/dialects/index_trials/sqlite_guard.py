"""The user's SQLite database as a trial reads it: limits and errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sa_perf.dialects.dbapi import fetch
from sa_perf.dialects.index_trials.sqlite_source import (
    SourceSchema,
    quoted,
    read_schema,
    schema_versions,
)
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection

__all__ = ["GuardedDatabase"]


class GuardedDatabase:
    """A connection that is only read from.

    Args:
        dialect: of the database.
        dbapi_connection: in no transaction.
        timeout_seconds: for locks, > 0.
    """

    def __init__(
        self, dialect: Dialect, dbapi_connection: DBAPIConnection, *, timeout_seconds: float
    ) -> None:
        self.connection = dbapi_connection
        self._dialect = dialect
        self._milliseconds = max(1, round(timeout_seconds * 1_000))
        self._waited: int | None = None
        self._source: SourceSchema | None = None

    def schema(self) -> SourceSchema:
        """The schema, read at the first question and the same since.

        Raises:
            ExplainError: it cannot be read, or has changed; after that it is read anew.
        """
        with self.reading():
            self._limit()
            if self._source is None:
                self._source = read_schema(self.connection)
                return self._source
            versions = schema_versions(self.connection)
        if versions != self._source.versions:
            self._source = None
            raise ExplainError(
                "the schema of the database has changed since it was copied; ask again"
            )
        return self._source

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what the driver says into an error that says what to do."""
        try:
            yield
        except (ExplainError, ExplainRefused):
            raise
        except Exception as error:
            reason = self._dialect.reason(error, "", None)
            if self._dialect.is_busy(error):
                reason += "; another connection writes, ask again when it has ended"
            message = f"cannot say, because the database cannot be read: {reason}"
            raise ExplainError(message) from error

    def page_bytes(self, schema: str) -> int:
        """Size of a page of one of its files."""
        with self.reading():
            rows = fetch(self.connection, f"PRAGMA {quoted(schema)}.page_size")
            return int(str(rows[0][0]))

    def release(self) -> None:
        """Wait for locks as long as before."""
        self._source = None
        if self._waited is not None:
            waited, self._waited = self._waited, None
            with self.reading():
                fetch(self.connection, f"PRAGMA busy_timeout = {waited}")

    def _limit(self) -> None:
        if self._waited is None:
            rows = fetch(self.connection, "PRAGMA busy_timeout")
            self._waited = int(str(rows[0][0])) if rows else 0
            fetch(self.connection, f"PRAGMA busy_timeout = {self._milliseconds}")
