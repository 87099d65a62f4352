"""A shape of a statement made into one that PostgreSQL can plan. Pure.

A shape has ``?`` where a literal stood. Each becomes a parameter, as do the driver's placeholders,
except where the planner would have to guess wildly: for a LIMIT that is a parameter it takes a
tenth of the rows (preprocess_limit() in src/backend/optimizer/plan/planner.c, versions 12 to 18),
so a number is put there. A list gets as many values as the planner supposes in an array that it
does not know (estimate_array_length() in src/backend/utils/adt/selfuncs.c).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sa_perf.dialects.statement import Lexer, Placeholder
from sa_perf.errors import ExplainRefused

__all__ = ["NumberedStatement", "numbered"]

_USUAL_LIMIT = 20
_LIST_LENGTH = 10
#: Characters before a placeholder that are looked at.
_NEAR = 200

_LIMIT = re.compile(
    r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\s*(?:\(\s*|CAST\s*\(\s*)*\Z", re.IGNORECASE
)
_OFFSET = re.compile(r"\bOFFSET\s*(?:\(\s*|CAST\s*\(\s*)*\Z", re.IGNORECASE)
_CASE = re.compile(r"\b(?:THEN|ELSE)\s+\Z", re.IGNORECASE)
_LIST_BEFORE = re.compile(r"\bIN\s*\(\s*\Z", re.IGNORECASE)
_LIST_AFTER = re.compile(r"(?P<cast>\s*::[\w\s]+(?:\([\d\s,]*\))?)?\s*\)")
_ORDINAL_BEFORE = re.compile(
    r"\b(?P<clause>ORDER|GROUP)\s+BY\s+"
    r"(?:[\w.\"?]+(?:\s+(?:ASC|DESC))?(?:\s+NULLS\s+(?:FIRST|LAST))?\s*,\s*)*\Z",
    re.IGNORECASE,
)
_ORDINAL_AFTER = re.compile(
    r"\s*(?:\Z|[,);]|(?:ASC|DESC|NULLS|LIMIT|OFFSET|FETCH|HAVING|ORDER|FOR|UNION|WINDOW)\b)",
    re.IGNORECASE,
)
#: ``date '2024-02-29'``: the type in front of its literal, which a parameter cannot have.
_TYPE_BEFORE = re.compile(
    r"(?<![:.\w])(?P<type>(?:interval|date|timestamptz|timetz|jsonb?|uuid|inet|cidr|numeric|bytea"
    r"|time(?:stamp)?(?:\s*\(\s*\d\s*\))?(?:\s+with(?:out)?\s+time\s+zone)?))\s*\Z",
    re.IGNORECASE,
)
_WORD_BEFORE = re.compile(r"(?P<word>\w+)\s*\Z")
#: Behind these an operand follows; behind any other word ``?`` is jsonb's operator.
_OPERAND_FOLLOWS = frozenset(
    {
        "all", "and", "any", "between", "by", "case", "distinct", "else", "escape", "except",
        "fetch", "first", "for", "from", "having", "ilike", "in", "intersect", "is", "like",
        "limit", "next", "not", "offset", "on", "or", "over", "placing", "returning", "select",
        "set", "similar", "some", "symmetric", "then", "to", "union", "using", "values", "when",
        "where", "with", "zone",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedStatement:
    """A statement whose parameters are ``$1``, ``$2`` and so on.

    Attributes:
        text: of the statement.
        parameters: how many it has.
        limit: what was put in the place of the outermost LIMIT's placeholder; None where it has
            none.
        notes: what was supposed, as sentences.
    """

    text: str
    parameters: int
    limit: int | None = None
    notes: tuple[str, ...] = ()

    def with_values(self, lexer: Lexer, values: Mapping[int, str]) -> NumberedStatement:
        """The same statement with some parameters' values, as SQL, and the others renumbered."""
        if not values:
            return self
        left = [n for n in range(1, self.parameters + 1) if n not in values]
        numbers = {n: f"${position}" for position, n in enumerate(left, 1)}

        def new(key: str | int) -> str:
            number = int(key) + 1
            return values.get(number) or numbers[number]

        text = lexer.rewrite(self.text, "numeric_dollar", new)
        return replace(self, text=text, parameters=len(left))


def numbered(
    lexer: Lexer,
    statement: str,
    paramstyle: str,
    *,
    rows_returned: float | None = None,
    numeric_cases: bool = False,
) -> NumberedStatement:
    """Number the parameters of a statement or of a shape.

    Args:
        lexer: of the database.
        statement: with placeholders of the driver, ``?`` for a literal, or both.
        paramstyle: the driver's.
        rows_returned: what it gives on average; stands for the outermost LIMIT.
        numeric_cases: what CASE gives is a number, as in ``sum(CASE WHEN paid THEN ? ELSE ? END)``,
            where a parameter of no type would be taken for a text.

    Raises:
        ExplainRefused: it sorts or groups by the number of a column that its shape does not hold.
    """
    numbering = _Numbering(lexer, statement, paramstyle, rows_returned)
    return numbering.result("::numeric" if numeric_cases else "")


