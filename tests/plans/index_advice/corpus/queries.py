"""One query of the corpus, and the indexes that an expert would make for it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import BindParameter, DateTime, Executable, MetaData, bindparam

from corpus.rows import END, Rows, drawn

__all__ = [
    "Choice", "CorpusQuery", "Outcome", "Schema", "Sets", "Values", "Wanted", "ago", "always", "at",
    "by_skew", "may", "normal", "on", "spread", "windows",
]  # fmt: skip

#: From the tables' sizes to several sets of bind values, as callers would send them.
Sets: TypeAlias = Sequence[Mapping[str, Any]]
Values: TypeAlias = Callable[[Rows], Sets]
#: Draws that become keys, from a frequent one to a rare one.
DRAWS = (0.12, 0.35, 0.6, 0.9)


@dataclass(frozen=True, slots=True)
class Choice:
    """Keys of an index, most significant first, as texts of columns or expressions."""

    keys: tuple[str, ...]
    where: str | None = None

    def leads(self, keys: Sequence[str], predicate: str | None) -> bool:
        """Whether an index of these normalised keys serves as this choice would."""
        mine = tuple(map(normal, self.keys))
        return tuple(keys[: len(mine)]) == mine and (self.where is None or predicate is not None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One index that would pay, by its table and the keys that it may begin with, best first."""

    table: str
    choices: tuple[Choice, ...]

    def met_by(self, table: str, keys: Sequence[str], predicate: str | None = None) -> bool:
        """Whether an index is what is wanted."""
        known = [normal(key) for key in keys]
        return table == self.table and any(one.leads(known, predicate) for one in self.choices)

    def create_sql(self, name: str, choice: Choice | None = None) -> str:
        """The statement that makes it; by default of the first choice."""
        made = choice or self.choices[0]
        where = f" WHERE {made.where}" if made.where else ""
        return f"CREATE INDEX {name} ON {self.table} ({', '.join(made.keys)}){where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What has to come of a query: all of these indexes, or instead one of the others; or none.

    Those ``besides`` may be advised too.
    """

    indexes: tuple[Wanted, ...] = ()
    instead: tuple[Wanted, ...] = ()
    besides: tuple[Wanted, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.indexes)

    @property
    def acceptable(self) -> tuple[Wanted, ...]:
        """Everything that may be advised for the query."""
        return self.indexes + self.instead + self.besides


NOTHING = Outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusQuery:
    """A statement as an application sends it.

    Attributes:
        name: its own within the corpus.
        statement: rendered by each dialect.
        values: sets of bind values.
        expected: what an expert would do; nothing where no index pays.
        because: why an index pays, or none does.
        calls: in the workload.
        variants: other statements, by dialect; None where it cannot be said there.
        expected_on: other expectations, by dialect.
    """

    name: str
    statement: Executable
    values: Values
    because: str
    expected: Outcome = NOTHING
    calls: int = 100
    variants: Mapping[str, Executable | None] = field(default_factory=dict)
    expected_on: Mapping[str, Outcome] = field(default_factory=dict)

    def said_to(self, dialect: str) -> Executable | None:
        """The statement for a dialect; None where it has none."""
        return self.variants.get(dialect, self.statement)

    def outcome(self, dialect: str) -> Outcome:
        """What has to come of it on a dialect."""
        return self.expected_on.get(dialect, self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Tables, what is in them, and the queries.

    Attributes:
        name: e.g. ``"web_shop"``.
        metadata: the tables, with the indexes that the application begins with.
        full: rows of each table at full size.
        small: tables that keep their size at any scale.
        contents: by table: the row's number and all sizes -> column -> expression.
        views: statements that create them.
        queries: the workload.
    """

    name: str
    metadata: MetaData
    full: Rows
    small: frozenset[str]
    contents: Mapping[str, Callable[[Any, Rows], Mapping[str, Any]]]
    views: tuple[str, ...] = ()
    queries: tuple[CorpusQuery, ...]

    def rows(self, scale: float = 1.0) -> Rows:
        """Rows of each table at a scale, 0 < ``scale`` <= 1."""
        return {
            name: count if name in self.small else max(1, int(count * scale))
            for name, count in self.full.items()
        }

    def queries_of(self, dialect: str) -> Iterator[CorpusQuery]:
        """Those that the dialect can say."""
        return (query for query in self.queries if query.said_to(dialect) is not None)


def on(table: str, *choices: str) -> Wanted:
    """An index by its keys, e.g. ``on("orders", "customer_id, placed_at", "customer_id")``.

    A choice may end in a condition: ``"created_at WHERE status = 'pending'"``.
    """
    return Wanted(table, tuple(map(_choice, choices)))


def may(*besides: Wanted) -> Outcome:
    """None is needed, but these do pay as measured, since they cover the query."""
    return Outcome(besides=besides)


def normal(key: str) -> str:
    """A key without what does not tell two of them apart: case, blanks, quotes, direction."""
    bare = re.sub(r"::\w+|[\s\"`\[\]]", "", re.sub(r"(?i)\s+(asc|desc)$", "", key.strip())).lower()
    while bare.startswith("(") and bare.endswith(")"):
        bare = bare[1:-1]
    return bare


def at(name: str) -> BindParameter[dt.datetime]:
    """A parameter that is a moment, also within a text."""
    return bindparam(name, type_=DateTime())


def ago(**span: float) -> dt.datetime:
    """A moment before the end of the data; takes what ``timedelta`` takes."""
    return END - dt.timedelta(**span)


def always(*sets: Mapping[str, Any]) -> Values:
    """The same values at any size."""
    return lambda rows: sets or ({},)


def by_skew(table: str, name: str, **others: Any) -> Values:
    """Keys of a table, one as frequent as a caller would meet and rarer ones; and the others."""
    return lambda rows: [{name: drawn(rows[table], draw), **others} for draw in DRAWS]


def spread(table: str, name: str, **others: Any) -> Values:
    """Keys from all over a table; and the others."""
    return lambda rows: [{name: int(rows[table] * draw) or 1, **others} for draw in DRAWS]


def windows(**span: float) -> Values:
    """Spans of time as ``since`` and ``until``: the last one, and some before."""
    return always(
        *({"since": ago(**span, hours=n), "until": ago(hours=n)} for n in (0, 900, 9_000))
    )


def _choice(written: str) -> Choice:
    keys, _, where = written.partition(" WHERE ")
    return Choice(tuple(_split(keys)), where or None)


def _split(keys: str) -> Iterator[str]:
    depth, begun = 0, 0
    for place, letter in enumerate(keys):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            yield keys[begun:place].strip()
            begun = place + 1
    yield keys[begun:].strip()
