"""What a sample of a SQLite table's rows says about its values.

Shares, numbers of distinct values and sizes of columns and expressions, together or alone. Values
are read when they are first asked about and kept as numbers only.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.index_trials.sqlite_points import Points
from sa_perf.errors import ExplainError

__all__ = ["TableSample", "UnreadableExpression", "distinct_values"]

#: SQLite's own limit was 999 variables until 3.32.
_MAX_VARIABLES = 900
_NULL = -1
_EXPRESSION = re.compile(
    r"(?:no such|unknown) (?:function|column|collation|table)|syntax error|wrong number|ambiguous"
    r"|misuse|unsafe|user-defined|malformed JSON|overflow|nested"
)
#: Longer texts are told apart by their ends and their length.
_LONG = 256
_NAME = "sa_perf_point"
#: Rows that are measured, and columns of them.
_MEASURED = 300
_MAX_COLUMNS = 100
_HEADER_BYTES = 6.0
_USUAL_BYTES = 100.0


class UnreadableExpression(ExplainError):
    """An expression that this connection cannot evaluate, such as the application's function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """Values of one expression: a number for each distinct one, bytes, order among the rows."""

    codes: array[int]
    mean_bytes: float
    order: float


def distinct_values(frequencies: Sequence[int], rows: float) -> float:
    """How many distinct values a table has, by the frequencies of those in a sample.

    The estimator Duj1 of Haas and Stokes, "Estimating the Number of Classes in a Finite
    Population" (IBM RJ 10025, 1998), as PostgreSQL's ANALYZE uses it (src/backend/commands/
    analyze.c, compute_scalar_stats): ``n d / (n - f1 + f1 n / N)``.

    Args:
        frequencies: of each value in the sample, each >= 1.
        rows: of the table.
    """
    drawn = sum(frequencies)
    if not drawn:
        return 0.0
    single = sum(1 for frequency in frequencies if frequency == 1)
    rows = max(rows, float(drawn))
    estimate = drawn * len(frequencies) / (drawn - single + single * drawn / rows)
    return min(max(estimate, float(len(frequencies))), rows)


