"""Indexes that might serve a statement, by the rule of their keys.

Pure. Many are named, for each is tried; what exists already is left out. The rule of keys is that
of Lahdenmäki and Leach, Relational Database Index Design and the Optimizers (2005), chapter 8:
columns held equal, then those of the order, or one that is bounded, then what makes it covering.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from sa_perf.dialects import Dialect, IndexFacts, TableFacts
from sa_perf.dialects.index_trials.definition import IndexDefinition, IndexKey
from sa_perf.plans.index_advice.accesses import Access

__all__ = ["Popularity", "candidates", "exists", "popularity", "widened"]

#: (table in lower case, key) -> accesses of the workload that hold it equal.
Popularity: TypeAlias = "Mapping[tuple[str, IndexKey], int]"
Keys: TypeAlias = "tuple[IndexKey, ...]"

_MAX_KEYS = 4
#: A covering index may carry along so many more columns, and hold that share of the table's.
_MAX_CARRIED = 3
_MAX_SHARE = 0.67
_MAX_CANDIDATES = 40
_TWO_VALUED = ("bool", "tinyint(1)", "bit(1)")


def popularity(found: Iterable[Access]) -> Popularity:
    """How often each key is held equal.

    What is held equal may stand in any order in an index. The one that most statements share comes
    first, so that one index begins as many of them as can be.
    """
    counts: Counter[tuple[str, IndexKey]] = Counter()
    for access in found:
        for key in {*access.equal, *access.listed, *access.joined}:
            counts[access.facts.name.casefold(), key] += 1
    return counts


def candidates(access: Access, dialect: Dialect, popular: Popularity) -> list[IndexDefinition]:
    """Indexes that might serve one access, the plainest first.

    Args:
        access: to be served.
        dialect: of the database.
        popular: of the workload.
    """
    plain = [
        IndexDefinition(table=access.facts.name, schema=access.schema, keys=keys)
        for keys in dict.fromkeys(_key_lists(access, popular))
        if not _all_two_valued(access.facts, keys)
    ]
    found = [*plain]
    if dialect.partial_indexes:
        found += [made for one in plain for made in _partial(one, access)]
    found += [made for one in found if (made := _covering(one, access, dialect)) is not None]
    new = [one for one in dict.fromkeys(found) if not exists(one, access.facts)]
    return new[:_MAX_CANDIDATES]


def widened(
    index: IndexDefinition, found: Sequence[Access], dialect: Dialect
) -> IndexDefinition | None:
    """The same index with all that accesses of its table read; None where that is much.

    Args:
        index: that they would use without gaining by it.
        found: one at least.
        dialect: of the database.
    """
    needed: frozenset[str] = frozenset()
    for access in found:
        if access.needed is None:
            return None
        needed |= access.needed
    return _covering(replace(index, include=()), replace(found[0], needed=needed), dialect)


def exists(index: IndexDefinition, facts: TableFacts) -> bool:
    """Whether the table has an index that begins with these keys and holds all these rows."""
    return any(_begins(one, index) for one in facts.indexes)


def _begins(existing: IndexFacts, index: IndexDefinition) -> bool:
    if existing.method.casefold() != "btree":
        return False  # a BRIN, GIN or hash index serves other conditions
    if existing.predicate is not None and existing.predicate != index.predicate:
        return False
    keys = index.keys
    if len(existing.columns) < len(keys) or index.include:
        return False
    if any(key.column is None or key.suffix for key in keys):
        return False  # expressions are not compared; the planner tells whether one was in vain
    if len({key.descending for key in keys}) > 1:
        return False
    return [str(name).casefold() for name in existing.columns[: len(keys)]] == [
        str(key.column).casefold() for key in keys
    ]


def _key_lists(access: Access, popular: Popularity) -> Iterator[Keys]:
    """Keys of indexes, without those that repeat a column."""
    for head in _heads(access, popular):
        yield from _with_tails(head, access)
    for key in access.branches:
        yield (key,)


def _heads(access: Access, popular: Popularity) -> list[Keys]:
    """What an index may begin with: everything held equal, and each part of it."""
    equal = _sorted(access.equal, access, popular)
    listed = _sorted(access.listed, access, popular)
    joined = _sorted(access.joined, access, popular)
    everything = _sorted((*equal, *listed), access, popular)
    heads: list[Keys] = [everything, equal, (*equal, *listed)]
    for join in joined:
        heads += [
            (join, *everything),
            _sorted((join, *everything), access, popular),
            (*equal, join),
            (join,),
        ]
    if len(joined) > 1:
        heads += [joined, (*joined, *everything), (*equal, *joined)]
    heads += [(key,) for key in everything]
    heads.append(())
    return list(dict.fromkeys(_distinct(head) for head in heads))


def _with_tails(head: Keys, access: Access) -> Iterator[Keys]:
    yield from (keys for keys in [head] if keys)
    order = () if access.limited and access.filtered else access.order
    for tail in (order, access.group, access.extreme):
        rest = _beyond(head, tail)
        if rest:
            yield (*head, *rest)[: _MAX_KEYS + 1]
            for key in _beyond((*head, *rest), access.ranges)[:1]:
                yield (*head, *rest, key)
    for key in access.ranges:
        if key not in head:
            yield (*head, key)


def _beyond(head: Keys, tail: Keys) -> Keys:
    names = {key.column for key in head if key.column is not None}
    return tuple(key for key in tail if key.column is None or key.column not in names)


def _sorted(keys: Iterable[IndexKey], access: Access, popular: Popularity) -> Keys:
    """Held equal: the most shared first; a column of two values last.

    Without what is unique by itself: that has its index, and finds its row by it.
    """
    table = access.facts.name.casefold()
    alone = {one.columns[0] for one in access.facts.indexes if one.unique and _is_whole(one)}
    unique = [key for key in dict.fromkeys(keys) if key.column is None or key.column not in alone]
    unique.sort(key=lambda key: (_is_two_valued(access.facts, key), -popular.get((table, key), 0)))
    return tuple(unique[:_MAX_KEYS])


def _is_whole(index: IndexFacts) -> bool:
    return len(index.columns) == 1 and index.predicate is None


def _partial(index: IndexDefinition, access: Access) -> Iterator[IndexDefinition]:
    """The same index for the rows of each constant condition, and of all of them."""
    constants = access.constants or {}
    chosen: list[Sequence[str]] = [[text] for text in constants]
    if len(constants) > 1:
        chosen.append(list(constants))
    for texts in chosen:
        about = {constants[text] for text in texts}
        keys = tuple(key for key in index.keys if key.column is None or key.column not in about)
        predicate = " AND ".join(f"({text})" if " OR " in text else text for text in texts)
        yield replace(index, keys=keys or index.keys, predicate=predicate)


def _covering(index: IndexDefinition, access: Access, dialect: Dialect) -> IndexDefinition | None:
    """The same index with all that the block reads of the table; None where that is much."""
    if access.needed is None:
        return None
    held = {str(name).casefold() for name in index.columns if name is not None}
    names = sorted(name for name in access.needed if name.casefold() not in held)
    columns = [access.facts.column(name) for name in names]
    known = [one for one in columns if one is not None and dialect.is_indexable(one.type)]
    if not names or len(names) > _MAX_CARRIED or len(known) < len(names):
        return None
    if len(held) + len(names) > _MAX_SHARE * len(access.facts.columns):
        return None  # nearly a second copy of the table
    return replace(index, include=tuple(one.name for one in known))


def _distinct(keys: Keys) -> Keys:
    """The first of each column."""
    seen: dict[object, IndexKey] = {}
    for key in keys:
        seen.setdefault(key.column if key.column is not None else key, key)
    return tuple(seen.values())


def _all_two_valued(facts: TableFacts, keys: Keys) -> bool:
    return all(_is_two_valued(facts, key) for key in keys)


def _is_two_valued(facts: TableFacts, key: IndexKey) -> bool:
    column = facts.column(key.column) if key.column is not None else None
    return column is not None and column.type.startswith(_TWO_VALUED)
