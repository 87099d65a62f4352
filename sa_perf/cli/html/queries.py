"""The report's queries and slow executions, as HTML."""

from __future__ import annotations

from sa_perf.cli.html.latency_bins import latency_bins
from sa_perf.cli.html.text import QueryLinks, code_block, escaped, facts, table
from sa_perf.cli.single_query import single_query
from sa_perf.cli.wording.plain_text import shortened
from sa_perf.cli.wording.query_facts import query_facts
from sa_perf.cli.wording.units import count, duration, moment, percent
from sa_perf.dialects import PlanNode
from sa_perf.plans.results import ExplainedStatement
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.snapshot import Snapshot

__all__ = ["queries", "slow_executions"]

_STATEMENT_CHARACTERS = 150
_COSTLY = {"full_scan", "automatic_index", "sort", "index_full_scan"}
_SLOW_SHOWN = 3


def queries(snapshot: Snapshot, limit: int) -> str:
    """Each query as a line of figures that opens to all that is known of it.

    Args:
        snapshot: to show.
        limit: 0 is all.
    """
    if not snapshot.queries:
        return '<p class="card">None.</p>'
    shown = snapshot.top_queries(limit or len(snapshot.queries))
    linked: set[str] = set()
    text = ""
    for number, query in enumerate(shown):
        # Links lead to the first of a fingerprint, which may have run on several databases.
        identifier = None if query.fingerprint in linked else f"query-{query.fingerprint}"
        linked.add(query.fingerprint)
        text += _query(query, snapshot, number=number, identifier=identifier)
    if len(shown) < len(snapshot.queries):
        text += f'<p class="soft">{len(shown)} of {len(snapshot.queries)}, by time.</p>'
    return text


def slow_executions(snapshot: Snapshot, links: QueryLinks, limit: int) -> str:
    """The last slow executions, newest first.

    Args:
        snapshot: to show.
        links: to the queries of the page.
        limit: 0 is all.
    """
    if not snapshot.slow:
        return f'<p class="card">No execution took {duration(snapshot.slow_seconds)} or longer.</p>'
    shown = snapshot.slow[: limit or None]
    more = len(snapshot.slow) - len(shown)
    left_out = f'<p class="soft">{more} older ones are left out.</p>' if more else ""
    items = "".join(f"<li>{_slow_execution(one, links)}</li>\n" for one in shown)
    return f'<div class="card"><ol class="slow">{items}</ol>{left_out}</div>'


def _query(query: QueryStats, snapshot: Snapshot, *, number: int, identifier: str | None) -> str:
    whole = snapshot.total_seconds
    ratio = min(1.0, max(0.0, query.total_seconds / whole)) if whole > 0 else 0.0
    figures = [
        ("", percent(ratio), "of the time"),
        ("", duration(query.total_seconds), "in all"),
        ("", count(query.calls), "calls"),
        ("", duration(query.mean_seconds), "mean"),
        ("", duration(query.p95_seconds), "p95"),
        ("", duration(query.max_seconds), "max"),
        ("", count(query.rows), "rows"),
    ]
    if query.errors:
        figures.append(("errors", count(query.errors), "errors"))
    line = "".join(
        f'<span class="{kind}"><b>{value}</b> {name}</span> ' for kind, value, name in figures
    )
    link = f' id="{escaped(identifier)}"' if identifier else ""
    return (
        f'<div class="card"{link}><details class="query"><summary>'
        f'<code class="sql">{escaped(shortened(query.statement, _STATEMENT_CHARACTERS))}</code>'
        f'<span class="figures">{line}</span>'
        # Attributes of SVG need no style, which the policy would refuse.
        f'<span class="bar" aria-hidden="true"><svg viewBox="0 0 100 1" preserveAspectRatio="none">'
        f'<rect width="{ratio * 100:.2f}" height="1"/></svg></span></summary>\n'
        f"{_details(query, snapshot, number)}</details></div>\n"
    )


