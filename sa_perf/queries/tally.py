"""A repetition under way: what one unit does again from one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from sa_perf.queries.aggregate import Aggregate
    from sa_perf.queries.call_site import Line
    from sa_perf.queries.orm_loads import Loaded

__all__ = ["RepeatKind", "Tally", "Unit"]

RepeatKind: TypeAlias = Literal[
    "lazy_load", "deferred_columns", "expired_reload", "own_query", "same_select", "single_insert",
    "eager_load",
]  # fmt: skip
_MAX_TALLIES = 2_000


class Tally:
    """What one unit does again and again from one line.

    Attributes:
        kind: of repetition.
        aggregate: of the statement.
        loaded: what the ORM loads by it, the last time; None where it is not the ORM's.
        line: of the application; None where it is not known.
        scopes: names of the scopes around the first time, innermost first.
        unit: in which it happens.
        seen: executions, as they begin.
        calls: executions that are in the sums.
        nanoseconds: that these took.
        parents: of which something was loaded, by hash.
        flush: number of the flush of the last execution.
    """

    __slots__ = (
        "aggregate", "calls", "flush", "kind", "line", "loaded", "nanoseconds", "parents", "scopes",
        "seen", "unit",
    )  # fmt: skip

    def __init__(
        self,
        kind: RepeatKind,
        aggregate: Aggregate,
        unit: Unit,
        *,
        scopes: tuple[str, ...],
        line: Line | None = None,
    ) -> None:
        self.kind = kind
        self.aggregate = aggregate
        self.unit = unit
        self.loaded: Loaded | None = None
        self.line = line
        self.scopes = scopes
        self.seen = self.calls = self.nanoseconds = 0
        self.parents: set[int] = set()
        self.flush: int | None = None


class Unit:
    """The tallies of a scope's run or of a transaction; bounded.

    Attributes:
        tallies: by what makes them one.
        writes: so many; what was read before one may be another thing behind it.
        owner: the scope's run; None: a transaction.
        eager: relationships that were loaded eagerly, where that is watched.
        read: relationships whose attributes were read, likewise.
    """

    __slots__ = ("eager", "owner", "read", "tallies", "writes")

    def __init__(self, owner: object | None = None) -> None:
        self.owner = owner
        self.tallies: dict[Any, Tally] = {}
        self.eager: dict[Any, Tally] = {}
        self.read: set[Any] = set()
        self.writes = 0

    def full(self) -> bool:
        """Whether nothing new is watched any more."""
        return len(self.tallies) >= _MAX_TALLIES
