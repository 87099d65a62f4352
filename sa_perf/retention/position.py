"""Where a policy's run stands, for the next one to go on from. Pure.

A run that goes on where another one stopped ends by going through what lies before that place too:
rows there may have expired, or come to be meant by the policy, since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sa_perf.retention.ranges import key_from, key_text

if TYPE_CHECKING:
    from sa_perf.retention.ranges import Key, Walk

__all__ = ["Pass", "passes", "position_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A part of a walk.

    Attributes:
        walk: whose.
        after: key that it begins above; None: at the walk's start.
        upto: key that it goes up to; None: to the walk's end.
    """

    walk: Walk
    after: Key | None = None
    upto: Key | None = None


def position_text(walk: Walk, key: Key | None) -> str:
    """A place on a walk, as JSON."""
    return json.dumps({"walk": walk.name, "along": _along(walk), "key": key_text(key)})


def passes(walks: Sequence[Walk], position: str | None) -> list[Pass]:
    """The ways to go: all of the walks, from a place on, and then around to it.

    Args:
        walks: in their order.
        position: from `position_text`; None, or one of other walks: from the start.
    """
    for at, walk in enumerate(walks):
        key = _key_on(walk, position)
        if key is not None:
            behind = [Pass(walk=one) for one in walks[at + 1 :]]
            before = [Pass(walk=one) for one in walks[:at]]
            return [Pass(walk=walk, after=key), *behind, *before, Pass(walk=walk, upto=key)]
    return [Pass(walk=walk) for walk in walks]


def _along(walk: Walk) -> list[str]:
    """What a key of the walk means: a policy may have been changed since."""
    return [f"{column} {column.type!r}" for column in walk.columns]


def _key_on(walk: Walk, position: str | None) -> Key | None:
    """The key, where the place is on the walk."""
    try:
        found = json.loads(position or "null")
        if not isinstance(found, dict) or found.get("walk") != walk.name:
            return None
        return key_from(found["key"]) if found["along"] == _along(walk) else None
    except (ValueError, KeyError, TypeError, ArithmeticError):
        return None  # of a version that wrote it otherwise
