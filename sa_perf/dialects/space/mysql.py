"""Space of MySQL's and MariaDB's tables: OPTIMIZE TABLE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging import purging_for
from sa_perf.dialects.space.base import LOCAL_HOSTS, Room, Space, Staleness, Usage, Work
from sa_perf.errors import SpaceRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table, TextClause

__all__ = ["MariaDBSpace", "MySQLSpace"]

_USAGES = """
SELECT table_schema, table_name, data_length + index_length, data_free
  FROM information_schema.tables
 WHERE table_type = 'BASE TABLE' AND {which} ORDER BY table_schema, table_name
"""
_CURRENT = "table_schema = database()"
_NAMED = "(table_schema, table_name) IN :pairs"
#: What InnoDB counts at each change, against what its statistics were last read as.
_STALE = """
SELECT table_schema, table_name, table_rows,
       (SELECT cast(sum(s.n_rows) AS double) FROM mysql.innodb_table_stats s
         WHERE s.database_name = t.table_schema
           AND (s.table_name = t.table_name OR s.table_name LIKE concat(
                replace(replace(t.table_name, '\\\\', '\\\\\\\\'), '_', '\\\\_'), '#P#%'))) AS known
  FROM information_schema.tables t
 WHERE table_type = 'BASE TABLE' AND engine = 'InnoDB' AND {which}
 ORDER BY table_schema, table_name
"""
#: innodb_stats_auto_recalc starts at a tenth.
_LEAST_ROWS, _FAR_OFF = 100, 0.1
#: Changes made meanwhile are kept aside: innodb_online_alter_log_max_size, 128 MiB as it comes.
_ONLINE_LOG_BYTES = 128 * 1024 * 1024


class MySQLSpace(Space):
    """With a file for each table, OPTIMIZE gives its free pages back."""

    ways = ("optimize",)

    def usages(self, connection: Connection, tables: Sequence[Table] | None) -> list[Usage]:
        """By InnoDB's estimates: data and indexes, and what is free in the file."""
        self._fresh(connection)
        folder = _data_folder(connection)
        quote = self._dialect.identifier_preparer.quote
        found = []
        for schema, name, used, free in self._rows(connection, _USAGES, tables):
            found.append(
                Usage(
                    subject=f"{quote(schema)}.{quote(name)}",
                    bytes=int(used or 0) + int(free or 0),
                    live_bytes=int(used or 0),
                    folder=folder,
                )
            )
        return found

    def work(
        self, connection: Connection, usage: Usage, how: str, *, make_incremental: bool = False
    ) -> Work:
        """A new copy is written; 1.28 s for 109 MB that stayed."""
        return Work(
            how=how,
            statement=f"OPTIMIZE TABLE {usage.subject}",
            per_live_mb_seconds=0.012,
            per_freed_mb_seconds=0.0,
            loaded_factor=8.0,
            shrinks=True,
            exclusive=False,
            blocks="everybody for a moment at its beginning and end; with Galera all the while",
            rooms=(Room(bytes=usage.live_bytes + _ONLINE_LOG_BYTES, folder=usage.folder),),
        )

    def hindrances(
        self, connection: Connection, usage: Usage, how: str, *, snapshot_seconds: float
    ) -> list[str]:
        """In the shared tablespace nothing is given back."""
        own = connection.exec_driver_sql("SELECT @@innodb_file_per_table").scalar_one()
        if own:
            return []
        return [
            f"{usage.subject}: innodb_file_per_table is off, so its new copy goes to the shared "
            "file, which never shrinks; set it on"
        ]

    def reclaim(
        self,
        connection: Connection,
        usage: Usage,
        work: Work,
        *,
        lock_seconds: float,
        sleep: Callable[[float], None],
    ) -> list[str]:
        """Wait for the table's metadata lock only so long, then write it anew."""
        before = connection.exec_driver_sql("SELECT @@lock_wait_timeout").scalar_one()
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {max(1, int(lock_seconds))}")
        try:
            answer = connection.exec_driver_sql(work.statement).all()
        except DBAPIError as error:
            if not purging_for(self._dialect).is_transient(error):
                raise
            raise _in_use(usage, lock_seconds) from error
        finally:
            connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {before}")
        failed = [str(row[3]) for row in answer if str(row[2]).lower() == "error"]
        if any("lock wait timeout" in one.lower() for one in failed):
            raise _in_use(usage, lock_seconds)
        if failed:
            raise SpaceRefused(f"{usage.subject} was not optimized: {'; '.join(failed)}")
        return []

    def stale(self, connection: Connection, tables: Sequence[Table] | None) -> list[Staleness]:
        """InnoDB's count of rows is far off what its statistics say; needs SELECT on ``mysql``."""
        self._fresh(connection)
        try:
            rows = self._rows(connection, _STALE, tables)
        except DBAPIError:
            return []
        quote = self._dialect.identifier_preparer.quote
        found = []
        for schema, name, now, known in rows:
            now = float(now or 0)
            if known is None:
                if now < _LEAST_ROWS:
                    continue
                reason = f"it was never analyzed and has some {now:,.0f} rows"
            elif abs(now - known) > _LEAST_ROWS + _FAR_OFF * max(now, known):
                reason = f"statistics say {known:,.0f} rows, it has some {now:,.0f}"
            else:
                continue
            found.append(
                Staleness(
                    table=f"{quote(schema)}.{quote(name)}",
                    reason=reason,
                    known_rows=known,
                    rows=now,
                )
            )
        return found

    def analyze_sql(self, table: str) -> str:
        """ANALYZE TABLE."""
        return f"ANALYZE TABLE {table}"

    def _rows(
        self, connection: Connection, sql: str, tables: Sequence[Table] | None
    ) -> list[tuple[str, str, float | None, float | None]]:
        if tables is None:
            stmt: TextClause = text(sql.format(which=_CURRENT))
            return [tuple(row) for row in connection.execute(stmt)]
        database = connection.exec_driver_sql("SELECT database()").scalar_one()
        pairs = [(table.schema or database, table.name) for table in tables]
        if not pairs:
            return []
        stmt = text(sql.format(which=_NAMED)).bindparams(bindparam("pairs", expanding=True))
        return [tuple(row) for row in connection.execute(stmt, {"pairs": pairs})]

    def _fresh(self, connection: Connection) -> None:
        """MySQL 8 shows sizes of up to a day ago."""
        connection.exec_driver_sql("SET SESSION information_schema_stats_expiry = 0")


class MariaDBSpace(MySQLSpace):
    """As MySQL, with sizes that are never old."""

    def _fresh(self, connection: Connection) -> None:
        """Nothing to do."""


def _in_use(usage: Usage, lock_seconds: float) -> SpaceRefused:
    return SpaceRefused(
        f"{usage.subject} was in use for longer than {lock_seconds:g} s, so OPTIMIZE let the "
        "application go first; try again, or raise lock_seconds"
    )


def _data_folder(connection: Connection) -> str | None:
    """``datadir``, where the server is this machine's."""
    if str(connection.engine.url.host or "") not in LOCAL_HOSTS:
        return None
    return str(connection.exec_driver_sql("SELECT @@datadir").scalar_one())
