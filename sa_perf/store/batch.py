"""What one process flushes at once, and who it is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sa_perf.json_values import encoded
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.queries.transactions import TransactionStats
from sa_perf.resources.readings import Standing
from sa_perf.snapshot import Snapshot

if TYPE_CHECKING:
    from sa_perf.json_values import JSONValue

__all__ = ["Batch", "Document", "Documents", "Process", "facts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that flushes.

    Attributes:
        token: drawn at its start and after a fork; 32 hexadecimal digits.
        service: name of the application; None where it was not set.
        release: what the application calls its version; None likewise.
        host: name of the machine.
        pid: process id.
        started_at: seconds since 1970 UTC.
    """

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    service: str | None
    release: str | None
    host: str
    pid: int
    started_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One item of a snapshot that is kept as it is, the last of its identity.

    Attributes:
        kind: field of the snapshot.
        identity: of the thing that it is about.
        text: JSON.
    """

    kind: str
    identity: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one process recorded in a span of time.

    Attributes:
        number: 1, 2, ... within the process.
        began_at: begin of its minute, seconds since 1970 UTC.
        taken_at: when it was taken, seconds since 1970 UTC.
        facts: the process's databases and health, as JSON.
        queries: sums of the span.
        scopes: likewise.
        transactions: likewise.
        slow: executions that ended in the span.
        samples: how much of each resource is used.
        documents: those that are new or have changed.
    """

    number: int
    began_at: int
    taken_at: float
    facts: str
    queries: tuple[QueryStats, ...] = ()
    scopes: tuple[ScopeStats, ...] = ()
    transactions: TransactionStats = field(default_factory=TransactionStats)
    slow: tuple[SlowExecution, ...] = ()
    samples: tuple[Standing, ...] = ()
    documents: tuple[Document, ...] = ()

    @property
    def calls(self) -> int:
        """Executions in it."""
        return sum(one.calls for one in self.queries)

    @property
    def rows(self) -> int:
        """How many rows it makes: the measure of what it holds in memory."""
        parts = (self.queries, self.scopes, self.slow, self.samples, self.documents)
        return 1 + sum(map(len, parts))


class Documents:
    """Tells which documents of a reading are new since the last one.

    Args:
        token: of the process, for what is a sum of its own.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._known: dict[tuple[str, str], Any] = {}

    def changed(self, reading: Snapshot) -> tuple[Document, ...]:
        """Those that were not there at the last call, or were otherwise. O(items)."""
        found = {
            (kind, identity): item
            for kind, identify in _KINDS.items()
            for identity, item in self._identified(kind, identify, getattr(reading, kind))
        }
        new = [
            Document(kind=kind, identity=identity, text=_json(encoded(item)))
            for (kind, identity), item in found.items()
            if self._known.get((kind, identity)) != item
        ]
        self._known = found
        return tuple(new)

    def _identified(
        self, kind: str, identify: Callable[[Any], tuple[object, ...]], items: Iterable[Any]
    ) -> Iterable[tuple[str, Any]]:
        for item in items:
            whose = (self._token,) if kind in _OF_PROCESS else ()
            key = json.dumps([*whose, *identify(item)], default=str)
            yield sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), item


def _fields(*names: str) -> Callable[[Any], tuple[object, ...]]:
    def values(names: tuple[str, ...], item: object) -> tuple[object, ...]:
        return tuple(getattr(item, name) for name in names)

    return partial(values, names)


#: Field of a snapshot -> what makes an item of it one.
_KINDS: dict[str, Callable[[Any], tuple[object, ...]]] = {
    "plans": _fields("fingerprint", "database"),
    "plan_changes": _fields("fingerprint", "database", "changed_at"),
    "repeats": _fields(
        "kind", "fingerprint", "database", "entity", "attribute", "path", "call_site"
    ),
    "eager_loads": _fields("entity", "attribute"),
    "advice": _fields("database"),
    "retention": _fields("policy"),
}
#: Sums of one process: those of another are not to replace them.
_OF_PROCESS = frozenset({"repeats", "eager_loads", "retention"})


def _json(value: JSONValue) -> str:
    return json.dumps(value, separators=(",", ":"))


def facts_of(reading: Snapshot) -> str:
    """The databases and the health of a process, as JSON."""
    facts: dict[str, JSONValue] = {
        "databases": encoded(reading.databases),
        "health": encoded(reading.health),
        "slow_seconds": reading.slow_seconds,
    }
    return _json(facts)
