"""Queries of the corpus run as an application runs them, and their workload."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Executable, event

from corpus.queries import CorpusQuery, Schema
from sa_perf.plans.index_advice import WorkloadQuery

__all__ = ["Asked", "Measured", "applied", "measured", "run", "sent", "workload"]

#: A run that takes longer is not repeated; after one that takes longest no other values are tried.
_SLOW_SECONDS = 0.3
#: One that is fast is repeated for so long, where any is repeated.
_SHORT_SECONDS = 0.005
_SLOWEST_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Runs of a query.

    Attributes:
        times: the least for each set of values, in seconds; a slow query has fewer of them.
        rows: mean of what came back, or was changed.
        statement: as it went to the driver.
    """

    times: tuple[float, ...]
    rows: float
    statement: str

    @property
    def seconds(self) -> float:
        """Mean over the sets of values."""
        return statistics.fmean(self.times)

    def over(self, later: Measured) -> float:
        """How many times as long as ``later`` it took, for the values that both were run with."""
        both = list(zip(self.times, later.times, strict=False))
        return sum(one for one, _ in both) / sum(other for _, other in both)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query of the corpus as sa_perf would have recorded it."""

    query: CorpusQuery
    measured: Measured
    recorded: WorkloadQuery


def run(connection: Connection, statement: Executable, values: Mapping[str, Any]) -> int:
    """Run a statement and take it back; the number of rows that came back or were changed."""
    with connection.begin() as transaction:
        kept = {"preserve_rowcount": True}
        result = connection.execute(statement, values, execution_options=kept)
        rows = len(result.all()) if result.returns_rows else result.rowcount
        transaction.rollback()
    return rows


def measured(
    connection: Connection, query: CorpusQuery, sets: Sequence[Mapping[str, Any]], *, repeats: int
) -> Measured:
    """Time a query for each set of values."""
    statement = query.said_to(connection.dialect.name)
    assert statement is not None
    times: list[float] = []
    rows = []
    with sent(connection.engine) as statements:
        run(connection, statement, sets[0])  # its pages, its compiled text
        for values in sets:
            several: list[float] = []
            while len(several) < repeats or (repeats > 1 and sum(several) < _SHORT_SECONDS):
                started = time.perf_counter()
                count = run(connection, statement, values)
                several.append(time.perf_counter() - started)
                if several[-1] > _SLOW_SECONDS:
                    break
            times.append(min(several))
            rows.append(count)
            if times[-1] > _SLOWEST_SECONDS:
                break
    statement_sent, _ = statements[0]
    return Measured(times=tuple(times), rows=statistics.fmean(rows), statement=statement_sent)


@contextlib.contextmanager
def sent(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that go to the driver meanwhile, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", listen)


def workload(
    connection: Connection, schema: Schema, *, scale: float = 1.0, repeats: int = 1
) -> dict[str, Asked]:
    """Each query of a schema, run and measured, by its name."""
    rows = schema.rows(scale)
    found = {}
    for query in schema.queries_of(connection.dialect.name):
        one = measured(connection, query, query.values(rows), repeats=repeats)
        recorded = WorkloadQuery(
            fingerprint=query.name,
            statement=one.statement,
            calls=query.calls,
            mean_seconds=one.seconds,
            mean_rows=one.rows,
        )
        found[query.name] = Asked(query=query, measured=one, recorded=recorded)
    return found


@contextlib.contextmanager
def applied(
    connection: Connection, statements: Sequence[str], *, statistics: bool = True
) -> Iterator[None]:
    """Indexes that exist meanwhile, by the statements that make them."""
    names = []
    statements = [one.replace(" CONCURRENTLY", "") for one in statements]  # it stands alone
    try:
        for statement in statements:
            connection.exec_driver_sql(statement)
            names.append(statement.split()[2])
        if statistics:
            _gather(connection, statements)
        connection.commit()
        yield
    finally:
        connection.rollback()
        for name in names:
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
        connection.commit()


def _gather(connection: Connection, statements: Sequence[str]) -> None:
    """What has to be known of an index: SQLite counts it, PostgreSQL samples its expressions."""
    if connection.dialect.name == "sqlite":
        for statement in statements:
            connection.exec_driver_sql(f"ANALYZE {statement.split()[2]}")
        return
    for table in {statement.split()[4] for statement in statements}:
        connection.exec_driver_sql(f"ANALYZE {table}")
