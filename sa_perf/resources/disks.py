"""File systems that paths lie on: bytes and inodes used and free.

A path that is not there, a mount that is gone and a refusal are told as unknown, and the others
are read. The call to a network file system whose server is silent does not come back: name such
paths only where the monitor has nothing else to look at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sa_perf.errors import InvalidSettings
from sa_perf.resources.results import Disk, Unknown

__all__ = ["DiskUsage", "Disks", "disk_usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """What the operating system says of the file system that a path lies on.

    Attributes:
        total_bytes: of all of it.
        used_bytes: by anybody.
        free_bytes: that this user may write.
        mount: path at which it is mounted.
        device: its number; two paths with the same one share their space.
        inodes: that there can be; None: no limit.
        free_inodes: for this user.
    """

    total_bytes: int
    used_bytes: int
    free_bytes: int
    mount: str
    device: int
    inodes: int | None = None
    free_inodes: int | None = None


def disk_usage(path: str) -> DiskUsage:
    """Measure the file system that a path lies on; three to ten system calls.

    Raises:
        OSError: there is no such path, or it may not be looked at.
    """
    mount = real = os.path.realpath(path, strict=True)
    device = os.stat(real).st_dev
    while not os.path.ismount(mount) and os.path.dirname(mount) != mount:
        mount = os.path.dirname(mount)
    if not hasattr(os, "statvfs"):
        total, used, free = shutil.disk_usage(real)
        return DiskUsage(
            total_bytes=total, used_bytes=used, free_bytes=free, mount=mount, device=device
        )
    found = os.statvfs(real)
    return DiskUsage(
        total_bytes=found.f_blocks * found.f_frsize,
        used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        mount=mount,
        device=device,
        # Btrfs and others make inodes as they need them and say 0.
        inodes=found.f_files or None,
        free_inodes=found.f_favail if found.f_files else None,
    )


class Disks:
    """The file systems of named paths.

    Args:
        paths: by name, e.g. ``{"database": "/var/lib/app", "archive": "/mnt/archive"}``.
        measure: says what a path has; raises OSError where it cannot.

    Raises:
        InvalidSettings: a name or a path is empty.
    """

    def __init__(
        self,
        paths: Mapping[str, str | os.PathLike[str]],
        *,
        measure: Callable[[str], DiskUsage] = disk_usage,
    ) -> None:
        self._paths: dict[str, str] = {}
        self._measure = measure
        self._mounts: dict[str, str] = {}
        for name, path in paths.items():
            self.add(name, path)

    def add(self, name: str, path: str | os.PathLike[str]) -> None:
        """Look at one path more, or at another one under a known name.

        Raises:
            InvalidSettings: the name or the path is empty.
        """
        if not name or not os.fspath(path):
            problem = f"disk {name!r} has the path {os.fspath(path)!r}; give both"
            raise InvalidSettings((problem,))
        self._paths[name] = os.fspath(path)
        self._mounts.pop(name, None)

    def add_found(self, name: str, path: str) -> None:
        """Look at a path that a database told, unless somebody gave one of that name."""
        if name not in self._paths:
            self.add(name, path)

    def read(self) -> tuple[tuple[Disk, ...], tuple[Unknown, ...]]:
        """Each file system once, and what could not be read."""
        by_device: dict[int, tuple[list[str], str, DiskUsage]] = {}
        unknowns = []
        for name, path in list(self._paths.items()):
            try:
                usage = self._measure(path)
            except (OSError, ValueError) as error:
                unknowns.append(Unknown(resource=f"disk {name}", reason=_reason(path, error)))
                continue
            mount = self._mounts.setdefault(name, usage.mount)
            if usage.mount != mount and mount.startswith(usage.mount):
                reason = f"{path} lies on {usage.mount} now, not on {mount}: is that unmounted?"
                unknowns.append(Unknown(resource=f"disk {name}", reason=reason))
                continue
            self._mounts[name] = usage.mount
            by_device.setdefault(usage.device, ([], path, usage))[0].append(name)
        disks = [_disk(tuple(names), path, usage) for names, path, usage in by_device.values()]
        return tuple(disks), tuple(unknowns)


def _disk(names: tuple[str, ...], path: str, usage: DiskUsage) -> Disk:
    reachable = usage.used_bytes + usage.free_bytes
    inodes_used = None
    if usage.inodes and usage.free_inodes is not None:
        inodes_used = 1 - usage.free_inodes / usage.inodes
    return Disk(
        names=names,
        path=path,
        total_bytes=usage.total_bytes,
        used_bytes=usage.used_bytes,
        free_bytes=usage.free_bytes,
        used_ratio=usage.used_bytes / reachable if reachable else 0.0,
        inodes=usage.inodes,
        free_inodes=usage.free_inodes,
        inodes_used_ratio=inodes_used,
    )


def _reason(path: str, error: Exception) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{path}: {words or type(error).__name__}"
