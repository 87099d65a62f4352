"""Rows that refer to a policy's rows, by the foreign keys. Pure.

Foreign keys count, not the cascades of relationships: a DELETE on a table runs no ORM code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, ColumnElement, ForeignKeyConstraint, Table, and_, exists, tuple_
from sqlalchemy_utils.functions import get_referencing_foreign_keys

from sa_perf.errors import InvalidPolicy

if TYPE_CHECKING:
    from sa_perf.retention.policy import OnChildren, RetentionPolicy

__all__ = ["Child", "children_of", "in_keys", "walk_down"]

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
        children: of its own, where its rows are deleted.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    refers_to: tuple[Column[Any], ...]
    how: OnChildren
    on_delete: str | None
    children: tuple[Child, ...] = ()

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """Columns of its primary key."""
        return tuple(self.table.primary_key.columns)

    def joined(self) -> Condition:
        """Its row refers to the row of the statement around."""
        pairs = zip(self.columns, self.refers_to, strict=True)
        return and_(*(column == parent for column, parent in pairs))

    def any(self, *conditions: Condition) -> Condition:
        """A row of the table around has one of these rows, which meets some conditions too."""
        return exists().where(self.joined(), *conditions).correlate_except(self.table)


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
    found = tuple(_children(policy_name, policy, table, (table,), faults))
    if faults:
        raise InvalidPolicy(tuple(dict.fromkeys(faults)))
    return found if cascades else tuple(map(_by_hand, found))


def walk_down(children: Sequence[Child]) -> Iterator[Child]:
    """All children below, parents before their own children."""
    for child in children:
        yield child
        yield from walk_down(child.children)


def in_keys(columns: Sequence[Column[Any]], keys: Sequence[Sequence[Any]]) -> Condition:
    """The columns have the values of one of some rows."""
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return tuple_(*columns).in_([tuple(key) for key in keys])


def _children(
    name: str, policy: RetentionPolicy, table: Table, above: tuple[Table, ...], faults: list[str]
) -> Iterator[Child]:
    constraints = {
        key.constraint for key in get_referencing_foreign_keys(table) if key.constraint is not None
    }
    for constraint in sorted(constraints, key=_order):
        child = _child(name, policy, constraint, above, faults)
        if child is not None:
            yield child
    # get_referencing_foreign_keys leaves out a table's references to itself.
    own = [one for one in table.foreign_key_constraints if one.referred_table is table]
    for constraint in sorted(set(own) - constraints, key=_order):
        child = _child(name, policy, constraint, above, faults)
        if child is not None:
            yield child


def _by_hand(child: Child) -> Child:
    """What the database would do by itself, done before."""
    how = "delete_first" if child.how == "cascade" else child.how
    return replace(child, how=how, children=tuple(map(_by_hand, child.children)))


def _order(constraint: ForeignKeyConstraint) -> tuple[str, str]:
    return constraint.table.fullname, ",".join(constraint.column_keys)


def _child(
    name: str,
    policy: RetentionPolicy,
    constraint: ForeignKeyConstraint,
    above: tuple[Table, ...],
    faults: list[str],
) -> Child | None:
    table = constraint.table
    rule = (constraint.ondelete or "").upper() or None
    how = policy.of_child(table.fullname) or policy.of_child(table.name)
    if how is None and len(above) > 1:
        # Of a child's children the database's own rule is taken, if it has one.
        how = {"CASCADE": "delete_first", "SET NULL": "detach"}.get(rule or "")  # type: ignore[assignment]
    parent = above[-1].fullname
    fault = _fault(policy, constraint, how, rule, above)
    if fault is not None or how is None:
        faults.append(f"policy {name!r}: {fault or _unsaid(table.fullname, parent)}")
        return None
    if how == "cascade" and policy.action == "archive":
        how = "delete_first"  # what the database deletes would not stand in the archive
    deeper: tuple[Child, ...] = ()
    if how in ("delete_first", "cascade"):
        deeper = (
            tuple(_children(name, policy, table, (*above, table), faults))
            if (table not in above)
            else ()
        )
    return Child(
        table=table,
        columns=tuple(constraint.columns),
        refers_to=tuple(element.column for element in constraint.elements),
        how=how,
        on_delete=rule,
        children=deeper,
    )


def _unsaid(table: str, parent: str) -> str:
    return (
        f"{table!r} refers to {parent!r}; say what becomes of its rows: on_children='cascade', "
        "'delete_first', 'detach' or 'restrict', or a mapping by table name"
    )


def _fault(
    policy: RetentionPolicy,
    constraint: ForeignKeyConstraint,
    how: OnChildren | None,
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
    deletes = how == "delete_first" or (how == "cascade" and policy.action == "archive")
    if deletes and table in above:
        return (
            f"on_children={how!r}: {table.fullname!r} refers to {parent.fullname!r} in a circle, "
            "whose end cannot be told; use 'restrict' or 'detach' for it"
        )
    if deletes and not table.primary_key.columns:
        return f"on_children={how!r}: {table.fullname!r} has no primary key"
    return None
