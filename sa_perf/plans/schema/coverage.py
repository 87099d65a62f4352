"""When one index does all that another does. Pure.

An index answers by its first keys, so what begins another one is of no use beside it: in the same
directions or in all the opposite ones, for an index is read from either end (PostgreSQL 18 manual,
11.4; MySQL 8.4 manual, 10.3.13; SQLite, "The Next-Generation Query Planner"). That holds for
B-trees only; of the other methods two are compared as a whole.

Where rows lie within the primary key, or have a number, each index ends in that key without naming
it: there (a, id) is (a) (MySQL 8.4 manual, 10.3.10 "Use of Index Extensions"). A foreign key wants
its columns named all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sa_perf.dialects.inventory import ForeignKey, IndexPart, SchemaIndex, SchemaTable

__all__ = ["Unneeded", "serves_key", "unneeded_indexes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unneeded:
    """An index beside which another one does the same.

    Attributes:
        index: that may go.
        instead: that stays and does its work.
        duplicate: both do the same; else the other does more.
    """

    index: SchemaIndex
    instead: SchemaIndex
    duplicate: bool


def unneeded_indexes(table: SchemaTable, keys: Sequence[ForeignKey]) -> list[Unneeded]:
    """Indexes of a table that may go, all at once.

    Args:
        table: with its indexes.
        keys: foreign keys of the database; those of the table and those to it count.
    """
    wanted = [columns for key in keys if (columns := _columns_of(key, table))]
    ranked = sorted(table.indexes, key=_worth)
    kept = list(ranked)
    gone: list[SchemaIndex] = []
    # Those of least worth first. What goes is covered by one that is left, and if that goes later,
    # by what covers both: nothing is lost with all that have gone.
    for index in filter(_may_go, reversed(ranked)):
        left = [one for one in kept if one is not index]
        if _stays_unique(table, index, left) and _instead(table, index, left, wanted) is not None:
            kept = left
            gone.append(index)
    found = []
    for index in reversed(gone):
        instead = _instead(table, index, kept, wanted)
        if instead is not None:
            duplicate = _replaces(table, index, instead)
            found.append(Unneeded(index=index, instead=instead, duplicate=duplicate))
    return found


def serves_key(index: SchemaIndex, columns: Sequence[str]) -> bool:
    """Whether an index finds the rows that a foreign key on these columns leads to.

    Its first keys must be these columns, in any order; or it is unique and on no other column. A
    partial one serves where its condition only leaves NULLs of the columns out.
    """
    wanted = set(columns)
    by_hash = index.method.partition(" ")[0] == "hash" and len(wanted) == 1
    if not index.usable or not (index.ordered or by_hash):
        return False
    if index.predicate is not None and not _only_drops_nulls(index.predicate, wanted):
        return False
    names = [part.column for part in index.parts]
    if set(names[: len(wanted)]) == wanted:
        return True
    return index.unique and index.predicate is None and set(names) <= wanted


def _only_drops_nulls(predicate: str, columns: set[str]) -> bool:
    bare = predicate.strip().replace('"', "").replace("`", "")
    while bare.startswith("(") and bare.endswith(")"):
        bare = bare[1:-1].strip()
    name, _, rest = bare.rpartition(" IS NOT NULL") if bare.upper().endswith("NULL") else ("",) * 3
    return rest == "" and name.strip() in columns


def _may_go(index: SchemaIndex) -> bool:
    return index.pinned is None and not index.primary and index.invalid is None and index.usable


def _worth(index: SchemaIndex) -> tuple[object, ...]:
    """Of two that do the same that one stays which comes first: it has more ties, more uses."""
    return (
        _may_go(index),
        not index.unique,
        index.constraint is None,
        len(index.parts),
        -(index.scans or 0),
        len(index.name),
        index.name,
    )


def _instead(
    table: SchemaTable,
    index: SchemaIndex,
    others: Iterable[SchemaIndex],
    wanted: Sequence[tuple[str, ...]],
) -> SchemaIndex | None:
    """The first of some that does what an index does; None where there is none."""
    for other in others:
        if _replaces(table, other, index) and _keeps_keys(other, index, wanted):
            return other
    return None


def _replaces(table: SchemaTable, other: SchemaIndex, index: SchemaIndex) -> bool:
    """Whether ``other`` finds whatever ``index`` does. Of uniqueness nothing is said."""
    if not other.usable or other.predicate != index.predicate or other.method != index.method:
        return False
    if not index.ordered:
        return other.parts == index.parts and set(index.include) <= set(other.include)
    whole = _whole(table, other)
    carried = {part.column for part in whole} | set(other.include)
    if not set(index.include) <= carried:
        return False
    head = whole[: len(index.parts)]
    return head == index.parts or head == tuple(map(_reversed, index.parts))


def _whole(table: SchemaTable, index: SchemaIndex) -> tuple[IndexPart, ...]:
    """The keys with those that it ends in without naming them."""
    named = {part.column for part in index.parts}
    if not index.ordered:
        return index.parts
    tail = [IndexPart(column=name, nulls_first=True) for name in table.row_key if name not in named]
    return (*index.parts, *tail)


def _reversed(part: IndexPart) -> IndexPart:
    return replace(part, descending=not part.descending, nulls_first=not part.nulls_first)


def _stays_unique(table: SchemaTable, index: SchemaIndex, left: Iterable[SchemaIndex]) -> bool:
    """Whether no two rows can share a key of ``index`` by those that are left.

    One on some of its columns says so. NULLs: two rows that share all keys and have none NULL share
    those of the narrower one too.
    """
    if not index.unique:
        return True
    keys = {(part.column, part.expression, part.kind) for part in index.parts}
    nullable = {column.name for column in table.columns if column.nullable}
    for other in left:
        if not (other.unique and other.usable and other.invalid is None):
            continue
        own = {(part.column, part.expression, part.kind) for part in other.parts}
        strict = index.nulls_distinct or not other.nulls_distinct
        never_null = all(name is not None and name not in nullable for name, _, _ in own)
        in_time = index.deferrable or not other.deferrable
        same_rows = other.predicate is None or other.predicate == index.predicate
        if own <= keys and same_rows and in_time and (strict or never_null):
            return True
    return False


def _keeps_keys(other: SchemaIndex, index: SchemaIndex, wanted: Iterable[tuple[str, ...]]) -> bool:
    """Whether each foreign key that ``index`` serves by named columns has them from ``other``."""
    return all(_begins(other, columns) for columns in wanted if _begins(index, columns))


def _begins(index: SchemaIndex, columns: tuple[str, ...]) -> bool:
    return tuple(part.column for part in index.parts[: len(columns)]) == columns


def _columns_of(key: ForeignKey, table: SchemaTable) -> tuple[str, ...]:
    """The columns of the table that a foreign key is about."""
    if (key.schema, key.table) == (table.schema, table.name):
        return key.columns
    if (key.referred_schema, key.referred_table) == (table.schema, table.name):
        return key.referred_columns
    return ()
