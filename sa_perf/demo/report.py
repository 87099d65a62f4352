"""What the demonstration found and measured; frozen, and its JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from sa_perf.finding import Finding
from sa_perf.json_values import encoded

if TYPE_CHECKING:
    from sa_perf.demo.paging import PageTimes
    from sa_perf.demo.retention import Purge
    from sa_perf.demo.workload import Answer
    from sa_perf.dialects import Plan
    from sa_perf.plans.index_advice import IndexAdvice
    from sa_perf.snapshot import Snapshot

__all__ = [
    "AppliedIndex",
    "Comparison",
    "RepeatedStatement",
    "Report",
    "TopQuery",
    "applied_index",
    "compare",
    "repeated_statements",
    "top_queries",
]

# Fewer repeats are a page's ordinary work; each of ten more is a round trip that a join saves.
_REPEATS_WORTH_TELLING = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TopQuery:
    """One of the statements that took most time.

    Attributes:
        fingerprint: id of the statement's shape.
        statement: the shape.
        calls: executions.
        total_seconds: sum of the durations.
        p95_seconds: 95th percentile of the durations.
        rows: rows fetched or changed.
        call_site: application line of the last slow execution; None where none was slow.
    """

    fingerprint: str
    statement: str
    calls: int
    total_seconds: float
    p95_seconds: float
    rows: int
    call_site: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedStatement:
    """A statement that each run of a scope issues again and again.

    Attributes:
        scope: the scope's name.
        runs: how often it ran.
        statements_per_run: statements that a run issues, on average.
        repeats_per_run: how many of them are this one.
        fingerprint: id of the statement's shape.
        statement: the shape.
    """

    scope: str
    runs: int
    statements_per_run: float
    repeats_per_run: float
    fingerprint: str
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedIndex:
    """An index that was advised, tried and then created.

    Attributes:
        statement: its ``CREATE INDEX``.
        model: the same for the model, as SQLAlchemy's ``Index``.
        alembic: the same for a migration.
        fingerprints: the statements that it was advised for, most saved time first.
        query: the first of them.
        before: lines of its plan.
        after: lines of its plan with the index, as it was tried.
        estimated_ratio: how many times as fast it was said to become; None if unknown.
        seconds: how long creating it took.
    """

    statement: str
    model: str
    alembic: str
    fingerprints: tuple[str, ...]
    query: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    estimated_ratio: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same requests before and after the remedies.

    Attributes:
        route: name of the requests' scope.
        remedies: what was changed, one a line.
        requests: how many were answered, each time.
        before_seconds: median time of a request, application code included.
        after_seconds: the same after the remedies.
        before_statements: statements a request, on average.
        after_statements: the same after the remedies.
        before_rows: rows that all requests returned.
        after_rows: the same after the remedies.
        same_rows: every request returned the same rows in the same order.
    """

    route: str
    remedies: tuple[str, ...]
    requests: int
    before_seconds: float
    after_seconds: float
    before_statements: float
    after_statements: float
    before_rows: int
    after_rows: int
    same_rows: bool

    @property
    def speedup_ratio(self) -> float:
        """Before divided by after; above 1 is faster."""
        return self.before_seconds / self.after_seconds if self.after_seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the demonstration.

    Attributes:
        tables: rows by table.
        database_bytes: size of the database file, before old flights went.
        load_seconds: time to fill it.
        requests: answered before the remedies.
        statements: recorded before the remedies.
        slow_seconds: threshold from which a statement counts as slow.
        top: statements with the most time, most first.
        repeated: statements that one request repeats, most first.
        findings: what sa_perf found, worst first.
        all_explained: every slow statement was explained in time.
        indexes: advised, tried and created.
        comparisons: fastest gain first.
        paging: the first and the deepest page, by each method.
        retention: what became of old flights; None where there were none.
        total_seconds: of the whole run.
        directory: of the database where it was kept, else None.
        snapshot: path of the written snapshot, else None.
    """

    tables: dict[str, int]
    database_bytes: int
    load_seconds: float
    requests: int
    statements: int
    slow_seconds: float
    top: tuple[TopQuery, ...]
    repeated: tuple[RepeatedStatement, ...]
    findings: tuple[Finding, ...]
    all_explained: bool
    indexes: tuple[AppliedIndex, ...]
    comparisons: tuple[Comparison, ...]
    paging: tuple[PageTimes, ...]
    retention: Purge | None
    total_seconds: float
    directory: str | None = None
    snapshot: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The report as JSON values; ratios are computed in."""
        comparisons = [
            {**asdict(one), "speedup_ratio": one.speedup_ratio} for one in self.comparisons
        ]
        retention = encoded(self.retention)
        return {**asdict(self), "comparisons": comparisons, "retention": retention}


