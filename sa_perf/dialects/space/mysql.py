"""Space of MySQL's and MariaDB's tables: OPTIMIZE TABLE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging import purging_for
from sa_perf.dialects.space.base import (
    LOCAL_HOSTS,
    Request,
    Room,
    Space,
    Staleness,
    Usage,
    Work,
)
from sa_perf.errors import SpaceRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row, Table, TextClause

__all__ = ["MariaDBSpace", "MySQLSpace"]

_USAGES = """
SELECT table_schema AS home, table_name AS name, engine AS storage,
       data_length + index_length AS used, data_free AS free
  FROM information_schema.tables
 WHERE table_type = 'BASE TABLE' AND {which} ORDER BY table_schema, table_name
"""
_CURRENT = "table_schema = database()"
_NAMED = "(table_schema, table_name) IN :pairs"
#: What InnoDB counts at each change, against what its statistics were last read as.
_STALE = """
SELECT table_schema AS home, table_name AS name, table_rows AS now,
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
#: The storage engine that is used while OPTIMIZE writes a table anew.
_ONLINE = "InnoDB"
#: Changes made meanwhile are kept aside: innodb_online_alter_log_max_size, 128 MiB as it comes.
_ONLINE_LOG_BYTES = 128 * 1024 * 1024


class MariaDBSpace(Space):
    """With a file for each table, OPTIMIZE gives its free pages back."""

    ways = ("optimize",)

    def usages(self, connection: Connection, tables: Sequence[Table] | None) -> list[Usage]:
        """By the engine's estimates; what InnoDB has free lies beside what it uses, not within."""
        folder = _data_folder(connection)
        quote = self._dialect.identifier_preparer.quote
        found = []
        for row in self._rows(connection, _USAGES, tables):
            used, free = int(row.used or 0), int(row.free or 0)
            inside = 0 if row.storage == _ONLINE else free
            found.append(
                Usage(
                    subject=f"{quote(row.home)}.{quote(row.name)}",
                    bytes=used - inside + free,
                    live_bytes=used - inside,
                    copy_bytes=used - inside,
                    storage=row.storage,
                    folder=folder,
                )
            )
        return found

    def work(self, connection: Connection, usage: Usage, request: Request) -> Work:
        """A new copy is written; 1.28 s for 109 MB that stayed. InnoDB is used meanwhile.

        https://mariadb.com/kb/en/optimize-table/: other engines lock the table.
        """
        online = usage.storage == _ONLINE
        return Work(
            how=request.how,
            statement=f"OPTIMIZE TABLE {usage.subject}",
            per_live_mb_seconds=0.012,
            per_freed_mb_seconds=0.0,
            loaded_factor=8.0,
            shrinks=True,
            exclusive=not online,
            blocks="everybody for a moment at its beginning and end; with Galera all the while"
            if online
            else f"everybody who reads or writes the table, all the while ({usage.storage})",
            rooms=(
                Room(
                    bytes=usage.copy_bytes + (_ONLINE_LOG_BYTES if online else 0),
                    folder=usage.folder,
                ),
            ),
        )

    def hindrances(self, connection: Connection, usage: Usage, request: Request) -> list[str]:
        """In InnoDB's shared tablespace nothing is given back."""
        own = connection.exec_driver_sql("SELECT @@innodb_file_per_table").scalar_one()
        if own or usage.storage != _ONLINE:
            return []
        return [
            f"{usage.subject}: innodb_file_per_table is off, so its new copy goes to the shared "
            "file, which never shrinks; set it on"
        ]

    def reclaim(
        self, connection: Connection, usage: Usage, work: Work, request: Request
    ) -> list[str]:
        """Wait for the table's metadata lock only so long, then write it anew."""
        limit = max(1, int(request.lock_seconds))
        try:
            with _setting(connection, "lock_wait_timeout", limit):
                answer = connection.exec_driver_sql(work.statement).all()
        except DBAPIError as error:
            if not purging_for(self._dialect).is_transient(error):
                raise
            raise _in_use(usage, request) from error
        failed = [str(row[3]) for row in answer if str(row[2]).lower() == "error"]
        if any("lock wait timeout" in one.lower() for one in failed):
            raise _in_use(usage, request)
        if failed:
            raise SpaceRefused(f"{usage.subject} was not optimized: {'; '.join(failed)}")
        return []

    def stale(self, connection: Connection, tables: Sequence[Table] | None) -> list[Staleness]:
        """InnoDB's count of rows is far off what its statistics say; needs SELECT on ``mysql``."""
        try:
            rows = self._rows(connection, _STALE, tables)
        except DBAPIError:
            return []
        quote = self._dialect.identifier_preparer.quote
        found = []
        for row in rows:
            now, known = float(row.now or 0), row.known
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
                    table=f"{quote(row.home)}.{quote(row.name)}",
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
    ) -> Sequence[Row[Any]]:
        if tables is None:
            stmt: TextClause = text(sql.format(which=_CURRENT))
            return connection.execute(stmt).all()
        database = connection.exec_driver_sql("SELECT database()").scalar_one()
        pairs = [(table.schema or database, table.name) for table in tables]
        if not pairs:
            return []
        stmt = text(sql.format(which=_NAMED)).bindparams(bindparam("pairs", expanding=True))
        return connection.execute(stmt, {"pairs": pairs}).all()


class MySQLSpace(MariaDBSpace):
    """As MariaDB, but for sizes of up to a day ago."""

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """``information_schema`` is read anew, each time."""
        with (
            super().connection(engine) as connection,
            _setting(connection, "information_schema_stats_expiry", 0),
        ):
            yield connection


@contextmanager
def _setting(connection: Connection, name: str, value: int) -> Iterator[None]:
    """Change a setting of the session for a time; a connection that broke has none to keep."""
    before = connection.exec_driver_sql(f"SELECT @@session.{name}").scalar_one()
    connection.exec_driver_sql(f"SET SESSION {name} = {value}")
    try:
        yield
    finally:
        if not (connection.closed or connection.invalidated):
            connection.exec_driver_sql(f"SET SESSION {name} = {before}")


def _in_use(usage: Usage, request: Request) -> SpaceRefused:
    return SpaceRefused(
        f"{usage.subject} was in use for longer than {request.lock_seconds:g} s, so OPTIMIZE let "
        "the application go first; try again, or raise lock_seconds"
    )


def _data_folder(connection: Connection) -> str | None:
    """``datadir``, where the server is this machine's."""
    if str(connection.engine.url.host or "") not in LOCAL_HOSTS:
        return None
    return str(connection.exec_driver_sql("SELECT @@datadir").scalar_one())
