"""A declared policy, read against its table: what has expired. Pure.

Everything is in terms of the table, never of mapped classes: the runner speaks Core, so loader
criteria, cascades and events of the ORM play no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    and_,
    exists,
    literal,
    not_,
    or_,
    select,
    type_coerce,
)
from sqlalchemy import types as sqltypes
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.util import ClauseAdapter, _deep_deannotate

from sa_perf.errors import InvalidPolicy
from sa_perf.retention.cutoff import moment_for, plain_type

if TYPE_CHECKING:
    from sqlalchemy.orm import RelationshipProperty

    from sa_perf.retention.policy import Declared, RetentionPolicy

__all__ = ["Hop", "Target", "read"]

Expression: TypeAlias = ColumnElement[Any]
Condition: TypeAlias = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Hop:
    """A step to the row that a row refers to.

    Attributes:
        table: of that row.
        condition: that joins the two.
        name: of the relationship.
    """

    table: Table
    condition: Condition
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """Which rows of a table a policy is about.

    Attributes:
        name: of the policy.
        policy: as declared.
        table: whose rows they are.
        key: columns of the primary key.
        time: the moment that ages are counted from; of another table where there are hops.
        hops: over which relationships it is reached.
        condition: that rows must also meet (``where``, and the class's own rows of a table that
            several classes share); None: any.
        hold: that rows must not meet; None: nothing is held by an expression.
    """

    name: str
    policy: RetentionPolicy
    table: Table
    key: tuple[Column[Any], ...]
    time: Expression
    hops: tuple[Hop, ...] = ()
    condition: Condition | None = None
    hold: Condition | None = None

    @property
    def time_column(self) -> Column[Any] | None:
        """The table's own column, where ages are counted from one."""
        own = isinstance(self.time, Column) and self.time.table is self.table
        return self.time if own and isinstance(self.time, Column) else None

    def old(self, cutoff: datetime, *, keeps_zones: bool) -> Condition:
        """Rows whose moment is before the cut-off."""
        type_ = plain_type(self.time.type)
        value = moment_for(type_, cutoff, self.policy, keeps_zones=keeps_zones)
        moment: Expression = self.time
        if type_ is not self.time.type:
            # What the database holds, whatever the application's type makes of it.
            moment = type_coerce(moment, type_)
        return self._at_end_of_hops(moment < literal(value, type_))

    def timeless(self) -> Condition:
        """Rows that have no moment."""
        if not self.hops:
            return self.time.is_(None)
        return not_(self._at_end_of_hops(self.time.is_not(None)))

    def chosen(self) -> list[Condition]:
        """What else rows must meet: ``where``, ``keep_last``, holds by an expression."""
        found = [] if self.condition is None else [self.condition]
        if self.policy.keep_last is not None:
            found.append(self._enough_younger(self.policy.keep_last))
        if self.hold is not None:
            found.append(or_(not_(self.hold), self.hold.is_(None)))
        return found

    def _at_end_of_hops(self, condition: Condition) -> Condition:
        for hop in reversed(self.hops):
            condition = exists().where(hop.condition, condition).correlate_except(hop.table)
        return condition

    def _enough_younger(self, kept: int) -> Condition:
        """Whether so many rows of the group are younger; those of one moment by their key."""
        other = self.table.alias("younger")
        of_other = ClauseAdapter(other)
        moment = of_other.traverse(self.time)
        own_key = [self.table.c[column.key] for column in self.key]
        later = _later([moment, *(other.c[one.key] for one in self.key)], [self.time, *own_key])
        group = [other.c[name].is_not_distinct_from(self.table.c[name]) for name in self.policy.per]
        younger = select(other.c[self.key[0].key]).where(*group, later).correlate(self.table)
        nth = younger.order_by(moment, *(other.c[one.key] for one in self.key))
        return nth.limit(1).offset(kept - 1).scalar_subquery().is_not(None)


def read(declared: Declared) -> Target:
    """Read a policy against its table.

    Raises:
        InvalidPolicy: it does not fit; names each fault.
    """
    reading = _Reading(declared)
    target = reading.target()
    if reading.faults or target is None:
        raise InvalidPolicy(tuple(reading.faults))
    return target


