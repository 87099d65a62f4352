"""Sums of what was issued one by one, by relationship and line.

Bounded: what finds no room is counted as dropped. All is called under the statistics' lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sa_perf.queries.call_site import CallSite
from sa_perf.queries.faults import Faults
from sa_perf.queries.loader_options import Remedy, remedy_for
from sa_perf.queries.tally import RepeatKind, Tally

if TYPE_CHECKING:
    from sa_perf.queries.aggregate import Aggregate

__all__ = ["RepeatStats", "Repeats"]

_MAX_ENTRIES = 500
#: INSERTs of one row are a fault from so many times the threshold on: a few are any request's.
_INSERTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatStats:
    """A statement that is issued one by one, where one would do; a frozen reading.

    Attributes:
        kind: ``lazy_load``, ``deferred_columns``, ``expired_reload``, ``own_query`` (of a dynamic
            or write-only collection), ``same_select`` (with the same parameters) or
            ``single_insert``.
        fingerprint: of the statement.
        database: ``Database.label`` of where it ran.
        entity: class whose objects it is issued for; None where it is not the ORM's.
        attribute: the relationship, or columns with commas between; None likewise.
        path: from the class that was asked for to the attribute, ``User.orders -> Order.items``.
        call_site: nearest application line; None where there was none on the stack.
        scope: names of the scopes around the first, innermost first; empty outside of any.
        occurrences: scope runs, or transactions outside of scopes, in which it happened.
        calls: executions in them.
        max_calls: in the one that had most.
        max_parents: objects for which it was issued, in the one that had most; 0: not known.
        total_seconds: time inside the driver.
        wasted_seconds: of that, what all but one execution an occurrence took.
        remedy: code that ends it, fit to be copied, or what to do.
    """

    kind: RepeatKind
    fingerprint: str
    database: str
    entity: str | None = None
    attribute: str | None = None
    path: str | None = None
    call_site: CallSite | None = None
    scope: tuple[str, ...] = ()
    occurrences: int
    calls: int
    max_calls: int
    max_parents: int = 0
    total_seconds: float
    wasted_seconds: float
    remedy: str


class _Sums:
    """Sums of one repetition over its occurrences."""

    __slots__ = (
        "aggregate", "call_site", "calls", "kind", "max_calls", "max_parents", "nanoseconds",
        "occurrences", "remedy", "scopes",
    )  # fmt: skip

    def __init__(self, tally: Tally, call_site: CallSite | None) -> None:
        self.kind = tally.kind
        self.aggregate: Aggregate = tally.aggregate
        self.call_site = call_site
        self.scopes = tally.scopes
        self.remedy: Remedy = remedy_for(tally)
        self.occurrences = self.calls = self.nanoseconds = 0
        self.max_calls = self.max_parents = 0


class Repeats:
    """Keeps the repetitions that passed the threshold.

    Args:
        threshold: executions of a unit from which on it is a repetition, >= 2.
        ignore: patterns, as of `fnmatch`, of what is none: attributes (``User.orders``), call
            sites (``app/views.py:12``, ``app/legacy/*``), scopes.
        faults: where faults of our own are counted: a mapping that defeats the reading of its
            relationships must not end the fold, nor a snapshot.
    """

    def __init__(
        self, threshold: int = 5, ignore: tuple[str, ...] = (), *, faults: Faults | None = None
    ) -> None:
        self._faults = Faults() if faults is None else faults
        self._threshold = threshold
        self._ignore = ignore
        self._sums: dict[Any, _Sums | None] = {}
        #: Occurrences for which there was no room.
        self.dropped = 0

    def count(self, tally: Tally, nanoseconds: int) -> None:
        """Count an execution."""
        tally.calls += 1
        tally.nanoseconds += nanoseconds
        least = self._least(tally)
        if tally.calls < least:
            return
        if tally.calls == least:
            tally.key = self._key(tally)
        sums = self._sums.get(tally.key)
        if sums is None:
            return
        if tally.calls == least:
            sums.occurrences += 1
            sums.calls += tally.calls
            sums.nanoseconds += tally.nanoseconds
        else:
            sums.calls += 1
            sums.nanoseconds += nanoseconds
        sums.max_calls = max(sums.max_calls, tally.calls)
        sums.max_parents = max(sums.max_parents, len(tally.parents or ()))

    def add_fetch(self, tally: Tally, nanoseconds: int) -> None:
        """Add what was fetched of an execution that is counted."""
        tally.nanoseconds += nanoseconds
        sums = self._sums.get(tally.key)
        if sums is not None:
            sums.nanoseconds += nanoseconds

    def clear(self) -> None:
        """Forget all."""
        self._sums.clear()
        self.dropped = 0

    def frozen(self, fingerprint: Callable[[Aggregate], str]) -> Iterator[RepeatStats]:
        """Readings, in no order."""
        for sums in self._sums.values():
            if sums is not None:
                yield RepeatStats(
                    kind=sums.kind,
                    fingerprint=fingerprint(sums.aggregate),
                    database=sums.aggregate.database,
                    entity=sums.remedy.entity,
                    attribute=sums.remedy.attribute,
                    path=sums.remedy.path,
                    call_site=sums.call_site,
                    scope=sums.scopes,
                    occurrences=sums.occurrences,
                    calls=sums.calls,
                    max_calls=sums.max_calls,
                    max_parents=sums.max_parents,
                    total_seconds=sums.nanoseconds / 1e9,
                    wasted_seconds=_wasted(sums) / 1e9,
                    remedy=sums.remedy.code,
                )

    def _least(self, tally: Tally) -> float:
        """Executions from which on a tally is a repetition."""
        if tally.kind == "eager_load":
            return math.inf
        return self._threshold * (_INSERTS if tally.kind == "single_insert" else 1)

    def _key(self, tally: Tally) -> object:
        """Under what an occurrence is summed; makes the sums if they are new and there is room."""
        if self._is_ignored(*tally.scopes):
            return None
        loaded, line = tally.loaded, tally.line
        what = None if loaded is None else (str(loaded.relationship), loaded.keys)
        place = None if line is None else (line.code.co_filename, line.number)
        key = tally.kind, tally.aggregate, what, place
        if key not in self._sums:
            if len(self._sums) >= _MAX_ENTRIES:
                self.dropped += 1
                return None
            site = None if line is None else line.call_site()
            try:
                sums = _Sums(tally, site)
            except Exception as error:
                self._faults.note("remedy", error)
                self._sums[key] = None
                return None
            places = () if site is None else (site.file, f"{site.file}:{site.line}")
            self._sums[key] = None if self._is_ignored(sums.remedy.name, *places) else sums
        return key

    def _is_ignored(self, *names: str | None) -> bool:
        return any(fnmatchcase(one, each) for one in names if one for each in self._ignore)


def _wasted(sums: _Sums) -> float:
    return sums.nanoseconds * (sums.calls - sums.occurrences) / sums.calls
