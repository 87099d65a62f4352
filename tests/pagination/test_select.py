"""Pages as methods of statements, queries and mapped classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, bindparam, event, func, insert, text, union
from sqlalchemy.engine.interfaces import CacheStats
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    contains_eager,
    joinedload,
    mapped_column,
    scoped_session,
    selectinload,
    sessionmaker,
)

from sa_perf.errors import InvalidCursor, PaginationError
from sa_perf.pagination import (
    CursorSigner,
    PaginatedModel,
    PaginatedQuery,
    PaginationMixin,
    Select,
    keyset,
    offset,
    select,
)

SIGNER = CursorSigner(["a key that only these tests have, of some length"])

# Made with sa_perf's select() and with SQLAlchemy's.
STATEMENTS: dict[str, Callable[[Any, Any], Any]] = {
    "entity": lambda s, select: select(s.Author),
    "columns": lambda s, select: select(s.Author.id, s.Author.name),
    "one column": lambda s, select: select(s.Author.email),
    "table": lambda s, select: select(s.Author.__table__),
    "where": lambda s, select: select(s.Author).where(s.Author.rank > 1),
    "filter_by": lambda s, select: select(s.Author).filter_by(active=True),
    "join": lambda s, select: select(s.Author, s.Article).join(s.Author.articles),
    "outer join": lambda s, select: select(s.Author.id, s.Article.id).outerjoin(s.Author.articles),
    "select_from": lambda s, select: select(s.Author.name).select_from(s.Article).join(s.Author),
    "join_from": lambda s, select: select(s.Author.id).join_from(s.Author, s.Article),
    "subquery": lambda s, select: select(select(s.Author.id, s.Author.name).subquery()),
    "common table expression": lambda s, select: select(select(s.Author.id).cte()),
    "alias of a subquery": lambda s, select: select(
        aliased(s.Author, select(s.Author).where(s.Author.id > 9).subquery(), name="author_2")
    ),
    "scalar subquery": lambda s, select: select(
        s.Author.id,
        select(func.count(s.Article.id))
        .where(s.Article.author_id == s.Author.id)
        .scalar_subquery()
        .label("articles"),
    ).order_by("articles"),
    "exists": lambda s, select: select(s.Author).where(
        select(s.Article).where(s.Article.author_id == s.Author.id).exists()
    ),
    "joined load": lambda s, select: select(s.Author).options(joinedload(s.Author.articles)),
    "selected load": lambda s, select: select(s.Author).options(selectinload(s.Author.articles)),
    "joined load of one": lambda s, select: (
        select(s.Article)
        .join(s.Article.author)
        .options(contains_eager(s.Article.author))
        .order_by(s.Author.name)
    ),
    "with_only_columns": lambda s, select: select(s.Author).with_only_columns(s.Author.email),
    "add_columns": lambda s, select: select(s.Author).add_columns(s.Author.rank),
    "group_by": lambda s, select: (
        select(s.Author.name, func.count()).group_by(s.Author.name).having(func.count() > 1)
    ),
    "distinct": lambda s, select: select(s.Author.name).distinct(),
    "limit": lambda s, select: select(s.Author).order_by(s.Author.id).limit(17).offset(3),
    "slice": lambda s, select: select(s.Author.id).order_by(s.Author.id).slice(2, 20),
    "order_by taken back": lambda s, select: (
        select(s.Author).order_by(s.Author.name).order_by(None).order_by(s.Author.seen)
    ),
    "params": lambda s, select: (
        select(s.Author).where(s.Author.id > bindparam("least")).params(least=20)
    ),
    "for update": lambda s, select: select(s.Author).with_for_update(),
    "execution_options": lambda s, select: select(s.Author).execution_options(
        populate_existing=True
    ),
    "yield_per": lambda s, select: select(s.Author).execution_options(yield_per=2),
    "prefix": lambda s, select: select(s.Author).prefix_with("ALL"),
    "correlate": lambda s, select: select(s.Author).correlate(s.Article),
}
QUERIES: dict[str, Callable[[Any, Any], Any]] = {
    "entity": lambda s, session: session.query(s.Author).order_by(s.Author.name),
    "entities": lambda s, session: session.query(s.Author, s.Article).join(s.Author.articles),
    "columns": lambda s, session: session.query(s.Author.id, s.Author.name.label("called")),
    "one column": lambda s, session: session.query(s.Author.name).order_by(s.Author.name.desc()),
    "filter": lambda s, session: session.query(s.Author).filter(s.Author.rank > 1),
    "filter_by": lambda s, session: session.query(s.Author).filter_by(active=True),
    "params": lambda s, session: (
        session.query(s.Author).filter(s.Author.id > bindparam("least")).params(least=20)
    ),
    "joined load": lambda s, session: (
        session.query(s.Author).options(joinedload(s.Author.articles)).order_by(s.Author.seen)
    ),
    "with_entities": lambda s, session: session.query(s.Author).with_entities(s.Author.email),
    "union": lambda s, session: (
        session.query(s.Author)
        .filter(s.Author.id < 9)
        .union(session.query(s.Author).filter(s.Author.id > 50))
        .order_by(s.Author.name)
    ),
    "union, narrowed": lambda s, session: (
        session.query(s.Author).union(session.query(s.Author)).filter(s.Author.id > 20)
    ),
    "group_by": lambda s, session: session.query(s.Author.name, func.count().label("n")).group_by(
        s.Author.name
    ),
    "limit": lambda s, session: (
        session.query(s.Author).order_by(s.Author.id)[3:20]
        and session.query(s.Author).order_by(s.Author.id).limit(17).offset(3)
    ),
    "distinct": lambda s, session: session.query(s.Author.name).distinct(),
    "select_from": lambda s, session: (
        session.query(s.Author.email).select_from(s.Article).join(s.Author)
    ),
    "yield_per": lambda s, session: session.query(s.Author).yield_per(2),
    "enable_eagerloads": lambda s, session: session.query(s.Author).enable_eagerloads(False),
}


def _plain(items: Any) -> list[object]:
    return [tuple(one) if hasattr(one, "_mapping") else one for one in items]


def _all(read: Callable[[str | None], Any]) -> list[object]:
    """The items of all pages."""
    page = read(None)
    found = _plain(page)
    while page.next_cursor is not None:
        page = read(page.next_cursor)
        found += _plain(page)
    return found


@contextmanager
def _cache_answers(engine: Engine) -> Iterator[list[CacheStats]]:
    """What SQLAlchemy's cache of compiled statements said to each statement."""
    answers: list[CacheStats] = []

    def note(*given: Any) -> None:
        answers.append(given[4].cache_hit)

    event.listen(engine, "before_cursor_execute", note)
    yield answers
    event.remove(engine, "before_cursor_execute", note)


