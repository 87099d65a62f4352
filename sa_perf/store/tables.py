"""The store's own tables: what processes recorded, by spans of time.

Times are whole seconds since 1970 UTC, so that a span is found by division on every database. A
row of a span is written once and never changed: by the process that recorded it, or, of an hour or
a day that is over, by whoever added up all processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from sa_perf.dialects.column_types import TABLE_OPTIONS, Key, LongText, exact_text
from sa_perf.tables import PREFIX, metadata

__all__ = [
    "DAY", "HOUR", "MAX_NAME", "MERGED", "MINUTE", "TABLES", "WIDTHS", "documents", "levels",
    "processes", "queries", "samples", "scopes", "slow", "statements", "transactions",
]  # fmt: skip

#: Widths of the spans, in seconds.
MINUTE, HOUR, DAY = 60, 3_600, 86_400
WIDTHS = {MINUTE: "minute", HOUR: "hour", DAY: "day"}
#: In place of a process and of its flush: the sum of all processes.
MERGED = 0
#: Characters of a scope's name and of a database's label; the rest is cut.
MAX_NAME = 200

#: One row for each process that has flushed; its number stands in whatever it wrote.
processes = Table(
    f"{PREFIX}store_process",
    metadata,
    Column("id", Key, primary_key=True),
    # Drawn by the process at its start and after a fork: two hosts may have the same pid.
    Column("token", String(32), nullable=False, unique=True),
    Column("service", exact_text(MAX_NAME)),
    # What the application calls its own version: where it changes, something was deployed.
    Column("release_name", exact_text(MAX_NAME)),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False, index=True),
    # Of the last flush that stands here: one that comes again is not added again.
    Column("flush", BigInteger, nullable=False, default=0),
    Column("lost_flushes", BigInteger, nullable=False, default=0),
    Column("lost_calls", BigInteger, nullable=False, default=0),
    # Its databases and sa_perf's own health, as in a snapshot's JSON.
    Column("facts", LongText, nullable=False),
    **TABLE_OPTIONS,
)

#: Texts of statements, each once.
statements = Table(
    f"{PREFIX}store_statement",
    metadata,
    Column("id", Key, primary_key=True),
    Column("fingerprint", exact_text(16), nullable=False),
    Column("database_label", exact_text(MAX_NAME), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("statement", LongText, nullable=False),
    Column("seen_at", BigInteger, nullable=False, index=True),
    UniqueConstraint("fingerprint", "database_label"),
    **TABLE_OPTIONS,
)


def _spans(
    name: str, key: Callable[[], Sequence[Column[Any]]], sums: Callable[[], Sequence[Column[Any]]]
) -> dict[int, Table]:
    """A table for each width, by width: they live for different times, and are read apart.

    A row is a span of time, of whom or what, and whoever counted it.
    """
    return {
        width: Table(
            f"{PREFIX}store_{name}_{word}",
            metadata,
            Column("began_at", BigInteger, nullable=False),
            *(own := key()),
            Column("process_id", BigInteger, nullable=False),
            Column("flush", BigInteger, nullable=False),
            *sums(),
            PrimaryKeyConstraint("began_at", *(one.name for one in own), "process_id", "flush"),
            sqlite_with_rowid=False,
            **TABLE_OPTIONS,
        )
        for width, word in WIDTHS.items()
    }


#: Sums of a statement over a span; columns as the attributes of `QueryStats`.
queries = _spans(
    "query",
    lambda: [Column("statement_id", BigInteger, nullable=False)],
    lambda: [
        Column("calls", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
        # ROWS is a word of SQL's.
        Column("row_count", BigInteger, nullable=False),
        Column("executions", BigInteger, nullable=False),
        Column("parameter_sets", BigInteger, nullable=False),
        Column("executemany_calls", BigInteger, nullable=False),
        Column("insertmanyvalues_calls", BigInteger, nullable=False),
        Column("total_seconds", Double, nullable=False),
        Column("fetch_seconds", Double, nullable=False),
        Column("loop_wait_seconds", Double, nullable=False),
        Column("min_seconds", Double, nullable=False),
        Column("max_seconds", Double, nullable=False),
        Column("sum_squares", Double, nullable=False),
        Column("first_seen", Double, nullable=False),
        Column("last_seen", Double, nullable=False),
        Column("last_error", String(100)),
        # As `sa_perf.store.histogram_blob` writes it.
        Column("histogram", LargeBinary(10_000), nullable=False),
    ],
)

#: Sums of a scope over a span, as those of `ScopeStats`.
scopes = _spans(
    "scope",
    lambda: [Column("name", exact_text(MAX_NAME), nullable=False)],
    lambda: [
        Column("runs", BigInteger, nullable=False),
        Column("statements", BigInteger, nullable=False),
        Column("max_statements", BigInteger, nullable=False),
        Column("row_count", BigInteger, nullable=False),
        Column("database_seconds", Double, nullable=False),
        Column("max_database_seconds", Double, nullable=False),
        Column("total_seconds", Double, nullable=False),
    ],
)

#: How transactions ended within a span, as `TransactionStats`.
transactions = _spans(
    "transaction",
    list,
    lambda: [
        Column("commits", BigInteger, nullable=False),
        Column("rollbacks", BigInteger, nullable=False),
        Column("total_seconds", Double, nullable=False),
        Column("max_seconds", Double, nullable=False),
        Column("histogram", LargeBinary(10_000), nullable=False),
    ],
)

#: Slow executions, without their parameters.
slow = Table(
    f"{PREFIX}store_slow",
    metadata,
    Column("id", Key, primary_key=True),
    Column("statement_id", Key, ForeignKey(statements.c.id), nullable=False, index=True),
    Column("process_id", Key, ForeignKey(processes.c.id), nullable=False, index=True),
    Column("ended_at", Double, nullable=False, index=True),
    Column("duration_seconds", Double, nullable=False),
    Column("fetch_seconds", Double, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    # Names, innermost first, and the line, each as in a snapshot's JSON.
    Column("scope", Text, nullable=False),
    Column("call_site", Text),
    **TABLE_OPTIONS,
)

#: Plans, their changes and repetitions as in a snapshot's JSON: what is known of each last.
documents = Table(
    f"{PREFIX}store_document",
    metadata,
    Column("id", Key, primary_key=True),
    # The field of a snapshot that it stands in.
    Column("kind", String(20), nullable=False),
    # SHA-256 of what makes it one.
    Column("identity", String(64), nullable=False),
    Column("seen_at", BigInteger, nullable=False, index=True),
    Column("document", LongText, nullable=False),
    UniqueConstraint("kind", "identity"),
    **TABLE_OPTIONS,
)

#: How much of each resource was used when a process flushed: memory, disks, pools, databases.
samples = Table(
    f"{PREFIX}store_sample",
    metadata,
    Column("taken_at", BigInteger, nullable=False),
    Column("process_id", BigInteger, nullable=False),
    Column("flush", BigInteger, nullable=False),
    # Kind and name, as in a `Standing`.
    Column("resource", exact_text(MAX_NAME), nullable=False),
    Column("level", String(10), nullable=False),
    Column("used_ratio", Double, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("taken_at", "process_id", "flush", "resource"),
    sqlite_with_rowid=False,
    **TABLE_OPTIONS,
)

#: How far the spans of a width are added up from narrower ones, and who does it now.
levels = Table(
    f"{PREFIX}store_level",
    metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),
    # Up to here no narrower span is written any more: what comes late is of this width.
    Column("closed_at", BigInteger, nullable=False),
    # Up to here spans of this width hold all, and narrower ones are not counted.
    Column("rolled_at", BigInteger, nullable=False),
    Column("owner", String(32)),
    Column("expires_at", BigInteger),
    **TABLE_OPTIONS,
)

TABLES = (
    processes, statements, *queries.values(), *scopes.values(), *transactions.values(), slow,
    samples, documents, levels,
)  # fmt: skip
