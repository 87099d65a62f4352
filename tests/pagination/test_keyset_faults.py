"""Statements that once lost rows, crashed or gave cursors that nobody else could read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from sqlalchemy import (
    ARRAY,
    Column,
    Double,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    func,
    inspect,
    literal,
    select,
    type_coerce,
    union,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    mapped_column,
    with_polymorphic,
)
from sqlalchemy.types import UserDefinedType

from sa_perf.errors import InvalidCursor, PaginationError
from sa_perf.pagination import CursorSigner, keyset

SIGNER = CursorSigner(["a key that only these tests have, of some length"])


class Base(DeclarativeBase):
    """The tests' own model."""


class Visit(Base):
    """Three of each place."""

    __tablename__ = "visit"
    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int]


class Pet(Base):
    """Of two kinds, which share a table; each has a column of its own there."""

    __tablename__ = "pet"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_on": "kind",
        "polymorphic_identity": "pet",
    }


class Dog(Pet):
    """Pets that bark."""

    barks: Mapped[int | None] = mapped_column(use_existing_column=True)
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "dog"}


class Cat(Pet):
    """Pets that purr."""

    purrs: Mapped[int | None] = mapped_column(use_existing_column=True)
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "cat"}


def _both() -> Any:
    return with_polymorphic(Pet, [Dog, Cat])


BY_A_COLUMN_OF_ONE_KIND: dict[str, Callable[[], Any]] = {
    "all, by one": lambda: select(Pet).order_by(Dog.barks, Pet.id),
    "all, by an expression": lambda: select(Pet).order_by(func.coalesce(Dog.barks, 7) + 1, Pet.id),
    "polymorphic": lambda: (both := _both()) and select(both).order_by(both.Dog.barks, both.id),
    "polymorphic, by both": lambda: (
        (both := _both()) and select(both).order_by(both.Cat.purrs, both.Dog.barks, both.id)
    ),
    "columns": lambda: select(Pet.id, Pet.kind).order_by(Cat.purrs, Pet.id),
    "limited": lambda: select(Pet).order_by(Dog.barks, Pet.id).limit(9),
    "limited columns": lambda: select(Pet.id, Pet.kind).order_by(Cat.purrs, Pet.id).limit(9),
    "limited to one kind": lambda: select(Cat).order_by(Cat.purrs, Cat.id).limit(3),
    "numbered in one kind": lambda: select(
        func.row_number().over(order_by=Cat.id), Cat
    ).order_by(Cat.purrs, Cat.id),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_A_COLUMN_OF_ONE_KIND)
def test_a_column_of_one_kind_sorts_all_kinds(name: str, shared_db: Any) -> None:
    engine = shared_db.engine()
    Base.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            session.add_all([Dog(barks=at % 3) for at in range(5)])
            session.add_all([Cat(purrs=at % 2) for at in range(5)])
            session.add_all([Pet() for _ in range(3)])
            session.flush()
            stmt = BY_A_COLUMN_OF_ONE_KIND[name]()
            expected = [tuple(row) for row in session.execute(stmt)]
            found = _ids(keyset(stmt, size=4, signer=SIGNER), session)
            assert [(one,) if isinstance(one, Pet) else tuple(one) for one in found] == expected
    finally:
        Base.metadata.drop_all(engine)


def _two_authors(shop: Any, *, by_second: bool, outer: bool = False) -> Any:
    first, second = aliased(shop.Author), aliased(shop.Author)
    stmt = select(first.id, second.id).join(second, first.rank == second.rank, isouter=outer)
    return stmt.order_by((second if by_second else first).name, first.id, second.id)


@pytest.mark.parametrize("change", [{"by_second": True}, {"by_second": False, "outer": True}])
def test_a_cursor_holds_for_one_alias_and_one_kind_of_join(filled: Any, change: Any) -> None:
    with filled.session() as session:
        pager = keyset(_two_authors(filled, by_second=False), size=5, signer=SIGNER)
        cursor = pager.page(session).next_cursor
        again = keyset(_two_authors(filled, by_second=False), size=5, signer=SIGNER)
        assert len(again.page(session, cursor)) == 5
        other = keyset(_two_authors(filled, **change), size=5, signer=SIGNER)
        with pytest.raises(InvalidCursor):
            other.page(session, cursor)


