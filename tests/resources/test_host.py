from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import psutil
import pytest

from sa_perf.json_values import decoded, encoded
from sa_perf.resources.disks import Disks, DiskUsage
from sa_perf.resources.host import Host
from sa_perf.resources.results import HostReading

FULL = DiskUsage(
    total_bytes=10_000_000_000, used_bytes=9_600_000_000, free_bytes=400_000_000, mount="/data",
    device=1, inodes=1_000, free_inodes=10,
)  # fmt: skip


def test_the_process_is_read() -> None:
    reading = Host().read()
    memory, process = reading.memory, reading.process
    assert reading.unknowns == ()
    assert memory.rss_bytes > 10_000_000
    assert memory.vms_bytes >= memory.rss_bytes >= memory.uss_bytes
    assert 0 < memory.used_bytes < memory.limit_bytes
    assert memory.used_ratio == memory.used_bytes / memory.limit_bytes
    assert process.pid == os.getpid()
    assert process.threads >= threading.active_count()
    assert process.open_files >= 3


def test_open_files_and_threads_are_counted() -> None:
    host = Host()
    before = host.read().process
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(7)]
    after = host.read().process
    go.set()
    thread.join()
    for one in files:
        os.close(one)
    assert after.open_files - before.open_files == 7
    assert after.threads - before.threads == 1


def test_processors_are_told_from_the_second_reading_on() -> None:
    clock = iter([100.0, 110.0])
    host = Host(now=lambda: next(clock))
    assert host.read().process.cpu_cores is None
    busy = host.read().process.cpu_cores
    assert 0 <= busy < 1


def test_in_a_container_the_group_s_limit_counts(tmp_path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/")
    (group / "memory.max").write_text("104857600")
    (group / "memory.current").write_text("94371840")
    (group / "cpu.max").write_text("50000 100000")
    reading = Host(root=tmp_path).read()
    memory = reading.memory
    assert (memory.limit_bytes, memory.used_bytes) == (104_857_600, 94_371_840)
    assert (memory.limited_by, memory.used_ratio) == ("cgroup", 0.9)
    assert reading.process.cpu_limit_cores == 0.5
    occupancy = next(reading.occupancies())
    assert (occupancy.resource, occupancy.detail) == (
        "memory",
        "10.5 MB left of the cgroup's limit",
    )


def test_a_group_beyond_the_machine_does_not_count(tmp_path) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(str(1 << 60))
    memory = Host(root=tmp_path).read().memory
    assert memory.limited_by == "machine"
    assert memory.limit_bytes == psutil.virtual_memory().total


def test_a_group_that_cannot_be_read_leaves_the_machine(tmp_path) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("plenty")
    reading = Host(root=tmp_path).read()
    assert reading.memory.limited_by == "machine"
    (unknown,) = reading.unknowns
    assert unknown.resource == "memory.limit_bytes of the cgroup"
    assert "plenty" in unknown.reason


def test_what_the_platform_s_psutil_lacks_is_unknown(monkeypatch) -> None:
    monkeypatch.delattr(psutil.Process, "memory_full_info")
    monkeypatch.delattr(psutil.Process, "num_fds")
    reading = Host().read()
    assert reading.memory.uss_bytes is None
    assert reading.memory.rss_bytes > 0
    assert {one.resource: one.reason for one in reading.unknowns} == {
        "memory.uss_bytes": "this platform's psutil has no memory_full_info",
        "process.open_files": "this platform's psutil has no num_handles",
    }


def test_what_is_refused_is_unknown(monkeypatch) -> None:
    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    (unknown,) = Host().read().unknowns
    assert unknown.resource == "memory.uss_bytes"
    assert unknown.reason.startswith("AccessDenied: ")


def test_bytes_and_inodes_of_a_disk_are_held_against_thresholds() -> None:
    roomy = replace(FULL, device=2, used_bytes=0, free_bytes=10_000_000_000, inodes=None)
    usages = {"/data/pg": FULL, "/data/archive": FULL, "/log": roomy}
    disks = Disks(
        {"database": "/data/pg", "archive": "/data/archive", "log": "/log"},
        measure=usages.__getitem__,
    )
    found = {one.resource: one for one in Host(disks).read().occupancies()}
    assert list(found) == ["memory", "open files", "disk database", "inodes database", "disk log"]
    assert found["disk database"].ratio == 0.96
    assert found["disk database"].detail == "400.0 MB left of /data/pg (also archive)"
    assert found["inodes database"].ratio == 0.99
    assert found["inodes database"].detail == "10 inodes left of /data/pg (also archive)"


def test_a_reading_has_a_json_form() -> None:
    reading = Host(Disks({"here": ".", "nowhere": "/no/such"})).read()
    assert decoded(HostReading, encoded(reading)) == reading


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_reads_itself() -> None:
    host = Host()
    host.read()
    child = os.fork()
    if child == 0:
        reading = host.read()
        fits = reading.process.pid == os.getpid() and reading.process.cpu_cores is None
        os._exit(0 if fits else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_psutil_is_loaded_by_the_first_reading_only() -> None:
    program = "import sys, sa_perf.resources.host as h; h.Host(); print('psutil' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == "False\n"
