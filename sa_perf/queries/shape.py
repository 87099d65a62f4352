"""What the recorder knows of a statement; hangs on the compiled one.

SQLAlchemy keeps compiled statements in its cache, so a cached statement costs no hashing and no
look-up here. Raw texts have no compiled statement; a bounded dictionary serves them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from sqlalchemy.engine import ExecutionContext

    from sa_perf.call_site import LastLine
    from sa_perf.queries.aggregate import Aggregate
    from sa_perf.queries.execution import Context, CountsFetches
    from sa_perf.queries.fingerprint import Fingerprinter
    from sa_perf.queries.orm_loads import Loaded, Loads
    from sa_perf.queries.statistics import Statistics

__all__ = ["OrmLoad", "Parameters", "Shape", "Shapes"]

#: What goes to the driver: a sequence or mapping, or a list of them.
Parameters: TypeAlias = Any

_MAX_RAW_TEXTS = 2_048
_MAX_RAW_LENGTH = 2_000
_WRITES = ("insert", "update", "delete")
#: How texts begin that change no rows.
_CHANGE_NOTHING = frozenset(
    {
        "begin", "close", "commit", "declare", "desc", "describe", "discard", "explain", "fetch",
        "pragma", "release", "reset", "rollback", "savepoint", "select", "set", "show", "start",
        "table", "use", "values", "with",
    }
)  # fmt: skip
_COMMENT = re.compile(r"(?:\s|/\*.*?\*/|--[^\n]*(?:\n|\Z))+", re.DOTALL)
_CHANGES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+UPDATE|UPDATE|(?:KEY\s+)?SHARE)\b|\bLOCK\s+IN\b", re.I)
_FROM = re.compile(r"\bFROM\b", re.IGNORECASE)


class OrmLoad(Protocol):
    """What the ORM says of its own statements, see `sa_perf.queries.orm_loads`."""

    line: LastLine

    def lazy_parent(self, context: Context) -> Any:  # noqa: ANN401  # an InstanceState
        """The object for which a relationship is loaded lazily; None: ask `read`."""

    def read(self, context: Context) -> Loaded | None:
        """What an execution loads; None where it is not one of many by nature."""


class Shape:
    """One compiled statement or raw text, as one recorder sees it."""

    __slots__ = (
        "aggregate", "asks", "eager", "fetches", "inserts", "load", "many", "reads", "recorder",
        "returns_rows", "slow_ns", "watched", "writes",
    )  # fmt: skip

    def __init__(
        self,
        recorder: CountsFetches,
        aggregate: Aggregate,
        *,
        returns_rows: bool | None,
        many: bool = False,
        defaults: bool = False,
        verb: str = "",
        load: OrmLoad | None = None,
        eager: tuple[Any, ...] = (),
    ) -> None:
        """Hold what is known.

        Args:
            recorder: that sees it so.
            aggregate: where it is counted.
            returns_rows: None where only the cursor knows, after the execution.
            many: may be sent in batches of multi-row INSERTs.
            defaults: SQLAlchemy may run statements for column defaults on its context.
            verb: ``select``, ``insert``, ``update`` or ``delete``; ``other`` for what may change
                rows in another way; empty for all others.
            load: says what it loads for the ORM; None where it is no load of the ORM's.
            eager: relationships that it loads eagerly, where that is watched.
        """
        self.recorder = recorder
        self.slow_ns = recorder.slow_ns
        self.aggregate = aggregate
        #: None where only the cursor knows, after the execution.
        self.returns_rows = returns_rows
        #: May be sent in batches of multi-row INSERTs.
        self.many = many
        self.load = load
        self.eager = eager
        self.inserts = verb == "insert"
        self.writes = verb == "other" or verb in _WRITES
        #: Reads tables, so it gives the same rows for the same parameters until one is written.
        self.reads = verb == "select" and load is None
        #: Each execution is looked at for repetition, also outside of scopes.
        self.watched = load is not None or self.inserts
        #: The ordinary case: each execution gives rows, which are fetched next.
        self.fetches = returns_rows is True and not many and not defaults
        #: The cursor tells after each execution whether it gives rows: raw texts.
        self.asks = returns_rows is None and not many and not defaults


class Shapes:
    """Finds the shape of a statement that was not seen before.

    Args:
        database: label under which the statements are counted.
        fingerprinter: for the texts of this database.
        statistics: where the aggregates are.
        max_length: characters kept of a shape's text.
        loads: says what the ORM loads; None: repetition is not looked for.
    """

    def __init__(
        self,
        database: str,
        fingerprinter: Fingerprinter,
        statistics: Statistics,
        max_length: int,
        *,
        loads: Loads | None = None,
    ) -> None:
        self._database = database
        self._fingerprinter = fingerprinter
        self._statistics = statistics
        self._max_length = max_length
        self._loads = loads
        self._raw: dict[str, Shape] = {}

    def known(self, context: Context) -> Shape | None:
        """The shape that `shape_of` found for this execution, if it is still kept."""
        return getattr(context.compiled, "_sa_perf_shape", None) or self._raw.get(context.statement)

    def shape_of(self, recorder: CountsFetches, context: ExecutionContext, statement: str) -> Shape:
        """The shape of an execution's statement, made and kept if it is new."""
        compiled: Any = context.compiled
        if compiled is None:
            # As the application gave it, without a comment that somebody's listener added.
            return self.raw_shape(recorder, getattr(context, "statement", None) or statement)
        raw = bool(getattr(compiled, "isplaintext", False))
        writes = any(getattr(compiled, f"is{verb}", False) for verb in _WRITES)
        returns_rows: bool | None = None
        if writes:
            returns_rows = bool(compiled.effective_returning)
        elif not raw and getattr(compiled, "_result_columns", None):
            # Other elements (DDL, SAVEPOINT) do not say before they are run.
            returns_rows = True
        shape = Shape(
            recorder,
            self._aggregate(compiled.string, raw=raw),
            returns_rows=returns_rows,
            many=bool(getattr(compiled, "_insertmanyvalues", None)),
            defaults=writes and bool(compiled.insert_prefetch or compiled.update_prefetch),
            verb=self._verb(compiled),
            load=None if self._loads is None else self._loads.of(compiled),
            eager=() if self._loads is None else self._loads.eager(compiled),
        )
        compiled._sa_perf_shape = shape
        return shape

    def raw_shape(self, recorder: CountsFetches, text: str) -> Shape:
        """The shape of a text that was not compiled."""
        shape = self._raw.get(text)
        if shape is None:
            aggregate = self._aggregate(text, raw=True)
            shape = Shape(recorder, aggregate, returns_rows=None, verb=self._verb_of(text))
            if len(text) <= _MAX_RAW_LENGTH:
                if len(self._raw) >= _MAX_RAW_TEXTS:
                    self._raw = {}
                self._raw[text] = shape
        return shape

    def _verb(self, compiled: Any) -> str:  # noqa: ANN401
        """What a statement does, as far as repetition matters."""
        if self._loads is None:
            return ""
        if getattr(compiled, "isplaintext", False):
            return self._verb_of(compiled.string)
        found = [verb for verb in _WRITES if getattr(compiled, f"is{verb}", False)]
        if found:
            return found[0]
        locks = getattr(compiled.statement, "_for_update_arg", None) is not None
        return "" if locks else self._verb_of(compiled.string)

    def _verb_of(self, text: str) -> str:
        """The same of a text; a SELECT that reads no table, or to change it, is none."""
        if self._loads is None:
            return ""
        comment = _COMMENT.match(text)
        text = text[comment.end() :] if comment else text
        first = re.split(r"[\s(;]", text, maxsplit=1)[0].lower()
        if first in _WRITES:
            return first
        if first not in _CHANGE_NOTHING:
            # CALL, MERGE, REPLACE, TRUNCATE; in brackets stands a SELECT.
            return "other" if first else ""
        if first == "with" and _CHANGES.search(text):
            return "other"
        reads = first in ("select", "with") and _FROM.search(text) and not _LOCKS.search(text)
        return "select" if reads else ""

    def _aggregate(self, text: str, *, raw: bool) -> Aggregate:
        shape = self._fingerprinter.shape_of(text, raw=raw)[: self._max_length]
        return self._statistics.aggregate(
            self._database, shape, self._fingerprinter if raw else None
        )
