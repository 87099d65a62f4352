"""What is asked of PostgreSQL's catalog, for any number of tables.

The catalog is open to everybody, but for the positions of sequences. Documented in the PostgreSQL
18 manual, chapters 53 (System Catalogs) and 27 (Monitoring); written for 12 and later. What later
versions added is read by way of to_jsonb(), which leaves it out where it is missing.
"""

from __future__ import annotations

__all__ = [
    "COLUMNS", "COUNTING", "FOREIGN_KEYS", "INDEXES", "SCANS", "SCHEMAS", "SEQUENCES", "SIZES",
    "TABLES",
]  # fmt: skip

SCHEMAS = """
SELECT n.nspname AS name FROM pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = CAST('pg_namespace' AS regclass)
                      AND d.objid = n.oid AND d.deptype = 'e')
 ORDER BY n.nspname
"""
#: Tables that an extension brought along are its own business.
TABLES = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reltuples, c.relpages,
       CASE WHEN c.relispartition THEN i.inhparent END AS whole
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
 WHERE n.nspname IN :schemas AND c.relkind IN ('r', 'p', 'm', 'f', 'v')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = CAST('pg_class' AS regclass)
                      AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
"""
COLUMNS = """
SELECT a.attrelid AS relation, a.attname AS name, NOT a.attnotnull AS nullable,
       format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid),
       CASE WHEN t.typbasetype = 0 THEN a.atttypmod ELSE t.typtypmod END) AS type
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE n.nspname IN :schemas AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
   AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
"""
#: A row for each column of each index. An index that is being built is no broken one; who builds
#: which is hidden from other roles, so then each may be it.
INDEXES = """
SELECT i.indexrelid, i.indrelid, c.relname AS name, i.indisunique, i.indisprimary, i.indisvalid,
       i.indisready, i.indisreplident, i.indisclustered, i.indimmediate,
       coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true' AS nulls_equal,
       am.amname AS method,
       CASE WHEN am.amname <> 'btree' THEN array_to_string(c.reloptions, ', ') END AS settings,
       c.relkind = 'I' AS partitioned, c.relpages, up.inhparent AS whole,
       con.conname, con.contype, refers.name AS referring,
       position.n > i.indnkeyatts AS included, key.attname AS column,
       CASE WHEN key.attname IS NULL THEN pg_get_indexdef(i.indexrelid, position.n, true) END
       AS expression,
       concat_ws(' ', CASE WHEN NOT opc.opcdefault THEN opc.opcname END,
                 array_to_string(own.attoptions, ', '),
                 CASE WHEN coll.oid <> key.attcollation
                        OR (key.attname IS NULL AND coll.collname <> 'default')
                      THEN 'COLLATE ' || coll.collname END) AS own_kind,
       coalesce(i.indoption[position.n - 1], 0) AS direction,
       pg_get_expr(i.indpred, i.indrelid) AS predicate, building.it AS building
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = t.relnamespace
  JOIN pg_am am ON am.oid = c.relam
 CROSS JOIN LATERAL generate_series(1, CAST(i.indnatts AS int)) AS position (n)
  LEFT JOIN pg_attribute key ON key.attrelid = i.indrelid AND key.attnum = i.indkey[position.n - 1]
  LEFT JOIN pg_attribute own ON own.attrelid = i.indexrelid AND own.attnum = position.n
  LEFT JOIN pg_opclass opc ON opc.oid = i.indclass[position.n - 1]
  LEFT JOIN pg_collation coll ON coll.oid = i.indcollation[position.n - 1]
  LEFT JOIN pg_inherits up ON up.inhrelid = i.indexrelid
  LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
  LEFT JOIN (SELECT conindid, min(conname || ' of ' || CAST(conrelid AS regclass)) AS name
               FROM pg_constraint WHERE contype = 'f' GROUP BY conindid) refers
    ON refers.conindid = i.indexrelid
  LEFT JOIN LATERAL (
       SELECT true AS it FROM pg_stat_progress_create_index p
        WHERE NOT i.indisvalid AND p.datname = current_database()
          AND (p.relid IS NULL OR (p.relid = i.indrelid AND p.index_relid IN (0, i.indexrelid)))
        LIMIT 1) building ON true
 WHERE n.nspname IN :schemas AND t.relkind IN ('r', 'p', 'm')
 ORDER BY i.indrelid, c.relname, i.indexrelid, position.n
