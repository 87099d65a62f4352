"""Retention's own tables: runs, batches, leases, holds, policies.

They are in the database that it works on. A row of `batches` is written in the transaction that
deletes its rows, so the two always agree.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, String, Table, Text

from sa_perf.dialects.column_types import TABLE_OPTIONS, Key, LongText, UtcDateTime, exact_text
from sa_perf.tables import PREFIX, metadata

__all__ = ["TABLES", "batches", "holds", "leases", "policies", "runs"]

#: One row for each policy of a run; closed once, at its end.
runs = Table(
    f"{PREFIX}retention_run",
    metadata,
    Column("id", Key, primary_key=True),
    Column("run", exact_text(40), nullable=False, index=True),
    Column("policy", exact_text(200), nullable=False),
    Column("table_name", exact_text(200), nullable=False),
    Column("action", String(20), nullable=False),
    Column("cutoff", UtcDateTime, nullable=False),
    Column("predicate", LongText, nullable=False),
    Column("archive", Text),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    # running, done, limited (by rows, time or window), stopped (by a signal), failed
    Column("outcome", String(20), nullable=False),
    Column("error", Text),
    Column("batches", Integer, nullable=False, default=0),
    Column("rows_scanned", BigInteger, nullable=False, default=0),
    Column("rows_archived", BigInteger, nullable=False, default=0),
    Column("rows_changed", BigInteger, nullable=False, default=0),
    Column("rows_refused", BigInteger, nullable=False, default=0),
    Column("children_changed", BigInteger, nullable=False, default=0),
    Column("archive_bytes", BigInteger, nullable=False, default=0),
    Column("clock_difference_seconds", Double, nullable=False, default=0.0),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("actor", String(255)),
    **TABLE_OPTIONS,
)
Index(None, runs.c.policy, runs.c.started_at)

#: One row for each table in each transaction, never changed itself. The policy's own has one even
#: where no row of the range was to be changed: how fast a run goes is told by what it went over.
batches = Table(
    f"{PREFIX}retention_batch",
    metadata,
    Column("id", Key, primary_key=True),
    Column("run_id", Key, ForeignKey(runs.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    # The policy's table, or one of its children.
    Column("table_name", exact_text(200), nullable=False),
    # Range of the walk's key, as JSON: above the first, up to and with the last.
    Column("after_key", Text),
    Column("upto_key", Text),
    Column("rows_scanned", Integer, nullable=False),
    Column("rows_archived", Integer, nullable=False),
    Column("rows_changed", Integer, nullable=False),
    Column("target_rows", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("pause_seconds", Double, nullable=False),
    Column("archive_file", Text),
    Column("archive_sha256", String(64)),
    Column("archive_bytes", BigInteger, nullable=False, default=0),
    Column("finished_at", UtcDateTime, nullable=False, index=True),
    **TABLE_OPTIONS,
)

#: Who runs a policy now. Its token goes up by one with each owner and is checked in each batch.
leases = Table(
    f"{PREFIX}retention_lease",
    metadata,
    Column("policy", exact_text(200), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("owner", String(255)),
    Column("run", exact_text(40)),
    Column("acquired_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    # Where an unfinished run stands: the key up to which it is done, as JSON.
    Column("position", Text),
    **TABLE_OPTIONS,
)

#: Rows that no run may touch, by the text of their primary key (JSON).
holds = Table(
    f"{PREFIX}retention_hold",
    metadata,
    Column("id", Key, primary_key=True),
    Column("table_name", exact_text(200), nullable=False),
    Column("row_key", exact_text(500), nullable=False),
    Column("reason", Text, nullable=False),
    Column("placed_by", String(255)),
    Column("placed_at", UtcDateTime, nullable=False),
    Column("released_by", String(255)),
    Column("released_at", UtcDateTime),
    **TABLE_OPTIONS,
)
Index(None, holds.c.table_name, holds.c.row_key)

#: What each policy says, as migrations recorded it; see `sa_perf.migration.policies`.
policies = Table(
    f"{PREFIX}retention_policy",
    metadata,
    Column("name", exact_text(200), primary_key=True),
    Column("table_name", exact_text(200), nullable=False),
    # JSON.
    Column("definition", LongText, nullable=False),
    **TABLE_OPTIONS,
)

TABLES = (runs, batches, leases, holds, policies)
