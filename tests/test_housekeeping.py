"""What the housekeeping thread does, tick by tick, with the time given."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sa_perf import housekeeping
from sa_perf.settings import Settings


@dataclass(eq=False)
class Kept:
    """Notes what is done to it."""

    settings: Settings
    done: list[str] = field(default_factory=list)
    kept_house: threading.Event = field(default_factory=threading.Event)

    def housekeep(self) -> None:
        self.done.append("housekeep")
        self.kept_house.set()

    def write_snapshot(self) -> None:
        self.done.append("write")

    def close(self) -> None:
        self.done.append("close")

    def before_fork(self) -> None:
        self.done.append("before")

    def after_fork(self) -> None:
        self.done.append("fork")


@pytest.fixture
def kept_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[weakref.WeakKeyDictionary]:
    """An empty house without a thread."""
    alone: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
    monkeypatch.setattr(housekeeping, "_kept", alone)
    monkeypatch.setattr(housekeeping, "_start", lambda: None)
    yield alone
    alone.clear()


def kept(kept_alone, *, due: float, **settings: object) -> Kept:
    one = Kept(Settings(**settings))
    housekeeping.keep(one)
    kept_alone[one] = due
    return one


def test_an_empty_house_needs_no_tick(kept_alone) -> None:
    assert housekeeping.tick(100.0) is None


def test_each_tick_keeps_house_and_comes_again_in_two_seconds(kept_alone) -> None:
    one = kept(kept_alone, due=1_000)
    assert housekeeping.tick(100.0) == 2.0
    assert housekeeping.tick(102.0) == 2.0
    assert one.done == ["housekeep", "housekeep"]


def test_a_snapshot_is_written_when_it_is_due_and_then_after_each_interval(kept_alone) -> None:
    one = kept(kept_alone, due=100, snapshot_path="x.json", snapshot_seconds=10)
    for now in (99.0, 100.0, 105.0, 109.9, 110.0, 111.0):
        housekeeping.tick(now)
    assert one.done.count("write") == 2


def test_the_next_tick_comes_no_later_than_the_next_snapshot(kept_alone) -> None:
    one = kept(kept_alone, due=100.5, snapshot_path="x.json", snapshot_seconds=0.3)
    assert housekeeping.tick(100.0) == pytest.approx(0.5)
    assert housekeeping.tick(100.5) == pytest.approx(0.3)
    assert one.done.count("write") == 1


def test_a_snapshot_that_is_overdue_does_not_make_it_spin(kept_alone) -> None:
    one = kept(kept_alone, due=100, snapshot_path="x.json", snapshot_seconds=0.1)
    assert housekeeping.tick(500.0) == pytest.approx(0.1)
    assert one.done.count("write") == 1


def test_several_are_kept_each_at_its_own_time(kept_alone) -> None:
    often = kept(kept_alone, due=100, snapshot_path="a", snapshot_seconds=1)
    seldom = kept(kept_alone, due=100, snapshot_path="b", snapshot_seconds=60)
    for now in (100.0, 101.0, 102.0, 103.0):
        housekeeping.tick(now)
    assert (often.done.count("write"), seldom.done.count("write")) == (4, 1)


def test_the_last_snapshot_is_written_when_it_is_forgotten(kept_alone) -> None:
    one = kept(kept_alone, due=1_000)
    housekeeping.forget(one)
    housekeeping.forget(one)
    assert one.done == ["close"]
    assert housekeeping.tick(100.0) is None


def test_at_exit_everybody_writes(kept_alone) -> None:
    several = [kept(kept_alone, due=1_000) for _ in range(3)]
    housekeeping._at_exit()
    assert [one.done for one in several] == [["close"]] * 3


def test_what_is_gone_is_kept_no_longer(kept_alone) -> None:
    one = kept(kept_alone, due=1_000)
    gone = weakref.ref(one)
    housekeeping.tick(100.0)
    del one
    gc.collect()
    assert gone() is None
    assert housekeeping.tick(101.0) is None


def test_a_thread_keeps_house_while_there_is_something_to_keep(monkeypatch) -> None:
    one = Kept(Settings())
    housekeeping.keep(one)
    assert one.kept_house.wait(60)
    thread = housekeeping._thread
    assert thread.daemon
    housekeeping.forget(one)
    assert one.done[-1] == "close"
