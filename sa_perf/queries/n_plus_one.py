"""Statements issued one by one within one scope, though one would do.

A unit is a run of a scope (the outermost) or, outside of any, a transaction.
`Watch` has a `Tally` for each thing that a unit does again and again from one line; executions
carry theirs into the statistics, where `Repeats` keeps those past the threshold.

Not every repetition is a fault: ``session.get``, the chunks of an eager load and the pages of a
batch are none, since the ORM does not say that they are for one parent.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sa_perf.call_site import Line, application_line
from sa_perf.queries.flushes import Flushes
from sa_perf.queries.orm_loads import Loads, within_refresh
from sa_perf.queries.over_eager import Readers
from sa_perf.queries.scopes import ScopeRun, current_scope
from sa_perf.queries.tally import Tally, Unit
from sa_perf.queries.units import unit_of

if TYPE_CHECKING:
    from sa_perf.queries.execution import Context
    from sa_perf.queries.orm_loads import Loaded
    from sa_perf.queries.shape import OrmLoad, Parameters, Shape

__all__ = ["Watch", "allow_repeats"]

_MAX_PARENTS = 10_000
_allowed: ContextVar[bool] = ContextVar("sa_perf_repeats_allowed", default=False)


@contextmanager
def allow_repeats() -> Iterator[None]:
    """Let statements be issued one by one in this block: they are counted, but are no finding.

    Example:
        >>> with allow_repeats():
        ...     pass
    """
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


class Watch:
    """Finds the tally of an execution. Everything is called by the thread that executes.

    Args:
        owner: where tallies are counted; those of others are kept apart.
        enabled: whether repetition is looked for.
        threshold: executions of a unit from which on it is a repetition.
        over_eager: whether eager loads that nobody reads are looked for, too.
    """

    def __init__(
        self,
        owner: object,
        *,
        enabled: bool = True,
        threshold: int = 5,
        over_eager: bool = False,
    ) -> None:
        self.loads = Loads(eager=over_eager) if enabled else None
        self._owner = owner
        self._threshold = threshold
        self._flushes = Flushes()
        self._readers = Readers()

    def close(self) -> None:
        """Take away what listens to sessions."""
        self._flushes.close()
        self._readers.close()
        if self.loads is not None:
            self.loads.close()

    def start_anew(self) -> None:
        """Go on in a forked child: locks may have been in another thread's hand."""
        self._flushes.start_anew()
        self._readers.start_anew()
        if self.loads is not None:
            self.loads.start_anew()

    def tally_of(self, shape: Shape, context: Context, run: ScopeRun | None) -> Tally | None:
        """What an execution repeats, if it may be a repetition."""
        if shape.eager and run is not None:
            self._note_eager(shape, unit_of(run))
        load = shape.load
        if load is not None:
            return self._of_load(load, shape, context, run)
        if shape.writes:
            self.wrote(run)
        if shape.inserts:
            return self._of_insert(shape, context)
        if run is None or not shape.reads:
            return None
        return self._of_select(run, shape, context)

    def wrote(self, run: ScopeRun | None) -> None:
        """Take note that rows were changed in a scope."""
        if run is not None:
            unit_of(run).wrote()

    def _note_eager(self, shape: Shape, unit: Unit) -> None:
        for relationship in shape.eager:
            tally = unit.eager.get((self._owner, relationship))
            if tally is None:
                self._readers.watch(relationship)
                tally = Tally(None, shape.aggregate, unit)
                unit.eager[self._owner, relationship] = tally
            tally.seen += 1

    def _of_load(
        self, load: OrmLoad, shape: Shape, context: Context, run: ScopeRun | None
    ) -> Tally | None:
        """The tally of a statement that the ORM issues for one parent. About 1 us."""
        if _allowed.get():
            return None
        parent = load.lazy_parent(context)
        loaded = load.read(context) if parent is None else None
        if parent is None and loaded is None:
            # A statement of its own for what is loaded eagerly: its time is known.
            eager = {} if run is None or not shape.eager else unit_of(run).eager
            return eager.get((self._owner, shape.eager[0])) if eager else None
        unit = _unit_of_transaction(context) if run is None else run.unit or unit_of(run)
        line = load.line.find()
        recent = unit.recent.get(load) if loaded is None and unit.refreshed is None else None
        if recent is None or recent[0] is not line:
            loaded = loaded or load.read(context)
            return None if loaded is None else self._of_other(load, loaded, line, shape, unit, run)
        tally = recent[1]
        tally.seen = seen = tally.seen + 1
        if seen <= self._threshold and tally.loaded is not None:
            tally.loaded = tally.loaded._replace(parent=parent)
        parents = tally.parents
        if parents is not None and len(parents) < _MAX_PARENTS:
            parents.add(id(parent) if parent.key is None else hash(parent.key))
        return tally

    def _of_other(
        self,
        load: OrmLoad,
        loaded: Loaded,
        line: Line | None,
        shape: Shape,
        unit: Unit,
        run: ScopeRun | None,
    ) -> Tally | None:
        """The same of what comes from another line than the last one, or is no lazy load."""
        kind, parent, relationship, keys = loaded
        if kind in ("refresh", "expired_reload"):
            unit.refreshed = parent, line
        if kind == "refresh":
            return None
        if unit.refreshed is not None and _is_for_refresh(unit.refreshed, loaded, line):
            return None
        # Not the code itself: hashing that takes up to a microsecond.
        place = None if line is None else (id(line[0]), line[1])
        key = self._owner, kind, relationship or keys or parent.mapper, place
        tally = unit.tallies.get(key) or unit.tally(key, kind, shape.aggregate)
        if tally is None:
            return None
        tally.loaded = loaded
        tally.seen += 1
        if tally.line is None:
            _locate(tally, run, line)
        parents = tally.parents
        if parent is not None and parents is not None and len(parents) < _MAX_PARENTS:
            parents.add(id(parent) if parent.key is None else hash(parent.key))
        unit.note(load, line, tally)
        return tally

    def _of_insert(self, shape: Shape, context: Context) -> Tally | None:
        """The tally of an INSERT of one row; None for a further one of the same flush."""
        if _allowed.get() or context.cursor.rowcount > 1:
            return None
        run = current_scope()
        unit = _unit_of_transaction(context) if run is None else unit_of(run)
        tally = unit.tally(("single_insert", shape.aggregate), "single_insert", shape.aggregate)
        if tally is None:
            return None
        flush = self._flushes.number(context)
        if flush is not None and flush == tally.flush:
            return None
        tally.flush = flush
        _see(tally, run)
        return tally

    def _of_select(self, run: ScopeRun, shape: Shape, context: Context) -> Tally | None:
        """The tally of a SELECT with these parameters in a scope. About 0.5 us."""
        if _allowed.get():
            return None
        parameters = context.parameters[0] if context.parameters else None
        try:
            # The text too: a raw one may have its values in it, which its shape has not.
            key = hash((shape.aggregate, context.statement, _comparable(parameters)))
        except TypeError:
            return None  # a value that cannot be hashed
        tally = unit_of(run).select(key, shape.aggregate)
        _see(tally, run)
        return tally


