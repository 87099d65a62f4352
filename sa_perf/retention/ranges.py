"""Walks along a key: closed ranges of it, as SQL. Pure.

A walk goes through the rows of a table in the order of a key and cuts them into ranges, each above
one key and up to another. Ranges bound what a batch scans, whatever it changes, and go on where
rows were refused; ``IN (SELECT ... LIMIT n)`` does neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, or_, select

if TYPE_CHECKING:
    from sa_perf.dialects.seeking import Seeking, SortValue

__all__ = ["Key", "KeyRange", "Walk", "WalkSQL", "key_from", "key_text"]

Condition: TypeAlias = ColumnElement[bool]
#: The values of a row's key, as the database holds them.
Key: TypeAlias = "tuple[Any, ...]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """A way through the rows that have expired.

    Attributes:
        name: ``"time"``: along the index on the moment; ``"key"``: along the primary key;
            ``"timeless"``: along the primary key, for rows without a moment.
        table: that it goes through.
        columns: of its key; together they are unique.
        expired: rows that it is about.
        within: rows that it needs to look at, in terms of the key; None: all.
    """

    name: Literal["time", "key", "timeless"]
    table: Table
    columns: tuple[ColumnElement[Any], ...]
    expired: Condition
    within: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """The rows above one key and up to another.

    Attributes:
        condition: that holds for them.
        parameters: its values, by name.
    """

    condition: Condition | None
    parameters: dict[str, Any]


class WalkSQL:
    """The statements of a walk on one database.

    Args:
        walk: whose.
        seeking: how the database compares.
        end: key at which it ends; None: at the walk's own end.
    """

    def __init__(self, walk: Walk, seeking: Seeking, *, end: Key | None = None) -> None:
        self.walk = walk
        self._end = end
        self._values = [seeking.sort_value(column.type) for column in walk.columns]

    def last_of(self, after: Key | None, rows: int) -> tuple[Select[Any], dict[str, Any]]:
        """The statement that gives the key of the last of the next rows; none if there are fewer.

        Args:
            after: the key to go on from; None: from the start.
            rows: how many, at least 1.
        """
        conditions, parameters = self._from(after)
        return self._keys(conditions).limit(1).offset(rows - 1), parameters

    def nth_of(
        self, after: Key | None, upto: Key | None, conditions: Sequence[Condition], number: int
    ) -> tuple[Select[Any], dict[str, Any]]:
        """The statement that gives the keys of the n-th row that meets conditions, and of the next.

        Args:
            after: the range's key to go on from; None: from the start.
            upto: its last key; None: to the end.
            conditions: that the rows meet.
            number: n, at least 1.
        """
        found = self.range(after, upto)
        within = [] if found.condition is None else [found.condition]
        stmt = self._keys([*within, *conditions])
        return stmt.limit(2).offset(number - 1), found.parameters

    def last_before(self, after: Key, rows: int) -> tuple[Select[Any], dict[str, Any]] | None:
        """As `last_of`, counting by the key's first column alone; None: it cannot be told so.

        The row behind the next rows is found by an index on that column without a look at the
        table; the range ends at the last row that is below it there. It has no rows too many, and
        too few where rows that share its ends are still there. The statement gives none where too
        many rows share the first column, and at the walk's end.
        """
        lead, value = self.walk.columns[0], self._values[0]
        if len(self.walk.columns) == 1 or any(one.read is not None for one in self._values):
            return None
        conditions, parameters = self._from(after)
        within = [] if self.walk.within is None else [self.walk.within]
        beginning = self._compared(0, "ge", "sa_perf_after_0")
        ahead = select(lead).select_from(self.walk.table).where(*within, beginning).order_by(lead)
        behind = value.compare(lead) < ahead.limit(1).offset(rows).scalar_subquery()
        stmt = select(*self.walk.columns).select_from(self.walk.table).where(*conditions, behind)
        return stmt.order_by(*(one.desc() for one in self.walk.columns)).limit(1), parameters

    def _keys(self, conditions: Sequence[Condition]) -> Select[Any]:
        """The keys of some rows, in their order."""
        columns = self.walk.columns
        shown = [
            value.read(column) if value.read is not None else column
            for value, column in zip(self._values, columns, strict=True)
        ]
        return select(*shown).select_from(self.walk.table).where(*conditions).order_by(*columns)

    def _from(self, after: Key | None) -> tuple[list[Condition], dict[str, Any]]:
        """The rows of the walk above a key."""
        found = self.range(after, None)
        conditions = [] if found.condition is None else [found.condition]
        if self.walk.within is not None and self.walk.within is self.walk.expired:
            conditions.append(self.walk.within)
        return conditions, found.parameters

    def range(self, after: Key | None, upto: Key | None) -> KeyRange:
        """The rows above ``after`` and up to ``upto``; None: from the start, to the end."""
        conditions: list[Condition] = []
        if upto is None:
            upto = self._end
            if self.walk.within is not None and self.walk.within is not self.walk.expired:
                # Else the last DELETE of a walk goes on through all the rows that stay.
                conditions.append(self.walk.within)
        parameters: dict[str, Any] = {}
        names = {}
        for end, key in (("after", after), ("upto", upto)):
            if key is not None:
                names[end] = [f"sa_perf_{end}_{at}" for at in range(len(key))]
                parameters.update(zip(names[end], key, strict=True))
        # Where both ends have the same lead, an equality is what an index is used with.
        shared = 0
        if after is not None and upto is not None:
            while shared < len(after) - 1 and after[shared] == upto[shared]:
                shared += 1
            conditions += [self._compared(at, "eq", names["after"][at]) for at in range(shared)]
        for end, word in (("after", "gt"), ("upto", "lt")):
            if end in names:
                conditions.append(self._beyond(shared, word, names[end], inclusive=end == "upto"))
        return KeyRange(condition=and_(*conditions) if conditions else None, parameters=parameters)

    def _beyond(self, at: int, word: str, names: Sequence[str], *, inclusive: bool) -> Condition:
        """``a >= x AND (a > x OR ...)``: seeks on the first column on every database."""
        if at == len(names) - 1:
            return self._compared(at, word.replace("t", "e") if inclusive else word, names[at])
        rest = self._beyond(at + 1, word, names, inclusive=inclusive)
        near = self._compared(at, word.replace("t", "e"), names[at])
        return and_(near, or_(self._compared(at, word, names[at]), rest))

    def _compared(self, at: int, word: str, name: str) -> Condition:
        value: SortValue = self._values[at]
        column, parameter = value.compare(self.walk.columns[at]), value.parameter(name)
        return _COMPARISONS[word](column, parameter)


_COMPARISONS: dict[str, Callable[[Any, Any], Condition]] = {
    "eq": lambda one, other: one == other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
}

# Keys as text: for the audit, and for the next run to go on from.

_TO_TEXT: dict[type, tuple[str, Callable[[Any], object]]] = {
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    timedelta: ("seconds", timedelta.total_seconds),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    bytes: ("bytes", bytes.hex),
}
_FROM_TEXT: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "seconds": lambda seconds: timedelta(seconds=seconds),
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": bytes.fromhex,
}


def key_text(key: Key | None) -> str | None:
    """A key as JSON; what JSON has no form for is an object with one member, its kind."""
    if key is None:
        return None
    parts: list[object] = []
    for value in key:
        kind = next((found for type_, found in _TO_TEXT.items() if isinstance(value, type_)), None)
        parts.append(value if kind is None else {kind[0]: kind[1](value)})
    return json.dumps(parts, separators=(",", ":"), default=str)


def key_from(text: str | None) -> Key | None:
    """A key from its text.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    parts = json.loads(text)
    if not isinstance(parts, list):
        raise ValueError(f"{text!r} is no key")
    key = []
    for part in parts:
        if isinstance(part, dict):
            ((kind, value),) = part.items()
            part = _FROM_TEXT[kind](value)
        key.append(part)
    return tuple(key)
