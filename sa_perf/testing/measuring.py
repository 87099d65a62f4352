"""What ran in a block: statements, their lines, what went one by one.

The sums are those of the instrumentations on the engines, before and behind the block; engines
without one get one that gives way to any that the application installs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExecuteStyle

from sa_perf.call_site import call_site
from sa_perf.dialects import dialect_for
from sa_perf.instrumentation import Instrumentation, living
from sa_perf.queries.fingerprint import Fingerprinter, fingerprint_of
from sa_perf.queries.recorder import IGNORE
from sa_perf.queries.scopes import measuring_scope
from sa_perf.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import Dialect

    from sa_perf.queries.aggregate import Aggregate
    from sa_perf.queries.repeats import RepeatStats

__all__ = ["Measurement", "StatementCalls", "measured", "recorded_everywhere"]

_NAME_LENGTH = 200
_LINES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementCalls:
    """A statement and how often it ran.

    Attributes:
        fingerprint: id of its shape.
        statement: the shape, without literals.
        calls: executions.
        seconds: time inside the driver.
        lines: application lines that issued it, most frequent first, with their number.
    """

    fingerprint: str
    statement: str
    calls: int
    seconds: float
    lines: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What ran in a block; filled when it ends.

    Attributes:
        statements: most calls first.
        repeats: what was issued one by one, most wasted time first; counts are the block's.
    """

    statements: list[StatementCalls] = field(default_factory=list)
    repeats: list[RepeatStats] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Executions of all statements."""
        return sum(one.calls for one in self.statements)

    @property
    def seconds(self) -> float:
        """Time inside the driver."""
        return sum(one.seconds for one in self.statements)


@contextmanager
def measured(name: str) -> Iterator[Measurement]:
    """Measure a block.

    Args:
        name: of the scope in which it runs.
    """
    found = Measurement()
    with recorded_everywhere(), _stand_in.measuring():
        before = _Reading(living())
        lines = _Lines()
        try:
            with lines, measuring_scope(name[-_NAME_LENGTH:]):
                yield found
        finally:
            # With those that came and went in the block.
            after = _Reading([*living(), *lines.recorders])
            found.statements = _statements(before, after, lines)
            found.repeats = after.repeats_since(before, name)


@contextmanager
def recorded_everywhere() -> Iterator[None]:
    """Have every engine recorded in this block, by a stand-in where nobody else does it."""
    _stand_in.enter()
    try:
        yield
    finally:
        _stand_in.leave()


class _StandIn:
    """Records what nobody else does, as long as a block needs it; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed_by = self._measuring = 0
        self._one: Instrumentation | None = None

    def enter(self) -> None:
        with self._lock:
            self._needed_by += 1
            if self._one is None and not any(one.everywhere for one in living()):
                self._one = Instrumentation(Engine, _SETTINGS, gives_way=True)

    def leave(self) -> None:
        with self._lock:
            self._needed_by -= 1
            if not self._needed_by and self._one is not None:
                self._one.uninstall()
                self._one = None

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Begin anew, unless another block is being measured: a run has many tests."""
        with self._lock:
            if self._one is not None and not self._measuring:
                self._one.reset()
            self._measuring += 1
        try:
            yield
        finally:
            with self._lock:
                self._measuring -= 1


_stand_in = _StandIn()
_SETTINGS = Settings(slow_seconds=3_600, explain=False, log_slow=False)


class _Reading:
    """The sums of instrumentations at one moment."""

    def __init__(self, recorders: Iterable[Instrumentation]) -> None:
        self.totals: dict[tuple[str, str], StatementCalls] = {}
        self._repeats: dict[Any, RepeatStats] = {}
        for one in {id(one): one for one in recorders}.values():
            one.fold()
            for aggregate, calls, nanoseconds in one.statistics.totals():
                self._add(aggregate, calls, nanoseconds)
            for repeat in one.statistics.repeat_stats():
                what = (repeat.kind, repeat.database, repeat.fingerprint, repeat.path)
                self._repeats[what, str(repeat.call_site)] = repeat

    def _add(self, aggregate: Aggregate, calls: int, nanoseconds: int) -> None:
        key = (aggregate.database, aggregate.key)
        known = self.totals.get(key)
        self.totals[key] = StatementCalls(
            fingerprint=aggregate.key,
            statement=aggregate.statement,
            calls=calls + (known.calls if known else 0),
            seconds=nanoseconds / 1e9 + (known.seconds if known else 0.0),
        )

    def repeats_since(self, before: _Reading, name: str) -> list[RepeatStats]:
        """What was issued one by one since, with the counts since, in the block of that name."""
        found = []
        for key, now in self._repeats.items():
            was = before._repeats.get(key)
            if was is None:
                found.append(now)
            elif now.calls > was.calls:
                since = {
                    name: max(0, getattr(now, name) - getattr(was, name))
                    for name in ("calls", "occurrences", "total_seconds", "wasted_seconds")
                }
                most = min(now.max_calls, now.calls - was.calls)
                found.append(replace(now, **since, max_calls=most, scope=(name,)))
        return sorted(found, key=lambda one: one.wasted_seconds, reverse=True)


class _Lines:
    """The application lines of every statement, by its fingerprint.

    Attributes:
        recorders: the instrumentations of all that was executed, also of those that are gone.
    """

    def __init__(self) -> None:
        self.recorders: set[Instrumentation] = set()
        self._lock = threading.Lock()
        self._found: dict[str, Counter[str]] = {}
        self._readers: dict[str, Fingerprinter] = {}

    def __enter__(self) -> _Lines:
        event.listen(Engine, "after_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "after_cursor_execute", self._note)

    def of(self, fingerprint: str) -> tuple[tuple[str, int], ...]:
        """The lines that issued a statement, most frequent first."""
        return tuple(self._found.get(fingerprint, Counter()).most_common(_LINES_SHOWN))

    def _note(
        self,
        conn: Connection,
        cursor: object,
        statement: str,
        parameters: object,
        context: Any,  # noqa: ANN401  # SQLAlchemy's, of which private names are read
        executemany: bool,
    ) -> None:
        if IGNORE in context.execution_options:
            return
        post = getattr(conn.dialect, "_sa_perf", None)
        if post is not None:
            self.recorders.add(post.owner)
        if context.execute_style is ExecuteStyle.INSERTMANYVALUES:
            # One call, however many batches it is sent in.
            noted = vars(context).setdefault("_sa_perf_noted", set())
            if self in noted:
                return
            noted.add(self)
        shape = getattr(context.compiled, "_sa_perf_shape", None)
        key = shape.aggregate.key if shape else self._read(conn.dialect, context, statement)
        line = str(call_site() or "no line of the application")
        with self._lock:
            self._found.setdefault(key, Counter())[line] += 1

    def _read(self, dialect: Dialect, context: Any, statement: str) -> str:  # noqa: ANN401
        reader = self._readers.get(dialect.name)
        if reader is None:
            reader = self._readers[dialect.name] = Fingerprinter(dialect_for(dialect))
        text = getattr(context, "statement", None) or statement
        return fingerprint_of(reader.shape_of(text, raw=True))


def _statements(before: _Reading, after: _Reading, lines: _Lines) -> list[StatementCalls]:
    found = []
    for key, now in after.totals.items():
        was = before.totals.get(key)
        calls = now.calls - (was.calls if was else 0)
        if calls > 0:
            seconds = max(0.0, now.seconds - (was.seconds if was else 0.0))
            at = lines.of(now.fingerprint)
            found.append(replace(now, calls=calls, seconds=seconds, lines=at))
    return sorted(found, key=lambda one: (one.calls, one.seconds), reverse=True)