class Base(PaginatedModel, DeclarativeBase):
    """A base whose classes have pages."""


class Number(Base):
    """A table of this module's own."""

    __tablename__ = "number"
    id: Mapped[int] = mapped_column(primary_key=True)


def _writers(shop: Any) -> Any:
    """A class with the mixin, mapped to the authors' table."""

    class OtherBase(PaginatedModel, DeclarativeBase): ...

    class Writer(OtherBase):
        __table__ = shop.Author.__table__

    return Writer


@pytest.mark.parametrize("name", STATEMENTS)
def test_methods_give_the_pages_of_the_same_statement_of_sqlalchemy(filled: Any, name: str) -> None:
    own = STATEMENTS[name](filled, select)
    assert isinstance(own, Select)
    plain = STATEMENTS[name](filled, sqlalchemy.select)
    assert type(plain) is sqlalchemy.Select
    plain = plain.execution_options(yield_per=None)
    options: dict[str, Any] = {"size": 7, "signer": SIGNER}
    with filled.session() as session:
        pager = keyset(plain, **options)
        expected = _all(lambda cursor: pager.page(session, cursor))
        assert expected
        found = _all(lambda cursor: own.paginate(session, cursor=cursor, **options))
        assert found == expected
        numbered = offset(plain, size=7)
        for number in (1, 2):
            page = own.paginate_offset(session, page=number, size=7)
            assert _plain(page) == _plain(numbered.page(session, number))


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_session_gives_what_it_gives_for_sqlalchemys_own(filled: Any, name: str) -> None:
    with filled.session() as session:
        own = _rows(session.execute(STATEMENTS[name](filled, select)))
        plain = _rows(session.execute(STATEMENTS[name](filled, sqlalchemy.select)))
        assert sorted(map(repr, own)) == sorted(map(repr, plain))
        assert own


def _rows(result: Any) -> list[object]:
    return _plain(result.unique() if result._unique_filter_state is not None else result)


def test_a_page_of_a_method_and_of_a_pager_have_the_same_cursors(filled: Any) -> None:
    stmt = select(filled.Author).order_by(filled.Author.name)
    with filled.session() as session:
        pager = keyset(
            sqlalchemy.select(filled.Author).order_by(filled.Author.name), size=7, signer=SIGNER
        )
        second = pager.page(session, stmt.paginate(session, size=7, signer=SIGNER).next_cursor)
        third = stmt.paginate(session, size=7, cursor=second.next_cursor, signer=SIGNER)
        back = stmt.paginate(session, size=7, before=third.previous_cursor, signer=SIGNER)
        assert back.items == second.items
        assert stmt.keyset(size=7, signer=SIGNER).page(session, second.next_cursor).items == (
            third.items
        )


