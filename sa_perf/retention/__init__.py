"""Retention policies on mapped models, run in gentle bounded batches.

`RetentionPolicy` and `retain` declare, `plan` shows what would be done, `run` does it.
"""

from __future__ import annotations

from sa_perf.retention.archive import FileArchive, TableArchive, restore
from sa_perf.retention.limits import Window, load_above, replica_lag_above
from sa_perf.retention.planner import RetentionPlan, plan
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare, retain
from sa_perf.retention.results import Hooks, PolicyRun, Progress, RetentionRun
from sa_perf.retention.runner import arun, run

__all__ = [
    "BatchLimits",
    "FileArchive",
    "Hooks",
    "PolicyRun",
    "Progress",
    "RetentionPlan",
    "RetentionPolicy",
    "RetentionRun",
    "TableArchive",
    "Window",
    "arun",
    "declare",
    "load_above",
    "plan",
    "replica_lag_above",
    "restore",
    "retain",
    "run",
]
