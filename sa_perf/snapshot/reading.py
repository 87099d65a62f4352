"""One frozen reading of everything; its JSON form is a contract.

`Snapshot.to_dict` gives plain JSON values with a ``schema`` number; `Snapshot.from_dict` reads
every schema up to `SCHEMA`. Fields are added without a new number, so unknown ones are skipped; a
field that changes its meaning raises the number. The JSON Schema is
``docs/reference/snapshot.schema.json``.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Literal, TypeAlias, cast

from sa_perf.errors import InvalidSnapshot
from sa_perf.finding import Finding
from sa_perf.json_values import JSONValue, decoded, encoded
from sa_perf.plans.history import PlanChange, finding_of_change
from sa_perf.plans.index_advice.results import AdviceReport, WorkloadQuery
from sa_perf.plans.merging import (
    merged_advice,
    merged_plan_changes,
    merged_plans,
)
from sa_perf.plans.sampler import ExplainedStatement
from sa_perf.queries.aggregate import OTHER, QueryStats
from sa_perf.queries.merging import (
    merged_eager_loads,
    merged_queries,
    merged_repeats,
    merged_scopes,
    merged_slow,
    merged_transactions,
)
from sa_perf.queries.over_eager import EagerLoadStats
from sa_perf.queries.repeat_findings import repeat_findings
from sa_perf.queries.repeats import RepeatStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.queries.transactions import TransactionStats
from sa_perf.resources.merging import merged_resources
from sa_perf.resources.readings import Resources, resource_findings
from sa_perf.retention.statistics import PolicyStats, merged_policies
from sa_perf.snapshot.parts import (
    Database,
    Health,
    StoreHealth,
    merged_databases,
    merged_health,
    merged_store_health,
)

__all__ = [
    "SCHEMA", "QueryOrder", "Snapshot", "derived_findings", "findings_of", "ranked_findings",
]  # fmt: skip

SCHEMA = 1

QueryOrder: TypeAlias = Literal[
    "total_seconds", "mean_seconds", "max_seconds", "p50_seconds", "p95_seconds", "p99_seconds",
    "calls", "rows", "errors", "fetch_seconds",
]  # fmt: skip
_SEVERITIES = ("critical", "warning", "info")
_ORDERS = QueryOrder.__args__  # type: ignore[attr-defined]  # a Literal's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that one process has recorded so far.

    Attributes:
        taken_at: aware UTC.
        started_at: since when it is recorded, aware UTC.
        service: name of the application; None where it was not set.
        host: name of the machine.
        pid: process id.
        slow_seconds: the threshold in force.
        databases: one for each engine seen.
        queries: per fingerprint and database, most total time first; what was evicted stands
            under the fingerprint "other".
        scopes: per scope name, most database time first.
        transactions: all databases together.
        slow: last slow executions, newest first.
        plans: explained statements, newest first.
        plan_changes: statements that are run in another way than before, newest change first.
        repeats: what is issued one by one, most wasted time first.
        eager_loads: what was loaded eagerly in scopes, where that is counted, most loads in vain
            first.
        findings: worst first.
        advice: indexes that would help, by the last call of `Instrumentation.advise`, one report
            for each database.
        retention: retention policies that this process has run, by name.
        health: of sa_perf itself.
        store: of what is sent to the store; None where there is none.
        resources: of the process, its machine and databases; None where they are not watched.
        processes: how many readings it is merged of, see `merge`.
    """

    taken_at: datetime
    started_at: datetime
    service: str | None = None
    host: str
    pid: int
    slow_seconds: float
    databases: tuple[Database, ...] = ()
    queries: tuple[QueryStats, ...] = ()
    scopes: tuple[ScopeStats, ...] = ()
    transactions: TransactionStats = field(default_factory=TransactionStats)
    slow: tuple[SlowExecution, ...] = ()
    plans: tuple[ExplainedStatement, ...] = ()
    plan_changes: tuple[PlanChange, ...] = ()
    repeats: tuple[RepeatStats, ...] = ()
    eager_loads: tuple[EagerLoadStats, ...] = ()
    findings: tuple[Finding, ...] = ()
    advice: tuple[AdviceReport, ...] = ()
    retention: tuple[PolicyStats, ...] = ()
    health: Health = field(default_factory=Health)
    store: StoreHealth | None = None
    resources: Resources | None = None
    processes: int = 1

    @property
    def calls(self) -> int:
        """Executions recorded."""
        return sum(query.calls for query in self.queries)

    @property
    def errors(self) -> int:
        """Executions and fetches that raised."""
        return sum(query.errors for query in self.queries)

    @property
    def total_seconds(self) -> float:
        """Time inside the driver."""
        return sum(query.total_seconds for query in self.queries)

    def top_queries(
        self, limit: int = 10, *, by: QueryOrder = "total_seconds"
    ) -> tuple[QueryStats, ...]:
        """The queries with the highest value of ``by``, highest first.

        Args:
            limit: how many at most, >= 0.
            by: attribute of `QueryStats`.

        Raises:
            ValueError: ``by`` is no order.
        """
        if by not in _ORDERS:
            message = f"cannot order by {by!r}; orders are: {', '.join(_ORDERS)}"
            raise ValueError(message)
        ranked = sorted(self.queries, key=attrgetter(by), reverse=True)
        return tuple(ranked[: max(0, limit)])

    def query(self, fingerprint: str) -> QueryStats | None:
        """The first query whose fingerprint begins with the given one; None where none does."""
        return next((one for one in self.queries if one.fingerprint.startswith(fingerprint)), None)

    def plan(self, fingerprint: str) -> ExplainedStatement | None:
        """The explained statement of a fingerprint (or its beginning); None where there is none."""
        return next((one for one in self.plans if one.fingerprint.startswith(fingerprint)), None)

    def of_database(self, label: str) -> Snapshot:
        """The same reading with the queries, slow executions, plans and repeats of one database.

        Findings about other databases go too. Scopes and transactions stay those of all databases
        together; a plan that does not say its database stays as well.

        Args:
            label: of one of `databases`.
        """
        mine = {None, label}
        findings = list(self.findings)
        others = [
            *(each for one in self.plans if one.database not in mine for each in one.findings),
            *(finding_of_change(one) for one in self.plan_changes if one.database not in mine),
            *repeat_findings([one for one in self.repeats if one.database != label]),
        ]
        for finding in others:
            # As often as the others have it: two databases may give the same finding.
            if finding in findings:
                findings.remove(finding)
        return replace(
            self,
            databases=tuple(one for one in self.databases if one.label == label),
            queries=tuple(one for one in self.queries if one.database == label),
            slow=tuple(one for one in self.slow if one.database == label),
            plans=tuple(one for one in self.plans if one.database in mine),
            plan_changes=tuple(one for one in self.plan_changes if one.database in mine),
            repeats=tuple(one for one in self.repeats if one.database == label),
            findings=tuple(findings),
            advice=tuple(one for one in self.advice if one.database == label),
        )

    def workload(self, database: str | None = None) -> tuple[WorkloadQuery, ...]:
        """The queries as `sa_perf.plans.index_advice.advise` takes them.

        Args:
            database: label of the one that they ran on; None is any.
        """
        return tuple(
            WorkloadQuery(
                fingerprint=one.fingerprint,
                statement=one.statement,
                calls=one.calls,
                mean_seconds=one.mean_seconds,
                mean_rows=one.rows / one.calls if one.calls else None,
            )
            for one in self.queries
            if one.fingerprint != OTHER and database in {None, one.database} and one.calls
        )

    @classmethod
    def merge(cls, snapshots: Iterable[Snapshot]) -> Snapshot:
        """Make one reading of those of several processes.

        Associative and commutative. Counts, durations and histograms add up, so percentiles are
        those of all executions together. The last slow executions of all stay, up to 1,000, and
        of each statement the newest plan and change. Findings are those of the merged repeats,
        plans and changes, and whatever else was found, once. Of advice the report of each
        database that examined most statements stays.

        Some fields say less then: ``host`` and ``service`` are all their names, by commas;
        ``pid`` is the smallest; ``started_at`` and ``taken_at`` are the first and the last;
        ``slow_seconds`` is the least. Which ``last_error`` and ``last_fault`` was the last is not
        known, so the greatest text stands there.

        Args:
            snapshots: one of each process, the last; two of one would count twice. One or more.

        Raises:
            ValueError: there is none.
            InvalidSnapshot: the numbers are beyond what can be added up.
        """
        parts = list(snapshots)
        if not parts:
            raise ValueError("no snapshot to merge; give one of each process")
        if len(parts) == 1:
            return parts[0]
        try:
            return _merged(parts)
        except (ValueError, OverflowError) as error:
            message = f"these snapshots cannot be added up: {error}"
            raise InvalidSnapshot(message) from error

    def to_dict(self) -> dict[str, JSONValue]:
        """The snapshot as JSON values, derived figures (mean, percentiles) included."""
        # A dataclass becomes an object.
        values = cast("dict[str, JSONValue]", encoded(self))
        return {"schema": SCHEMA, **values}

    @classmethod
    def from_dict(cls, data: Mapping[str, JSONValue]) -> Snapshot:
        """Read what `to_dict` gave, of this version or an older one.

        Raises:
            InvalidSnapshot: it is of a newer schema, or a field is missing or of another type.
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if not isinstance(schema, int) or isinstance(schema, bool):
            message = (
                "no sa_perf snapshot: the field 'schema' is missing; "
                "write one with perf.snapshot().write(path)"
            )
            raise InvalidSnapshot(message)
        if schema > SCHEMA:
            message = (
                f"snapshot of schema {schema}, this version reads up to {SCHEMA}; "
                "upgrade with: pip install -U sa-perf"
            )
            raise InvalidSnapshot(message)
        try:
            return decoded(cls, data)
        except (ValueError, RecursionError) as error:
            message = f"damaged snapshot: {error}"
            raise InvalidSnapshot(message) from error

    def to_json(self) -> str:
        """The snapshot as one JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Snapshot:
        """Read a JSON document.

        Raises:
            InvalidSnapshot: it is no JSON, or no snapshot.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            message = f"no JSON document: {error}"
            raise InvalidSnapshot(message) from error
        return cls.from_dict(data)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the snapshot as JSON, whole or not at all.

        The text goes to a file beside ``path``, which then replaces it, so a reader never sees
        half of one.

        Raises:
            OSError: the file cannot be written.
        """
        target = Path(path)
        # Several threads may write at once: housekeeping, the end of the process, the application.
        writer = f"{os.getpid()}.{threading.get_ident()}"
        beside = target.with_name(f".{target.name}.{writer}.part")
        try:
            beside.write_text(self.to_json(), encoding="utf-8", errors="surrogatepass")
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Snapshot:
        """Read a file that `write` wrote.

        Raises:
            OSError: the file cannot be read.
            InvalidSnapshot: it is no snapshot.
        """
        return cls.from_json(Path(path).read_bytes())


