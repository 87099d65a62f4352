from __future__ import annotations

from pathlib import Path

import pytest

from sa_perf.resources.cgroups import GroupMemory, cpu_limit_cores, memory_limit

V1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/"
NO_LIMIT_V1 = "9223372036854771712"


def tree(root: Path, files: dict[str, str]) -> Path:
    """Files as the kernel shows them, below a root of their own."""
    for name, text in files.items():
        path = root / name.replace("GROUP", "sys/fs/cgroup")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return root


def test_v2_the_group_of_a_container_is_the_mounted_root(tmp_path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": "0::/",
        "GROUP/memory.max": "1000",
        "GROUP/memory.current": "700",
        "GROUP/memory.stat": "anon 500\ninactive_file 150\nactive_file 50",
        "GROUP/cpu.max": "150000 100000",
    })  # fmt: skip
    assert memory_limit(root) == GroupMemory(limit_bytes=1_000, used_bytes=550)
    assert cpu_limit_cores(root) == 1.5


def test_v2_the_tightest_group_on_the_way_to_the_root_counts(tmp_path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": "0::/app.slice/web.service",
        "GROUP/app.slice/memory.max": "1000",
        "GROUP/app.slice/memory.current": "990",
        "GROUP/app.slice/web.service/memory.max": "500",
        "GROUP/app.slice/web.service/memory.current": "100",
        "GROUP/app.slice/cpu.max": "50000 100000",
        "GROUP/app.slice/web.service/cpu.max": "max 100000",
    })  # fmt: skip
    assert memory_limit(root) == GroupMemory(limit_bytes=1_000, used_bytes=990)
    assert cpu_limit_cores(root) == 0.5


def test_v2_without_limits_there_are_none(tmp_path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": "0::/user.slice",
        "GROUP/user.slice/memory.max": "max",
        "GROUP/user.slice/cpu.max": "max 100000",
    })  # fmt: skip
    assert memory_limit(root) is None
    assert cpu_limit_cores(root) is None


def test_a_group_outside_of_what_is_visible_is_the_mounted_root(tmp_path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": "0::/../../other",
        "GROUP/memory.max": "64",
        "GROUP/memory.current": "1",
    })  # fmt: skip
    assert memory_limit(root) == GroupMemory(limit_bytes=64, used_bytes=1)


def test_v1_a_path_of_the_host_s_is_not_there_and_the_root_counts(tmp_path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": V1,
        "GROUP/memory/memory.limit_in_bytes": "2000",
        "GROUP/memory/memory.usage_in_bytes": "1500",
        "GROUP/memory/memory.stat": "cache 900\ntotal_inactive_file 400",
        "GROUP/cpu/cpu.cfs_quota_us": "200000",
        "GROUP/cpu/cpu.cfs_period_us": "100000",
    })  # fmt: skip
    assert memory_limit(root) == GroupMemory(limit_bytes=2_000, used_bytes=1_100)
    assert cpu_limit_cores(root) == 2.0


def test_v1_without_limits_there_are_none(tmp_path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": V1,
        "GROUP/memory/docker/abc/memory.limit_in_bytes": NO_LIMIT_V1,
        "GROUP/memory/memory.limit_in_bytes": NO_LIMIT_V1,
        "GROUP/cpu/cpu.cfs_quota_us": "-1",
    })  # fmt: skip
    assert memory_limit(root) is None
    assert cpu_limit_cores(root) is None


def test_where_there_are_no_groups_there_are_no_limits(tmp_path) -> None:
    assert memory_limit(tmp_path) is None
    assert cpu_limit_cores(tmp_path) is None


def test_another_form_than_the_kernel_s_is_an_error(tmp_path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/", "GROUP/memory.max": "plenty"})
    with pytest.raises(ValueError, match="plenty"):
        memory_limit(root)
