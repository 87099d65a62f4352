"""What is read of memory, disks and the process.

Frozen, with JSON forms. What cannot be read is None, and an `Unknown` says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["Disk", "HostReading", "Memory", "Occupancy", "Process", "Unknown"]

_GIGABYTE = 1_000_000_000
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Something that could not be read.

    Attributes:
        resource: kind and name, e.g. ``"disk archive"``, ``"memory.uss_bytes"``.
        reason: in words.
    """

    resource: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """How much of a resource is used; what thresholds are held against.

    Attributes:
        resource: kind and name.
        ratio: 0 is nothing, 1 all of it.
        detail: what is left, in words.
    """

    resource: str
    ratio: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of the process, and of the machine or the cgroup that limits it.

    Attributes:
        rss_bytes: of the process that lies in memory.
        vms_bytes: of its address space.
        uss_bytes: that would be free if it ended.
        limit_bytes: that there is: of the cgroup where that is less than the machine.
        used_bytes: of the limit, by every process under it; caches that can be dropped are off.
        limited_by: whose limit it is.
        used_ratio: 0 to 1.
    """

    rss_bytes: int | None = None
    vms_bytes: int | None = None
    uss_bytes: int | None = None
    limit_bytes: int | None = None
    used_bytes: int | None = None
    limited_by: Literal["machine", "cgroup"] | None = None
    used_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What the process uses beside memory.

    Attributes:
        pid: its number.
        cpu_cores: processors that it kept busy since the reading before: 1.5 is one and a half.
        cpu_limit_cores: that it may keep busy, by the cgroup and its affinity.
        open_files: descriptors, sockets included.
        open_files_limit: the soft limit; None where there is none.
        threads: of the process.
    """

    pid: int
    cpu_cores: float | None = None
    cpu_limit_cores: float | None = None
    open_files: int | None = None
    open_files_limit: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system, under the names that it was asked for.

    Attributes:
        names: of the paths on it, in the order in which they were given.
        path: of the first name.
        total_bytes: of all of it.
        used_bytes: by anybody.
        free_bytes: that this user may write.
        used_ratio: as ``df`` has it: used of what is used or free for this user.
        inodes: that there can be; None where the file system has no such limit.
        free_inodes: for this user.
        inodes_used_ratio: 0 to 1.
    """

    names: tuple[str, ...]
    path: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    used_ratio: float
    inodes: int | None = None
    free_inodes: int | None = None
    inodes_used_ratio: float | None = None

    @property
    def resource(self) -> str:
        """Its name for thresholds: that of its first path."""
        return f"disk {self.names[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """One reading of the machine.

    Attributes:
        at: when (UTC).
        memory: of the process and its limit.
        process: the rest of the process.
        disks: in the order of their first names.
        unknowns: what could not be read.
    """

    at: datetime
    memory: Memory
    process: Process
    disks: tuple[Disk, ...] = ()
    unknowns: tuple[Unknown, ...] = ()

    def occupancies(self) -> Iterator[Occupancy]:
        """Whatever has an end: memory, open files, bytes and inodes of disks."""
        memory, process = self.memory, self.process
        if memory.used_ratio is not None:
            left = (memory.limit_bytes or 0) - (memory.used_bytes or 0)
            detail = f"{_size(left)} left of the {memory.limited_by}'s limit"
            yield Occupancy(resource="memory", ratio=memory.used_ratio, detail=detail)
        if process.open_files is not None and process.open_files_limit:
            ratio = process.open_files / process.open_files_limit
            detail = f"{process.open_files:,} open of {process.open_files_limit:,} allowed"
            yield Occupancy(resource="open files", ratio=ratio, detail=detail)
        for disk in self.disks:
            where = f"of {disk.path}"
            also = f" (also {', '.join(disk.names[1:])})" if len(disk.names) > 1 else ""
            detail = f"{_size(disk.free_bytes)} left {where}{also}"
            yield Occupancy(resource=disk.resource, ratio=disk.used_ratio, detail=detail)
            if disk.inodes_used_ratio is not None:
                detail = f"{disk.free_inodes or 0:,} inodes left {where}{also}"
                name = f"inodes {disk.names[0]}"
                yield Occupancy(resource=name, ratio=disk.inodes_used_ratio, detail=detail)


def _size(number: float) -> str:
    if number >= _GIGABYTE:
        return f"{number / _GIGABYTE:,.1f} GB"
    return f"{number / _MEGABYTE:,.1f} MB"
