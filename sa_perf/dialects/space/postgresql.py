"""Space of PostgreSQL's tables: VACUUM (ANALYZE), and FULL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging import purging_for
from sa_perf.dialects.space.base import LOCAL_HOSTS, Room, Space, Staleness, Usage, Work
from sa_perf.errors import SpaceRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row, Table

__all__ = ["PostgreSQLSpace"]

#: Rows that lie in pages: header and pointer of a row; of a page its 24 bytes of header are off.
#: What is live is guessed from the widths that ANALYZE saw (pg_stats); indexes are taken to be as
#: loose as their table. Without such widths dead rows alone count as reclaimable.
_USAGES = """
SELECT named.name, sum(pg_total_relation_size(leaf.oid))::float8,
       sum(CASE WHEN pg_relation_size(leaf.oid) = 0 THEN pg_total_relation_size(leaf.oid)
                ELSE pg_total_relation_size(leaf.oid) * least(1, CASE
                     WHEN width.bytes IS NULL
                     THEN 1 - coalesce(s.n_dead_tup
                          / nullif(s.n_dead_tup + s.n_live_tup, 0)::float8, 0)
                     ELSE (s.n_live_tup * (width.bytes + 28) * 8192.0 / 8168 + 8192)
                          / pg_relation_size(leaf.oid) END) END)::float8,
       sum(s.n_dead_tup)::float8, min(pg_tablespace_location(leaf.reltablespace))
  FROM (SELECT c.oid, CASE WHEN :named THEN wanted.name
                           ELSE format('%I.%I', n.nspname, c.relname) END AS name
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN unnest(CAST(:names AS text[])) AS wanted (name)
            ON to_regclass(wanted.name) = c.oid
         WHERE CASE WHEN :named THEN wanted.name IS NOT NULL
                    ELSE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
                     AND n.nspname = ANY (current_schemas(false)) END) named
 CROSS JOIN LATERAL (
       SELECT t.* FROM pg_class t WHERE t.oid IN (
              SELECT relid FROM pg_partition_tree(named.oid) WHERE isleaf
              UNION SELECT named.oid) AND t.relkind IN ('r', 'm')) leaf
  LEFT JOIN pg_stat_all_tables s ON s.relid = leaf.oid
  LEFT JOIN LATERAL (
       SELECT sum((1 - st.stanullfrac) * st.stawidth) AS bytes FROM (
              SELECT null_frac AS stanullfrac, avg_width AS stawidth FROM pg_stats p
               WHERE p.schemaname = s.schemaname AND p.tablename = s.relname
                 AND NOT p.inherited) st) width ON true
 GROUP BY named.name ORDER BY named.name
"""
#: Whoever may still need rows that are deleted by now. Snapshots of other databases do not count.
_OLDEST = """
SELECT pid, who, seconds, age FROM (
    SELECT pid, coalesce(nullif(application_name, ''), backend_type) || ' (' || state || ')' AS who,
           extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds,
           age(coalesce(backend_xmin, backend_xid)) AS age
      FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
       AND coalesce(backend_xmin, backend_xid) IS NOT NULL
       AND backend_type <> 'autovacuum worker'
       AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
    UNION ALL
    SELECT NULL, 'prepared transaction ' || gid,
           extract(epoch FROM clock_timestamp() - prepared)::float8, age(transaction)
      FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL
    SELECT active_pid, 'replication slot ' || slot_name, NULL, age(xmin)
      FROM pg_replication_slots WHERE xmin IS NOT NULL
) holders ORDER BY age DESC LIMIT 1
"""
_STALE = """
SELECT format('%I.%I', s.schemaname, s.relname), c.reltuples::float8, s.n_live_tup::float8,
       s.n_mod_since_analyze::float8, coalesce(s.last_analyze, s.last_autoanalyze), wanted.name
  FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid
  LEFT JOIN unnest(CAST(:names AS text[])) AS wanted (name) ON c.oid IN (
       SELECT to_regclass(wanted.name)
       UNION SELECT relid FROM pg_partition_tree(to_regclass(wanted.name)))
 WHERE CASE WHEN :named THEN wanted.name IS NOT NULL
            ELSE s.schemaname = ANY (current_schemas(false)) END
   AND c.relkind IN ('r', 'm')
 ORDER BY 1
