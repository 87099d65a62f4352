"""What each scope's runs issued: statements, time, repeats in one run.

Bounded: 500 scope names (the rest is summed as "other"), 1,000 open runs, 200 shapes a run.
Everything is called under the statistics' lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sa_perf.queries.execution import COUNTED, Execution

if TYPE_CHECKING:
    from sa_perf.queries.aggregate import Aggregate
    from sa_perf.queries.scopes import ScopeRun

__all__ = ["Repeat", "ScopeStatistics", "ScopeStats"]

_MAX_SCOPES = 500
_MAX_OPEN_RUNS = 1_000
_MAX_SHAPES_A_RUN = 200
_REPEATS_SHOWN = 10
OTHER_SCOPES = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One statement that a scope issued more than once in a run.

    Attributes:
        fingerprint: of the statement.
        calls: in all runs together.
        max_calls: in the run that had most.
    """

    fingerprint: str
    calls: int
    max_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeStats:
    """What is known of one scope name; a frozen reading of the runs that have ended.

    Attributes:
        name: of the scope.
        runs: how often it ended.
        statements: issued in all runs, nested scopes included.
        max_statements: in the run that had most.
        rows: fetched or changed.
        database_seconds: time inside the driver, all runs.
        max_database_seconds: in the run that had most.
        total_seconds: time from enter to exit, all runs.
        repeats: statements issued more than once in a run, most in one run first; at most 10.
    """

    name: str
    runs: int
    statements: int
    max_statements: int
    rows: int
    database_seconds: float
    max_database_seconds: float
    total_seconds: float
    repeats: tuple[Repeat, ...] = ()


class _Tally:
    """Sums of one open run."""

    __slots__ = ("calls", "database_ns", "rows", "statements")

    def __init__(self) -> None:
        self.statements = self.rows = self.database_ns = 0
        self.calls: dict[Aggregate, int] = {}


class _Sums:
    """Sums of one scope name over its ended runs."""

    __slots__ = (
        "database_ns", "max_database_ns", "max_statements", "repeats", "rows", "runs",
        "statements", "total_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.runs = self.statements = self.max_statements = self.rows = 0
        self.database_ns = self.max_database_ns = self.total_ns = 0
        self.repeats: dict[Aggregate, list[int]] = {}

    def add(self, tally: _Tally) -> None:
        self.statements += tally.statements
        self.max_statements = max(self.max_statements, tally.statements)
        self.rows += tally.rows
        self.database_ns += tally.database_ns
        self.max_database_ns = max(self.max_database_ns, tally.database_ns)
        for key, calls in tally.calls.items():
            if calls > 1 and (key in self.repeats or len(self.repeats) < _MAX_SHAPES_A_RUN):
                known = self.repeats.setdefault(key, [0, 0])
                known[0] += calls
                known[1] = max(known[1], calls)


class ScopeStatistics:
    """Tallies of open runs and sums by scope name."""

    def __init__(self) -> None:
        self._open: dict[ScopeRun, _Tally] = {}
        self._sums: dict[str, _Sums] = {}

    def add(self, aggregate: Aggregate, execution: Execution) -> None:
        """Count an execution for its run and those around it."""
        fetched = execution.counted == COUNTED
        run = execution.run
        while run is not None:
            if not 0 < run.ended_ns < execution.ended_ns:
                tally = self._open.get(run) or self._opened(run)
                tally.database_ns += execution.execute_ns
                tally.statements += 1
                calls = tally.calls
                known = calls.get(aggregate)
                if known is not None:
                    calls[aggregate] = known + 1
                elif len(calls) < _MAX_SHAPES_A_RUN:
                    calls[aggregate] = 1
                # Not what was read after the scope had ended.
                if fetched and not 0 < run.ended_ns < execution.fetched_ns:
                    tally.rows += execution.rows
                    tally.database_ns += execution.fetch_ns
            run = run.parent

    def add_fetch(self, execution: Execution) -> None:
        """Count what was fetched of an execution that is counted."""
        run = execution.run
        while run is not None:
            if not 0 < run.ended_ns < execution.fetched_ns:
                tally = self._open.get(run) or self._opened(run)
                tally.rows += execution.rows
                tally.database_ns += execution.fetch_ns
            run = run.parent

    def end(self, run: ScopeRun) -> None:
        """Close a run's tally and add it to its name's sums."""
        sums = self._sums_of(run.name)
        sums.runs += 1
        sums.total_ns += run.ended_ns - run.started_ns
        tally = self._open.pop(run, None)
        sums.add(_Tally() if tally is None else tally)

    def stats(self, fingerprint: Callable[[Aggregate], str]) -> tuple[ScopeStats, ...]:
        """A frozen reading, most database time first."""
        ended = [(name, sums) for name, sums in self._sums.items() if sums.runs]
        read = [self._freeze(name, sums, fingerprint) for name, sums in ended]
        return tuple(sorted(read, key=lambda one: one.database_seconds, reverse=True))

    def clear(self) -> None:
        """Forget all runs."""
        self._open.clear()
        self._sums.clear()

    def _opened(self, run: ScopeRun) -> _Tally:
        if len(self._open) >= _MAX_OPEN_RUNS:
            # Scopes that are never left (an abandoned generator) must not pile up. It is no run
            # until it ends.
            oldest = next(iter(self._open))
            self._sums_of(oldest.name).add(self._open.pop(oldest))
        tally: _Tally = _Tally()
        self._open[run] = tally
        return tally

    def _sums_of(self, name: str) -> _Sums:
        if name not in self._sums and len(self._sums) >= _MAX_SCOPES:
            name = OTHER_SCOPES
        return self._sums.setdefault(name, _Sums())

    @staticmethod
    def _freeze(name: str, sums: _Sums, fingerprint: Callable[[Aggregate], str]) -> ScopeStats:
        ranked = sorted(sums.repeats.items(), key=lambda item: item[1][1], reverse=True)
        return ScopeStats(
            name=name,
            runs=sums.runs,
            statements=sums.statements,
            max_statements=sums.max_statements,
            rows=sums.rows,
            database_seconds=sums.database_ns / 1e9,
            max_database_seconds=sums.max_database_ns / 1e9,
            total_seconds=sums.total_ns / 1e9,
            repeats=tuple(
                Repeat(fingerprint=fingerprint(key), calls=calls, max_calls=most)
                for key, (calls, most) in ranked[:_REPEATS_SHOWN]
            ),
        )
