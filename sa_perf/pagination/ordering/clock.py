"""Refuses to sort by the clock: no later page could continue. Pure.

A cursor holds the value that a row had when its page was read: the age of a row is another one
then, so rows would come twice or not at all. Pages by number compare no values; for them the
clock may do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ColumnClause, _textual_label_reference
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import SelectStatementGrouping

from sa_perf.errors import PaginationError
from sa_perf.pagination.ordering.clauses import resolved, sort_clauses

__all__ = ["refuse_clock"]

#: The time, whatever they are given: at most a precision.
_CLOCKS = frozenset(
    {
        "now", "current_timestamp", "current_date", "current_time", "localtime", "localtimestamp",
        "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday",
        "sysdate", "curdate", "curtime", "utc_date", "utc_time", "utc_timestamp",
        "systimestamp", "utcnow", "getdate", "getutcdate", "sysdatetime", "sysutcdatetime",
    }
)  # fmt: skip
#: The time if they are given fewer arguments than this many.
_CLOCKS_BELOW = {"unix_timestamp": 1, "age": 2}
#: The time if this argument is 'now' or left out: https://sqlite.org/lang_datefunc.html
_TIME_ARGUMENT = {
    "date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "strftime": 1,
}  # fmt: skip
#: 'now' may be left out before these too.
_NOW = frozenset({"now", "subsec", "subsecond"})
_WRITTEN_OUT = re.compile(
    r"(?i)\b(?:current_(?:timestamp|date|time)|localtime(?:stamp)?)\b|\b(?:"
    + "|".join(sorted(_CLOCKS))
    + r")\s*\("
)


def refuse_clock(stmt: Any) -> None:  # noqa: ANN401  # Select or CompoundSelect
    """Refuse an ORDER BY in which the time of its execution stands.

    Raises:
        PaginationError: names the function and what to do.
    """
    if isinstance(stmt, SelectStatementGrouping):
        stmt = stmt.element
    for clause in sort_clauses(stmt):
        for one in _parts(stmt, clause):
            if _is_clock(one):
                name = one.name if isinstance(one, ColumnClause) else f"{_name(one)}()"
                raise PaginationError(
                    f"ORDER BY {name} gives each row another value for each page, so that rows "
                    "come twice or not at all; order by the stored moment itself, or give the time "
                    "as a constant, the same for all pages: literal(start) - created_at"
                )


def _parts(stmt: Any, clause: Any) -> Iterator[Any]:  # noqa: ANN401
    for one in visitors.iterate(clause):
        if isinstance(one, _textual_label_reference):
            yield from visitors.iterate(resolved(stmt, one).expression)
        else:
            yield one


def _is_clock(part: Any) -> bool:  # noqa: ANN401
    if isinstance(part, ColumnClause):
        return part.is_literal and _WRITTEN_OUT.search(part.name) is not None
    if not isinstance(part, FunctionElement):
        return False
    name = _name(part).lower()
    arguments = list(part.clauses)
    if name in _TIME_ARGUMENT:
        at = _TIME_ARGUMENT[name]
        return len(arguments) <= at or _is_now(arguments[at])
    if name == "timediff":
        return any(map(_is_now, arguments))
    return name in _CLOCKS or len(arguments) < _CLOCKS_BELOW.get(name, 0)


def _name(function: Any) -> str:  # noqa: ANN401  # an application's own may have none
    return str(getattr(function, "name", None) or type(function).__name__)


def _is_now(argument: Any) -> bool:  # noqa: ANN401
    value: object = None
    if isinstance(argument, BindParameter):
        value = argument.effective_value
    elif isinstance(argument, TextClause):
        value = argument.text
    elif isinstance(argument, ColumnClause) and argument.is_literal:
        value = argument.name
    return isinstance(value, str) and value.strip(" '").lower() in _NOW