def _details(query: QueryStats, snapshot: Snapshot, number: int) -> str:
    known = single_query(snapshot, query.fingerprint, query.database)
    parts = [
        code_block(query.statement),
        facts(
            [
                ("Query", query.fingerprint),
                ("Database", query.database),
                *query_facts(query, snapshot),
            ]
        ),
    ]
    if known.findings:
        items = "".join(
            f"<li>{escaped(one.message)}<br><b>Remedy:</b> {escaped(one.remedy)}</li>"
            for one in known.findings
        )
        parts.append(f'<h4>Findings</h4><ul class="lines">{items}</ul>')
    parts += [_plan(one) for one in known.plans]
    if known.slow:
        items = "".join(f"<li>{_one_slow(one)}</li>" for one in known.slow[:_SLOW_SHOWN])
        parts.append(f'<h4>Last slow executions</h4><ul class="lines">{items}</ul>')
    bins = [one for one in latency_bins(query.histogram.items()) if one.count]
    rows = [(escaped(one.label), count(one.count), one.share) for one in bins]
    headings = [("Duration", "key"), ("Executions", ""), ("Share", "")]
    parts.append(table(headings, rows, caption="How long it takes", identifier=f"bins-{number}"))
    return "\n".join(parts)


def _plan(explained: ExplainedStatement) -> str:
    title = f"<h4>Plan, asked for at {moment(explained.explained_at)}</h4>"
    if explained.plan is None:
        return f"{title}<p>None: {escaped(explained.error or 'the database gave none')}</p>"
    return f'{title}<ul class="plan">{_node(explained.plan.root)}</ul>'


def _node(node: PlanNode) -> str:
    costly = node.operation in _COSTLY or node.on_disk or node.temporary
    words = [f"{name} {count(value)}" for name, value in _numbers(node) if value is not None]
    if node.actual_seconds is not None:
        words.append(duration(node.actual_seconds))
    flags = (("on disk", node.on_disk), ("temporary", node.temporary))
    words += [word for word, said in flags if said]
    conditions = [
        f"{name} <code>{escaped(text)}</code>"
        for name, text in (
            ("index condition", node.index_condition),
            ("filter", node.filter),
            ("sorted by", ", ".join(node.sort_keys) or None),
        )
        if text is not None
    ]
    mark = ' class="costly"' if costly else ""
    parts = [f"<b{mark}>{escaped(node.label)}</b>"]
    if words:
        parts.append(f' <span class="soft">{escaped(", ".join(words))}</span>')
    parts += [f"<br>{condition}" for condition in conditions]
    if node.children:
        parts.append(f"<ul>{''.join(_node(child) for child in node.children)}</ul>")
    return f"<li>{''.join(parts)}</li>"


def _numbers(node: PlanNode) -> list[tuple[str, float | None]]:
    return [
        ("rows estimated", node.estimated_rows),
        ("rows", node.actual_rows),
        ("loops", node.loops),
        ("rows removed", node.rows_removed),
        ("cost", node.estimated_cost),
    ]


def _slow_execution(one: SlowExecution, links: QueryLinks) -> str:
    circumstances = [escaped(str(one.call_site))] if one.call_site is not None else []
    if one.scope:
        circumstances.append(f"in {escaped(' < '.join(one.scope))}")
    if one.parameters:
        circumstances.append(f"with {escaped(', '.join(one.parameters))}")
    return (
        f'<span class="figures"><span>{moment(one.ended_at)}</span> '
        f"<span><b>{duration(one.duration_seconds)}</b></span> "
        f"<span><b>{count(one.rows)}</b> rows</span> "
        f"{links.to(one.fingerprint)}</span>"
        f"<code>{escaped(shortened(one.statement, _STATEMENT_CHARACTERS))}</code>"
        f'<div class="soft">{", ".join(circumstances)}</div>'
    )


def _one_slow(one: SlowExecution) -> str:
    place = f", {escaped(str(one.call_site))}" if one.call_site else ""
    scope = f", in {escaped(' < '.join(one.scope))}" if one.scope else ""
    figures = f"{duration(one.duration_seconds)}, {count(one.rows)} rows"
    return f"{moment(one.ended_at)}: {figures}{place}{scope}"
