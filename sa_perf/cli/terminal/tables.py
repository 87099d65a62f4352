"""Tables for a terminal, as wide as there is room for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sa_perf.cli.wording.finding_facts import finding_cost, finding_origin, finding_statement
from sa_perf.cli.wording.plain_text import one_line, shortened
from sa_perf.cli.wording.units import count, duration, moment, percent
from sa_perf.finding import Finding
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.snapshot import Snapshot

__all__ = [
    "QueryTable", "Responsive", "ScopeTable", "SlowTable", "Statement", "bare_table", "findings",
    "heading", "note", "section",
]  # fmt: skip

_SEVERITY_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_FINGERPRINT_CHARACTERS = 8
_WIDE, _VERY_WIDE = 100, 140
_NARROW = 60
_CRAMPED = 50
_WASTED = 8
_MANY_REPEATS = 10

#: Column of the table of queries -> its heading.
_COLUMNS = {
    "total_seconds": "Total",
    "mean_seconds": "Mean",
    "p50_seconds": "p50",
    "p95_seconds": "p95",
    "p99_seconds": "p99",
    "max_seconds": "Max",
    "fetch_seconds": "Fetch",
    "calls": "Calls",
    "rows": "Rows",
    "errors": "Errors",
}


class Statement:
    """A statement that takes the room that is left, on at most ``lines`` lines.

    Args:
        text: whole.
        lines: >= 1.
        prefix: words before it that are kept whole.
        style: rich's.
    """

    def __init__(self, text: str, *, lines: int = 2, prefix: str = "", style: str = "") -> None:
        self.text = one_line(text)
        self.prefix = prefix
        self.lines = lines
        self.style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self.lines + (self.lines > 1 and options.max_width < _CRAMPED)
        # Wrapping at words wastes some of each line but the last.
        room = (options.max_width - _WASTED) * (lines - 1) + options.max_width
        ellipsis = "…" if console.encoding.startswith("utf") else "..."
        room = max(room, options.max_width) - len(self.prefix)
        text = self.prefix + shortened(self.text, max(room, 1), ellipsis=ellipsis)
        yield Text(text, self.style, overflow="fold")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        length = len(self.prefix) + len(self.text)
        return Measurement(min(16, options.max_width), min(length, options.max_width))


def heading(snapshot: Snapshot) -> RenderableType:
    """Whose snapshot it is, since when, and the sums, in a few words."""
    name = snapshot.service or "application"
    many = snapshot.processes != 1
    whose = f"{count(snapshot.processes)} processes" if many else f"process {snapshot.pid}"
    first = Text(one_line(f"{name} on {snapshot.host}, {whose}"), "bold")
    length = (snapshot.taken_at - snapshot.started_at).total_seconds()
    second = Text(
        f"{moment(snapshot.taken_at)}, recorded for {duration(length)}: "
        f"{_of(snapshot.calls, 'execution')} of {_of(len(snapshot.queries), 'query', 'queries')}, "
        f"{duration(snapshot.total_seconds)} in the database",
        "dim",
    )
    if snapshot.errors:
        second.append(f", {_of(snapshot.errors, 'error')}", "red")
    return Group(first, second)


def section(title: str) -> RenderableType:
    """A heading within a report."""
    return Padding(Text(title, "bold underline"), (1, 0, 0, 0))


def note(text: str) -> RenderableType:
    """A remark below a table."""
    return Text(one_line(text), "dim")


def bare_table(*names: str, left: Iterable[str] = ()) -> Table:
    """A table without side lines; all columns but ``left`` hold numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), expand=False)
    texts = set(left)
    for name in names:
        if name in texts:
            made.add_column(name, overflow="fold")
        else:
            made.add_column(name, justify="right", no_wrap=True)
    return made


