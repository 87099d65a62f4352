"""Columns that are loaded apart, and objects that are read again."""

from __future__ import annotations

from n_plus_one.corpus import Fault, program
from n_plus_one.library import Author, Book, Profile, Publisher, Reader
from sqlalchemy import select
from sqlalchemy.orm import (
    Session,
    defer,
    joinedload,
    load_only,
    selectinload,
    undefer,
    undefer_group,
)

BIOGRAPHY = Fault(
    kind="deferred_one_by_one",
    place="Author.biography",
    remedy="select(Author).options(undefer(Author.biography))",
)


@program(BIOGRAPHY)
def deferred(session: Session, *options) -> None:
    for author in session.scalars(select(Author).options(*options)):
        assert author.biography


@program(
    Fault(
        kind="deferred_one_by_one",
        place="Author.photo, voice",
        remedy="select(Author).options(undefer(Author.photo), undefer(Author.voice))",
    )
)
def deferred_group(session: Session, *options) -> None:
    for author in session.scalars(select(Author).options(*options)):
        assert author.photo + author.voice


@program(
    Fault(
        kind="deferred_one_by_one",
        place="Book.title",
        remedy="select(Book).options(undefer(Book.title))",
    )
)
def deferred_by_the_query(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(*(options or [defer(Book.title)]))):
        assert book.title


@program(
    Fault(
        kind="deferred_one_by_one",
        place="Book.pages",
        remedy="select(Book).options(undefer(Book.pages))",
    )
)
def left_out_by_load_only(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(load_only(Book.title), *options)):
        assert book.pages


@program(
    Fault(
        kind="deferred_one_by_one",
        place="Author.biography",
        remedy="select(Book).options(joinedload(Book.author).undefer(Author.biography))",
    )
)
def deferred_behind_a_relationship(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(joinedload(Book.author), *options)):
        assert book.author.biography


@program()
def undeferred(session: Session) -> None:
    for author in session.scalars(select(Author).options(undefer(Author.biography))):
        assert author.biography


@program()
def undeferred_group(session: Session) -> None:
    for author in session.scalars(select(Author).options(undefer_group("media"))):
        assert author.photo + author.voice


@program()
def only_what_load_only_loads(session: Session) -> None:
    for book in session.scalars(select(Book).options(load_only(Book.title))):
        assert book.title


@program()
def deferred_of_one(session: Session) -> None:
    author = session.get_one(Author, 1)
    assert author.biography
    assert author.photo


@program()
def column_property(session: Session) -> None:
    for publisher in session.scalars(select(Publisher)):
        assert publisher.book_count == 1


@program(
    Fault(
        kind="expired_one_by_one",
        place="Profile",
        remedy="Profile objects are read after commit() expired them",
        times=9,
        needs_scope=True,
    )
)
def commit_in_a_loop(session: Session) -> None:
    for profile in session.scalars(select(Profile)).all():
        assert profile.motto
        session.commit()


@commit_in_a_loop.mended
def _commit_behind_the_loop(session: Session) -> None:
    for profile in session.scalars(select(Profile)).all():
        assert profile.motto
    session.commit()


@program(
    Fault(
        kind="expired_one_by_one",
        place="Profile",
        remedy="Profile objects are read after commit() expired them",
    )
)
def read_after_a_commit(session: Session) -> None:
    profiles = session.scalars(select(Profile)).all()
    session.commit()
    assert all(profile.motto for profile in profiles)


@read_after_a_commit.mended
def _not_expired(session: Session) -> None:
    with Session(session.get_bind(), expire_on_commit=False) as other:
        profiles = other.scalars(select(Profile)).all()
        other.commit()
        assert all(profile.motto for profile in profiles)


@program(
    Fault(kind="expired_one_by_one", place="Reader", remedy="Reader objects"),
)
def expired_by_hand(session: Session) -> None:
    readers = session.scalars(select(Reader)).all()
    session.expire_all()
    assert all(reader.name for reader in readers)


@expired_by_hand.mended
def _read_at_once(session: Session) -> None:
    readers = session.scalars(select(Reader)).all()
    session.expire_all()
    session.scalars(select(Reader)).all()
    assert all(reader.name for reader in readers)


@program(
    Fault(kind="expired_one_by_one", place="Author", remedy="Author objects"),
)
def expired_behind_a_relationship(session: Session) -> None:
    books = session.scalars(select(Book).options(joinedload(Book.author))).all()
    authors = [book.author for book in books]
    session.commit()
    assert all(author.name for author in authors)