def _is_for_refresh(again: tuple[Any, Line | None], loaded: Loaded, line: Line | None) -> bool:
    """Whether a relationship is loaded since its object is read again.

    What it had loaded eagerly, the ORM then loads like a lazy load, at once and from the same line.
    """
    state, place = again
    same = loaded.kind == "lazy_load" and place == line and state in (None, loaded.parent)
    return same and within_refresh()


def _see(tally: Tally, run: ScopeRun | None) -> None:
    """Count an execution; where it is the second, keep its place: most come once."""
    tally.seen += 1
    if tally.seen > 1 and tally.line is None:
        _locate(tally, run, application_line())


def _locate(tally: Tally, run: ScopeRun | None, line: Line | None) -> None:
    """Keep the line, and the names of the scopes from the innermost to the unit's own."""
    names = []
    for one in () if run is None else run.enclosing():
        if not one.ended_ns:
            names.append(one.name)
        if one is tally.unit.owner:
            break
    tally.line, tally.scopes = line, tuple(names)


def _comparable(parameters: Parameters) -> Any:  # noqa: ANN401
    return tuple(parameters.items()) if isinstance(parameters, dict) else tuple(parameters or ())


def _unit_of_transaction(context: Context) -> Unit:
    """Kept on the connection with a weak reference: a transaction takes no attributes."""
    connection = context.root_connection
    transaction = connection.get_transaction()
    kept: tuple[Any, Unit] | None = getattr(connection, "_sa_perf_unit", None)
    if kept is not None and kept[0]() is transaction:
        return kept[1]
    unit = Unit()
    if transaction is not None:
        connection._sa_perf_unit = weakref.ref(transaction), unit
    return unit
