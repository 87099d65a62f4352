"""What pagination.py reads: a table in each database, its orderings, and the work of a page.

Work is counted by the database, so it does not depend on the machine or on what else runs there:
PostgreSQL's buffers, the steps of SQLite's virtual machine, MariaDB's handler reads. Cursors come
from walking the list to the depth wanted, as a reader would; the last page that makes one holds as
many rows as an ordinary page.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from databases import DATABASES, Missing, database_url
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Index,
    String,
    Table,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from sa_perf.pagination import CursorSigner, keyset

__all__ = [
    "DATABASES", "DEFAULT_ROWS", "ORDERINGS", "PAGE", "SIGNER", "Article", "Missing", "Ordering",
    "Work", "articles", "cursors_at", "database", "work_of_a_page",
]  # fmt: skip

PAGE = 50
DEFAULT_ROWS = 1_000_000
SIGNER = CursorSigner(["a key for the benchmark, and nothing else"])
_BATCH = 10_000


class Base(DeclarativeBase):
    pass


class Article(Base):
    """One row of the list: about 90 bytes.

    Attributes:
        quarter: four rows share a value.
        kind: one of ten values; 0 has twice as many rows as the others.
        done: true for every third row.
        score: NULL for every tenth row, else in no relation to the key.
    """

    __tablename__ = "bench_article"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    created_at: Mapped[dt.datetime]
    quarter: Mapped[int]
    kind: Mapped[int]
    done: Mapped[bool]
    score: Mapped[int | None]
    title: Mapped[str] = mapped_column(String(80))


articles = Article.__table__
assert isinstance(articles, Table)
_c = articles.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """An ORDER BY, with the index that a user would make for it.

    Attributes:
        order: elements of ORDER BY; where they leave ties the pager adds the primary key.
        first: condition of the rows that stand first, where the order has a border: another value
            of a lead with few of them, or NULLs.
    """

    order: tuple[Any, ...]
    first: Any = None


ORDERINGS: dict[str, Ordering] = {
    "created_at, id": Ordering(order=(_c.created_at, _c.id)),
    "quarter, id": Ordering(order=(_c.quarter, _c.id)),
    "quarter, id DESC": Ordering(order=(_c.quarter, _c.id.desc())),
    "kind, id": Ordering(order=(_c.kind, _c.id), first=_c.kind == 0),
    "kind, id DESC": Ordering(order=(_c.kind, _c.id.desc()), first=_c.kind == 0),
    "done, id": Ordering(order=(_c.done, _c.id), first=_c.done.is_(False)),
    "done, id DESC": Ordering(order=(_c.done, _c.id.desc()), first=_c.done.is_(False)),
    "score NULLS FIRST": Ordering(
        order=(_c.score.asc().nulls_first(),), first=_c.score.is_(None)
    ),
    "score NULLS LAST": Ordering(
        order=(_c.score.asc().nulls_last(),), first=_c.score.is_not(None)
    ),
    "score DESC NULLS FIRST": Ordering(
        order=(_c.score.desc().nulls_first(),), first=_c.score.is_(None)
    ),
    "score DESC NULLS LAST": Ordering(
        order=(_c.score.desc().nulls_last(),), first=_c.score.is_not(None)
    ),
}  # fmt: skip
_INDEXES = (
    Index("bench_created", _c.created_at, _c.id),
    Index("bench_quarter", _c.quarter, _c.id),
    Index("bench_quarter_mixed", _c.quarter, _c.id.desc()),
    Index("bench_kind", _c.kind, _c.id),
    Index("bench_kind_mixed", _c.kind, _c.id.desc()),
    Index("bench_done", _c.done, _c.id),
    Index("bench_done_mixed", _c.done, _c.id.desc()),
    Index("bench_score", _c.score, _c.id),
)


def _row(number: int) -> dict[str, object]:
    seconds = dt.timedelta(seconds=number // 2, microseconds=number % 7)
    return {
        "id": number + 1,
        "created_at": dt.datetime(2020, 1, 1) + seconds,
        "quarter": number // 4,
        "kind": number % 11 % 10,
        "done": number % 3 == 0,
        "score": None if number % 10 == 0 else number * 7919 % 1_000_003,
        "title": f"title {number} ".ljust(52, "x"),
    }


def _fill(engine: Engine, rows: int) -> None:
    """Make the table, its rows and its indexes, and have the database look at them."""
    with engine.begin() as connection:
        # Without its indexes: they are made faster, and denser, when the rows are there.
        connection.execute(CreateTable(articles))
        for first in range(0, rows, _BATCH):
            last = min(first + _BATCH, rows)
            connection.execute(articles.insert(), [_row(number) for number in range(first, last)])
    with engine.begin() as connection:
        for index in _INDEXES:
            index.create(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        statement = {"sqlite": "ANALYZE", "postgresql": "VACUUM ANALYZE bench_article"}
        name = engine.dialect.name
        connection.exec_driver_sql(statement.get(name, "ANALYZE TABLE bench_article"))


@contextlib.contextmanager
def database(name: str, rows: int) -> Iterator[Engine]:
    """An engine on a database that holds the table and goes away afterwards.

    Raises:
        Missing: the database is not there.
    """
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(database_url(name))
        engine = create_engine(url)
        stack.callback(engine.dispose)
        _fill(engine, rows)
        yield engine


# Cursors


def cursors_at(
    connection: Connection, order: Sequence[Any], depths: Sequence[int]
) -> dict[int, tuple[str, Any]]:
    """Read the list up to each depth; return the cursor there, and the row that it stands for."""
    # Cursors are bound to the order, not to the columns read; so the walk reads few.
    pager = keyset(
        select(_c.id, _c.created_at).order_by(*order), size=PAGE, max_size=_BATCH, signer=SIGNER
    )
    found = {}
    cursor: str | None = None
    at = 0
    for depth in sorted(set(depths)):
        while at < depth - PAGE:
            page = pager.page(connection, cursor, size=min(_BATCH, depth - PAGE - at))
            cursor, at = page.next_cursor, at + len(page)
        page = pager.page(connection, cursor)
        assert page.next_cursor is not None, f"the list ends before row {depth}"
        found[depth] = (page.next_cursor, page.items[-1])
    return found


# Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one page made the database do.

    Attributes:
        count: buffers, steps or handler reads, of all statements together.
        sent: the statements' texts.
        items: of the page.
    """

    count: int
    sent: list[str]
    items: int


