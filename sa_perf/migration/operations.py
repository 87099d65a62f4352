"""Alembic's operations for declared policies, partitions and indexes.

Imported by `sa_perf.migration.joining` when an env.py runs: this loads Alembic. A revision that has
one of these is run where ``env.py`` calls `sa_perf.migration.configure`.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import renderers
from alembic.operations import BatchOperations, Operations
from alembic.operations.ops import CreateIndexOp, DropIndexOp, MigrateOperation, ModifyTableOps
from sqlalchemy import Executable, column, delete, insert, table

from sa_perf.dialects.column_types import LongText, exact_text
from sa_perf.migration.partition_making import PartitionRule, statements
from sa_perf.migration.policies import Definition, as_text
from sa_perf.tables import PREFIX, TABLE_SCHEMA

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from sqlalchemy import Index

__all__ = ["CreateDeclaredIndexOp", "DropDeclaredIndexOp", "PartitionsOp", "RetentionPolicyOp"]

_COMMENT_WIDTH = 88


class CreateDeclaredIndexOp(CreateIndexOp):
    """``op.create_index`` with a comment that says what it is for."""

    @classmethod
    def of(
        cls, index: Index, why: str, *, new_table: bool = False, concurrently: bool = False
    ) -> CreateDeclaredIndexOp:
        """The operation that makes an index.

        Args:
            index: to be made.
            why: as a sentence.
            new_table: the table is made by the same revision, and the index goes with it: MySQL and
                MariaDB would not drop that of a foreign key.
            concurrently: while others write, outside of the transaction.
        """
        made = cls.from_index(index)
        found = cls(made.index_name, made.table_name, made.columns, schema=made.schema, **made.kw)
        found.why, found.new_table, found.concurrently = why, new_table, concurrently
        return found

    why: str
    new_table: bool
    concurrently: bool

    def reverse(self) -> MigrateOperation:  # type: ignore[override]  # theirs says DropIndexOp
        """Drop it."""
        if self.new_table:
            return ModifyTableOps(self.table_name, [], schema=self.schema)
        return DropDeclaredIndexOp(self)


class DropDeclaredIndexOp(DropIndexOp):
    """``op.drop_index``, where others may write meanwhile outside of the transaction."""

    def __init__(self, made: CreateDeclaredIndexOp) -> None:
        super().__init__(made.index_name or "", made.table_name, schema=made.schema)
        self.made, self.concurrently = made, made.concurrently
        if made.concurrently:
            name = next(one for one in made.kw if one.endswith("_concurrently"))
            self.kw[name] = True

    def reverse(self) -> CreateDeclaredIndexOp:
        """Make it again."""
        return self.made


@renderers.dispatch_for(CreateDeclaredIndexOp)
def _render_create_index(context: AutogenContext, op: CreateDeclaredIndexOp) -> list[str]:
    comment = [f"# {line}" for line in textwrap.wrap(op.why, _COMMENT_WIDTH)]
    return comment + _rendered(context, op, CreateIndexOp)


@renderers.dispatch_for(DropDeclaredIndexOp)
def _render_drop_index(context: AutogenContext, op: DropDeclaredIndexOp) -> list[str]:
    return _rendered(context, op, DropIndexOp)


def _rendered(
    context: AutogenContext, op: CreateDeclaredIndexOp | DropDeclaredIndexOp, as_kind: type
) -> list[str]:
    line = str(renderers.dispatch(as_kind)(context, op))
    if not op.concurrently:
        return [line]
    # The empty line ends the block: Alembic's printer indents by itself.
    return [f"with {_prefix(context)}get_context().autocommit_block():", line, ""]


@Operations.register_operation("sa_perf_retention")
@BatchOperations.register_operation("sa_perf_retention", "batch_sa_perf_retention")
class RetentionPolicyOp(MigrateOperation):
    """``op.sa_perf_retention``: record what a retention policy says."""

    def __init__(
        self,
        name: str,
        definition: Definition | None,
        *,
        former: Definition | None = None,
        schema: str | None = None,
    ) -> None:
        self.name, self.definition, self.former = name, definition, former
        self.schema = schema

    @classmethod
    def sa_perf_retention(
        cls,
        operations: Operations,
        name: str,
        definition: dict[str, object] | None,
        *,
        former: dict[str, object] | None = None,
        schema: str | None = None,
    ) -> None:
        """Record a policy, or that it is no more.

        Args:
            operations: Alembic's.
            name: of the policy.
            definition: what it says from now on; None: there is none any more.
            former: what it said so far; a downgrade records that.
            schema: of the table it is recorded in, if not that of ``SA_PERF_TABLE_SCHEMA``.
        """
        operations.invoke(cls(name, definition, former=former, schema=schema))

    @classmethod
    def batch_sa_perf_retention(
        cls,
        operations: Operations,
        name: str,
        definition: dict[str, object] | None,
        *,
        former: dict[str, object] | None = None,
        schema: str | None = None,
    ) -> None:
        """The same within ``op.batch_alter_table``."""
        operations.invoke(cls(name, definition, former=former, schema=schema))

    def reverse(self) -> RetentionPolicyOp:
        """Record what was recorded before."""
        return RetentionPolicyOp(self.name, self.former, former=self.definition, schema=self.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Its kind, name, definition and former definition."""
        return ("sa_perf_retention", self.name, self.definition, self.former)


