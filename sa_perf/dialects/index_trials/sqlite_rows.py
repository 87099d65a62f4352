"""How many rows of a SQLite table a step of a plan visits and keeps."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType

from sa_perf.dialects.index_trials.sqlite_conditions import Condition
from sa_perf.dialects.index_trials.sqlite_sampling import TableSample, UnreadableExpression
from sa_perf.dialects.index_trials.sqlite_shadow import IndexPart, ShadowIndex
from sa_perf.dialects.index_trials.sqlite_source import quoted
from sa_perf.dialects.index_trials.sqlite_statistics import key_expression

__all__ = ["Access", "TableRows", "bound_terms"]

#: SQLite's own guesses: a quarter for one end of a range, 1/64 for both (whereRangeScanEst and
#: whereLoopAddBtreeIndex in src/where.c); the pattern of a LIKE counts as one.
_RANGE = {1: 1 / 4, 2: 1 / 64}
_LIKE = 1 / 4
#: For an index on trial: one end that is the value of a row drawn at random finds half of them.
_DOUBTED = {1: 1 / 2, 2: 1 / 16}
#: What is taken for a range where a wide one would speak for an index.
_NARROW = 1 / 64
_EQUAL = frozenset({"equal", "same", "join", "in", "in_query", "null"})
_RANGED = frozenset({"range", "like", "not_null"})
#: Rows that an equality finds, as SQLite guesses (sqlite3DefaultRowEst in src/build.c).
_FOUND = 10
#: What ``IN (?)`` of a shape may stand for.
_LISTED = 5
#: What a list of a subquery holds, where that is not known.
_QUERIED = 25
#: Rows of a table of which nothing is known.
_UNKNOWN_ROWS = 1_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one run of a step does.

    Attributes:
        seeks: descents into the tree.
        visited: entries or rows that are read.
        rows: that are left after all conditions, of values as they occur.
        usual_rows: the same, when the conditions that no index answers hold values that are as
            frequent as the mean; a search that stops early takes as long as that.
        least_rows: the same, when ranges are narrow; so much at least is to be sorted.
        exact: an index answers every condition.
    """

    seeks: float
    visited: float
    rows: float
    usual_rows: float
    least_rows: float
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    equal: int
    ends: int
    skipped: int


def bound_terms(condition: str | None) -> _Bound:
    """How many keys ``(a=? AND ANY(b) AND c>? AND c<?)`` holds equal, skips, and has ends of."""
    text = (condition or "").replace("<expr>", "expr")
    skipped = len(re.findall(r"(?:^| AND )ANY\(", text))
    equal = len(re.findall(r"(?<![<>])=(?:\?|\(|$)", text))
    ends = min(2, len(re.findall(r"[<>]", text)))
    return _Bound(equal=equal, ends=ends, skipped=skipped)


