"""A turn of retention.py: a subject purges while others read and write.

The purger, a reader and a writer are processes of their own. The writer sends its next statement
two milliseconds after the last was answered: turn by turn a new row and a change of a row that
expired, anywhere in the older half.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import TYPE_CHECKING, Any

import psutil
from retention_data import Pristine, events, left
from retention_subjects import Job, Purged, prepare
from sqlalchemy import create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Memory", "Turn", "take_memory_turn", "take_turn"]

_PROCESSES = multiprocessing.get_context("spawn")
_GAP = 0.002
#: The load runs so long before and after a purge.
_SETTLE = 0.3


@dataclass(slots=True, kw_only=True)
class Turn:
    """What one subject did in one round.

    Attributes:
        seconds: that it took.
        rows: that are gone.
        cpu: seconds of its process alone.
        purged: what it tells.
        new: seconds of each INSERT meanwhile.
        old: seconds of each UPDATE of an old row meanwhile.
        read: seconds of each page read meanwhile.
    """

    seconds: float
    rows: int
    cpu: float
    purged: Purged
    new: list[float] = field(default_factory=list)
    old: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of the purging process: USS, and RSS."""

    rows: int
    idle: int
    peak: int
    idle_rss: int
    peak_rss: int
    samples: int


def take_turn(source: Pristine, subject: str) -> Turn:
    """Copy the database, set reader and writer to work, and purge."""
    with ExitStack() as stack:
        url = stack.enter_context(source.copy())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sa-perf-benchmark-"))
        plain = url.render_as_string(hide_password=False)
        job = Job(subject=subject, url=plain, folder=folder)
        others = [
            stack.enter_context(_process(work, plain, source.rows)) for work in (_write, _read)
        ]
        purger = stack.enter_context(_process(_purge, job))
        for pipe in (*others, purger):
            assert pipe.recv() == "ready"
        for pipe in others:
            pipe.send("go")
        time.sleep(_SETTLE)
        purger.send("go")
        began, ended, cpu, purged = purger.recv()
        time.sleep(_SETTLE)
        samples: dict[str, list[float]] = {}
        for pipe in others:
            pipe.send("stop")
            for kind, at, took in pipe.recv():
                if began <= at <= ended:
                    samples.setdefault(kind, []).append(took)
        rows = source.rows // 2 - _left(plain)
        return Turn(
            seconds=ended - began - purged.start_up, rows=rows, cpu=cpu, purged=purged, **samples
        )


def take_memory_turn(source: Pristine, subject: str) -> Memory:
    """Purge, with nobody else at it, and look at the process from outside."""
    with ExitStack() as stack:
        url = stack.enter_context(source.copy())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sa-perf-benchmark-"))
        plain = url.render_as_string(hide_password=False)
        job = Job(subject=subject, url=plain, folder=folder)
        purger = stack.enter_context(_process(_purge, job))
        assert purger.recv() == "ready"
        (child,) = (one for one in _PROCESSES.active_children())
        looked = psutil.Process(child.pid)
        idle = looked.memory_full_info()
        sizes = [(idle.uss, idle.rss)]
        purger.send("go")
        while not purger.poll(0.02):
            seen = looked.memory_full_info()
            sizes.append((seen.uss, seen.rss))
        purger.recv()
        return Memory(
            rows=source.rows // 2 - _left(plain), idle=idle.uss, idle_rss=idle.rss,
            peak=max(one for one, _ in sizes), peak_rss=max(one for _, one in sizes),
            samples=len(sizes),
        )  # fmt: skip


def _left(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = left(connection)
    engine.dispose()
    return found


@contextmanager
def _process(work: Callable[..., None], *arguments: Any) -> Iterator[Pipe]:
    own, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield own
    finally:
        own.close()
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


# In the processes


def _purge(pipe: Pipe, job: Job) -> None:
    purge = prepare(job)
    pipe.send("ready")
    pipe.recv()
    cpu, began = time.process_time(), time.monotonic()
    purged = purge()
    ended = time.monotonic()
    pipe.send((began, ended, time.process_time() - cpu, purged))


def _write(pipe: Pipe, url: str, rows: int) -> None:
    chance = random.Random(1)
    message = "written while somebody purges, as long as the lines of a log that were there before"
    placeholder = "?" if url.startswith("sqlite") else "%s"
    insert = (
        f"INSERT INTO {events.name} (id, created_at, kind, message) "
        f"VALUES ({placeholder}, {placeholder}, 1, {placeholder})"
    )
    update = f"UPDATE {events.name} SET message = 'changed' WHERE id = {placeholder}"
    moment = "2026-01-01 00:00:00.000000"
    number = rows

    def act(execute: Callable[[str, tuple[Any, ...]], object], turn: int) -> str:
        nonlocal number
        if turn % 2:
            execute(update, (chance.randint(1, rows // 2),))
            return "old"
        number += 1
        execute(insert, (number, moment, message))
        return "new"

    _go_on(pipe, url, act)


def _read(pipe: Pipe, url: str, rows: int) -> None:
    page = f"SELECT * FROM {events.name} ORDER BY created_at DESC LIMIT 50"

    def act(execute: Callable[[str, tuple[Any, ...]], object], turn: int) -> str:
        execute(page, ())
        return "read"

    _go_on(pipe, url, act)


def _go_on(pipe: Pipe, url: str, act: Callable[[Any, int], str]) -> None:
    """Act again and again until told to stop, then tell when each began and how long it took."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    raw: Any = engine.raw_connection()
    if engine.dialect.name == "sqlite":
        raw.dbapi_connection.isolation_level = None
        raw.execute("PRAGMA busy_timeout = 60000")
    elif engine.dialect.name == "postgresql":
        raw.dbapi_connection.autocommit = True
    else:
        raw.dbapi_connection.autocommit(True)
    cursor = raw.cursor()

    def execute(statement: str, parameters: tuple[Any, ...]) -> None:
        cursor.execute(statement, parameters)
        if cursor.description is not None:
            cursor.fetchall()

    samples: list[tuple[str, float, float]] = []
    pipe.send("ready")
    pipe.recv()
    turn = 0
    while not pipe.poll():
        began = time.monotonic()
        kind = act(execute, turn)
        samples.append((kind, began, time.monotonic() - began))
        turn += 1
        time.sleep(_GAP)
    pipe.send(samples)