def test_options_reach_the_page(filled: Any) -> None:
    stmt = select(filled.Author).order_by(filled.Author.name)
    with filled.session() as session:
        page = stmt.paginate(session, size=5, signer=SIGNER, scope=("a",), count="exact")
        assert str(page.total) == "60"
        with pytest.raises(InvalidCursor):
            stmt.paginate(session, cursor=page.next_cursor, signer=SIGNER, scope=("b",))
        with pytest.raises(PaginationError, match="1 to 10"):
            stmt.paginate(session, size=11, max_size=10, signer=SIGNER)
        with pytest.raises(PaginationError, match="keyset"):
            stmt.paginate_offset(session, page=3, max_page=2)
        assert stmt.paginate_offset(session, page=2, size=50, count="exact").page_count == 2
        with pytest.raises(TypeError, match="colour"):
            stmt.paginate(session, colour="red")


def test_an_equal_statement_of_a_later_request_is_not_compiled_again(filled: Any) -> None:
    with filled.session() as session, _cache_answers(session.get_bind()) as answers:
        for name in ("aa", "bb", "cc"):
            stmt = select(filled.Author).where(filled.Author.name != name)
            stmt = stmt.options(joinedload(filled.Author.articles)).order_by(filled.Author.seen)
            first = stmt.paginate(session, size=4, signer=SIGNER)
            stmt.paginate(session, size=4, cursor=first.next_cursor, signer=SIGNER)
            stmt.paginate_offset(session, page=2, size=4)
            session.scalars(stmt).unique().all()
            if name == "aa":
                answers.clear()
    assert answers
    assert set(answers) == {CacheStats.CACHE_HIT}


def test_own_statements_go_into_a_union(filled: Any) -> None:
    first = select(filled.Author.id).where(filled.Author.id < 5)
    both = union(first, select(filled.Author.id).where(filled.Author.id > 55)).order_by("id")
    with filled.session() as session:
        assert keyset(both, size=9, signer=SIGNER).page(session).items == [
            *range(1, 5),
            *range(56, 61),
        ]
        united = first.union(select(filled.Author.id).where(filled.Author.id > 55))
        assert sorted(session.scalars(united)) == [*range(1, 5), *range(56, 61)]


def test_a_textual_statement_still_gives_objects(filled: Any) -> None:
    stmt = select(filled.Author).from_statement(text("SELECT * FROM author ORDER BY id"))
    with filled.session() as session:
        assert [one.id for one in session.scalars(stmt)] == list(range(1, 61))


def test_a_class_of_ones_own_may_take_the_mixin(filled: Any) -> None:
    class Own(PaginationMixin, sqlalchemy.Select[Any]):
        inherit_cache = True

    with filled.session() as session:
        page = Own(filled.Author).order_by(filled.Author.id).paginate(session, signer=SIGNER)
        assert [one.id for one in page] == list(range(1, 51))


def test_an_annotation_may_name_what_is_selected() -> None:
    assert Select[int, str] is Select
    assert issubclass(Select, sqlalchemy.Select)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_pages_of_what_it_gives(filled: Any, name: str) -> None:
    make = sessionmaker(filled.engine, query_cls=PaginatedQuery)
    with make() as session:
        query = QUERIES[name](filled, session)
        rows = query.yield_per(None).all()
        # A Query gives rows of one column as such, a page gives the values.
        expected = [one[0] if hasattr(one, "_mapping") and len(one) == 1 else one for one in rows]
        expected = _plain(expected)
        assert expected
        found = _all(lambda cursor: query.paginate(size=7, cursor=cursor, signer=SIGNER))
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
        pages = [query.paginate_offset(page=at, size=7).items for at in range(1, 20)]
        assert _plain([item for page in pages for item in page]) == found


def test_a_query_keeps_how_its_session_is_to_load(shop: Any) -> None:
    make = sessionmaker(shop.engine, query_cls=PaginatedQuery)
    with make() as session:
        query = session.query(shop.Author).order_by(shop.Author.id)
        author = query.paginate(size=1, signer=SIGNER).items[0]
        name = author.name
        author.name = "unsent"
        query.autoflush(False).paginate(size=1, signer=SIGNER)
        assert session.is_modified(author)
        query.autoflush(False).populate_existing().paginate(size=1, signer=SIGNER)
        assert author.name == name
        author.name = "sent"
        query.paginate(size=1, signer=SIGNER)
        assert not session.is_modified(author)


