"""The machine under the process: memory, processors, open files, disks.

By psutil, and by the control group where that is the tighter limit. A reading takes about 1 ms;
what a platform lacks is told as unknown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from sa_perf.resources.cgroups import cpu_limit_cores, memory_limit
from sa_perf.resources.disks import Disks
from sa_perf.resources.results import HostReading, Memory, Process, Unknown

if TYPE_CHECKING:
    import psutil

__all__ = ["Host"]


class Host:
    """Reads the machine; one thread at a time.

    Args:
        disks: paths to look at; None: none.
        root: of the file system, where the files of control groups are looked for.
        now: monotonic seconds.

    Example:
        >>> reading = Host(Disks({"here": "."})).read()
        >>> reading.disks[0].names, reading.memory.rss_bytes > 1_000_000
        (('here',), True)
    """

    def __init__(
        self,
        disks: Disks | None = None,
        *,
        root: str | os.PathLike[str] = "/",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.disks = disks or Disks({})
        self._root = Path(root)
        self._now = now
        self._process: psutil.Process | None = None
        self._cpu: tuple[float, float] | None = None

    def read(self) -> HostReading:
        """Read all of it; never raises for what cannot be read."""
        unknowns = _Unknowns()
        process = self._this_process()
        with process.oneshot():
            memory = self._read_memory(process, unknowns)
            rest = self._read_process(process, unknowns)
        disks, without = self.disks.read()
        return HostReading(
            at=datetime.now(timezone.utc),
            memory=memory,
            process=rest,
            disks=disks,
            unknowns=(*unknowns.found, *without),
        )

    def _this_process(self) -> psutil.Process:
        # Not at the top: whoever only records statements needs no psutil.
        import psutil

        if self._process is None or self._process.pid != os.getpid():  # forked
            self._process, self._cpu = psutil.Process(), None
        return self._process

    def _read_memory(self, process: psutil.Process, unknowns: _Unknowns) -> Memory:
        import psutil

        rss = vms = uss = limit = used = None
        by = None
        with unknowns.of("memory.rss_bytes"):
            info = process.memory_info()
            rss, vms = info.rss, info.vms
        with unknowns.of("memory.uss_bytes"):
            uss = process.memory_full_info().uss
        with unknowns.of("memory.limit_bytes"):
            machine = psutil.virtual_memory()
            limit, used, by = machine.total, machine.total - machine.available, "machine"
        with unknowns.of("memory.limit_bytes of the cgroup"):
            group = memory_limit(self._root)
            if group is not None and (limit is None or group.limit_bytes < limit):
                limit, used, by = group.limit_bytes, group.used_bytes, "cgroup"
        return Memory(
            rss_bytes=rss,
            vms_bytes=vms,
            uss_bytes=uss,
            limit_bytes=limit,
            used_bytes=used,
            limited_by=by,  # type: ignore[arg-type]  # one of the two words above
            used_ratio=used / limit if limit and used is not None else None,
        )

    def _read_process(self, process: psutil.Process, unknowns: _Unknowns) -> Process:
        cores = cores_limit = files = files_limit = threads = None
        with unknowns.of("process.cpu_cores"):
            cores = self._cpu_cores(process)
        with unknowns.of("process.cpu_limit_cores"):
            cores_limit = self._cpu_limit(process)
        with unknowns.of("process.open_files"):
            files = _open_files(process)
        with unknowns.of("process.open_files_limit"):
            files_limit = _open_files_limit()
        with unknowns.of("process.threads"):
            threads = process.num_threads()
        return Process(
            pid=process.pid,
            cpu_cores=cores,
            cpu_limit_cores=cores_limit,
            open_files=files,
            open_files_limit=files_limit,
            threads=threads,
        )

    def _cpu_cores(self, process: psutil.Process) -> float | None:
        times = process.cpu_times()
        now, busy = self._now(), times.user + times.system
        before, self._cpu = self._cpu, (now, busy)
        if before is None or now <= before[0]:
            return None
        return max(0.0, (busy - before[1]) / (now - before[0]))

    def _cpu_limit(self, process: psutil.Process) -> float:
        # macOS knows no affinity.
        count = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else os.cpu_count()
        limit = cpu_limit_cores(self._root)
        return float(count or 1) if limit is None else min(float(count or 1), limit)


class _Unknowns:
    """Turns failures of parts of a reading into `Unknown`."""

    def __init__(self) -> None:
        self.found: list[Unknown] = []

    @contextmanager
    def of(self, resource: str) -> Iterator[None]:
        import psutil

        try:
            yield
        except AttributeError as error:
            reason = f"this platform's psutil has no {error.name or error}"
        except (psutil.Error, OSError, ValueError, NotImplementedError, ImportError) as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        self.found.append(Unknown(resource=resource, reason=reason))


def _open_files(process: psutil.Process) -> int:
    if hasattr(process, "num_fds"):
        return process.num_fds()
    handles: int = process.num_handles()  # type: ignore[attr-defined]  # Windows only
    return handles


def _open_files_limit() -> int | None:
    import resource  # Unix only

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