def test_a_total_over_all_rows_is_no_list(filled: Any) -> None:
    author = filled.Author
    for stmt in (
        select(func.count(author.id)),
        select(func.max(author.rank).label("most")).order_by("most"),
        select(author.id).having(func.count() > 3),
    ):
        with pytest.raises(PaginationError, match=r"one row.*group_by\(\)"):
            keyset(stmt, signer=SIGNER)
    # Neither of these is a total.
    keyset(select(author.id, func.sum(author.rank).over()), signer=SIGNER)
    keyset(select(author.id, select(func.max(author.id)).scalar_subquery()), signer=SIGNER)


def test_totals_of_several_group_sets_are_paged_by_what_tells_them_apart(
    postgresql_database: Any,
) -> None:
    engine = postgresql_database.engine()
    Base.metadata.create_all(engine)
    group = func.rollup(Visit.place, Visit.id)
    stmt = select(
        Visit.place, Visit.id, func.grouping(Visit.place, Visit.id).label("set"), func.count()
    ).group_by(group)
    with Session(engine) as session:
        session.add_all([Visit(id=at, place=at % 3) for at in range(1, 10)])
        session.flush()
        with pytest.raises(PaginationError, match="subquery"):
            keyset(stmt, signer=SIGNER)
        rows = stmt.subquery()
        with pytest.raises(PaginationError, match="unique=True"):
            keyset(select(rows), signer=SIGNER).page(session)
        ordered = select(rows).order_by(rows.c.place, rows.c.set, rows.c.id)
        expected = [tuple(row) for row in session.execute(ordered)]
        assert len(expected) == 9 + 3 + 1
        pager = keyset(ordered, size=2, signer=SIGNER, unique=True)
        assert [tuple(row) for row in _ids(pager, session)] == expected


def test_messages_show_no_names_that_sqlalchemy_made_up(filled: Any) -> None:
    author = filled.Author
    unnamed = select(func.max(author.id)).group_by(author.name).subquery()
    most = select(author.id, func.max(author.id)).group_by(author.id)
    for stmt in (
        select(unnamed),
        select(most.subquery()).order_by("nobody"),
        union(most, most).order_by(func.max(author.id) + 1),
    ):
        with filled.session() as session, pytest.raises(PaginationError) as caught:
            keyset(stmt, signer=SIGNER).page(session)
        assert "%(" not in str(caught.value)
        assert "no name" in str(caught.value)


def _ids(pager: Any, source: Any) -> list[Any]:
    return [item for page in pager.pages(source) for item in page]


def test_rows_grouped_by_a_function_are_paged(filled: Any) -> None:
    lower = func.lower(filled.Author.name).label("lower")
    stmt = select(lower, func.count()).group_by(lower).order_by(lower.desc())
    with filled.session() as session:
        expected = [tuple(row) for row in session.execute(stmt)]
        pager = keyset(stmt, size=2, signer=SIGNER)
        assert [tuple(row) for row in _ids(pager, session)] == expected


def test_rows_grouped_by_a_function_without_a_label_are_paged(filled: Any) -> None:
    lower = func.lower(filled.Author.name)
    stmt = select(lower, func.count()).group_by(lower)
    with filled.session() as session:
        expected = sorted(tuple(row) for row in session.execute(stmt))
        pager = keyset(stmt.order_by(lower), size=2, signer=SIGNER)
        assert sorted(tuple(row) for row in _ids(pager, session)) == expected


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


