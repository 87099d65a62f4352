"""Every kind of relationship, loaded one by one and at once."""

from __future__ import annotations

import pytest
from n_plus_one.corpus import Fault, program
from n_plus_one.library import (
    Author,
    Book,
    Club,
    Edition,
    Folder,
    Genre,
    Membership,
    Printing,
    Profile,
    Publisher,
    Reader,
    Review,
)
from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import (
    Session,
    aliased,
    contains_eager,
    immediateload,
    joinedload,
    lazyload,
    raiseload,
    selectinload,
    subqueryload,
)

BOOKS = Fault(
    place="Author.books",
    path="Author.books",
    remedy="select(Author).options(selectinload(Author.books))",
)


@program(BOOKS)
def one_to_many(session: Session, *options) -> None:
    for author in session.scalars(select(Author).options(*options)):
        assert author.books


@program(BOOKS)
def one_to_many_of_a_list(session: Session, *options) -> None:
    authors = session.scalars(select(Author).options(*options)).all()
    assert sum(len(author.books) for author in authors) == 10


@program(BOOKS)
def one_to_many_by_the_legacy_query(session: Session, *options) -> None:
    for author in session.query(Author).options(*options):
        assert author.books


@program(
    Fault(
        place="Author.books",
        remedy="select(entity := aliased(Author)).options(selectinload(entity.books))",
    ),
)
def one_to_many_of_aliased_parents(session: Session) -> None:
    assert all(author.books for author in session.scalars(select(aliased(Author))))


@one_to_many_of_aliased_parents.mended
def _aliased_parents_at_once(session: Session) -> None:
    stmt = select(entity := aliased(Author)).options(selectinload(entity.books))
    assert all(author.books for author in session.scalars(stmt))


@program(BOOKS)
def one_to_many_told_to_be_lazy(session: Session, *options) -> None:
    stmt = select(Author).options(*(options or [lazyload(Author.books)]))
    assert all(author.books for author in session.scalars(stmt))


@program(BOOKS)
def one_to_many_that_is_loaded_at_once_each(session: Session, *options) -> None:
    stmt = select(Author).options(*(options or [immediateload(Author.books)]))
    assert all(author.books for author in session.scalars(stmt))


@program(BOOKS)
def one_to_many_of_objects_by_their_keys(session: Session, *options) -> None:
    for key in range(1, 11):
        author = session.get_one(Author, key, options=options)
        assert author.books


@one_to_many_of_objects_by_their_keys.mended
def _at_once(session: Session) -> None:
    keys = range(1, 11)
    stmt = select(Author).where(Author.id.in_(keys)).options(selectinload(Author.books))
    assert all(author.books for author in session.scalars(stmt))


@program()
def one_to_many_by_selectinload(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.books))):
        assert author.books


@program()
def one_to_many_by_joinedload(session: Session) -> None:
    stmt = select(Author).options(joinedload(Author.books))
    assert all(author.books for author in session.scalars(stmt).unique())


@program()
def one_to_many_by_subqueryload(session: Session) -> None:
    stmt = select(Author).options(subqueryload(Author.books))
    assert all(author.books for author in session.scalars(stmt))


@program()
def one_to_many_by_contains_eager(session: Session) -> None:
    stmt = select(Author).join(Author.books).options(contains_eager(Author.books))
    assert all(author.books for author in session.scalars(stmt).unique())


@program()
def one_to_many_that_may_not_be_loaded(session: Session) -> None:
    for author in session.scalars(select(Author).options(raiseload(Author.books))):
        with pytest.raises(InvalidRequestError):
            assert author.books


@program()
def one_to_many_of_a_few(session: Session) -> None:
    for author in session.scalars(select(Author).limit(4)):
        assert author.books


@program()
def one_to_many_that_is_looked_at_twice(session: Session) -> None:
    for author in session.scalars(select(Author).limit(4)):
        assert author.books
        assert author.books


@program(
    Fault(place="Book.author", remedy="select(Book).options(joinedload(Book.author))"),
)
def many_to_one(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(*options)):
        assert book.author.name


@program(
    Fault(place="Review.reader", remedy="select(Review).options(joinedload(Review.reader))"),
)
def many_to_one_of_few_parents(session: Session, *options) -> None:
    """Forty reviews of ten readers: ten statements."""
    reviews = session.scalars(select(Review).options(*options)).all()
    assert len({review.reader.name for review in reviews}) == 10


@program()
def many_to_one_that_the_session_knows(session: Session) -> None:
    readers = session.scalars(select(Reader)).all()
    for review in session.scalars(select(Review)):
        assert review.reader in readers


