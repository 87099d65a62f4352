"""Tables of ``sa-perf compare``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sa_perf.cli.terminal.tables import Responsive, Statement, bare_table, note, section
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration, moment
from sa_perf.store.comparing import Comparison, QueryChange, Side, Span

__all__ = ["comparison"]

_FINGERPRINT_CHARACTERS = 8
_WIDE = 100


def comparison(found: Comparison, release: str | None, limit: int) -> Iterator[RenderableType]:
    """What differs between two windows, regressions first.

    Args:
        found: to show.
        release: whose deploy parts the windows; None where it is another moment.
        limit: of queries in each table; 0 is all.
    """
    what = f"since the deploy of {one_line(release)}" if release else "between two windows"
    yield Text(f"What changed {what}", "bold")
    yield note(f"Before: {_span(found.before)}")
    yield note(f"After:  {_span(found.after)}")
    if found.traffic_ratio is not None:
        yield note(f"Traffic: {found.traffic_ratio:,.2f} times as much an hour as before")
    for title, changes in (("Slower", found.slower), ("Faster", found.faster)):
        yield from _table(title, changes, limit, _LatencyTable)
    yield from _table("Run more often than traffic explains", found.more_calls, limit, _CallsTable)
    for title, changes in (("New", found.new), ("Not run any more", found.vanished)):
        yield from _table(title, changes, limit, _OneSideTable)
    if not (found.slower or found.more_calls):
        yield note("Nothing got slower, and nothing is run more often")
    few = f"; {count(found.too_few)} ran too seldom to tell" if found.too_few else ""
    yield note(f"{_of(found.tested, 'query was', 'queries were')} compared{few}")


def _table(
    title: str, changes: Sequence[QueryChange], limit: int, kind: type[_ChangeTable]
) -> Iterator[RenderableType]:
    if not changes:
        return
    shown = changes[: limit or None]
    yield section(f"{title} ({len(changes)})")
    yield kind(shown)
    if len(changes) > len(shown):
        yield note(f"{len(shown)} of {len(changes)}; for all: --limit 0")


def _span(span: Span) -> str:
    return (
        f"{moment(span.since)} to {moment(span.until)}, "
        f"{_of(span.processes, 'process', 'processes')}: {count(span.calls)} executions of "
        f"{_of(span.queries, 'query', 'queries')}, {duration(span.total_seconds)} in the database"
    )


def _of(number: int, one: str, many: str) -> str:
    return f"{count(number)} {one if number == 1 else many}"


class _ChangeTable(Responsive):
    """Queries with figures of both windows.

    Args:
        shown: in their order.
    """

    def __init__(self, shown: Sequence[QueryChange]) -> None:
        self._shown = shown
        self._many_databases = len({one.database for one in shown}) > 1

    def _what(self, change: QueryChange) -> RenderableType:
        statement = Statement(change.statement)
        if not self._many_databases:
            return statement
        return Group(statement, Text(one_line(change.database), "dim"))

    def _name(self, change: QueryChange) -> Text:
        return Text(one_line(change.fingerprint)[:_FINGERPRINT_CHARACTERS], "cyan")


class _LatencyTable(_ChangeTable):
    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        wide = width >= _WIDE
        table = bare_table(
            "Query", "Cost/h", "Mean before", "after", *(("p95 before", "after", "Calls/h") if wide
            else ()), "Statement", left=("Query", "Statement"),
        )  # fmt: skip
        table.columns[0].no_wrap = True
        for one in self._shown:
            style = "bold red" if one.lost_seconds_per_hour > 0 else "green"
            sign = "+" if one.lost_seconds_per_hour > 0 else ""
            table.add_row(
                self._name(one),
                Text(f"{sign}{duration(one.lost_seconds_per_hour)}", style),
                *_both(one, "mean_seconds"),
                *(_both(one, "p95_seconds") if wide else ()),
                *((count(round(one.after.calls_per_hour)),) if wide and one.after else ()),
                self._what(one),
            )
        return table


class _CallsTable(_ChangeTable):
    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        table = bare_table(
            "Query", "Calls/h before", "after", "Time/h", "Statement", left=("Query", "Statement")
        )
        table.columns[0].no_wrap = True
        for one in self._shown:
            before, after = (_calls(side) for side in (one.before, one.after))
            time = duration(one.after.seconds_per_hour) if one.after else ""
            table.add_row(self._name(one), before, Text(after, "bold red"), time, self._what(one))
        return table


class _OneSideTable(_ChangeTable):
    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        table = bare_table(
            "Query", "Time/h", "Calls/h", "Mean", "p95", "Statement", left=("Query", "Statement")
        )
        table.columns[0].no_wrap = True
        for one in self._shown:
            side = one.after or one.before
            if side is not None:
                table.add_row(
                    self._name(one),
                    duration(side.seconds_per_hour),
                    _calls(side),
                    duration(side.mean_seconds),
                    duration(side.p95_seconds),
                    self._what(one),
                )
        return table


def _both(change: QueryChange, name: str) -> tuple[str, ...]:
    return tuple(
        duration(getattr(side, name)) if side is not None else ""
        for side in (change.before, change.after)
    )


def _calls(side: Side | None) -> str:
    return "" if side is None else count(round(side.calls_per_hour, 1))
