"""Where temporary files of tests lie: in memory, where the machine has it to spare.

Tests make thousands of databases and wait for none to survive a loss of power; on a disk, most of
their time would go into waiting for it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")  # noqa: S108
#: Bytes that must be free; a session of all tests takes a third of it.
NEEDED = 3_000_000_000


def use_memory() -> None:
    """Let temporary files, also those of processes to come, lie in memory.

    Nothing happens where the caller chose a directory by ``TMPDIR`` or memory is short.
    """
    if "TMPDIR" not in os.environ and _fits():
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # to be asked for anew


def _fits() -> bool:
    try:
        found = os.statvfs(MEMORY)
    except (AttributeError, OSError):  # no POSIX, or no such directory
        return False
    return (
        os.access(MEMORY, os.W_OK | os.X_OK)
        and not found.f_flag & getattr(os, "ST_NOEXEC", 0)
        and found.f_bavail * found.f_frsize >= NEEDED
        and psutil.virtual_memory().available >= NEEDED
    )
