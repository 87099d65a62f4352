"""The first partitions of a table that a migration makes, as statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Date, DateTime, MetaData, Table

from sa_perf.dialects.partitioning import can_partition
from sa_perf.retention.cutoff import plain_type
from sa_perf.retention.partitions.declaration import PartitionPlan
from sa_perf.retention.partitions.intervals import Every

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.types import TypeEngine

__all__ = ["PartitionRule", "rule_of", "statements"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRule:
    """How a table is partitioned, as a revision keeps it.

    Attributes:
        table: its name.
        column: by which.
        every: length of a partition: ``"1 month"``.
        ahead: partitions to have behind that of now.
        kind: of the column: ``"date"``, ``"datetime"``, or ``"moment"``, which has a zone.
        default: a partition takes the rows that belong to no other.
        timezone: of a column without zone.
        schema: of the table; None: the default one.
    """

    table: str
    column: str
    every: str
    ahead: int
    kind: str = "datetime"
    default: bool = True
    timezone: str = "UTC"
    schema: str | None = None

    def options(self) -> Iterator[tuple[str, Any]]:
        """Its values but table and column, by name; without those left at their default."""
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name not in ("table", "column") and value != one.default:
                yield one.name, value


def rule_of(plan: PartitionPlan) -> PartitionRule:
    """What a revision keeps of a declaration."""
    type_ = plain_type(plan.column.type)
    kind = "datetime"
    if isinstance(type_, Date):
        kind = "date"
    elif isinstance(type_, DateTime) and type_.timezone:
        kind = "moment"
    return PartitionRule(
        table=plan.table.name, column=plan.column.name, ahead=plan.ahead,
        every=f"{plan.every.count} {plan.every.unit}",
        kind=kind, default=plan.default, timezone=plan.timezone, schema=plan.table.schema,
    )  # fmt: skip


def statements(rule: PartitionRule, dialect: Dialect, connection: Connection | None) -> list[str]:
    """What makes the partitions; nothing where the database has none.

    Args:
        rule: of a table that has no partition yet.
        dialect: of the database.
        connection: whose clock says what is now; None: this machine's does.
    """
    if not can_partition(dialect):
        return []
    types: dict[str, TypeEngine[Any]] = {
        "date": Date(), "datetime": DateTime(), "moment": DateTime(timezone=True),
    }  # fmt: skip
    column: Column[Any] = Column(rule.column, types[rule.kind], primary_key=True)
    table = Table(rule.table, MetaData(), column, schema=rule.schema)
    plan = PartitionPlan(
        table=table, entity=None, column=column, every=Every.parse(rule.every), ahead=rule.ahead,
        keep=None, default=rule.default, timezone=rule.timezone,
    )  # fmt: skip
    made = plan.partitioning(dialect)
    now = datetime.now(timezone.utc) if connection is None else made.purging.utc_now(connection)
    return made.create_sql(plan.pieces(plan.wanted(plan.wall(now, made))), default=plan.default)
