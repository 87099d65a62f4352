"""What the ORM says of the statements that it issues by itself.

A lazy load is known as one by what SQLAlchemy passes along with it, not by its text: the state of
the parent, the path to the relationship. These are private names of SQLAlchemy; `readable` says
whether they are what is read here (`tests/queries/test_orm_loads.py` holds it for each version),
and where they are not, a listener on the public ``do_orm_execute`` says it of lazy loads.

``sqlalchemy.orm`` is imported by no import of this module: where a statement is the ORM's, it is
loaded already.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import Table, event
from sqlalchemy.sql import visitors

from sa_perf.call_site import LastLine

if TYPE_CHECKING:
    from sqlalchemy.orm import ORMExecuteState

__all__ = ["Load", "LoadKind", "Loaded", "Loads", "readable", "within_refresh"]

LoadKind: TypeAlias = Literal[
    "lazy_load", "deferred_columns", "expired_reload", "own_query", "refresh"
]

_OPTIONS = "_sa_orm_load_options"
#: Execution option by which `_announce` says what a statement loads.
_ANNOUNCED = "sa_perf_orm_load"


class Loaded(NamedTuple):
    """What one execution loads.

    Attributes:
        kind: ``own_query``: the application asked for a relationship's rows by itself, through a
            dynamic or write-only collection; ``refresh``: it had an object read again.
        parent: the ORM's state of the object that it is loaded for; None where that is not known.
        relationship: a ``RelationshipProperty``; None for columns.
        keys: names of the columns' attributes, sorted; None: all of them, or a relationship.
    """

    kind: LoadKind
    parent: Any
    relationship: Any = None
    keys: tuple[str, ...] | None = None


class Load:
    """What one compiled statement of the ORM loads: a relationship, or columns of one object."""

    __slots__ = ("_keys", "_own", "_relationship", "line")

    def __init__(
        self,
        relationship: Any = None,  # noqa: ANN401  # a RelationshipProperty
        keys: tuple[str, ...] | None = None,
        *,
        own: bool = False,
    ) -> None:
        """Hold what is known of all executions.

        Args:
            relationship: None for columns.
            keys: of columns; None: all.
            own: the application's own query of a relationship.
        """
        self._relationship = relationship
        self._keys = keys
        #: From which it was executed last.
        self.line = LastLine()
        self._own = Loaded("own_query", None, relationship) if own else None

    def lazy_parent(self, context: Any) -> Any:  # noqa: ANN401  # an InstanceState
        """The object for which a relationship is loaded lazily; None: ask `read`."""
        if self._relationship is None or self._own is not None:
            return None
        options = context.execution_options.get(_OPTIONS)
        return None if options is None else options._lazy_loaded_from

    def read(self, context: Any) -> Loaded | None:  # noqa: ANN401
        """What this execution loads; None where it is not one of many by nature."""
        if self._own is not None:
            return self._own
        options = context.execution_options.get(_OPTIONS)
        if options is None:
            return None
        if self._relationship is not None:
            parent = options._lazy_loaded_from
            return None if parent is None else Loaded("lazy_load", parent, self._relationship)
        state = options._refresh_state
        if state is None:
            return None
        return Loaded("refresh", state) if options._is_user_refresh else self._columns(state)

    def _columns(self, state: Any) -> Loaded | None:  # noqa: ANN401  # an InstanceState
        if state.expired:
            return Loaded("expired_reload", state)
        keys = self._keys
        # What an object lacks since a query for its base left it out counts as expired, too.
        if keys is None or not state.expired_attributes.isdisjoint(keys):
            return None
        return Loaded("deferred_columns", state, keys=keys)


class Loads:
    """Says of compiled statements what they load, by private names or by announcements.

    Args:
        eager: also what they load eagerly.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self._eager = eager
        self._lock = threading.Lock()
        self._announcing: bool | None = None

    def of(self, compiled: Any) -> Load | _AnnouncedLoad | None:  # noqa: ANN401
        """What a compiled statement loads for the ORM; None for any other."""
        state: Any = getattr(compiled, "compile_state", None)
        if state is None or not hasattr(state, "select_statement"):
            return None
        if self._announcing is None:
            self._choose()
        return _AnnouncedLoad() if self._announcing else _load_of(compiled, state)

    def eager(self, compiled: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """The relationships that a statement loads eagerly, where that is asked for."""
        state: Any = getattr(compiled, "compile_state", None)
        if not self._eager or self._announcing is not False or not hasattr(state, "current_path"):
            return ()
        return _eager_of(state)

    def close(self) -> None:
        """Take away the listener on sessions, if there is one and nobody else needs it."""
        with self._lock:
            if self._announcing:
                _announcer.leave()
            self._announcing = None

    def start_anew(self) -> None:
        """Go on in a forked child."""
        self._lock = threading.Lock()
        _announcer.start_anew()

    def _choose(self) -> None:
        with self._lock:
            if self._announcing is None:
                self._announcing = not readable()
                if self._announcing:
                    _announcer.enter()


def readable() -> bool:
    """Whether this version of SQLAlchemy has the private names that are read here."""
    from sqlalchemy.orm import context
    from sqlalchemy.orm.relationships import RelationshipProperty

    executing = context.QueryContext.default_load_options
    compiling = getattr(context, "_ORMCompileState", getattr(context, "ORMCompileState", None))
    compiled = getattr(compiling, "default_compile_options", None)
    return (
        all(hasattr(executing, name) for name in _EXECUTING)
        and all(hasattr(compiled, name) for name in _COMPILING)
        and hasattr(RelationshipProperty, "_get_attr_w_warn_on_none")
    )


def within_refresh() -> bool:
    """Whether the ORM is reading an object again now, further down the stack.

    Then it loads what the object had loaded eagerly in the way in which it loads lazily.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in _REFRESHING and frame.f_locals.get("refresh_state") is not None:
            return True
        frame = frame.f_back
    return False


#: With an underscore from SQLAlchemy 2.1 on.
_REFRESHING = ("load_on_pk_identity", "_load_on_pk_identity")
_EXECUTING = ("_lazy_loaded_from", "_refresh_state", "_is_user_refresh")
_COMPILING = ("_for_refresh_state", "_only_load_props", "_current_path")


def _load_of(compiled: Any, state: Any) -> Load | None:  # noqa: ANN401
    options = getattr(state, "compile_options", None)
    if options is None:
        return None
    if options._for_refresh_state:
        keys = options._only_load_props
        return Load(keys=None if keys is None else tuple(sorted(keys)))
    path = state.current_path.path
    if path:
        return Load(path[-1]) if hasattr(path[-1], "direction") else None
    relationship = _compared_with(compiled)
    return None if relationship is None else Load(relationship, own=True)


def _eager_of(state: Any) -> tuple[Any, ...]:  # noqa: ANN401
    path = state.current_path.path
    if path and hasattr(path[-1], "direction"):
        return (path[-1],)
    joined = [key[1][-1] for key in state.attributes if key[0] == "eager_row_processor"]
    return tuple(one for one in dict.fromkeys(joined) if hasattr(one, "direction"))


def _compared_with(compiled: Any) -> Any:  # noqa: ANN401
    """The dynamic or write-only relationship whose collection a statement reads."""
    for bind in compiled.binds.values():
        if getattr(bind.callable, "__qualname__", "").startswith(_COMPARISON):
            names = bind.callable.__code__.co_freevars
            found = {
                name: cell.cell_contents
                for name, cell in zip(names, bind.callable.__closure__, strict=True)
            }
            return _collection(found.get("mapper"), found.get("column"), compiled.statement)
    return None


_COMPARISON = "RelationshipProperty._get_attr_w_warn_on_none."


def _collection(mapper: Any, column: Any, stmt: Any) -> Any:  # noqa: ANN401
    if mapper is None or column is None:
        return None
    tables = {one for one in visitors.iterate(stmt) if isinstance(one, Table)}
    for one in mapper.relationships:
        if (
            one.lazy in ("dynamic", "write_only")
            and column in one.local_columns
            and one.mapper.local_table in tables
        ):
            return one
    return None


class _AnnouncedLoad:
    """Any statement of the ORM, of which `_announce` says what it loads."""

    __slots__ = ("line",)

    def __init__(self) -> None:
        self.line = LastLine()

    def lazy_parent(self, context: object) -> None:
        """Always None: see `read`."""

    def read(self, context: Any) -> Loaded | None:  # noqa: ANN401
        """What was announced."""
        found: Loaded | None = context.execution_options.get(_ANNOUNCED)
        return found


class _Announcer:
    """One listener on all sessions, as long as somebody needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed_by = 0

    def enter(self) -> None:
        from sqlalchemy.orm import Session

        with self._lock:
            self._needed_by += 1
            if self._needed_by == 1:
                event.listen(Session, "do_orm_execute", _announce)

    def start_anew(self) -> None:
        self._lock = threading.Lock()

    def leave(self) -> None:
        from sqlalchemy.orm import Session

        with self._lock:
            self._needed_by -= 1
            if not self._needed_by:
                event.remove(Session, "do_orm_execute", _announce)


_announcer = _Announcer()


def _announce(execution: ORMExecuteState) -> None:
    """Say by public names alone what a SELECT loads lazily; a listener on all sessions."""
    # It has no loader's names for anything but a SELECT. Nothing of ours may reach the application.
    with suppress(Exception):
        loaded = _public_load(execution) if execution.is_select else None
        if loaded is not None:
            execution.update_execution_options(**{_ANNOUNCED: loaded})


def _public_load(execution: ORMExecuteState) -> Loaded | None:
    parent, path = execution.lazy_loaded_from, execution.loader_strategy_path
    if parent is not None and path is not None and hasattr(path[-1], "direction"):
        return Loaded("lazy_load", parent, path[-1])
    return Loaded("refresh", None) if execution.is_column_load else None
