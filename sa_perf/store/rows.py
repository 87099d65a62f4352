"""Rows of the store's tables, of what a process recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sa_perf.json_values import encoded
from sa_perf.queries.fingerprint import kind_of
from sa_perf.queries.merging import merged_scopes
from sa_perf.store.histogram_blob import to_blob
from sa_perf.store.tables import MAX_NAME

if TYPE_CHECKING:
    from sa_perf.queries.aggregate import QueryStats
    from sa_perf.queries.scope_statistics import ScopeStats
    from sa_perf.queries.slow_log import SlowExecution
    from sa_perf.queries.transactions import TransactionStats
    from sa_perf.resources.readings import Standing
    from sa_perf.store.batch import Batch, Document, Process

__all__ = [
    "document_row", "process_row", "query_row", "sample_rows", "scope_rows", "slow_row",
    "statement_row", "storable", "transaction_row",
]  # fmt: skip

_MAX_HOST = 255
_MAX_ERROR = 100


def storable(text: str, length: int | None = None) -> str:
    """A text that every database takes: no NUL, no half of a character; cut to ``length``.

    MySQL and MariaDB take no notice of blanks at the end, so there are none.
    """
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:length].rstrip(" ")


def process_row(process: Process, batch: Batch) -> dict[str, Any]:
    """A process that has not flushed yet."""
    return {
        "token": process.token,
        "service": None if process.service is None else storable(process.service, MAX_NAME),
        "release_name": None if process.release is None else storable(process.release, MAX_NAME),
        "host": storable(process.host, _MAX_HOST),
        "pid": process.pid,
        "started_at": process.started_at,
        "seen_at": int(batch.taken_at),
        "flush": 0,
        "lost_flushes": 0,
        "lost_calls": 0,
        "facts": batch.facts,
    }


def statement_row(one: QueryStats | SlowExecution, seen_at: float) -> dict[str, Any]:
    """The text of a statement."""
    return {
        "fingerprint": one.fingerprint,
        "database_label": storable(one.database, MAX_NAME),
        "kind": getattr(one, "kind", None) or kind_of(one.statement),
        "statement": storable(one.statement),
        "seen_at": int(seen_at),
    }


def query_row(one: QueryStats) -> dict[str, Any]:
    """Sums of a statement, without whose and when."""
    return {
        "calls": one.calls,
        "errors": one.errors,
        "row_count": one.rows,
        "executions": one.executions,
        "parameter_sets": one.parameter_sets,
        "executemany_calls": one.executemany_calls,
        "insertmanyvalues_calls": one.insertmanyvalues_calls,
        "total_seconds": one.total_seconds,
        "fetch_seconds": one.fetch_seconds,
        "loop_wait_seconds": one.loop_wait_seconds,
        "min_seconds": one.min_seconds,
        "max_seconds": one.max_seconds,
        "sum_squares": one.sum_squares,
        "first_seen": one.first_seen.timestamp(),
        "last_seen": one.last_seen.timestamp(),
        "last_error": None if one.last_error is None else storable(one.last_error, _MAX_ERROR),
        "histogram": to_blob(one.histogram),
    }


def scope_rows(scopes: Iterable[ScopeStats]) -> list[dict[str, Any]]:
    """Sums of scopes; those whose names are the same as far as they are kept are one."""
    named: dict[str, list[ScopeStats]] = {}
    for one in scopes:
        named.setdefault(storable(one.name, MAX_NAME), []).append(one)
    return [_scope_row(name, ones) for name, ones in named.items()]


def _scope_row(name: str, ones: list[ScopeStats]) -> dict[str, Any]:
    (one,) = merged_scopes(replace(each, name=name) for each in ones)
    return {
        "name": name,
        "runs": one.runs,
        "statements": one.statements,
        "max_statements": one.max_statements,
        "row_count": one.rows,
        "database_seconds": one.database_seconds,
        "max_database_seconds": one.max_database_seconds,
        "total_seconds": one.total_seconds,
    }


def transaction_row(one: TransactionStats) -> dict[str, Any]:
    """How transactions ended."""
    return {
        "commits": one.commits,
        "rollbacks": one.rollbacks,
        "total_seconds": one.total_seconds,
        "max_seconds": one.max_seconds,
        "histogram": to_blob(one.histogram),
    }


def slow_row(one: SlowExecution) -> dict[str, Any]:
    """A slow execution without its parameters, and without its statement and process."""
    return {
        "ended_at": one.ended_at.timestamp(),
        "duration_seconds": one.duration_seconds,
        "fetch_seconds": one.fetch_seconds,
        "row_count": one.rows,
        # Anything but ASCII is escaped, half characters too.
        "scope": json.dumps(one.scope),
        "call_site": None if one.call_site is None else json.dumps(encoded(one.call_site)),
    }


def sample_rows(standings: Iterable[Standing]) -> list[dict[str, Any]]:
    """How much of each resource is used; without when, and of whom."""
    named = {storable(one.resource, MAX_NAME): one for one in standings}
    return [
        {
            "resource": name,
            "level": one.level,
            "used_ratio": one.ratio,
            "detail": storable(one.detail),
        }
        for name, one in named.items()
    ]


def document_row(one: Document, seen_at: float) -> dict[str, Any]:
    """An item of a snapshot."""
    return {
        "kind": one.kind,
        "identity": one.identity,
        "seen_at": int(seen_at),
        "document": one.text,
    }
