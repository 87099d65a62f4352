"""The table that archived rows are copied into, made from the source's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Index, Integer, MetaData, Table, inspect
from sqlalchemy import types as sqltypes
from sqlalchemy.exc import NoSuchTableError

from sa_perf.dialects.column_types import UtcDateTime, exact_text
from sa_perf.errors import ArchiveError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

__all__ = ["Marks", "archive_table_for", "batches_in", "of_runs", "require_fitting"]

#: When a row was archived, in UTC, and by which transaction of which run of which policy.
_AT, _RUN, _POLICY, _BATCH = _MARKS = (
    "archived_at",
    "archived_run",
    "archived_policy",
    "archived_batch",
)
#: Options of a table that decide which values fit in; partitions and the like do not.
_KEPT_OPTIONS = ("charset", "collate", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What an archived row tells of its archiving.

    Attributes:
        at: when, aware.
        run: id of the run.
        policy: whose.
        batch: number of the transaction in the policy's run.
    """

    at: datetime
    run: str
    policy: str
    batch: int

    def values(self, target: Table) -> dict[Column[Any], object]:
        """The marks by their columns in an archive table."""
        found = (self.at, self.run, self.policy, self.batch)
        return dict(zip((target.columns[name] for name in _MARKS), found, strict=True))

    def stand_in(self, target: Table) -> list[ColumnElement[bool]]:
        """What rows of this transaction meet in an archive table."""
        return [
            target.columns[_BATCH] == self.batch,
            target.columns[_RUN] == self.run,
            target.columns[_POLICY] == self.policy,
        ]


def of_runs(target: Table, policy: str, runs: Iterable[str]) -> list[ColumnElement[bool]]:
    """What rows meet in an archive table that runs of a policy archived."""
    return [target.columns[_RUN].in_(list(runs)), target.columns[_POLICY] == policy]


def batches_in(target: Table) -> tuple[Column[Any], Column[Any]]:
    """The columns that hold run and number of a row's batch."""
    return target.columns[_RUN], target.columns[_BATCH]


def archive_table_for(
    source: Table, name: str, schema: str | None, *, indexed: bool = False
) -> Table:
    """A table with the source's columns, their types and its primary key.

    It has no foreign keys, unique constraints, indexes or defaults, and computed columns are plain
    ones: it holds what once was, whatever has become of the rest. Added are ``archived_at``,
    ``archived_run``, ``archived_policy`` and ``archived_batch``.

    Args:
        source: whose rows are archived.
        name: of the archive table.
        schema: of the archive table.
        indexed: by run and batch, by which rows are looked for that a killed run left.

    Raises:
        ArchiveError: the source has no primary key, or has columns of these names itself.
    """
    if not source.primary_key.columns:
        raise ArchiveError(
            f"table {source.fullname!r} has no primary key, by which archived rows are known; "
            "archive it to files"
        )
    taken = {*_MARKS} & {one.name for one in source.columns}
    if taken:
        raise ArchiveError(
            f"table {source.fullname!r} has columns {sorted(taken)} itself, which its archive "
            "table needs for its own; archive it to files"
        )
    options: dict[str, Any] = {
        key: value for key, value in source.kwargs.items() if key.endswith(_KEPT_OPTIONS)
    }
    made = Table(
        name,
        MetaData(),
        *(_copied(one) for one in source.columns),
        Column(_AT, UtcDateTime, nullable=False, index=False),
        Column(_RUN, exact_text(40), nullable=False),
        Column(_POLICY, exact_text(200), nullable=False),
        Column(_BATCH, Integer, nullable=False),
        schema=schema,
        **options,
    )
    if indexed:
        Index(f"ix_{name}_archived", made.columns[_RUN], made.columns[_BATCH])
    return made


def require_fitting(connection: Connection, table: Table) -> bool:
    """Whether the table is in the database, with all its columns and its primary key.

    Raises:
        ArchiveError: it is there without some of them; names these.
    """
    catalog = inspect(connection)
    try:
        found = {one["name"] for one in catalog.get_columns(table.name, table.schema)}
    except NoSuchTableError:
        return False
    if not found:
        return False
    key = catalog.get_pk_constraint(table.name, table.schema)["constrained_columns"]
    missing = [one.name for one in table.columns if one.name not in found]
    if missing:
        raise ArchiveError(
            f"archive table {table.fullname!r} lacks columns {missing}; add them with the types "
            "of the source's, or name another table; nothing was deleted"
        )
    wanted = [one.name for one in table.primary_key.columns]
    if sorted(key) != sorted(wanted):
        raise ArchiveError(
            f"archive table {table.fullname!r} has the primary key {key} instead of {wanted}, by "
            "which its rows are told apart; give it that one, or name another table; nothing was "
            "deleted"
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