"""
#: Keys of partitions are copies of those of the whole.
FOREIGN_KEYS = """
SELECT c.oid, c.conname AS name, n.nspname AS schema, t.relname AS relation,
       fn.nspname AS referred_schema, f.relname AS referred, a.attname AS column,
       fa.attname AS referred_column, c.convalidated
  FROM pg_constraint c
  JOIN pg_class t ON t.oid = c.conrelid
  JOIN pg_namespace n ON n.oid = t.relnamespace
  JOIN pg_class f ON f.oid = c.confrelid
  JOIN pg_namespace fn ON fn.oid = f.relnamespace
 CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (own, other, position)
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own
  JOIN pg_attribute fa ON fa.attrelid = c.confrelid AND fa.attnum = k.other
 WHERE c.contype = 'f' AND c.conparentid = 0
   AND (n.nspname IN :schemas OR fn.nspname IN :schemas)
 ORDER BY n.nspname, t.relname, c.conname, c.oid, k.position
"""
SCANS = "SELECT indexrelid, idx_scan FROM pg_stat_all_indexes WHERE schemaname IN :schemas"
#: Since when scans are counted. stats_reset of a database is NULL where nobody ever reset it, and
#: from version 15 on also after a crash, which loses all statistics. Those of the whole server
#: get their moment when that happens, or later, when they are reset: the earliest of them is a time
#: since when counts are whole (pgstat_reset_after_failure() in utils/activity/pgstat.c).
COUNTING = """
SELECT since.moment, CAST(extract(epoch FROM now() - since.moment) AS float8) AS seconds,
       current_setting('track_counts') = 'on' AS counts, pg_is_in_recovery() AS standby,
       EXISTS (SELECT FROM pg_stat_replication r
                WHERE coalesce(r.application_name, '') NOT IN ('pg_basebackup', 'pg_receivewal')
                  AND NOT EXISTS (SELECT FROM pg_replication_slots s
                                   WHERE s.active_pid = r.pid AND s.slot_type = 'logical'))
       AS replicas
  FROM (SELECT coalesce(
               (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
               least((SELECT stats_reset FROM pg_stat_bgwriter),
                     (SELECT stats_reset FROM pg_stat_archiver))) AS moment) since
"""
SIZES = """
SELECT c.oid, pg_relation_size(c.oid) AS bytes
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN :schemas AND c.relkind IN ('r', 'm', 'i')
"""
#: A row for each column that takes numbers of a sequence: one that it belongs to (serial,
#: identity), or whose default asks for it.
SEQUENCES = """
SELECT n.nspname AS schema, c.relname AS name, s.seqmin, s.seqmax, s.seqincrement, s.seqcycle,
       readable.it AS readable,
       CASE WHEN readable.it THEN pg_sequence_last_value(c.oid) END AS last,
       tn.nspname AS table_schema, t.relname AS relation, a.attname AS column,
       format_type(coalesce(nullif(ty.typbasetype, 0), a.atttypid), NULL) AS type
  FROM pg_sequence s
  JOIN pg_class c ON c.oid = s.seqrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (SELECT has_sequence_privilege(c.oid, 'USAGE, SELECT') AS it) readable
  LEFT JOIN (
       SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
         FROM pg_depend d
        WHERE d.classid = CAST('pg_class' AS regclass)
          AND d.refclassid = CAST('pg_class' AS regclass)
          AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
       UNION
       SELECT d.refobjid, ad.adrelid, ad.adnum
         FROM pg_depend d JOIN pg_attrdef ad ON ad.oid = d.objid
        WHERE d.classid = CAST('pg_attrdef' AS regclass)
          AND d.refclassid = CAST('pg_class' AS regclass)) used
    JOIN pg_class t ON t.oid = used.relation AND NOT t.relispartition
    ON used.sequence = s.seqrelid
  LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = used.relation AND a.attnum = used.number
  LEFT JOIN pg_type ty ON ty.oid = a.atttypid
 WHERE n.nspname IN :schemas AND c.relpersistence <> 't'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = CAST('pg_class' AS regclass)
                      AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname, tn.nspname, t.relname, a.attname
"""
