"""Which processes ran in a window, and what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from sa_perf.json_values import decoded
from sa_perf.snapshot import Database, Health
from sa_perf.snapshot.parts import merged_databases, merged_health
from sa_perf.store.tables import processes

__all__ = ["Processes", "read_processes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Of the processes of a window, what a snapshot says.

    Attributes:
        number: of processes; 0 where they are not known any more.
        service: names, by commas; None where none was set.
        host: names, by commas.
        pid: the smallest.
        slow_seconds: the least threshold.
        databases: one for each label.
        health: sums since the processes' start.
        lost_flushes: that never reached the store.
        lost_calls: in them.
        unreadable: processes of which this is not known but for their names.
    """

    number: int
    service: str | None
    host: str
    pid: int
    slow_seconds: float
    databases: tuple[Database, ...]
    health: Health
    lost_flushes: int
    lost_calls: int
    unreadable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    databases: tuple[Database, ...] = ()
    health: Health = field(default_factory=Health)
    slow_seconds: float | None = None


def read_processes(connection: Connection, begin: int, end: int) -> Processes:
    """Read the processes that had started before ``end`` and flushed since ``begin``.

    Args:
        connection: to the store.
        begin: seconds since 1970.
        end: likewise.
    """
    rows = connection.execute(
        select(processes).where(processes.c.seen_at >= begin, processes.c.started_at < end)
    ).all()
    facts = [_facts(row) for row in rows]
    known = [one for one in facts if one is not None]
    thresholds = [one.slow_seconds for one in known if one.slow_seconds is not None]
    return Processes(
        number=len(rows),
        service=_names(row.service for row in rows) or None,
        host=_names(row.host for row in rows) or "an unknown host",
        pid=min((row.pid for row in rows), default=0),
        slow_seconds=min(thresholds, default=0.0),
        databases=merged_databases(each for one in known for each in one.databases),
        health=merged_health(one.health for one in known),
        lost_flushes=sum(row.lost_flushes for row in rows),
        lost_calls=sum(row.lost_calls for row in rows),
        unreadable=len(facts) - len(known),
    )


def _facts(row: Any) -> _Facts | None:  # noqa: ANN401  # a row of the SELECT above
    try:
        return decoded(_Facts, json.loads(row.facts))
    except (ValueError, RecursionError):
        return None


def _names(given: Iterable[str | None]) -> str:
    return ", ".join(sorted({one for one in given if one}))
