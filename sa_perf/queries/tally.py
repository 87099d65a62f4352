"""A repetition under way: what one unit does again from one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from sa_perf.call_site import Line
    from sa_perf.queries.aggregate import Aggregate
    from sa_perf.queries.orm_loads import Loaded

__all__ = ["RepeatKind", "Sums", "Tally", "Unit"]

RepeatKind: TypeAlias = Literal[
    "lazy_load", "deferred_columns", "expired_reload", "own_query", "same_select", "single_insert",
]  # fmt: skip
_MAX_TALLIES = 1_000
_MAX_SELECTS = 1_000


class Sums:
    """Sums of one repetition over its occurrences.

    Attributes:
        occurrences: units in which it happened.
        calls: executions in them.
        nanoseconds: that these took.
        max_calls: in the unit that had most.
        max_parents: in the unit that had most.
    """

    __slots__ = ("calls", "max_calls", "max_parents", "nanoseconds", "occurrences")

    def __init__(self) -> None:
        self.occurrences = self.calls = self.nanoseconds = 0
        self.max_calls = self.max_parents = 0


class Tally:
    """What one unit does again and again from one line.

    Attributes:
        kind: of repetition; None: an eager load, which is none and of which the time is kept.
        aggregate: of the statement.
        unit: in which it happens.
        loaded: what the ORM loads by it; None where it is not the ORM's.
        line: of the application, the second time; None where it is not known.
        scopes: names of the scopes around it then, innermost first.
        seen: executions, as they begin.
        calls: executions that are in the sums.
        nanoseconds: that these took.
        parents: of which something was loaded by the ORM, by hash; None for a SELECT.
        flush: number of the flush of the last execution.
        sums: to which it is added once it passed the threshold; None: to none.
    """

    __slots__ = (
        "aggregate", "calls", "flush", "kind", "line", "loaded", "nanoseconds", "parents",
        "scopes", "seen", "sums", "unit",
    )  # fmt: skip

    def __init__(self, kind: RepeatKind | None, aggregate: Aggregate, unit: Unit) -> None:
        self.kind = kind
        self.aggregate = aggregate
        self.unit = unit
        self.loaded: Loaded | None = None
        self.line: Line | None = None
        self.scopes: tuple[str, ...] = ()
        self.seen = self.calls = self.nanoseconds = 0
        self.parents: set[int] | None = None
        self.flush: int | None = None
        self.sums: Sums | None = None


class Unit:
    """The tallies of a scope's run or of a transaction; bounded.

    Attributes:
        owner: the scope's run; None: a transaction.
        recent: of the last line of each of the ORM's loads, that line and its tally.
        tallies: of what is loaded for objects and of inserted rows, by what makes them one.
        selects: of SELECTs since the last write, by statement and parameters.
        refreshed: the ORM's state of the object that was read again last, and from which line.
        eager: by whom it is counted and relationship, what was loaded eagerly, where that is
            watched.
        read: relationships whose attributes were read, likewise.
    """

    __slots__ = ("eager", "owner", "read", "recent", "refreshed", "selects", "tallies")

    def __init__(self, owner: object | None = None) -> None:
        self.owner = owner
        self.tallies: dict[Any, Tally] = {}
        self.selects: dict[int, Tally] = {}
        self.refreshed: tuple[Any, Line | None] | None = None
        self.recent: dict[Any, tuple[Line | None, Tally]] = {}
        self.eager: dict[tuple[object, Any], Tally] = {}
        self.read: set[Any] = set()

    def tally(self, key: object, kind: RepeatKind, aggregate: Aggregate) -> Tally | None:
        """The tally of a key, made if it is new; None where there is no room for it."""
        tally = self.tallies.get(key)
        if tally is None and len(self.tallies) < _MAX_TALLIES:
            tally = self.tallies[key] = Tally(kind, aggregate, self)
            tally.parents = set()
        return tally

    def select(self, key: int, aggregate: Aggregate) -> Tally:
        """The tally of a SELECT; where there is no room, those that came once make it."""
        tally = self.selects.get(key)
        if tally is None:
            if len(self.selects) >= _MAX_SELECTS:
                again = {one: kept for one, kept in list(self.selects.items()) if kept.seen > 1}
                self.selects = again if len(again) < _MAX_SELECTS / 2 else {}
            tally = self.selects[key] = Tally("same_select", aggregate, self)
        return tally

    def note(self, load: object, line: Line | None, tally: Tally) -> None:
        """Keep where a load came from last, so that the next one is found at once."""
        if len(self.recent) >= _MAX_TALLIES:
            self.recent = {}
        self.recent[load] = line, tally

    def wrote(self) -> None:
        """Forget what was read: the same SELECT may now have other rows."""
        if self.selects:
            self.selects = {}
