"""Relationships behind others: which options, along which path."""

from __future__ import annotations

from n_plus_one.corpus import Fault, program
from n_plus_one.library import DEEPEST, Author, Book, Folder, Publisher, Review
from sqlalchemy import select
from sqlalchemy.orm import Session, defaultload, joinedload, selectinload

BELOW = "select(Folder).options(selectinload(Folder.children, recursion_depth=-1))"


@program(
    Fault(
        place="Book.reviews",
        path="Author.books -> Book.reviews",
        remedy="select(Author).options(selectinload(Author.books).selectinload(Book.reviews))",
    ),
)
def below_selectinload(session: Session, *options) -> None:
    stmt = select(Author).options(selectinload(Author.books), *options)
    for author in session.scalars(stmt):
        assert [book.reviews for book in author.books]


@program(
    Fault(
        place="Author.profile",
        path="Book.author -> Author.profile",
        remedy="select(Book).options(joinedload(Book.author).joinedload(Author.profile))",
    ),
)
def below_joinedload(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(joinedload(Book.author), *options)):
        assert book.author.profile.motto


@program(
    Fault(
        place="Book.reviews",
        path="Publisher.authors -> Author.books -> Book.reviews",
        remedy="select(Publisher).options(selectinload(Publisher.authors)"
        ".selectinload(Author.books).selectinload(Book.reviews))",
    ),
)
def below_defaultload(session: Session, *options) -> None:
    at_once = selectinload(Publisher.authors)
    books = defaultload(Publisher.authors).selectinload(Author.books)
    for publisher in session.scalars(select(Publisher).options(at_once, books, *options)):
        assert [book.reviews for author in publisher.authors for book in author.books]


@program(
    Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))"),
    Fault(
        place="Book.reviews",
        path="Author.books -> Book.reviews",
        remedy="select(Author).options(selectinload(Author.books).selectinload(Book.reviews))",
    ),
)
def two_levels_one_by_one(session: Session, *options) -> None:
    for author in session.scalars(select(Author).options(*options)):
        for book in author.books:
            assert book.reviews


@program(
    Fault(
        place="Publisher.authors",
        remedy="select(Publisher).options(selectinload(Publisher.authors))",
    ),
    Fault(
        place="Author.books",
        path="Publisher.authors -> Author.books",
        remedy="select(Publisher).options("
        "selectinload(Publisher.authors).selectinload(Author.books))",
    ),
    Fault(
        place="Book.reviews",
        path="Publisher.authors -> Author.books -> Book.reviews",
        remedy="select(Publisher).options(selectinload(Publisher.authors)"
        ".selectinload(Author.books).selectinload(Book.reviews))",
    ),
)
def three_levels_one_by_one(session: Session, *options) -> None:
    for publisher in session.scalars(select(Publisher).options(*options)):
        for author in publisher.authors:
            for book in author.books:
                assert book.reviews


@program(
    Fault(place="Book.author", remedy="select(Book).options(joinedload(Book.author))"),
    Fault(
        place="Author.publisher",
        path="Book.author -> Author.publisher",
        remedy="select(Book).options(joinedload(Book.author).joinedload(Author.publisher))",
    ),
)
def up_two_levels(session: Session, *options) -> None:
    for book in session.scalars(select(Book).options(*options)):
        assert book.author.publisher.name


@program(
    Fault(
        place="Book.author",
        path="Review.book -> Book.author",
        remedy="select(Review).options(joinedload(Review.book).joinedload(Book.author))",
    ),
    Fault(
        place="Book.genres",
        path="Review.book -> Book.genres",
        remedy="select(Review).options(joinedload(Review.book).selectinload(Book.genres))",
    ),
)
def two_branches(session: Session, *options) -> None:
    stmt = select(Review).options(joinedload(Review.book), *options)
    for review in session.scalars(stmt):
        assert review.book.author.name
        assert review.book.genres


