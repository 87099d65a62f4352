"""What a run does for one policy: conditions and walks. Pure.

A `Step` holds a policy's reading, its cut-off and the ways through the table that its indexes
allow. The planner shows it; the runner carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Delete,
    TypeDecorator,
    Update,
    delete,
    literal,
    not_,
    null,
    or_,
    update,
)
from sqlalchemy.orm import configure_mappers

from sa_perf.errors import InvalidPolicy
from sa_perf.retention.children import Child, children_of, restricted, walk_down
from sa_perf.retention.cutoff import written
from sa_perf.retention.expressions import is_sql
from sa_perf.retention.keys import among
from sa_perf.retention.ranges import Walk
from sa_perf.retention.reading import read
from sa_perf.retention.target import Target

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.rules import Declared

__all__ = ["Step", "read_step"]

Condition: TypeAlias = ColumnElement[bool]
Held: TypeAlias = "Mapping[str, Sequence[tuple[Any, ...]]]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One policy of a run.

    Attributes:
        target: which rows.
        cutoff: aware, in UTC; rows before it have expired.
        now: the moment of the run, by the database's clock; ages may be counted up to another.
        children: tables that refer to the policy's.
        purging: the database's ways.
    """

    target: Target
    cutoff: datetime
    now: datetime
    children: tuple[Child, ...]
    purging: Purging

    @property
    def name(self) -> str:
        """Of the policy."""
        return self.target.name

    @property
    def archive_words(self) -> str | None:
        """Where rows are archived, in words; None: they are not."""
        archive = self.target.policy.archive
        return None if archive is None else str(archive)

    def walk(self, name: str, *, upto: Any = None) -> Walk:  # noqa: ANN401  # a key's value
        """A way through the rows that have expired.

        Args:
            name: ``"time"``, ``"key"`` or ``"timeless"``.
            upto: of a walk along the key: the last value to go to; None: to the end.
        """
        target = self.target
        old = target.old(self.cutoff, self.purging)
        if name == "time":
            return Walk(
                name="time",
                table=target.table,
                columns=(target.time, *(one for one in target.key if one is not target.time)),
                expired=old,
                within=old,
            )
        if name == "timeless":
            timeless = target.timeless()
            return Walk(name="timeless", table=target.table, columns=target.key, expired=timeless)
        within = None if upto is None else target.key[0] <= upto
        return Walk(name="key", table=target.table, columns=target.key, expired=old, within=within)

    def matching(self, walk: Walk) -> list[Condition]:
        """What rows must meet that the walk's range does not say, holds by key left out."""
        target = self.target
        found = [walk.expired, *target.chosen(self.purging)]
        found += [not_(condition) for condition in restricted(self.children)]
        if target.soft_delete is not None:
            found.append(target.soft_delete.is_(None))
        constants = {
            column: value for column, value in target.anonymise.items() if not is_sql(value)
        }
        if constants:
            # Rows that have the new values already are done.
            found.append(or_(*(one.is_distinct_from(value) for one, value in constants.items())))
        return found

    def not_held(self, held: Held) -> list[Condition]:
        """Rows that no hold names, nor any of those that would go with them."""
        found = []
        own = held.get(self.target.table.fullname)
        if own:
            found.append(not_(among(self.target.key, own, self.purging.dialect)))
        for child in self.children:
            condition = _has_held(child, held, self.purging.dialect)
            if condition is not None:
                found.append(not_(condition))
        return found

    @property
    def frees_itself(self) -> bool:
        """Whether rows that go were what kept other rows of the same table."""
        return any(
            child.how == "restrict" and child.table is self.target.table
            for child in walk_down(self.children)
        )

    @property
    def tables(self) -> list[Any]:
        """The policy's table and those whose rows go with its rows."""
        return [self.target.table, *(child.table for child in walk_down(self.children))]

    def change(self, conditions: Sequence[Condition]) -> Delete | Update:
        """The statement that a batch is about."""
        target, table = self.target, self.target.table
        if target.anonymise:
            # A type may have a value of its own for None: JSON's null is not NULL.
            values = {one: null() if new is None else new for one, new in target.anonymise.items()}
            return update(table).where(*conditions).values(values)
        if target.soft_delete is not None:
            type_ = self.purging.stored_type(target.soft_delete.type)
            moment = written(type_, self.now, target.policy, self.purging)
            return (
                update(table)
                .where(*conditions)
                .values({target.soft_delete: literal(moment, type_)})
            )
        return delete(table).where(*conditions)


def read_step(
    declared: Declared,
    moment: datetime,
    purging: Purging,
    *,
    cascades: bool = True,
    now: datetime | None = None,
) -> Step:
    """Read a declared policy for a run.

    Args:
        declared: the policy.
        moment: up to which ages are counted; aware.
        purging: the database's ways.
        cascades: the database carries out ON DELETE.
        now: the moment of the run, which rows are marked with; None: the same.

    Raises:
        InvalidPolicy: it does not fit its table, or not this database.
    """
    with suppress(InvalidPolicy):  # of any model; this policy's own faults are gathered below
        configure_mappers()
    faults: list[str] = []
    target: Target | None = None
    children: tuple[Child, ...] = ()
    try:
        target = read(declared)
    except InvalidPolicy as error:
        faults += error.problems
    try:
        children = children_of(declared.name, declared.policy, declared.table, cascades=cascades)
    except InvalidPolicy as error:
        faults += error.problems
    faults += _not_here(declared, children, purging)
    faults += () if target is None else _unstable(target, purging.dialect)
    if faults or target is None:
        raise InvalidPolicy(tuple(faults))
    return Step(
        target=target,
        cutoff=moment - declared.policy.age,
        now=now or moment,
        children=children,
        purging=purging,
    )


def _not_here(declared: Declared, children: Sequence[Child], purging: Purging) -> Iterator[str]:
    """What this database does not allow."""
    if purging.reads_own_table:
        return
    circle = any(child.rows is not child.table for child in walk_down(children))
    for given, words in ((declared.policy.keep_last, "keep_last"), (circle, "a circle of tables")):
        if given:
            yield (
                f"policy {declared.name!r}: {words} needs a subquery on the table that is changed, "
                "which this database does not allow; choose rows by where= instead"
            )


def _unstable(target: Target, dialect: Dialect) -> Iterator[str]:
    """New values that are another each time, by which rows that are done cannot be told."""
    for column, value in target.anonymise.items():
        type_ = column.type
        if value is None or is_sql(value) or not isinstance(type_, TypeDecorator):
            continue
        if type(type_).process_bind_param is TypeDecorator.process_bind_param:
            continue  # it only reads
        once, again = (type_.process_bind_param(value, dialect) for _ in range(2))
        if once != again:
            yield (
                f"policy {target.name!r}: anonymise sets {column.key!r} to a value that its type "
                f"({type(type_).__name__}) writes otherwise each time, so each run would change "
                "all rows anew; set it to None"
            )


def _has_held(child: Child, held: Held, dialect: Dialect) -> Condition | None:
    """Whether a row has a child that is held, or that has one."""
    conditions = []
    own = held.get(child.table.fullname)
    if own and child.key:
        conditions.append(among(child.named(child.key), own, dialect))
    for deeper in child.children:
        condition = _has_held(deeper, held, dialect)
        if condition is not None:
            conditions.append(condition)
    if not conditions or child.how == "restrict":
        return None
    return child.any(or_(*conditions))
