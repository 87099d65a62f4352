"""Pages of every kind of statement, on every database, by session and by connection."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from string import ascii_letters
from typing import Any

import pytest
from sqlalchemy import (
    String,
    case,
    cast,
    desc,
    event,
    func,
    inspect,
    literal_column,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.orm import Bundle, aliased, contains_eager, joinedload, selectinload

from sa_perf.errors import InvalidCursor, PaginationError
from sa_perf.pagination import CursorSigner, keyset

SIGNER = CursorSigner(["a key that only these tests have, of some length"])
Statement = Any
Cases = dict[str, Callable[[Any], Statement]]


def _other(shop: Any) -> Any:
    return aliased(shop.Author)


def _counts(shop: Any) -> Any:
    named = select(shop.Author.name, func.count().label("n"))
    return named.group_by(shop.Author.name).subquery()


def _articles(shop: Any) -> Any:
    return func.count(shop.Article.id).label("articles")


def _by_articles(shop: Any) -> Any:
    counted = select(func.count(shop.Article.id)).where(shop.Article.author_id == shop.Author.id)
    return counted.correlate(shop.Author).scalar_subquery()


def _row_number(shop: Any) -> Any:
    return func.row_number().over(order_by=[shop.Author.name, shop.Author.id]).label("place")


CASES: Cases = {
    "by nothing": lambda s: select(s.Author),
    "by key": lambda s: select(s.Author).order_by(s.Author.id),
    "by key, largest first": lambda s: select(s.Author).order_by(s.Author.id.desc()),
    "by a unique column": lambda s: select(s.Author).order_by(s.Author.email),
    "with ties": lambda s: select(s.Author).order_by(s.Author.name.desc()),
    "by a text": lambda s: select(s.Author).order_by("name"),
    "by a flag": lambda s: select(s.Author).order_by(s.Author.active.desc(), s.Author.id),
    "NULLs": lambda s: select(s.Author).order_by(s.Author.seen),
    "NULLs, largest first": lambda s: select(s.Author).order_by(s.Author.seen.desc()),
    "two with NULLs": lambda s: select(s.Author).order_by(s.Author.rank.desc(), s.Author.level),
    "columns": lambda s: select(s.Author.id, s.Author.seen).order_by(s.Author.seen, s.Author.id),
    "columns without the key": lambda s: select(s.Author.name, s.Author.rank).order_by("name"),
    "one column": lambda s: select(s.Author.name).order_by(s.Author.name),
    "one to many": lambda s: select(s.Author).join(s.Author.articles).order_by(s.Author.name),
    "many to one": lambda s: (
        select(s.Article, s.Author.name).join(s.Article.author).order_by(s.Author.name.desc())
    ),
    "outer join": lambda s: (
        select(s.Author.id, s.Article.stars)
        .outerjoin(s.Author.articles)
        .order_by(s.Article.stars.desc(), s.Author.name)
    ),
    "where": lambda s: select(s.Author).where(s.Author.rank > 1).order_by(s.Author.level),
    "group": lambda s: (
        select(s.Author.name, func.count().label("n")).group_by(s.Author.name).order_by(desc("n"))
    ),
    "group of entities": lambda s: (
        select(s.Author, _articles(s))
        .outerjoin(s.Author.articles)
        .group_by(s.Author.id)
        .order_by(_articles(s).desc(), "name")
    ),
    "aggregate that may be NULL": lambda s: (
        select(s.Author.name, func.max(s.Author.rank).label("top"))
        .group_by(s.Author.name, s.Author.active)
        .order_by(func.max(s.Author.rank))
    ),
    "window": lambda s: select(s.Author.id, _row_number(s)).order_by("place"),
    "window beside another order": lambda s: (
        select(s.Author.id, _row_number(s)).order_by(s.Author.id.desc())
    ),
    "window of entities": lambda s: (
        select(s.Author, _row_number(s)).order_by(desc("place"), s.Author.id)
    ),
    "limit": lambda s: select(s.Author).order_by(s.Author.name, s.Author.id).limit(30).offset(3),
    "limit of columns": lambda s: (
        select(s.Author.id, s.Author.name).order_by("name", s.Author.id).limit(30).offset(3)
    ),
    "union": lambda s: union(
        select(s.Author.id, s.Author.name), select(s.Article.id, cast(s.Article.stars, String(9)))
    ).order_by("id", "name"),
    "union as a table": lambda s: select(
        union(select(s.Author.id.label("i")), select(s.Article.id)).subquery()
    ),
    "distinct": lambda s: select(s.Author.name, s.Author.rank).distinct().order_by(s.Author.name),
    "distinct entities": lambda s: (
        select(s.Author).join(s.Author.articles).distinct().order_by(s.Author.name)
    ),
    "case and function": lambda s: select(s.Author).order_by(
        case((s.Author.name == "aa", 1), else_=0).desc(), func.lower(s.Author.name)
    ),
    "expression": lambda s: (
        select(s.Author.id, (s.Author.rank + s.Author.level).label("sum")).order_by(desc("sum"))
    ),
    "alias": lambda s: (
        (other := _other(s))
        and select(other).join(s.Author, s.Author.rank == other.rank).order_by(other.name.desc())
    ),
    "subquery": lambda s: (counts := _counts(s)) is not None and select(counts).order_by("n"),
    "common table expression": lambda s: select(
        select(s.Author.id, s.Author.name).cte()
    ).order_by("name"),
    "scalar subquery": lambda s: select(s.Author).order_by(_by_articles(s).desc()),
    "entity from a subquery": lambda s: select(
        aliased(s.Author, select(s.Author).where(s.Author.id > 3).subquery())
    ),
}  # fmt: skip
PLACED: Cases = {
    "last": lambda s: select(s.Author).order_by(s.Author.seen.desc().nulls_last()),
    "first": lambda s: select(s.Author).order_by(s.Author.seen.nulls_first()),
    "last, then first": lambda s: select(s.Author).order_by(
        s.Author.rank.nulls_last(), s.Author.level.desc().nulls_first(), s.Author.name
    ),
    "first, then last": lambda s: select(s.Author).order_by(
        s.Author.rank.nulls_first(), s.Author.level.nulls_last()
    ),
    "behind a value": lambda s: select(s.Author.id, s.Author.rank).order_by(
        s.Author.name, s.Author.rank.desc().nulls_last()
    ),
}
LOADED: Cases = {
    "joined": lambda s: (
        select(s.Author).options(joinedload(s.Author.articles)).order_by(s.Author.name)
    ),
    "selected": lambda s: (
        select(s.Author).options(selectinload(s.Author.articles)).order_by(s.Author.rank)
    ),
}


def _plain(items: Any) -> list[object]:
    return [tuple(one) if hasattr(one, "_mapping") else one for one in items]


def _forwards(pager: Any, source: Any) -> list[Any]:
    pages = [pager.page(source)]
    while pages[-1].next_cursor is not None:
        assert len(pages[-1]) == pager.size
        pages.append(pager.page(source, pages[-1].next_cursor))
        assert pages[-1].has_previous
        assert len(pages) < 200
    return pages


def _backwards(pager: Any, source: Any, last: Any) -> list[Any]:
    pages = [last]
    while pages[0].previous_cursor is not None:
        pages.insert(0, pager.page(source, pages[0].previous_cursor))
        assert pages[0].has_next
    return pages


def _shown(pages: list[Any]) -> list[list[str]]:
    return [[repr(one) for one in _plain(page.items)] for page in pages]


@pytest.fixture(params=["session", "connection"])
def source(request: pytest.FixtureRequest, filled: Any) -> Iterator[Any]:
    """A session and a connection to the filled tables."""
    with getattr(filled, request.param)() as opened:
        yield opened


@pytest.mark.parametrize("name", CASES)
def test_pages_hold_each_row_once_in_both_directions(filled: Any, source: Any, name: str) -> None:
    stmt = CASES[name](filled)
    expected = [row[0] if len(row) == 1 else tuple(row) for row in source.execute(stmt)]
    pager = keyset(stmt, size=7, signer=SIGNER)
    pages = _forwards(pager, source)
    found = [item for page in pages for item in _plain(page.items)]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    assert not pages[0].has_previous
    assert _shown(_backwards(pager, source, pages[-1])) == _shown(pages)


@pytest.mark.parametrize("name", PLACED)
def test_nulls_stand_where_the_statement_says(filled: Any, source: Any, name: str) -> None:
    stmt = PLACED[name](filled)
    pager = keyset(stmt, size=7, signer=SIGNER)
    pages = _forwards(pager, source)
    found = [item for page in pages for item in _plain(page.items)]
    assert len(found) == len(set(map(repr, found))) == 60
    assert _shown(_backwards(pager, source, pages[-1])) == _shown(pages)
    whole = keyset(stmt, size=200, signer=SIGNER).page(source)
    assert _plain(whole.items) == found


@pytest.mark.parametrize("name", LOADED)
def test_eager_loads_change_no_page(filled: Any, name: str) -> None:
    with filled.session() as session:
        pages = _forwards(keyset(LOADED[name](filled), size=7, signer=SIGNER), session)
        found = [author for page in pages for author in page]
        assert len(found) == len(set(found)) == 60
        assert not any("articles" in inspect(author).unloaded for author in found)


def test_a_collection_of_the_statements_own_join_is_refused(filled: Any) -> None:
    author = filled.Author
    stmt = select(author).join(author.articles).options(contains_eager(author.articles))
    with filled.session() as session, pytest.raises(PaginationError, match="selectinload"):
        keyset(stmt.order_by(author.name), size=7, signer=SIGNER).page(session)


def test_an_eager_join_of_the_mapping_changes_no_page(filled: Any, source: Any) -> None:
    shelf = filled.Shelf
    pages = _forwards(keyset(select(shelf).order_by(shelf.room), size=7, signer=SIGNER), source)
    found = [item.id for page in pages for item in page]
    assert sorted(found) == list(range(1, 21))


def test_a_bundle_comes_as_itself(filled: Any) -> None:
    author = filled.Author
    stmt = select(Bundle("named", author.id, author.name)).order_by(author.name)
    with filled.session() as session:
        pages = _forwards(keyset(stmt, size=7, signer=SIGNER), session)
        assert sorted(item.id for page in pages for item in page) == list(range(1, 61))


def test_a_statement_for_streams_is_read_page_by_page(filled: Any, source: Any) -> None:
    stmt = select(filled.Author).order_by("name").execution_options(yield_per=5)
    pages = _forwards(keyset(stmt, size=7, signer=SIGNER), source)
    assert sum(len(page) for page in pages) == 60


def test_a_way_to_count_that_nobody_knows_is_refused_at_once(filled: Any) -> None:
    with pytest.raises(PaginationError, match="exact"):
        keyset(select(filled.Author), signer=SIGNER, count="all")  # type: ignore[call-overload]


def test_one_entity_comes_as_itself_and_several_columns_as_rows(filled: Any) -> None:
    with filled.session() as session:
        author = keyset(select(filled.Author), size=1, signer=SIGNER).page(session).items[0]
        assert isinstance(author, filled.Author)
        row = keyset(
            select(filled.Author.name, filled.Author.rank).order_by("rank"), size=1, signer=SIGNER
        ).page(session).items[0]  # fmt: skip
        assert row._fields == ("name", "rank")
        assert tuple(row) == (row.name, row.rank)


def test_an_edited_entity_does_not_move_the_page(filled: Any) -> None:
    with filled.session() as session:
        pager = keyset(select(filled.Author).order_by("name"), size=7, signer=SIGNER)
        expected = pager.page(session, pager.page(session).next_cursor).items
        session.autoflush = False
        first = pager.page(session)
        first.items[-1].name = "zz"
        assert pager.page(session, first.next_cursor).items == expected


@pytest.mark.parametrize(
    ("ordering", "message"),
    [
        (func.random(), "random"),
        (text("name"), "text"),
        (literal_column("1"), "number"),
        ("nothing", "nothing"),
    ],
)
def test_an_ordering_without_values_is_refused(filled: Any, ordering: Any, message: str) -> None:
    with filled.session() as session, pytest.raises(PaginationError, match=message):
        keyset(select(filled.Author).order_by(ordering), signer=SIGNER).page(session)


def test_a_text_can_be_paged_as_a_table(filled: Any, source: Any) -> None:
    author = filled.Author
    texts = text("SELECT id, email FROM author").columns(author.id, author.email)
    with pytest.raises(PaginationError, match="unique=True"):
        keyset(texts, signer=SIGNER)
    rows = texts.subquery()
    stmt = select(rows).order_by(rows.c.id.desc())
    pages = _forwards(keyset(stmt, size=7, signer=SIGNER, unique=True), source)
    assert [row.id for page in pages for row in page] == list(range(60, 0, -1))


def test_rows_that_nothing_tells_apart_are_refused(filled: Any) -> None:
    twice = union_all(select(filled.Author.id), select(filled.Author.id))
    with filled.session() as session, pytest.raises(PaginationError, match="unique=True"):
        keyset(twice, signer=SIGNER).page(session)


def test_a_cursor_of_another_order_filter_or_scope_is_refused(filled: Any) -> None:
    author = filled.Author
    with filled.session() as session:
        cursor = keyset(select(author).order_by("name"), size=3, signer=SIGNER, scope=("a",)).page(
            session
        ).next_cursor  # fmt: skip
        others = [
            keyset(select(author).order_by(author.name.desc()), signer=SIGNER, scope=("a",)),
            keyset(select(author).order_by("email"), signer=SIGNER, scope=("a",)),
            keyset(
                select(author).where(author.rank > 1).order_by("name"), signer=SIGNER, scope=("a",)
            ),
            keyset(select(author).order_by("name"), signer=SIGNER, scope=("b",)),
        ]
        for pager in others:
            with pytest.raises(InvalidCursor):
                pager.page(session, cursor)
        same = keyset(select(author).order_by("name"), signer=SIGNER, scope=("a",))
        assert len(same.page(session, cursor, size=3)) == 3


def test_a_forged_cursor_reaches_no_database(filled: Any) -> None:
    pager = keyset(select(filled.Author).order_by("name"), size=3, signer=SIGNER)
    chance = random.Random(7)
    with filled.session() as session:
        good = pager.page(session).next_cursor or ""
        statements: list[str] = []

        def note(*arguments: Any) -> None:
            statements.append(arguments[2])

        event.listen(filled.engine, "before_cursor_execute", note)
        try:
            for _ in range(500):
                place = chance.randrange(len(good))
                other = chance.choice([c for c in ascii_letters + "-_.~%\0é" if c != good[place]])
                forged = chance.choice(
                    [good[:place], good[:place] + other + good[place + 1 :], good + other, other]
                )
                with pytest.raises(InvalidCursor):
                    pager.page(session, forged)
            for wrong in ("", b"bytes", 7, good * 50):
                with pytest.raises(InvalidCursor):
                    pager.page(session, wrong)
        finally:
            event.remove(filled.engine, "before_cursor_execute", note)
        assert statements == []


@pytest.mark.parametrize("size", [0, -1, 201, True, "7", 1.5])
def test_a_size_that_is_not_allowed_is_refused(filled: Any, size: Any) -> None:
    pager = keyset(select(filled.Author), signer=SIGNER)
    with filled.session() as session, pytest.raises(PaginationError, match="1 to 200"):
        pager.page(session, size=size)


def test_all_pages_can_be_read_one_after_the_other(filled: Any) -> None:
    with filled.session() as session:
        pager = keyset(select(filled.Author).order_by("rank"), size=7, signer=SIGNER)
        found = [author for page in pager.pages(session) for author in page]
        assert len(found) == len(set(found)) == 60


def test_an_empty_table_has_one_empty_page(filled: Any) -> None:
    with filled.session() as session:
        pager = keyset(select(filled.Author).where(filled.Author.id < 0), signer=SIGNER)
        page = pager.page(session)
        assert (page.items, page.next_cursor, page.previous_cursor) == ([], None, None)
        assert len(list(pager.pages(session))) == 1


def test_rows_that_come_and_go_are_neither_lost_nor_shown_twice(shop: Any) -> None:
    author = shop.Author
    with shop.session() as session:
        pager = keyset(select(author).order_by(author.rank, author.name), size=7, signer=SIGNER)
        everybody = {one.id for one in session.scalars(select(author))}
        seen: list[int] = []
        page = pager.page(session)
        gone: set[int] = set()
        while True:
            seen += [one.id for one in page]
            cursor = page.next_cursor
            if cursor is None:
                break
            anchor = page.items[-1]
            gone.add(anchor.id)
            session.execute(shop.Article.__table__.delete().where(
                shop.Article.author_id == anchor.id))  # fmt: skip
            session.delete(anchor)
            session.flush()
            page = pager.page(session, cursor)
            assert page.has_previous
        assert sorted(seen) == sorted(everybody)
        assert gone


def test_before_a_page_whose_rows_are_gone_comes_the_page_before(shop: Any) -> None:
    author = shop.Author
    with shop.session() as session:
        pager = keyset(select(author).order_by(author.id), size=10, signer=SIGNER)
        first = pager.page(session)
        ids = [one.id for one in first]
        session.execute(shop.Article.__table__.delete())
        session.execute(author.__table__.delete().where(author.id > ids[-1]))
        session.commit()
        empty = pager.page(session, first.next_cursor)
        assert (len(empty), empty.has_next, empty.has_previous) == (0, False, True)
        assert [one.id for one in pager.page(session, empty.previous_cursor)] == ids


def test_asynchronous_pages_are_the_same(async_db: Any) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    from sa_perf.pagination import Page

    engine = async_db.engine()
    fill = pytest.importorskip("sqlalchemy").insert
    metadata = _numbers()
    metadata.create_all(engine)
    table = metadata.tables["number"]
    with engine.begin() as connection:
        connection.execute(fill(table), [{"id": at} for at in range(1, 31)])
    pager = keyset(select(table.c.id).order_by(table.c.id.desc()), size=7, signer=SIGNER)

    async def read() -> list[Page[Any]]:
        asynchronous = async_db.async_engine()
        async with AsyncSession(asynchronous) as session:
            return [page async for page in pager.apages(session)]

    if async_db.name.startswith("sqlite_memory"):
        pytest.skip("each in-memory engine has a database of its own")
    pages = async_db.run(read())
    assert [item for page in pages for item in page] == list(range(30, 0, -1))


def _numbers() -> Any:
    from sqlalchemy import Column, Integer, MetaData, Table

    metadata = MetaData()
    Table("number", metadata, Column("id", Integer, primary_key=True))
    return metadata
