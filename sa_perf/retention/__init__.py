"""Retention policies on mapped models, run in gentle bounded batches.

`RetentionPolicy` and `retain` declare, `plan` shows what would be done, `run` does it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

#: Imported when asked for: a snapshot needs only the counts of this room.
_LATER = {
    "BatchLimits": "sa_perf.retention.policy",
    "FileArchive": "sa_perf.retention.archive",
    "Hooks": "sa_perf.retention.results",
    "PolicyRun": "sa_perf.retention.results",
    "Progress": "sa_perf.retention.results",
    "RetentionPlan": "sa_perf.retention.planner",
    "RetentionPolicy": "sa_perf.retention.policy",
    "RetentionRun": "sa_perf.retention.results",
    "TableArchive": "sa_perf.retention.archive",
    "Window": "sa_perf.retention.limits",
    "arun": "sa_perf.retention.runner",
    "declare": "sa_perf.retention.policy",
    "load_above": "sa_perf.retention.limits",
    "plan": "sa_perf.retention.planner",
    "replica_lag_above": "sa_perf.retention.limits",
    "restore": "sa_perf.retention.archive",
    "retain": "sa_perf.retention.policy",
    "run": "sa_perf.retention.runner",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_LATER[name]), name)
