"""Collections that the application asks for by a query of its own."""

from __future__ import annotations

from n_plus_one.corpus import Fault, program
from n_plus_one.library import Author, Award, Book, Letter
from sqlalchemy import func, select
from sqlalchemy.orm import Session, with_parent

LETTERS = Fault(
    place="Author.letters",
    remedy="select(Letter.author_id, func.count()).where(Letter.author_id.in_(ids))"
    ".group_by(Letter.author_id)",
)
AWARDS = Fault(
    place="Author.awards",
    remedy="select(Award.winner_id, func.count()).where(Award.winner_id.in_(ids))"
    ".group_by(Award.winner_id)",
)


@program(LETTERS)
def dynamic_count(session: Session) -> None:
    for author in session.scalars(select(Author)):
        assert author.letters.count() == 1


@dynamic_count.mended
def _letters_of_all(session: Session) -> None:
    ids = [author.id for author in session.scalars(select(Author))]
    counts = (
        select(Letter.author_id, func.count())
        .where(Letter.author_id.in_(ids))
        .group_by(Letter.author_id)
    )
    assert dict(session.execute(counts).all()) == dict.fromkeys(ids, 1)


@program(LETTERS)
def dynamic_rows(session: Session) -> None:
    for author in session.scalars(select(Author)):
        assert author.letters.all()


@dynamic_rows.mended
def _rows_of_all(session: Session) -> None:
    ids = [author.id for author in session.scalars(select(Author))]
    assert session.scalars(select(Letter).where(Letter.author_id.in_(ids))).all()


@program(LETTERS)
def dynamic_filter(session: Session) -> None:
    for author in session.scalars(select(Author)):
        assert author.letters.filter(Letter.text == "Dear").first()


@dynamic_filter.mended
def _filtered_of_all(session: Session) -> None:
    ids = [author.id for author in session.scalars(select(Author))]
    letters = select(Letter).where(Letter.author_id.in_(ids), Letter.text == "Dear")
    assert session.scalars(letters).all()


@program()
def dynamic_of_one(session: Session) -> None:
    author = session.get_one(Author, 1)
    assert author.letters.count() == len(author.letters.all()) == 1


@program(AWARDS)
def write_only_count(session: Session) -> None:
    for author in session.scalars(select(Author)):
        rows = author.awards.select().with_only_columns(func.count())
        assert session.scalar(rows) == 1


@write_only_count.mended
def _awards_of_all(session: Session) -> None:
    ids = [author.id for author in session.scalars(select(Author))]
    counts = (
        select(Award.winner_id, func.count())
        .where(Award.winner_id.in_(ids))
        .group_by(Award.winner_id)
    )
    assert dict(session.execute(counts).all()) == dict.fromkeys(ids, 1)


@program(AWARDS)
def write_only_rows(session: Session) -> None:
    for author in session.scalars(select(Author)):
        assert session.scalars(author.awards.select()).all()


@write_only_rows.mended
def _award_rows_of_all(session: Session) -> None:
    ids = [author.id for author in session.scalars(select(Author))]
    assert session.scalars(select(Award).where(Award.winner_id.in_(ids))).all()


@program()
def write_only_of_one(session: Session) -> None:
    author = session.get_one(Author, 1)
    assert session.scalars(author.awards.select()).all()


@program()
def with_parent_in_a_loop(session: Session) -> None:
    """A query of the application's own, and it may have its reasons."""
    for author in session.scalars(select(Author)).all():
        assert session.scalars(select(Book).where(with_parent(author, Author.books))).all()


@program()
def compared_with_an_object_in_a_loop(session: Session) -> None:
    for author in session.scalars(select(Author)).all():
        assert session.scalars(select(Book).where(Book.author == author)).all()


@program(LETTERS)
def dynamic_rows_by_hand(session: Session) -> None:
    """What the collection does: the ORM makes the same statement of it."""
    for author in session.scalars(select(Author)).all():
        assert session.scalars(select(Letter).where(Letter.author == author)).all()


@dynamic_rows_by_hand.mended
def _rows_of_all_by_hand(session: Session) -> None:
    ids = [author.id for author in session.scalars(select(Author))]
    assert session.scalars(select(Letter).where(Letter.author_id.in_(ids))).all()


@program()
def counted_by_group(session: Session) -> None:
    counts = select(Letter.author_id, func.count()).group_by(Letter.author_id)
    assert len(session.execute(counts).all()) == 10
