"""Sums of what was issued one by one, by relationship and line.

Bounded: what finds no room is counted as dropped. All is called under the statistics' lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sa_perf.call_site import CallSite
from sa_perf.queries.faults import Faults
from sa_perf.queries.loader_options import Remedy, remedy_for
from sa_perf.queries.tally import RepeatKind, Sums, Tally

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


class _Sums(Sums):
    """The same, with what is told of it."""

    __slots__ = ("aggregate", "call_site", "kind", "remedy", "scopes")

    def __init__(self, tally: Tally, kind: RepeatKind, call_site: CallSite | None) -> None:
        super().__init__()
        self.kind = kind
        self.aggregate: Aggregate = tally.aggregate
        self.call_site = call_site
        self.scopes = tally.scopes
        self.remedy: Remedy = remedy_for(tally)


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
        """Count an execution. About 0.5 us."""
        calls = tally.calls = tally.calls + 1
        sums = tally.sums
        if sums is not None:
            sums.calls += 1
            sums.nanoseconds += nanoseconds
        else:
            tally.nanoseconds += nanoseconds
            if calls != self._threshold and tally.kind != "single_insert":
                return
            sums = self._passed(tally)
            if sums is None:
                return
        if calls > sums.max_calls:
            sums.max_calls = calls
        parents = tally.parents
        if parents is not None and len(parents) > sums.max_parents:
            sums.max_parents = len(parents)

    def add_fetch(self, tally: Tally, nanoseconds: int) -> None:
        """Add what was fetched of an execution that is counted."""
        if tally.sums is not None:
            tally.sums.nanoseconds += nanoseconds
        else:
            tally.nanoseconds += nanoseconds

    def clear(self) -> None:
        """Forget all; what is under way adds to sums that nobody reads."""
        self._sums = {}
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

    def _passed(self, tally: Tally) -> Sums | None:
        """The sums of a tally that reaches its threshold now; None where it does not."""
        inserts = tally.kind == "single_insert"
        if tally.kind is None or tally.calls != self._threshold * (_INSERTS if inserts else 1):
            return None
        sums = self._sums_of(tally, tally.kind)
        if sums is not None:
            tally.sums = sums
            sums.occurrences += 1
            sums.calls += tally.calls
            sums.nanoseconds += tally.nanoseconds
        return sums

    def _sums_of(self, tally: Tally, kind: RepeatKind) -> Sums | None:
        """The sums of an occurrence, made if they are new; None: no room, or it is ignored."""
        if self._is_ignored(*tally.scopes):
            return None
        loaded, line = tally.loaded, tally.line
        what = None if loaded is None else (str(loaded.relationship), loaded.keys)
        place = None if line is None else (line.code.co_filename, line.number)
        key = kind, tally.aggregate, what, place
        if key in self._sums:
            return self._sums[key]
        if len(self._sums) >= _MAX_ENTRIES:
            self.dropped += 1
            return None
        site = None if line is None else line.call_site()
        try:
            sums = _Sums(tally, kind, site)
        except Exception as error:
            self._faults.note("remedy", error)
            self._sums[key] = None
            return None
        places = () if site is None else (site.file, f"{site.file}:{site.line}")
        self._sums[key] = None if self._is_ignored(sums.remedy.name, *places) else sums
        return self._sums[key]

    def _is_ignored(self, *names: str | None) -> bool:
        return any(fnmatchcase(one, each) for one in names if one for each in self._ignore)


def _wasted(sums: Sums) -> float:
    return sums.nanoseconds * (sums.calls - sums.occurrences) / sums.calls
