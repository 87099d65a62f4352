"""How many rows of a SQLite table a step of a plan visits and keeps."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sa_perf.dialects.index_trials.sqlite_conditions import Condition
from sa_perf.dialects.index_trials.sqlite_sampling import TableSample
from sa_perf.dialects.index_trials.sqlite_shadow import IndexPart, ShadowIndex
from sa_perf.dialects.index_trials.sqlite_source import quoted
from sa_perf.dialects.index_trials.sqlite_statistics import key_expression

__all__ = ["Access", "TableRows", "bound_terms"]

#: SQLite's own guesses: a quarter for one end of a range, 1/64 for both (whereRangeScanEst and
#: whereLoopAddBtreeIndex in src/where.c); the pattern of a LIKE counts as one.
_RANGE = {1: 1 / 4, 2: 1 / 64}
_LIKE = 1 / 4
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
        exact: an index answers every condition.
    """

    seeks: float
    visited: float
    rows: float
    usual_rows: float
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    equal: int
    ends: int
    skipped: int


def bound_terms(condition: str | None) -> _Bound:
    """How many keys ``(a=? AND ANY(b) AND c>? AND c<?)`` holds equal, skips, and has ends of."""
    text = condition or ""
    skipped = len(re.findall(r"(?:^| AND )ANY\(", text))
    equal = len(re.findall(r"(?<![<>])=(?:\?|\(|$)", text))
    ends = min(2, len(re.findall(r"[<>]\??", re.sub(r"<expr>", "", text))))
    return _Bound(equal=equal, ends=ends, skipped=skipped)


