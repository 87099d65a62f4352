"""How long it takes to drop a partition, over the rows in it.

On PostgreSQL, with nobody else at the table. The server removes the files of what was dropped as
the transaction is committed, and how long a file system takes for that depends on their bytes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from databases import database_url
from retention_data import AT, DAYS, OLDEST, fill_sql
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
)

from sa_perf.migration import upgrade
from sa_perf.retention.partitions import create_parent_ddl, maintain, partition

__all__ = ["Drop", "time_drops"]

_table = Table(
    "bench_event_by_year",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", DateTime, primary_key=True),
    Column("kind", Integer, nullable=False, index=True),
    Column("message", String(160), nullable=False),
)
partition(_table, "created_at", every="1 year", ahead=2, days=DAYS, default=False)


@dataclass(frozen=True, slots=True)
class Drop:
    """A partition found and dropped.

    Attributes:
        seconds: all of it.
        commit: of them the longest COMMIT, in which the server removes files.
    """

    seconds: float
    commit: float


def time_drops(counts: Sequence[int], rounds: int) -> dict[int, list[Drop]]:
    """Find and drop the partition of the oldest year, by the rows in it.

    Raises:
        Missing: there is no PostgreSQL.
    """
    times: dict[int, list[Drop]] = {count: [] for count in counts}
    chance = random.Random(0)
    with database_url("postgresql", fsync=True) as url:
        engine = create_engine(url)
        upgrade(engine)
        for _ in range(rounds):
            for count in chance.sample(list(counts), len(counts)):
                with _filled(engine, count):
                    with _commits(engine) as commits:
                        began = time.perf_counter()
                        run = maintain(engine, _table, now=AT)
                        took = time.perf_counter() - began
                    times[count].append(Drop(took, max(commits)))
                    assert len(run.dropped) == 1 and not run.created, run
        engine.dispose()
    return times


@contextlib.contextmanager
def _commits(engine: Engine) -> Iterator[list[float]]:
    """Seconds of each COMMIT."""
    times: list[float] = []
    commit = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        began = time.perf_counter()
        commit(connection)
        times.append(time.perf_counter() - began)

    engine.dialect.do_commit = do_commit  # type: ignore[method-assign]
    yield times
    engine.dialect.do_commit = commit  # type: ignore[method-assign]


@contextlib.contextmanager
def _filled(engine: Engine, count: int) -> Iterator[None]:
    first = OLDEST.replace(tzinfo=dt.timezone.utc)
    with engine.begin() as connection:
        for statement in create_parent_ddl(_table, engine.dialect, now=first):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(fill_sql("postgresql", _table.name, count * 2))
    # The partitions ahead, so that the run that is timed has none to make.
    maintain(engine, _table, now=AT - dt.timedelta(days=DAYS - 1))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM ANALYZE {_table.name}")
        connection.exec_driver_sql("CHECKPOINT")
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TABLE {_table.name} CASCADE")
