"""How a database would run a statement if it had other indexes.

A trial changes nothing in the database: it asks the planner with hypothetical indexes, or a copy of
the schema. Where a database offers no such thing, the trial says why and answers without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.errors import ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.plan import Plan

__all__ = ["IndexTrial", "TrialPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlan:
    """How a statement would be run.

    Attributes:
        plan: without literals.
        cost: in a unit of the trial's own, > 0; comparable within one trial only; None if unknown.
        used: those of the tried indexes that the plan uses.
        notes: what must hold for it, as sentences, e.g. that ANALYZE runs after the index is made.
    """

    plan: Plan
    cost: float | None
    used: tuple[IndexDefinition, ...] = ()
    notes: tuple[str, ...] = ()


class IndexTrial:
    """Tries indexes that do not exist. This one cannot: the portable answer.

    Args:
        dialect: of the database and its driver.
        dbapi_connection: one of sa_perf's own, in no transaction; not closed here.
        facts: of the tables that may be asked about, by the names that statements give them.
        timeout_seconds: limit for each question to the database, > 0.
    """

    #: What a plan may cost at most with a covering index, as a share of that without, for the index
    #: to be worth its size. Planners charge for rows as if they came from a disk; in memory they
    #: do not, so what such an index saves is overrated.
    covering_worth: ClassVar[float] = 0.35

    def __init__(
        self,
        dialect: Dialect,
        dbapi_connection: DBAPIConnection,
        facts: Mapping[str, TableFacts],
        *,
        timeout_seconds: float = 2.0,
    ) -> None:
        self.dialect = dialect
        self.dbapi_connection = dbapi_connection
        self.facts = facts
        self.timeout_seconds = timeout_seconds

    @property
    def unverified(self) -> str | None:
        """Why indexes cannot be tried here, as a sentence; None where they can."""
        return f"{self.dialect.title or self.dialect.name} has no hypothetical indexes."

    def plan(
        self,
        statement: str,
        indexes: Sequence[IndexDefinition] = (),
        *,
        rows_returned: float | None = None,
    ) -> TrialPlan:
        """Plan a statement for any values of its parameters, as if these indexes were there too.

        Args:
            statement: as it goes to the driver, or the shape of one, where ``?`` stands for a
                literal as well.
            indexes: to be tried together; none asks for the plan as it is.
            rows_returned: how many rows it gives on average, where that was observed.

        Raises:
            ExplainRefused: the statement has no plan, or the trial cannot tell.
            ExplainError: the database gave no plan, in words without values.
        """
        if indexes:
            raise ExplainRefused(self.unverified or "indexes cannot be tried here")
        plan = self.dialect.explain(
            self.dbapi_connection, statement, timeout_seconds=self.timeout_seconds
        )
        return TrialPlan(plan=plan, cost=plan.root.estimated_cost)

    def can_be_made(self, index: IndexDefinition) -> bool:
        """Whether the database would make an index, as far as that is known without trying."""
        return True

    def matched_share(self, table: str, columns: Sequence[str]) -> float | None:
        """Share of a table's rows that hold the same values as one of its rows drawn at random.

        High where values are skewed: 0.9 for a status that nine rows of ten have in common; an
        index on such a column pays for few values only. 0..1; None if unknown.

        Args:
            table: as in `facts`.
            columns: held equal together, one at least.
        """
        return None

    def size_bytes(self, index: IndexDefinition) -> int | None:
        """What an index would take on disk; None if unknown."""
        return None

    def close(self) -> None:
        """Give up what the trial holds besides its connection."""
