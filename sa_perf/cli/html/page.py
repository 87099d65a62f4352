"""The HTML report: one file that holds everything and loads nothing.

Text that came from the application is escaped where it is put in; a Content-Security-Policy allows
the page's own style and scripts by their hashes and nothing else. Every chart stands beside a table
with the same numbers, so the page reads without scripts.
"""

from __future__ import annotations

from importlib.resources import files
from string import Template

from sa_perf.cli.html.charts import chart_data, charts
from sa_perf.cli.html.queries import queries, slow_executions
from sa_perf.cli.html.sections import (
    findings,
    footer,
    head,
    health,
    tiles,
    transactions,
)  # fmt: skip
from sa_perf.cli.html.text import QueryLinks, content_hash, escaped, json_block
from sa_perf.snapshot import Snapshot

__all__ = ["html_page"]

_ASSETS = files("sa_perf").joinpath("web")
_SECTIONS = (
    ("findings", "Findings"),
    ("time", "Where the time goes"),
    ("queries", "Queries"),
    ("slow", "Slow executions"),
    ("transactions", "Transactions"),
    ("health", "Health"),
)


def html_page(snapshot: Snapshot, *, limit: int) -> str:
    """The page.

    Args:
        snapshot: to show.
        limit: of queries, scopes and slow executions each; 0 is all.
    """
    style = _asset("report", "report.css")
    library = _without_source_map(_asset("static", "vendor", "chart.umd.min.js"))
    script = _asset("report", "report.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {content_hash(library)} {content_hash(script)}",
            f"style-src {content_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    name = snapshot.service or "application"
    return Template(_asset("report", "template.html")).substitute(
        policy=policy,
        title=escaped(f"{name} on {snapshot.host}: sa-perf report"),
        style=style,
        body=_body(snapshot, limit),
        data=json_block(chart_data(snapshot)),
        library=library,
        script=script,
    )


def _body(snapshot: Snapshot, limit: int) -> str:
    shown = snapshot.top_queries(limit or len(snapshot.queries))
    links = QueryLinks(query.fingerprint for query in shown)
    contents = {
        "findings": findings(snapshot, links),
        "time": charts(snapshot, links),
        "queries": queries(snapshot, limit),
        "slow": slow_executions(snapshot, links, limit),
        "transactions": transactions(snapshot),
        "health": health(snapshot),
    }
    entries = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in _SECTIONS)
    sections = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>\n'
        f"{contents[name]}</section>\n"
        for name, title in _SECTIONS
    )
    return (
        '<a class="skip" href="#main">Skip to the report</a>\n'
        f"{head(snapshot)}\n"
        f'<nav aria-label="Sections"><ul>{entries}</ul></nav>\n'
        f'<main id="main">\n{tiles(snapshot)}\n{sections}</main>\n'
        f"{footer(snapshot)}"
    )


def _asset(*path: str) -> str:
    return _ASSETS.joinpath(*path).read_text(encoding="utf-8")


def _without_source_map(script: str) -> str:
    """Without the comment that makes a browser's tools ask for another file."""
    lines = script.rstrip().splitlines()
    if lines[-1].startswith("//# sourceMappingURL="):
        lines.pop()
    return "\n".join(lines) + "\n"
