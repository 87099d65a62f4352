"""Which rows of its table a policy is about, as SQL. Pure.

Everything is in terms of the table, never of mapped classes: the runner speaks Core, so loader
criteria, cascades and events of the ORM play no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Table, and_, exists, not_, or_, select, type_coerce
from sqlalchemy.sql.util import ClauseAdapter

from sa_perf.retention.cutoff import moment_for

if TYPE_CHECKING:
    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.rules import RetentionPolicy

__all__ = ["Hop", "Target"]

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
        own: the class's own rows of a table that several classes share; None: all are.
        where: that rows must also meet; None: any.
        hold: that rows must not meet; None: nothing is held by an expression.
        per: columns that make the groups of ``keep_last``.
        anonymise: new values by column.
        soft_delete: the column to set.
    """

    name: str
    policy: RetentionPolicy
    table: Table
    key: tuple[Column[Any], ...]
    time: Expression
    hops: tuple[Hop, ...] = ()
    own: Condition | None = None
    where: Condition | None = None
    hold: Condition | None = None
    per: tuple[Column[Any], ...] = ()
    anonymise: Mapping[Column[Any], object] = field(default_factory=dict)
    soft_delete: Column[Any] | None = None

    @property
    def time_column(self) -> Column[Any] | None:
        """The table's own column, where ages are counted from one."""
        own = isinstance(self.time, Column) and self.time.table is self.table
        return self.time if own and isinstance(self.time, Column) else None

    def old(self, cutoff: datetime, purging: Purging) -> Condition:
        """Rows whose moment is before the cut-off, and compares as time."""
        type_ = purging.stored_type(self.time.type)
        value = moment_for(type_, cutoff, self.policy, purging)
        # What the database holds, whatever the application's type makes of it.
        older = type_coerce(self.time, type_) < purging.compared(value, type_)
        sound = purging.sound_moment(self.time)
        return self._at_end_of_hops(older if sound is None else and_(older, sound))

    def timeless(self) -> Condition:
        """Rows that have no moment."""
        if not self.hops:
            return self.time.is_(None)
        return not_(self._at_end_of_hops(self.time.is_not(None)))

    def chosen(self, purging: Purging | None = None) -> list[Condition]:
        """What else rows must meet: ``where``, ``keep_last``, holds by an expression."""
        found = [one for one in (self.own, self.where) if one is not None]
        if self.policy.keep_last is not None:
            found.append(self._enough_younger(self.policy.keep_last, purging))
        if self.hold is not None:
            found.append(or_(not_(self.hold), self.hold.is_(None)))
        return found

    def _at_end_of_hops(self, condition: Condition) -> Condition:
        for hop in reversed(self.hops):
            condition = exists().where(hop.condition, condition).correlate_except(hop.table)
        return condition

    def _enough_younger(self, kept: int, purging: Purging | None) -> Condition:
        """Whether so many rows of the group are younger; those of one moment by their key.

        Rows without a moment count as older than those with one.
        """
        other = self.table.alias("younger")
        of_other = ClauseAdapter(other)
        moment: Expression = of_other.traverse(self.time)
        keys = [other.c[one.key] for one in self.key]
        counted = [other.c[one.key].is_not_distinct_from(one) for one in self.per]
        if self.own is not None:
            counted.append(of_other.traverse(self.own))
        if self.soft_delete is not None:
            counted.append(other.c[self.soft_delete.key].is_(None))
        sound = None if purging is None else purging.sound_moment(moment)
        if sound is not None:
            counted.append(or_(sound, moment.is_(None)))
        later = _younger([moment, *keys], [self.time, *self.key])
        younger = select(keys[0]).where(*counted, later).correlate(self.table)
        nth = younger.order_by(moment, *keys).limit(1).offset(kept - 1)
        return nth.scalar_subquery().is_not(None)


def _younger(left: Sequence[Expression], right: Sequence[Expression]) -> Condition:
    """Whether the moment that leads ``left`` is later, or as late and the key behind it greater."""
    (one, *key), (other, *other_key) = left, right
    if isinstance(other, Column) and not other.nullable:
        return _later(left, right)
    return or_(
        one > other,
        and_(one.is_not(None), other.is_(None)),
        and_(or_(one == other, and_(one.is_(None), other.is_(None))), _later(key, other_key)),
    )


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