"""
#: autovacuum_analyze_threshold and autovacuum_analyze_scale_factor, as they come.
_THRESHOLD, _SCALE = 50, 0.1


class PostgreSQLSpace(Space):
    """Plain VACUUM frees for the table's next rows; only FULL gives back to the disk."""

    ways = ("vacuum", "full")

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """What this connection itself has changed counts at once; that of others after a second."""
        with super().connection(engine) as connection:
            if (connection.dialect.server_version_info or (0,)) >= (15,):
                connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
            yield connection

    def usages(self, connection: Connection, tables: Sequence[Table] | None) -> list[Usage]:
        """Sizes with indexes and TOAST, partitions summed up; what is live is a guess."""
        default = _data_folder(connection)
        found = []
        rows = connection.execute(text(_USAGES), self._named(tables)).all()
        for name, size, live, dead, tablespace in rows:
            folder = default if not tablespace or default is None else str(tablespace)
            found.append(
                Usage(
                    subject=name,
                    bytes=int(size),
                    live_bytes=int(min(size, live)),
                    dead_rows=None if dead is None else int(dead),
                    folder=folder,
                )
            )
        return found

    def work(
        self, connection: Connection, usage: Usage, how: str, *, make_incremental: bool = False
    ) -> Work:
        """FULL writes what stays anew, and as much WAL; VACUUM reads what is there."""
        if how == "vacuum":
            return Work(
                how=how,
                statement=f"VACUUM (ANALYZE) {usage.subject}",
                per_live_mb_seconds=0.0014,
                per_freed_mb_seconds=0.0014,
                loaded_factor=8.0,
                shrinks=False,
                exclusive=False,
                blocks="nobody, save changes of the table's structure",
                rooms=(),
            )
        return Work(
            how=how,
            statement=f"VACUUM (FULL, ANALYZE) {usage.subject}",
            per_live_mb_seconds=0.0083,
            per_freed_mb_seconds=0.0,
            loaded_factor=8.0,
            shrinks=True,
            exclusive=True,
            blocks="everybody who reads or writes the table, all the while (ACCESS EXCLUSIVE)",
            rooms=(
                Room(bytes=usage.live_bytes, folder=usage.folder),
                Room(bytes=usage.live_bytes, folder=_data_folder(connection)),  # pg_wal
            ),
        )

    def hindrances(
        self, connection: Connection, usage: Usage, how: str, *, snapshot_seconds: float
    ) -> list[str]:
        """A transaction that began before rows were deleted keeps them (0.1 of 14.9 MB went)."""
        oldest = connection.exec_driver_sql(_OLDEST).first()
        if oldest is None or (oldest.seconds is not None and oldest.seconds < snapshot_seconds):
            return []
        return [
            f"{usage.subject}: rows deleted since then cannot be freed while {_holder(oldest)} "
            "holds the oldest snapshot; end it, or wait for it"
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
        """Wait for the lock only so long, then VACUUM; says how many dead rows had to stay."""
        connection.exec_driver_sql(f"SET lock_timeout = {max(1, int(lock_seconds * 1_000))}")
        try:
            connection.exec_driver_sql(work.statement)
        except DBAPIError as error:
            if not purging_for(self._dialect).is_transient(error):
                raise
            raise SpaceRefused(
                f"{usage.subject} was in use for longer than {lock_seconds:g} s, so {work.how!r} "
                "let the application go first; try again, or raise lock_seconds"
            ) from error
        finally:
            connection.exec_driver_sql("RESET lock_timeout")
        dead = connection.execute(
            text(
                "SELECT sum(n_dead_tup)::float8 FROM pg_stat_all_tables WHERE relid IN (SELECT "
                "relid FROM pg_partition_tree(to_regclass(:name)) UNION SELECT to_regclass(:name))"
            ),
            {"name": usage.subject},
        ).scalar()
        if not dead or work.how == "full":
            return []
        return [f"{int(dead):,} dead rows had to stay: a transaction may still see them"]

    def stale(self, connection: Connection, tables: Sequence[Table] | None) -> list[Staleness]:
        """More rows changed since ANALYZE than autovacuum would let pass, or none yet."""
        found = []
        for row in connection.execute(text(_STALE), self._named(tables)):
            name, known, live, changed, analyzed, _ = row
            if analyzed is None and known < 0 and live > 0:
                reason, before = f"it was never analyzed and has {live:,.0f} rows", None
            elif changed > _THRESHOLD + _SCALE * max(known, 0):
                reason, before = f"{changed:,.0f} rows changed since it was analyzed", known
            elif known >= 0 and abs(live - known) > _THRESHOLD + _SCALE * max(live, known):
                reason, before = f"statistics say {known:,.0f} rows, it has {live:,.0f}", known
            else:
                continue
            found.append(Staleness(table=name, reason=reason, known_rows=before, rows=live))
        return found

    def _named(self, tables: Sequence[Table] | None) -> dict[str, object]:
        names = [] if tables is None else [self.quoted(table) for table in tables]
        return {"named": tables is not None, "names": names}


def _holder(row: Row[tuple[object, ...]]) -> str:
    pid = "" if row.pid is None else f"pid {row.pid}, "
    since = "" if row.seconds is None else f", for {row.seconds:,.0f} s"
    return f"{row.who} ({pid}{row.age:,} transactions old{since})"


def _data_folder(connection: Connection) -> str | None:
    """``data_directory``, where the server is this machine's and tells."""
    host = str(connection.engine.url.host or connection.engine.url.query.get("host") or "")
    if not (host in LOCAL_HOSTS or host.startswith("/")):
        return None
    try:
        return str(connection.exec_driver_sql("SHOW data_directory").scalar_one())
    except DBAPIError:
        return None
