"""Several sessions, engines' threads and tasks."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

from n_plus_one.corpus import Fault, program
from n_plus_one.library import Author, Book, Reader
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

BOOKS = Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))")


def in_threads(number: int, function: Callable[[int], None]) -> None:
    """Run a function in threads, each in a copy of the caller's context."""
    errors: list[BaseException] = []

    def run(n: int) -> None:
        try:
            function(n)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(run, n))
        for n in range(number)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@program(
    Fault(
        place="Author.books",
        remedy="select(Author).options(selectinload(Author.books))",
        needs_scope=True,
    )
)
def a_session_for_each_parent(session: Session, *options) -> None:
    for key in range(1, 11):
        with Session(session.get_bind()) as other:
            assert other.get_one(Author, key, options=options).books


@a_session_for_each_parent.mended
def _one_session(session: Session) -> None:
    assert all(
        author.books
        for author in session.scalars(select(Author).options(selectinload(Author.books)))
    )


@program(BOOKS)
def another_session(session: Session, *options) -> None:
    with Session(session.get_bind()) as other:
        for author in other.scalars(select(Author).options(*options)):
            assert author.books


@program()
def another_session_at_once(session: Session) -> None:
    with Session(session.get_bind()) as other:
        for author in other.scalars(select(Author).options(selectinload(Author.books))):
            assert author.books


@program(
    Fault(
        place="Author.books",
        remedy="select(Author).options(selectinload(Author.books))",
        function="a_thread.<locals>.work",
    )
)
def a_thread(session: Session, *options) -> None:
    bind = session.get_bind()

    def work(_: int) -> None:
        with Session(bind) as other:
            for author in other.scalars(select(Author).options(*options)):
                assert author.books

    in_threads(1, work)


@program()
def threads_at_once(session: Session) -> None:
    bind = session.get_bind()

    def work(n: int) -> None:
        with Session(bind) as other:
            stmt = select(Author).where(Author.id == n + 1).options(selectinload(Author.books))
            assert other.scalars(stmt).one().books

    in_threads(4, work)


@program()
def two_sessions_a_few_each(session: Session) -> None:
    """Neither line runs five times."""
    with Session(session.get_bind()) as other:
        for author in session.scalars(select(Author).limit(4)):
            assert author.books
        for book in other.scalars(select(Book).limit(4)):
            assert book.author.name


@program()
def detached_objects(session: Session) -> None:
    with Session(session.get_bind()) as other:
        readers = other.scalars(select(Reader)).all()
    assert all(reader.name for reader in readers)


@program()
def merged_objects(session: Session) -> None:
    with Session(session.get_bind()) as other:
        readers = other.scalars(select(Reader)).all()
    for reader in readers:
        assert session.merge(reader, load=False).name