def work_of_a_page(connection: Connection, ordering: Ordering, rows: int) -> dict[str, Work]:
    """Count the work of the first page, at 1,000 rows, in the middle, at the border, at the end."""
    depths = {"1k": max(rows // 1_000, PAGE), "middle": rows // 2, "end": rows - PAGE}
    if ordering.first is not None:
        counted = select(func.count()).select_from(articles).where(ordering.first)
        depths["border"] = connection.execute(counted).scalar_one() - PAGE // 2
    cursors = cursors_at(connection, ordering.order, list(depths.values()))
    pager = keyset(select(articles).order_by(*ordering.order), size=PAGE, signer=SIGNER)
    places = {"first": None, **{place: cursors[depth][0] for place, depth in depths.items()}}
    found = {}
    for place, cursor in places.items():
        pager.page(connection, cursor)  # what is only done once is not a page's work
        found[place] = count_work(connection, lambda at=cursor: pager.page(connection, at))
    return found


def count_work(connection: Connection, read: Callable[[], Sequence[Any]]) -> Work:
    """Read a page and count what that takes."""
    sent: list[tuple[str, Any]] = []

    def note(
        conn: Connection, cursor: Any, statement: str, parameters: Any, *others: object
    ) -> None:
        sent.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        items, count = _COUNTERS[connection.dialect.name](connection, read)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    texts = [one for one in sent if not one[0].startswith("SHOW ")]
    if count is None:
        count = sum(_buffers(connection, *one) for one in texts)
    return Work(count=count, sent=[text for text, _ in texts], items=len(items))


def _steps(connection: Connection, read: Callable[[], Sequence[Any]]) -> tuple[Sequence[Any], int]:
    """https://sqlite.org/c3ref/progress_handler.html: called for each step, approximately."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    raw: Any = connection.connection.dbapi_connection
    raw.set_progress_handler(step, 1)
    try:
        return read(), steps
    finally:
        raw.set_progress_handler(None, 0)


def _explained_later(
    connection: Connection, read: Callable[[], Sequence[Any]]
) -> tuple[Sequence[Any], None]:
    return read(), None


def _buffers(connection: Connection, statement: str, parameters: Any) -> int:
    """Blocks that a statement reads, from the cache or not; those of its planning left out."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    answer = connection.exec_driver_sql(explain, parameters).scalar_one()
    (document,) = json.loads(answer) if isinstance(answer, str) else answer
    plan = document["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _handler_reads(
    connection: Connection, read: Callable[[], Sequence[Any]]
) -> tuple[Sequence[Any], int]:
    """https://mariadb.com/kb/en/server-status-variables/#handler_read_first and the following."""

    def total() -> int:
        shown = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler\\_read\\_%%'")
        return sum(int(value) for _, value in shown)

    before = total()
    own = total() - before  # SHOW reads a table of its own
    before = total()
    items = read()
    return items, total() - before - own


_COUNTERS: dict[str, Callable[..., tuple[Sequence[Any], int | None]]] = {
    "sqlite": _steps,
    "postgresql": _explained_later,
    "mariadb": _handler_reads,
    "mysql": _handler_reads,
}
