"""Offset pages of every kind of statement, on every database; totals, numbers, links, limits."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    cast,
    desc,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    column_property,
    contains_eager,
    joinedload,
    mapped_column,
    query_expression,
    relationship,
    scoped_session,
    selectinload,
    sessionmaker,
    with_expression,
    with_loader_criteria,
)

from sa_perf.errors import PaginationError
from sa_perf.pagination.counting import Capped, Count
from sa_perf.pagination.offset import OffsetPager, offset
from sa_perf.pagination.offset_page import OffsetPage

# The package has a function of the module's name.
MODULE = importlib.import_module("sa_perf.pagination.offset")
Cases = dict[str, Callable[[Any], Any]]


class Base(DeclarativeBase):
    """Mappings that the common models do not have."""


class Shelf(Base):
    """Its books come along by default, a window and a count too."""

    __tablename__ = "paged_shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    room: Mapped[int]
    volumes: Mapped[list[Volume]] = relationship(lazy="joined", order_by="Volume.id")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "shelf"}  # noqa: RUF012


class Rack(Shelf):
    """In the same table."""

    __mapper_args__ = {"polymorphic_identity": "rack"}  # noqa: RUF012


class Volume(Base):
    __tablename__ = "paged_volume"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("paged_shelf.id"))


class Ranked(Base):
    __table__ = Shelf.__table__
    place = column_property(func.row_number().over(order_by=Shelf.__table__.c.id.desc()))


class Told(Base):
    __table__ = Shelf.__table__
    told: Mapped[int] = query_expression()


Shelf.books = column_property(
    select(func.count(Volume.id)).where(Volume.shelf_id == Shelf.id).scalar_subquery()
)


def _other(shop: Any) -> Any:
    return aliased(shop.Author)


def _articles(shop: Any) -> Any:
    counted = select(func.count(shop.Article.id)).where(shop.Article.author_id == shop.Author.id)
    return counted.correlate(shop.Author).scalar_subquery()


#: One table, one key: far pages find the keys first.
DEFERRED: Cases = {
    "by nothing": lambda s: select(s.Author),
    "by the key": lambda s: select(s.Author).order_by(s.Author.id.desc()),
    "with ties": lambda s: select(s.Author).order_by(s.Author.name.desc()),
    "by a text": lambda s: select(s.Author).order_by(desc("name")),
    "by NULLs": lambda s: select(s.Author).order_by(s.Author.seen, s.Author.rank.desc()),
    "with a condition": lambda s: (
        select(s.Author).where(s.Author.rank > 1, s.Author.name != "aa").order_by(s.Author.level)
    ),
    "with EXISTS": lambda s: (
        select(s.Author).where(s.Author.articles.any(s.Article.stars > 0)).order_by("name")
    ),
    "by a subquery": lambda s: select(s.Author).order_by(_articles(s).desc()),
    "by an expression": lambda s: select(s.Author).order_by(func.lower(s.Author.name) + "x"),
    "an alias": lambda s: (other := _other(s)) and select(other).order_by(other.name),
    "columns": lambda s: select(s.Author.id, s.Author.seen).order_by(s.Author.seen),
    "one column": lambda s: select(s.Author.name).order_by(s.Author.rank),
    "a table": lambda s: select(s.Author.__table__).order_by(s.Author.__table__.c.name),
    "an alias of a table": lambda s: (
        (other := s.Author.__table__.alias()) is not None and select(other).order_by(other.c.name)
    ),
    "a LIMIT": lambda s: (
        select(s.Author).order_by(s.Author.name, s.Author.id).limit(30).offset(3)
    ),
    "joined loads": lambda s: (
        select(s.Author).options(joinedload(s.Author.articles)).order_by(s.Author.name)
    ),
    "selected loads": lambda s: (
        select(s.Author).options(selectinload(s.Author.articles)).order_by(s.Author.rank)
    ),
    "criteria": lambda s: (
        select(s.Author)
        .options(with_loader_criteria(s.Author, s.Author.name != "aa"))
        .order_by(s.Author.rank)
    ),
}  # fmt: skip
PLAIN: Cases = {
    "one to many": lambda s: select(s.Author).join(s.Author.articles).order_by(s.Author.name),
    "many to one with a collection": lambda s: (
        select(s.Article)
        .join(s.Article.author)
        .options(contains_eager(s.Article.author).joinedload(s.Author.articles))
        .order_by(s.Author.name.desc())
    ),
    "two entities": lambda s: (
        select(s.Author, s.Article).outerjoin(s.Author.articles).order_by(s.Article.stars)
    ),
    "groups": lambda s: (
        select(s.Author.name, func.count().label("n")).group_by(s.Author.name).order_by(desc("n"))
    ),
    "distinct": lambda s: select(s.Author.name, s.Author.rank).distinct().order_by("name"),
    "a distinct expression": lambda s: (
        select((s.Author.name + "x").label("named"), s.Author.rank).distinct().order_by("rank")
    ),
    "distinct entities": lambda s: (
        select(s.Author).join(s.Author.articles).distinct().order_by(s.Author.name)
    ),
    "a window": lambda s: (
        select(s.Author.id, func.row_number().over(order_by=s.Author.id).label("place"))
        .order_by(desc("place"))
    ),
    "a label": lambda s: (
        select(s.Author.id, (s.Author.rank + s.Author.level).label("sum")).order_by(desc("sum"))
    ),
    "a union": lambda s: union(
        select(s.Author.id, s.Author.name), select(s.Article.id, cast(s.Article.stars, String(9)))
    ).order_by("id"),
    "a union with a LIMIT": lambda s: (
        union(select(s.Author.id), select(s.Article.id)).order_by("id").limit(31)
    ),
    "a LIMIT that is an expression": lambda s: (
        select(s.Author.id).order_by(s.Author.name, s.Author.id).limit(literal_column("30"))
    ),
    "a subquery": lambda s: select(select(s.Author.id, s.Author.name).subquery()).order_by("name"),
}  # fmt: skip
CASES = DEFERRED | PLAIN
#: A connection makes no objects, so there joined loads would only repeat rows.
EAGER = ("joined loads", "many to one with a collection")


@pytest.fixture(params=["session", "connection"])
def source(request: pytest.FixtureRequest, filled: Any) -> Iterator[Any]:
    """A session and a connection to the filled tables."""
    with getattr(filled, request.param)() as opened:
        yield opened


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(connection, cursor, statement, *rest: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def read(pager: OffsetPager[Any], source: Any, *, size: int = 7) -> list[Any]:
    """All items, page by page."""
    found: list[Any] = []
    number = 1
    while True:
        page = pager.page(source, number, size=size)
        assert (page.number, page.size, page.has_previous) == (number, size, number > 1)
        assert len(page) == size or not page.has_next
        found += page
        if not page.has_next:
            return found
        number += 1


def rows_of(source: Any, stmt: Any) -> list[Any]:
    result = source.execute(stmt)
    if result._unique_filter_state:
        result = result.unique()
    return [row[0] if len(row) == 1 else tuple(row) for row in result]


def as_texts(items: Any) -> list[str]:
    return [as_text(one) for one in items]


def as_text(one: Any) -> str:
    if hasattr(one, "_mapping") or isinstance(one, tuple):
        return ", ".join(map(as_text, one))
    return f"{type(one).__name__} {one.id}" if hasattr(one, "id") else repr(one)


@pytest.mark.parametrize("name", CASES)
def test_pages_hold_each_row_once_in_one_order(filled, source, name) -> None:
    stmt = CASES[name](filled)
    pager = offset(stmt, max_size=500)
    found = as_texts(read(pager, source))
    expected = as_texts(pager.page(source, size=500))
    assert found == expected
    if isinstance(source, Connection) and name in EAGER:
        stmt = stmt.with_only_columns(*stmt.selected_columns)
        stmt._with_options = ()
    assert sorted(found) == sorted(as_texts(rows_of(source, stmt)))


@pytest.mark.parametrize("name", CASES)
def test_a_far_page_has_the_same_rows_in_the_same_order(filled, name, monkeypatch) -> None:
    stmt = CASES[name](filled)
    with filled.session() as session:
        expected = read(offset(stmt, deferred_join=False), session)
        monkeypatch.setattr(MODULE, "DEEP_ROWS", 0)
        with statements(filled.engine) as sent:
            found = read(offset(stmt), session)
    assert found == expected
    assert any("sa_perf_keys" in one for one in sent) == (name in DEFERRED)


def test_a_far_page_looks_up_its_keys_first_and_a_near_one_does_not(db) -> None:
    many = Table(
        "many", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(9))
    )
    engine = db.engine()
    many.create(engine)
    stmt = select(many).where(many.c.id > 5).order_by(many.c.name)
    with engine.begin() as connection:
        rows = [{"id": n, "name": f"N{n % 30}"} for n in range(1, 2106)]
        connection.execute(insert(many), rows)
        expected = connection.execute(stmt.order_by(many.c.id)).all()
        with statements(engine) as sent:
            assert offset(stmt).page(connection, 40).items == expected[1950:2000]
            assert offset(stmt).page(connection, 41).items == expected[2000:2050]
            assert offset(stmt, deferred_join=False).page(connection, 42).items == expected[2050:]
    assert ["sa_perf_keys" in one for one in sent] == [False, True, False]
    # The condition is tested where keys are sought, not again where rows are.
    assert sent[1].count(" > ") == 1


def test_an_alias_of_a_class_gives_objects(filled) -> None:
    with filled.session() as session:
        page = offset(select(aliased(filled.Author)), size=3).page(session)
    assert [type(one) for one in page] == [filled.Author] * 3


# Mapped in less usual ways


@pytest.fixture(scope="module")
def shelves(shared_db) -> Iterator[Engine]:
    """30 shelves, every third a rack, of three volumes each."""
    engine = shared_db.engine()
    Base.metadata.create_all(engine)
    kinds = ["rack", "shelf", "shelf"]
    with engine.begin() as connection:
        values = [{"id": n, "kind": kinds[n % 3], "room": n % 4} for n in range(1, 31)]
        connection.execute(insert(Shelf.__table__), values)
        volumes = [{"shelf_id": n} for n in range(1, 31) for _ in range(3)]
        connection.execute(insert(Volume.__table__), volumes)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


MAPPED: dict[str, tuple[Any, bool]] = {
    "collections joined by default": (select(Shelf).order_by(Shelf.room), True),
    "a subclass in one table": (select(Rack).order_by(Rack.room), True),
    "columns of a subclass": (select(Rack.id, Rack.room).order_by(Rack.room), True),
    "a window as a property": (select(Ranked).order_by(Ranked.room), False),
    "a property by an option": (
        select(Told).options(with_expression(Told.told, func.count().over())).order_by(Told.room),
        False,
    ),
    "by a window": (select(Shelf).order_by(func.row_number().over(order_by=Shelf.id)), False),
}


@pytest.mark.parametrize("name", MAPPED)
def test_mapped_properties_are_those_of_all_rows(shelves, name, monkeypatch) -> None:
    stmt, deferred = MAPPED[name]
    monkeypatch.setattr(MODULE, "DEEP_ROWS", 0)
    with Session(shelves) as session, statements(shelves) as sent:
        pages = read(offset(stmt), session)
        expected = rows_of(session, stmt)
    assert sorted(map(repr, pages)) == sorted(map(repr, expected))
    assert len(pages) > 9
    assert any("sa_perf_keys" in one for one in sent) == deferred
    with shelves.connect() as connection:
        assert len(read(offset(stmt), connection)) == len(pages)
    for one in pages:
        if isinstance(one, Ranked):
            assert one.place == 31 - one.id
        elif isinstance(one, Told):
            assert one.told == 30
        elif isinstance(one, Shelf):
            assert (len(one.volumes), one.books) == (3, 3)


def test_collections_that_are_joined_do_not_shorten_pages(shelves) -> None:
    with Session(shelves) as session, statements(shelves) as sent:
        page = offset(select(Shelf).order_by(Shelf.room), size=8).page(session, 2)
    assert [len(one.volumes) for one in page] == [3] * 8
    assert page.has_next
    assert len(sent) == 1


@pytest.mark.parametrize("option", [joinedload, contains_eager])
def test_repeated_objects_with_joined_collections_are_refused(filled, option) -> None:
    stmt = (
        select(filled.Author).join(filled.Author.articles).options(option(filled.Author.articles))
    )
    with filled.session() as session, pytest.raises(PaginationError, match=r"article.id.*selectin"):
        offset(stmt.order_by(filled.Author.name)).page(session)


def test_joined_collections_of_objects_without_a_known_key_are_refused(filled) -> None:
    author = filled.Author
    other = aliased(author, union_all(select(author), select(author)).subquery())
    stmt = select(other).order_by(other.email)
    with filled.session() as session:
        assert len(offset(stmt, unique=True).page(session)) == 50
        joined = offset(stmt.options(joinedload(other.articles)), unique=True)
        with pytest.raises(PaginationError, match="no key is known"):
            joined.page(session)


def test_equal_rows_are_all_there(filled) -> None:
    with filled.session() as session:
        names = read(offset(select(filled.Author.name)), session)
    assert len(names) == 60 > len(set(names))


# What it is read with


def test_a_scoped_session_reads_pages(filled) -> None:
    scoped = scoped_session(sessionmaker(filled.engine))
    assert len(read(offset(select(filled.Author)), scoped)) == 60
    scoped.remove()


def test_asynchronous_sessions_and_connections_read_pages(async_db) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker

    async def work() -> None:
        engine = async_db.async_engine()
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            values = [{"id": n, "kind": "shelf", "room": 1} for n in range(1, 31)]
            await connection.execute(insert(Shelf.__table__), values)
            rows = offset(select(Shelf.__table__), size=9, count="exact")
            page = await rows.apage(connection, 4)
            assert [row.id for row in page] == [28, 29, 30]
            assert page.total == Count(30)
        for how in ("exact", "capped", "estimated"):
            pager = offset(select(Shelf), size=10, count=how)
            async with AsyncSession(engine) as session:
                page = await pager.apage(session, 2)
                assert [one.id for one in page] == list(range(11, 21))
                assert page.total == Count(30)
        scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)
        assert len(await pager.apage(scoped, 3)) == 10
        await scoped.remove()
        with pytest.raises(PaginationError, match=r"engine\.connect\(\)"):
            pager.page(engine)

    async_db.run(work())


def test_the_wrong_source_is_refused_with_the_right_one_named(filled) -> None:
    pager = offset(select(filled.Author))
    with pytest.raises(PaginationError, match=r"wants a Session.*not Engine.*engine\.connect\(\)"):
        pager.page(filled.engine)


# Totals


def test_nothing_is_counted_unless_asked_for(filled, source) -> None:
    with statements(filled.engine) as sent:
        page = offset(select(filled.Author)).page(source)
    assert (len(sent), page.total, page.page_count) == (1, None, None)


@pytest.mark.parametrize("how", ["exact", "capped", "estimated", Capped(60)])
def test_a_total_is_counted_on_a_page_that_does_not_show_it(filled, source, how) -> None:
    stmt = select(filled.Author).order_by(filled.Author.name)
    page = offset(stmt, size=25, count=how).page(source, 2)
    assert (page.total, page.page_count, page.last_number) == (Count(60), 3, 3)


def test_a_page_that_shows_the_end_needs_no_count(filled, source) -> None:
    pager = offset(select(filled.Author), size=25, count="exact")
    with statements(filled.engine) as sent:
        assert pager.page(source, 3).total == Count(60)
        nobody = select(filled.Author).where(filled.Author.id < 0)
        empty = offset(nobody, count="exact").page(source)
    assert len(sent) == 2
    assert (empty.total, empty.page_count, list(empty), bool(empty)) == (Count(0), 1, [], False)


def test_a_page_behind_the_end_is_empty_and_says_how_many_there_are(filled, source) -> None:
    page = offset(select(filled.Author), size=25, count="exact").page(source, 9)
    assert (list(page), page.has_next, page.has_previous) == ([], False, True)
    assert (page.total, page.last_number) == (Count(60), 3)
    assert 'page=3>; rel="prev"' in page.link_header("/authors")


def test_a_capped_total_gives_no_last_page(filled, source) -> None:
    page = offset(select(filled.Author), size=10, count=Capped(30)).page(source, 2)
    assert str(page.total) == "30+"
    assert (page.page_count, page.last_number) == (None, None)
    assert page.numbers() == [1, 2, 3]


def test_an_estimate_is_never_less_than_what_was_seen(filled, monkeypatch) -> None:
    monkeypatch.setattr(MODULE, "count", lambda *given: Count(3, "estimated"))
    with filled.session() as session:
        page = offset(select(filled.Author), size=10, count="estimated").page(session, 2)
    assert page.total == Count(21, "estimated")


def test_the_total_is_that_of_a_limited_statement(filled, source) -> None:
    stmt = select(filled.Author).order_by(filled.Author.name).limit(30).offset(45)
    page = offset(stmt, size=5, count="exact").page(source)
    assert page.total == Count(15)


# Numbers, links, plain values


def shown(number: int, total: int | None = None, *, more: bool = True, **rest: Any) -> Any:
    counted = None if total is None else Count(total)
    return OffsetPage(["x"], number=number, size=10, more=more, total=counted, **rest)


@pytest.mark.parametrize(
    ("page", "numbers"),
    [
        (shown(8, 420), [1, None, 6, 7, 8, 9, 10, None, 42]),
        (shown(1, 420), [1, 2, 3, None, 42]),
        (shown(42, 420, more=False), [1, None, 40, 41, 42]),
        (shown(5, 80), [1, 2, 3, 4, 5, 6, 7, 8]),
        (shown(1, 7, more=False), [1]),
        (shown(1), [1, 2]),
        (shown(9), [1, None, 7, 8, 9, 10]),
        (shown(9, more=False), [1, None, 7, 8, 9]),
        (shown(7, 420, max_page=9), [1, None, 5, 6, 7, 8, 9]),
        (shown(99, 30, more=False), [1, 2, 3]),
    ],
)
def test_page_numbers_stand_around_the_page_and_at_the_ends(page, numbers) -> None:
    assert page.numbers() == numbers


def test_how_many_numbers_there_are_can_be_chosen() -> None:
    assert shown(20, 420).numbers(around=1, edges=2) == [
        1, 2, None, 19, 20, 21, None, 41, 42,
    ]  # fmt: skip
    assert shown(20, 420).numbers(around=0, edges=0) == [20]


def test_links_keep_the_arguments_of_the_url() -> None:
    assert shown(2, 30).link_header("https://x.org/a?q=1&page=2&r=a+b") == (
        '<https://x.org/a?q=1&r=a+b&page=1>; rel="first", '
        '<https://x.org/a?q=1&r=a+b&page=1>; rel="prev", '
        '<https://x.org/a?q=1&r=a+b&page=3>; rel="next", '
        '<https://x.org/a?q=1&r=a+b&page=3>; rel="last"'
    )
    assert shown(1, more=False).link_header("/a", parameter="p") == '</a?p=1>; rel="first"'


def test_a_page_as_plain_values(filled) -> None:
    with filled.session() as session:
        author = filled.Author
        stmt = select(author.id, author.email).order_by(author.id)
        page = offset(stmt, size=1, count="exact").page(session)
        found = page.to_dict()
        assert found == {
            "items": [{"id": page[0].id, "email": "0@example.org"}],
            "number": 1,
            "size": 1,
            "has_next": True,
            "has_previous": False,
            "total": {"value": 60, "kind": "exact", "text": "60"},
            "page_count": 60,
        }
        named = offset(select(author).order_by(author.id), size=2).page(session)
        assert named.to_dict(lambda one: one.email)["items"] == ["0@example.org", "1@example.org"]
        assert named[0:1] == [named.items[0]]
    assert repr(page) == "<OffsetPage 1: 1 items of 60, has_next=True>"


# Limits


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", None, True, 10**30])
def test_a_page_number_out_of_range_is_refused_before_any_statement(filled, number) -> None:
    pager = offset(select(filled.Author))
    refused = pytest.raises(PaginationError, match=r"number is .*allowed is a whole number from 1")
    with filled.session() as session, statements(filled.engine) as sent, refused:
        pager.page(session, number)
    assert sent == []


def test_the_farthest_number_is_no_error_of_the_database(filled, source) -> None:
    pager = offset(select(filled.Author), size=50)
    assert list(pager.page(source, (2**63 - 1) // 50)) == []


@pytest.mark.parametrize("size", [0, -1, 201, 1.0, "1", True])
def test_a_size_out_of_range_is_refused(filled, size) -> None:
    pager = offset(select(filled.Author))
    words = r"size is .*whole number from 1 to 200"
    with filled.session() as session, pytest.raises(PaginationError, match=words):
        pager.page(session, size=size)
    with pytest.raises(PaginationError, match=words):
        offset(select(filled.Author), size=size)


@pytest.mark.parametrize("given", [{"max_size": 0}, {"max_page": 0}, {"count": "all"}])
def test_other_arguments_out_of_range_are_refused(filled, given) -> None:
    with pytest.raises(PaginationError, match=f"{next(iter(given))} is"):
        offset(select(filled.Author), **given)


def test_behind_the_last_page_that_may_be_asked_for_keyset_is_named(filled, source) -> None:
    pager = offset(select(filled.Author), size=10, max_page=2, count="exact")
    page = pager.page(source, 2)
    assert (page.has_next, page.page_count, page.last_number) == (False, 6, 2)
    assert "next" not in page.link_header("/")
    with pytest.raises(PaginationError, match=r"page 3 .*2: .*keyset\(\)"):
        pager.page(source, 3)


# What cannot be paged


def test_rows_without_a_key_are_refused_unless_their_order_is_vouched_for(filled) -> None:
    stmt = union_all(select(filled.Author.name), select(filled.Author.name)).order_by("name")
    with pytest.raises(PaginationError, match="unique=True"):
        offset(stmt)
    with filled.session() as session:
        assert len(offset(stmt, unique=True, size=100).page(session)) == 100


def test_nothing_is_added_to_an_order_that_is_vouched_for(filled) -> None:
    stmt = select(filled.Author.name).order_by(filled.Author.email)
    with filled.session() as session, statements(filled.engine) as sent:
        offset(stmt, unique=True).page(session)
    assert sent[0].partition("ORDER BY")[2].count("author") == 1
    with pytest.raises(PaginationError, match="there is none"):
        offset(select(filled.Author), unique=True)


@pytest.mark.parametrize("order", [func.random(), text("name")])
def test_orders_that_change_or_cannot_be_read_are_refused(filled, order) -> None:
    with pytest.raises(PaginationError, match="ORDER BY"):
        offset(select(filled.Author).order_by(order))


def test_what_is_no_select_is_refused(filled) -> None:
    with pytest.raises(PaginationError, match="a page needs a SELECT, not Insert"):
        offset(insert(filled.Author))
