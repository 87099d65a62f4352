"""What giving space back would cost, and what it brought."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from sa_perf.cli.terminal.fitting import Column, FittingTable
from sa_perf.cli.terminal.retention import size
from sa_perf.cli.terminal.tables import note
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import duration

if TYPE_CHECKING:
    from sa_perf.retention.space import SpaceEstimate, SpaceResult

__all__ = ["estimate_parts", "space_parts"]

_ESTIMATE = (
    Column("What", text=True, room=24),
    Column("Way", text=True),
    Column("Size", 1),
    Column("Free inside"),
    Column("Needs", 2),
    Column("Idle", 4),
    Column("Loaded", 3),
)
_RESULT = (
    Column("What", text=True, room=24),
    Column("Way", 3, text=True),
    Column("Before", 1),
    Column("After", 1),
    Column("Freed"),
    Column("Took", 2),
)


def estimate_parts(
    estimates: Sequence[SpaceEstimate], *, in_options: Callable[[str], str]
) -> Iterator[RenderableType]:
    """What giving space back would cost.

    Args:
        estimates: in their order.
        in_options: says what Python arguments are called on the command line.
    """
    if not estimates:
        yield note("the database has no tables")
        return
    rows = [
        (
            one.subject,
            one.how,
            size(one.bytes_before),
            size(one.reclaimable_bytes),
            size(one.temporary_bytes),
            duration(one.seconds),
            duration(one.loaded_seconds),
        )
        for one in estimates
    ]
    yield FittingTable(_ESTIMATE, rows)
    for one in estimates:
        yield note(f"{one.subject}: meanwhile it blocks {one.blocks}")
        for refusal in one.refusals:
            yield Text(one_line(in_options(refusal)), "yellow")
    if any(one.refusals for one in estimates):
        yield note("nothing was done, and with --yes it would be refused")
    else:
        yield note("nothing was done; with --yes it is")


def space_parts(results: Sequence[SpaceResult]) -> Iterator[RenderableType]:
    """What was given back."""
    rows = [
        (
            one.subject,
            one.how,
            size(one.bytes_before),
            size(one.bytes_after),
            size(one.freed_bytes),
            duration(one.seconds),
        )
        for one in results
    ]
    yield FittingTable(_RESULT, rows)
    for one in results:
        for text in one.notes:
            yield note(f"{one.subject}: {text}")
