"""Foreign keys that refer to a table, as the database has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

__all__ = ["ForeignKeyFacts", "referring_keys"]

_POSTGRESQL = """
SELECT c.conname, n.nspname, pg_catalog.pg_table_is_visible(t.oid), t.relname, a.attname,
       CASE c.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL'
                          WHEN 'd' THEN 'SET DEFAULT' ELSE 'NO ACTION' END
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (c.conkey)
 WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = to_regclass(:quoted)
"""
_MYSQL = """
SELECT k.constraint_name, k.table_schema, k.table_schema = database(), k.table_name, k.column_name,
       r.delete_rule
  FROM information_schema.key_column_usage k
  JOIN information_schema.referential_constraints r
    ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
   AND r.table_name = k.table_name
 WHERE k.referenced_table_schema = coalesce(:schema, database()) AND k.referenced_table_name = :name
"""
#: A key refers to a table of its own file.
_SQLITE = """
SELECT f.id, :schema, :schema = 'main', m.name, f."from", f.on_delete
  FROM {master} m JOIN pragma_foreign_key_list(m.name, :schema) f
 WHERE m.type = 'table' AND lower(f."table") = lower(:name)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKeyFacts:
    """A foreign key of the database.

    Attributes:
        schema: of the table that refers.
        is_default_schema: it need not be named.
        table: that refers.
        columns: of it, in no order.
        on_delete: ``"CASCADE"``, ``"SET NULL"``, ``"NO ACTION"``, ...
    """

    schema: str
    is_default_schema: bool
    table: str
    columns: frozenset[str]
    on_delete: str

    @property
    def fullname(self) -> str:
        """The table, with its schema where it needs that."""
        return self.table if self.is_default_schema else f"{self.schema}.{self.table}"


def referring_keys(connection: Connection, table: Table) -> list[ForeignKeyFacts]:
    """The foreign keys that refer to a table; one question to the catalog.

    Args:
        connection: of the table's database.
        table: that is referred to.

    Returns:
        By table; nothing for a database whose catalog is not known.
    """
    dialect = connection.dialect
    parameters: dict[str, Any] = {"name": table.name, "schema": table.schema}
    if dialect.name == "postgresql":
        parameters = {"quoted": dialect.identifier_preparer.format_table(table)}
        question = _POSTGRESQL
    elif dialect.name in ("mysql", "mariadb"):
        question = _MYSQL
    elif dialect.name == "sqlite":
        parameters["schema"] = table.schema or "main"
        place = dialect.identifier_preparer.quote_identifier(parameters["schema"])
        question = _SQLITE.format(master=f"{place}.sqlite_master")
    else:
        return []
    found = connection.execute(text(question), parameters, execution_options=UNRECORDED)
    return _by_key(found.all())


def _by_key(rows: Iterable[Any]) -> list[ForeignKeyFacts]:
    """From a row for each column."""
    keys: dict[tuple[Any, ...], set[str]] = {}
    for name, schema, is_default, table, column, rule in rows:
        keys.setdefault((schema, table, name, bool(is_default), rule), set()).add(column)
    return [
        ForeignKeyFacts(
            schema=schema,
            is_default_schema=is_default,
            table=table,
            columns=frozenset(columns),
            on_delete=rule,
        )
        for (schema, table, _, is_default, rule), columns in sorted(
            keys.items(), key=lambda one: tuple(map(str, one[0]))
        )
    ]
