"""What a statement compares in SQLite, block by block.

For estimates of rows only.

Each SELECT, UPDATE or DELETE is a block with its tables and the conditions that AND joins. What
cannot be read narrows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sa_perf.dialects.parsing import quiet_sqlglot

__all__ = ["Block", "Condition", "ConditionKind", "read_blocks"]

ConditionKind: TypeAlias = Literal[
    "equal", "same", "join", "in", "in_query", "range", "null", "not_null", "like", "or", "other"
]
#: What a condition that is the same for every call does not hold.
_VARYING = (exp.Placeholder, exp.Parameter, exp.Query, exp.Anonymous)
#: Columns of a table, by its name; empty where it is none.
Columns: TypeAlias = Callable[[str], "frozenset[str]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on one table of a block.

    Attributes:
        kind: what it asks; ``same`` is an IS, which finds NULL too.
        alias: of the table, in lower case.
        column: that it is about, in lower case; None for an expression.
        expression: SQL of what is compared.
        count: of an ``in``: how many values are listed.
        sides: of a ``range``: 1 for one end, 2 for both.
        other: of a ``join``: alias and column of the other table.
        parts: of an ``or``: its branches, each a conjunction.
        constant: the whole condition, where it holds no parameter and no other table.
    """

    kind: ConditionKind
    alias: str
    column: str | None = None
    expression: str = ""
    count: int = 1
    sides: int = 1
    other: tuple[str, str | None] | None = None
    parts: tuple[tuple[Condition, ...], ...] = ()
    constant: str | None = None


@dataclass(kw_only=True)
class Block:
    """A SELECT, UPDATE or DELETE.

    Attributes:
        tables: by alias, all in lower case; an empty name for a subquery.
        conditions: that AND joins, of WHERE and ON.
        limit: rows that it asks for at most; None without LIMIT, -1 where a parameter says it.
        offset: rows that it passes over, likewise.
        groups: alias and column of each key of its GROUP BY, or of what DISTINCT tells apart;
            alias None for an expression. None where it does neither.
        aggregates: all rows become one, or one a group.
        windows: it calls window functions.
        first_only: one row is enough, as within EXISTS.
        extreme: column of its first MIN or MAX, in lower case.
    """

    tables: dict[str, str] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    limit: int | None = None
    offset: int | None = None
    groups: tuple[tuple[str | None, str], ...] | None = None
    aggregates: bool = False
    windows: bool = False
    first_only: bool = False
    extreme: str | None = None

    @property
    def gathers(self) -> bool:
        """Whether its rows are others than those that its loops find."""
        return self.aggregates or self.windows or self.groups is not None


def read_blocks(statement: str, columns: Columns) -> list[Block]:
    """Blocks of a statement, the outermost first; empty where it cannot be read.

    Args:
        statement: with ``?`` for each parameter.
        columns: of each table, in lower case.
    """
    try:
        with quiet_sqlglot():
            tree = sqlglot.parse_one(statement, read="sqlite")
    except (SqlglotError, RecursionError):
        return []
    return [
        _Reader(node, columns).block()
        for node in tree.find_all(exp.Select, exp.Update, exp.Delete, bfs=True)
    ]


