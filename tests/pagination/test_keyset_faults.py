"""Statements that once lost rows, crashed or gave cursors that nobody else could read."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Integer, func, inspect, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column

from sa_perf.pagination import CursorSigner, keyset

SIGNER = CursorSigner(["a key that only these tests have, of some length"])


class Base(DeclarativeBase):
    """The tests' own model."""


class Visit(Base):
    """Three of each place."""

    __tablename__ = "visit"
    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int]


def _ids(pager: Any, source: Any) -> list[Any]:
    return [item for page in pager.pages(source) for item in page]


def test_rows_grouped_by_a_function_are_paged(filled: Any) -> None:
    lower = func.lower(filled.Author.name).label("lower")
    stmt = select(lower, func.count()).group_by(lower).order_by(lower.desc())
    with filled.session() as session:
        expected = [tuple(row) for row in session.execute(stmt)]
        pager = keyset(stmt, size=2, signer=SIGNER)
        assert [tuple(row) for row in _ids(pager, session)] == expected


def test_a_constant_that_is_null_is_not_taken_for_one_that_is_not(filled: Any) -> None:
    def stmt(other: int | None) -> Any:
        rank = func.coalesce(filled.Author.rank, literal(other, Integer))
        return select(filled.Author.id).order_by(rank)

    with filled.session() as session:
        for other in (0, None):
            pager = keyset(stmt(other), size=7, signer=SIGNER)
            pages = list(pager.pages(session))
            assert sorted(item for page in pages for item in page) == list(range(1, 61))
            last = pager.page(session)
            while last.next_cursor is not None:
                last = pager.page(session, last.next_cursor)
            seen = list(last.items)
            while last.previous_cursor is not None:
                last = pager.page(session, last.previous_cursor)
                seen += last.items
            assert sorted(seen) == list(range(1, 61))


def test_a_cursor_holds_for_an_equal_statement_with_names_made_up(filled: Any) -> None:
    author, article = filled.Author, filled.Article

    def stmt() -> Any:
        most = select(article.author_id, func.max(article.stars)).group_by(article.author_id)
        stars = most.subquery()
        joined = select(author.id).outerjoin(stars, stars.c.author_id == author.id)
        return joined.order_by(stars.c[1], author.id)

    with filled.session() as session:
        cursor = keyset(stmt(), size=5, signer=SIGNER).page(session).next_cursor
        assert len(keyset(stmt(), size=5, signer=SIGNER).page(session, cursor)) == 5


def test_a_union_with_a_name_made_up_is_paged_twice(filled: Any) -> None:
    author = filled.Author

    def stmt() -> Any:
        first = select(author.id, func.coalesce(author.rank, author.level))
        return first.union(select(author.id, author.rank)).order_by("id")

    with filled.session() as session:
        found = [len(_ids(keyset(stmt(), size=9, signer=SIGNER), session)) for _ in range(2)]
    assert found[0] == found[1] >= 60


def test_a_limit_with_a_joined_collection_gives_whole_objects(filled: Any) -> None:
    author = filled.Author
    stmt = select(author).order_by(author.name, author.id).limit(20)
    with filled.session() as session:
        expected = session.scalars(stmt).all()
        loaded = stmt.options(joinedload(author.articles))
        found = _ids(keyset(loaded, size=7, signer=SIGNER), session)
        assert found == expected
        assert not any("articles" in inspect(one).unloaded for one in found)


# SQLAlchemy 2.1 would have it said by an extension.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_distinct_on_keeps_its_meaning_with_objects(postgresql_database: Any) -> None:
    engine = postgresql_database.engine()
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Visit(id=at, place=at % 3) for at in range(1, 10)])
        session.flush()
        stmt = select(Visit).distinct(Visit.place).order_by(Visit.place, Visit.id.desc())
        expected = [visit.id for visit in session.scalars(stmt)]
        pager = keyset(stmt, size=2, signer=SIGNER)
        assert [visit.id for visit in _ids(pager, session)] == expected == [9, 7, 8]


def test_a_fault_of_the_application_is_not_blamed_on_an_unsigned_cursor(shop: Any) -> None:
    author = shop.Author
    with shop.session() as session:
        pager = keyset(select(author.id), size=3, signer="unsigned")
        cursor = pager.page(session).next_cursor
        session.add(shop.Article(author_id=None))
        with pytest.raises(IntegrityError):
            pager.page(session, cursor)
