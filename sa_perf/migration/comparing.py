"""What is declared, compared with a database by autogenerate.

Imported when an env.py runs: this loads Alembic. What is found is added behind Alembic's own
operations, so an application's ``process_revision_directives`` sees it like these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.operations.ops import (
    CreateTableOp,
    DropIndexOp,
    DropTableOp,
    ModifyTableOps,
)
from sqlalchemy import Column, Index, MetaData, Table, inspect, select
from sqlalchemy.orm import configure_mappers
from sqlalchemy.sql.naming import conv

from sa_perf.dialects.partitioning import can_partition
from sa_perf.dialects.schema_changes import tells_directions
from sa_perf.errors import MigrationError
from sa_perf.migration.advised_indexes import AdvisedIndex, advised_indexes
from sa_perf.migration.needed_indexes import (
    NeededIndex,
    index_name,
    is_declared,
    keys_in_database,
    needed_in,
)
from sa_perf.migration.operations import CreateDeclaredIndexOp, PartitionsOp, RetentionPolicyOp
from sa_perf.migration.partition_making import rule_of
from sa_perf.migration.policies import Definition, changes
from sa_perf.retention.partitions import declared_partitions
from sa_perf.retention.policy import declared_in
from sa_perf.retention.tables import policies
from sa_perf.tables import TABLE_SCHEMA, UNRECORDED

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import MigrateOperation, UpgradeOps

__all__ = ["Declarations"]


class Declarations:
    """One comparison of one MetaData with one database.

    Args:
        context: of Alembic's comparison.
        operations: that it found so far; changed and added to.
        metadata: the application's.
        ours: names of sa_perf's own tables, which the application declares nothing for.
        advice: file of accepted advice; None: there is none.
    """

    def __init__(
        self,
        context: AutogenContext,
        operations: UpgradeOps,
        metadata: MetaData,
        *,
        ours: frozenset[str],
        advice: Path | None,
    ) -> None:
        self._operations, self._metadata = operations, metadata
        self._ours, self._advice = ours, advice
        self._proposed: set[str] = set()
        self._indexes: dict[Table, list[Any] | None] = {}
        connection = context.connection
        assert connection is not None  # noqa: S101  # Alembic compares with one
        self._connection = connection
        self._inspector = inspect(connection)
        self._directed = tells_directions(connection)

    def add(self) -> None:
        """Add what is missing for the declarations, and keep what they go by."""
        configure_mappers()
        self._keep_partitions()
        found: list[MigrateOperation] = [*self._partitions()]
        for needed in needed_in(self._metadata):
            found += self._needed(needed)
        for advised in self._advised():
            found += self._of_advice(advised)
        self._operations.ops += [*found, *self._policies()]

    @cached_property
    def _made(self) -> frozenset[tuple[str | None, str]]:
        """Tables that the same revision makes."""
        ops = self._operations.ops
        return frozenset((op.schema, op.table_name) for op in ops if isinstance(op, CreateTableOp))

    def _is_made(self, table: Table) -> bool:
        return (table.schema, table.name) in self._made

    def _of_database(self, table: Table) -> list[Any] | None:
        """None: there is no such table, nor will there be."""
        if self._is_made(table):
            return []
        if table not in self._indexes:
            there = self._inspector.has_table(table.name, schema=table.schema)
            self._indexes[table] = (
                self._inspector.get_indexes(table.name, schema=table.schema) if there else None
            )
        return self._indexes[table]

    def _needed(self, needed: NeededIndex) -> Iterator[MigrateOperation]:
        table = needed.table
        if table.name in self._ours or is_declared(needed):
            return
        existing = self._of_database(table)
        if existing is None:
            return
        serving = {
            keys.name
            for keys in keys_in_database(existing, directed=self._directed)
            if needed.is_served_by(keys)
        }
        if serving:
            self._keep(table, serving.__contains__)
            return
        taken = {one["name"] for one in existing} | {one.name for one in table.indexes}
        name = index_name(needed, taken | self._proposed)
        self._proposed.add(name)
        index = Index(
            conv(name),
            *(
                column.desc() if down and len(set(needed.descending)) > 1 else column
                for column, down in zip(_columns(table, needed), needed.descending, strict=True)
            ),
        )
        yield CreateDeclaredIndexOp.of(index, needed.why, new_table=self._is_made(table))

    def _advised(self) -> list[AdvisedIndex]:
        return [] if self._advice is None else advised_indexes(self._advice, self._connection)

    def _of_advice(self, advised: AdvisedIndex) -> Iterator[MigrateOperation]:
        table = advised.table_in(self._metadata)
        existing = None if table is None else self._of_database(table)
        if table is None or existing is None:
            return
        same = advised.served_by(existing, directed=self._directed)
        if same:
            self._keep(table, same.__contains__)
        elif all(one.name != advised.name for one in table.indexes):
            made = self._is_made(table)
            yield CreateDeclaredIndexOp.of(
                advised.index(table, concurrently=not made),
                advised.why,
                new_table=made,
                concurrently=advised.concurrently and not made,
            )

    def _keep(self, table: Table, is_kept: Callable[[Any], bool]) -> None:
        """Take back that an index is to be dropped since the models do not have it."""
        for op in self._operations.ops:
            if isinstance(op, ModifyTableOps) and (op.schema, op.table_name) == (
                table.schema,
                table.name,
            ):
                op.ops[:] = [
                    one
                    for one in op.ops
                    if not (isinstance(one, DropIndexOp) and is_kept(one.index_name))
                ]
        self._operations.ops[:] = [
            op for op in self._operations.ops if not isinstance(op, ModifyTableOps) or op.ops
        ]

    def _partitions(self) -> Iterator[MigrateOperation]:
        if not can_partition(self._connection.dialect):
            return
        for plan in declared_partitions(self._metadata):
            if self._is_made(plan.table):
                yield PartitionsOp(rule_of(plan))

    def _keep_partitions(self) -> None:
        """Where each partition is a table, Alembic would drop it as one that no model has."""
        connection = self._connection
        drops = [op for op in self._operations.ops if isinstance(op, DropTableOp)]
        if not drops or not can_partition(connection.dialect):
            return
        parts: set[str] = set()
        for plan in declared_partitions(self._metadata):
            there = self._inspector.has_table(plan.table.name, schema=plan.table.schema)
            if there and not self._is_made(plan.table):
                kind = plan.partitioning(connection.dialect)
                parts |= {one.name for one in kind.parts(connection)}
                parts |= {one.table for one in kind.detached(connection)}
        self._operations.ops[:] = [
            op
            for op in self._operations.ops
            if not (isinstance(op, (DropTableOp, ModifyTableOps)) and op.table_name in parts)
        ]

    def _policies(self) -> Iterator[MigrateOperation]:
        own = next(one for one in self._metadata.tables.values() if one.name == policies.name)
        declared = [one for one in declared_in(self._metadata) if one.table.name not in self._ours]
        recorded = {
            name: definition
            for name, (table, definition) in self._recorded(own).items()
            if any(one.name == name for one in declared) or self._is_ours_no_more(table)
        }
        schema = own.schema if own.schema != TABLE_SCHEMA else None
        for one in changes(declared, recorded):
            yield RetentionPolicyOp(one.name, one.definition, former=one.former, schema=schema)

    def _recorded(self, own: Table) -> dict[str, tuple[str, Definition]]:
        if not self._inspector.has_table(own.name, schema=own.schema):
            return {}
        rows = self._connection.execute(
            select(own.c.name, own.c.table_name, own.c.definition), execution_options=UNRECORDED
        )
        return {row.name: (row.table_name, _read(row.name, row.definition)) for row in rows}

    def _is_ours_no_more(self, table: str) -> bool:
        """Whether a recorded policy was this application's, and not another's in this database."""
        if table in self._metadata.tables:
            return True
        schema, _, name = table.rpartition(".")
        drops = {
            (op.schema, op.table_name) for op in self._operations.ops if isinstance(op, DropTableOp)
        }
        return (schema or None, name) in drops or not self._inspector.has_table(
            name, schema=schema or None
        )


def _read(name: str, written: str) -> Definition:
    try:
        found = json.loads(written)
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    raise MigrationError(
        f"what {policies.name} holds of the policy {name!r} is no JSON object; delete that row, "
        "and the next revision records it anew"
    )


def _columns(table: Table, needed: NeededIndex) -> list[Column[Any]]:
    """On a copy of the table: an index of the table itself would be one of the models."""
    columns = [Column(column.name, column.type) for column in needed.columns]
    return list(Table(table.name, MetaData(), *columns, schema=table.schema).columns)