def top_queries(snapshot: Snapshot, count: int) -> tuple[TopQuery, ...]:
    """The statements with the most time, with the line that last ran each slowly."""
    sites: dict[str, str] = {}
    for execution in snapshot.slow:
        if execution.call_site is not None:
            sites.setdefault(execution.fingerprint, str(execution.call_site))
    return tuple(
        TopQuery(
            fingerprint=query.fingerprint,
            statement=query.statement,
            calls=query.calls,
            total_seconds=query.total_seconds,
            p95_seconds=query.p95_seconds,
            rows=query.rows,
            call_site=sites.get(query.fingerprint),
        )
        for query in snapshot.top_queries(count, by="total_seconds")
    )


def repeated_statements(snapshot: Snapshot) -> tuple[RepeatedStatement, ...]:
    """Statements that a run of a scope issues ten times or more, most first."""
    statements = {query.fingerprint: query.statement for query in snapshot.queries}
    found = [
        RepeatedStatement(
            scope=scope.name,
            runs=scope.runs,
            statements_per_run=scope.statements / scope.runs,
            repeats_per_run=repeat.calls / scope.runs,
            fingerprint=repeat.fingerprint,
            statement=statements.get(repeat.fingerprint, ""),
        )
        for scope in snapshot.scopes
        for repeat in scope.repeats
        if repeat.calls >= _REPEATS_WORTH_TELLING * scope.runs
    ]
    return tuple(sorted(found, key=lambda one: one.repeats_per_run, reverse=True))


def applied_index(advice: IndexAdvice, seconds: float) -> AppliedIndex:
    """An index that was advised, and made in ``seconds``."""
    first = advice.gains[0]
    after = first.plan_after
    return AppliedIndex(
        statement=advice.create_sql,
        model=advice.index,
        alembic=advice.alembic_upgrade,
        fingerprints=tuple(gain.fingerprint for gain in advice.gains),
        query=first.statement,
        before=_steps(first.plan_before),
        after=() if after is None else _steps(after),
        estimated_ratio=first.speedup_ratio,
        seconds=seconds,
    )


def _steps(plan: Plan) -> tuple[str, ...]:
    return tuple(node.label for node in plan.root.walk() if node is not plan.root)


def compare(
    route: str,
    remedies: Sequence[str],
    *,
    before: Sequence[Answer],
    after: Sequence[Answer],
    statements: tuple[float, float],
) -> Comparison:
    """Set two runs of the same requests side by side.

    Args:
        route: name of the requests' scope.
        remedies: what was changed.
        before: answers in the order of the requests; at least one.
        after: as ``before``.
        statements: statements a request, before and after.
    """
    return Comparison(
        route=route,
        remedies=tuple(remedies),
        requests=len(before),
        before_seconds=median(answer.seconds for answer in before),
        after_seconds=median(answer.seconds for answer in after),
        before_statements=statements[0],
        after_statements=statements[1],
        before_rows=sum(len(answer.rows) for answer in before),
        after_rows=sum(len(answer.rows) for answer in after),
        same_rows=[answer.rows for answer in before] == [answer.rows for answer in after],
    )
