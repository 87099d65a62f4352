"""Eager loads whose rows nobody looked at.

Reading an attribute that is loaded makes no event, so the attribute of each relationship that is
loaded eagerly becomes one that takes note. That costs a call on each read of it: it is done only
where the setting ``over_eager`` asks for it, and counts within scopes only.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sa_perf.queries.scopes import current_scope
from sa_perf.queries.units import unit_of

if TYPE_CHECKING:
    from sa_perf.queries.scopes import ScopeRun
    from sa_perf.queries.tally import Unit

__all__ = ["EagerLoadStats", "EagerLoads", "Readers"]

_MAX_RELATIONSHIPS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EagerLoadStats:
    """A relationship that is loaded eagerly; a frozen reading of the scope runs that have ended.

    Attributes:
        entity: class that has the relationship.
        attribute: its name.
        scope: name of the first scope in which its rows were not looked at; None: there was none.
        runs: scope runs in which it was loaded.
        unused_runs: of them those in which nobody read it.
        loads: statements that loaded it.
        unused_loads: of them those of ``unused_runs``.
        wasted_seconds: of these, time inside the driver; a JOIN's is not known and is left out.
    """

    entity: str
    attribute: str
    scope: str | None = None
    runs: int
    unused_runs: int
    loads: int
    unused_loads: int
    wasted_seconds: float


class _Sums:
    __slots__ = ("loads", "nanoseconds", "runs", "scope", "unused_loads", "unused_runs")

    def __init__(self) -> None:
        self.loads = self.nanoseconds = self.runs = self.unused_loads = self.unused_runs = 0
        self.scope: str | None = None


class EagerLoads:
    """Sums by relationship; bounded. Everything is called under the statistics' lock.

    Args:
        owner: whose loads are counted: other instrumentations may watch the same scopes.
    """

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self._sums: dict[Any, _Sums] = {}

    def end(self, run: ScopeRun, unit: Unit) -> None:
        """Count what an outermost scope loaded eagerly."""
        for (owner, relationship), tally in list(unit.eager.items()):
            if owner is not self._owner:
                continue
            sums = self._sums.get(relationship)
            if sums is None:
                if len(self._sums) >= _MAX_RELATIONSHIPS:
                    continue
                sums = self._sums[relationship] = _Sums()
            sums.runs += 1
            sums.loads += tally.seen
            if relationship not in unit.read:
                sums.scope = sums.scope or run.name
                sums.unused_runs += 1
                sums.unused_loads += tally.seen
                sums.nanoseconds += tally.nanoseconds

    def stats(self) -> tuple[EagerLoadStats, ...]:
        """A frozen reading, most loads in vain first."""
        found = [
            EagerLoadStats(
                entity=relationship.parent.class_.__name__,
                attribute=relationship.key,
                scope=sums.scope,
                runs=sums.runs,
                unused_runs=sums.unused_runs,
                loads=sums.loads,
                unused_loads=sums.unused_loads,
                wasted_seconds=sums.nanoseconds / 1e9,
            )
            for relationship, sums in self._sums.items()
        ]
        return tuple(sorted(found, key=lambda one: one.unused_loads, reverse=True))

    def clear(self) -> None:
        """Forget all."""
        self._sums.clear()


#: In a list, since a forked child puts another in its place.
_lock = [threading.Lock()]
#: Relationships whose attributes take note, and how many `Readers` want it.
_wanted: Counter[Any] = Counter()


class Readers:
    """Makes attributes of relationships take note that they are read, and ordinary again."""

    def __init__(self) -> None:
        self._watched: set[Any] = set()

    def watch(self, relationship: Any) -> None:  # noqa: ANN401
        """Have the attributes of a relationship take note."""
        if relationship in self._watched:
            return
        with _lock[0]:
            if relationship in self._watched:
                return
            self._watched.add(relationship)
            _wanted[relationship] += 1
            for attribute in _attributes(relationship):
                if type(attribute) is not _noting():
                    attribute.__class__ = _noting()

    def start_anew(self) -> None:
        """Go on in a forked child."""
        _lock[0] = threading.Lock()

    def close(self) -> None:
        """Make them ordinary again, but for those that somebody else watches."""
        with _lock[0]:
            for relationship in self._watched:
                _wanted[relationship] -= 1
                if _wanted[relationship]:
                    continue
                del _wanted[relationship]
                for attribute in _attributes(relationship):
                    if type(attribute) is _noting():
                        attribute.__class__ = _noting().__bases__[0]
            self._watched.clear()


def _attributes(relationship: Any) -> Iterator[Any]:  # noqa: ANN401
    """Of the class that has it and of each that inherits it."""
    from sqlalchemy.orm.attributes import InstrumentedAttribute

    for mapper in relationship.parent.self_and_descendants:
        attribute = mapper.class_manager.get(relationship.key)
        if isinstance(attribute, InstrumentedAttribute):
            yield attribute


_made: list[type[Any]] = []


def _noting() -> type[Any]:
    """The class of attributes that take note; made when the ORM is loaded."""
    if not _made:
        from sqlalchemy.orm.attributes import InstrumentedAttribute

        get: Callable[..., Any] = InstrumentedAttribute.__get__

        class NotingAttribute(InstrumentedAttribute[Any]):
            __slots__ = ()
            inherit_cache = True

            def __get__(self, instance: object, owner: Any) -> Any:  # noqa: ANN401
                run = current_scope()
                if instance is not None and run is not None:
                    unit_of(run).read.add(self.property)
                return get(self, instance, owner)

        _made.append(NotingAttribute)
    return _made[0]
