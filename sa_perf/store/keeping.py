"""How long the store keeps what: retention policies on its own tables.

Minutes live for a day, hours for a month, days for two years; whatever else is kept goes when the
spans that could speak of it are gone. The policies are run by `sa_perf.retention`, like those of
an application: in small batches, one process at a time, with an audit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.retention.policy import declare
from sa_perf.retention.rules import RetentionPolicy
from sa_perf.retention.runner import run
from sa_perf.store.tables import (
    DAY,
    HOUR,
    MINUTE,
    documents,
    processes,
    queries,
    samples,
    scopes,
    slow,
    statements,
    transactions,
)
from sa_perf.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from sa_perf.retention.results import RetentionRun

__all__ = ["DAYS", "keep_small"]

#: Days that spans of each width are kept, by width.
DAYS = {MINUTE: 1.0, HOUR: 31.0, DAY: 731.0}
_DAYS_OF_DETAILS = 31.0
_DAYS_OF_DOCUMENTS = 92.0


def keep_small(connection: Connection) -> RetentionRun:
    """Delete what has been kept for long enough.

    Args:
        connection: of the store; its engine is used.
    """
    return run(connection.engine, metadata, policies=_NAMES, actor="sa_perf store")


def _declare(table: Table, by: str, days: float, **more: str) -> str:
    declare(table, RetentionPolicy(by=by, epoch="seconds", days=days, name=table.name, **more))  # type: ignore[arg-type]  # words of Literals
    return table.name


_NAMES = [
    *(
        _declare(tables[width], "began_at", days)
        for tables in (queries, scopes, transactions)
        for width, days in DAYS.items()
    ),
    _declare(slow, "ended_at", _DAYS_OF_DETAILS),
    _declare(samples, "taken_at", _DAYS_OF_DETAILS),
    _declare(documents, "seen_at", _DAYS_OF_DOCUMENTS),
    _declare(processes, "seen_at", _DAYS_OF_DOCUMENTS, on_children="restrict"),
    _declare(statements, "seen_at", DAYS[DAY] + 1, on_children="restrict"),
]
