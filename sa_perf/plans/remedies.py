"""Indexes and rewritten conditions, as text that can be copied.

An index is named only where the catalog knows every column of it and has none like it yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sa_perf.dialects import ColumnFacts, Dialect, IndexFacts, TableFacts
from sa_perf.dialects.index_trials.definition import IndexDefinition, IndexKey
from sa_perf.plans.reading import Condition

__all__ = ["covering_index", "create_index", "key_columns", "rewritten"]

_MAX_KEYS = 4
_DAYS = frozenset({"DATE", "TO_DATE", "TRUNC"})
_PARTS_OF_TIME = frozenset(
    {"YEAR", "MONTH", "EXTRACT", "STRFTIME", "DATE_PART", "DATE_TRUNC", "DATE_FORMAT"}
)
_PREFIXES = frozenset({"SUBSTR", "SUBSTRING", "LEFT"})
_SUBSTITUTES = frozenset({"COALESCE", "IFNULL", "NVL"})
_TWO_VALUED = ("bool", "tinyint(1)", "bit(1)")


def create_index(
    dialect: Dialect, facts: TableFacts | None, keys: Sequence[IndexKey]
) -> str | None:
    """``CREATE INDEX`` on these keys; None if a column is unknown or takes no plain index."""
    if facts is None or not keys:
        return None
    made = []
    for key in keys[:_MAX_KEYS]:
        if key.column is not None:
            column = facts.column(key.column)
            if column is None or not dialect.is_indexable(column.type):
                return None
            key = replace(key, column=column.name)
        elif key.expression is None or not dialect.expression_indexes:
            return None
        made.append(key)
    index = IndexDefinition(table=facts.name, keys=tuple(made))
    taken = {one.name.casefold() for one in facts.indexes}
    name = index.name if index.name.casefold() not in taken else f"{index.name}_2"
    return index.create_sql(dialect, name=name)


def covering_index(facts: TableFacts | None, columns: Sequence[str]) -> IndexFacts | None:
    """An index that begins with these columns, in any order; None if there is none."""
    wanted = {column.casefold() for column in columns}
    if facts is None or not wanted:
        return None
    for index in facts.indexes:
        head = index.columns[: len(wanted)]
        if index.predicate is None and {str(name).casefold() for name in head} == wanted:
            return index
    return None


def key_columns(
    facts: TableFacts | None, conditions: Iterable[Condition], joined: Sequence[str] = ()
) -> list[str]:
    """Columns for an index that answers conditions: those held equal first, then one range.

    A column of two values is put last, and is none to begin with.

    Args:
        facts: of the table.
        conditions: that an index can answer.
        joined: columns that a join holds equal.
    """
    found = list(conditions)
    equal = [c.column for c in found if c.kind in ("equal", "in", "null", "in_query")]
    ranges = [c.column for c in found if c.kind in ("range", "like")]
    columns = [name for name in (*joined, *equal, *ranges[:1]) if name is not None]
    unique = list(dict.fromkeys(columns))
    two_valued = [name for name in unique if _is_two_valued(facts, name)]
    if len(two_valued) == len(unique):
        return []
    return [name for name in unique if name not in two_valued][:_MAX_KEYS]


def rewritten(condition: Condition) -> str | None:
    """The condition so that an index on the bare column answers it; None if none is known."""
    column = condition.column
    if column is None or condition.expression is None or condition.kind != "equal":
        return None
    functions = {name.upper() for name in re.findall(r"(\w+)\s*\(", condition.expression)}
    if functions & _PARTS_OF_TIME:
        # May of every year is no range; May of one year is.
        whole = re.search(r"\bYEAR\b|\bDATE_TRUNC\b", condition.expression.upper())
        unless = "" if whole else ", where one stretch of time is meant"
        return f"{column} >= :begin AND {column} < :end{unless}"
    if functions & _DAYS:
        return f"{column} >= :day AND {column} < :next_day"
    if functions & _PREFIXES:
        return f"{column} LIKE 'prefix%'"
    if functions & _SUBSTITUTES:
        return f"{column} = ?, with OR {column} IS NULL only where ? is the substitute"
    return None


def _is_two_valued(facts: TableFacts | None, name: str) -> bool:
    column: ColumnFacts | None = None if facts is None else facts.column(name)
    return column is not None and column.type.startswith(_TWO_VALUED)
