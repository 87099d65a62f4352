"""What ``sa-perf explain`` prints of one query, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from sa_perf.cli.single_query import SingleQuery
from sa_perf.cli.terminal import tables
from sa_perf.cli.wording.plain_text import clauses, one_line
from sa_perf.cli.wording.query_facts import query_facts
from sa_perf.cli.wording.units import count, duration, moment
from sa_perf.finding import Finding
from sa_perf.plans.render import render_plan
from sa_perf.plans.results import ExplainedStatement
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.snapshot import Snapshot

__all__ = ["explained"]

_SLOW_SHOWN = 5


def explained(fingerprint: str, query: SingleQuery, snapshot: Snapshot) -> Iterator[RenderableType]:
    """Statement, figures, plan, findings, scopes, slow executions; what there is of them.

    Args:
        fingerprint: whole.
        query: what is known of it.
        snapshot: that it is of.
    """
    yield Text(f"Query {one_line(fingerprint)}", "bold")
    statements = [one.statement for one in query.figures] + [one.statement for one in query.slow]
    statement = next(iter(statements), None)
    if statement is not None:
        yield _highlighted(statement)
    for one in query.figures:
        yield tables.section(f"On {one_line(one.database)}")
        yield _figures(one, snapshot)
    if not query.figures:
        yield tables.note("its figures were evicted into 'other'")
    yield from _plans(query.plans, snapshot)
    yield from _findings(query.findings)
    yield from _scopes(snapshot, fingerprint)
    yield from _slow(query.slow)


def _highlighted(statement: str) -> RenderableType:
    syntax = Syntax(
        clauses(statement), "sql", theme="ansi_dark", background_color="default", word_wrap=True
    )
    return Padding(syntax, (1, 0, 0, 2))


def _figures(query: QueryStats, snapshot: Snapshot) -> RenderableType:
    text = Text()
    for name, words in query_facts(query, snapshot):
        text.append(f"  {name:<8}", "dim")
        text.append(f"{one_line(words)}\n")
    text.rstrip()
    return text


def _plans(plans: Sequence[ExplainedStatement], snapshot: Snapshot) -> Iterator[RenderableType]:
    if not plans:
        yield tables.section("Plan")
        yield tables.note(
            f"none: no execution took {duration(snapshot.slow_seconds)}, or explaining is off"
        )
    for one in plans:
        where = f" on {one_line(one.database)}" if one.database is not None else ""
        yield tables.section(f"Plan{where}, asked for at {moment(one.explained_at)}")
        if one.plan is None:
            yield tables.note(f"none: {one.error or 'the database gave none'}")
            continue
        yield render_plan(one.plan)


def _findings(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    yield tables.section(f"Findings ({len(findings)})")
    yield tables.findings(findings) if findings else tables.note("none")


def _scopes(snapshot: Snapshot, fingerprint: str) -> Iterator[RenderableType]:
    lines = [
        f"  {one_line(scope.name)}: {count(repeat.calls)} calls in {count(scope.runs)} runs, "
        f"up to {count(repeat.max_calls)} in one"
        for scope in snapshot.scopes
        for repeat in scope.repeats
        if repeat.fingerprint == fingerprint
    ]
    if lines:
        yield tables.section("Repeated within")
        yield Text("\n".join(lines))


def _slow(slow: Sequence[SlowExecution]) -> Iterator[RenderableType]:
    if not slow:
        return
    yield tables.section(f"Slow executions ({len(slow)})")
    for one in slow[:_SLOW_SHOWN]:
        place = f", {one_line(str(one.call_site))}" if one.call_site else ""
        scope = f", in {one_line(' < '.join(one.scope))}" if one.scope else ""
        line = f"{moment(one.ended_at)}  {duration(one.duration_seconds)}, {count(one.rows)} rows"
        yield Padding(Text(f"{line}{place}{scope}"), (0, 0, 0, 2))
        if one.parameters:
            yield Padding(
                tables.Statement(", ".join(one.parameters), lines=1, prefix="with ", style="dim"),
                (0, 0, 0, 4),
            )
    if len(slow) > _SLOW_SHOWN:
        yield tables.note(f"  and {len(slow) - _SLOW_SHOWN} more")