class TableRows:
    """One table of a block.

    Args:
        sample: of its rows; None if there is none.
        rows: of the table, where there is no sample; None if unknown.
        conditions: on this table, those with tables that are not read yet left out.
        unique_others: joined columns of other tables that are keys there, and their rows.
        listed: values that each list of a subquery holds.
        key: names of the rowid, in lower case.
    """

    def __init__(
        self,
        sample: TableSample | None,
        conditions: Sequence[Condition],
        *,
        rows: float | None = None,
        unique_others: Mapping[tuple[str, str | None] | None, float] = MappingProxyType({}),
        listed: float | None = None,
        key: Collection[str] = (),
    ) -> None:
        self.sample = sample
        self.rows = sample.rows if sample is not None else rows or _UNKNOWN_ROWS
        self.conditions = conditions
        self._unique_others = unique_others
        self._key = {"rowid", "oid", "_rowid_", *key}
        self._listed = listed if listed is not None else _QUERIED

    def scanned(self, entries: float | None = None) -> Access:
        """Every row, or every entry of an index."""
        count = self.rows if entries is None else entries
        share = self._share(self.conditions)
        usual = self._usual_share(self.conditions)
        return Access(
            seeks=1,
            visited=count,
            rows=min(count, self.rows * share),
            usual_rows=min(count, self.rows * usual),
            least_rows=min(count, self.rows * self._share(self.conditions, narrow=True)),
        )

    def by_key(self, condition: str | None) -> Access:
        """Rows by the rowid."""
        bound = bound_terms(condition)
        on_key = [c for c in self.conditions if c.column in self._key]
        others = [c for c in self.conditions if c.column not in self._key]
        seeks = 1.0
        if bound.equal:
            seeks = max((self._values(c) for c in on_key), default=1.0)
            visited = seeks
        else:
            visited = self.rows * _RANGE.get(bound.ends, 1.0)
        return Access(
            seeks=seeks,
            visited=visited,
            rows=visited * self._share(others),
            usual_rows=visited * self._usual_share(others),
            least_rows=visited * self._share(others, narrow=True),
            exact=not others,
        )

    def by_index(self, index: ShadowIndex, condition: str | None, *, tried: bool) -> Access:
        """Rows by an index and what the plan says that it binds."""
        bound = bound_terms(condition)
        keys = index.parts[: bound.equal + bound.skipped]
        equal, skipped = _split(keys, condition)
        ranged = index.parts[len(keys)] if bound.ends and len(keys) < len(index.parts) else None
        held = [c for part in equal for c in self._on(part, _EQUAL)[:1]]
        population = self.entries(index)
        share, seeks = self._index_share(equal, index)
        visited = population * share
        if bound.ends:
            ends = self._on(ranged, _RANGED) if ranged is not None else []
            visited *= self._range_share(ends, bound.ends, index, tried=tried)
            held += ends
        if skipped and self.sample is not None:
            with suppress(UnreadableExpression):
                seeks *= self.sample.distinct([key_expression(part) for part in skipped])
        if index.unique and len(equal) == len(index.parts):
            visited = min(visited, seeks)
        left = [c for c in self.conditions if c not in held and not _implied(c, index.predicate)]
        rows = min(visited, self.rows * self._share(self.conditions)) if left else visited
        usual = visited * self._usual_share(left)
        return Access(
            seeks=seeks,
            visited=visited,
            rows=rows,
            usual_rows=usual,
            least_rows=min(rows, self.rows * self._share(self.conditions, narrow=True)),
            exact=not left,
        )

    def entries(self, index: ShadowIndex) -> float:
        """How many rows an index holds."""
        if self.sample is None or index.predicate is None:
            return self.rows
        try:
            return self.rows * self.sample.fraction(index.predicate)
        except UnreadableExpression:
            return self.rows

    # Shares

    def _on(self, part: IndexPart, kinds: frozenset[str]) -> list[Condition]:
        """Conditions of these kinds that a key of an index answers."""
        column = None if part.column is None else part.column.casefold()
        return [
            c
            for c in self.conditions
            if c.kind in kinds
            and (c.column == column if column is not None else c.column is None)
            and (column is not None or _same(c.expression, part.expression))
        ]

    def _range_share(
        self, ends: Sequence[Condition], count: int, index: ShadowIndex, *, tried: bool
    ) -> float:
        if any(c.constant is not None or c.kind == "not_null" for c in ends):
            if index.predicate is not None and all(_implied(c, index.predicate) for c in ends):
                return 1.0
            return min((self._one_share(c) for c in ends), default=1.0)
        return (_DOUBTED if tried else _RANGE)[count]

    def _index_share(self, parts: Sequence[IndexPart], index: ShadowIndex) -> tuple[float, float]:
        """Share of an index's entries that have equal keys, and how many places they are in."""
        values: list[str] = []
        joined: list[str] = []
        share = seeks = 1.0
        for part in parts:
            condition = next(iter(self._on(part, _EQUAL)), None)
            if condition is not None and condition.kind in ("in", "in_query"):
                seeks *= self._values(condition)
            if condition is not None and _fixed(condition) and self.sample is not None:
                share *= self._share_within(condition, index) / self._values(condition)
                continue
            usual = condition is not None and (
                condition.kind == "in_query"
                or (condition.kind == "join" and condition.other in self._unique_others)
            )
            if usual and condition is not None and not values and not joined:
                share /= max(self._distinct(condition), self._unique_others.get(condition.other, 1))
                continue
            (joined if usual else values).append(key_expression(part))
        sample = self.sample
        usual_share = min(1.0, seeks * _FOUND / max(1.0, self.rows))
        if sample is None:
            return usual_share, seeks
        try:
            if values:
                share *= sample.share(values, index.predicate)
            if joined:
                before = sample.distinct(values, index.predicate) if values else 1.0
                share *= before / sample.distinct([*values, *joined], index.predicate)
        except UnreadableExpression:
            return usual_share, seeks
        return min(1.0, share * seeks), seeks

    def _share(self, conditions: Sequence[Condition], *, narrow: bool = False) -> float:
        """Share of the rows for which all of these hold, of values as they occur."""
        together = [c for c in conditions if self._varies(c)]
        share = self._sampled_share([self._text(c) for c in together]) if together else 1.0
        for condition in conditions:
            if narrow and condition.kind in ("range", "like") and condition.constant is None:
                share *= _NARROW
            elif not self._varies(condition):
                share *= self._one_share(condition)
        return share

    def _varies(self, condition: Condition) -> bool:
        """Whether it holds a value that is the more frequent the more rows have it."""
        if condition.kind == "join":
            return condition.other not in self._unique_others
        return condition.kind == "equal" and condition.constant is None

    def _usual_share(self, conditions: Sequence[Condition]) -> float:
        share = 1.0
        for condition in conditions:
            if condition.constant is None and condition.kind in ("equal", "join", "in", "in_query"):
                share *= min(1.0, self._values(condition) / self._distinct(condition))
            else:
                share *= self._one_share(condition)
        return share

    def _one_share(self, condition: Condition) -> float:
        kind = condition.kind
        if self.sample is not None and _fixed(condition):
            return self._true_share(condition)
        if kind == "join":
            keys = self._unique_others.get(condition.other, 1)
            return 1 / max(self._distinct(condition), keys)
        if kind == "in_query":
            return min(1.0, self._values(condition) / self._distinct(condition))
        if kind in ("equal", "in"):
            return min(1.0, self._values(condition) * self._sampled_share([self._text(condition)]))
        if kind == "same":
            return max(self._sampled_share([self._text(condition)]), self._null_share(condition))
        if kind == "range":
            return _RANGE[condition.sides]
        if kind == "like":
            return _LIKE
        if kind == "or":
            return min(1.0, sum(self._share(branch) for branch in condition.parts))
        return 1.0

    def _share_within(self, condition: Condition, index: ShadowIndex) -> float:
        """Share of an index's entries for which a condition without parameters holds."""
        if index.predicate is None:
            return self._true_share(condition)
        both = f"({index.predicate}) AND ({self._constant(condition)})"
        whole = max(self.entries(index) / max(1.0, self.rows), 1e-9)
        return min(1.0, self._true_share(replace(condition, kind="other", constant=both)) / whole)

    def _constant(self, condition: Condition) -> str:
        if condition.kind in ("null", "not_null"):
            return f"{self._text(condition)} IS {'NOT ' * (condition.kind == 'not_null')}NULL"
        return condition.constant or "1"

    def _true_share(self, condition: Condition) -> float:
        """Of a condition that holds no parameter, by the rows that were drawn."""
        text = self._constant(condition)
        try:
            share = self.sample.fraction(text) if self.sample else 1.0
        except UnreadableExpression:
            return 1.0
        # What no drawn row fulfils is rarer than one in the sample.
        return max(share, 0.5 / max(1, len(self.sample.points.keys) if self.sample else 1))

    def _null_share(self, condition: Condition) -> float:
        return self._true_share(replace(condition, kind="null"))

    def _values(self, condition: Condition) -> float:
        if condition.kind == "in":
            return float(condition.count if condition.count > 1 else _LISTED)
        return float(self._listed) if condition.kind == "in_query" else 1.0

    def _text(self, condition: Condition) -> str:
        return quoted(condition.column) if condition.column else f"({condition.expression})"

    def _sampled_share(self, expressions: Sequence[str]) -> float:
        if self.sample is None:
            return 0.1
        try:
            return self.sample.share(expressions)
        except UnreadableExpression:
            return 1.0

    def _distinct(self, condition: Condition) -> float:
        if self.sample is None:
            return 10.0
        try:
            return self.sample.distinct([self._text(condition)])
        except UnreadableExpression:
            return 1.0


def _fixed(condition: Condition) -> bool:
    """Whether it asks the same at every call."""
    return condition.constant is not None or condition.kind in ("null", "not_null")


def _implied(condition: Condition, predicate: str | None) -> bool:
    """Whether a condition is about a column that the condition of a partial index is about."""
    if predicate is None or not condition.column:
        return False
    return re.search(rf"\b{re.escape(condition.column)}\b", predicate.casefold()) is not None


def _split(
    keys: Sequence[IndexPart], condition: str | None
) -> tuple[list[IndexPart], list[IndexPart]]:
    """Keys that are held equal, and those that a skip-scan passes over, which come first."""
    terms = (condition or "").split(" AND ")
    equal: list[IndexPart] = []
    skipped: list[IndexPart] = []
    for number, part in enumerate(keys):
        passed = number < len(terms) and terms[number].startswith("ANY(")
        (skipped if passed else equal).append(part)
    return equal, skipped


def _same(one: str, other: str) -> bool:
    def plain(text: str) -> str:
        return re.sub(r'[\s"`\[\]()]', "", text).casefold()

    return plain(one) == plain(other)
