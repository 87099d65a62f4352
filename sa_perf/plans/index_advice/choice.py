"""From indexes for each statement to few that serve them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sa_perf.dialects.index_trials import IndexDefinition, TrialPlan
from sa_perf.plans.index_advice.cases import Case
from sa_perf.plans.index_advice.chooser import Chooser

__all__ = ["Choice", "Helped", "Settled", "Withheld"]

#: An index must make a statement that many times as cheap as the others do without it; more where
#: it is a covering one, which is bigger, or where another begins with its keys.
_NEEDED = 1.25
_NEEDED_IF_COVERING = 3.0
_NEEDED_BESIDE_LONGER = 2.0
#: A statement that costs that many times as much with an index is harmed by it; how much is not
#: taken for more than the second.
_HARMED = 1.5
_MOST_HARMED = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Helped:
    """A statement that an index helps.

    Attributes:
        case: the statement.
        after: how it runs with all chosen indexes; None where they could not be tried.
    """

    case: Case
    after: TrialPlan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An index that was chosen.

    Attributes:
        index: which.
        helped: what it is for.
        touched: statements that would use it too, without becoming so much cheaper.
        size_bytes: what it takes on disk; None if unknown.
    """

    index: IndexDefinition
    helped: tuple[Helped, ...]
    touched: tuple[Helped, ...] = ()
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """An index that costs more in other statements than it saves.

    Attributes:
        index: which.
        helped: what it would be for.
        harmed: what it makes dearer, where it costs most first.
    """

    index: IndexDefinition
    helped: tuple[Helped, ...]
    harmed: tuple[Helped, ...]


class Choice:
    """Gathers what each statement would take, and settles on what serves them together.

    Args:
        chooser: that tries.
        least_speedup: how many times as cheap a statement must become.
    """

    def __init__(self, chooser: Chooser, *, least_speedup: float) -> None:
        self._chooser = chooser
        self._least = least_speedup
        self._cases: list[Case] = []
        self._others: list[Case] = []
        self._pool: dict[IndexDefinition, None] = {}
        self._guessed: dict[IndexDefinition, list[Case]] = {}
        self.withheld: tuple[Withheld, ...] = ()

    def add(self, case: Case, *, unverified: str | None) -> None:
        """Choose for one statement; of one that is cheap only know that it is there."""
        if case.cheap:
            self._others.append(case)
            return
        if unverified is not None:
            for index in self._chooser.guess(case):
                self._guessed.setdefault(index, []).append(case)
            return
        chosen = self._chooser.choose(case)
        (self._cases if chosen else self._others).append(case)
        self._pool.update(dict.fromkeys(chosen))

    def settled(self) -> list[Settled]:
        """The indexes that are worth making, in no order.

        What another one does nearly as well is dropped, the least useful first; so one index
        serves statements that ask for the beginning of its keys. One that others would be harmed by
        is made wide enough for them too, or `withheld`.
        """
        selected, withheld = list(self._pool), []
        widened: set[IndexDefinition] = set()
        while True:
            helped = self._helped(selected)
            useless = self._least_useful(selected, helped)
            if useless is not None:
                selected.remove(useless)
                continue
            touched = self._touched(selected, helped)
            harmful = _harmful(selected, helped, touched)
            if harmful is None:
                break
            selected.remove(harmful.index)
            wider = self._widened(harmful, selected)
            if wider is None or wider in widened:
                withheld.append(harmful)
                continue
            widened.add(wider)
            selected.append(wider)
        self.withheld = tuple(withheld)
        found = [
            Settled(
                index=index,
                helped=tuple(helped[index]),
                touched=tuple(touched[index]),
                size_bytes=self._chooser.size_bytes(index),
            )
            for index in selected
        ]
        return [*found, *self._guesses()]

    def _widened(
        self, harmful: Withheld, others: Sequence[IndexDefinition]
    ) -> IndexDefinition | None:
        """The index with what the harmed statements read too; None where that is no remedy."""
        wider = self._chooser.widened(harmful.index, [one.case for one in harmful.harmed])
        if wider is None or wider in others:
            return None
        chosen = [*others, wider]
        for one in harmful.harmed:
            after = self._chooser.plan(one.case, chosen)
            if after is None or _ratio(one.case.before, after) > _HARMED:
                return None
        kept = {id(one.case) for one in self._helped(chosen)[wider]}
        return wider if all(id(one.case) in kept for one in harmful.helped) else None

    def _touched(
        self, selected: Sequence[IndexDefinition], helped: Mapping[IndexDefinition, list[Helped]]
    ) -> dict[IndexDefinition, list[Helped]]:
        """Each index -> statements that the planner would use it for as well."""
        gaining = {id(one.case) for several in helped.values() for one in several}
        found: dict[IndexDefinition, list[Helped]] = {index: [] for index in selected}
        for case in (*self._cases, *self._others):
            after = None if id(case) in gaining else self._chooser.plan(case, selected)
            for index in after.used if after is not None else ():
                found[index].append(Helped(case=case, after=after))
        return found

    def _guesses(self) -> list[Settled]:
        # One that begins another is served by it.
        kept = [
            one
            for one in self._guessed
            if not any(_begins(one, other) for other in self._guessed if other is not one)
        ]
        return [
            Settled(
                index=index,
                helped=tuple(
                    Helped(case=case, after=None)
                    for other, cases in self._guessed.items()
                    if other is index or _begins(other, index)
                    for case in cases
                ),
                size_bytes=self._chooser.size_bytes(index),
            )
            for index in kept
        ]

    def _helped(self, selected: Sequence[IndexDefinition]) -> dict[IndexDefinition, list[Helped]]:
        """Each index -> statements that become so much cheaper by using it."""
        found: dict[IndexDefinition, list[Helped]] = {index: [] for index in selected}
        for case in self._cases:
            after = self._chooser.plan(case, selected)
            if after is None or not _is_cheaper(case.before, after, self._least):
                continue
            for index in after.used:
                found[index].append(Helped(case=case, after=after))
        return found

    def _least_useful(
        self,
        selected: Sequence[IndexDefinition],
        helped: dict[IndexDefinition, list[Helped]],
    ) -> IndexDefinition | None:
        """An index without which all its statements do about as well; None if there is none."""

        def weight(index: IndexDefinition) -> tuple[bool, float]:
            return not index.include, sum(each.case.weight for each in helped[index])

        for index in sorted(selected, key=weight):
            others = [one for one in selected if one is not index]
            longer = any(_begins(index, one) for one in others)
            needed = _NEEDED_IF_COVERING if index.include else _NEEDED
            needed = max(needed, _NEEDED_BESIDE_LONGER) if longer else needed
            if not any(self._needs(each, others, needed) for each in helped[index]):
                return index
        return None

    def _needs(self, helped: Helped, others: Sequence[IndexDefinition], needed: float) -> bool:
        without = self._chooser.plan(helped.case, others)
        if without is None or helped.after is None:
            return True
        if needed <= _NEEDED and set(without.notes) - set(helped.after.notes):
            return True  # it would do under a condition that does not hold yet
        return _is_cheaper(without, helped.after, needed)