@program(
    Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))"),
    Fault(place="Review.reader", remedy="select(Review).options(joinedload(Review.reader))"),
)
def two_queries_that_have_nothing_in_common(session: Session) -> None:
    for author in session.scalars(select(Author)):
        assert author.books
    for review in session.scalars(select(Review)):
        assert review.reader.name


@two_queries_that_have_nothing_in_common.mended
def _each_at_once(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.books))):
        assert author.books
    for review in session.scalars(select(Review).options(joinedload(Review.reader))):
        assert review.reader.name


@program(
    Fault(place="Author.books", remedy="select(Author).options(selectinload(Author.books))"),
    Fault(place="Book.reviews", remedy="select(Book).options(selectinload(Book.reviews))"),
)
def children_that_another_query_loads(session: Session) -> None:
    for author in session.scalars(select(Author)):
        assert author.books
    session.expunge_all()
    for book in session.scalars(select(Book)):
        assert book.reviews


@children_that_another_query_loads.mended
def _both_at_once(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.books))):
        assert author.books
    session.expunge_all()
    for book in session.scalars(select(Book).options(selectinload(Book.reviews))):
        assert book.reviews


@program()
def two_levels_at_once(session: Session) -> None:
    at_once = selectinload(Author.books).selectinload(Book.reviews)
    for author in session.scalars(select(Author).options(at_once)):
        assert [book.reviews for book in author.books]


@program()
def back_to_the_parent(session: Session) -> None:
    for author in session.scalars(select(Author).options(selectinload(Author.books))):
        assert [book.author for book in author.books] == [author]


@program(
    Fault(place="Folder.children", remedy=BELOW, times=111, function="down_a_tree.<locals>.walk"),
)
def down_a_tree(session: Session, *options) -> None:
    def walk(folder: Folder) -> int:
        return 1 + sum(walk(child) for child in folder.children)

    root = session.scalars(select(Folder).where(Folder.id == 1).options(*options)).one()
    assert walk(root) == 111


@program(
    Fault(place="Folder.children", remedy="select(Folder).options(selectinload(Folder.children))"),
)
def one_level_of_a_tree(session: Session, *options) -> None:
    stmt = select(Folder).where(Folder.parent_id == 1).options(*options)
    assert sum(len(folder.children) for folder in session.scalars(stmt)) == 100


@program(
    Fault(place="Folder.parent", remedy="select(Folder).options(joinedload(Folder.parent))"),
)
def up_a_tree(session: Session, *options) -> None:
    leaves = select(Folder).where(Folder.id.between(100, 2_000)).options(*options)
    for folder in session.scalars(leaves):
        assert folder.parent.id


@program(
    Fault(
        place="Folder.parent",
        remedy="select(Folder).options(selectinload(Folder.parent, recursion_depth=-1)), "
        "which reads level by level; or all ancestors at once by a recursive CTE",
        function="depth_of",
    ),
)
def up_a_chain(session: Session) -> None:
    assert depth_of(session.get_one(Folder, DEEPEST)) == 10


@up_a_chain.mended
def _all_ancestors_at_once(session: Session) -> None:
    keys = select(Folder.id, Folder.parent_id)
    up = keys.where(Folder.id == DEEPEST).cte(recursive=True)
    up = up.union_all(keys.join(up, Folder.id == up.c.parent_id))
    ancestors = session.scalars(select(Folder).join(up, Folder.id == up.c.id)).all()
    assert len(ancestors) == 11
    assert depth_of(session.get_one(Folder, DEEPEST)) == 10


def depth_of(folder: Folder) -> int:
    depth = 0
    while folder.parent is not None:
        folder, depth = folder.parent, depth + 1
    return depth


@program()
def a_tree_at_once(session: Session) -> None:
    at_once = selectinload(Folder.children, recursion_depth=3)
    root = session.scalars(select(Folder).where(Folder.id == 1).options(at_once)).one()
    assert sum(len(child.children) for child in root.children) == 100


@program()
def up_a_tree_that_is_known(session: Session) -> None:
    for folder in session.scalars(select(Folder)).all():
        assert folder.parent_id is None or folder.parent.id
