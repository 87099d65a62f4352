"""Indexes that declared things go by, and what stands in for them. Pure.

A retention policy walks its table along a moment and looks for the rows that refer to it; pages of
a declared order are read from an index. An index counts when it begins with the same columns,
whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sqlalchemy import Column, Index, MetaData, Table, UniqueConstraint
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from sa_perf.dialects.index_trials.definition import fitting_name
from sa_perf.pagination.declared_order import declared_orders
from sa_perf.retention.children import children_of, walk_down
from sa_perf.retention.policy import declared_in
from sa_perf.retention.reading import read

__all__ = ["Keys", "NeededIndex", "index_name", "is_declared", "keys_in_database", "needed_in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What an index begins with.

    Attributes:
        columns: their names, most significant first; it ends before the first expression.
        descending: of each column; None: not known.
        name: of the index.
    """

    columns: tuple[str, ...]
    descending: tuple[bool, ...] | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededIndex:
    """An index without which something declared reads whole tables.

    Attributes:
        table: whose rows it finds.
        columns: that it is to begin with.
        descending: of each column.
        in_order: the order of the columns matters.
        why: as a sentence.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    descending: tuple[bool, ...]
    in_order: bool
    why: str

    def is_served_by(self, keys: Keys) -> bool:
        """Whether an index does as well; it can be read backwards."""
        names = [column.name for column in self.columns]
        first = keys.columns[: len(names)]
        if not self.in_order:
            return set(first) == set(names)
        if list(first) != names:
            return False
        if keys.descending is None:
            return True
        directions = keys.descending[: len(names)]
        return directions in (self.descending, tuple(not one for one in self.descending))


def needed_in(metadata: MetaData) -> list[NeededIndex]:
    """What the policies and orders of a MetaData's tables need; each index once.

    Raises:
        InvalidPolicy: a policy does not fit its table.
    """
    found: list[NeededIndex] = []
    every = [*_of_policies(metadata), *_of_orders(metadata)]
    for one in sorted(every, key=lambda needed: len(needed.columns), reverse=True):
        for at, other in enumerate(found):
            if one.table is other.table and _begins(other, one):
                found[at] = replace(other, why=f"{other.why}; {one.why}")
                break
        else:
            found.append(one)
    return found


def is_declared(needed: NeededIndex) -> bool:
    """Whether the table's own indexes, keys and unique constraints, as declared, serve."""
    return any(needed.is_served_by(keys) for keys in _keys_of(needed.table))


def keys_in_database(indexes: Iterable[Mapping[str, Any]], *, directed: bool) -> list[Keys]:
    """What the indexes of a table begin with, as the inspector tells them; none of some rows only.

    Args:
        indexes: of ``Inspector.get_indexes``.
        directed: it tells which columns descend.
    """
    found = []
    for one in indexes:
        options = one.get("dialect_options") or {}
        if any(name.endswith("_where") for name in options) or one.get("type") is not None:
            continue
        methods = [value for name, value in options.items() if name.endswith("_using")]
        if any(method not in (None, "btree") for method in methods):
            continue
        columns = tuple(_until_none(one["column_names"]))
        sorting = one.get("column_sorting") or {}
        descending = tuple("desc" in sorting.get(name, ()) for name in columns)
        directions = descending if directed else None
        found.append(Keys(columns=columns, descending=directions, name=one["name"]))
    return found


def index_name(needed: NeededIndex, taken: Iterable[str | None]) -> str:
    """As ``index=True`` would name it; else by its columns, with a number where that is taken."""
    metadata = MetaData(naming_convention=needed.table.metadata.naming_convention)
    bare = [Column(column.name, column.type) for column in needed.columns]
    table = Table(needed.table.name, metadata, *bare, schema=needed.table.schema)
    names = set(taken)
    wanted = str(Index(None, *table.columns).name)
    if len(bare) > 1 or wanted in names:
        words = ("ix", needed.table.name, *(column.name for column in needed.columns))
        wanted = fitting_name("_".join(words))
    numbered = (fitting_name(wanted, f"_{number}") for number in count(2))
    return wanted if wanted not in names else next(one for one in numbered if one not in names)


def _of_policies(metadata: MetaData) -> Iterator[NeededIndex]:
    for declared in declared_in(metadata):
        column = read(declared).time_column
        name = f"retention policy {declared.name!r}"
        if column is not None:
            yield _ascending(
                declared.table, (column,), f"{name} goes along {column.name}", in_order=True
            )
        for child in walk_down(children_of(declared.name, declared.policy, declared.table)):
            yield _ascending(
                child.table,
                child.columns,
                f"{name} looks for the rows here that refer to {child.refers_to[0].table.fullname}",
                in_order=False,
            )


def _of_orders(metadata: MetaData) -> Iterator[NeededIndex]:
    for order in declared_orders(metadata):
        yield NeededIndex(
            table=order.table,
            columns=order.columns,
            descending=order.descending,
            in_order=True,
            why=f"pages are read in the declared order {order}",
        )


def _ascending(
    table: Table, columns: Sequence[Column[Any]], why: str, *, in_order: bool
) -> NeededIndex:
    return NeededIndex(
        table=table,
        columns=tuple(columns),
        descending=(False,) * len(columns),
        in_order=in_order,
        why=why,
    )


def _begins(longer: NeededIndex, shorter: NeededIndex) -> bool:
    names = tuple(column.name for column in longer.columns)
    return shorter.is_served_by(Keys(columns=names, descending=longer.descending))


def _keys_of(table: Table) -> Iterator[Keys]:
    yield _plain(table.primary_key.columns)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield _plain(constraint.columns)
    for column in table.columns:
        if column.unique:
            yield _plain([column])
    for index in table.indexes:
        given = {name: value for name, value in index.dialect_kwargs.items() if value is not None}
        partial = any(name.endswith("_where") for name in given)
        if not partial and all(
            value == "btree" for name, value in given.items() if name.endswith("_using")
        ):
            directed = [*_until_none(map(_directed, index.expressions))]
            yield Keys(
                columns=tuple(column.name for column, _ in directed),
                descending=tuple(descending for _, descending in directed),
                name=index.name,
            )


def _plain(columns: Iterable[Column[Any]]) -> Keys:
    names = tuple(column.name for column in columns)
    return Keys(columns=names, descending=(False,) * len(names))


def _directed(expression: Any) -> tuple[Column[Any], bool] | None:  # noqa: ANN401  # a text, too
    descending = False
    while isinstance(expression, UnaryExpression):
        descending |= expression.modifier is operators.desc_op
        expression = expression.element
    return (expression, descending) if isinstance(expression, Column) else None


def _until_none(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if item is None:
            return
        yield item
