"""Rows that refer to a policy's rows, by the foreign keys. Pure.

Foreign keys count, not the cascades of relationships: a DELETE on a table runs no ORM code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKeyConstraint,
    FromClause,
    Table,
    and_,
    exists,
    or_,
)
from sqlalchemy_utils.functions import get_referencing_foreign_keys

from sa_perf.errors import InvalidPolicy

if TYPE_CHECKING:
    from sa_perf.retention.rules import OnChildren, RetentionPolicy

__all__ = ["Child", "children_of", "restricted", "walk_down"]

Condition: TypeAlias = ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Child:
    """A table with a foreign key to a policy's table, or to a child of it.

    Attributes:
        table: that refers.
        columns: of the foreign key.
        refers_to: the columns that it names.
        how: what becomes of its rows.
        on_delete: what the database does by itself: ``"CASCADE"``, ``"SET NULL"``, ...; None.
        rows: the table in a statement: by another name where it stands above already.
        above: the table that it refers to, in the same statement.
        children: of its own, where its rows are deleted.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    refers_to: tuple[Column[Any], ...]
    how: OnChildren
    on_delete: str | None
    rows: FromClause
    above: FromClause
    children: tuple[Child, ...] = ()

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """Columns of its primary key."""
        return tuple(self.table.primary_key.columns)

    @property
    def identity(self) -> tuple[Column[Any], ...]:
        """Columns that tell its rows apart as far as may be: the key, else what it refers by."""
        return self.key or self.columns

    def named(self, columns: Sequence[Column[Any]]) -> list[ColumnElement[Any]]:
        """Its columns in a statement."""
        return [self.rows.c[column.key] for column in columns]

    def joined(self) -> Condition:
        """Its row refers to the row above."""
        above = [self.above.c[column.key] for column in self.refers_to]
        pairs = zip(self.named(self.columns), above, strict=True)
        return and_(*(column == parent for column, parent in pairs))

    def any(self, *conditions: Condition) -> Condition:
        """The row above has one of these rows, which meets some conditions too."""
        return exists().where(self.joined(), *conditions).correlate_except(self.rows)


def children_of(
    policy_name: str, policy: RetentionPolicy, table: Table, *, cascades: bool = True
) -> tuple[Child, ...]:
    """The tree of tables that refer to a table.

    Args:
        policy_name: for messages.
        policy: of the table.
        table: whose children they are.
        cascades: the database carries out ON DELETE; where not, children are deleted first.

    Raises:
        InvalidPolicy: the policy does not say what becomes of them, or not what is possible.
    """
    faults: list[str] = []
    if policy.action in ("anonymise", "soft_delete"):
        return ()  # rows stay
    reading = _Reading(policy_name, policy)
    found = tuple(reading.children(table, table, (table,)))
    faults = [*reading.faults, *reading.strangers()]
    if faults:
        raise InvalidPolicy(tuple(dict.fromkeys(faults)))
    return found if cascades else tuple(map(_by_hand, found))


def walk_down(children: Sequence[Child]) -> Iterator[Child]:
    """All children below, parents before their own children."""
    for child in children:
        yield child
        yield from walk_down(child.children)


def restricted(children: Sequence[Child]) -> Iterator[Condition]:
    """What rows meet that have a row below which keeps them: ``"restrict"``, at any depth."""
    for child in children:
        if child.how == "restrict":
            yield child.any()
        else:
            below = list(restricted(child.children))
            if below:
                yield child.any(or_(*below))


