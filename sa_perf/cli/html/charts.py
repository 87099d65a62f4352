"""The report's charts: their numbers, and the table beside each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sa_perf.cli.html.latency_bins import Bin, latency_bins
from sa_perf.cli.html.text import QueryLinks, escaped, short_fingerprint, table
from sa_perf.cli.wording.plain_text import one_line, shortened, summary_of
from sa_perf.cli.wording.units import count, duration, percent
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.snapshot import Snapshot

if TYPE_CHECKING:
    from sa_perf.json_values import JSONValue

__all__ = ["all_durations", "chart_data", "charts"]

_CHARTED = 10
_NAME_CHARACTERS = 28
_STATEMENT_CHARACTERS = 90
_ALL = "All queries"


def charts(snapshot: Snapshot, links: QueryLinks) -> str:
    """All charts as HTML."""
    if not snapshot.queries:
        return '<p class="card">No statement has been recorded.</p>'
    return _queries(snapshot, links) + _scopes(snapshot, links) + _latency(snapshot)


def chart_data(snapshot: Snapshot) -> JSONValue:
    """What the page's script draws; the same numbers as in the tables."""
    top = snapshot.top_queries(_CHARTED)
    return {
        "queries": [
            {
                "short": short_fingerprint(query.fingerprint),
                "name": summary_of(query.statement, _NAME_CHARACTERS),
                "seconds": query.total_seconds,
            }
            for query in top
        ],
        "latency": [
            {
                "name": name,
                "bins": [
                    {
                        "label": one.label,
                        "from": one.lower_label,
                        "count": one.count,
                        "share": one.share,
                    }
                    for one in bins
                ],
            }
            for name, bins in _latencies(snapshot)
        ],
        "scopes": [
            {
                "short": _cut(one_line(scope.name)),
                "name": one_line(scope.name),
                "database": scope.database_seconds,
                "elsewhere": max(0.0, scope.total_seconds - scope.database_seconds),
            }
            for scope in snapshot.scopes[:_CHARTED]
        ],
    }


def all_durations(snapshot: Snapshot) -> list[tuple[int, int]]:
    """The durations of every query together: (bucket index, count), lowest index first."""
    together: Counter[int] = Counter()
    for query in snapshot.queries:
        together.update(dict(query.histogram.items()))
    return sorted(together.items())


def _queries(snapshot: Snapshot, links: QueryLinks) -> str:
    whole = snapshot.total_seconds
    rows = [
        (
            links.to(query.fingerprint),
            escaped(shortened(query.statement, _STATEMENT_CHARACTERS)),
            duration(query.total_seconds),
            percent(query.total_seconds / whole if whole > 0 else 0.0),
            count(query.calls),
        )
        for query in snapshot.top_queries(_CHARTED)
    ]
    headings = [("Query", "key"), ("What", "text"), ("Time", ""), ("Share", ""), ("Calls", "")]
    return _figure(
        "Database time by query",
        "queries-chart",
        table(
            headings, rows, caption=f"The {len(rows)} with most time", identifier="queries-table"
        ),
    )


def _latency(snapshot: Snapshot) -> str:
    latencies = _latencies(snapshot)
    options = "".join(f"<option>{escaped(name)}</option>" for name, _ in latencies)
    name, bins = latencies[0]
    rows = [(escaped(one.label), count(one.count), one.share) for one in bins if one.count]
    headings = [("Duration", "key"), ("Executions", ""), ("Share", "")]
    return _figure(
        "How long executions take",
        "latency-chart",
        table(headings, rows, caption=name, identifier="latency-table"),
        above=f'<p class="choice"><label for="latency-of">Of </label>'
        f'<select id="latency-of" autocomplete="off">{options}</select></p>',
    )


def _scopes(snapshot: Snapshot, links: QueryLinks) -> str:
    if not snapshot.scopes:
        return ""
    statements = {query.fingerprint: query.statement for query in snapshot.queries}
    rows = [_scope_row(scope, statements, links) for scope in snapshot.scopes[:_CHARTED]]
    headings = [
        ("Scope", "text"), ("Runs", ""), ("Statements", ""), ("Database", ""), ("Whole", ""),
    ]  # fmt: skip
    return _figure(
        "Time by scope",
        "scopes-chart",
        table(headings, rows, caption="Of one run, on average", identifier="scopes-table"),
    )


def _scope_row(scope: ScopeStats, statements: dict[str, str], links: QueryLinks) -> Sequence[str]:
    runs = max(scope.runs, 1)
    repeats = "".join(
        f'<br><span class="soft">{count(repeat.max_calls)} times in one run: '
        f"{escaped(shortened(statements.get(repeat.fingerprint, ''), _STATEMENT_CHARACTERS))} "
        f"{links.to(repeat.fingerprint)}</span>"
        for repeat in scope.repeats[:2]
    )
    return (
        escaped(scope.name) + repeats,
        count(scope.runs),
        count(round(scope.statements / runs, 1)),
        duration(scope.database_seconds / runs),
        duration(scope.total_seconds / runs),
    )


def _latencies(snapshot: Snapshot) -> list[tuple[str, tuple[Bin, ...]]]:
    """Name and bins of what may be chosen: all queries together, then the top ones."""
    return [
        (_ALL, latency_bins(all_durations(snapshot))),
        *(
            (_name(query), latency_bins(query.histogram.items()))
            for query in snapshot.top_queries(_CHARTED)
        ),
    ]


def _figure(title: str, chart: str, text: str, *, above: str = "") -> str:
    return (
        f'<figure class="card"><figcaption>{escaped(title)}</figcaption>{above}'
        # The canvas says nothing to who cannot see it; the table beside it does.
        f'<div class="chart"><canvas id="{chart}" aria-hidden="true"></canvas></div>\n'
        f"{text}</figure>\n"
    )


def _name(query: QueryStats) -> str:
    summary = summary_of(query.statement, _NAME_CHARACTERS)
    return f"{summary} ({short_fingerprint(query.fingerprint)})"


def _cut(text: str) -> str:
    return text if len(text) <= _NAME_CHARACTERS else f"{text[: _NAME_CHARACTERS - 1]}…"
