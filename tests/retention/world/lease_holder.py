"""Begins a run, says so, and waits to be stopped or killed; started by test_lease.py."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from sqlalchemy import Column, DateTime, Integer, MetaData, Table, create_engine

from sa_perf.retention import BatchLimits, Hooks, RetentionPolicy, declare, run

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


def model() -> Table:
    """A table with a policy of small batches."""
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
    )
    limits = BatchLimits(first_rows=3, min_rows=3, max_rows=3)
    declare(table, RetentionPolicy(days=30, by="at", batch=limits))
    return table


def main() -> None:
    """Say ``ready`` before the second batch, go on at the next line, say how it ended."""

    def wait(_: str, number: int) -> None:
        if number == 2:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            sys.stdin.readline()

    engine = create_engine(sys.argv[1])
    (policy,) = run(engine, model(), at=NOW, hooks=Hooks(before_batch=wait)).policies
    sys.stdout.write(f"{policy.outcome}: {policy.reason}\n")


if __name__ == "__main__":
    main()
