"""A database's schemas read once and looked at for faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from sa_perf.dialects.inventory import (
    DDL,
    Inventory,
    Unknown,
    ddl_for,
    read_inventory,
    refuse_missing,
)
from sa_perf.errors import InventoryError
from sa_perf.finding import Finding
from sa_perf.plans.schema.counter_findings import counter_findings
from sa_perf.plans.schema.index_findings import index_findings
from sa_perf.plans.schema.key_findings import key_findings
from sa_perf.plans.schema.limits import Limits
from sa_perf.tables import UNRECORDED, database_label

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["SchemaReport", "examine", "schema_findings"]

_SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaReport:
    """What is wrong with a database's schemas.

    Attributes:
        database: its URL without user, password and query.
        schemas: that were looked at.
        tables: how many there are in them, a partitioned one counted once.
        indexes: of these, primary keys included.
        foreign_keys: of these.
        seconds: that it took.
        findings: worst first; of the equally severe those first that free most space.
        unknowns: what could not be told, and why.
    """

    database: str
    schemas: tuple[str, ...]
    tables: int
    indexes: int
    foreign_keys: int
    seconds: float
    findings: tuple[Finding, ...] = ()
    unknowns: tuple[Unknown, ...] = ()


def examine(
    bind: Engine | Connection,
    *,
    schemas: Sequence[str] = (),
    limits: Limits | None = None,
    timeout_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> SchemaReport:
    """Look for double, redundant, broken and never used indexes, keys without one, full sequences.

    Reads the catalog, in read-only transactions that are rolled back; changes nothing. A question
    that fails stands among the unknowns, and the others are answered. For an asynchronous engine:
    ``await connection.run_sync(examine)``.

    Args:
        bind: an engine, or a connection without a transaction.
        schemas: by name; none: on PostgreSQL each that is not the system's, on MySQL and MariaDB
            the URL's database, on SQLite the file and what is attached.
        limits: from when on something counts.
        timeout_seconds: limit for each question, > 0.
        clock: gives seconds.

    Raises:
        InventoryError: no such schema or file, an asynchronous engine, a transaction under way.
        UnsupportedDatabase: sa_perf does not know the database's catalog.
        DBAPIError: the database cannot be reached, or not even the names of tables be had.
    """
    begun = clock()
    with _connection(bind) as connection:
        inventory = read_inventory(connection, schemas, timeout_seconds=timeout_seconds)
        ddl = ddl_for(connection.dialect)
        database = database_label(connection.engine.url)
    chosen = limits or Limits()
    findings, unknowns = schema_findings(inventory, ddl, chosen)
    return SchemaReport(
        database=database,
        schemas=inventory.schemas,
        tables=len(inventory.tables),
        indexes=sum(len(table.indexes) for table in inventory.tables),
        foreign_keys=sum(key.schema in inventory.schemas for key in inventory.foreign_keys),
        seconds=clock() - begun,
        findings=findings,
        unknowns=unknowns,
    )


def schema_findings(
    inventory: Inventory, ddl: DDL, limits: Limits
) -> tuple[tuple[Finding, ...], tuple[Unknown, ...]]:
    """Findings, worst first, and what cannot be told. Pure.

    Args:
        inventory: what there is.
        ddl: the database's words for remedies.
        limits: from when on something counts.
    """
    found = list(_findings(inventory, ddl, limits))
    found.sort(
        key=lambda one: (
            _SEVERITIES.index(one.severity),
            -float(one.evidence.get("freed_bytes") or 0),
            -float(one.evidence.get("used_ratio") or 0),
        )
    )
    unknowns = list(inventory.unknowns)
    seconds = inventory.counted_seconds
    if seconds is not None and seconds < limits.unused_seconds:
        unknowns.append(
            Unknown(
                question="never used indexes",
                place="database",
                because=f"the server has counted for {seconds / 3_600:,.1f} hours only, and "
                f"{limits.unused_days * 24:,.0f} are wanted",
            )
        )
    return tuple(found), tuple(unknowns)


def _findings(inventory: Inventory, ddl: DDL, limits: Limits) -> Iterator[Finding]:
    missing = inventory.unanswered
    if not missing:
        yield from index_findings(inventory, ddl, limits)
    elif "indexes" not in missing:
        # Nobody knows which index a key needs, or which column may be NULL: none is given up.
        pinned = "not all of the catalog could be read"
        tables = tuple(
            replace(table, indexes=tuple(replace(one, pinned=pinned) for one in table.indexes))
            for table in inventory.tables
        )
        yield from index_findings(replace(inventory, tables=tables), ddl, limits)
    yield from key_findings(inventory, ddl, limits)
    yield from counter_findings(inventory, ddl, limits)


@contextmanager
def _connection(bind: Engine | Connection) -> Iterator[Connection]:
    """A connection without a transaction."""
    if hasattr(bind, "sync_engine") or hasattr(bind, "sync_connection"):
        raise InventoryError(
            f"{bind!r} is asynchronous; write: async with engine.connect() as connection: "
            "report = await connection.run_sync(examine)"
        )
    if isinstance(bind, Connection):
        if bind.in_transaction():
            raise InventoryError("the connection has a transaction; end it first")
        yield bind
        return
    refuse_missing(bind.url)
    with bind.connect() as connection:
        yield connection.execution_options(**UNRECORDED)
