"""Purging PostgreSQL: advisory locks, lock_timeout, rules."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    DateTime,
    Interval,
    Table,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging_base import Purging, utc
from sa_perf.errors import RetentionError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["PostgreSQLPurging"]

#: Of a partitioned table: of each partition. The planner knows nothing else of their rows.
_KNOWN_OF_LATE = """
SELECT bool_and(coalesce(last_analyze, last_autoanalyze) IS NOT NULL
    AND n_mod_since_analyze <= 50 + reltuples / 5)
FROM pg_class JOIN pg_stat_all_tables ON relid = oid
WHERE relkind <> 'p' AND (oid = to_regclass(:name)
    OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass(:name))))
"""
#: The moment of the last change says nothing where the primary is idle, so no lag is where all that
#: was received is replayed; that says nothing where nothing is received.
_LAG_OF_STANDBY = """
SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_stat_wal_receiver)
    AND pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() THEN 0.0
ELSE coalesce(
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8, 'Infinity'
) END
"""
#: replay_lag outlasts its cause for a while, and in the state catchup it counts from the sending.
_LAG_OF_REPLICAS = """
SELECT max(CASE WHEN state = 'catchup' THEN 'Infinity'
    WHEN state <> 'streaming' THEN NULL
    WHEN replay_lsn >= pg_current_wal_lsn() THEN 0.0
    ELSE coalesce(extract(epoch FROM replay_lag)::float8, 0.0) END), bool_or(state IS NULL)
FROM pg_stat_replication
"""


class PostgreSQLPurging(Purging):
    """Timestamps with a zone, locks of sessions."""

    keeps_zones = True
    keys_apart = True
    locks_end_with_connections = True

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """READ COMMITTED, whatever the engine's own level: a batch checks what it waited for.

        AUTOCOMMIT would make no transactions of batches. The pool puts the level back.
        """
        with super().connection(engine) as connection:
            yield connection.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def transaction(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """With ``lock_timeout``, which ends with the transaction."""
        with connection.begin():
            limit = max(1, math.ceil(lock_seconds * 1_000))
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {limit}")
            yield

    def utc_now(self, connection: Connection) -> datetime:
        """Not ``now()``, which stands still within a transaction."""
        return utc(connection.execute(select(func.clock_timestamp())).scalar_one())

    def clock(self, connection: Connection, *, ahead: float = 0.0) -> Any:  # noqa: ANN401
        """``clock_timestamp()``."""
        now = func.clock_timestamp(type_=DateTime(timezone=True))
        return now + literal(timedelta(seconds=ahead), Interval()) if ahead else now

    def lock(self, connection: Connection, name: str) -> bool:
        """A session's advisory lock: it outlives transactions, not the connection."""
        with self.reading(connection):
            found = connection.execute(select(func.pg_try_advisory_lock(_number(name)))).scalar()
        return bool(found)

    def unlock(self, connection: Connection, name: str) -> None:
        """``pg_advisory_unlock``."""
        with self.reading(connection):
            connection.execute(select(func.pg_advisory_unlock(_number(name))))

    def lock_table(self, connection: Connection, table: Table) -> None:
        """``SHARE ROW EXCLUSIVE``: it may be read, not changed."""
        name = _quoted_table(self._dialect, table)
        connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")

    def is_transient(self, error: BaseException) -> bool:
        """Serialization failure, deadlock, lock not available (appendix A of the manual)."""
        return isinstance(error, DBAPIError) and _sqlstate(error) in ("40001", "40P01", "55P03")

    def may_refuse(self, connection: Connection, table: Table) -> bool:
        """BEFORE DELETE or UPDATE triggers of rows, rules."""
        found = text(
            "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(:name) "
            "AND NOT tgisinternal AND tgtype & 2 = 2 AND tgtype & 24 > 0) OR EXISTS "
            "(SELECT 1 FROM pg_rewrite WHERE ev_class = to_regclass(:name))"
        )
        name = _quoted_table(self._dialect, table)
        return bool(connection.execute(found, {"name": name}).scalar())

    def size(self, connection: Connection, table: Table) -> tuple[float | None, int | None]:
        """Rows by the last VACUUM or ANALYZE at today's size, bytes with indexes and TOAST."""
        found = text(
            "SELECT CASE WHEN reltuples < 0 THEN NULL WHEN relpages = 0 THEN reltuples ELSE "
            "reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int) "
            "END, pg_total_relation_size(oid) FROM pg_class WHERE oid = to_regclass(:name)"
        )
        name = _quoted_table(self._dialect, table)
        row: Any = connection.execute(found, {"name": name}).first()
        return (None, None) if row is None else (row[0], row[1])

    def estimates_well(self, connection: Connection, table: Table) -> bool:
        """Analyzed, and no more than a fifth changed since; else a third of all rows is guessed."""
        name = _quoted_table(self._dialect, table)
        return bool(connection.execute(text(_KNOWN_OF_LATE), {"name": name}).scalar())

    def replica_lag_seconds(self, connection: Connection) -> float | None:
        """On a standby its own lag, on a primary the largest of ``pg_stat_replication``.

        The primary's numbers are as old as the last report of a standby, which sends one at each
        change and every ``wal_receiver_status_interval``.
        """
        if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar():
            found = connection.exec_driver_sql(_LAG_OF_STANDBY).scalar()
            return None if found is None else float(found)
        found, hidden = connection.exec_driver_sql(_LAG_OF_REPLICAS).one()
        if hidden:
            raise RetentionError(
                f"role {connection.exec_driver_sql('SELECT current_user').scalar()!r} may not see "
                "how far replicas are behind; grant it pg_monitor"
            )
        return None if found is None else float(found)


def _number(name: str) -> int:
    """A lock's number, of 64 bits with sign, the same in each process."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _sqlstate(error: DBAPIError) -> str | None:
    source = error.orig
    found = getattr(source, "sqlstate", None) or getattr(source, "pgcode", None)
    return None if found is None else str(found)


def _quoted_table(dialect: SQLAlchemyDialect, table: Table) -> str:
    return dialect.identifier_preparer.format_table(table)
