"""Which table an alias in a statement stands for.

Some databases name only the alias in their plans. Read from the tokens of the FROM clauses, at any
depth; an alias that stands for different tables in different places stands for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sa_perf.dialects.plan import PlanNode

__all__ = ["resolve", "tables_by_alias"]

_OPENERS = frozenset({"from", "join", "update", "into", "straight_join", "using"})
_CLOSERS = frozenset(
    {
        "where", "group", "order", "limit", "having", "union", "intersect", "except", "window",
        "set", "values", "returning", "select", "on", "offset", "fetch", "for", "qualify",
    }
)  # fmt: skip
_NOT_ALIASES = _CLOSERS | frozenset(
    {
        "left", "right", "inner", "outer", "cross", "full", "natural", "join", "using", "indexed",
        "not", "use", "force", "ignore", "lateral", "default", "when", "straight_join", "as",
        "tablesample", "partition", "from",
    }
)  # fmt: skip
_QUOTES = '"`['


def tables_by_alias(tokens: Iterable[str]) -> dict[str, str]:
    """Map each alias and each table's own name to the table, ``schema.table`` where given.

    Args:
        tokens: words, quoted names and single other characters of a statement, in order.

    Returns:
        Lower-case names to tables as they are written; without what is ambiguous.
    """
    found: dict[str, set[str]] = {}
    items = list(tokens)
    #: For each open parenthesis: whether the names that follow are tables.
    stack = [False]
    position = 0
    lower = ""
    while position < len(items):
        token = items[position]
        before, lower = lower, token.lower()
        position += 1
        if token == "(":  # noqa: S105 -- SQL's, no password
            stack.append(stack[-1])
        elif token == ")":  # noqa: S105
            stack.pop() if len(stack) > 1 else None
        elif lower in _OPENERS and before not in ("for", "key"):  # not FOR UPDATE
            # What follows INTO t (a, b) are columns.
            stack[-1] = lower != "into"
            position = _read_table(items, position, found, columns=lower == "into")
        elif lower in _CLOSERS:
            stack[-1] = False
        elif token == "," and stack[-1]:  # noqa: S105
            position = _read_table(items, position, found)
    return {alias: tables.pop() for alias, tables in found.items() if len(tables) == 1}


def resolve(root: PlanNode, tables: Mapping[str, str]) -> PlanNode:
    """Put the table's name where a plan names only the alias.

    A name that the statement does not explain is kept: a view's inner table is such a one.
    """
    children = tuple(resolve(child, tables) for child in root.children)
    if root.relation is None:
        return replace(root, children=children)
    name = root.alias or root.relation
    table = tables.get(name.casefold(), root.relation).rpartition(".")[2]
    alias = name if name.casefold() != table.casefold() else None
    return replace(root, relation=table, alias=alias, children=children)


def _read_table(
    items: list[str], position: int, found: dict[str, set[str]], *, columns: bool = False
) -> int:
    """Read ``[schema.]table [AS] alias`` and return the position after it.

    Args:
        items: of the statement.
        position: where the name may begin.
        found: is added to.
        columns: a parenthesis behind the name lists columns, and does not call a function.
    """
    start = position
    while position < len(items) and items[position].lower() in ("only", "lateral", "ignore"):
        position += 1
    parts: list[str] = []
    while position < len(items) and _is_name(items[position]):
        parts.append(_unquoted(items[position]))
        position += 1
        if position + 1 < len(items) and items[position] == ".":
            position += 1
        else:
            break
    called = position < len(items) and items[position] == "(" and not columns
    if not parts or called:
        return start  # a subquery, or a function that gives rows
    table = ".".join(parts)
    alias = parts[-1]
    if position < len(items) and items[position].lower() == "as":
        position += 1
    if position < len(items) and _is_name(items[position]):
        alias = _unquoted(items[position])
        position += 1
    found.setdefault(alias.casefold(), set()).add(table)
    return position


def _is_name(token: str) -> bool:
    if token[0] in _QUOTES and len(token) > 1:
        return True
    return (token[0].isalpha() or token[0] == "_") and token.lower() not in _NOT_ALIASES


def _unquoted(token: str) -> str:
    return token[1:-1] if token[0] in _QUOTES else token