class _Reading:
    """Reads one policy and gathers what is wrong with it."""

    def __init__(self, declared: Declared) -> None:
        self.faults: list[str] = []
        self._declared = declared
        self._policy = declared.policy
        self._table = declared.table
        self._mapper: Mapper[Any] | None = (
            None if declared.entity is None else declared.entity.__mapper__
        )

    def target(self) -> Target | None:
        """The policy's rows; None where too much is wrong to tell."""
        key = tuple(self._table.primary_key.columns)
        if not key:
            self._fault("the table has no primary key, so batches cannot be told apart; add one")
        if self._table.info.get("is_view"):
            self._fault("it is a view; declare the policy for the table behind it")
        self._check_inheritance()
        time, hops = self._time()
        if time is not None:
            self._check_time(time, hops)
        condition = self._criterion("where", self._policy.where)
        hold = self._criterion("hold", self._policy.hold)
        self._check_columns()
        own = self._own_rows()
        if own is not None:
            condition = own if condition is None else and_(own, condition)
        if time is None or not key:
            return None
        return Target(
            name=self._declared.name,
            policy=self._policy,
            table=self._table,
            key=key,
            time=time,
            hops=hops,
            condition=condition,
            hold=hold,
        )

    def _fault(self, text: str) -> None:
        self.faults.append(f"policy {self._declared.name!r}: {text}")

    def _check_inheritance(self) -> None:
        mapper = self._mapper
        if mapper is None or mapper.inherits is None or mapper.single:
            return
        parent = mapper.inherits.class_.__name__
        self._fault(
            f"{mapper.class_.__name__} has its rows in the table of {parent} too (joined "
            f"inheritance); declare the policy on {parent}, with where= on its type column and "
            "on_children='delete_first'"
        )

    def _own_rows(self) -> Condition | None:
        """Of a table that several classes share, those of the class."""
        if self._mapper is None or not self._mapper.single:
            return None
        criterion = self._mapper._single_table_criterion
        return None if criterion is None else _core(criterion)

    def _time(self) -> tuple[Expression | None, tuple[Hop, ...]]:
        by = self._policy.by
        if callable(by) and not isinstance(by, ColumnElement) and not hasattr(by, "property"):
            by = by(self._subject())
        if isinstance(by, str):
            return self._named(by)
        element = by.__clause_element__() if hasattr(by, "__clause_element__") else by
        if not isinstance(element, ColumnElement):
            self._fault(f"by is {by!r}; give a column's name, a path, or a SQL expression")
            return None, ()
        return self._own_column(_core(element)), ()

    def _own_column(self, expression: Expression) -> Expression:
        """The table's very column, where it is one."""
        if isinstance(expression, Column) and expression.table is self._table:
            return self._table.c[expression.key]
        return expression

    def _named(self, path: str) -> tuple[Expression | None, tuple[Hop, ...]]:
        *names, last = path.split(".")
        hops = []
        mapper, table = self._mapper, self._table
        for name in names:
            found = None if mapper is None else mapper.relationships.get(name)
            if mapper is None or found is None:
                known = [] if mapper is None else sorted(mapper.relationships.keys())
                self._fault(
                    f"by={path!r} goes over {name!r}, which is no relationship; relationships "
                    f"are: {', '.join(known) or 'none'}"
                )
                return None, ()
            hop = self._hop(path, found)
            if hop is None:
                return None, ()
            hops.append(hop)
            mapper, table = found.mapper, hop.table
        return self._last(path, last, mapper, table), tuple(hops)

    def _hop(self, path: str, found: RelationshipProperty[Any]) -> Hop | None:
        table = found.mapper.local_table
        if found.uselist or found.secondary is not None or not isinstance(table, Table):
            self._fault(
                f"by={path!r} goes over {found.key!r}, which leads to many rows; a path goes over "
                "many-to-one relationships"
            )
            return None
        if table is self._table:
            self._fault(f"by={path!r} leads back to the table itself; use an expression")
            return None
        return Hop(table, _core(found.primaryjoin), found.key)

    def _last(
        self, path: str, name: str, mapper: Mapper[Any] | None, table: Table
    ) -> Expression | None:
        if mapper is not None:
            attribute = mapper.all_orm_descriptors.get(name)
            element = None if attribute is None else getattr(mapper.class_, name)
            if hasattr(element, "__clause_element__"):
                element = element.__clause_element__()
            if isinstance(element, ColumnElement):
                expression = _core(element)
                if isinstance(expression, Column) and expression.table is table:
                    return table.c[expression.key]
                return expression
        if name in table.c:
            return table.c[name]
        self._fault(
            f"by={path!r} names {name!r}, which is no column of {table.fullname!r}; columns are: "
            f"{', '.join(table.c.keys())}"
        )
        return None

    def _check_time(self, time: Expression, hops: Sequence[Hop]) -> None:
        type_ = plain_type(time.type)
        number = isinstance(type_, (sqltypes.Integer, sqltypes.Numeric))
        if number and self._policy.epoch is None:
            self._fault("by is a number; say what it counts: epoch='seconds' or 'milliseconds'")
        elif not number and self._policy.epoch is not None:
            self._fault(f"epoch={self._policy.epoch!r} is for numbers, but by is {type_!r}")
        elif not number and not isinstance(type_, (sqltypes.DateTime, sqltypes.Date)):
            self._fault(f"by is {type_!r}; a moment is a DateTime, a Date or a number")
        if (
            isinstance(type_, sqltypes.DateTime)
            and type_.timezone
            and self._policy.timezone != "UTC"
        ):
            self._fault(
                f"timezone={self._policy.timezone!r} is for columns without a zone, but by has one"
            )
        nullable = not isinstance(time, Column) or bool(time.nullable) or bool(hops)
        if nullable and self._policy.nulls is None:
            self._fault(
                "the moment may be NULL; say what becomes of such rows: nulls='keep' or 'expire'"
            )

    def _check_columns(self) -> None:
        policy, columns = self._policy, self._table.c
        named = [*policy.per, *(policy.anonymise or ()), *filter(None, (policy.soft_delete,))]
        for name in named:
            if name not in columns:
                self._fault(
                    f"{name!r} is no column of {self._table.fullname!r}; columns are: "
                    f"{', '.join(columns.keys())}"
                )
        for name, value in (policy.anonymise or {}).items():
            if name in columns and value is None and not columns[name].nullable:
                self._fault(f"anonymise sets {name!r} to None, but it cannot be NULL")
            if name in columns and columns[name].primary_key:
                self._fault(f"anonymise sets {name!r}, which is part of the primary key")
        constants = [value for value in (policy.anonymise or {}).values() if not _is_sql(value)]
        if policy.anonymise and not constants:
            self._fault(
                "anonymise has no constant value, so rows that are done cannot be told from others"
            )
        soft = policy.soft_delete
        if soft is not None and soft in columns and not columns[soft].nullable:
            self._fault(f"soft_delete names {soft!r}, which cannot be NULL for rows that live")

    def _criterion(self, name: str, given: Any) -> Condition | None:  # noqa: ANN401
        if given is None:
            return None
        element = given
        if callable(given) and not isinstance(given, ColumnElement):
            try:
                element = given(self._subject())
            except AttributeError as error:
                self._fault(f"{name} cannot be read: {error}")
                return None
        if hasattr(element, "__clause_element__"):
            element = element.__clause_element__()
        if not isinstance(element, ColumnElement):
            self._fault(f"{name} gives {element!r}, which is no SQL condition")
            return None
        return _core(element)

    def _subject(self) -> Any:  # noqa: ANN401  # the mapped class, or the table's columns
        return self._table.c if self._declared.entity is None else self._declared.entity


def _core(expression: Any) -> Any:  # noqa: ANN401
    """An expression without the ORM's notes, with which it would make an ORM statement."""
    return _deep_deannotate(expression)


def _is_sql(value: object) -> bool:
    return isinstance(value, ColumnElement) or hasattr(value, "__clause_element__")


def _later(left: Sequence[Expression], right: Sequence[Expression]) -> Condition:
    """``left > right``, column by column, in a form that every database seeks with."""
    condition: Condition | None = None
    for one, other in zip(reversed(left), reversed(right), strict=True):
        if condition is None:
            condition = one > other
        else:
            condition = and_(one >= other, or_(one > other, condition))
    assert condition is not None  # noqa: S101  # there is a key
    return condition
