"""A store that tests fill by hand, row by row, as processes would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import count
from typing import Any

from sqlalchemy import Engine, Table, insert, select

from sa_perf.histogram import Histogram
from sa_perf.json_values import encoded
from sa_perf.snapshot import Database, Health
from sa_perf.store import tables
from sa_perf.store.histogram_blob import to_blob
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE
from sa_perf.tables import metadata

LABEL = "sqlite:///shop.db"
#: 2026-11-23 12:00 UTC.
NOON = 1_795_435_200


def at(seconds: float) -> datetime:
    """A moment in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)


class StoredWorld:
    """Makes the tables and writes rows.

    Args:
        engine: of an empty database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.flushes = count(1)
        metadata.create_all(engine)

    def insert(self, table: Table, *rows: dict[str, Any]) -> Any:
        """Write rows of one form; returns the number that the database gave the last one."""
        with self.engine.begin() as connection:
            if len(rows) > 1:
                return connection.execute(insert(table), rows)
            return (connection.execute(insert(table), rows[0]).inserted_primary_key or (None,))[0]

    def process(self, **given: Any) -> int:
        """A process that has flushed up to noon."""
        facts = {
            "databases": encoded(
                (Database(label=LABEL, dialect="sqlite", driver="pysqlite", capture="events"),)
            ),
            "health": encoded(Health(faults=1)),
            "slow_seconds": 0.2,
        }
        number = next(self.flushes)
        row = {
            "token": f"{number:032x}", "service": "shop", "host": "web-1", "pid": 4_000 + number,
            "started_at": NOON - 2 * DAY, "seen_at": NOON, "flush": 1, "lost_flushes": 0,
            "lost_calls": 0, "facts": json.dumps(facts), "release_name": None,
        }  # fmt: skip
        return self.insert(tables.processes, {**row, **given})

    def statement(self, name: str, **given: Any) -> int:
        """A SELECT from a table of this name; its fingerprint begins with it."""
        row = {
            "fingerprint": f"{name:x<16}"[:16], "database_label": LABEL, "kind": "select",
            "statement": f"SELECT {name}.id FROM {name}", "seen_at": NOON,
        }  # fmt: skip
        return self.insert(tables.statements, {**row, **given})

    def ran(
        self,
        statement: int,
        moment: int,
        milliseconds: Sequence[float],
        *,
        process: int = 1,
        width: int = MINUTE,
        **given: Any,
    ) -> None:
        """The row of a span in which a statement took so long, each time with three rows."""
        row = query_row(statement, moment, milliseconds, process, width)
        row["flush"] = MERGED if process == MERGED else next(self.flushes)
        self.insert(tables.queries[width], {**row, **given})

    def scope(self, name: str, moment: int, runs: int, seconds: float, **given: Any) -> None:
        """The row of a span of a scope with four statements a run."""
        row = {
            "began_at": moment - moment % MINUTE, "name": name, "process_id": 1,
            "flush": next(self.flushes), "runs": runs, "statements": 4 * runs,
            "max_statements": 4, "row_count": 9 * runs, "database_seconds": seconds,
            "max_database_seconds": seconds / runs, "total_seconds": 2 * seconds,
        }  # fmt: skip
        self.insert(tables.scopes[MINUTE], {**row, **given})

    def transaction(self, moment: int, milliseconds: Sequence[float], **given: Any) -> None:
        """The row of a span in which transactions were committed."""
        row = {
            "began_at": moment - moment % MINUTE, "process_id": 1,
            "flush": next(self.flushes), "commits": len(milliseconds), "rollbacks": 0,
            "total_seconds": sum(milliseconds) / 1e3, "max_seconds": max(milliseconds) / 1e3,
            "histogram": blob_of(milliseconds),
        }  # fmt: skip
        self.insert(tables.transactions[MINUTE], {**row, **given})

    def slow(self, statement: int, moment: float, seconds: float, **given: Any) -> None:
        """A slow execution."""
        row = {
            "statement_id": statement, "process_id": 1, "ended_at": moment,
            "duration_seconds": seconds, "fetch_seconds": 0.0, "row_count": 3,
            "scope": '["GET /orders"]',
            "call_site": '{"file": "shop/views.py", "line": 42, "function": "orders"}',
        }  # fmt: skip
        self.insert(tables.slow, {**row, **given})

    def document(
        self, kind: str, value: object, *, identity: str = "1", seen_at: int = NOON
    ) -> None:
        """One item of a snapshot's field of this name, or a text that is none."""
        text = value if isinstance(value, str) else json.dumps(encoded(value))
        row = {"kind": kind, "identity": identity, "seen_at": seen_at, "document": text}
        self.insert(tables.documents, row)

    def roll(self, *, hours: int = 0, days: int = 0) -> None:
        """Say up to where hours and days hold everything; writes no sums."""
        with self.engine.begin() as connection:
            connection.execute(tables.levels.delete())
            for width, end in ((HOUR, hours), (DAY, days)):
                row = {"width": width, "closed_at": end, "rolled_at": end}
                connection.execute(insert(tables.levels), row)

    def count(self, table: Table) -> int:
        """How many rows a table has."""
        with self.engine.connect() as connection:
            return len(connection.execute(select(table)).all())


def query_row(
    statement: int, moment: int, milliseconds: Sequence[float], process: int, width: int
) -> dict[str, Any]:
    """A row of the sums of a statement, but for its flush."""
    calls = len(milliseconds)
    seconds = [one / 1e3 for one in milliseconds]
    return {
        "began_at": moment - moment % width, "statement_id": statement,
        "process_id": process, "calls": calls, "errors": 0, "row_count": 3 * calls,
        "executions": calls, "parameter_sets": calls, "executemany_calls": 0,
        "insertmanyvalues_calls": 0, "total_seconds": sum(seconds), "fetch_seconds": 0.0,
        "loop_wait_seconds": 0.0, "min_seconds": min(seconds, default=0.0),
        "max_seconds": max(seconds, default=0.0), "sum_squares": sum(one * one for one in seconds),
        "first_seen": float(moment), "last_seen": moment + 0.5, "last_error": None,
        "histogram": blob_of(milliseconds),
    }  # fmt: skip


def blob_of(milliseconds: Sequence[float]) -> bytes:
    """The bytes of a histogram of durations."""
    return to_blob(histogram_of(milliseconds))


def histogram_of(milliseconds: Sequence[float]) -> Histogram:
    """A histogram of durations."""
    histogram = Histogram()
    for one in milliseconds:
        histogram.add(round(one * 1e6))
    return histogram
