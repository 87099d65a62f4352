from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from sa_perf.errors import PaginationError
from sa_perf.pagination import PaginatedModel, PaginatedQuery, keyset, offset, select
from sa_perf.testing import assert_keyset_indexed

pytest.importorskip("greenlet")
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)


class Base(PaginatedModel, DeclarativeBase):
    """The tests' own model."""


class Song(Base):
    __tablename__ = "song"
    id: Mapped[int] = mapped_column(primary_key=True)


STMT = select(Song).order_by(Song.id)
PAGER = keyset(STMT, size=3, signer="unsigned")
BY_NUMBER = offset(STMT, size=3)

SYNC: dict[str, tuple[Any, str]] = {
    "page": (PAGER.page, "await apage(...)"),
    "pages": (PAGER.pages, "async for page in apages(...)"),
    "verify": (PAGER.verify, "await averify(...)"),
    "page ": (BY_NUMBER.page, "await apage(...)"),
    "paginate": (STMT.paginate, "await apaginate(...)"),
    "paginate_offset": (STMT.paginate_offset, "await apaginate_offset(...)"),
    "page  ": (Song.page, "await apage(...)"),
    "page_offset": (Song.page_offset, "await apage_offset(...)"),
    "assert_keyset_indexed": (
        lambda session: assert_keyset_indexed(session, PAGER),
        "await session.run_sync(assert_keyset_indexed, pages)",
    ),
}
ASYNC: dict[str, tuple[Any, str]] = {
    "apage": (PAGER.apage, "page(...)"),
    "apages": (lambda session: anext(PAGER.apages(session)), "pages(...)"),
    "averify": (PAGER.averify, "verify(...)"),
    "apage ": (BY_NUMBER.apage, "page(...)"),
    "apaginate": (STMT.apaginate, "paginate(...)"),
    "apaginate_offset": (STMT.apaginate_offset, "paginate_offset(...)"),
    "apage  ": (Song.apage, "page(...)"),
    "apage_offset": (Song.apage_offset, "page_offset(...)"),
}


def _refused(told: str) -> Any:
    return pytest.raises(PaginationError, match=re.escape(told))


@pytest.mark.parametrize("name", SYNC)
def test_an_async_session_is_refused_with_the_call_that_takes_it(name: str) -> None:
    call, instead = SYNC[name]
    for source in (
        AsyncSession(),
        async_scoped_session(async_sessionmaker(), scopefunc=lambda: 1),
    ):
        wanted = "() wants a Session, scoped_session or Connection, not "
        told = f"{name.strip()}{wanted}{type(source).__name__}; with an async one use: {instead}"
        with _refused(told):
            call(source)


@pytest.mark.parametrize("name", ASYNC)
def test_a_synchronous_session_is_refused_with_the_call_that_takes_it(name: str) -> None:
    call, instead = ASYNC[name]
    with create_engine("sqlite://").connect() as connection:
        for source in (Session(), scoped_session(sessionmaker()), connection):
            wanted = "() wants an AsyncSession, async_scoped_session or AsyncConnection, not "
            kind = type(source).__name__
            told = f"{name.strip()}{wanted}{kind}; with a synchronous one use: {instead}"
            with _refused(told):
                asyncio.run(_awaited(call, source))


async def _awaited(call: Any, source: Any) -> None:
    await call(source)


@pytest.mark.parametrize("name", [*SYNC, *ASYNC])
def test_what_is_no_session_is_refused_with_what_to_make_of_it(name: str) -> None:
    call, _ = (SYNC | ASYNC)[name]
    for source, told in (
        (create_engine("sqlite://"), "not Engine; give a connection of it: engine.connect()"),
        (sessionmaker(), "not sessionmaker; call it and give what it makes"),
        (async_sessionmaker(), "not async_sessionmaker; call it and give what it makes"),
        (Session, "not the class Session; call it"),
        (AsyncSession, "not the class AsyncSession; call it"),
        (None, "not NoneType"),
        (STMT, f"not {type(STMT).__name__}"),
    ):
        with _refused(told):
            if name in ASYNC:
                asyncio.run(_awaited(call, source))
            else:
                call(source)


def test_an_async_engine_is_refused_with_what_to_make_of_it(async_db: Any) -> None:
    engine = async_db.async_engine()

    async def work() -> None:
        with _refused("not AsyncEngine; give a connection of it: engine.connect()"):
            PAGER.page(engine)
        with _refused("not AsyncEngine; give a connection of it: engine.connect()"):
            await PAGER.apage(engine)

    async_db.run(work())


def test_a_scoped_session_and_an_async_one_are_read(async_db: Any) -> None:
    engine = async_db.async_engine()

    async def work() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.execute(insert(Song.__table__), [{"id": at} for at in range(1, 9)])
            assert [len(page) async for page in PAGER.apages(connection)] == [3, 3, 2]
        scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)
        assert len(await PAGER.apage(scoped)) == 3
        assert [len(page) async for page in PAGER.apages(scoped, size=5)] == [5, 3]
        await scoped.remove()

    async_db.run(work())


def test_a_query_is_refused_with_the_class_that_gives_pages() -> None:
    for query in (Session().query(Song), PaginatedQuery(Song, session=Session())):
        for paged in (keyset, offset):
            with pytest.raises(PaginationError, match=r"PaginatedQuery.*query\.paginate"):
                paged(query)
