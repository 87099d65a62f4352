"""Time partitions: made ahead, dropped instead of rows deleted, watched.

Dropping a partition takes as long with a million rows as with ten. PostgreSQL, MySQL and MariaDB;
elsewhere a `RetentionPolicy` deletes in batches.
"""

from __future__ import annotations

from sa_perf.retention.partitions.conversion import (
    ConversionPlan,
    ConversionStep,
    convert,
    convert_plan,
)
from sa_perf.retention.partitions.declaration import (
    PartitionPlan,
    create_parent_ddl,
    declared_partition,
    declared_partitions,
    partition,
    partitioned,
)
from sa_perf.retention.partitions.maintenance import maintain
from sa_perf.retention.partitions.results import (
    DroppedPartition,
    KeptPartition,
    MovedRows,
    PartitionRun,
    PartitionStatus,
)
from sa_perf.retention.partitions.watching import attach, move_from_default, status

__all__ = [
    "ConversionPlan",
    "ConversionStep",
    "DroppedPartition",
    "KeptPartition",
    "MovedRows",
    "PartitionPlan",
    "PartitionRun",
    "PartitionStatus",
    "attach",
    "convert",
    "convert_plan",
    "create_parent_ddl",
    "declared_partition",
    "declared_partitions",
    "maintain",
    "move_from_default",
    "partition",
    "partitioned",
    "status",
]
