"""The table that archived rows are copied into, made from the source's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, MetaData, String, Table, inspect
from sqlalchemy import types as sqltypes
from sqlalchemy.exc import NoSuchTableError

from sa_perf.dialects.column_types import UtcDateTime
from sa_perf.errors import ArchiveError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

__all__ = ["ARCHIVED_AT", "ARCHIVED_RUN", "archive_table_for", "require_columns"]

#: When a row was archived, in UTC, and by which run.
ARCHIVED_AT = "archived_at"
ARCHIVED_RUN = "archived_run"
#: Options of a table that decide which values fit in; partitions and the like do not.
_KEPT_OPTIONS = ("charset", "collate", "engine")


def archive_table_for(source: Table, name: str, schema: str | None) -> Table:
    """A table with the source's columns, their types and its primary key.

    It has no foreign keys, unique constraints, indexes or defaults, and computed columns are plain
    ones: it holds what once was, whatever has become of the rest. Added are ``archived_at`` and
    ``archived_run``.

    Raises:
        ArchiveError: the source has no primary key, or has columns of these names itself.
    """
    if not source.primary_key.columns:
        raise ArchiveError(
            f"table {source.fullname!r} has no primary key, by which archived rows are known; "
            "archive it to files"
        )
    taken = {ARCHIVED_AT, ARCHIVED_RUN} & {one.name for one in source.columns}
    if taken:
        raise ArchiveError(
            f"table {source.fullname!r} has columns {sorted(taken)} itself, which its archive "
            "table needs for its own; archive it to files"
        )
    options: dict[str, Any] = {
        key: value for key, value in source.kwargs.items() if key.endswith(_KEPT_OPTIONS)
    }
    return Table(
        name,
        MetaData(),
        *(_copied(one) for one in source.columns),
        Column(ARCHIVED_AT, UtcDateTime, nullable=False, index=False),
        Column(ARCHIVED_RUN, String(40), nullable=False),
        schema=schema,
        **options,
    )


def require_columns(connection: Connection, table: Table) -> bool:
    """Whether the table is in the database, with all its columns.

    Raises:
        ArchiveError: it is there without some of them; names these.
    """
    try:
        found = {one["name"] for one in inspect(connection).get_columns(table.name, table.schema)}
    except NoSuchTableError:
        return False
    if not found:
        return False
    missing = [one.name for one in table.columns if one.name not in found]
    if missing:
        raise ArchiveError(
            f"archive table {table.fullname!r} lacks columns {missing}; add them with the types "
            "of the source's, or name another table; nothing was deleted"
        )
    return True


def _copied(column: Column[Any]) -> Column[Any]:
    return Column(
        column.name,
        _copied_type(column.type),
        primary_key=column.primary_key,
        nullable=column.nullable,
        autoincrement=False,
    )


def _copied_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Types that attach constraints or names of their own to a table belong to one table."""
    if isinstance(type_, sqltypes.SchemaType):
        return type_.copy()
    if isinstance(type_, sqltypes.TypeDecorator):
        return type_.copy()
    return type_
