"""Tables of ``sa-perf top --by route`` and ``--by call_site``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sa_perf.cli.groups import CallSiteStats
from sa_perf.cli.terminal.tables import Responsive, Statement, bare_table, note
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration, percent
from sa_perf.queries.scope_statistics import ScopeStats

__all__ = ["CallSiteTable", "RouteTable"]

_WIDE = 100
_STATEMENTS = 2


class RouteTable(Responsive):
    """Scopes by the time that their statements took.

    Args:
        shown: in their order.
        total_seconds: of all queries.
    """

    def __init__(self, shown: Sequence[ScopeStats], total_seconds: float) -> None:
        self._shown = shown
        self._total = total_seconds

    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        if not self._shown:
            return note(
                "no scopes; see the how-to guide 'Group statements by request, job or function'"
            )
        wide = width >= _WIDE
        table = bare_table(
            "Database", *(("Share",) if wide else ()), "Runs", "Database/run",
            *(("Total/run", "Statements/run", "Most") if wide else ()), "Route",
            left=("Route",),
        )  # fmt: skip
        for one in self._shown:
            runs = max(one.runs, 1)
            ratio = one.database_seconds / self._total if self._total > 0 else 0.0
            table.add_row(
                Text(duration(one.database_seconds), "bold"),
                *((percent(ratio),) if wide else ()),
                count(one.runs),
                duration(one.database_seconds / runs),
                *self._more(one, runs, wide=wide),
                Text(one_line(one.name)),
            )
        return table

    def _more(self, one: ScopeStats, runs: int, *, wide: bool) -> Iterable[str]:
        if wide:
            yield duration(one.total_seconds / runs)
            yield count(round(one.statements / runs, 1))
            yield count(one.max_statements)


class CallSiteTable(Responsive):
    """Lines of the application by what they are known to have cost.

    Args:
        shown: in their order.
        statements: by fingerprint.
    """

    def __init__(self, shown: Sequence[CallSiteStats], statements: Mapping[str, str]) -> None:
        self._shown = shown
        self._statements = statements

    def table(self, width: int) -> RenderableType:
        """Make it for a width."""
        if not self._shown:
            return note("no line is known: nothing was slow, and nothing was issued one by one")
        wide = width >= _WIDE
        table = bare_table(
            "Slow", "Their time", *(("Longest",) if wide else ()), "Repeated", "Wasted",
            "Line and what it issues",
            left=("Line and what it issues",),
        )  # fmt: skip
        for one in self._shown:
            table.add_row(
                count(one.slow_executions),
                duration(one.slow_seconds),
                *((duration(one.max_seconds),) if wide else ()),
                count(one.repeat_calls),
                duration(one.wasted_seconds),
                Group(*self._what(one)),
            )
        return table

    def _what(self, one: CallSiteStats) -> Iterable[RenderableType]:
        yield Text(one_line(str(one.call_site)), "bold cyan")
        for fingerprint in one.fingerprints[:_STATEMENTS]:
            statement = self._statements.get(fingerprint, fingerprint)
            yield Statement(statement, lines=1, style="dim")
        if len(one.fingerprints) > _STATEMENTS:
            yield note(f"and {count(len(one.fingerprints) - _STATEMENTS)} more statements")
        if one.scopes:
            yield Text(f"in {one_line(', '.join(one.scopes[:3]))}", "magenta")
        for remedy in one.remedies[:_STATEMENTS]:
            yield Text(f"Remedy: {one_line(remedy)}", "green")
