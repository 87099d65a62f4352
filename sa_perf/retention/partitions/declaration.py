"""Which tables are partitioned by time, and how.

A declaration hangs on its Table and is freed with it; it is not in ``Table.info``. What CREATE
TABLE needs stands in the Table's own dialect options, which Alembic renders into migrations as it
should.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import Column, Date, DateTime, MetaData, Table, UniqueConstraint, event
from sqlalchemy import inspect as inspection
from sqlalchemy.schema import CreateIndex, CreateTable

from sa_perf.dialects.partitioning import (
    Partitioning,
    Piece,
    can_partition,
    partitioning_for,
    table_options,
)
from sa_perf.errors import PartitionError
from sa_perf.retention.cutoff import plain_type, wall_time
from sa_perf.retention.partitions.intervals import Every, Span, spans_ahead, suffix
from sa_perf.retention.zones import zone_named

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.engine.interfaces import Dialect

    #: Called with a connection, a Table of exactly the partition's rows, and their number.
    BeforeDrop: TypeAlias = Callable[[Connection, Table, int], object]
    MustKeep: TypeAlias = "ColumnElement[bool] | Callable[[Any], ColumnElement[bool]]"

__all__ = [
    "Declared", "PartitionPlan", "create_parent_ddl", "declared_partition", "declared_partitions",
    "partition", "partitioned",
]  # fmt: skip

C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartitionPlan:
    """How one table is partitioned.

    Attributes:
        table: that is partitioned.
        entity: the class that is mapped to it, if that was declared.
        column: by which; DateTime or Date.
        every: length of a partition.
        ahead: partitions to have behind that of now.
        keep: age at which a partition is dropped, counted from its end; None: never.
        default: a partition takes the rows that belong to no other.
        timezone: of a column without zone: in which its moments are written.
        must_keep: names rows because of which a partition stays; None: there are no such.
        before_drop: called with the rows of each partition that is dropped; None: nothing is.
    """

    table: Table
    entity: type[Any] | None
    column: Column[Any]
    every: Every
    ahead: int
    keep: timedelta | None
    default: bool
    timezone: str
    must_keep: MustKeep | None = None
    before_drop: BeforeDrop | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Nothing: functions need not be fit to be pickled, and a pickled Table is another one."""
        return type(None), ()

    def wall(self, moment: datetime, kind: Partitioning) -> datetime:
        """A moment as a database's column has it, without zone: UTC where it keeps one."""
        if moment.tzinfo is None:
            raise PartitionError(f"now={moment!r} has no time zone; give an aware datetime")
        zone = zone_named(kind.zone(self.timezone))
        return moment.astimezone(zone).replace(tzinfo=None)

    def cutoff(self, now: datetime, kind: Partitioning) -> datetime | None:
        """The moment at or before which a partition must end to be dropped, as `wall`."""
        if self.keep is None:
            return None
        return wall_time(now.astimezone(timezone.utc) - self.keep, kind.zone(self.timezone))

    def wanted(self, now: datetime) -> list[Span]:
        """The intervals that are to have a partition; `now` as the column has it."""
        return spans_ahead(self.every, now, self.ahead)

    def pieces(self, spans: list[Span]) -> list[Piece]:
        """Partitions to be, with their names."""
        return [
            Piece(suffix=suffix(self.every, one), lower=one.lower, upper=one.upper)
            for one in spans
            if one.lower is not None and one.upper is not None
        ]

    def partitioning(self, dialect: Dialect) -> Partitioning:
        """How a database does it.

        Raises:
            PartitionError: it has no partitions.
        """
        return partitioning_for(dialect, self.table, self.column)


#: A declaration, or the table or class that it was made for.
Declared: TypeAlias = "PartitionPlan | Table | type[Any]"
#: What a Table has its declaration by, so that both are freed together.
_KEPT = "_sa_perf_partitions"


