"""What a run does for one policy: conditions and walks. Pure.

A `Step` holds a policy's reading, its cut-off and the ways through the table that its indexes
allow. The planner shows it; the runner carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, Delete, Update, delete, not_, or_, update
from sqlalchemy.orm import configure_mappers as _configure

from sa_perf.errors import InvalidPolicy
from sa_perf.retention.children import Child, children_of, in_keys, walk_down
from sa_perf.retention.cutoff import moment_for, plain_type
from sa_perf.retention.ranges import Walk
from sa_perf.retention.target import Target, read

if TYPE_CHECKING:
    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.policy import Declared

__all__ = ["Step", "read_step"]

Condition: TypeAlias = ColumnElement[bool]
Held: TypeAlias = "Mapping[str, Sequence[tuple[Any, ...]]]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One policy of a run.

    Attributes:
        target: which rows.
        cutoff: aware, in UTC; rows before it have expired.
        now: the moment of the run, by the database's clock.
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
        old = target.old(self.cutoff, keeps_zones=self.purging.keeps_zones)
        if name == "time":
            return Walk(
                name="time",
                table=target.table,
                columns=(target.time, *target.key),
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
        found = [walk.expired, *self.target.chosen()]
        found += [not_(child.any()) for child in self.children if child.how == "restrict"]
        column = self.target.time_column
        sound = None if column is None else self.purging.sound_moment(column)
        if sound is not None and walk.name != "timeless":
            found.append(sound)
        policy, columns = self.target.policy, self.target.table.c
        if policy.soft_delete is not None:
            found.append(columns[policy.soft_delete].is_(None))
        if policy.anonymise is not None:
            # Rows that have the new values already are done.
            constants = {
                name: value for name, value in policy.anonymise.items() if not _is_sql(value)
            }
            found.append(or_(*(columns[n].is_distinct_from(v) for n, v in constants.items())))
        return found

    def not_held(self, held: Held) -> list[Condition]:
        """Rows that no hold names, nor any of those that would go with them."""
        found = []
        own = held.get(self.target.table.fullname)
        if own:
            found.append(not_(in_keys(self.target.key, own)))
        for child in self.children:
            condition = _has_held(child, held)
            if condition is not None:
                found.append(not_(condition))
        return found

    @property
    def tables(self) -> list[Any]:
        """The policy's table and those whose rows go with its rows."""
        return [self.target.table, *(child.table for child in walk_down(self.children))]

    def change(self, conditions: Sequence[Condition]) -> Delete | Update:
        """The statement that a batch is about."""
        policy, table = self.target.policy, self.target.table
        if policy.anonymise is not None:
            values = {name: _element(value) for name, value in policy.anonymise.items()}
            return update(table).where(*conditions).values(values)
        if policy.soft_delete is not None:
            column = table.c[policy.soft_delete]
            moment = moment_for(
                plain_type(column.type),
                self.now,
                policy,
                keeps_zones=self.purging.keeps_zones,
            )
            return update(table).where(*conditions).values({column: moment})
        return delete(table).where(*conditions)


def read_step(
    declared: Declared, now: datetime, purging: Purging, *, cascades: bool = True
) -> Step:
    """Read a declared policy for a run at a moment.

    Args:
        declared: the policy.
        now: aware.
        purging: the database's ways.
        cascades: the database carries out ON DELETE.

    Raises:
        InvalidPolicy: it does not fit its table, or not this database.
    """
    _configure()
    target = read(declared)
    children = children_of(declared.name, declared.policy, declared.table, cascades=cascades)
    policy = declared.policy
    if policy.keep_last is not None and not purging.reads_own_table:
        raise InvalidPolicy(
            (
                f"policy {declared.name!r}: keep_last needs a subquery on the table that is "
                "changed, which this database does not allow; choose rows by where= instead",
            )
        )
    return Step(
        target=target,
        cutoff=now - policy.age,
        now=now,
        children=children,
        purging=purging,
    )


def _has_held(child: Child, held: Held) -> Condition | None:
    """Whether a row has a child that is held, or that has one."""
    conditions = []
    own = held.get(child.table.fullname)
    if own and child.key:
        conditions.append(in_keys(child.key, own))
    for deeper in child.children:
        condition = _has_held(deeper, held)
        if condition is not None:
            conditions.append(condition)
    if not conditions or child.how == "restrict":
        return None
    return child.any(or_(*conditions))


def _is_sql(value: object) -> bool:
    return isinstance(value, ColumnElement) or hasattr(value, "__clause_element__")


def _element(value: Any) -> Any:  # noqa: ANN401
    return value.__clause_element__() if hasattr(value, "__clause_element__") else value
