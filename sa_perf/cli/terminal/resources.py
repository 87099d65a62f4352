"""Resources for a person: how full each is, what a database takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from sa_perf.cli.terminal.tables import bare_table, note, section
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration, moment, percent

if TYPE_CHECKING:
    from sa_perf.dialects.sizes import DatabaseSizes
    from sa_perf.resources.databases import DatabaseReading
    from sa_perf.resources.readings import Resources, Standing
    from sa_perf.resources.results import Unknown

__all__ = ["resource_parts"]

_STYLES = {"critical": "bold red", "warning": "yellow", "ok": "green"}
_BAR = 20
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def resource_parts(
    found: Resources, standings: Sequence[Standing], unknowns: Sequence[Unknown]
) -> Iterator[RenderableType]:
    """A table of all resources, one for each database, and what cannot be said."""
    if found.host is not None:
        yield note(moment(found.host.at))
    table = bare_table(
        "Resource", "Level", "Used", "", "Left", left=("Resource", "Level", "", "Left")
    )
    for one in standings:
        style = _STYLES[one.level]
        table.add_row(
            Text(one_line(one.resource), "bold"),
            Text(one.level, style),
            percent(one.ratio),
            Text(_bar(one.ratio), style),
            Text(one_line(one.detail)),
        )
    yield table
    if found.pools:
        yield _pools(found)
    for leak in (leak for pool in found.pools for leak in pool.leaks):
        yield Text(one_line(leak.message), "yellow")
    for one_forecast in found.forecasts:
        words = f"{one_forecast.resource} is full in {duration(one_forecast.full.in_seconds)}"
        yield Text(one_line(f"{words} if it grows on as it does"), "yellow")
    for database in found.databases:
        if database.sizes is not None:
            yield from _database(database, database.sizes)
    if unknowns:
        yield section(f"Cannot say ({len(unknowns)})")
    for unknown in unknowns:
        line = Text(one_line(unknown.resource), "bold")
        line.append(f": {one_line(unknown.reason)}", "not bold")
        yield line


def _pools(found: Resources) -> RenderableType:
    table = bare_table(
        "Pool", "In use", "Peak", "Limit", "Checkouts", "Wait p95", "Timeouts", "Oldest",
        left=("Pool",),
    )  # fmt: skip
    for pool in found.pools:
        table.add_row(
            Text(one_line(pool.database), "bold"),
            count(pool.checked_out),
            count(pool.peak_checked_out),
            "" if pool.limit is None else count(pool.limit),
            count(pool.checkouts),
            duration(pool.wait_p95_seconds),
            Text(count(pool.timeouts), "bold red" if pool.timeouts else ""),
            "" if pool.oldest_seconds is None else duration(pool.oldest_seconds),
        )
    return table


def _database(reading: DatabaseReading, sizes: DatabaseSizes) -> Iterator[RenderableType]:
    yield section(one_line(reading.database))
    words = [
        f"{_size(number)} {what}"
        for number, what in (
            (sizes.total_bytes, "in all"),
            (sizes.free_bytes, "of it free for new rows"),
            (sizes.log_bytes, "of log"),
        )
        if number
    ]
    yield Text(", ".join(words) or "empty")
    if sizes.tables:
        table = bare_table("Table", "Size", "Indexes", "Dead", "Rows", left=("Table",))
        for each in sizes.tables:
            table.add_row(
                Text(one_line(each.name)),
                _size(each.total_bytes),
                _size(each.index_bytes),
                "" if each.dead_ratio is None else percent(each.dead_ratio),
                "" if each.rows is None else count(each.rows),
            )
        yield table
    for one in sizes.unanswered:
        yield note(f"{one.question}: because {one.reason}")


def _bar(ratio: float) -> str:
    full = round(_BAR * min(1.0, max(0.0, ratio)))
    return "#" * full + "." * (_BAR - full)


def _size(number: float) -> str:
    """Bytes in the unit that fits."""
    for unit, one in _UNITS:
        if number >= one:
            return f"{number / one:,.1f} {unit}"
    return f"{number:,.0f} B"