def _merged(parts: list[Snapshot]) -> Snapshot:
    repeats = merged_repeats(each for one in parts for each in one.repeats)
    eager_loads = merged_eager_loads(each for one in parts for each in one.eager_loads)
    plans = merged_plans(each for one in parts for each in one.plans)
    changes = merged_plan_changes(each for one in parts for each in one.plan_changes)
    merged = Snapshot(
        taken_at=max(one.taken_at for one in parts),
        started_at=min(one.started_at for one in parts),
        service=_names(one.service for one in parts),
        host=_names(one.host for one in parts) or "",
        pid=min(one.pid for one in parts),
        slow_seconds=min(one.slow_seconds for one in parts),
        databases=merged_databases(each for one in parts for each in one.databases),
        queries=merged_queries(each for one in parts for each in one.queries),
        scopes=merged_scopes(each for one in parts for each in one.scopes),
        transactions=merged_transactions(one.transactions for one in parts),
        slow=merged_slow(each for one in parts for each in one.slow),
        plans=plans,
        plan_changes=changes,
        repeats=repeats,
        eager_loads=eager_loads,
        advice=merged_advice(each for one in parts for each in one.advice),
        retention=merged_policies(each for one in parts for each in one.retention),
        store=merged_store_health(one.store for one in parts),
        health=merged_health(one.health for one in parts),
        resources=merged_resources(one.resources for one in parts),
        processes=sum(one.processes for one in parts),
    )
    found = list(derived_findings(merged))
    for one in parts:
        own = {repr(finding) for finding in derived_findings(one)}
        found += [finding for finding in one.findings if repr(finding) not in own]
    return replace(merged, findings=ranked_findings(found))


def findings_of(snapshot: Snapshot) -> tuple[Finding, ...]:
    """What follows from the other parts of a snapshot, the worst first."""
    found = derived_findings(snapshot)
    return tuple(sorted(found, key=lambda one: _SEVERITIES.index(one.severity)))


def derived_findings(snapshot: Snapshot) -> Iterator[Finding]:
    """The findings that follow from the other parts of a snapshot; in no order."""
    yield from repeat_findings(snapshot.repeats, snapshot.eager_loads)
    yield from map(finding_of_change, snapshot.plan_changes)
    for one in snapshot.plans:
        yield from one.findings
    if snapshot.resources is not None:
        yield from resource_findings(snapshot.resources)


def ranked_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, the worst first."""
    once = {repr(one): one for one in findings}
    ordered = sorted(once.items(), key=lambda item: (_SEVERITIES.index(item[1].severity), item[0]))
    return tuple(one for _, one in ordered)


def _names(given: Iterable[str | None]) -> str | None:
    """Each name once, by commas; what was merged already is taken apart."""
    found = {name for one in given if one is not None for name in one.split(", ")}
    return ", ".join(sorted(found)) if found else None
