"""Runs a policy with an archive in children that a test kills; started by test_killed_runs.py.

Reads a line from standard input for each run, forks, and writes the child's process id; a second
line tells how the child ended.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta, timezone

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, create_engine

from sa_perf.retention import (
    BatchLimits,
    FileArchive,
    RetentionPolicy,
    TableArchive,
    declare,
    run,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
FIRST = datetime(2026, 1, 1)
STEP = timedelta(minutes=1)


def archive(folder: str, kind: str) -> FileArchive | TableArchive:
    """The archive of a kind."""
    if kind == "files":
        return FileArchive(folder, compression=None)
    return TableArchive() if kind == "table" else TableArchive(url=f"sqlite:///{folder}.db")


def model(folder: str, kind: str) -> Table:
    """A table whose rows are archived in batches of twenty."""
    table = Table(
        "measure",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False, index=True),
        Column("what", String(40)),
    )
    policy = RetentionPolicy(
        days=30,
        by="at",
        action="archive",
        archive=archive(folder, kind),
        batch=BatchLimits(first_rows=20, min_rows=20, max_rows=20, lock_seconds=10),
    )
    declare(table, policy)
    return table


def work(url: str, folder: str, kind: str) -> int:
    """Run the policy; 0 where it is done, 4 where somebody else runs it."""
    engine = create_engine(url)
    (policy,) = run(engine, model(folder, kind), at=NOW).policies
    if policy.outcome != "done":
        sys.stderr.write(f"{policy.outcome}: {policy.reason}\n")
    return {"done": 0, "busy": 4}.get(policy.outcome, 3)


def main() -> None:
    """Fork a run for each line."""
    url, folder, kind = sys.argv[1:]
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            os._exit(work(url, folder, kind))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
