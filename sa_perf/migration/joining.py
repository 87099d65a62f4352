"""sa_perf's own tables within an application's Alembic history.

For an application's env.py: Alembic is loaded by then. What autogenerate writes for the tables
names SQLAlchemy's types only, so the application's revisions do not depend on sa_perf.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Index, MetaData, Table, UniqueConstraint, event, inspect
from sqlalchemy.sql.naming import conv

from sa_perf.dialects.column_types import portable_type
from sa_perf.dialects.schema_changes import missing_schema
from sa_perf.migration.environment import TABLES
from sa_perf.tables import TABLE_SCHEMA, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import UpgradeOps

__all__ = ["configure"]

_NAMES = frozenset(table.name for table in TABLES)


#: File of accepted advice of each MetaData that was configured.
_configured: WeakKeyDictionary[MetaData, Path | None] = WeakKeyDictionary()


def configure(target_metadata: MetaData, *, advice: str | os.PathLike[str] | None = None) -> None:
    """Add sa_perf's tables, and what is declared, to what Alembic's autogenerate compares.

    For its env.py, before ``context.configure``. From then on ``alembic revision --autogenerate``
    makes and changes the tables, and none of them is proposed for removal. A revision that would
    make a table that is there already ends with what to do instead. A second call does nothing.

    Autogenerate then also makes the indexes that retention policies and declared orders go by,
    where no index begins like them, and drops none that does; records policies that were added,
    changed or removed; makes the first partitions of tables that are declared to have them.

    Args:
        target_metadata: the application's; the tables are copied into it, with the schema that
            ``SA_PERF_TABLE_SCHEMA`` names, which needs ``include_schemas=True`` in
            ``context.configure``; without one with that of ``target_metadata``.
        advice: a file that ``sa-perf advise --to`` wrote: autogenerate makes its indexes.

    Raises:
        TypeError: it is no MetaData; where Alembic is given several, name one of them.

    Example:
        >>> from sqlalchemy import MetaData
        >>> target_metadata = MetaData()
        >>> configure(target_metadata)
        >>> "sa_perf_retention_run" in target_metadata.tables
        True
    """
    if not isinstance(target_metadata, MetaData):
        raise TypeError(
            f"target_metadata is a {type(target_metadata).__name__}, not a MetaData; of several "
            "give one"
        )
    known = {(table.schema, table.name) for table in target_metadata.tables.values()}
    for table in TABLES:
        if (TABLE_SCHEMA or target_metadata.schema, table.name) not in known:
            _copy(table, target_metadata)
    _configured[target_metadata] = None if advice is None else Path(advice)
    _listen()


def _copy(table: Table, metadata: MetaData) -> None:
    """With our names of indexes and constraints, else those of the application's convention."""
    copy = table.to_metadata(metadata)
    for column in copy.columns:
        column.type = portable_type(column.type)
    for index in list(copy.indexes):
        copy.indexes.remove(index)
    for index in table.indexes:
        Index(index.name, *(copy.c[column.name] for column in index.columns))
    for constraint in list(copy.constraints):
        if isinstance(constraint, UniqueConstraint):
            copy.constraints.remove(constraint)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            columns = (copy.c[column.name] for column in constraint.columns)
            copy.append_constraint(UniqueConstraint(*columns, name=conv(str(constraint.name))))


@cache
def _listen() -> None:
    """Once a process, however often an env.py is run."""
    from alembic.autogenerate import comparators

    import_module("sa_perf.migration.operations")  # revisions name them
    event.listen(Table, "before_create", _refuse_if_there)
    try:
        from alembic.util import DispatchPriority, PriorityDispatchResult
    except ImportError:  # before Alembic 1.18, where the order is that of registration
        comparators.dispatch_for("schema")(_compare)
        return

    def spare(context: AutogenContext, operations: UpgradeOps, schemas: object) -> object:
        _compare(context, operations, schemas)
        return PriorityDispatchResult.CONTINUE

    comparators.dispatch_for("schema", priority=DispatchPriority.LAST)(spare)


def _compare(context: AutogenContext, operations: UpgradeOps, schemas: object) -> None:
    from sa_perf.migration.comparing import Declarations

    _mend(context, operations, schemas)
    given = context.migration_context.opts.get("target_metadata")
    for metadata in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(metadata, MetaData) and metadata in _configured:
            advice = _configured[metadata]
            Declarations(context, operations, metadata, ours=_NAMES, advice=advice).add()


def _mend(context: AutogenContext, operations: UpgradeOps, schemas: object) -> None:
    """Change what autogenerate found where it would not work on every database.

    The version table of ``sa-perf db`` goes by `release` and in no revision, which would fail on
    each database that never had it. Indexes are dropped with their table: MySQL and MariaDB refuse
    to drop that of a foreign key before it (manual, "FOREIGN KEY Constraints").
    """
    from alembic.operations.ops import CreateTableOp, DropTableOp, ModifyTableOps

    class IndexesOfNewTable(ModifyTableOps):
        def reverse(self) -> ModifyTableOps:
            return ModifyTableOps(self.table_name, [], schema=self.schema)

    if not any(table.name in _NAMES for table in context.sorted_tables):
        return  # another MetaData of the process
    found = [
        one
        for one in operations.ops
        if not (isinstance(one, DropTableOp) and one.table_name == VERSION_TABLE)
    ]
    made = {(one.schema, one.table_name) for one in found if isinstance(one, CreateTableOp)}
    operations.ops[:] = [
        IndexesOfNewTable(one.table_name, one.ops, schema=one.schema)
        if isinstance(one, ModifyTableOps)
        and one.table_name in _NAMES
        and (one.schema, one.table_name) in made
        else one
        for one in found
    ]


def _refuse_if_there(table: Table, connection: object, **about: Any) -> None:  # noqa: ANN401
    from alembic.ddl.impl import DefaultImpl
    from alembic.util import CommandError

    revises = isinstance(about.get("_ddl_runner"), DefaultImpl)
    # For a script of statements there is a stand-in for a connection.
    if not revises or not isinstance(connection, Connection) or table.name not in _NAMES:
        return
    if TABLE_SCHEMA and (fault := missing_schema(connection, TABLE_SCHEMA)):
        raise CommandError(fault)
    if not inspect(connection).has_table(table.name, schema=table.schema):
        return
    raise CommandError(
        f"the table {table.name} already exists in this database: sa-perf db upgrade, or another "
        "history, made it. To give sa_perf's tables to this history, mark the revision that makes "
        "them as done here (alembic stamp REVISION) and run: sa-perf db release"
    )
