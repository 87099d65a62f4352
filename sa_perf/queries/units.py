"""In what something is a repetition: a run of the outermost scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.queries.tally import Unit

if TYPE_CHECKING:
    from sa_perf.queries.scopes import ScopeRun

__all__ = ["unit_of"]


def unit_of(run: ScopeRun) -> Unit:
    """Of the outermost run that has not ended; each inside keeps it."""
    unit = run.unit
    if unit is None:
        around = run.parent
        alone = around is None or around.ended_ns or around.only_measures
        unit = run.unit = Unit(run) if around is None or alone else unit_of(around)
    return unit