class _Numbering:
    def __init__(
        self, lexer: Lexer, statement: str, paramstyle: str, rows_returned: float | None
    ) -> None:
        self._lexer = lexer
        self._statement = statement
        self._rows_returned = rows_returned
        self._undouble = paramstyle in ("format", "pyformat")
        marks = [] if paramstyle == "qmark" else lexer.placeholders(statement, "qmark")
        self._marks = {place.start for place in marks}
        places = [*lexer.placeholders(statement, paramstyle), *marks]
        self._places = sorted(places, key=lambda place: place.start)
        self._numbers: dict[object, int] = {}
        self._parts: list[str] = []
        self._limit: int | None = None
        self._notes: dict[str, None] = {}

    def result(self, case_cast: str) -> NumberedStatement:
        last = 0
        operand_end = -1
        for place in self._places:
            before = self._statement[max(last, place.start - _NEAR) : place.start]
            mark = place.start in self._marks
            if mark and _is_operator(before, after_operand=operand_end == last):
                continue
            self._add(self._statement[last : place.start])
            cast = case_cast if _CASE.search(before) else ""
            self._parts.append(self._for(place, mark=mark) + cast)
            last = operand_end = place.end
        self._add(self._statement[last:])
        return NumberedStatement(
            text="".join(self._parts),
            parameters=len(self._numbers),
            limit=self._limit,
            notes=tuple(self._notes),
        )

    def _add(self, text: str) -> None:
        self._parts.append(text.replace("%%", "%") if self._undouble else text)

    def _for(self, place: Placeholder, *, mark: bool) -> str:
        """What stands in a placeholder's place."""
        before = self._statement[max(0, place.start - _NEAR) : place.start]
        limit = _LIMIT.search(before)
        if limit:
            return self._limit_for(place.start - len(before) + limit.start())
        if _OFFSET.search(before):
            return "0"
        after = self._statement[place.end : place.end + _NEAR]
        if not mark:
            return f"${self._number(place.key)}"
        ordinal = _ORDINAL_BEFORE.search(before)
        if ordinal and _ORDINAL_AFTER.match(after):
            raise ExplainRefused(
                f"the shape does not say by which column {ordinal['clause'].upper()} BY ? is meant"
            )
        in_list = _LIST_AFTER.match(after) if _LIST_BEFORE.search(before) else None
        if in_list:
            self._notes[f"A list is supposed to hold {_LIST_LENGTH} values."] = None
            cast = in_list["cast"] or ""
            numbers = [self._number((place.start, i)) for i in range(_LIST_LENGTH)]
            # The statement's own cast follows the last one.
            return ", ".join([*(f"${n}{cast}" for n in numbers[:-1]), f"${numbers[-1]}"])
        typed = _TYPE_BEFORE.search(self._parts[-1])
        if typed:
            self._parts[-1] = self._parts[-1][: typed.start()]
            return f"${self._number((place.start,))}::{typed['type']}"
        return f"${self._number((place.start,))}"

    def _limit_for(self, start: int) -> str:
        outside = _depth(self._lexer, self._statement[:start]) == 0
        rows = self._rows_returned if outside else None
        # More than it gives may be allowed; too low a limit would flatter a walk along an order.
        number = _USUAL_LIMIT if rows is None else max(_USUAL_LIMIT, math.ceil(rows))
        self._limit = number if outside else self._limit
        self._notes[f"LIMIT is supposed to be {number}."] = None
        return str(number)

    def _number(self, key: object) -> int:
        return self._numbers.setdefault(key, len(self._numbers) + 1)


def _is_operator(before: str, *, after_operand: bool) -> bool:
    """Whether a ``?`` behind this text is jsonb's operator "has the key".

    Args:
        before: what stands between it and the placeholder before it, or the text's beginning.
        after_operand: a placeholder stands before that.
    """
    text = before.rstrip()
    if not text:
        return after_operand
    if text[-1] in ")]\"'":
        return True
    word = _WORD_BEFORE.search(text)
    if word is None or _TYPE_BEFORE.search(text):
        return False
    return word["word"].lower() not in _OPERAND_FOLLOWS


def _depth(lexer: Lexer, text: str) -> int:
    """Parentheses that are open at the end of a text."""
    tokens = list(lexer.names_and_marks(text))
    return tokens.count("(") - tokens.count(")")
