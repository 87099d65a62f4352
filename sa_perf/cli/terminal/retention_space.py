"""What giving space back would cost, and what it brought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    Column("Disk free", 5),
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
_NOT_TO_THE_DISK = (
    "what is freed stays with the table, for its next rows; --how full gives it to the disk"
)
#: So many are named, more are counted.
_FEW = 2


def estimate_parts(
    estimates: Sequence[SpaceEstimate], *, in_options: Callable[[str], str]
) -> Iterator[RenderableType]:
    """What giving space back would cost.

    Args:
        estimates: in their order.
        in_options: says what Python arguments are called on the command line.
    """
    if not estimates:
        yield note("the database has no tables that this role may vacuum")
        return
    rows = [
        (
            one.subject,
            one.how,
            size(one.bytes_before),
            size(one.reclaimable_bytes),
            size(one.temporary_bytes),
            "unknown" if one.free_bytes is None else size(one.free_bytes),
            duration(one.seconds),
            duration(one.loaded_seconds),
        )
        for one in estimates
    ]
    yield FittingTable(_ESTIMATE, rows)
    for blocks, subjects in _shared((one.blocks, one.subject) for one in estimates):
        yield note(f"{subjects}: meanwhile it blocks {blocks}")
    for one in estimates:
        for refusal in one.refusals:
            yield Text(one_line(in_options(refusal)), "yellow")
    if not all(one.shrinks for one in estimates):
        yield note(_NOT_TO_THE_DISK)
    if any(one.refusals for one in estimates):
        yield note("nothing was done, and with --yes it would be refused")
    else:
        yield note("nothing was done; with --yes it is")


def space_parts(
    results: Sequence[SpaceResult], *, in_options: Callable[[str], str]
) -> Iterator[RenderableType]:
    """What was given back, and what could not be.

    Args:
        results: in their order.
        in_options: as for `estimate_parts`.
    """
    rows = [
        (
            one.subject,
            one.how,
            size(one.bytes_before),
            size(one.bytes_after),
            "refused" if one.refusal else size(one.freed_bytes),
            duration(one.seconds),
        )
        for one in results
    ]
    yield FittingTable(_RESULT, rows)
    for one in results:
        for text in one.notes:
            yield note(f"{one.subject}: {text}")
        if one.refusal:
            yield Text(one_line(in_options(one.refusal)), "yellow")
    if not all(one.shrinks for one in results):
        yield note(_NOT_TO_THE_DISK)


def _shared(sentences: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each sentence once, with those whom it is about."""
    about: dict[str, list[str]] = {}
    for sentence, subject in sentences:
        about.setdefault(sentence, []).append(subject)
    for sentence, subjects in about.items():
        few = len(subjects) <= _FEW
        yield sentence, ", ".join(subjects) if few else f"each of {len(subjects):,} tables"