class _Reader:
    def __init__(self, node: exp.Expr, columns: Columns) -> None:
        self._node = node
        self._columns = columns
        self._block = Block()

    def block(self) -> Block:
        node, block = self._node, self._block
        for source in _sources(node):
            name = source.name.casefold() if isinstance(source, exp.Table) else ""
            block.tables[(source.alias or name).casefold()] = name
        where = node.args.get("where")
        places = [where.this] if where is not None else []
        joins = node.args.get("joins") or ()
        places += [join.args["on"] for join in joins if join.args.get("on") is not None]
        for place in places:
            for part in _conjuncts(place):
                block.conditions += self._conditions(part)
        block.conditions += [using for join in joins for using in self._using(join)]
        block.conditions = _merged(block.conditions)
        block.limit = _number(node.args.get("limit"))
        block.offset = _number(node.args.get("offset"))
        group = node.args.get("group")
        if group is not None:
            block.groups = self._keys(group.expressions)
        elif node.args.get("distinct") is not None:
            block.groups = self._keys(node.expressions)
        block.windows = any(_own(node, item) for item in node.find_all(exp.Window))
        block.aggregates = any(
            _own(node, item) and item.find_ancestor(exp.Window, exp.Select) is node
            for item in node.find_all(exp.AggFunc)
        )
        block.first_only = isinstance(node.parent, exp.Exists)
        ends = (one.this for one in node.find_all(exp.Min, exp.Max) if _own(node, one))
        block.extreme = next((e.name.casefold() for e in ends if isinstance(e, exp.Column)), None)
        return block

    def _keys(self, nodes: Sequence[exp.Expr]) -> tuple[tuple[str | None, str], ...]:
        keys: list[tuple[str | None, str]] = []
        for node in nodes:
            alias = None
            if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
                alias = self._alias(node)
            keys.append((alias, node.name.casefold()))
        return tuple(keys)

    def _conditions(self, node: exp.Expr) -> Iterator[Condition]:
        aliases = self._aliases(node)
        alone = len(aliases) == 1 and aliases <= self._block.tables.keys()
        text = _bare(node) if alone and node.find(*_VARYING) is None else None
        found = list(self._read(node))
        if not found and text is not None:
            found = [Condition(kind="other", alias=aliases.pop())]
        for condition in found:
            yield replace(condition, constant=text)

    def _read(self, node: exp.Expr) -> Iterator[Condition]:
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, (exp.EQ, exp.Is, exp.NullSafeEQ)):
            yield from self._equal(node)
        elif isinstance(node, (exp.LT, exp.GT, exp.LTE, exp.GTE)):
            yield from self._about(node.this, "range")
            yield from self._about(node.expression, "range")
        elif isinstance(node, exp.Between):
            yield from self._about(node.this, "range", sides=2)
        elif isinstance(node, exp.In):
            if node.args.get("query") is not None:
                yield from self._about(node.this, "in_query")
            else:
                yield from self._about(node.this, "in", count=len(node.expressions))
        elif isinstance(node, (exp.Like, exp.Glob)):
            yield from self._about(node.this, "like")
        elif isinstance(node, exp.Not) and isinstance(node.this, exp.Is):
            yield from self._about(node.this.this, "not_null")
        elif isinstance(node, exp.Or):
            yield from self._or(node)

    def _equal(self, node: exp.Expr) -> Iterator[Condition]:
        left, right = node.this, node.expression
        if isinstance(right, exp.Null):
            yield from self._about(left, "null")
            return
        aliases = self._aliases(left), self._aliases(right)
        for one, other, others in ((left, right, aliases[1]), (right, left, aliases[0])):
            if not others:
                kind: ConditionKind = "equal" if isinstance(node, exp.EQ) else "same"
                yield from self._about(one, kind)
            elif len(others) == 1 and aliases[0] != aliases[1]:
                alias = next(iter(others))
                column = other.name.casefold() if isinstance(other, exp.Column) else None
                yield from self._about(one, "join", other=(alias, column))

    def _or(self, node: exp.Expr) -> Iterator[Condition]:
        branches = [
            tuple(c for part in _conjuncts(branch) for c in self._conditions(part))
            for branch in node.flatten()
        ]
        aliases = {c.alias for branch in branches for c in branch}
        if all(branches) and len(aliases) == 1:
            yield Condition(kind="or", alias=aliases.pop(), parts=tuple(branches))

    def _about(self, node: exp.Expr, kind: ConditionKind, **more: object) -> Iterator[Condition]:
        aliases = self._aliases(node)
        if len(aliases) != 1:
            return
        alias = next(iter(aliases))
        if alias not in self._block.tables:
            return  # of an outer block
        column = node.name.casefold() if isinstance(node, exp.Column) else None
        text = "" if column is not None else _bare(node)
        yield Condition(kind=kind, alias=alias, column=column, expression=text, **more)  # type: ignore[arg-type]  # fields by their names

    def _aliases(self, node: exp.Expr) -> set[str]:
        return {self._alias(column) for column in node.find_all(exp.Column)}

    def _alias(self, column: exp.Column) -> str:
        if column.table:
            return column.table.casefold()
        name = column.name.casefold()
        tables = self._block.tables
        having = [alias for alias, table in tables.items() if name in self._columns(table)]
        if having:
            return having[0]
        return next(iter(tables)) if len(tables) == 1 else ""

    def _using(self, join: exp.Expr) -> Iterator[Condition]:
        aliases = list(self._block.tables)
        name = (join.this.alias or join.this.name).casefold()
        if name not in aliases or aliases.index(name) == 0:
            return
        before = aliases[aliases.index(name) - 1]
        for column in join.args.get("using") or ():
            key = column.name.casefold()
            yield Condition(kind="join", alias=name, column=key, other=(before, key))
            yield Condition(kind="join", alias=before, column=key, other=(name, key))


def _sources(node: exp.Expr) -> Iterator[exp.Expr]:
    # Newer versions of sqlglot call it from_.
    origin = node.args.get("from") or node.args.get("from_")
    target = node.this if isinstance(node, (exp.Update, exp.Delete)) else None
    for source in (target, origin.this if origin is not None else None):
        if source is not None:
            yield source
            for join in source.args.get("joins") or ():
                yield join.this
    for join in node.args.get("joins") or ():
        yield join.this


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.And):
        yield from _conjuncts(node.this)
        yield from _conjuncts(node.expression)
    else:
        yield node


def _own(node: exp.Expr, item: exp.Expr) -> bool:
    return item.find_ancestor(exp.Select) is node


def _bare(node: exp.Expr) -> str:
    copy = node.copy()
    for column in copy.find_all(exp.Column):
        column.set("table", None)
    while isinstance(copy, exp.Paren):
        copy = copy.this
    text: str = copy.sql(dialect="sqlite")
    return text


def _merged(conditions: list[Condition]) -> list[Condition]:
    """The two ends of one range as one condition."""
    result: list[Condition] = []
    ends: dict[tuple[str, str | None, str], int] = {}
    for condition in conditions:
        key = (condition.alias, condition.column, condition.expression)
        if condition.kind == "range" and key in ends:
            place = ends[key]
            result[place] = Condition(
                kind="range",
                alias=condition.alias,
                column=condition.column,
                expression=condition.expression,
                sides=2,
                constant=_both(result[place].constant, condition.constant),
            )
            continue
        if condition.kind == "range":
            ends[key] = len(result)
        result.append(condition)
    return result


def _both(one: str | None, other: str | None) -> str | None:
    return None if one is None or other is None else f"({one}) AND ({other})"


def _number(node: exp.Expr | None) -> int | None:
    if node is None:
        return None
    value = node.args.get("expression") or node.this
    return int(value.name) if isinstance(value, exp.Literal) and value.name.isdecimal() else -1
