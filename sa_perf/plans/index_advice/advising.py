"""Advise indexes for a workload: candidates, tried, merged, ranked.

Nothing is changed in the database: the planner is asked with hypothetical indexes, or a copy of the
schema is. A statement costs some dozens of questions of about a millisecond each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sa_perf.dialects import DBAPIConnection, Dialect, TableFacts, dialect_for
from sa_perf.dialects.index_trials import IndexTrial, open_trial
from sa_perf.dialects.relations import tables_by_alias
from sa_perf.errors import ExplainError, ExplainRefused, SaPerfError
from sa_perf.plans.asking import ask, engine_of
from sa_perf.plans.index_advice.accesses import Tables
from sa_perf.plans.index_advice.candidates import popularity
from sa_perf.plans.index_advice.cases import CannotSay, Case, prepared
from sa_perf.plans.index_advice.choice import Choice
from sa_perf.plans.index_advice.chooser import Chooser
from sa_perf.plans.index_advice.results import AdviceReport, Unadvised, WorkloadQuery
from sa_perf.plans.index_advice.words import Words
from sa_perf.plans.index_advice.writes import writes_of
from sa_perf.tables import database_label

if TYPE_CHECKING:
    from sa_perf.plans.asking import Bind

__all__ = ["advise"]

#: Tables that one question to the catalog is about.
_TABLES_AT_ONCE = 50


def advise(
    bind: Bind,
    workload: Iterable[WorkloadQuery],
    *,
    limit: int = 200,
    least_speedup: float = 2.0,
    least_rows: int = 1_000,
    keep_literals: bool = False,
    timeout_seconds: float = 2.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AdviceReport:
    """Say which indexes would help a workload.

    Each index is tried before it is named: on SQLite in a copy of the schema and its statistics, on
    PostgreSQL by the extension HypoPG; elsewhere, or without HypoPG, what is named is marked as
    unverified, with the reason. Only what the planner then uses is named.

    Args:
        bind: session, connection or engine, synchronous or not; asked on a connection of its own.
        workload: statements with their calls and times, e.g. `Snapshot.workload`.
        limit: statements that are looked at, those that cost most first, >= 1.
        least_speedup: how many times as fast a statement must become by estimate, > 1.
        least_rows: smaller tables get no index, >= 0.
        keep_literals: show literals of the statements; partial indexes for constant conditions
            with literals need them.
        timeout_seconds: limit for each question to the database, > 0.
        progress: is told how many statements are done, and of how many.

    Raises:
        ExplainRefused: an argument is out of range, or ``bind`` cannot be asked.
        UnsupportedDatabase: no way to ask this database is known.
        ExplainError: the database does not answer; the driver's error is its cause.
    """
    if limit < 1 or not least_speedup > 1 or least_rows < 0 or not timeout_seconds > 0:
        raise ExplainRefused(
            f"limit={limit!r} is at least 1, least_speedup={least_speedup!r} above 1, "
            f"least_rows={least_rows!r} at least 0, timeout_seconds={timeout_seconds!r} above 0"
        )
    engine, connection = engine_of(bind, function="advise")
    queries = list(workload)
    ranked = sorted(queries, key=lambda one: one.calls * (one.mean_seconds or 1e-9), reverse=True)

    def work(dbapi_connection: DBAPIConnection) -> AdviceReport:
        advisor = _Advisor(
            dialect_for(engine),
            dbapi_connection,
            least_speedup=least_speedup,
            least_rows=least_rows,
            keep_literals=keep_literals,
            timeout_seconds=timeout_seconds,
            progress=progress,
        )
        return advisor.report(database_label(engine.url), queries, ranked[:limit])

    try:
        return ask(
            engine, connection, work, timeout_seconds=timeout_seconds, call="advise(s, workload)"
        )
    except SaPerfError:
        raise
    except Exception as error:  # the driver's: no connection, or one that was lost
        raise ExplainError(dialect_for(engine).reason(error, "", None)) from error


class _Advisor:
    """Makes one report on an open connection."""

    def __init__(
        self,
        dialect: Dialect,
        dbapi_connection: DBAPIConnection,
        *,
        least_speedup: float,
        least_rows: int,
        keep_literals: bool,
        timeout_seconds: float,
        progress: Callable[[int, int], None],
    ) -> None:
        self._dialect = dialect
        self._connection = dbapi_connection
        self._least_speedup = least_speedup
        self._least_rows = least_rows
        self._keep_literals = keep_literals
        self._timeout_seconds = timeout_seconds
        self._progress = progress

    def report(
        self, database: str, workload: Sequence[WorkloadQuery], examined: Sequence[WorkloadQuery]
    ) -> AdviceReport:
        dialect = self._dialect
        facts = self._facts(examined)
        tables = Tables.of(facts)
        words = Words(
            dialect,
            tables.facts,
            writes_of(workload, dialect),
            keep_literals=self._keep_literals,
        )
        trial = open_trial(dialect, self._connection, facts, timeout_seconds=self._timeout_seconds)
        try:
            cases, unadvised = self._cases(trial, tables, examined, words)
            popular = popularity(access for case in cases for access in case.accesses)
            chooser = Chooser(trial, popular, least_rows=self._least_rows)
            choice = Choice(chooser, least_speedup=self._least_speedup)
            for at, case in enumerate(cases):
                self._progress(len(examined) - len(cases) + at, len(examined))
                choice.add(case, unverified=trial.unverified)
            advice = words.advice(choice.settled(), trial.unverified)
            unadvised += words.withheld(choice.withheld, advice)
        finally:
            trial.close()
        self._progress(len(examined), len(examined))
        return AdviceReport(
            database=database,
            advice=advice,
            unadvised=tuple(unadvised),
            examined=len(examined),
            skipped=len(workload) - len(examined),
        )

    def _cases(
        self,
        trial: IndexTrial,
        tables: Tables,
        examined: Sequence[WorkloadQuery],
        words: Words,
    ) -> tuple[list[Case], list[Unadvised]]:
        cases, unadvised = [], []
        for query in examined:
            try:
                case = prepared(
                    query,
                    trial,
                    tables,
                    least_rows=self._least_rows,
                    keep_literals=self._keep_literals,
                )
            except CannotSay as reason:
                unadvised.append(words.unadvised(query, str(reason)))
                continue
            if case is not None:
                cases.append(case)
        return cases, unadvised

    def _facts(self, examined: Sequence[WorkloadQuery]) -> dict[str, TableFacts]:
        """Facts of the workload's tables, by the names that statements give them."""
        lexer = self._dialect.lexer
        names: dict[str, str] = {}
        for query in examined:
            for table in tables_by_alias(lexer.names_and_marks(query.statement)).values():
                names.setdefault(table.casefold(), table)
        wanted = sorted(names.values())
        found: dict[str, TableFacts] = {}
        for start in range(0, len(wanted), _TABLES_AT_ONCE):
            some = wanted[start : start + _TABLES_AT_ONCE]
            try:
                found |= self._dialect.table_facts(self._connection, some)
            except Exception as error:
                raise ExplainError(self._dialect.reason(error, "", None)) from error
        return found
