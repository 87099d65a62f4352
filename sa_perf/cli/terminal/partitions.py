"""Partitions of tables, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from sa_perf.cli.terminal.tables import bare_table, note, section
from sa_perf.cli.wording.units import count

if TYPE_CHECKING:
    from sa_perf.retention.partitions import PartitionRun, PartitionStatus

__all__ = ["left_parts", "status_parts", "upkeep_parts"]

_MEGABYTE = 1_000_000


def status_parts(
    found: Iterable[PartitionStatus], failed: Mapping[str, str]
) -> Iterator[RenderableType]:
    """How the partitions of each table stand."""
    nothing = True
    for one in found:
        nothing = False
        yield from _status(one)
    yield from _failures(failed)
    if nothing and not failed:
        yield note("no partitions are declared: use sa_perf.retention.partitions.partition()")


def upkeep_parts(
    found: Iterable[PartitionRun], failed: Mapping[str, str]
) -> Iterator[RenderableType]:
    """What was made and dropped of each table."""
    for one in found:
        yield from _upkeep(one)
    yield from _failures(failed)


def left_parts() -> Iterator[RenderableType]:
    """That nothing was done, since the run before it ended early."""
    yield note("partitions: left to the next run, since this one ended early")


def _status(one: PartitionStatus) -> Iterator[RenderableType]:
    yield section(f"{one.table}: {count(len(one.partitions))} partitions")
    table = bare_table("Partition", "From", "To", "Rows", "Size", left=("Partition", "From", "To"))
    for part in one.partitions:
        table.add_row(
            part.name,
            "the rest" if part.is_default else _moment(part.lower),
            "" if part.is_default else _moment(part.upper),
            "?" if part.rows is None else count(part.rows),
            "?" if part.bytes is None else f"{part.bytes / _MEGABYTE:,.1f} MB",
        )
    yield table
    if one.managed_by is not None:
        yield note(f"managed by {one.managed_by}: left alone")
    if one.expired:
        yield note(f"old enough to be dropped: {', '.join(one.expired)}")
    yield from _warnings(one.warnings)


def _upkeep(one: PartitionRun) -> Iterator[RenderableType]:
    yield section(f"{one.table}")
    yield note(f"made: {', '.join(one.created) or 'none'}")
    dropped = [
        part.name + ("" if part.rows is None else f" (about {count(part.rows)} rows)")
        for part in one.dropped
    ]
    yield note(f"dropped: {', '.join(dropped) or 'none'}")
    for kept in one.kept:
        style = "bold red" if kept.hindered else "yellow"
        yield Text(f"{kept.name} stays: {kept.reason}", style)
    yield from _warnings(one.warnings)


def _warnings(warnings: Iterable[str]) -> Iterator[RenderableType]:
    for warning in warnings:
        yield Text(warning, "yellow")


def _failures(failed: Mapping[str, str]) -> Iterator[RenderableType]:
    for table, reason in failed.items():
        yield Text(f"{table}: {reason}", "bold red")


def _moment(when: datetime | None) -> str:
    return "-" if when is None else f"{when:%Y-%m-%d %H:%M}"
