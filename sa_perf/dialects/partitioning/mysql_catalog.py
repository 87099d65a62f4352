"""What the catalogs of MySQL and MariaDB tell about partitions."""

from __future__ import annotations

__all__ = ["COMMENT", "DETACHED", "PARTS", "WRITTEN_COLUMNS"]

#: Partitions in their order; one row without a name where the table has none.
PARTS = """
SELECT partition_name AS name, partition_description AS bound, table_rows AS num_rows,
       data_length + index_length AS num_bytes, partition_method AS method,
       partition_expression AS expression
  FROM information_schema.partitions
 WHERE table_schema = coalesce(:schema, database()) AND table_name = :name
 ORDER BY partition_ordinal_position
"""
#: Tables with a mark.
DETACHED = """
SELECT table_name AS name, table_comment AS comment FROM information_schema.tables
 WHERE table_schema = coalesce(:schema, database()) AND table_comment LIKE :mark
 ORDER BY table_name
"""
#: On a table, if there is one.
COMMENT = """
SELECT table_comment AS comment FROM information_schema.tables
 WHERE table_schema = coalesce(:schema, database()) AND table_name = :name
"""
#: Columns that are not computed.
WRITTEN_COLUMNS = """
SELECT column_name AS name FROM information_schema.columns
 WHERE table_schema = coalesce(:schema, database()) AND table_name = :name
   AND coalesce(generation_expression, '') = ''
 ORDER BY ordinal_position
"""
