"""Whether HypoPG can be used in a database, and if not, what would help."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sa_perf.dialects.dbapi import DBAPIConnection, fetch

__all__ = ["Extension"]

_OLDEST = (1, 1, 4)
_OLDEST_SERVER = 12
_EXTENSION = """
SELECT pg_catalog.current_setting('server_version'), e.extversion, n.nspname,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
       AND (SELECT bool_and(pg_catalog.has_function_privilege(f.oid, 'EXECUTE'))
              FROM pg_catalog.pg_proc f
             WHERE f.pronamespace = n.oid
               AND f.proname IN ('hypopg_create_index', 'hypopg_reset', 'hypopg_relation_size')),
       e.oid IS NOT NULL OR EXISTS (
       SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = 'hypopg')
  FROM (VALUES (1)) AS one (row)
  LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'hypopg'
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
"""


class Extension:
    """What is known of the server and of the extension.

    Args:
        dbapi_connection: in a transaction.

    Attributes:
        server_version: as the server words it.
        version: its first number.
        schema: where HypoPG's functions are, quoted.
        unverified: why it cannot be used, as a sentence; None where it can.
    """

    def __init__(self, dbapi_connection: DBAPIConnection) -> None:
        row = fetch(dbapi_connection, _EXTENSION)[0]
        self.server_version = str(row[0])
        leading = re.match(r"\d+", self.server_version)
        self.version = int(leading.group()) if leading else 0
        self.schema = '"' + str(row[2]).replace('"', '""') + '"'
        self.unverified: str | None = self._reason(row)

    def _reason(self, row: Sequence[object]) -> str | None:
        extension, allowed, available = row[1], row[3], row[4]
        if self.version < _OLDEST_SERVER:
            return f"PostgreSQL {self.version} plans no statement without values; 12 and later do."
        if not available:
            return (
                "HypoPG is not available on this server; its package (on Debian "
                f"postgresql-{self.version}-hypopg) and CREATE EXTENSION hypopg would let indexes "
                "be verified."
            )
        if extension is None:
            return (
                "HypoPG is not installed in this database; CREATE EXTENSION hypopg would let "
                "indexes be verified."
            )
        if tuple(int(part) for part in re.findall(r"\d+", str(extension))) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            return f"HypoPG {extension} is too old; indexes can be verified with {oldest} or later."
        if not allowed:
            return (
                "This role may not use HypoPG; GRANT USAGE on its schema and EXECUTE on its "
                "functions would let indexes be verified."
            )
        return None
