"""The report as text: the snapshot on one page, findings first."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from sa_perf.cli.terminal import tables
from sa_perf.cli.wording.finding_facts import ranked_findings
from sa_perf.cli.wording.summary_lines import (
    database_line,
    health_lines,
    transactions_line,
    why_no_findings,
)  # fmt: skip
from sa_perf.snapshot import Snapshot

__all__ = ["summary"]


def summary(snapshot: Snapshot, limit: int) -> Iterator[RenderableType]:
    """Every part of the report, in its order.

    Args:
        snapshot: to read.
        limit: of queries, scopes and slow executions each; 0 is all.
    """
    most = limit or None
    yield tables.heading(snapshot)
    for one in snapshot.databases:
        yield Text(f"  {database_line(one)}")
    yield tables.section(f"Findings ({len(snapshot.findings)})")
    if snapshot.findings:
        yield tables.findings(ranked_findings(snapshot), snapshot)
    else:
        yield tables.note(why_no_findings(snapshot))
    yield tables.section("Queries that took most time")
    yield tables.QueryTable(
        snapshot.top_queries(limit or len(snapshot.queries)), snapshot, by="total"
    )
    if snapshot.scopes:
        yield tables.section("Scopes")
        statements = {query.fingerprint: query.statement for query in snapshot.queries}
        yield tables.ScopeTable(snapshot.scopes[:most], statements)
    yield tables.section("Transactions")
    yield Text(f"  {transactions_line(snapshot)}")
    yield tables.section(f"Slow executions ({len(snapshot.slow)})")
    yield tables.SlowTable(snapshot.slow[:most], snapshot)
    yield tables.section("Health of the recording")
    yield Text("\n".join(f"  {line}" for line in health_lines(snapshot)))