class Shifted(UserDefinedType[float]):
    """Finds no value that it gave: a fault that an application's own type may have."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """A number."""
        return "DOUBLE PRECISION"

    def bind_expression(self, bindvalue: Any) -> Any:
        """Give the database far too small a number."""
        return type_coerce(bindvalue, Double) - 1_000


def test_pages_end_where_a_type_does_not_find_its_own_values(
    sqlite_database: Any,
) -> None:
    table = Table("shifted", MetaData(), Column("at", Shifted, primary_key=True))
    with sqlite_database.engine().connect() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"at": at} for at in range(1_001, 1_011)])
        pager = keyset(select(table).order_by(table.c.at), size=3, signer=SIGNER)
        with pytest.raises(PaginationError, match="begin where this one did"):
            for number, _ in enumerate(pager.pages(connection)):
                assert number < 10


def test_asynchronous_pages_end_there_too() -> None:
    pytest.importorskip("aiosqlite")
    from sqlalchemy.ext.asyncio import create_async_engine

    table = Table("shifted", MetaData(), Column("at", Shifted, primary_key=True))
    pager = keyset(select(table).order_by(table.c.at), size=3, signer=SIGNER)

    async def work() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.connect() as connection:
            await connection.run_sync(table.create)
            await connection.execute(table.insert(), [{"at": at} for at in range(1_001, 1_011)])
            number = 0
            with pytest.raises(PaginationError, match="begin where this one did"):
                async for _ in pager.apages(connection):
                    number += 1
                    assert number < 10
        await engine.dispose()

    asyncio.run(work())


def test_pages_need_no_cursor_keys_until_they_are_asked_for_a_cursor(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SA_PERF_CURSOR_KEYS", raising=False)
    pager = keyset(select(filled.Author.id).order_by(filled.Author.rank), size=25)
    with filled.session() as session:
        pages = list(pager.pages(session))
        assert sorted(item for page in pages for item in page) == list(range(1, 61))
        assert [page.has_next for page in pages] == [True, True, False]
        with pytest.raises(PaginationError, match="no cursor keys are set"):
            _ = pages[0].next_cursor
        with pytest.raises(PaginationError, match="no cursor keys are set"):
            pager.page(session, size=100)


def test_arrays_that_hold_nan_are_paged(postgresql_database: Any) -> None:
    nan = float("nan")
    values = [[1.0], [1.0, nan], [nan], [nan, 1.0], [nan, nan], [2.0, nan]]
    table = Table("measured", MetaData(), Column("values", ARRAY(Double), nullable=False))
    with postgresql_database.engine().connect() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"values": one} for one in values])
        pager = keyset(select(table).order_by("values"), size=2, signer=SIGNER, unique=True)
        pages = list(pager.pages(connection))
        expected = connection.execute(select(table).order_by("values")).all()
        assert [str(one) for page in pages for one in page] == [str(row[0]) for row in expected]
        assert [len(page) for page in pages] == [2, 2, 2]


def test_a_set_of_constants_binds_a_cursor_whatever_its_order(filled: Any) -> None:
    author = filled.Author
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    with filled.session() as session:
        pagers = [
            keyset(select(author.id).order_by(author.level.in_(some)), size=5, signer=SIGNER)
            for some in (one, other, {1, 2})
        ]
        cursor = pagers[0].page(session).next_cursor
        assert len(pagers[1].page(session, cursor)) == 5
        with pytest.raises(InvalidCursor):
            pagers[2].page(session, cursor)


def test_a_product_that_the_database_makes_null_of_is_paged(sqlite_database: Any) -> None:
    table = Table(
        "product",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("a", Float, nullable=False),
        Column("b", Float, nullable=False),
    )
    pairs = [(float("inf"), 0.0), (1.0, 2.0), (float("inf"), 0.0), (3.0, 1.0), (-1.0, 1.0)]
    with sqlite_database.engine().connect() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"a": a, "b": b} for a, b in pairs])
        product = (table.c.a * table.c.b).label("product")
        stmt = select(table.c.id, product).order_by(product, table.c.id)
        assert connection.execute(stmt).first() == (1, None)
        pager = keyset(stmt, size=2, signer=SIGNER)
        assert [row.id for row in _ids(pager, connection)] == [1, 3, 5, 2, 4]


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