def partition(
    table_or_class: Table | type[Any],
    by: str = "created_at",
    *,
    every: str = "1 month",
    ahead: int = 3,
    keep: timedelta | None = None,
    days: float | None = None,
    default: bool = True,
    timezone: str = "UTC",
    must_keep: MustKeep | None = None,
    before_drop: BeforeDrop | None = None,
) -> PartitionPlan:
    """Declare that a table is partitioned by time.

    From then on ``metadata.create_all`` makes it with its first partitions, where the database has
    such; elsewhere (SQLite) it makes a plain table, so that an application's tests run there.

    Example:
        >>> partition(Event, "created_at", every="1 month", ahead=3, days=90)

    Args:
        table_or_class: a table, or a class that is mapped to one.
        by: the column, by its key; DateTime or Date, part of the primary key.
        every: ``"1 hour"``, ``"1 day"``, ``"1 week"``, ``"1 month"``, ``"1 year"``, or several.
        ahead: partitions to have behind that of now, 0 to 1,000.
        keep: age at which partitions are dropped, counted from their end; or give `days`.
        days: the same in days.
        default: have a partition for rows that belong to no other; without it they are refused.
        timezone: IANA name of the zone in which a column without one is written.
        must_keep: an expression over the table or class, or a function that makes one of it: a
            partition with such a row stays. It is looked for row by row, unless an index serves.
        before_drop: called in the transaction that drops, with its connection, a Table that holds
            exactly the partition's rows, and their number. What it raises stops the run, with the
            partition put back. Where DDL commits by itself (MySQL, MariaDB) what it did stays.

    Raises:
        PartitionError: something does not fit; the message names each fault.
    """
    table, entity = _table_of(table_or_class)
    faults = list(_faults(table, by, ahead, keep, days, timezone))
    if faults:
        raise PartitionError(f"{table.fullname!r}: {'; '.join(faults)}")
    column = table.columns[by]
    length = Every.parse(every)
    if length.unit == "hour" and isinstance(plain_type(column.type), Date):
        raise PartitionError(
            f"{table.fullname!r}: {by!r} has no hours, so every={every!r} cannot be"
        )
    plan = PartitionPlan(
        table=table, entity=entity, column=column, every=length, ahead=ahead,
        keep=timedelta(days=days) if days is not None else keep, default=default,
        timezone=timezone, must_keep=must_keep, before_drop=before_drop,
    )  # fmt: skip
    if _plan_of(table) is None:
        event.listen(table, "before_create", _check_table)
        event.listen(table, "after_create", _create_partitions)
    vars(table)[_KEPT] = plan
    table.dialect_kwargs.update(table_options(table, column, default=default))
    return plan


def partitioned(by: str = "created_at", **options: Any) -> Callable[[C], C]:  # noqa: ANN401
    """Declare as `partition` does, as a decorator of a mapped class."""

    def declare(entity: C) -> C:
        partition(entity, by, **options)
        return entity

    return declare


def declared_partition(declared: Declared) -> PartitionPlan:
    """The declaration of a table or a class.

    Raises:
        PartitionError: there is none.
    """
    if isinstance(declared, PartitionPlan):
        return declared
    table, _ = _table_of(declared)
    found = _plan_of(table)
    if found is None:
        raise PartitionError(f"{table.fullname!r} is not declared; call partition() for it")
    return found


def declared_partitions(source: MetaData | Table | type[Any]) -> list[PartitionPlan]:
    """The declarations of a MetaData, a declarative base, a mapped class or a table, by name.

    Raises:
        PartitionError: it is none of these.
    """
    tables: set[Any]
    mapper = inspection(source, raiseerr=False) if isinstance(source, type) else None
    metadata = source if isinstance(source, MetaData) else getattr(source, "metadata", None)
    if isinstance(source, Table):
        tables = {source}
    elif mapper is not None:
        tables = set(mapper.tables)
    elif isinstance(metadata, MetaData):
        tables = set(metadata.tables.values())
    else:
        raise PartitionError(
            "partitions are looked up by MetaData, declarative base, mapped class or Table, not "
            f"{type(source).__name__}"
        )
    found = [plan for plan in map(_plan_of, tables) if plan is not None]
    return sorted(found, key=lambda one: one.table.fullname)


