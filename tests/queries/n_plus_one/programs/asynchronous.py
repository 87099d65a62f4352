"""The same under asyncio."""

from __future__ import annotations

import asyncio

from n_plus_one.corpus import Fault, program
from n_plus_one.library import Author, Book, Letter, Note, Profile, Publisher, Reader
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, joinedload, selectinload

BOOKS = Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))")


@program(BOOKS)
async def awaitable_attrs(session: AsyncSession, *options) -> None:
    for author in await session.scalars(select(Author).options(*options)):
        assert await author.awaitable_attrs.books


@program(
    Fault(place="Book.author", remedy="select(Book).options(joinedload(Book.author))"),
)
async def awaitable_to_one(session: AsyncSession, *options) -> None:
    for book in await session.scalars(select(Book).options(*options)):
        assert (await book.awaitable_attrs.author).name


@program(
    Fault(
        place="Author.books",
        remedy="select(Author).options(selectinload(Author.books))",
        function="run_sync.<locals>.work",
    )
)
async def run_sync(session: AsyncSession, *options) -> None:
    def work(inner: Session) -> None:
        for author in inner.scalars(select(Author).options(*options)):
            assert author.books

    await session.run_sync(work)


@program(
    Fault(
        place="Author.publisher",
        path="Book.author -> Author.publisher",
        remedy="select(Book).options(joinedload(Book.author).joinedload(Author.publisher))",
    )
)
async def awaitable_behind_an_eager_load(session: AsyncSession, *options) -> None:
    stmt = select(Book).options(joinedload(Book.author), *options)
    for book in await session.scalars(stmt):
        assert (await book.author.awaitable_attrs.publisher).name


@program(
    Fault(
        place="Author.books",
        remedy="select(Author).options(selectinload(Author.books))",
        function="awaitable_in_functions.<locals>.titles",
    )
)
async def awaitable_in_functions(session: AsyncSession, *options) -> None:
    async def titles(author: Author) -> list[str]:
        return [book.title for book in await author.awaitable_attrs.books]

    for author in await session.scalars(select(Author).options(*options)):
        assert await titles(author)


@program(
    Fault(
        kind="deferred_one_by_one",
        place="Author.biography",
        remedy="select(Author).options(undefer(Author.biography))",
    )
)
async def awaitable_deferred(session: AsyncSession, *options) -> None:
    for author in await session.scalars(select(Author).options(*options)):
        assert await author.awaitable_attrs.biography


@program(
    Fault(
        kind="expired_one_by_one",
        place="Profile",
        remedy="Profile objects are read after commit()",
    )
)
async def awaitable_after_a_commit(session: AsyncSession) -> None:
    profiles = (await session.scalars(select(Profile))).all()
    await session.commit()
    for profile in profiles:
        assert await profile.awaitable_attrs.motto


@awaitable_after_a_commit.mended
async def _not_expired(session: AsyncSession) -> None:
    async with AsyncSession(session.bind, expire_on_commit=False) as other:
        profiles = (await other.scalars(select(Profile))).all()
        await other.commit()
        assert all(profile.motto for profile in profiles)


@program(
    Fault(
        kind="single_inserts",
        remedy="collect the rows and send them at once",
        times=30,
    )
)
async def a_flush_for_each(session: AsyncSession) -> None:
    for n in range(30):
        session.add(Note(text=str(n)))
        await session.flush()


@a_flush_for_each.mended
async def _one_flush(session: AsyncSession) -> None:
    session.add_all(Note(text=str(n)) for n in range(30))
    await session.flush()


@program(
    Fault(kind="same_select", remedy="keep the result of the first", needs_scope=True),
)
async def same_select(session: AsyncSession) -> None:
    for _ in range(10):
        assert await session.scalar(select(func.count(Author.id))) == 10


@same_select.mended
async def _kept(session: AsyncSession) -> None:
    assert await session.scalar(select(func.count(Author.id))) == 10


@program(
    Fault(
        place="Author.books",
        remedy="select(Author).options(selectinload(Author.books))",
        function="tasks.<locals>.books_of",
        needs_scope=True,
    )
)
async def tasks(session: AsyncSession, *options) -> None:
    """A session and a task for each of ten parents, in the request's scope."""
    if options:
        stmt = select(Author).options(*options)
        assert all(author.books for author in await session.scalars(stmt))
        return

    async def books_of(key: int) -> None:
        async with AsyncSession(session.bind) as other:
            author = await other.get_one(Author, key)
            assert await author.awaitable_attrs.books

    for key in range(1, 11):
        await asyncio.create_task(books_of(key))


@program()
async def by_selectinload(session: AsyncSession) -> None:
    for author in await session.scalars(select(Author).options(selectinload(Author.books))):
        assert author.books


@program()
async def by_joinedload(session: AsyncSession) -> None:
    for book in await session.scalars(select(Book).options(joinedload(Book.author))):
        assert book.author.name


@program()
async def awaitable_of_a_few(session: AsyncSession) -> None:
    for author in await session.scalars(select(Author).limit(4)):
        assert await author.awaitable_attrs.books


@program()
async def awaitable_that_is_loaded(session: AsyncSession) -> None:
    for author in await session.scalars(select(Author).options(selectinload(Author.books))):
        assert await author.awaitable_attrs.books


@program()
async def run_sync_at_once(session: AsyncSession) -> None:
    def work(inner: Session) -> None:
        for author in inner.scalars(select(Author).options(selectinload(Author.books))):
            assert author.books

    await session.run_sync(work)


@program()
async def get_in_a_loop(session: AsyncSession) -> None:
    for key in range(1, 11):
        assert await session.get(Author, key)


@program()
async def refresh_with_names(session: AsyncSession) -> None:
    """What asyncio users are told to do for one object."""
    for publisher in (await session.scalars(select(Publisher).limit(4))).all():
        await session.refresh(publisher, ["authors"])


@program()
async def streamed(session: AsyncSession) -> None:
    async for reader in await session.stream_scalars(select(Reader)):
        assert reader.name


@program()
async def pages(session: AsyncSession) -> None:
    for page in range(10):
        stmt = select(Letter).order_by(Letter.id).limit(1).offset(page)
        assert (await session.scalars(stmt)).one()


@program()
async def a_list_of_rows(session: AsyncSession) -> None:
    await session.execute(insert(Note), [{"text": str(n)} for n in range(100)])
