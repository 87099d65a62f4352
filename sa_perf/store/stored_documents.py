"""What is read of slow executions, plans and repetitions in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select

from sa_perf.call_site import CallSite
from sa_perf.json_values import decoded
from sa_perf.plans.history import PlanChange
from sa_perf.plans.index_advice.results import AdviceReport
from sa_perf.plans.merging import MAX_PLANS, merged_advice, merged_plan_changes, merged_plans
from sa_perf.plans.results import ExplainedStatement
from sa_perf.queries.merging import MAX_SLOW, merged_eager_loads, merged_repeats, merged_slow
from sa_perf.queries.over_eager import EagerLoadStats
from sa_perf.queries.repeats import RepeatStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.resources.readings import Resources
from sa_perf.retention.statistics import PolicyStats, merged_policies
from sa_perf.store.stored_samples import read_samples
from sa_perf.store.tables import documents, slow, statements

__all__ = ["Documents", "read_documents"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What a window holds beside sums, as the fields of a snapshot of these names."""

    slow: tuple[SlowExecution, ...] = ()
    plans: tuple[ExplainedStatement, ...] = ()
    plan_changes: tuple[PlanChange, ...] = ()
    repeats: tuple[RepeatStats, ...] = ()
    eager_loads: tuple[EagerLoadStats, ...] = ()
    advice: tuple[AdviceReport, ...] = ()
    retention: tuple[PolicyStats, ...] = ()
    resources: Resources | None = None
    unreadable: int = field(default=0, kw_only=True)


def read_documents(connection: Connection, begin: int, end: int) -> Documents:
    """Read what was seen within a window; what is damaged is left out and counted.

    Plans and advice may be older: what was found out of a statement last holds until it is found
    out anew. Repetitions are the sums of processes, since their start, that had them in the window.

    Args:
        connection: to the store.
        begin: seconds since 1970.
        end: likewise.
    """
    reading = _Reading(connection, begin, end)
    changes = merged_plan_changes(reading.of(PlanChange, "plan_changes", since_ever=False))
    return Documents(
        slow=merged_slow(reading.slow()),
        plans=merged_plans(reading.of(ExplainedStatement, "plans", since_ever=True)),
        plan_changes=tuple(one for one in changes if begin <= one.changed_at.timestamp() < end),
        repeats=merged_repeats(reading.of(RepeatStats, "repeats", since_ever=False)),
        eager_loads=merged_eager_loads(reading.of(EagerLoadStats, "eager_loads", since_ever=False)),
        advice=merged_advice(reading.of(AdviceReport, "advice", since_ever=True)),
        retention=merged_policies(reading.of(PolicyStats, "retention", since_ever=False)),
        resources=read_samples(connection, begin, end),
        unreadable=reading.unreadable,
    )


class _Reading:
    """Reads rows of a window and counts those that are damaged."""

    def __init__(self, connection: Connection, begin: int, end: int) -> None:
        self._connection = connection
        self._begin = begin
        self._end = end
        self.unreadable = 0

    def of(self, kind: type[T], name: str, *, since_ever: bool) -> list[T]:
        """Documents of a kind, the last seen first."""
        wanted = select(documents.c.document).where(
            documents.c.kind == name, documents.c.seen_at < self._end
        )
        if not since_ever:
            wanted = wanted.where(documents.c.seen_at >= self._begin)
        newest = wanted.order_by(documents.c.seen_at.desc())
        if since_ever:
            newest = newest.limit(MAX_PLANS)
        return list(self._read(newest, lambda row: decoded(kind, json.loads(row[0]))))

    def slow(self) -> list[SlowExecution]:
        """The last slow executions."""
        wanted = (
            select(slow, *(statements.c[one] for one in _OF_STATEMENT))
            .join(statements, statements.c.id == slow.c.statement_id)
            .where(slow.c.ended_at >= self._begin, slow.c.ended_at < self._end)
            .order_by(slow.c.ended_at.desc())
            .limit(MAX_SLOW)
        )
        return list(self._read(wanted, _slow_execution))

    def _read(self, wanted: Select[Any], read: Callable[[Any], T]) -> Iterator[T]:
        for row in self._connection.execute(wanted):
            try:
                one = read(row)
            except (ValueError, TypeError, OverflowError, RecursionError):
                self.unreadable += 1
                continue
            yield one


_OF_STATEMENT = ("fingerprint", "statement", "database_label")


def _slow_execution(row: Any) -> SlowExecution:  # noqa: ANN401  # a row of the SELECT above
    site = None if row.call_site is None else decoded(CallSite, json.loads(row.call_site))
    scope = json.loads(row.scope)
    if not isinstance(scope, list):
        raise TypeError(type(scope))
    return SlowExecution(
        fingerprint=row.fingerprint,
        statement=row.statement,
        database=row.database_label,
        ended_at=datetime.fromtimestamp(row.ended_at, timezone.utc),
        duration_seconds=float(row.duration_seconds),
        fetch_seconds=float(row.fetch_seconds),
        rows=int(row.row_count),
        call_site=site,
        scope=tuple(str(one) for one in scope),
    )