class TableSample:
    """A sample of one table.

    Args:
        dbapi_connection: is only read from.
        table: quoted, with its schema.
        points: the rows.
        columns: SQL of the table's columns.
    """

    def __init__(
        self,
        dbapi_connection: DBAPIConnection,
        table: str,
        points: Points,
        *,
        columns: Sequence[str] = (),
    ) -> None:
        self.points = points
        self.rows = points.rows
        self._connection = dbapi_connection
        self._table = table
        self._columns = columns
        self._items: dict[str, _Item] = {}
        self._row_bytes: float | None = None
        self._known: dict[tuple[str, tuple[str, ...], str | None], float] = {}

    def read(self, expressions: Sequence[str]) -> None:
        """Read what is not known yet, in one pass; what the driver raises passes.

        Raises:
            UnreadableExpression: not the database but an expression is why it raised.
        """
        missing = [text for text in dict.fromkeys(expressions) if text not in self._items]
        if not missing:
            return
        values: list[list[object]] = [[] for _ in range(2 * len(missing))]
        batch = max(1, _MAX_VARIABLES // len(self.points.key))
        for begin in range(0, len(self.points.keys), batch):
            for row in self._readable(missing, self.points.keys[begin : begin + batch]):
                for into, value in zip(values, row, strict=True):
                    into.append(value)
        for number, text in enumerate(missing):
            self._items[text] = _encoded(values[2 * number], values[2 * number + 1])

    def distinct(self, expressions: Sequence[str], predicate: str | None = None) -> float:
        """Distinct combinations of these, NULL being a value as ANALYZE has it; at least 1."""
        key = ("distinct", tuple(expressions), predicate)
        if key not in self._known:
            frequencies = [*Counter(self._codes(expressions, predicate)).values()]
            estimate = distinct_values(frequencies, self._population(predicate))
            self._known[key] = max(1.0, estimate)
        return self._known[key]

    def share(self, expressions: Sequence[str], predicate: str | None = None) -> float:
        """Share of the rows that have the values of one of them drawn at random, none being NULL.

        The sum of the squares of each value's share, by the pairs in the sample that are equal.
        """
        key = ("share", tuple(expressions), predicate)
        if key not in self._known:
            self._known[key] = self._share(expressions, predicate)
        return self._known[key]

    def _share(self, expressions: Sequence[str], predicate: str | None) -> float:
        codes = [code for code in self._codes(expressions, predicate) if _NULL not in code]
        drawn = len(codes)
        population = self._population(predicate)
        if not drawn or population <= 1:
            return 1.0
        present = population * drawn / max(1, len(self._codes((), predicate)))
        counts = Counter(codes).values()
        if self.points.whole:
            return sum(count * count for count in counts) / drawn / population
        equal = sum(count * (count - 1) for count in counts) / max(1, drawn * (drawn - 1))
        return min(1.0, (1.0 / present + equal * (1.0 - 1.0 / present)) * present / population)

    def fraction(self, predicate: str | None) -> float:
        """Share of the rows for which a condition is true."""
        if predicate is None:
            return 1.0
        if not self.points.keys:
            return 0.0
        key = ("fraction", (), predicate)
        if key not in self._known:
            self._known[key] = len(self._codes((), predicate)) / len(self.points.keys)
        return self._known[key]

    def null_fraction(self, expression: str) -> float:
        """Share of the rows where an expression is NULL."""
        self.read([expression])
        codes = self._items[expression].codes
        return sum(1 for code in codes if code == _NULL) / len(codes) if codes else 0.0

    def mean_bytes(self, expression: str) -> float:
        """What a value takes in a record, without its part of the header."""
        self.read([expression])
        return self._items[expression].mean_bytes

    def order(self, expression: str) -> float:
        """How far rows are stored in the order of an expression: 0 not at all, 1 throughout."""
        self.read([expression])
        return self._items[expression].order

    @property
    def row_bytes(self) -> float:
        """What a row takes on average, by some hundred rows; without what SQLite adds to pages."""
        if self._row_bytes is None:
            self._row_bytes = self._measured_rows()
        return self._row_bytes

    def _measured_rows(self) -> float:
        step = max(1, len(self.points.keys) // _MEASURED)
        measured = " + ".join(map(_stored_length, self._columns[:_MAX_COLUMNS])) or "0"
        keys = self.points.keys[::step][:_MEASURED]
        if not keys:
            return _HEADER_BYTES
        try:
            total = sum(float(str(row[0] or 0)) for row in self._readable([measured], keys))
        except UnreadableExpression:  # a generated column calls a function of the application
            return _USUAL_BYTES
        listed = max(1, len(self._columns[:_MAX_COLUMNS]))
        return total / len(keys) * len(self._columns) / listed + len(self._columns) + _HEADER_BYTES

    def _population(self, predicate: str | None) -> float:
        if predicate is None:
            return self.rows
        # Of a condition that no drawn row fulfils, less than one in the sample.
        return self.rows * max(self.fraction(predicate), 0.5 / max(1, len(self.points.keys)))

    def _codes(self, expressions: Sequence[str], predicate: str | None) -> list[tuple[int, ...]]:
        test = None if predicate is None else f"CASE WHEN ({predicate}) THEN 1 END"
        self.read([*expressions, *((test,) if test else ())])
        columns = [self._items[text].codes for text in expressions]
        if not columns:
            combined: list[tuple[int, ...]] = [()] * len(self.points.keys)
        else:
            combined = list(zip(*columns, strict=True))
        if test is None:
            return combined
        return [
            code
            for code, holds in zip(combined, self._items[test].codes, strict=True)
            if holds != _NULL
        ]

    def _readable(
        self, expressions: Sequence[str], keys: Sequence[tuple[object, ...]]
    ) -> list[tuple[object, ...]]:
        try:
            return self._rows(expressions, keys)
        except Exception as error:
            if _EXPRESSION.search(str(error)) is None:
                raise
            raise UnreadableExpression(f"cannot say, because of {error}") from error

    def _rows(
        self, expressions: Sequence[str], keys: Sequence[tuple[object, ...]]
    ) -> list[tuple[object, ...]]:
        names = [f"{_NAME}_{number}" for number in range(len(self.points.key))]
        marks = ", ".join(["(" + ", ".join("?" * len(names)) + ")"] * len(keys))
        joined = " AND ".join(
            f"{self._table}.{column} = {_NAME}.{name}"
            for column, name in zip(self.points.key, names, strict=True)
        )
        listed = ", ".join(f"{_shortened(text)}, {_length(text)}" for text in expressions)
        sql = (
            f"WITH {_NAME}({', '.join(names)}) AS (VALUES {marks}) SELECT {listed} "  # noqa: S608 -- quoted names
            f"FROM {_NAME} LEFT JOIN {self._table} ON {joined}"
        )
        return fetch(self._connection, sql, tuple(value for key in keys for value in key))


def _shortened(text: str) -> str:
    return (
        f"CASE WHEN typeof({text}) IN ('text', 'blob') AND length({text}) > {_LONG} THEN "
        f"substr({text}, 1, 100) || '/' || length({text}) || '/' || substr({text}, -100) "
        f"ELSE {text} END"
    )


def _length(text: str) -> str:
    return f"CASE WHEN typeof({text}) IN ('text', 'blob') THEN length(CAST({text} AS BLOB)) END"


def _encoded(values: Sequence[object], lengths: Sequence[object]) -> _Item:
    known: dict[object, int] = {None: _NULL}
    codes = array("i", (known.setdefault(value, len(known) - 1) for value in values))
    total = sum(
        length if isinstance(length, int) else _number_bytes(value)
        for value, length in zip(values, lengths, strict=True)
    )
    mean_bytes = total / len(values) if values else 0.0
    return _Item(codes=codes, mean_bytes=mean_bytes, order=_order(values))


def _order(values: Sequence[object]) -> float:
    """How much oftener a value is greater than that of the row before than less, or the reverse."""
    up = down = 0
    for before, after in itertools.pairwise(values):
        try:
            up += before < after  # type: ignore[operator]  # of any type, see below
            down += before > after  # type: ignore[operator]  # likewise
        except TypeError:  # a number beside a text, NULL
            continue
    return abs(up - down) / (up + down) if up + down else 0.0


def _stored_length(column: str) -> str:
    return (
        f"CASE typeof({column}) WHEN 'integer' THEN 3 WHEN 'real' THEN 8 WHEN 'null' THEN 0 "
        f"ELSE length({column}) END"
    )


def _number_bytes(value: object) -> int:
    """What a record takes for a value that is no text (fileformat2.html, 2.1)."""
    if value is None or value in (0, 1):
        return 0
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= 2**47:
            return 8
        value = int(value)
    if not isinstance(value, int):
        return 0
    bits = (value if value >= 0 else ~value).bit_length() + 1
    return next((size for size in (1, 2, 3, 4, 6) if bits <= 8 * size), 8)