def create_parent_ddl(
    declared: Declared, dialect: Dialect, *, now: datetime | None = None
) -> tuple[str, ...]:
    """SQL that creates the table, its indexes and first partitions, in order.

    Args:
        declared: the declaration, or what it was made for.
        dialect: of the database, as ``engine.dialect``.
        now: the moment that the first partition holds, aware; None: this machine's clock.

    Raises:
        PartitionError: the database has no partitions, or the table cannot have them there.
    """
    plan = declared_partition(declared)
    kind = plan.partitioning(dialect)
    _refuse(plan, kind)
    spans = plan.wanted(plan.wall(now or datetime.now(timezone.utc), kind))
    indexes = sorted(plan.table.indexes, key=lambda one: str(one.name))
    return (
        str(CreateTable(plan.table).compile(dialect=dialect)).strip(),
        *(str(CreateIndex(one).compile(dialect=dialect)) for one in indexes),
        *kind.create_sql(plan.pieces(spans), default=plan.default),
    )


def _table_of(given: Table | type[Any]) -> tuple[Table, type[Any] | None]:
    if isinstance(given, Table):
        return given, None
    mapper = inspection(given, raiseerr=False)
    table = getattr(mapper, "local_table", None)
    if not isinstance(table, Table):
        raise PartitionError(f"{given!r} is neither a table nor a class mapped to one")
    return table, given


def _faults(
    table: Table, by: str, ahead: int, keep: timedelta | None, days: float | None, zone: str
) -> Iterator[str]:
    column = table.columns.get(by)
    if column is None:
        yield f"by={by!r} is no column; columns are: {', '.join(table.columns.keys())}"
    else:
        if not isinstance(plain_type(column.type), (DateTime, Date)):
            yield f"{by!r} is {column.type!r}; it must be DateTime or Date"
        yield from _keys_without(table, column)
    if not 0 <= ahead <= 1_000:
        yield f"ahead={ahead!r}; allowed is 0 to 1,000"
    if keep is not None and days is not None:
        yield "keep and days say the same; give one"
    age = keep if days is None else timedelta(days=days)
    if age is not None and age <= timedelta(0):
        yield f"keep={age!r} would drop what was written just now"
    try:
        zone_named(zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield f"timezone={zone!r} is no IANA name of a time zone"


def _keys_without(table: Table, column: Column[Any]) -> Iterator[str]:
    """Databases watch uniqueness within a partition only."""
    key = [one.key for one in table.primary_key.columns]
    if key and column.key not in key:
        yield (
            f"the primary key ({', '.join(key)}) must contain {column.key!r}: a partitioned "
            f"table's key holds within each partition; make it ({', '.join([*key, column.key])})"
        )
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and column not in set(constraint.columns):
            names = ", ".join(one.key for one in constraint.columns)
            yield f"the unique constraint over ({names}) must contain {column.key!r}"
    for index in table.indexes:
        if index.unique and column not in set(index.columns):
            yield f"the unique index {index.name!r} must contain {column.key!r}"


def _plan_of(table: Any) -> PartitionPlan | None:  # noqa: ANN401  # any FROM clause
    found: PartitionPlan | None = vars(table).get(_KEPT)
    return found


def _refuse(plan: PartitionPlan, kind: Partitioning) -> None:
    faults = kind.faults()
    if faults:
        raise PartitionError(f"{plan.table.fullname!r}: {'; '.join(faults)}")


def _check_table(table: Table, connection: Connection, **_: object) -> None:
    if can_partition(connection.dialect):
        plan = declared_partition(table)
        _refuse(plan, plan.partitioning(connection.dialect))


def _create_partitions(table: Table, connection: Connection, **_: object) -> None:
    if not can_partition(connection.dialect):
        return
    plan = declared_partition(table)
    kind = plan.partitioning(connection.dialect)
    spans = plan.wanted(plan.wall(kind.purging.utc_now(connection), kind))
    for statement in kind.create_sql(plan.pieces(spans), default=plan.default):
        kind.run(connection, statement)
