"""One statement: what it asks for, and how it runs now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sa_perf.dialects import Dialect, TableFacts
from sa_perf.dialects.index_trials import IndexTrial, TrialPlan
from sa_perf.errors import ExplainError, ExplainRefused
from sa_perf.plans.index_advice.accesses import Access, Tables, accesses
from sa_perf.plans.index_advice.results import WorkloadQuery
from sa_perf.plans.predicates import read

__all__ = ["CannotSay", "Case", "prepared"]

_SCANS = frozenset({"full_scan", "index_full_scan", "index_scan", "bitmap_scan", "automatic_index"})
#: What takes less time is mostly the way to the database and back.
_LEAST_SECONDS = 0.0002
#: What statements begin with that are recorded, and that no index is for.
_READ_NOTHING = frozenset({
    "abort", "alter", "analyze", "attach", "begin", "checkpoint", "close", "cluster", "comment",
    "commit", "create", "deallocate", "detach", "discard", "drop", "end", "fetch", "flush",
    "grant", "kill", "listen", "lock", "move", "notify", "optimize", "pragma", "prepare",
    "refresh", "reindex", "release", "rename", "reset", "revoke", "rollback", "savepoint",
    "set", "show", "start", "truncate", "unlisten", "unlock", "use", "vacuum", "xa",
})  # fmt: skip
_FIRST_WORD = re.compile(r"[\s(]*([^\W\d_]\w*)")


class CannotSay(Exception):
    """Why nothing can be said about a statement, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A statement that might gain by indexes.

    Attributes:
        query: of the workload.
        accesses: what it asks each table for.
        before: how it runs now.
        cheap: it is fast enough; it is looked at lest an index for others makes it slow.
    """

    query: WorkloadQuery
    accesses: tuple[Access, ...]
    before: TrialPlan
    cheap: bool = False

    @property
    def weight(self) -> float:
        """Seconds that its calls took; calls alone where nothing was measured."""
        return self.query.calls * (self.query.mean_seconds or 1e-9)

    def tables(self) -> set[str]:
        """Names of its tables, in lower case."""
        return {access.facts.name.casefold() for access in self.accesses}


def prepared(
    query: WorkloadQuery,
    trial: IndexTrial,
    tables: Tables,
    *,
    least_rows: int,
    keep_literals: bool,
) -> Case | None:
    """Read a statement and plan it as it is; None where no index can help it.

    Raises:
        CannotSay: it cannot be read or planned.
    """
    dialect, facts = trial.dialect, tables.facts
    try:
        dialect.require_explainable(query.statement)
    except ExplainRefused as error:
        if _reads_nothing(query.statement, dialect):
            return None
        raise CannotSay(str(error)) from error
    reading = read(
        query.statement, dialect=dialect, facts=facts, shape=True, keep_literals=keep_literals
    )
    found = tuple(accesses(reading, dialect=dialect, tables=tables))
    try:
        before = trial.plan(query.statement, rows_returned=query.mean_rows)
    except (ExplainError, ExplainRefused) as error:
        raise CannotSay(str(error)) from error
    scanned = _big_scans(before, facts, least_rows)
    if not scanned:
        return None
    if not reading.blocks:
        raise CannotSay("its text could not be read.")
    if scanned.isdisjoint(access.facts.name.casefold() for access in found):
        named = {name for block in reading.blocks for name in block.tables.values()}
        views = sorted(name for name in named if name.casefold() not in facts)
        if not views:
            return None
        raise CannotSay(f"it reads {', '.join(views)}, whose own statement is not looked into.")
    cheap = query.mean_seconds is not None and query.mean_seconds < _LEAST_SECONDS
    return Case(query=query, accesses=found, before=before, cheap=cheap)


def _reads_nothing(statement: str, dialect: Dialect) -> bool:
    """Whether a statement without a plan is none that an index could be for, or no statement."""
    word = _FIRST_WORD.match(next(iter(dialect.lexer.statements(statement)), ""))
    return word is None or word[1].casefold() in _READ_NOTHING


def _big_scans(before: TrialPlan, facts: Mapping[str, TableFacts], least_rows: int) -> set[str]:
    """Big tables of which a plan reads many rows, or may."""
    found = set()
    for node in before.plan.root.walk():
        name = (node.relation or "").casefold()
        known = facts.get(name)
        rows = known.rows_estimate if known is not None else node.examined_rows
        # One that the statement does not name is a view's, and may be of any size.
        if rows is None and known is None:
            rows = least_rows
        if node.operation in _SCANS and (rows or 0.0) >= least_rows:
            found.add(name)
    return found