@expired_behind_a_relationship.mended
def _read_with_its_parent(session: Session) -> None:
    stmt = select(Book).options(joinedload(Book.author))
    authors = [book.author for book in session.scalars(stmt)]
    assert all(author.name for author in authors)
    session.commit()


@program()
def refresh_in_a_loop(session: Session) -> None:
    """The application asks for each by itself."""
    for reader in session.scalars(select(Reader)).all():
        session.refresh(reader)


@program()
def refresh_of_what_was_loaded_eagerly(session: Session) -> None:
    """The ORM reads the books again, too, one author at a time."""
    stmt = select(Author).options(selectinload(Author.books), joinedload(Author.profile))
    for author in session.scalars(stmt).all():
        session.refresh(author)
        assert author.books


@program(
    Fault(kind="expired_one_by_one", place="Author", remedy="Author objects"),
)
def expired_with_what_was_loaded_eagerly(session: Session) -> None:
    authors = session.scalars(select(Author).options(selectinload(Author.books))).all()
    session.commit()
    for author in authors:
        assert author.name
        assert author.books


@expired_with_what_was_loaded_eagerly.mended
def _read_with_its_books(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.books))):
        assert author.name
        assert author.books
    session.commit()


@program(
    Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))"),
)
def refresh_and_a_lazy_load(session: Session) -> None:
    for author in session.scalars(select(Author)).all():
        session.refresh(author)
        assert author.books


@refresh_and_a_lazy_load.mended
def _refresh_at_once(session: Session) -> None:
    stmt = select(Author).options(selectinload(Author.books))
    for author in session.scalars(stmt.execution_options(populate_existing=True)):
        assert author.books


@program(
    Fault(kind="expired_one_by_one", place="Author", remedy="Author objects"),
    Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))"),
)
def lazy_load_on_the_line_of_a_reload(session: Session) -> None:
    """It would stay when nothing expires any more."""
    authors = session.scalars(select(Author)).all()
    session.commit()
    for author in authors:
        assert all((author.name, author.books))


@lazy_load_on_the_line_of_a_reload.mended
def _all_at_once(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.books))):
        assert all((author.name, author.books))
    session.commit()


@program(
    Fault(kind="expired_one_by_one", place="Author", remedy="Author objects"),
)
def expired_with_what_was_loaded_eagerly_on_one_line(session: Session) -> None:
    authors = session.scalars(select(Author).options(selectinload(Author.books))).all()
    session.commit()
    for author in authors:
        assert all((author.name, author.books))


@expired_with_what_was_loaded_eagerly_on_one_line.mended
def _read_on_one_line(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.books))):
        assert all((author.name, author.books))
    session.commit()


@program(
    Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))"),
)
def refresh_and_a_lazy_load_on_one_line(session: Session) -> None:
    for author in session.scalars(select(Author)).all():
        assert [session.refresh(author), author.books][1]


@refresh_and_a_lazy_load_on_one_line.mended
def _refresh_whole(session: Session) -> None:
    stmt = select(Author).options(selectinload(Author.books))
    for author in session.scalars(stmt.execution_options(populate_existing=True)):
        assert author.books


@program()
def refresh_of_a_relationship_alone(session: Session) -> None:
    for author in session.scalars(select(Author)).all():
        session.refresh(author, ["books"])


@program()
def read_before_the_commit(session: Session) -> None:
    readers = session.scalars(select(Reader)).all()
    assert all(reader.name for reader in readers)
    session.commit()


@program()
def read_again_at_once(session: Session) -> None:
    session.scalars(select(Reader)).all()
    session.commit()
    assert all(reader.name for reader in session.scalars(select(Reader)))


@program()
def populate_existing(session: Session) -> None:
    readers = session.scalars(select(Reader)).all()
    again = select(Reader).execution_options(populate_existing=True)
    assert session.scalars(again).all() == readers


@program()
def no_columns_of_objects_at_all(session: Session) -> None:
    for name, title in session.execute(select(Author.name, Book.title).join(Author.books)):
        assert name
        assert title


@program()
def undeferred_behind_a_relationship(session: Session) -> None:
    at_once = selectinload(Author.books).undefer(Book.title)
    for author in session.scalars(select(Author).options(at_once)):
        assert [book.title for book in author.books]