class Responsive(ABC):
    """A table that is made for the width it is shown in."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table(options.max_width)

    @abstractmethod
    def table(self, width: int) -> RenderableType:
        """The table for a width, in columns of a terminal."""


class QueryTable(Responsive):
    """The table of ``sa-perf top``.

    Args:
        shown: in their order.
        snapshot: that they are of.
        by: word of the order; its column is always shown.
    """

    def __init__(self, shown: Sequence[QueryStats], snapshot: Snapshot, *, by: str) -> None:
        self._shown = shown
        self._total = snapshot.total_seconds
        self._many_databases = len({query.database for query in snapshot.queries}) > 1
        self._by = next((name for name in _COLUMNS if name.partition("_")[0] == by), "")

    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        if not self._shown:
            return note("no queries")
        names = self._columns(width)
        headings = [_COLUMNS[name] for name in names]
        share = width >= _WIDE
        table = bare_table(
            "Query", *(("Share",) if share else ()), *headings, "Statement",
            left=("Query", "Statement"),
        )  # fmt: skip
        table.columns[0].no_wrap = True
        for query in self._shown:
            ratio = query.total_seconds / self._total if self._total > 0 else 0.0
            table.add_row(
                Text(one_line(query.fingerprint)[:_FINGERPRINT_CHARACTERS], "cyan"),
                *((percent(ratio),) if share else ()),
                *(self._cell(query, name) for name in names),
                self._statement(query),
            )
        return table

    def _columns(self, width: int) -> list[str]:
        names = ["total_seconds", "p95_seconds", "calls"]
        if width < _NARROW:
            names = ["total_seconds", "calls"]
        if width >= _WIDE:
            names += ["mean_seconds", "rows"]
        if width >= _VERY_WIDE:
            names += ["p50_seconds", "max_seconds", "errors"]
        if self._by and self._by not in names:
            names.append(self._by)
        return [name for name in _COLUMNS if name in names]

    def _cell(self, query: QueryStats, name: str) -> Text:
        value = getattr(query, name)
        text = duration(value) if name.endswith("_seconds") else count(value)
        if name == "errors" and value:
            return Text(text, "red")
        return Text(text, "bold" if name == self._by else "")

    def _statement(self, query: QueryStats) -> RenderableType:
        if query.fingerprint == query.statement:
            statement: RenderableType = Text("(all that were evicted)", "dim")
        else:
            statement = Statement(query.statement)
        if not self._many_databases:
            return statement
        return Group(statement, Text(one_line(query.database), "dim"))


class SlowTable(Responsive):
    """The table of ``sa-perf slow``.

    Args:
        shown: newest first.
        snapshot: that they are of.
    """

    def __init__(self, shown: Sequence[SlowExecution], snapshot: Snapshot) -> None:
        self._shown = shown
        self._threshold = snapshot.slow_seconds

    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        if not self._shown:
            return note(f"no execution took {duration(self._threshold)} or longer")
        wide = width >= _WIDE
        table = bare_table(
            "Time (UTC)", "Duration", *(("Fetch",) if wide else ()), "Rows", "What and where",
            left=("Time (UTC)", "What and where"),
        )  # fmt: skip
        table.columns[0].no_wrap = True
        table.columns[0].style = "dim"
        for one in self._shown:
            when = moment(one.ended_at).removesuffix(" UTC")
            table.add_row(
                Text(when if wide else when.partition(" ")[2] or when),
                Text(duration(one.duration_seconds), "bold"),
                *((duration(one.fetch_seconds),) if wide else ()),
                count(one.rows),
                Group(*_circumstances(one)),
            )
        return table


class ScopeTable(Responsive):
    """Scopes with what each run issues, and which statement it repeats most.

    Args:
        shown: in their order.
        statements: by fingerprint.
    """

    def __init__(self, shown: Sequence[ScopeStats], statements: Mapping[str, str]) -> None:
        self._shown = shown
        self._statements = statements

    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        wide = width >= _WIDE
        each = "/run" if wide else ""
        table = bare_table(
            "Runs", f"Statements{each}", f"Database{each}", *(("Total/run",) if wide else ()),
            "Scope and what it repeats",
            left=("Scope and what it repeats",),
        )  # fmt: skip
        for one in self._shown:
            runs = max(one.runs, 1)
            table.add_row(
                count(one.runs),
                count(round(one.statements / runs, 1)),
                duration(one.database_seconds / runs),
                *((duration(one.total_seconds / runs),) if wide else ()),
                Group(*self._what(one, runs)),
            )
        return table if wide else Group(note("Statements and database time of one run"), table)

    def _what(self, one: ScopeStats, runs: int) -> Iterable[RenderableType]:
        yield Text(one_line(one.name), "bold")
        for repeat in one.repeats[:2]:
            times = f"up to {count(repeat.max_calls)} in one run: "
            statement = self._statements.get(repeat.fingerprint, repeat.fingerprint)
            style = "yellow" if repeat.calls >= _MANY_REPEATS * runs else "dim"
            yield Statement(statement, prefix=times, style=style)


def findings(shown: Sequence[Finding], snapshot: Snapshot | None = None) -> RenderableType:
    """Findings, each with what to do about it.

    Args:
        shown: in their order.
        snapshot: to say of each which query it is about; None where that is said already.
    """
    parts: list[RenderableType] = []
    for one in shown:
        title = Text()
        title.append(one_line(one.severity), _SEVERITY_STYLES.get(one.severity, ""))
        title.append(f"  {one_line(one.kind).replace('_', ' ')}", "bold")
        if one.place is not None:
            title.append(f", {one_line(one.place)}")
        if one.fingerprint is not None:
            title.append(f"  {one_line(one.fingerprint)[:_FINGERPRINT_CHARACTERS]}", "cyan")
        remedy = Text("Remedy: ", "green")
        remedy.append(one_line(one.remedy), "default")
        about = _about(one, snapshot) if snapshot is not None else ()
        parts += [title, _below(Text(one_line(one.message))), _below(remedy), *map(_below, about)]
    return Group(*parts)


def _about(finding: Finding, snapshot: Snapshot) -> Iterable[RenderableType]:
    """The query of a finding, what it costs and where it is issued."""
    statement = finding_statement(finding, snapshot)
    if statement is not None:
        yield Statement(statement, lines=1, style="dim")
    words = (finding_cost(finding, snapshot), finding_origin(finding, snapshot))
    if any(words):
        yield Text("; ".join(filter(None, words)), "cyan")


def _circumstances(one: SlowExecution) -> Iterable[RenderableType]:
    yield Statement(one.statement)
    if one.call_site is not None:
        yield Text(one_line(str(one.call_site)), "cyan")
    if one.scope:
        yield Text(f"in {one_line(' < '.join(one.scope))}", "magenta")
    if one.parameters:
        yield Statement(", ".join(one.parameters), lines=1, prefix="with ", style="dim")


def _below(text: RenderableType) -> RenderableType:
    return Padding(text, (0, 0, 0, 2), expand=False)


def _of(number: int, one: str, many: str | None = None) -> str:
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