class TableRows:
    """One table of a block.

    Args:
        sample: of its rows; None if there is none.
        rows: of the table, where there is no sample; None if unknown.
        conditions: on this table, those with tables that are not read yet left out.
        unique_others: joined columns of other tables that are keys there.
        listed: values that each list of a subquery holds.
    """

    def __init__(
        self,
        sample: TableSample | None,
        conditions: Sequence[Condition],
        *,
        rows: float | None = None,
        unique_others: Collection[tuple[str, str | None]] = (),
        listed: float | None = None,
    ) -> None:
        self.sample = sample
        self.rows = sample.rows if sample is not None else rows or _UNKNOWN_ROWS
        self.conditions = conditions
        self._unique_others = unique_others
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
        )

    def by_key(self, condition: str | None) -> Access:
        """Rows by the rowid."""
        bound = bound_terms(condition)
        on_key = [c for c in self.conditions if c.kind in ("in", "in_query")]
        if bound.equal:
            seeks = max((self._values(c) for c in on_key), default=1.0)
            return Access(seeks=seeks, visited=seeks, rows=seeks, usual_rows=seeks)
        visited = self.rows * _RANGE.get(bound.ends, 1.0)
        rows = min(visited, self.rows * self._share(self.conditions))
        return Access(seeks=1, visited=visited, rows=rows, usual_rows=rows)

    def by_index(self, index: ShadowIndex, condition: str | None) -> Access:
        """Rows by an index and what the plan says that it binds."""
        bound = bound_terms(condition)
        keys = index.parts[: bound.equal + bound.skipped]
        equal, skipped = _split(keys, condition)
        ranged = index.parts[len(keys) : len(keys) + 1] if bound.ends else ()
        held = [c for part in equal for c in self._on(part, range_too=False)[:1]]
        population = self.rows * (self.sample.fraction(index.predicate) if self.sample else 1.0)
        share, seeks = self._index_share(equal, index)
        visited = population * share * _RANGE.get(bound.ends, 1.0)
        if skipped and self.sample is not None:
            seeks *= self.sample.distinct([key_expression(part) for part in skipped])
        if index.unique and len(equal) == len(index.parts):
            visited = min(visited, seeks)
        held += [c for part in ranged for c in self._on(part, range_too=True)]
        predicate = (index.predicate or "").casefold()
        left = [
            c
            for c in self.conditions
            if c not in held
            and not (c.column and re.search(rf"\b{re.escape(c.column)}\b", predicate))
        ]
        rows = min(visited, max(self.rows * self._share(self.conditions), 0.0) if left else visited)
        usual = min(visited, visited * self._usual_share(left))
        return Access(seeks=seeks, visited=visited, rows=rows, usual_rows=usual, exact=not left)

    # Shares

    def _on(self, part: IndexPart, *, range_too: bool) -> list[Condition]:
        kinds = {"range", "like"} if range_too else {"equal", "join", "in", "in_query", "null"}
        column = None if part.column is None else part.column.casefold()
        return [
            c
            for c in self.conditions
            if c.kind in kinds
            and (c.column == column if column is not None else c.column is None)
            and (column is not None or _same(c.expression, part.expression))
        ]

    def _index_share(self, parts: Sequence[IndexPart], index: ShadowIndex) -> tuple[float, float]:
        """Share of an index's entries that have equal keys, and how many places they are in."""
        values: list[str] = []
        joined: list[str] = []
        seeks = 1.0
        for part in parts:
            condition = next(iter(self._on(part, range_too=False)), None)
            if condition is not None and condition.kind in ("in", "in_query"):
                seeks *= self._values(condition)
            usual = condition is not None and (
                condition.kind == "in_query"
                or (condition.kind == "join" and condition.other in self._unique_others)
            )
            (joined if usual else values).append(key_expression(part))
        sample = self.sample
        if sample is None:
            return min(1.0, seeks * 10 / self.rows), seeks
        share = sample.share(values, index.predicate) if values else 1.0
        if joined:
            before = sample.distinct(values, index.predicate) if values else 1.0
            share *= before / sample.distinct([*values, *joined], index.predicate)
        return min(1.0, share * seeks), seeks

    def _share(self, conditions: Sequence[Condition]) -> float:
        """Share of the rows for which all of these hold, of values as they occur."""
        together = [self._text(c) for c in conditions if c.kind == "equal" or self._often(c)]
        share = 1.0
        if together and self.sample is not None:
            share = self._sampled_share(together)
        for condition in conditions:
            if condition.kind == "equal" or self._often(condition):
                share *= 1.0 if self.sample is not None else 0.1
            else:
                share *= self._one_share(condition)
        return share

    def _often(self, condition: Condition) -> bool:
        return condition.kind == "join" and condition.other not in self._unique_others

    def _usual_share(self, conditions: Sequence[Condition]) -> float:
        share = 1.0
        for condition in conditions:
            if condition.kind in ("equal", "join", "in", "in_query"):
                share *= min(1.0, self._values(condition) / self._distinct(condition))
            else:
                share *= self._one_share(condition)
        return share

    def _one_share(self, condition: Condition) -> float:
        kind = condition.kind
        if kind == "join":
            return 1 / self._distinct(condition)
        if kind in ("in", "in_query"):
            share = self._sampled_share([self._text(condition)]) if kind == "in" else None
            one = 1 / self._distinct(condition) if share is None else share
            return min(1.0, self._values(condition) * one)
        if kind == "range":
            return _RANGE[condition.sides]
        if kind == "like":
            return _LIKE
        if kind in ("null", "not_null") and self.sample is not None:
            fraction = self._null_fraction(condition)
            return fraction if kind == "null" else 1 - fraction
        if kind == "or":
            return min(1.0, sum(self._share(branch) for branch in condition.parts))
        return 1.0

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
        except Exception:  # an expression of the statement that cannot be read by itself
            return 1.0

    def _distinct(self, condition: Condition) -> float:
        if self.sample is None:
            return 10.0
        try:
            return self.sample.distinct([self._text(condition)])
        except Exception:  # as above
            return 1.0

    def _null_fraction(self, condition: Condition) -> float:
        try:
            return self.sample.null_fraction(self._text(condition)) if self.sample else 1.0
        except Exception:  # as above
            return 1.0


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