@program()
def many_to_one_that_is_the_same(session: Session) -> None:
    for folder in session.scalars(select(Folder).where(Folder.parent_id == 1)):
        assert folder.parent.id == 1


@program()
def many_to_one_by_joinedload(session: Session) -> None:
    for book in session.scalars(select(Book).options(joinedload(Book.author))):
        assert book.author.name


@program(
    Fault(
        place="Book.author",
        remedy="select(Book).options(joinedload(Book.author))",
        function="Book.byline",
    ),
)
def many_to_one_behind_a_hybrid(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(*options)):
        assert book.byline


@program(
    Fault(place="Book.genres", remedy="select(Book).options(selectinload(Book.genres))"),
)
def many_to_many(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(*options)):
        assert book.genres


@program(
    Fault(place="Genre.books", remedy="select(Genre).options(selectinload(Genre.books))"),
)
def many_to_many_from_the_other_side(session: Session, *options) -> None:
    assert all(genre.books for genre in session.scalars(select(Genre).options(*options)))


@program()
def many_to_many_by_selectinload(session: Session) -> None:
    for book in session.scalars(select(Book).options(selectinload(Book.genres))):
        assert book.genres


@program(
    Fault(place="Author.profile", remedy="select(Author).options(joinedload(Author.profile))"),
)
def one_to_one_from_the_parent(session: Session, *options) -> None:
    for author in session.scalars(select(Author).options(*options)):
        assert author.profile.motto


@program(
    Fault(place="Profile.author", remedy="select(Profile).options(joinedload(Profile.author))"),
)
def one_to_one_from_the_child(session: Session, *options) -> None:
    for profile in session.scalars(select(Profile).options(*options)):
        assert profile.author.name


@program()
def one_to_one_by_joinedload(session: Session) -> None:
    for author in session.scalars(select(Author).options(joinedload(Author.profile))):
        assert author.profile.author is author


@program(
    Fault(
        place="Edition.printings", remedy="select(Edition).options(selectinload(Edition.printings))"
    ),
)
def composite_key_to_many(session: Session, *options) -> None:
    for edition in session.scalars(select(Edition).options(*options)):
        assert edition.printings


@program(
    Fault(
        place="Printing.edition", remedy="select(Printing).options(joinedload(Printing.edition))"
    ),
)
def composite_key_to_one(session: Session, *options) -> None:
    for printing in session.scalars(select(Printing).options(*options)):
        assert printing.edition.number


@program()
def composite_key_by_selectinload(session: Session) -> None:
    for edition in session.scalars(select(Edition).options(selectinload(Edition.printings))):
        assert edition.printings


@program(
    Fault(place="Club.memberships", remedy="select(Club).options(selectinload(Club.memberships))"),
)
def association_object(session: Session, *options) -> None:
    for club in session.scalars(select(Club).options(*options)):
        assert club.memberships[0].since


@program(
    Fault(place="Club.memberships", remedy="select(Club).options(selectinload(Club.memberships))"),
    Fault(
        place="Membership.reader",
        path="Club.memberships -> Membership.reader",
        remedy="select(Club).options(selectinload(Club.memberships).joinedload(Membership.reader))",
    ),
)
def association_proxy_over_an_object(session: Session, *options) -> None:
    for club in session.scalars(select(Club).options(*options)):
        assert list(club.readers)


@program(BOOKS)
def association_proxy_of_a_column(session: Session, *options) -> None:
    for author in session.scalars(select(Author).options(*options)):
        assert list(author.titles)


@program()
def association_object_at_once(session: Session) -> None:
    at_once = selectinload(Club.memberships).joinedload(Membership.reader)
    for club in session.scalars(select(Club).options(at_once)):
        assert list(club.readers)


@program(
    Fault(
        place="Author.long_books", remedy="select(Author).options(selectinload(Author.long_books))"
    ),
)
def view_with_a_join_of_its_own(session: Session, *options) -> None:
    found = [author.long_books for author in session.scalars(select(Author).options(*options))]
    assert sum(map(bool, found)) == 5


@program(
    Fault(place="Author.genres", remedy="select(Author).options(selectinload(Author.genres))"),
)
def view_through_a_join_as_secondary(session: Session, *options) -> None:
    for author in session.scalars(select(Author).options(*options)):
        assert author.genres


@program()
def view_through_a_join_by_selectinload(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.genres))):
        assert author.genres


@program()
def one_parent_with_many_children(session: Session) -> None:
    publisher = session.get_one(Publisher, 1)
    assert publisher.authors[0].books
    assert publisher.authors[0].profile
