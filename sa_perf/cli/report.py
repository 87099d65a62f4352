"""``sa-perf report``: a snapshot on one page, as text, JSON or HTML."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import click

from sa_perf.cli.failures import UnreadableInput
from sa_perf.cli.options import reads_snapshot
from sa_perf.cli.output import Output, document, write
from sa_perf.cli.rows import query_row, row
from sa_perf.cli.severity import exit_when_found, fail_on_option
from sa_perf.cli.source import matching_files
from sa_perf.cli.wording.finding_facts import ranked_findings
from sa_perf.json_values import JSONValue
from sa_perf.snapshot import Snapshot

__all__ = ["report"]

_LIMIT, _HTML_LIMIT = 10, 50
_FORMATS = {".html": "html", ".htm": "html", ".json": "json", ".txt": "text"}


@click.command(short_help="Report the whole snapshot as text, JSON or one HTML file.")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(("text", "json", "html")),
    help="Default: by the ending of --output; else text on a terminal, JSON elsewhere.",
)
@click.option(
    "--output",
    "target",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write instead of standard output, whole or not at all.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help="How many queries, scopes and slow executions at most; 0 is all. Default: 10, of HTML 50.",
)
@fail_on_option
@reads_snapshot
def report(
    snapshot: Snapshot,
    output: Output,
    *,
    wanted: Literal["text", "json", "html"] | None,
    target: Path | None,
    limit: int | None,
    fail_on: str,
) -> None:
    """Report the whole snapshot: findings first, then what the time went into.

    As HTML it is one file that needs no network: open it, mail it, attach it to a build.
    """
    style = _style(wanted, target, output)
    if style == "html" and target is None and output.on_terminal:
        raise click.UsageError("HTML is nothing for a terminal; give --output PATH")
    if target is not None and _is_read(target, click.get_current_context().params["file"]):
        raise click.UsageError("--output is the snapshot itself, which would be lost")
    if limit is None:
        limit = _HTML_LIMIT if style == "html" else _LIMIT
    if style == "json":
        text = document("report", snapshot, {"report": _content(snapshot, limit)})
    elif style == "html":
        from sa_perf.cli.html.page import html_page

        text = html_page(snapshot, limit=limit)
    else:
        from sa_perf.cli.terminal.summary import summary

        text = output.rendered(*summary(snapshot, limit), plain=target is not None)
    if target is None:
        write(text)
    else:
        _write_file(target, text)
    exit_when_found(snapshot.findings, fail_on)


def _style(wanted: str | None, target: Path | None, output: Output) -> str:
    if wanted is not None:
        return wanted
    if target is not None and target.suffix:
        if target.suffix.lower() not in _FORMATS:
            raise click.UsageError(
                f"the ending {target.suffix!r} of --output names no format; "
                "end it in .html, .json or .txt, or give --format"
            )
        return _FORMATS[target.suffix.lower()]
    return "json" if output.as_json else "text"


def _content(snapshot: Snapshot, limit: int) -> JSONValue:
    transactions = row(snapshot.transactions)
    del transactions["histogram"]
    most = limit or None
    content: dict[str, object] = {
        "totals": {
            "queries": len(snapshot.queries),
            "calls": snapshot.calls,
            "errors": snapshot.errors,
            "rows": sum(query.rows for query in snapshot.queries),
            "total_seconds": snapshot.total_seconds,
        },
        "databases": [row(one) for one in snapshot.databases],
        "findings": [row(one) for one in ranked_findings(snapshot)],
        "queries": [
            query_row(query, snapshot.total_seconds)
            for query in snapshot.top_queries(limit or len(snapshot.queries))
        ],
        "scopes": [row(one) for one in snapshot.scopes[:most]],
        "transactions": transactions,
        "slow": [row(one) for one in snapshot.slow[:most]],
        "plans": {
            "explained": sum(one.plan is not None for one in snapshot.plans),
            "failed": sum(one.plan is None for one in snapshot.plans),
        },
        "health": row(snapshot.health),
    }
    return cast("JSONValue", content)


def _is_read(target: Path, patterns: Sequence[str]) -> bool:
    try:
        return any(_is_same(target, Path(one)) for one in matching_files(patterns))
    except UnreadableInput:  # of the environment, and not what was read
        return False


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return False


def _write_file(path: Path, text: str) -> None:
    """Write to a file beside it that then takes its place; a pipe or device is written to."""
    content = text.encode("utf-8", "backslashreplace")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            path.write_bytes(content)
            return
        try:
            beside.write_bytes(content)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableInput(f"cannot write {str(path)!r}: {reason}") from error
