"""The indexes that one statement would take, by trying them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from sa_perf.dialects.index_trials import IndexDefinition, IndexTrial, TrialPlan
from sa_perf.errors import ExplainError, ExplainRefused
from sa_perf.plans.index_advice.accesses import Access
from sa_perf.plans.index_advice.candidates import Popularity, candidates, exists, widened
from sa_perf.plans.index_advice.cases import Case

__all__ = ["Chooser"]

#: Indexes for one statement: more are made for joins of many tables only.
_MAX_CHOSEN = 3
#: A first index must leave that much of the cost at most, a further one that much of the rest.
_WORTH = 0.8
_WORTH_OF_MORE = 0.5
#: What makes an index bigger must be worth that much.
_PARTIAL_WORTH = 0.5
_KEY_WORTH = 0.9
#: A covering index is doubted so much more where another has its keys already.
_KEYS_ARE_THERE = 0.25
_LITTLE = 0.02
#: Above this share of a table's rows an index on what they have in common pays for few values.
_SKEWED = 0.05
#: Below it a column has so many values that no index is for one of them.
_MANY_VALUED = 0.02
#: A further index, or a covering one, must save that much: about 0.1 ms in the trials' units, which
#: are pages read in turn on PostgreSQL (manual, 19.7.2) and microseconds on SQLite.
_LEAST_SAVED = 100.0
#: The same for one that has the keys of another index, and more columns.
_LEAST_SAVED_BY_REPEATING = 1_000.0
_TIMES = ("time", "date")


class Chooser:
    """Chooses indexes for one statement after the other by trying them.

    Args:
        trial: of the database.
        popular: keys that many statements share.
        least_rows: tables below this size get no index, >= 0.
    """

    def __init__(self, trial: IndexTrial, popular: Popularity, *, least_rows: int) -> None:
        self._trial = trial
        self._popular = popular
        self._least_rows = least_rows
        self._plans: dict[tuple[str, frozenset[IndexDefinition]], TrialPlan | None] = {}
        self._sizes: dict[IndexDefinition, int | None] = {}

    def choose(self, case: Case) -> tuple[IndexDefinition, ...]:
        """The indexes that make a statement cheapest, the most useful first.

        Rather plain ones than big ones, where they do nearly as well.
        """
        pool = self._pool(case)
        alone = self._one_by_one(case, pool)
        together = self._together(case, pool)
        costs = [self._cost(case, one) for one in (alone, together)]
        return together if costs[1] < costs[0] * _WORTH_OF_MORE else alone

    def _one_by_one(
        self, case: Case, pool: Sequence[IndexDefinition]
    ) -> tuple[IndexDefinition, ...]:
        """The best index, then what is best beside it, as long as each is worth it."""
        chosen: tuple[IndexDefinition, ...] = ()
        cost = case.before.cost
        while cost is not None and pool and len(chosen) < _MAX_CHOSEN:
            tried = [(found, one) for one in pool if (found := self._with(case, chosen, one))]
            worth = [each for each in tried if self._pays(case, cost, each, further=bool(chosen))]
            if not worth:
                break
            found, index = min(worth, key=partial(self._score, cost))
            chosen, cost = (*chosen, index), found.cost
            pool = [one for _, one in tried if one not in chosen]
        return chosen

    def _together(self, case: Case, pool: Sequence[IndexDefinition]) -> tuple[IndexDefinition, ...]:
        """What the planner takes of all plain ones: a join may need one on either side."""
        plain = [one for one in pool if one.predicate is None and not one.include]
        if len(case.accesses) < 2 or len(plain) < 2:
            return ()
        found = self.plan(case, plain)
        used = () if found is None else tuple(dict.fromkeys(found.used))
        if not 1 < len(used) <= _MAX_CHOSEN:
            return ()
        for index in used:
            used = self._shortened(case, used, index, plain)
        return used

    def _shortened(
        self,
        case: Case,
        chosen: tuple[IndexDefinition, ...],
        index: IndexDefinition,
        pool: Sequence[IndexDefinition],
    ) -> tuple[IndexDefinition, ...]:
        """The same indexes with the beginning of one of them, where that does as well."""
        before = case.before.cost or 0.0
        enough = (self._cost(case, chosen) + before * _LITTLE) / _KEY_WORTH
        for one in sorted(pool, key=lambda each: len(each.keys)):
            shorter = len(one.keys) < len(index.keys)
            if one.table == index.table and shorter and one.keys == index.keys[: len(one.keys)]:
                other = tuple(one if each is index else each for each in chosen)
                if self._cost(case, other) <= enough:
                    return other
        return chosen

    def _cost(self, case: Case, indexes: tuple[IndexDefinition, ...]) -> float:
        found = self.plan(case, indexes)
        return found.cost if found is not None and found.cost is not None else math.inf

    def guess(self, case: Case) -> tuple[IndexDefinition, ...]:
        """An index for each table that is read whole, where none can be tried.

        By the rule alone: what is held equal, then the order or a range.
        """
        scanned = {
            (node.relation or "").casefold()
            for node in case.before.plan.root.walk()
            if node.operation in ("full_scan", "index_full_scan")
        }
        found = []
        for access in case.accesses:
            named = [
                one for one in self._candidates(access) if not self._is_skewed(case, access, one)
            ]
            whole = [one for one in named if one.predicate is None and not one.include]
            if access.facts.name.casefold() in scanned and whole:
                found += _by_rule(access, whole)
        return tuple(dict.fromkeys(found))

    def plan(self, case: Case, indexes: Iterable[IndexDefinition]) -> TrialPlan | None:
        """How a statement would run with these; None where that cannot be told."""
        mine = case.tables()
        wanted = frozenset(one for one in indexes if one.table.casefold() in mine)
        if not wanted:
            return case.before
        key = (case.query.fingerprint, wanted)
        if key not in self._plans:
            try:
                self._plans[key] = self._trial.plan(
                    case.query.statement,
                    sorted(wanted, key=lambda one: (one.name, repr(one))),
                    rows_returned=case.query.mean_rows,
                )
            except (ExplainError, ExplainRefused):
                self._plans[key] = None
        return self._plans[key]

    def widened(self, index: IndexDefinition, cases: Iterable[Case]) -> IndexDefinition | None:
        """The same index with all that statements read of its table; None where that is much."""
        table = (index.table, index.schema)
        every = (access for case in cases for access in case.accesses)
        found = [one for one in every if (one.facts.name, one.schema) == table]
        wider = widened(index, found, self._trial.dialect) if found else None
        return wider if wider is not None and self._trial.can_be_made(wider) else None

    def size_bytes(self, index: IndexDefinition) -> int | None:
        """What an index takes on disk."""
        if index not in self._sizes:
            self._sizes[index] = self._trial.size_bytes(index)
        return self._sizes[index]

    def _pool(self, case: Case) -> list[IndexDefinition]:
        found: dict[IndexDefinition, None] = {}
        for access in case.accesses:
            for index in self._candidates(access):
                doubtful = self._is_skewed(case, access, index) or self._is_unbounded(
                    case, access, index
                )
                if not (doubtful or self._is_one_value(access, index)):
                    found.setdefault(index)
        return list(found)

    def _candidates(self, access: Access) -> list[IndexDefinition]:
        if (access.facts.rows_estimate or 0) < self._least_rows:
            return []
        found = candidates(access, self._trial.dialect, self._popular)
        return [one for one in found if self._trial.can_be_made(one)]

    def _with(
        self, case: Case, chosen: Sequence[IndexDefinition], index: IndexDefinition
    ) -> TrialPlan | None:
        """The plan with one more index; None where it is not used."""
        found = self.plan(case, (*chosen, index))
        return found if found is not None and index in found.used and found.cost else None

    def _score(self, before: float, tried: tuple[TrialPlan, IndexDefinition]) -> float:
        """What a plan costs, and what the index itself does.

        Where little is left of the cost before, it matters little how much.
        """
        found, index = tried
        score = ((found.cost or 0.0) + before * _LITTLE) / _KEY_WORTH ** len(index.keys)
        if index.include:
            score /= self._trial.covering_worth
        if index.predicate is not None and not self._is_small(index):
            score /= _PARTIAL_WORTH
        return score

    def _doubt(self, case: Case, index: IndexDefinition) -> float:
        """How much of what a covering index is said to save is taken for true."""
        if not index.include:
            return 1.0
        return self._trial.covering_worth * (_KEYS_ARE_THERE if _repeats(case, index) else 1.0)

    def _pays(
        self, case: Case, cost: float, tried: tuple[TrialPlan, IndexDefinition], *, further: bool
    ) -> bool:
        """Whether an index saves enough to be worth its size."""
        found, index = tried
        share = _WORTH_OF_MORE if further else _WORTH
        least = _LEAST_SAVED if further or index.include else 0.0
        if index.include and _repeats(case, index):
            least = _LEAST_SAVED_BY_REPEATING
        most = min(cost * share * self._doubt(case, index), cost - least)
        return found.cost is not None and found.cost <= most

    def _is_small(self, index: IndexDefinition) -> bool:
        """Whether a condition leaves out more than half of the rows."""
        whole = IndexDefinition(table=index.table, schema=index.schema, keys=index.keys)
        sizes = self.size_bytes(index), self.size_bytes(whole)
        return sizes[0] is not None and sizes[1] is not None and sizes[0] < sizes[1] * 0.5

    def _is_skewed(self, case: Case, access: Access, index: IndexDefinition) -> bool:
        """Whether all that an index offers are values that many rows have in common.

        Where the rows that came were counted, they tell which values are asked for.
        """
        held = {*access.equal, *access.listed}
        if index.predicate is not None or not all(key in held for key in index.keys):
            return False
        columns = [key.column for key in index.keys if key.column is not None]
        if len(columns) < len(index.keys):
            return False
        observed = _observed_share(case, access)
        share = self._share(access, columns) if observed is None else observed
        return share is not None and share > _SKEWED

    def _is_unbounded(self, case: Case, access: Access, index: IndexDefinition) -> bool:
        """Whether all that an index offers is a range that may hold most of the rows.

        Ranges of time are narrow as a rule. How wide those of other columns are only the rows tell
        that came, so without them a planner's guess is no reason for an index.
        """
        first = index.keys[0]
        if first not in access.bounds or first in (*access.order[:1], *access.joined):
            return False
        column = access.facts.column(first.column or "")
        if column is not None and column.type.startswith(_TIMES):
            return False
        observed = _observed_share(case, access)
        return observed is None or observed > _SKEWED

    def _is_one_value(self, access: Access, index: IndexDefinition) -> bool:
        """Whether a partial index would be for one value of a column that has very many.

        Such a literal is an example in a statement that was written by hand, or one customer's.
        """
        if index.predicate is None:
            return False
        constants = access.constants or {}
        equal = {key.column for key in (*access.equal, *access.listed)}
        about = {
            column
            for text, column in constants.items()
            if text in index.predicate and column in equal and not text.endswith(" IS NULL")
        }
        shares = [self._share(access, [column]) for column in about if column is not None]
        return any(share is not None and share < _MANY_VALUED for share in shares)

    def _share(self, access: Access, columns: Sequence[str]) -> float | None:
        name = access.facts.name
        written = name if access.schema is None else f"{access.schema}.{name}"
        return self._trial.matched_share(written, columns)


def _repeats(case: Case, index: IndexDefinition) -> bool:
    """Whether the table has an index with the keys of a covering one."""
    known = [one.facts for one in case.accesses if one.facts.name == index.table]
    return any(exists(replace(index, include=()), one) for one in known)


def _observed_share(case: Case, access: Access) -> float | None:
    """The share of a table's rows that a statement kept, where that was counted."""
    rows, total = case.query.mean_rows, access.facts.rows_estimate
    if rows is None or not total or not access.plain:
        return None
    return rows / total


def _by_rule(access: Access, plain: Sequence[IndexDefinition]) -> list[IndexDefinition]:
    """What the rule of keys names first, where nothing can be tried."""
    absent = {
        column for text, column in (access.constants or {}).items() if text.endswith(" IS NULL")
    }
    # NULL is what most rows have in a column that is asked for it.
    useful = [one for one in plain if not absent.issuperset(one.columns)]
    if not useful:
        return []
    branches = [(key,) for key in access.branches]
    if branches and not (access.equal or access.listed or access.joined or access.ranges):
        # An OR takes an index for each of its branches, or none.
        each = [one for one in useful if one.keys in branches]
        return each if len(each) == len(branches) else []
    first = useful[0].keys
    longer = [one for one in useful[1:] if one.keys[: len(first)] == first]
    return [(longer or useful)[0]]
