"""From indexes for each statement to few that serve them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sa_perf.dialects.index_trials import IndexDefinition, TrialPlan
from sa_perf.plans.index_advice.cases import Case, Chooser

__all__ = ["Choice", "Helped", "Settled"]

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
        serves statements that ask for the beginning of its keys.
        """
        selected = list(self._pool)
        while True:
            helped = self._helped(selected)
            touched = self._touched(selected, helped)
            useless = self._least_useful(selected, helped) or _harmful(selected, helped, touched)
            if useless is None:
                break
            selected.remove(useless)
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
) -> IndexDefinition | None:
    """An index that costs more in other statements than it saves; None if there is none."""
    for index in selected:
        saved = sum(one.case.weight for one in helped[index])
        lost = 0.0
        for one in touched[index]:
            before, after = one.case.before.cost, one.after.cost if one.after is not None else None
            if before and after is not None and after > before * _HARMED:
                lost += one.case.weight * (min(after / before, _MOST_HARMED) - 1.0)
        if lost > saved:
            return index
    return None


def _is_cheaper(before: TrialPlan, after: TrialPlan, ratio: float) -> bool:
    return before.cost is not None and after.cost is not None and before.cost >= after.cost * ratio


def _begins(one: IndexDefinition, other: IndexDefinition) -> bool:
    """Whether another index of the same table begins with all keys of one."""
    same = (one.table, one.schema, one.predicate) == (other.table, other.schema, other.predicate)
    longer = len(other.keys) > len(one.keys)
    return same and longer and other.keys[: len(one.keys)] == one.keys
