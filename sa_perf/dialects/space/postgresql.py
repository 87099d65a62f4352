"""Space of PostgreSQL's tables: VACUUM (ANALYZE), and FULL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text
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
    from sqlalchemy import Connection, Engine, Row, Table

__all__ = ["PostgreSQLSpace"]

#: Rows that lie in pages: header and pointer of a row; of a page its 24 bytes of header are off.
#: What is live is guessed from the widths that ANALYZE saw (pg_stats, of each column that has
#: any); indexes are taken to be as loose as their table. Without such widths dead rows alone count
#: as reclaimable, and a copy may take all there is. The counters of rows begin at 0 after
#: pg_stat_reset and after a crash (https://www.postgresql.org/docs/18/monitoring-stats.html): until
#: a VACUUM or ANALYZE is counted again, pg_class holds what was known before; pages that came
#: since are taken to be full.
_USAGES = """
SELECT named.name, sum(whole)::float8 AS bytes,
       sum(whole * CASE WHEN heap = 0 THEN 1
                        WHEN width.bytes IS NULL OR (live <= 0 AND NOT counted)
                        THEN 1 - coalesce(s.n_dead_tup / nullif(s.n_dead_tup + live, 0), 0)
                        ELSE least(1, filled / heap) END)::float8 AS live_bytes,
       sum(whole * CASE WHEN heap = 0 OR width.bytes IS NULL OR (live <= 0 AND NOT counted) THEN 1
                        ELSE least(1, (filled + added) / heap) END)::float8 AS copy_bytes,
       min(pg_tablespace_location(leaf.reltablespace)) AS tablespace
  FROM (SELECT c.oid, CASE WHEN :named THEN wanted.name
                           ELSE format('%I.%I', n.nspname, c.relname) END AS name
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN unnest(CAST(:names AS text[])) AS wanted (name)
            ON to_regclass(wanted.name) = c.oid
         WHERE CASE WHEN :named THEN wanted.name IS NOT NULL
                    ELSE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND ({permitted})
                     AND n.nspname = ANY (current_schemas(false)) END) named
 CROSS JOIN LATERAL (
       SELECT t.*, pg_total_relation_size(t.oid) AS whole, pg_relation_size(t.oid)::float8 AS heap
         FROM pg_class t WHERE t.oid IN (
              SELECT relid FROM pg_partition_tree(named.oid) WHERE isleaf
              UNION SELECT named.oid) AND t.relkind IN ('r', 'm')) leaf
  JOIN pg_stat_all_tables s ON s.relid = leaf.oid
 CROSS JOIN LATERAL (
       SELECT CASE WHEN count(*) = (
                   SELECT count(*) FROM pg_attribute a WHERE a.attrelid = leaf.oid
                      AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v')
                   THEN sum((1 - p.null_frac) * p.avg_width) END AS bytes
         FROM pg_stats p
        WHERE p.schemaname = s.schemaname AND p.tablename = s.relname AND NOT p.inherited) width
 CROSS JOIN LATERAL (
       SELECT s.vacuum_count + s.autovacuum_count + s.analyze_count + s.autoanalyze_count > 0
              AS counted) known
 CROSS JOIN LATERAL (
       SELECT CASE WHEN counted THEN s.n_live_tup
                   ELSE greatest(s.n_live_tup, leaf.reltuples) END::float8 AS live,
              CASE WHEN counted THEN 0
                   ELSE greatest(0, heap - leaf.relpages * 8192.0) END AS added) guessed
 CROSS JOIN LATERAL (
       SELECT live * (width.bytes + 28) * 8192.0 / 8168 + 8192 AS filled) copied
 GROUP BY named.name ORDER BY named.name
"""
#: Whoever may still need rows that are deleted by now; the oldest of those that hinder. Snapshots
#: of other databases do not count, but those of replicas do (hot_standby_feedback), by their
#: connection or by their slot: how long they have been held nobody knows.
_HINDERING = """
SELECT pid, who, seconds, age, remedy FROM (
    SELECT pid, coalesce(nullif(application_name, ''), backend_type)
                || coalesce(' (' || state || ')', '') AS who,
           extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds,
           age(coalesce(backend_xmin, backend_xid)) AS age, 'end it, or wait for it' AS remedy
      FROM pg_stat_activity
     WHERE (datname = current_database() OR datname IS NULL) AND pid <> pg_backend_pid()
       AND coalesce(backend_xmin, backend_xid) IS NOT NULL
       AND backend_type <> 'autovacuum worker'
       AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
    UNION ALL
    SELECT NULL, 'prepared transaction ' || gid,
           extract(epoch FROM clock_timestamp() - prepared)::float8, age(transaction),
           'end it by COMMIT PREPARED or ROLLBACK PREPARED'
      FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL
    SELECT active_pid, 'replication slot ' || slot_name, NULL, age(xmin),
           'end the long query of its replica, or drop the slot if that is gone'
      FROM pg_replication_slots
     WHERE xmin IS NOT NULL AND (database = current_database() OR database IS NULL)
) holders
 WHERE CASE WHEN seconds IS NULL THEN age > :transactions ELSE seconds >= :seconds END
 ORDER BY age DESC LIMIT 1
"""
#: Whom VACUUM obeys; tables of others it leaves out with a warning.
_PERMITTED = """
pg_has_role(c.relowner, 'USAGE') OR pg_has_role(
    (SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE')"""
_GRANTED = " OR has_table_privilege(c.oid, 'MAINTAIN')"
_OWNER = """
SELECT pg_get_userbyid(c.relowner) FROM pg_class c
 WHERE c.oid = to_regclass(:name) AND NOT ({permitted})
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
        """Sizes with indexes and TOAST, partitions summed up; what is live is a guess.

        Of all tables those count that the role may vacuum: an extension's are often another's.
        """
        default = _data_folder(connection)
        found = []
        rows = connection.execute(text(_permitted(connection, _USAGES)), self._named(tables)).all()
        for name, size, live, copy, tablespace in rows:
            folder = default if not tablespace or default is None else str(tablespace)
            found.append(
                Usage(
                    subject=name,
                    bytes=int(size),
                    live_bytes=int(min(size, live)),
                    copy_bytes=int(min(size, copy)),
                    folder=folder,
                )
            )
        return found

    def work(self, connection: Connection, usage: Usage, request: Request) -> Work:
        """FULL writes what stays anew, and as much WAL; VACUUM reads what is there."""
        if request.how == "vacuum":
            return Work(
                how=request.how,
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
            how=request.how,
            statement=f"VACUUM (FULL, ANALYZE) {usage.subject}",
            per_live_mb_seconds=0.0083,
            per_freed_mb_seconds=0.0,
            loaded_factor=8.0,
            shrinks=True,
            exclusive=True,
            blocks="everybody who reads or writes the table, all the while (ACCESS EXCLUSIVE)",
            rooms=(
                Room(bytes=usage.copy_bytes, folder=usage.folder),
                Room(bytes=usage.copy_bytes, folder=_data_folder(connection)),  # pg_wal
            ),
        )

    def hindrances(self, connection: Connection, usage: Usage, request: Request) -> list[str]:
        """A transaction that began before rows were deleted keeps them (0.1 of 14.9 MB went)."""
        found = []
        asked = text(_permitted(connection, _OWNER))
        owner = connection.execute(asked, {"name": usage.subject}).scalar()
        if owner is not None:
            found.append(
                f"{usage.subject}: this role may not vacuum it; connect as its owner, {owner}"
            )
        limits = {
            "seconds": request.snapshot_seconds,
            "transactions": request.snapshot_transactions,
        }
        oldest = connection.execute(text(_HINDERING), limits).first()
        if oldest is not None:
            found.append(
                f"{usage.subject}: rows deleted since then cannot be freed while {_holder(oldest)} "
                f"holds the oldest snapshot; {oldest.remedy}"
            )
        return found

    def reclaim(
        self, connection: Connection, usage: Usage, work: Work, request: Request
    ) -> list[str]:
        """Wait for the lock only so long, then VACUUM; says how many dead rows had to stay."""
        try:
            with _lock_timeout(connection, request.lock_seconds):
                connection.exec_driver_sql(work.statement)
        except DBAPIError as error:
            if not purging_for(self._dialect).is_transient(error):
                raise
            raise SpaceRefused(
                f"{usage.subject} was in use for longer than {request.lock_seconds:g} s, so "
                f"{work.how!r} let the application go first; try again, or raise lock_seconds"
            ) from error
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


def _permitted(connection: Connection, sql: str) -> str:
    """SQL with what may be vacuumed; the privilege MAINTAIN came with PostgreSQL 17."""
    grants = (connection.dialect.server_version_info or (0,)) >= (17,)
    return sql.format(permitted=_PERMITTED + _GRANTED if grants else _PERMITTED)


def _holder(row: Row[tuple[object, ...]]) -> str:
    pid = "" if row.pid is None else f"pid {row.pid}, "
    since = "" if row.seconds is None else f", for {row.seconds:,.0f} s"
    return f"{row.who} ({pid}{row.age:,} transactions old{since})"


@contextmanager
def _lock_timeout(connection: Connection, seconds: float) -> Iterator[None]:
    """Wait for locks only so long, for a time; a connection that broke keeps no setting."""
    change = text("SELECT set_config('lock_timeout', :value, false)")
    before = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
    connection.execute(change, {"value": str(max(1, int(seconds * 1_000)))})
    try:
        yield
    finally:
        if not (connection.closed or connection.invalidated):
            connection.execute(change, {"value": before})


def _data_folder(connection: Connection) -> str | None:
    """``data_directory``, where the server is this machine's and tells."""
    host = str(connection.engine.url.host or connection.engine.url.query.get("host") or "")
    if not (host in LOCAL_HOSTS or host.startswith("/")):
        return None
    try:
        return str(connection.exec_driver_sql("SHOW data_directory").scalar_one())
    except DBAPIError:
        return None