def test_a_query_reads_backwards(filled: Any) -> None:
    make = sessionmaker(filled.engine, query_cls=PaginatedQuery)
    with make() as session:
        query = session.query(filled.Author.id).order_by(filled.Author.id)
        first = query.paginate(size=3, signer=SIGNER)
        second = query.paginate(size=3, cursor=first.next_cursor, signer=SIGNER)
        before = query.paginate(size=3, before=second.next_cursor, signer=SIGNER)
        assert (second.items, before.items) == ([4, 5, 6], [3, 4, 5])


def test_a_query_takes_another_session(filled: Any) -> None:
    query = PaginatedQuery(filled.Author).order_by(filled.Author.id)
    with filled.session() as session:
        assert query.paginate(session, size=2, signer=SIGNER).items[1].id == 2
        assert query.paginate_offset(session, page=2, size=2).items[1].id == 4
        assert query.keyset(size=2, signer=SIGNER).page(session).items[1].id == 2


def test_a_query_without_session_says_how_to_give_one(filled: Any) -> None:
    query = PaginatedQuery(filled.Author)
    with pytest.raises(PaginationError, match=r"query\.paginate\(session\)"):
        query.paginate(signer=SIGNER)
    with pytest.raises(PaginationError, match=r"query\.paginate\(session\)"):
        query.paginate_offset()


def test_a_query_of_a_textual_statement_is_refused(filled: Any) -> None:
    with filled.session() as session:
        query = PaginatedQuery(filled.Author, session).from_statement(text("SELECT * FROM author"))
        with pytest.raises(PaginationError, match="needs a SELECT"):
            query.paginate(signer=SIGNER)


def test_a_mapped_class_gives_pages(filled: Any) -> None:
    writer = _writers(filled)
    with filled.session() as session:
        stmt = (
            sqlalchemy.select(writer)
            .where(writer.rank > 1, writer.active)
            .order_by(writer.name.desc(), writer.id.desc())
        )
        expected = session.scalars(stmt).all()
        where, order_by = [writer.rank > 1, writer.active], [writer.name.desc(), "id"]
        found = _all(
            lambda cursor: writer.page(
                session, where=where, order_by=writer.name.desc(), size=4, cursor=cursor,
                signer=SIGNER,
            )
        )  # fmt: skip
        assert found == expected
        page = writer.page_offset(session, where=where, order_by=writer.name.desc(), page=2, size=4)
        assert page.items == expected[4:8]
        assert len(writer.page(session, where=where, order_by=order_by, signer=SIGNER)) == len(
            expected
        )


def test_a_mapped_class_is_sorted_by_its_key_where_nothing_is_said(filled: Any) -> None:
    writer = _writers(filled)
    make = scoped_session(sessionmaker(filled.engine))
    first = writer.page(make, size=3, signer=SIGNER)
    assert [one.id for one in first] == [1, 2, 3]
    second = writer.page(make, size=3, cursor=first.next_cursor, signer=SIGNER)
    assert [one.id for one in second] == [4, 5, 6]
    before = writer.page(make, size=3, before=second.previous_cursor, signer=SIGNER)
    assert before.items == first.items
    assert [one.id for one in writer.page_offset(make, page=3, size=3)] == [7, 8, 9]
    make.remove()


def test_a_mapped_class_takes_one_condition_and_loader_options(filled: Any) -> None:
    author = filled.Author
    page: Any = vars(PaginatedModel)["page"].__func__  # of a class that was mapped without it
    with filled.session() as session:
        found = page(
            author, session, where=author.id == 7, load=[joinedload(author.articles)], signer=SIGNER
        )
        assert [one.id for one in found] == [7]
        assert "articles" in vars(found.items[0])


def test_asynchronous_methods_give_the_same_pages(async_db: Any) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    if async_db.name.startswith("sqlite_memory"):
        pytest.skip("each in-memory engine has a database of its own")
    engine = async_db.engine()
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Number), [{"id": at} for at in range(1, 31)])
    order = Number.id.desc()
    stmt = select(Number.id).order_by(order)
    options: Any = {"size": 3, "signer": SIGNER}

    async def read() -> list[list[int]]:
        async with AsyncSession(async_db.async_engine()) as session:
            first = await stmt.apaginate(session, **options)
            second = await stmt.apaginate(session, cursor=first.next_cursor, **options)
            numbered = await stmt.apaginate_offset(session, page=2, size=3)
            objects = await Number.apage(session, order_by=order, **options)
            more = await Number.apage_offset(session, order_by=order, page=2, size=3)
            legacy = await PaginatedQuery(Number.id).order_by(order).apaginate(session, **options)
            return [
                first.items, second.items, numbered.items, [one.id for one in objects],
                [one.id for one in more], legacy.items,
            ]  # fmt: skip

    one, two = [30, 29, 28], [27, 26, 25]
    assert async_db.run(read()) == [one, two, two, one, two, one]
