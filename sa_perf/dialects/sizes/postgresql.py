"""Sizes on PostgreSQL: tables with their partitions, WAL, connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.dialects.inventory.postgresql import PostgreSQLReader
from sa_perf.dialects.sizes.base import DatabaseSizes, TableSize, folder_here, is_local, unanswered

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["postgresql_sizes"]

_SIZE = "SELECT pg_database_size(current_database()) AS bytes"
#: Partitions are added up under their root. Counters of rows are 0 after a crash or a reset.
_TABLES = """
SELECT CASE WHEN home.nspname = :schema THEN quote_ident(root.relname)
            ELSE format('%I.%I', home.nspname, root.relname) END AS name,
       sum(leaf.whole)::bigint AS bytes, sum(leaf.indexes)::bigint AS index_bytes,
       sum(leaf.live)::bigint AS live, sum(leaf.dead)::bigint AS dead
  FROM (SELECT CASE WHEN c.relispartition THEN pg_partition_root(c.oid) ELSE c.oid END AS root,
               pg_total_relation_size(c.oid) AS whole, pg_indexes_size(c.oid) AS indexes,
               s.n_live_tup AS live, s.n_dead_tup AS dead
          FROM pg_class c
          LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
         WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
           AND c.relnamespace NOT IN (SELECT n.oid FROM pg_namespace n
                 WHERE n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast'))) leaf
  JOIN pg_class root ON root.oid = leaf.root
  JOIN pg_namespace home ON home.oid = root.relnamespace
 GROUP BY root.oid, root.relname, home.nspname
 ORDER BY bytes DESC, name LIMIT :tables
"""
#: Needs the role pg_monitor.
_LOG = "SELECT sum(size)::bigint AS bytes FROM pg_ls_waldir()"
#: Needs the role pg_read_all_settings.
_FOLDER = "SELECT current_setting('data_directory') AS folder"
#: Some are kept for superusers, from PostgreSQL 16 on also for members of a role.
_CONNECTIONS = """
SELECT current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int
       - coalesce(current_setting('reserved_connections', true), '0')::int AS most,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS now
"""


def postgresql_sizes(connection: Connection, tables: int, timeout_seconds: float) -> DatabaseSizes:
    """See `read_sizes`."""
    reader = PostgreSQLReader(connection, timeout_seconds=timeout_seconds)
    size = reader.asked("size of the database", _SIZE)
    schema = reader.default_schema
    largest = reader.asked("sizes of tables", _TABLES, tables=tables, schema=schema)
    log = reader.asked("size of the write-ahead log", _LOG)
    local = is_local(connection.engine.url)
    folder = reader.asked("data directory", _FOLDER) if local else []
    connections = reader.asked("connections", _CONNECTIONS)
    here = folder_here(str(folder[0]["folder"]), reader) if folder else None
    return DatabaseSizes(
        total_bytes=int(size[0]["bytes"]) if size else None,
        log_bytes=int(log[0]["bytes"] or 0) if log else None,
        tables=tuple(
            TableSize(
                name=row["name"],
                total_bytes=row["bytes"],
                index_bytes=row["index_bytes"],
                dead_ratio=_ratio(row["dead"], row["live"]),
                rows=row["live"],
            )
            for row in largest
        ),
        folder=here,
        max_connections=connections[0]["most"] if connections else None,
        connections=connections[0]["now"] if connections else None,
        unanswered=unanswered(reader),
    )


def _ratio(dead: int | None, live: int | None) -> float | None:
    if dead is None or live is None:
        return None
    return dead / (dead + live) if dead + live else 0.0
