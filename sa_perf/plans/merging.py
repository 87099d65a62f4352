"""Readings of several processes as one: how the database ran it.

Each function is associative and commutative: of each statement the newest reading counts, and of
equally new ones the one whose representation is the greatest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from sa_perf.plans.results import ExplainedStatement, SamplerHealth

if TYPE_CHECKING:
    from sa_perf.plans.history import PlanChange
    from sa_perf.plans.index_advice.results import AdviceReport

__all__ = [
    "MAX_PLANS",
    "merged_advice",
    "merged_plan_changes",
    "merged_plans",
    "merged_sampler_health",
]

#: Explained statements, and plan changes, that a merge keeps.
MAX_PLANS = 1_000

T = TypeVar("T")


def merged_plans(plans: Iterable[ExplainedStatement]) -> tuple[ExplainedStatement, ...]:
    """The last explained of each fingerprint and database; `MAX_PLANS` at most, newest first."""
    found = _greatest_of_each(plans, key=_statement, rank=lambda one: one.explained_at)
    # Twice, as sorting is stable: by the statement where they are equally new.
    found.sort(key=_statement)
    found.sort(key=lambda one: one.explained_at, reverse=True)
    return tuple(found[:MAX_PLANS])


def merged_plan_changes(changes: Iterable[PlanChange]) -> tuple[PlanChange, ...]:
    """The last change of each fingerprint and database; `MAX_PLANS` at most, newest first."""
    found = _greatest_of_each(changes, key=_statement, rank=lambda one: one.changed_at)
    found.sort(key=_statement)
    found.sort(key=lambda one: one.changed_at, reverse=True)
    return tuple(found[:MAX_PLANS])


def merged_advice(reports: Iterable[AdviceReport]) -> tuple[AdviceReport, ...]:
    """The report of each database that examined most statements, by the database's label."""
    found = _greatest_of_each(reports, key=lambda one: one.database, rank=lambda one: one.examined)
    return tuple(sorted(found, key=lambda one: one.database))


def merged_sampler_health(states: Iterable[SamplerHealth | None]) -> SamplerHealth | None:
    """The sums; alive where one of them is. None where there is none."""
    known = [one for one in states if one is not None]
    if not known:
        return None
    return SamplerHealth(
        queued=sum(one.queued for one in known),
        explained=sum(one.explained for one in known),
        failed=sum(one.failed for one in known),
        dropped=sum(one.dropped for one in known),
        timeouts=sum(one.timeouts for one in known),
        abandoned=sum(one.abandoned for one in known),
        alive=any(one.alive for one in known),
    )


def _statement(one: ExplainedStatement | PlanChange) -> tuple[str, bool, str]:
    return one.fingerprint, one.database is None, one.database or ""


def _greatest_of_each(
    ones: Iterable[T],
    *,
    key: Callable[[T], Hashable],
    rank: Callable[[T], Any],  # whatever has an order
) -> list[T]:
    best: dict[Hashable, T] = {}
    for one in ones:
        known = best.get(key(one))
        # The text of a plan is long: it is asked for only where it decides.
        if (
            known is None
            or rank(one) > rank(known)
            or (rank(one) == rank(known) and one != known and repr(one) > repr(known))
        ):
            best[key(one)] = one
    return list(best.values())
