from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest

from sa_perf.errors import InvalidSettings
from sa_perf.resources.disks import Disks, DiskUsage, disk_usage
from sa_perf.resources.results import Disk, Unknown

USAGE = DiskUsage(
    total_bytes=1_000, used_bytes=450, free_bytes=450, mount="/data", device=1, inodes=200,
    free_inodes=50,
)  # fmt: skip


def test_a_disk_is_as_full_as_df_says() -> None:
    disks, unknowns = Disks({"database": "/data/pg"}, measure=lambda _: USAGE).read()
    # A tenth is kept for root: neither used nor free.
    assert disks == (
        Disk(
            names=("database",), path="/data/pg", total_bytes=1_000, used_bytes=450,
            free_bytes=450, used_ratio=0.5, inodes=200, free_inodes=50, inodes_used_ratio=0.75,
        ),
    )  # fmt: skip
    assert unknowns == ()


def test_paths_on_one_file_system_are_one_disk() -> None:
    other = replace(USAGE, device=2, mount="/log")
    found = {"/data/pg": USAGE, "/var/log": other, "/data/archive": USAGE}
    paths = {"database": "/data/pg", "log": "/var/log", "archive": "/data/archive"}
    disks, _ = Disks(paths, measure=found.__getitem__).read()
    assert [(one.names, one.path) for one in disks] == [
        (("database", "archive"), "/data/pg"),
        (("log",), "/var/log"),
    ]


def test_a_file_system_without_a_limit_of_inodes_has_none() -> None:
    btrfs = replace(USAGE, inodes=None, free_inodes=None)
    ((disk,), _) = Disks({"data": "/data"}, measure=lambda _: btrfs).read()
    assert (disk.inodes, disk.free_inodes, disk.inodes_used_ratio) == (None, None, None)


def test_an_empty_pseudo_file_system_is_not_full() -> None:
    nothing = replace(USAGE, total_bytes=0, used_bytes=0, free_bytes=0)
    ((disk,), _) = Disks({"proc": "/proc"}, measure=lambda _: nothing).read()
    assert disk.used_ratio == 0.0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "/data: Permission denied"),
        (OSError(errno.ESTALE, "Stale file handle"), "/data: Stale file handle"),
        (OSError(), "/data: OSError"),
    ],
    ids=lambda value: str(value),
)
def test_what_cannot_be_measured_is_unknown_and_the_others_are_read(error, reason) -> None:
    def measure(path: str) -> DiskUsage:
        if path == "/data":
            raise error
        return USAGE

    disks, unknowns = Disks({"data": "/data", "log": "/log"}, measure=measure).read()
    assert [one.names for one in disks] == [("log",)]
    assert unknowns == (Unknown(resource="disk data", reason=reason),)


def test_a_mount_that_is_gone_does_not_show_the_disk_below_it() -> None:
    now = [USAGE]
    disks = Disks({"data": "/data/pg"}, measure=lambda _: now[0])
    assert disks.read()[1] == ()
    now[0] = replace(USAGE, mount="/", device=9)
    found, (unknown,) = disks.read()
    assert found == ()
    assert unknown.reason == "/data/pg lies on / now, not on /data: is that unmounted?"
    now[0] = USAGE
    assert disks.read()[1] == ()


def test_a_mount_that_comes_later_is_followed() -> None:
    now = [replace(USAGE, mount="/")]
    disks = Disks({"data": "/data/pg"}, measure=lambda _: now[0])
    assert disks.read()[1] == ()
    now[0] = replace(USAGE, mount="/data")
    assert disks.read()[1] == ()
    now[0] = replace(USAGE, mount="/")
    assert len(disks.read()[1]) == 1


def test_a_path_is_measured_by_the_operating_system(tmp_path) -> None:
    usage = disk_usage(str(tmp_path))
    assert usage.device == os.stat(tmp_path).st_dev
    assert usage.total_bytes >= usage.used_bytes > 0 or usage.mount == "/dev/shm"  # noqa: S108
    assert os.path.ismount(usage.mount)
    assert str(tmp_path.resolve()).startswith(usage.mount)


def test_a_path_that_is_not_there_is_unknown_until_it_is(tmp_path) -> None:
    path = tmp_path / "later"
    disks = Disks({"later": path})
    _, (unknown,) = disks.read()
    assert unknown == Unknown(resource="disk later", reason=f"{path}: No such file or directory")
    path.mkdir()
    assert disks.read()[1] == ()


def test_a_nul_in_a_path_is_unknown_too() -> None:
    _, (unknown,) = Disks({"odd": "a\0b"}).read()
    assert "null" in unknown.reason


@pytest.mark.parametrize(("name", "path"), [("", "/data"), ("data", "")])
def test_a_disk_without_name_or_path_is_refused(name, path) -> None:
    with pytest.raises(InvalidSettings, match="give both"):
        Disks({name: path})