def _harmful(
    selected: Sequence[IndexDefinition],
    helped: Mapping[IndexDefinition, list[Helped]],
    touched: Mapping[IndexDefinition, list[Helped]],
) -> Withheld | None:
    """An index that costs more in other statements than it saves; None if there is none."""
    for index in selected:
        saved = sum(one.case.weight for one in helped[index])
        harmed = sorted((one for one in touched[index] if _lost(one) > 0), key=_lost, reverse=True)
        if sum(map(_lost, harmed)) > saved:
            return Withheld(index=index, helped=tuple(helped[index]), harmed=tuple(harmed))
    return None


def _lost(touched: Helped) -> float:
    """Seconds that a statement's calls would take longer."""
    ratio = 1.0 if touched.after is None else _ratio(touched.case.before, touched.after)
    return touched.case.weight * (min(ratio, _MOST_HARMED) - 1.0) if ratio > _HARMED else 0.0


def _ratio(before: TrialPlan, after: TrialPlan) -> float:
    """How many times as much a statement costs afterwards; 1 where that is unknown."""
    return after.cost / before.cost if before.cost and after.cost is not None else 1.0


def _is_cheaper(before: TrialPlan, after: TrialPlan, ratio: float) -> bool:
    return before.cost is not None and after.cost is not None and before.cost >= after.cost * ratio


def _begins(one: IndexDefinition, other: IndexDefinition) -> bool:
    """Whether another index of the same table begins with all keys of one."""
    same = (one.table, one.schema, one.predicate) == (other.table, other.schema, other.predicate)
    longer = len(other.keys) > len(one.keys)
    return same and longer and other.keys[: len(one.keys)] == one.keys
