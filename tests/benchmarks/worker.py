"""One process of overhead.py: one subject on one engine with one workload.

Reads requests as JSON lines from standard input, answers likewise. Run by overhead.py only.

The interpreter's inline caches and SQLAlchemy's class-level events belong to a process, so subjects
that share one slow each other down; hence one process each.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import bindparam, create_engine, insert, select, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool
from subjects import SUBJECTS, Attached, DoesNotWork, Subject

ROWS = 100


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


_CORE = select(Item.__table__).where(Item.__table__.c.id == bindparam("key"))
_ORM = select(Item).where(Item.id == bindparam("key"))


def _core(connection: Connection, statements: int) -> None:
    for key in range(statements):
        connection.execute(_CORE, {"key": key}).all()


def _core_text(connection: Connection, statements: int) -> None:
    for key in range(statements):
        connection.execute(text("SELECT id, name FROM item WHERE id = :id"), {"id": key}).all()


def _orm(connection: Connection, statements: int) -> None:
    with Session(connection) as session:
        for key in range(statements):
            session.execute(_ORM, {"key": key}).scalars().all()


#: name -> (works on a connection, wants a file)
WORKLOADS: dict[str, tuple[Callable[[Connection, int], None], bool]] = {
    "core": (_core, False),
    "orm": (_orm, False),
    "core file": (_core, True),
    "core text": (_core_text, False),
}


class Bench:
    """A subject on an engine, and a workload."""

    def __init__(self, subject: Subject, workload: str, directory: str) -> None:
        self._work, in_file = WORKLOADS[workload]
        self._engine = _engine(Path(directory) / "bench.sqlite" if in_file else None)
        self._attached: Attached = subject.attach(self._engine)
        self._blind = subject.orm_only and workload != "orm"
        Base.metadata.create_all(self._engine)
        with self._engine.begin() as connection:
            rows = [{"id": key, "name": f"item {key}"} for key in range(ROWS)]
            connection.execute(insert(Item), rows)
        self._attached.end()

    def check(self, statements: int = 7) -> None:
        """See that the subject sees statements; one that sees none costs nothing.

        Raises:
            DoesNotWork: it does not.
        """
        attached = self._attached
        with self._engine.connect() as connection:
            attached.begin()
            try:
                before = attached.seen() if attached.seen is not None else 0
                self._work(connection, statements)
                if attached.settle is not None:
                    attached.settle()
                if attached.seen is not None and not self._blind:
                    seen = attached.seen() - before
                    if seen < statements:
                        raise DoesNotWork(f"recorded {seen} of {statements} statements")
            finally:
                attached.end()

    def measure(self, block: int, blocks: int) -> dict[str, float]:
        """Microseconds per statement over ``blocks`` blocks of ``block`` statements."""
        wall: list[int] = []
        cpu: list[int] = []
        attached, work = self._attached, self._work
        settle, clock, cpu_clock = attached.settle, time.perf_counter_ns, time.process_time_ns
        with self._engine.connect() as connection:
            for _ in range(blocks):
                attached.begin()
                cpu_started, started = cpu_clock(), clock()
                work(connection, block)
                if settle is not None:
                    settle()
                ended, cpu_ended = clock(), cpu_clock()
                attached.end()
                wall.append(ended - started)
                cpu.append(cpu_ended - cpu_started)
        return {
            "fastest": min(wall) / block / 1e3,
            "median": statistics.median(wall) / block / 1e3,
            "cpu": statistics.median(cpu) / block / 1e3,
            "cpu_mean": statistics.fmean(cpu) / block / 1e3,
        }


def _engine(path: Path | None) -> Engine:
    if path is None:
        return create_engine("sqlite://", poolclass=StaticPool)
    return create_engine(f"sqlite:///{path}")


def _version(subject: Subject) -> str:
    if subject.distribution is None:
        return ""
    return importlib.metadata.version(subject.distribution)


def main() -> None:
    name, workload = sys.argv[1:3]
    # Appended: SQLAlchemy and the like come from this environment, not from the peer's directory.
    sys.path.extend(sys.argv[3:])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What a peer prints must not mix with the answers.
    os.dup2(2, 1)

    def answer(**values: object) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    with tempfile.TemporaryDirectory() as directory:
        try:
            version = _version(SUBJECTS[name])
            bench = Bench(SUBJECTS[name], workload, directory)
            bench.check()
        except importlib.metadata.PackageNotFoundError:
            answer(error="not installed")
            return
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}"[:300])
            return
        answer(version=version)
        for line in sys.stdin:
            request = json.loads(line)
            answer(**bench.measure(request["block"], request["blocks"]))


if __name__ == "__main__":
    main()
