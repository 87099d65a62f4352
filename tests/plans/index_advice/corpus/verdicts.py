"""What was advised for a query, held to what was expected."""

from __future__ import annotations

from collections.abc import Sequence

from corpus.queries import Outcome, Wanted
from sa_perf.dialects.index_trials.definition import IndexDefinition

__all__ = ["is_met", "keys_of", "unwanted"]


def keys_of(definition: IndexDefinition) -> list[str]:
    """The keys of an index as texts."""
    return [
        " ".join(filter(None, (key.column or key.expression, key.suffix)))
        for key in definition.keys
    ]


def is_met(outcome: Outcome, advised: Sequence[IndexDefinition]) -> bool:
    """Whether all the wanted indexes are advised, or one of those that do instead."""
    wanted = all(any(_serves(one, index) for index in advised) for one in outcome.indexes)
    return wanted or any(_serves(one, index) for one in outcome.instead for index in advised)


def unwanted(outcome: Outcome, advised: Sequence[IndexDefinition]) -> list[IndexDefinition]:
    """What is advised though no expert asked for it."""
    return [
        index for index in advised if not any(_serves(one, index) for one in outcome.acceptable)
    ]


def _serves(wanted: Wanted, index: IndexDefinition) -> bool:
    return wanted.met_by(index.table, keys_of(index), index.predicate)
