"""One thread for all instrumentations: folds, writes snapshots.

It wakes every two seconds while anything is installed, ends when nothing is, begins anew in a
child after a fork, and never keeps the process alive. At exit every instrumentation writes a last
snapshot; a process that is killed before (a server's SIGTERM may skip ``atexit``) has written one
at most ``snapshot_seconds`` ago.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sa_perf.settings import Settings

__all__ = ["Housekept", "forget", "keep", "tick"]

_WAKE_SECONDS = 2.0
#: How long a fork waits for the thread. It may be loading sqlglot, which takes a busy machine more
#: than a second; a child that was forked meanwhile would wait for that import for ever.
_JOIN_SECONDS = 10.0


class Housekept(Protocol):
    """What the thread looks after."""

    settings: Settings

    def housekeep(self) -> None:
        """Do what need not be done on the application's time; must not raise."""

    def write_snapshot(self) -> None:
        """Write a snapshot if one is wanted; must not raise."""

    def close(self) -> None:
        """Write and send what is left, as nobody looks after it any more; must not raise."""

    def before_fork(self) -> None:
        """Wait for what works beside this thread."""

    def after_fork(self) -> None:
        """Begin anew in a child process."""


_kept: weakref.WeakKeyDictionary[Housekept, float] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
_thread: threading.Thread | None = None
_wake = threading.Event()
_resting = threading.Event()


def keep(one: Housekept) -> None:
    """Look after an instrumentation for as long as it lives."""
    with _lock:
        _kept[one] = time.monotonic() + one.settings.snapshot_seconds
    _start()
    # The thread may sleep longer than the new one's interval.
    _wake.set()


def forget(one: Housekept) -> None:
    """Stop looking after an instrumentation; what it has left is written and sent first."""
    with _lock:
        known = _kept.pop(one, None)
    if known is not None:
        one.close()


def tick(now: float) -> float | None:
    """Do what is due at ``now`` (monotonic seconds).

    Returns:
        Seconds until the next tick is due; None where nothing is left to look after.
    """
    with _lock:
        kept = list(_kept.items())
    if not kept:
        return None
    wait = _WAKE_SECONDS
    for one, due in kept:
        one.housekeep()
        interval = one.settings.snapshot_seconds
        if now >= due:
            one.write_snapshot()
            due = now + interval
            with _lock:
                if one in _kept:
                    _kept[one] = due
        if one.settings.snapshot_path is not None:
            wait = min(wait, due - now)
    return max(0.05, wait)


def _start() -> None:
    global _thread
    with _lock:
        if _kept and (_thread is None or not _thread.is_alive()):
            _thread = threading.Thread(target=_run, name="sa_perf housekeeping", daemon=True)
            _thread.start()


def _run() -> None:
    global _thread
    while not _resting.is_set():
        wait = tick(time.monotonic())
        if wait is None:
            with _lock:
                if not _kept:
                    _thread = None
                    return
            continue
        _wake.wait(wait)
        _wake.clear()


def _at_exit() -> None:
    for one in list(_kept):
        forget(one)


def _before_fork() -> None:
    """Stop the thread: Python warns of a fork beside threads, and with right."""
    if _thread is not None:
        _resting.set()
        _wake.set()
        _thread.join(_JOIN_SECONDS)
    for one in list(_kept):
        one.before_fork()


def _after_fork() -> None:
    """Go on, in the parent and in the child."""
    _resting.clear()
    _start()


def _after_fork_in_child() -> None:
    """The thread may have been stopped in the middle, with the lock in its hand."""
    global _lock, _resting, _thread, _wake
    _lock, _thread = threading.Lock(), None
    _resting, _wake = threading.Event(), threading.Event()
    for one in list(_kept):
        # First of all: a thread that took one of its old locks would wait for ever.
        one.after_fork()
    _after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
