"""SQLite statements as they may be meant where values are not known.

The planner looks at a value in three cases: the number behind LIMIT, the pattern of a LIKE or GLOB,
and what the condition of a partial index compares with (sqlite3ExprIsInteger, isLikeOrGlob and
exprCompareVariable in its source). A parameter that is bound as NULL is none of them. Where an
index is to be used for any values, it must be used with such a value as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sa_perf.dialects.statement import Lexer

__all__ = ["variants"]

_LIMIT = re.compile(r"\b(LIMIT\s+)\?", re.IGNORECASE)
_PATTERN = re.compile(r"\b((?:LIKE|GLOB)\s+)\?", re.IGNORECASE)
_EQUAL = re.compile(
    r"([\"`\[]?\w+[\"`\]]?)\s*(?:=|==|IS)\s*('(?:[^']|'')*'|-?\d+(?:\.\d+)?)(?![\w.])",
    re.IGNORECASE,
)
_MAX_VARIANTS = 4


def variants(statement: str, lexer: Lexer, predicates: Iterable[str]) -> list[str]:
    """The statement with values in the place of some parameters; without the one given.

    Args:
        statement: with ``?`` for each parameter.
        lexer: of the database.
        predicates: conditions of the partial indexes of its tables.
    """
    found = [
        _replaced(statement, lexer, _LIMIT, "10"),
        _replaced(statement, lexer, _PATTERN, "'a%'"),
    ]
    for predicate in predicates:
        for column, value in _EQUAL.findall(predicate):
            name = re.escape(column.strip('"`[]'))
            compared = re.compile(rf"(\b{name}[\"`\]]?\s*(?:=|==|IS)\s*)\?", re.IGNORECASE)
            found.append(_replaced(statement, lexer, compared, value))
    return list(dict.fromkeys(text for text in found if text != statement))[:_MAX_VARIANTS]


def _replaced(statement: str, lexer: Lexer, pattern: re.Pattern[str], new: str) -> str:
    """Replace what stands outside of strings and comments."""
    places = {place.start for place in lexer.placeholders(statement, "qmark")}

    def replacement(match: re.Match[str]) -> str:
        return match.group(1) + new if match.end() - 1 in places else match.group()

    return pattern.sub(replacement, statement)
