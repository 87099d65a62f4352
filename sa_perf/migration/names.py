"""Which tables an application's migrations leave alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from sa_perf.tables import PREFIX

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

__all__ = ["IncludeName", "include_name"]

#: What Alembic takes as ``include_name``.
IncludeName: TypeAlias = "Callable[[str | None, str, Mapping[str, str | None]], bool]"


def include_name(metadata: MetaData) -> IncludeName:
    """For ``include_name`` of Alembic's ``context.configure``: all but sa_perf's tables.

    Those that `configure` added to the MetaData are compared like the application's. With
    ``include_schemas``, schemas are left out of which the MetaData has no table.

    Autogenerate proposes to drop every table that the models do not have. Left out are sa_perf's
    own tables and the archive tables of the policies that are declared for the MetaData's tables,
    as far as they lie in the same database and the MetaData does not have them.

    Args:
        metadata: the application's, with all models loaded when a migration is made.

    Raises:
        InvalidPolicy: when called: a policy does not say what becomes of its table's children.

    Example:
        >>> from sqlalchemy import MetaData
        >>> wanted = include_name(MetaData())
        >>> wanted("sa_perf_retention_run", "table", {"schema_name": None})
        False
        >>> wanted("event", "table", {"schema_name": None})
        True
    """

    @cache  # policies are declared by the time that a migration is made
    def archives() -> frozenset[tuple[str | None, str]]:
        return frozenset(
            (one.schema, one.name)
            for one in _archive_tables(metadata)
            if one.fullname not in metadata.tables
        )

    def included(name: str | None, type_: str, parents: Mapping[str, str | None]) -> bool:
        if type_ == "schema":
            return name is None or any(name == table.schema for table in metadata.tables.values())
        if type_ != "table" or name is None:
            return True
        schema = parents.get("schema_name")
        # The default schema has no name here.
        if any(table.name == name for table in metadata.tables.values()):
            return True
        known = name.startswith(PREFIX) or any(
            name == own and schema in (None, place) for place, own in archives()
        )
        return not known

    return included


def _archive_tables(metadata: MetaData) -> Iterator[Table]:
    from sa_perf.retention.archive import TableArchive
    from sa_perf.retention.children import children_of, walk_down
    from sa_perf.retention.policy import declared_in

    for declared in declared_in(metadata):
        archive = declared.policy.archive
        if not isinstance(archive, TableArchive) or archive.is_elsewhere:
            continue
        yield archive.table_for(declared.table)
        children = children_of(declared.name, declared.policy, declared.table)
        for child in walk_down(children):
            if child.how == "delete_first":
                yield archive.table_for(child.table, is_child=True)
