"""The report's head, tiles, findings, transactions and health, as HTML."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sa_perf.cli.html.charts import all_durations
from sa_perf.cli.html.latency_bins import percentile_seconds
from sa_perf.cli.html.text import QueryLinks, escaped
from sa_perf.cli.wording.finding_facts import (
    finding_cost,
    finding_origin,
    finding_statement,
    ranked_findings,
)  # fmt: skip
from sa_perf.cli.wording.plain_text import shortened
from sa_perf.cli.wording.summary_lines import (
    database_line,
    health_lines,
    transactions_line,
    why_no_findings,
)  # fmt: skip
from sa_perf.cli.wording.units import count, duration, moment
from sa_perf.finding import Finding
from sa_perf.snapshot import Snapshot

__all__ = ["findings", "footer", "head", "health", "tiles", "transactions"]

_WHOLE_FROM = 10
_STATEMENT_CHARACTERS = 150


def head(snapshot: Snapshot) -> str:
    """Whose snapshot it is, of when, and the databases."""
    length = (snapshot.taken_at - snapshot.started_at).total_seconds()
    many = snapshot.processes != 1
    whose = f"{snapshot.processes} processes" if many else f"Process {snapshot.pid}"
    databases = "".join(
        f"<br>{escaped(database_line(database))}" for database in snapshot.databases
    )
    return (
        f"<header><h1>{escaped(snapshot.service or 'application')} on {escaped(snapshot.host)}</h1>"
        f'<p class="soft">{whose}, recorded for {duration(length)} until '
        f'<time datetime="{escaped(snapshot.taken_at.isoformat())}">{moment(snapshot.taken_at)}'
        f"</time>; slow is {duration(snapshot.slow_seconds)} or more{databases}</p></header>"
    )


def tiles(snapshot: Snapshot) -> str:
    """Four figures."""
    length = (snapshot.taken_at - snapshot.started_at).total_seconds()
    rate = f"{_rate(snapshot.calls / length)} a second" if length > 0 else ""
    durations = all_durations(snapshot)
    shares = (
        ("Database time", duration(snapshot.total_seconds), f"{len(snapshot.queries):,} queries"),
        ("Executions", count(snapshot.calls), rate),
        (
            "p95 of an execution",
            duration(percentile_seconds(durations, 0.95)),
            f"p50 {duration(percentile_seconds(durations, 0.5))}",
        ),
        ("Errors", count(snapshot.errors), f"{len(snapshot.slow):,} slow executions kept"),
    )
    items = "".join(
        f'<div class="card"><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>'
        for name, value, more in shares
    )
    return f'<dl class="tiles">{items}</dl>'


def findings(snapshot: Snapshot, links: QueryLinks) -> str:
    """Every finding with its remedy, worst first."""
    if not snapshot.findings:
        return f'<p class="card">{escaped(why_no_findings(snapshot))}</p>'
    return "".join(_finding(one, snapshot, links) for one in ranked_findings(snapshot))


def transactions(snapshot: Snapshot) -> str:
    """How they ended and how long they were open."""
    return f'<p class="card">{escaped(transactions_line(snapshot))}</p>'


def health(snapshot: Snapshot) -> str:
    """How complete the record is."""
    lines = "".join(f"<li>{escaped(line)}</li>" for line in health_lines(snapshot))
    return f'<div class="card"><ul class="lines">{lines}</ul></div>'


def footer(snapshot: Snapshot) -> str:
    """What wrote the page."""
    try:
        release = f" {version('sa-perf')}"
    except PackageNotFoundError:  # run from a source tree that is not installed
        release = ""
    return (
        f"<footer>Written by sa-perf{escaped(release)} from a snapshot of "
        f"{moment(snapshot.taken_at)}. The file holds everything it shows and loads nothing; "
        "charts by Chart.js (MIT licence).</footer>"
    )


def _rate(per_second: float) -> str:
    return count(round(per_second, 1) if per_second < _WHOLE_FROM else round(per_second))


def _finding(finding: Finding, snapshot: Snapshot, links: QueryLinks) -> str:
    severity = escaped(finding.severity)
    place = f", {escaped(finding.place)}" if finding.place else ""
    query = f" {links.to(finding.fingerprint)}" if finding.fingerprint else ""
    return (
        f'<article class="card finding {severity}"><h3><span class="badge {severity}">{severity}'
        f"</span> {escaped(finding.kind.replace('_', ' '))}{place}{query}</h3>"
        f'<p class="message">{escaped(finding.message)}</p>'
        f'<p class="remedy"><b>Remedy:</b> {escaped(finding.remedy)}</p>'
        f"{_about(finding, snapshot)}</article>\n"
    )


def _about(finding: Finding, snapshot: Snapshot) -> str:
    """The query of a finding, what it costs and where it is issued."""
    statement = finding_statement(finding, snapshot)
    parts = [
        f"<code>{escaped(shortened(statement, _STATEMENT_CHARACTERS))}</code>" if statement else "",
        *(escaped(words(finding, snapshot) or "") for words in (finding_cost, finding_origin)),
    ]
    lines = "<br>".join(part for part in parts if part)
    return f'<p class="about">{lines}</p>' if lines else ""
