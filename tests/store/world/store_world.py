"""A store as a test looks at it, and processes that flush to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, Engine, Table, select

from sa_perf.queries.faults import Faults
from sa_perf.queries.statistics import Statistics
from sa_perf.snapshot import Database, Snapshot
from sa_perf.store.batch import Process
from sa_perf.store.flushing import Flusher
from sa_perf.store.place import Place
from sa_perf.tables import UNRECORDED

#: A full hour.
NOON = int(datetime(2026, 11, 23, 12, tzinfo=timezone.utc).timestamp())


@dataclass
class Clock:
    """Seconds since 1970; tests set it."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@dataclass
class Store:
    """A store with its tables, as a test looks at it."""

    engine: Engine
    place: Place
    clock: Clock = field(default_factory=Clock)

    def rows(self, table: Table, *columns: str) -> list[Any]:
        chosen = [table.c[name] for name in columns] or [table]
        with self.engine.connect().execution_options(**UNRECORDED) as connection:
            return sorted(tuple(one) for one in connection.execute(select(*chosen)))

    def execute(self, *statements: Any) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def run(self, work: Callable[[Connection], Any]) -> Any:
        return self.place.run(work)


@dataclass
class Worker:
    """A process: statistics on the store's clock, and what flushes them."""

    store: Store
    host: str = "web-1"
    pid: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nanoseconds = 1_000_000_000
        self.statistics = Statistics(100, wall=self.store.clock, clock=lambda: self.nanoseconds)
        self.more: dict[str, Any] = {}
        self.faults = Faults()
        self.flusher = Flusher(
            self.store.place,
            self.identity,
            self.read,
            self.faults,
            wall=self.store.clock,
            **self.options,
        )

    def identity(self) -> Process:
        return Process(service="shop", release=None, host=self.host, pid=self.pid, started_at=NOON)

    def run(self, statement: str, seconds: float = 0.001, rows: int = 1) -> None:
        aggregate = self.statistics.aggregate("sqlite:///shop.db", statement, None)
        self.nanoseconds += int(seconds * 1e9)
        aggregate.count(True, self.nanoseconds, int(seconds * 1e9), 0, rows)

    def read(self) -> Snapshot:
        return Snapshot(
            taken_at=datetime.fromtimestamp(self.store.clock.now, timezone.utc),
            started_at=datetime.fromtimestamp(NOON, timezone.utc),
            host=self.host,
            pid=self.pid,
            slow_seconds=0.2,
            databases=(
                Database(label="sqlite:///shop.db", dialect="sqlite", driver="d", capture="c"),
            ),
            queries=self.statistics.take(),
            **self.more,
        )

    def flush(self, timeout_seconds: float = 30.0) -> bool:
        return self.flusher.flush(timeout_seconds)
