"""What a snapshot says of databases and of sa_perf itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sa_perf.plans.merging import merged_sampler_health
from sa_perf.plans.results import SamplerHealth

__all__ = [
    "Database", "Health", "StoreHealth", "merged_databases", "merged_health", "merged_store_health",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database that statements ran on.

    Attributes:
        label: dialect, host and database name; no user, no password. Unique in a snapshot.
        dialect: SQLAlchemy's name of it.
        driver: SQLAlchemy's name of the driver.
        capture: which events are listened to: ``dialect_events`` or ``cursor_events``.
        connection_errors: connections that could not be opened.
        plans: state of the worker that explains its slow statements.
    """

    label: str
    dialect: str
    driver: str
    capture: str
    connection_errors: int = 0
    plans: SamplerHealth | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How sa_perf itself is doing.

    Attributes:
        faults: exceptions in its own listeners and threads; none reached the application.
        last_fault: place and class of the last one.
        evicted_fingerprints: shapes that were moved into "other".
        write_failures: snapshots that could not be written to ``snapshot_path``.
        dropped_repeats: repetitions for which there was no room among the 500 that are kept.
    """

    faults: int = 0
    last_fault: str | None = None
    evicted_fingerprints: int = 0
    write_failures: int = 0
    dropped_repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """How sending statistics to the store fares.

    Attributes:
        label: where the store is; no user, no password.
        flushes: batches that are stored.
        waiting: batches that wait in memory.
        failures: tries that failed.
        lost_flushes: batches that were dropped, as too many waited or the store refused them.
        lost_calls: executions in those.
        last_error: why the last try failed, without values; None where it did not.
        last_flush_at: when a batch was stored last, aware UTC; None where none was.
    """

    label: str
    flushes: int = 0
    waiting: int = 0
    failures: int = 0
    lost_flushes: int = 0
    lost_calls: int = 0
    last_error: str | None = None
    last_flush_at: datetime | None = None


def merged_store_health(states: Iterable[StoreHealth | None]) -> StoreHealth | None:
    """The sums, the last flush and one of the errors; None where there is none."""
    known = [one for one in states if one is not None]
    if not known:
        return None
    return StoreHealth(
        # What was merged already is taken apart, so that the order does not matter.
        label=", ".join(sorted({label for one in known for label in one.label.split(", ")})),
        flushes=sum(one.flushes for one in known),
        waiting=sum(one.waiting for one in known),
        failures=sum(one.failures for one in known),
        lost_flushes=sum(one.lost_flushes for one in known),
        lost_calls=sum(one.lost_calls for one in known),
        last_error=max((one.last_error for one in known if one.last_error), default=None),
        last_flush_at=max((one.last_flush_at for one in known if one.last_flush_at), default=None),
    )


def merged_databases(databases: Iterable[Database]) -> tuple[Database, ...]:
    """One for each label, in their order."""
    groups: dict[str, list[Database]] = {}
    for one in databases:
        groups.setdefault(one.label, []).append(one)
    return tuple(
        replace(
            max(parts, key=lambda one: (one.dialect, one.driver, one.capture)),
            connection_errors=sum(one.connection_errors for one in parts),
            plans=merged_sampler_health(one.plans for one in parts),
        )
        for _, parts in sorted(groups.items())
    )


def merged_health(states: Iterable[Health]) -> Health:
    """The sums."""
    parts = list(states)
    return Health(
        faults=sum(one.faults for one in parts),
        last_fault=max((one.last_fault for one in parts if one.last_fault), default=None),
        evicted_fingerprints=sum(one.evicted_fingerprints for one in parts),
        write_failures=sum(one.write_failures for one in parts),
        dropped_repeats=sum(one.dropped_repeats for one in parts),
    )
