"""Limits of the control group that the process is in: Linux, v1 and v2.

In a container the group's limit counts, not the machine's memory. Where a process sees its groups
under other names than the host does, the mounted root is its own group.
Files: https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GroupMemory", "cpu_limit_cores", "memory_limit"]

_MOUNT = "sys/fs/cgroup"
#: v1 writes "no limit" as the last whole page below 2**63.
_NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemory:
    """Memory of the group whose limit is the least on the way to the root.

    Attributes:
        limit_bytes: of the group.
        used_bytes: by all its processes, without file caches that nobody used lately.
    """

    limit_bytes: int
    used_bytes: int


def memory_limit(root: Path) -> GroupMemory | None:
    """The memory limit that is met first; None where no group has one.

    Args:
        root: of the file system, ``Path("/")``.

    Raises:
        OSError: a file of a group cannot be read.
        ValueError: a file holds something else than is written in the kernel's manual.
    """
    version, groups = _groups(root, "memory")
    limit_file, used_file, cache = (
        ("memory.max", "memory.current", "inactive_file")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    found: list[GroupMemory] = []
    for group in groups:
        limit = _number(group / limit_file)
        if limit is None or limit >= _NO_LIMIT:
            continue
        used = _number(group / used_file) or 0
        idle = _fields(group / "memory.stat").get(cache, 0)
        found.append(GroupMemory(limit_bytes=limit, used_bytes=max(0, used - idle)))
    return min(found, key=lambda one: one.limit_bytes - one.used_bytes, default=None)


def cpu_limit_cores(root: Path) -> float | None:
    """Processors that the group may keep busy; None where no group has a limit.

    Args:
        root: of the file system.

    Raises:
        OSError: a file of a group cannot be read.
        ValueError: a file holds something else than is written in the kernel's manual.
    """
    version, groups = _groups(root, "cpu")
    found = []
    for group in groups:
        if version == 2:
            quota, period = (_text(group / "cpu.max") or "max 100000").split()
        else:
            quota = _text(group / "cpu.cfs_quota_us") or "-1"
            period = _text(group / "cpu.cfs_period_us") or "100000"
        if quota not in {"max", "-1"}:
            found.append(int(quota) / int(period))
    return min(found, default=None)


def _groups(root: Path, controller: str) -> tuple[int, list[Path]]:
    """Version and folders of the process's group and of those around it, innermost first."""
    unified = None
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return 1, list(_upwards(root / _MOUNT / controller, path))
        if number == "0":
            unified = path
    if unified is None:
        return 2, []
    return 2, list(_upwards(root / _MOUNT, unified))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # outside of what this process may see
        parts = []
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        if folder.is_dir():
            yield folder


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return None if text is None or text == "max" else int(text)


def _fields(path: Path) -> dict[str, int]:
    lines = (_text(path) or "").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}
