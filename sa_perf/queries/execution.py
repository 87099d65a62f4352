"""One run of a statement, as a record that waits for its sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from sa_perf.queries.aggregate import Aggregate
    from sa_perf.queries.scopes import ScopeRun
    from sa_perf.queries.tally import Tally

__all__ = [
    "COUNTED", "OPEN", "PENDING", "Context", "Counted", "CountsFetches", "Execution",
    "LoggedExecution",
]  # fmt: skip

#: SQLAlchemy's DefaultExecutionContext, of which names are read that its interface lacks.
Context: TypeAlias = Any
#: An execution that is in no sum, one that was added while its result was open, and one that is
#: added with its rows.
PENDING, OPEN, COUNTED = range(3)


class LoggedExecution(Protocol):
    """The entry of a slow execution whose rows are still to be fetched."""

    duration_ns: int
    fetch_ns: int
    rows: int


class Counted(Protocol):
    """What an execution has to know of its statement."""

    aggregate: Aggregate
    recorder: CountsFetches
    slow_ns: int


class CountsFetches(Protocol):
    """Who is told what was fetched of a result."""

    slow_ns: int

    def fetched(
        self,
        opened: Execution,
        context: Context,
        *,
        collected: bool = False,
    ) -> None:
        """Count what was fetched since the execution was counted; log it if it is slow.

        Must not raise.

        Args:
            opened: the execution, complete.
            context: of the execution.
            collected: called by the garbage collector, so no lock may be taken.
        """


class Execution:
    """One run of a statement, and the record of it that waits to be added to the sums.

    The thread that fetches writes ``rows`` last and then reads ``counted``; whoever folds writes
    ``counted`` first and then reads ``rows``. So an execution is never counted without its rows;
    where both see the other, the record comes a second time and is left out (`COUNTED`).

    Attributes:
        shape: of the statement.
        run: scope in which it ran.
        ended_ns: end of the execute, on the perf_counter_ns clock.
        execute_ns: what the execute took.
        fetched_ns, fetch_ns: end and time of the fetches; only set with ``rows``.
        rows: fetched or changed; -1 while the result is open.
        counted: `PENDING`, `OPEN` or `COUNTED`.
        slow: its entry in the slow log, only set where its execute was slow.
        tally: what it repeats, where that is looked for.
    """

    __slots__ = (
        "counted", "ended_ns", "execute_ns", "fetch_ns", "fetched_ns", "rows", "run", "shape",
        "slow", "tally",
    )  # fmt: skip

    shape: Counted
    run: ScopeRun | None
    ended_ns: int
    execute_ns: int
    fetched_ns: int
    fetch_ns: int
    rows: int
    counted: int
    slow: LoggedExecution
    tally: Tally | None
