"""Tables of events, partitioned by month, that the tests of partitions have in common."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
)

from sa_perf.retention.partitions import PartitionPlan, create_parent_ddl, partition

UTC = timezone.utc
#: Partitions are made in March and looked at in June.
NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
LATER = datetime(2026, 6, 15, 12, tzinfo=UTC)


def event_table(name: str = "event", *, type_: Any = None, **options: Any) -> PartitionPlan:
    """A declared table by months, whose partitions go after forty days."""
    table = Table(
        name,
        MetaData(),
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("created_at", type_ or DateTime(), primary_key=True),
        Column("kind", String(20)),
    )
    return partition(table, **{"ahead": 3, "days": 40, **options})


def made(engine: Engine, plan: PartitionPlan, now: datetime = NOW) -> None:
    """The table with its partitions of that time."""
    with engine.begin() as connection:
        for statement in create_parent_ddl(plan, engine.dialect, now=now):
            connection.exec_driver_sql(statement)


def put(engine: Engine, plan: PartitionPlan, **rows: datetime) -> None:
    """Rows by their kind, numbered from 1."""
    with engine.begin() as connection:
        for number, (kind, moment) in enumerate(rows.items(), 1):
            row = {"id": number, "created_at": moment, "kind": kind}
            connection.execute(insert(plan.table), row)


def old_and_new(engine: Engine, name: str = "event", **options: Any) -> PartitionPlan:
    """Rows of March and April, which are old in June, and one of June."""
    plan = event_table(name, **options)
    made(engine, plan)
    put(
        engine,
        plan,
        march=datetime(2026, 3, 10),
        april=datetime(2026, 4, 10),
        june=datetime(2026, 6, 10),
    )
    return plan


def kinds(engine: Engine, plan: PartitionPlan) -> list[str]:
    """Of the rows that are there."""
    with engine.connect() as connection:
        return sorted(connection.scalars(select(plan.table.c.kind)))


def rows(engine: Engine, table: str) -> int:
    """How many rows a table has."""
    with engine.connect() as connection:
        found = Table(table, MetaData())
        return connection.scalar(select(func.count()).select_from(found)) or 0


def detach(engine: Engine, plan: PartitionPlan, number: int = 0) -> str:
    """What a run has done that was killed before it dropped; the table's name."""
    kind = plan.partitioning(engine.dialect)
    with kind.connection(engine) as connection:
        with kind.yielding(connection, lock_seconds=1):
            parts = kind.parts(connection)
        return kind.detach(connection, parts[number], lock_seconds=1).table


def alike(name: str) -> str:
    """The name of a partition, those of PostgreSQL like those of MariaDB."""
    return name.replace("event_2", "p2").replace("event_default", "p_future")


def no_sleep(seconds: float) -> None:
    """The tests' clock does not wait."""


def days(number: float) -> timedelta:
    return timedelta(days=number)
