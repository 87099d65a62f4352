"""What PostgreSQL's catalog says of a table to be converted."""

from __future__ import annotations

__all__ = ["COLUMNS", "HINDRANCES", "INDEXES", "LEFT_CHECK", "LEFT_INDEX", "TABLE"]

TABLE = """
SELECT pg_get_userbyid(c.relowner) AS owner, pg_get_userbyid(c.relowner) = current_user AS is_ours,
       key.name AS key_name, key.columns AS key,
       (SELECT array_agg(format('ALTER TABLE %s ADD CONSTRAINT %I %s', CAST(:name AS text),
                                f.conname,
                                pg_get_constraintdef(f.oid)) ORDER BY f.conname)
          FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f') AS "references",
       array(SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, CAST(:name AS text),
                           CASE WHEN a.grantee = 0 THEN 'PUBLIC'
                                ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
               FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) AS grants
  FROM pg_class c
  LEFT JOIN LATERAL (
       SELECT k.conname AS name, array(
              SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS part (number, place)
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = part.number
               ORDER BY part.place) AS columns
         FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p') key ON true
 WHERE c.oid = to_regclass(:name)
"""
#: Columns that count by a sequence of their own.
COLUMNS = """
SELECT a.attname AS name, a.attidentity::text AS identity, d.objid::regclass::text AS sequence,
       format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', q.seqstart,
              q.seqincrement, q.seqmin, q.seqmax, q.seqcache,
              CASE WHEN q.seqcycle THEN ' CYCLE' ELSE '' END) AS options
  FROM pg_attribute a
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
   AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_sequence q ON q.seqrelid = s.oid
 WHERE a.attrelid = to_regclass(:name) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
#: Indexes but the primary key's, and what makes them of a table of that name.
INDEXES = """
SELECT c.relname AS name, CASE WHEN k.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
       ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', CAST(:name AS text), k.conname,
                   pg_get_constraintdef(k.oid)) END AS statement
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('u', 'x')
   AND k.conrelid = i.indrelid
 WHERE i.indrelid = to_regclass(:name) AND NOT i.indisprimary AND i.indisvalid
   AND c.relname <> :left
 ORDER BY c.relname
"""
#: What a conversion that failed has left of its preparation.
LEFT_CHECK = """
SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(:name) AND conname = :left
"""
LEFT_INDEX = """
SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = to_regclass(:name) AND c.relname = :left
"""
#: What would be lost, or would not let the table become a partition; a phrase each.
HINDRANCES = """
WITH old AS (SELECT * FROM pg_class WHERE oid = to_regclass(:name))
SELECT 'it is no ordinary table' FROM old WHERE relkind <> 'r' OR relispartition
UNION ALL SELECT 'it is unlogged or temporary' FROM old WHERE relpersistence <> 'p'
UNION ALL SELECT 'row level security is on' FROM old WHERE relrowsecurity
UNION ALL SELECT 'it has no column ' || quote_ident(:column) FROM old
 WHERE NOT EXISTS (SELECT 1 FROM pg_attribute a
                    WHERE a.attrelid = old.oid AND a.attname = :column AND NOT a.attisdropped)
UNION ALL SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass || ' refers to it, '
       'which needs a unique key without the moment; drop it' FROM pg_constraint, old
 WHERE contype = 'f' AND confrelid = old.oid
UNION ALL SELECT 'its foreign key ' || conname || ' is not validated; validate it'
  FROM pg_constraint, old WHERE contype = 'f' AND conrelid = old.oid AND NOT convalidated
UNION ALL SELECT DISTINCT 'view ' || r.ev_class::regclass || ' reads it, and would go on reading '
       'its past alone; drop it and make it again' FROM pg_depend d
  JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass, old
 WHERE d.refobjid = old.oid AND d.refclassid = 'pg_class'::regclass AND r.ev_class <> old.oid
UNION ALL SELECT 'it has the rule ' || rulename FROM pg_rewrite, old WHERE ev_class = old.oid
UNION ALL SELECT 'it has the trigger ' || tgname || '; drop it and make it again'
  FROM pg_trigger, old WHERE tgrelid = old.oid AND NOT tgisinternal
UNION ALL SELECT 'it inherits, or is inherited from' FROM old
 WHERE EXISTS (SELECT 1 FROM pg_inherits WHERE old.oid IN (inhrelid, inhparent))
UNION ALL SELECT 'it is in publication ' || p.pubname FROM pg_publication_rel r
  JOIN pg_publication p ON p.oid = r.prpubid, old WHERE r.prrelid = old.oid
UNION ALL SELECT 'columns of it have privileges of their own' FROM old
 WHERE EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = old.oid AND a.attacl IS NOT NULL)
UNION ALL SELECT 'unique index ' || c.relname || ' does not contain the moment' FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid, old
 WHERE i.indrelid = old.oid AND (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary
   AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = old.oid
                    AND a.attname = :column AND a.attnum = ANY (i.indkey))
"""
