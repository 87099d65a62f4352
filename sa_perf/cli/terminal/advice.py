"""What ``sa-perf advise`` prints, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from sa_perf.cli.terminal import tables
from sa_perf.cli.wording.plain_text import one_line, visible
from sa_perf.cli.wording.units import count, duration
from sa_perf.plans.index_advice import AdviceReport, Gain, IndexAdvice, Unadvised
from sa_perf.plans.render import render_plan

__all__ = ["advice"]

_GAINS_SHOWN = 5
_UNADVISED_SHOWN = 10
_FINGERPRINT_CHARACTERS = 8
_MEGABYTE = 1_000_000
#: A statement that is so much as fast, or less, has become slower; more may be noise.
_SLOWER = 0.67


def advice(report: AdviceReport) -> Iterator[RenderableType]:
    """Each index with its code, its gains and its plans; then what gets none, and why."""
    yield Text(f"Indexes for {one_line(report.database)}", "bold")
    yield tables.note(_looked_at(report))
    if not report.advice:
        yield Text("No index was found that would pay.", "green")
    for number, one in enumerate(report.advice, 1):
        yield tables.section(f"{number}. {_headline(one)}")
        yield from _parts(one)
    if report.unadvised:
        yield tables.section(f"Not advised ({len(report.unadvised)})")
        yield from _unadvised(report.unadvised)


def _looked_at(report: AdviceReport) -> str:
    words = f"{count(report.examined)} statements were looked at"
    if report.skipped:
        words += f"; {count(report.skipped)} that took less time were not, see --limit"
    return words


def _headline(one: IndexAdvice) -> str:
    keys = [
        (key.column or f"({key.expression})") + (" desc" if key.descending else "")
        for key in one.definition.keys
    ]
    carried = f" with {', '.join(one.definition.include)}" if one.definition.include else ""
    where = f" where {one.definition.predicate}" if one.definition.predicate else ""
    return one_line(f"{one.definition.table} ({', '.join(keys)}){carried}{where}")


def _parts(one: IndexAdvice) -> Iterator[RenderableType]:
    yield _facts(one)
    for title, code, language in (
        ("SQL", one.create_sql, "sql"),
        ("Model", one.index, "python"),
        ("Alembic", one.alembic_upgrade, "python"),
    ):
        yield Padding(Text(title, "dim"), (0, 0, 0, 2))
        yield _code(code, language)
    yield Padding(_gains(one.gains), (0, 0, 0, 2))
    if one.touched:
        yield Padding(_touched(one.touched), (0, 0, 0, 2))
    first = one.gains[0] if one.gains else None
    if first is not None:
        yield Padding(Text("Before", "dim"), (0, 0, 0, 2))
        yield Padding(render_plan(first.plan_before), (0, 0, 0, 4))
        if first.plan_after is not None:
            yield Padding(Text("After", "dim"), (0, 0, 0, 2))
            yield Padding(render_plan(first.plan_after), (0, 0, 0, 4))


def _facts(one: IndexAdvice) -> RenderableType:
    text = Text()
    if one.verified:
        text.append("  Verified: the planner uses it.\n", "green")
    else:
        text.append(f"  Unverified: {one_line(one.unverified_because or '')}\n", "yellow")
    words = []
    if one.saved_seconds is not None:
        words.append(f"saves about {duration(one.saved_seconds)} of what was recorded")
    if one.size_bytes is not None:
        words.append(f"takes {_size(one.size_bytes)}")
    if one.build_seconds is not None:
        words.append(f"took {duration(one.build_seconds)} to make")
    words.append(
        f"{count(one.writes)} recorded writes would keep it too"
        if one.writes
        else "no recorded write changes it"
    )
    line = "; ".join(words)
    text.append(f"  {line[0].upper()}{line[1:]}.\n")
    if one.makes_redundant:
        names = one_line(", ".join(one.makes_redundant))
        text.append(f"  Begins like {names}, which would be of no more use.\n")
    for each in one.notes:
        text.append(f"  {one_line(each)}\n")
    text.rstrip()
    return text


def _code(code: str, language: str) -> RenderableType:
    shown = Syntax(
        visible(code), language, theme="ansi_dark", background_color="default", word_wrap=True
    )
    return Padding(shown, (0, 0, 0, 4))


def _gains(gains: Sequence[Gain]) -> RenderableType:
    table = tables.bare_table(
        "Query", "Calls", "Mean", "Faster", "Statement", left=("Query", "Statement")
    )
    for one in gains[:_GAINS_SHOWN]:
        table.add_row(
            one_line(one.fingerprint[:_FINGERPRINT_CHARACTERS]),
            count(one.calls),
            _mean(one),
            _ratio(one),
            tables.Statement(one.statement, lines=1),
        )
    return table


def _touched(touched: Sequence[Gain]) -> RenderableType:
    """Statements that use it without being the reason for it: how many, and what became slower."""
    measured = [one for one in touched if one.measured_ratio is not None]
    slower = [one for one in measured if (one.measured_ratio or 1.0) < _SLOWER]
    if slower:
        listed = ", ".join(
            f"{one.fingerprint[:_FINGERPRINT_CHARACTERS]} {_mean(one)}" for one in slower
        )
        return Text(one_line(f"Slower with it on the copy: {listed}."), "bold red")
    others = (
        "one other statement" if len(touched) == 1 else f"{count(len(touched))} other statements"
    )
    shown = "none of which became slower" if measured else "see --apply-to-shadow for their times"
    return Text(f"The planner would use it for {others} too; {shown}.", "dim")


def _mean(one: Gain) -> str:
    if one.measured_before_seconds is not None and one.measured_after_seconds is not None:
        return f"{duration(one.measured_before_seconds)} to {duration(one.measured_after_seconds)}"
    return "" if one.mean_seconds is None else duration(one.mean_seconds)


def _ratio(one: Gain) -> str:
    if one.speedup_ratio is None:
        return "?"
    measured = "" if one.measured_ratio is not None else "~"
    return (
        f"{measured}{one.speedup_ratio:,.0f} x"
        if one.speedup_ratio >= 10
        else (f"{measured}{one.speedup_ratio:.1f} x")
    )


def _unadvised(unadvised: Sequence[Unadvised]) -> Iterator[RenderableType]:
    for one in unadvised[:_UNADVISED_SHOWN]:
        yield Padding(tables.Statement(one.statement, lines=1), (0, 0, 0, 2))
        yield Padding(Text(one_line(f"because {one.because}"), "dim"), (0, 0, 0, 4))
    if len(unadvised) > _UNADVISED_SHOWN:
        yield tables.note(f"  and {len(unadvised) - _UNADVISED_SHOWN} more; all with --json")


def _size(size_bytes: int) -> str:
    megabytes = size_bytes / _MEGABYTE
    return f"about {megabytes:,.1f} MB" if megabytes >= 0.05 else "less than 0.1 MB"