@Operations.implementation_for(RetentionPolicyOp)
def _record(operations: Operations, op: RetentionPolicyOp) -> None:
    policies = table(
        f"{PREFIX}retention_policy",
        column("name", exact_text(200)),
        column("table_name", exact_text(200)),
        column("definition", LongText),
        schema=op.schema or TABLE_SCHEMA,
    )
    _execute(operations, delete(policies).where(policies.c.name == op.name))
    if op.definition is not None:
        row = {"name": op.name, "table_name": op.definition.get("table", op.name)}
        row["definition"] = as_text(op.definition)
        _execute(operations, insert(policies).values(row))


@renderers.dispatch_for(RetentionPolicyOp)
def _render_policy(context: AutogenContext, op: RetentionPolicyOp) -> str:
    parts = [f"{op.name!r}", f"{op.definition!r}"]
    parts += [] if op.former is None else [f"former={op.former!r}"]
    parts += [] if op.schema is None else [f"schema={op.schema!r}"]
    return f"{_prefix(context)}sa_perf_retention({', '.join(parts)})"


@Operations.register_operation("sa_perf_partitions")
class PartitionsOp(MigrateOperation):
    """``op.sa_perf_partitions``: make the first partitions of a table that was just made."""

    def __init__(self, rule: PartitionRule) -> None:
        self.rule = rule

    @classmethod
    def sa_perf_partitions(
        cls,
        operations: Operations,
        table_name: str,
        column: str,
        *,
        every: str,
        ahead: int,
        kind: str = "datetime",
        default: bool = True,
        timezone: str = "UTC",
        schema: str | None = None,
    ) -> None:
        """Make the partition of now, those ahead of it and the default, as `PartitionRule` says.

        Args:
            operations: Alembic's.
            table_name: of a table that is partitioned by this column, and has no partition.
            column: its name.
            every: length of a partition.
            ahead: partitions to have behind that of now.
            kind: of the column: date, datetime, or moment, which has a zone.
            default: have a partition for rows that belong to no other.
            timezone: of a column without zone.
            schema: of the table.
        """
        rule = PartitionRule(
            table=table_name, column=column, every=every, ahead=ahead, kind=kind, default=default,
            timezone=timezone, schema=schema,
        )  # fmt: skip
        operations.invoke(cls(rule))

    def reverse(self) -> MigrateOperation:
        """Nothing: they go with the table."""
        return ModifyTableOps(self.rule.table, [], schema=self.rule.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Its kind, and the rule."""
        return ("sa_perf_partitions", self.rule)


@Operations.implementation_for(PartitionsOp)
def _make_partitions(operations: Operations, op: PartitionsOp) -> None:
    context = operations.get_context()
    connection = None if context.as_sql else operations.get_bind()
    for statement in statements(op.rule, context.dialect, connection):
        if connection is not None:
            connection.exec_driver_sql(statement)
        else:
            context.impl.static_output(statement + context.impl.command_terminator)


@renderers.dispatch_for(PartitionsOp)
def _render_partitions(context: AutogenContext, op: PartitionsOp) -> str:
    parts = [repr(op.rule.table), repr(op.rule.column)]
    parts += [f"{name}={value!r}" for name, value in op.rule.options()]
    return f"{_prefix(context)}sa_perf_partitions({', '.join(parts)})"


def _prefix(context: AutogenContext) -> str:
    return str(context.opts.get("alembic_module_prefix") or "op.")


def _execute(operations: Operations, statement: Executable) -> None:
    """With its values in the text, where a script is written: it has no parameters."""
    context = operations.get_context()
    if not context.as_sql:
        operations.execute(statement)
        return
    dialect: Any = context.dialect
    text = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]  # every statement has it
    if dialect.identifier_preparer._double_percents:
        text = text.replace("%%", "%")  # doubled for a driver, and there is none
    context.impl.static_output(text + context.impl.command_terminator)
