"""What retention.py purges: a table of events, copied for each turn.

Copies are made as each database makes them fastest: a file, a database from a template, a table.
The older half of the rows lies in one year and the younger half behind it, so that a table
partitioned by years has the same rows to lose.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from databases import autocommit, database_url
from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    Integer,
    String,
    Table,
    create_engine,
    func,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from sa_perf.migration import upgrade

__all__ = [
    "AT", "BORDER", "DAYS", "OLDEST", "Event", "Pristine", "events",
    "fill_sql", "left", "pristine",
]  # fmt: skip

OLDEST = dt.datetime(2024, 1, 1)
#: Rows before it are purged: the older half.
BORDER = dt.datetime(2025, 1, 1)
DAYS = 30
AT = (BORDER + dt.timedelta(days=DAYS)).replace(tzinfo=dt.timezone.utc)
_SPAN = int((BORDER - OLDEST).total_seconds() * 1_000_000)
_MESSAGE = (
    "GET /orders/%s 200 in 12 ms, and some more words to fill a line of a log as long as lines of "
    "logs are, which is 140 characters or so"
)


class Base(DeclarativeBase):
    pass


class Event(Base):
    """One row: about 160 bytes, with its three indexes some 220."""

    __tablename__ = "bench_event"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    created_at: Mapped[dt.datetime] = mapped_column(index=True)
    kind: Mapped[int] = mapped_column(index=True)
    message: Mapped[str] = mapped_column(String(160))


events = Event.__table__
assert isinstance(events, Table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pristine:
    """A filled database, to be copied.

    Attributes:
        name: of the kind of database.
        url: of the filled one.
        rows: of the table.
        version: of the server.
    """

    name: str
    url: URL
    rows: int
    version: str

    @contextlib.contextmanager
    def copy(self) -> Iterator[URL]:
        """A copy that goes away afterwards."""
        with _COPIES[self.name](self.url) as url:
            yield url


@contextlib.contextmanager
def pristine(name: str, rows: int) -> Iterator[Pristine]:
    """A database with the events and sa_perf's own tables; gone afterwards.

    Raises:
        Missing: the database is not there.
    """
    with database_url(name, fsync=True) as url:
        if name == "postgresql":
            with autocommit(url) as connection:
                connection.exec_driver_sql("CREATE DATABASE pristine TEMPLATE template0")
            url = url.set(database="pristine")
        engine = create_engine(url)
        upgrade(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if name == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode = wal").all()
            version = ".".join(map(str, engine.dialect.server_version_info or ()))
            connection.execute(CreateTable(events))
            connection.exec_driver_sql(fill_sql(name, events.name, rows))
            for index in events.indexes:
                index.create(connection)
            for statement in _SETTLED[name]:
                connection.exec_driver_sql(statement).close()
        engine.dispose()
        yield Pristine(name=name, url=url, rows=rows, version=version)


def fill_sql(name: str, table: str, rows: int) -> str:
    """An INSERT of as many rows, in the order of their moments; half of them are older."""
    step, (head, _, tail) = _SPAN * 2 // rows, _MESSAGE.partition("%s")
    into = f"INSERT INTO {table} (id, created_at, kind, message) SELECT "
    if name == "postgresql":
        return (
            f"{into} n, timestamp '{OLDEST}' + (n - 1) * interval '{step} microseconds', "
            f"mod(n, 11), '{head}' || n || '{tail}' FROM generate_series(1, {rows}) AS n"
        )
    if name == "sqlite":
        epoch = int(OLDEST.replace(tzinfo=dt.timezone.utc).timestamp())
        return (
            f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) "
            f"{into} n, strftime('%Y-%m-%d %H:%M:%S', {epoch} + (n - 1) * {step} / 1000000, "
            f"'unixepoch') || '.000000', n % 11, '{head}' || n || '{tail}' FROM s"
        )
    return (
        f"{into} seq, '{OLDEST}' + INTERVAL (seq - 1) * {step} MICROSECOND, mod(seq, 11), "
        f"concat('{head}', seq, '{tail}') FROM seq_1_to_{rows}"
    )


def left(connection: Connection) -> int:
    """Rows that should be purged and are still there."""
    old = select(func.count()).select_from(events).where(events.c.created_at < BORDER)
    return int(connection.execute(old).scalar_one())


_SETTLED: dict[str, tuple[str, ...]] = {
    "sqlite": ("ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"),
    "postgresql": (f"VACUUM ANALYZE {events.name}",),
    "mariadb": (f"ANALYZE TABLE {events.name}",),
}


@contextlib.contextmanager
def _file(url: URL) -> Iterator[URL]:
    path = f"{url.database}.copy"
    shutil.copyfile(str(url.database), path)
    try:
        yield url.set(database=path)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(path + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _from_template(url: URL) -> Iterator[URL]:
    server = url.set(database="postgres")
    with autocommit(server) as connection:
        connection.exec_driver_sql("CREATE DATABASE turn TEMPLATE pristine STRATEGY file_copy")
        connection.exec_driver_sql("CHECKPOINT")
    try:
        yield url.set(database="turn")
    finally:
        with autocommit(server) as connection:
            connection.exec_driver_sql("DROP DATABASE turn WITH (FORCE)")


@contextlib.contextmanager
def _schema(url: URL) -> Iterator[URL]:
    """MariaDB has no templates: the table is filled anew, its index made afterwards."""
    name = f"{url.database}_turn"
    with autocommit(url) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    copy = url.set(database=name)
    try:
        engine = create_engine(copy, isolation_level="AUTOCOMMIT")
        upgrade(engine)
        with engine.connect() as connection:
            connection.execute(CreateTable(events))
            connection.exec_driver_sql(
                f"INSERT INTO {events.name} SELECT * FROM {url.database}.{events.name} ORDER BY id"
            )
            for index in events.indexes:
                index.create(connection)
            connection.exec_driver_sql(f"ANALYZE TABLE {events.name}").close()
        engine.dispose()
        yield copy
    finally:
        with autocommit(url) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")


_COPIES = {"sqlite": _file, "postgresql": _from_template, "mariadb": _schema}
