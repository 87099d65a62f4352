"""What PostgreSQL's catalog says of partitions."""

from __future__ import annotations

__all__ = [
    "CHECKED", "DETACHED", "KEY", "MANAGED", "MANAGERS", "MARKED", "PARTS", "REFERENCES",
    "REFERRERS", "SIZE", "WRITTEN_COLUMNS",
]  # fmt: skip

KEY = """
SELECT format('%I.%I', n.nspname, c.relname) AS parent, p.partstrat::text AS strategy,
       p.partnatts AS columns, a.attname AS column, pg_get_userbyid(c.relowner) AS owner,
       pg_get_userbyid(c.relowner) = current_user AS is_ours
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
 WHERE c.oid = to_regclass(:name)
"""
#: Tables that look like pg_partman's configuration, and whether they can be read.
MANAGERS = """
SELECT n.nspname, has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = 'part_config' AND c.relkind = 'r' AND (
       SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN
              ('parent_table', 'partition_interval', 'premake', 'retention')) = 4
"""
#: How pg_partman manages a table, whose name it has without quotes; {config} is its table.
MANAGED = """
SELECT partition_interval, premake, retention FROM {config}, pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass(:name)
   AND parent_table IN (n.nspname || '.' || c.relname, format('%I.%I', n.nspname, c.relname))
"""
#: inhdetachpending came with version 14.
PARTS = """
SELECT c.relname AS name, CASE WHEN c.relnamespace <> p.relnamespace THEN n.nspname END AS schema,
       pg_get_expr(c.relpartbound, c.oid) AS bound,
       coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false) AS pending,
       leaves.rows::float8 AS rows, leaves.bytes::float8 AS bytes
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
       SELECT sum(coalesce(nullif(l.reltuples, -1), s.n_live_tup, 0)) AS rows,
              sum(pg_total_relation_size(l.oid)) AS bytes
         FROM pg_class l LEFT JOIN pg_stat_all_tables s ON s.relid = l.oid
        WHERE l.oid = c.oid OR (c.relkind = 'p' AND l.oid IN (
              SELECT relid FROM pg_partition_tree(c.oid)))) leaves
 WHERE i.inhparent = to_regclass(:name)
"""
#: Tables with a comment of ours that are no partitions.
DETACHED = """
SELECT c.relname AS name, format('%I.%I', cn.nspname, c.relname) AS child, c.oid::bigint AS oid,
       CASE WHEN c.relnamespace <> p.relnamespace THEN cn.nspname END AS schema,
       d.description AS comment, format('%I.%I', pn.nspname, p.relname) AS parent
  FROM pg_description d
  JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
  JOIN pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_class p ON p.oid = to_regclass(:name)
  JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE d.description LIKE :mark AND NOT c.relispartition AND c.relkind IN ('r', 'p')
 ORDER BY c.relname
"""
#: One table, with its comment.
MARKED = """
SELECT format('%I.%I', n.nspname, c.relname) AS child, c.oid::bigint AS oid,
       obj_description(c.oid, 'pg_class') AS comment
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(:name)
"""
CHECKED = """
SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(:name) AND conname = :check
"""
SIZE = "SELECT pg_table_size(to_regclass(:name))"
#: Foreign keys to a table, and what their column for its moment is called.
REFERENCES = """
SELECT f.conname AS name, f.conrelid::regclass::text AS source, quote_ident(at.attname) AS at,
       array(SELECT quote_ident(b.attname) FROM pg_attribute b
              WHERE b.attrelid = f.conrelid AND b.attnum = ANY (f.conkey)) AS columns,
       has_table_privilege(f.conrelid, 'SELECT') AS readable
  FROM pg_constraint f
 CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS pair (own, theirs)
  JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = pair.theirs AND a.attname = :column
  JOIN pg_attribute at ON at.attrelid = f.conrelid AND at.attnum = pair.own
 WHERE f.contype = 'f' AND f.confrelid = to_regclass(:name) AND f.conparentid = 0
 ORDER BY f.conname
"""
WRITTEN_COLUMNS = """
SELECT attname FROM pg_attribute
 WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
 ORDER BY attnum
"""
#: What would act, or refuse, when rows of a partition are deleted only to be moved.
REFERRERS = """
SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint
 WHERE contype = 'f' AND confrelid = to_regclass(:name)
UNION ALL
SELECT 'trigger ' || tgname FROM pg_trigger
 WHERE tgrelid = to_regclass(:child) AND NOT tgisinternal AND tgtype & 8 = 8
 LIMIT 1
"""