class _Reading:
    """Reads what foreign keys say about a policy's rows, and gathers what is wrong."""

    def __init__(self, name: str, policy: RetentionPolicy) -> None:
        self.faults: list[str] = []
        self._name = name
        self._policy = policy
        self._seen: set[str] = set()

    def children(self, table: Table, rows: FromClause, above: tuple[Table, ...]) -> Iterator[Child]:
        """The tables that refer to a table; ``above``: those on the way to it, it the last."""
        constraints = {key.constraint for key in get_referencing_foreign_keys(table)}
        # It leaves out a table's references to itself.
        constraints |= {one for one in table.foreign_key_constraints if one.referred_table is table}
        for constraint in sorted(filter(None, constraints), key=_order):
            child = self._child(constraint, rows, above)
            if child is not None:
                yield child

    def strangers(self) -> Iterator[str]:
        """Tables that the policy names though they do not refer to its table."""
        given = self._policy.on_children
        for name in given if isinstance(given, Mapping) else ():
            if name not in self._seen:
                known = ", ".join(sorted(self._seen)) or "none"
                yield (
                    f"policy {self._name!r}: on_children names {name!r}, which does not refer to "
                    f"its table; tables that do: {known}"
                )

    def _child(
        self, constraint: ForeignKeyConstraint, parent: FromClause, above: tuple[Table, ...]
    ) -> Child | None:
        table = constraint.table
        self._seen |= {table.fullname, table.name}
        rule = (constraint.ondelete or "").upper() or None
        how = self._how(table, rule, above)
        fault = _unsaid(table.fullname, above[-1].fullname) if how is None else None
        if how is not None:
            if how == "cascade" and self._policy.action == "archive":
                how = "delete_first"  # what the database deletes would not stand in the archive
            fault = _fault(constraint, how, rule, above)
        if fault is not None or how is None:
            self.faults.append(f"policy {self._name!r}: {fault}")
            return None
        seen = table in above
        rows = table.alias(f"{table.name}_{len(above)}") if seen else table
        deeper: tuple[Child, ...] = ()
        if how in ("delete_first", "cascade"):
            deeper = tuple(self.children(table, rows, (*above, table)))
        if how == "cascade" and any(map(_needs_us, deeper)):
            how = "delete_first"
        if how == "delete_first":
            deeper = tuple(map(_by_hand, deeper))
        return Child(
            table=table,
            columns=tuple(constraint.columns),
            refers_to=tuple(element.column for element in constraint.elements),
            how=how,
            on_delete=rule,
            rows=rows,
            above=parent,
            children=deeper,
        )

    def _how(self, table: Table, rule: str | None, above: tuple[Table, ...]) -> OnChildren | None:
        how = self._policy.of_child(table.fullname) or self._policy.of_child(table.name)
        if how is None and len(above) > 1:
            # Of a child's children the database's own rule is taken, if it has one.
            if rule == "CASCADE":
                return "cascade"
            return "detach" if rule == "SET NULL" else None
        return how


def _needs_us(child: Child) -> bool:
    """Whether the database does not do by itself what is to become of a child's rows."""
    if child.how == "detach":
        return child.on_delete != "SET NULL"
    return child.how == "delete_first"


def _by_hand(child: Child) -> Child:
    """What the database would do by itself, done before."""
    how = "delete_first" if child.how == "cascade" else child.how
    return replace(child, how=how, children=tuple(map(_by_hand, child.children)))


def _order(constraint: ForeignKeyConstraint) -> tuple[str, str]:
    return constraint.table.fullname, ",".join(constraint.column_keys)


def _unsaid(table: str, parent: str) -> str:
    return (
        f"{table!r} refers to {parent!r}; say what becomes of its rows: on_children='cascade', "
        "'delete_first', 'detach' or 'restrict', or a mapping by table name"
    )


def _fault(
    constraint: ForeignKeyConstraint,
    how: OnChildren,
    rule: str | None,
    above: tuple[Table, ...],
) -> str | None:
    table, parent = constraint.table, above[-1]
    if how == "cascade" and rule != "CASCADE":
        return (
            f"on_children='cascade' leaves the rows of {table.fullname!r} to the database, but its "
            "foreign key has no ON DELETE CASCADE; use 'delete_first', or add ondelete='CASCADE'"
        )
    if how == "detach" and not all(column.nullable for column in constraint.columns):
        return (
            f"on_children='detach' sets {', '.join(constraint.column_keys)} of "
            f"{table.fullname!r} to NULL, which it cannot be"
        )
    if how in ("delete_first", "cascade") and table in above:
        return (
            f"on_children={how!r}: {table.fullname!r} refers to {parent.fullname!r} in a circle, "
            "whose end cannot be told; use 'restrict' or 'detach' for it"
        )
    if how == "delete_first" and not table.primary_key.columns:
        return f"on_children={how!r}: {table.fullname!r} has no primary key"
    return None
