"""Purging MySQL and MariaDB: rows lie in the order of the primary key."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    TIMESTAMP,
    Table,
    func,
    literal_column,
    select,
    text,
)

from sa_perf.dialects.purging_base import Purging, utc

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.types import TypeEngine

__all__ = ["MariaDBPurging", "MySQLPurging"]

#: Of a session, changed by a run and put back behind it.
_SETTINGS = ("time_zone", "innodb_lock_wait_timeout", "lock_wait_timeout")


class MySQLPurging(Purging):
    """Rows lie in the order of the primary key (InnoDB)."""

    clustered = True
    locks_end_with_connections = True
    returning = False
    reads_own_table = False

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """In UTC, by which TIMESTAMP is read; READ COMMITTED, whatever the engine says.

        AUTOCOMMIT would make no transactions of batches. In REPEATABLE READ a batch would count
        rows below its own as they were before it waited for their locks, and keep others from
        inserting between its rows. The settings are put back at its end, the level by the pool.
        """
        with super().connection(engine) as connection:
            with self.reading(connection):
                asked = ", ".join(f"@@session.{name} AS {name}" for name in _SETTINGS)
                before = dict(connection.exec_driver_sql(f"SELECT {asked}").mappings().one())
            connection.execution_options(isolation_level="READ COMMITTED")
            with self.reading(connection):
                connection.exec_driver_sql("SET SESSION time_zone = '+00:00'")
            try:
                yield connection
            finally:
                self._put_back(connection, {str(name): value for name, value in before.items()})

    def _put_back(self, connection: Connection, settings: dict[str, Any]) -> None:
        """Set a session's settings again; a connection that broke has none to keep."""
        if connection.closed or connection.invalidated:
            return
        if connection.in_transaction():
            connection.rollback()
        values = ", ".join(f"SESSION {name} = :{name}" for name in settings)
        with self.reading(connection):
            connection.execute(text(f"SET {values}"), settings)

    @contextmanager
    def transaction(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """With ``innodb_lock_wait_timeout``, and for ALTER TABLE ``lock_wait_timeout``.

        Both know whole seconds only.
        """
        with connection.begin():
            seconds = max(1, math.ceil(lock_seconds))
            connection.exec_driver_sql(
                f"SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}"
            )
            yield

    def zone_of(self, type_: TypeEngine[Any], declared: str) -> str:
        """TIMESTAMP is a moment, read in the zone of the session, see `connection`."""
        return "UTC" if isinstance(type_, TIMESTAMP) else declared

    def utc_now(self, connection: Connection) -> datetime:
        """``UTC_TIMESTAMP(6)``."""
        return utc(connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one())

    def clock(self, connection: Connection, *, ahead: float = 0.0) -> Any:  # noqa: ANN401
        """``UTC_TIMESTAMP(6)``."""
        return literal_column(f"UTC_TIMESTAMP(6) + INTERVAL {round(ahead * 1_000_000)} MICROSECOND")

    def lock(self, connection: Connection, name: str) -> bool:
        """``GET_LOCK``: it ends with the connection; its names are the whole server's."""
        with self.reading(connection):
            found = connection.execute(
                select(func.get_lock(_lock_name(connection, name), 0))
            ).scalar()
        return found == 1

    def unlock(self, connection: Connection, name: str) -> None:
        """``RELEASE_LOCK``."""
        with self.reading(connection):
            connection.execute(select(func.release_lock(_lock_name(connection, name))))

    def is_transient(self, error: BaseException) -> bool:
        """Lock wait timeout, deadlock, record changed since last read."""
        arguments: Any = getattr(getattr(error, "orig", None), "args", ())
        return bool(arguments) and arguments[0] in (1205, 1213, 1020)

    def size(self, connection: Connection, table: Table) -> tuple[float | None, int | None]:
        """InnoDB's estimates, from ``information_schema``."""
        found = text(
            "SELECT table_rows, data_length + index_length FROM information_schema.tables "
            "WHERE table_name = :name AND table_schema = coalesce(:schema, database())"
        )
        names = {"name": table.name, "schema": table.schema}
        row: Any = connection.execute(found, names).first()
        return (None, None) if row is None else (row[0], row[1])

    def replica_lag_seconds(self, connection: Connection) -> float | None:
        """Of a replica; the primary does not know. Needs REPLICATION CLIENT or REPLICA MONITOR.

        ``Seconds_Behind_Source`` is NULL where replication is stopped or broken.
        """
        rows = connection.exec_driver_sql(self._replica_status(connection)).mappings().all()
        found = [row.get("Seconds_Behind_Source", row.get("Seconds_Behind_Master")) for row in rows]
        return max((math.inf if lag is None else float(lag) for lag in found), default=None)

    def _replica_status(self, connection: Connection) -> str:
        """A row for each source; MySQL 8.4 knows the new word only, before 8.0.22 only the old."""
        version = connection.dialect.server_version_info or ()
        return "SHOW REPLICA STATUS" if version >= (8, 0, 22) else "SHOW SLAVE STATUS"


class MariaDBPurging(MySQLPurging):
    """DELETE ... RETURNING, and subqueries on the table that is changed."""

    returning = True  # from 10.0.5 on
    reads_own_table = True  # from 10.3.2 on

    def _replica_status(self, connection: Connection) -> str:
        """``SHOW REPLICA STATUS``, from 10.5.1 on, has one source only."""
        return "SHOW ALL SLAVES STATUS"


def _lock_name(connection: Connection, name: str) -> str:
    """A lock's name with its database; names have 64 characters at most."""
    whole = f"{connection.engine.url.database or ''}:{name}"
    if len(whole) <= 64:
        return whole
    return f"sa_perf:{hashlib.sha256(whole.encode()).hexdigest()[:40]}"
