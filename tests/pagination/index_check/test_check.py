"""Whether an index serves an order: every verdict against the database's own planner."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    event,
    func,
    select,
    text,
    union,
)
from sqlalchemy.orm import Session, aliased, joinedload, with_loader_criteria

import sa_perf
from sa_perf.errors import UnindexedPageWarning
from sa_perf.pagination import keyset
from sa_perf.pagination.index_check import check as verify

Make = Callable[[Any], Any]


def _by_another_name(shop: Any) -> Any:
    other = aliased(shop.Author)
    return select(other).order_by(other.name)


ANALYZE = {
    "sqlite": "ANALYZE",
    "postgresql": "ANALYZE song",
    "mariadb": "ANALYZE TABLE song",
}
# Orders that a missing index would serve.
MISSING: dict[str, Make] = {
    "with ties": lambda s: select(s.Author).order_by(s.Author.name),
    "largest first": lambda s: select(s.Author).order_by(s.Author.name.desc()),
    "mixed": lambda s: select(s.Author).order_by(s.Author.name.desc(), s.Author.id),
    "few values": lambda s: select(s.Author).order_by(s.Author.active.desc(), s.Author.id),
    "columns": lambda s: select(s.Author.name, s.Author.id).order_by(s.Author.name),
    "another name": _by_another_name,
    "where": lambda s: select(s.Author).where(s.Author.active).order_by(s.Author.name),
    "where equal": lambda s: select(s.Author).where(s.Author.rank == 1).order_by(s.Author.name),
    "eager": lambda s: (
        select(s.Author).options(joinedload(s.Author.articles)).order_by(s.Author.name)
    ),
}
INDEXED: dict[str, Make] = {
    "by nothing": lambda s: select(s.Author),
    "by key": lambda s: select(s.Author).order_by(s.Author.id.desc()),
    "by a unique column": lambda s: select(s.Author).order_by(s.Author.email),
    "joined": lambda s: select(s.Article).join(s.Article.author).order_by(s.Article.id),
    "eager": lambda s: (
        select(s.Author).options(joinedload(s.Author.articles)).order_by(s.Author.id)
    ),
    "two entities": lambda s: (
        select(s.Article, s.Author).join(s.Article.author).order_by(s.Article.id)
    ),
}
IMPOSSIBLE: dict[str, tuple[Make, str]] = {
    "two tables": (
        lambda s: select(s.Article).join(s.Article.author).order_by(s.Author.name),
        "columns of article and author",
    ),
    "aggregate": (
        lambda s: select(s.Author.name).group_by(s.Author.name).order_by(func.count()),
        "computed from many rows",
    ),
    "union": (
        lambda s: union(select(s.Author.name), select(s.Author.email)).order_by("name"),
        "a subquery's columns",
    ),
}


# What a planner makes of a statement does not depend on Python or SQLAlchemy.
pytestmark = pytest.mark.exhaustive


@pytest.fixture
def empty(shop) -> Any:
    """The shop without rows, which a test may change."""
    with shop.session() as session:
        session.execute(delete(shop.Article))
        session.execute(delete(shop.Author))
        session.commit()
    return shop


def _pager(stmt: Any, **options: Any) -> Any:
    return keyset(stmt, signer="unsigned", size=10, **options)


@pytest.mark.parametrize("name", INDEXED)
def test_an_order_with_an_index_is_served(filled, name) -> None:
    with filled.session() as session:
        found = _pager(INDEXED[name](filled)).verify(session)
    assert (found.served, found.remedy, found.unexplained) == (True, "", ())


@pytest.mark.parametrize("name", INDEXED)
def test_rows_are_not_needed_to_tell(empty, name) -> None:
    with empty.session() as session:
        assert _pager(INDEXED[name](empty)).verify(session).served


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("rows", ["rows", "no rows"])
def test_the_index_that_is_advised_serves(shop, name, rows, request) -> None:
    if rows == "no rows":
        request.getfixturevalue("empty")
    pager = _pager(MISSING[name](shop))
    with shop.session() as session:
        found = pager.verify(session)
        assert (found.served, found.obstacle) == (False, None)
        found.index.create(session.connection())
        after = pager.verify(session)
    assert after.served, str(after)


@pytest.mark.parametrize("rows", ["rows", "no rows"])
def test_a_join_to_one_is_served_by_an_index_of_the_many(shop, db, rows, request) -> None:
    if rows == "no rows":
        request.getfixturevalue("empty")
    article = shop.Article
    pager = _pager(select(article).join(article.author).order_by(article.author_id))
    with shop.session() as session:
        session.execute(text("CREATE INDEX ix_article_author ON article (author_id, id)"))
        found = pager.verify(session)
    if rows == "no rows" and db.backend == "mariadb":  # it sorts an empty table in any case
        assert "look again with more" in found.remedy
    else:
        assert found.served


def test_the_text_of_the_index_makes_it(shop) -> None:
    pager = _pager(select(shop.Author).order_by(shop.Author.name.desc(), shop.Author.id))
    with shop.session() as session:
        session.execute(text(pager.verify(session).create_index))
        assert pager.verify(session).served


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_index_can_serve_is_said(filled, name) -> None:
    make, words = IMPOSSIBLE[name]
    with filled.session() as session:
        found = _pager(make(filled)).verify(session)
    assert (found.served, found.index, found.create_index) == (False, None, None)
    assert words in str(found)


def test_an_expression_wants_an_index_or_a_generated_column(shop, db) -> None:
    pager = _pager(select(shop.Author).order_by(func.lower(shop.Author.name)))
    with shop.session() as session:
        found = pager.verify(session)
        if db.backend == "mariadb":
            assert "add a generated column for lower(author.name)" in found.remedy
            return
        session.execute(text(found.create_index))
        assert pager.verify(session).served


def test_columns_with_one_value_lead_the_index(filled) -> None:
    author = filled.Author
    stmt = select(author).where(author.rank == 2, author.level > 1).order_by(author.name)
    with filled.session() as session:
        found = _pager(stmt).verify(session)
    assert [column.name for column in found.index.columns] == ["rank", "name", "id"]


def test_mixed_directions_stand_in_the_index(filled) -> None:
    stmt = select(filled.Author).order_by(filled.Author.name, filled.Author.id.desc())
    with filled.session() as session:
        found = _pager(stmt).verify(session)
    assert found.create_index == "CREATE INDEX ix_author_name_id ON author (name, id DESC)"


def test_an_index_in_one_direction_serves_no_mixed_order(shop) -> None:
    author = shop.Author
    with shop.session() as session:
        session.execute(text("CREATE INDEX ix_author_name_id ON author (name, id)"))
        found = _pager(select(author).order_by(author.name, author.id.desc())).verify(session)
    assert not found.served
    assert found.create_index == "CREATE INDEX ix_author_name_id_page ON author (name, id DESC)"


def test_rows_that_share_the_first_value_count_as_sorted(shop, db) -> None:
    with shop.session() as session:
        session.execute(text("CREATE INDEX ix_author_name ON author (name)"))
        found = _pager(select(shop.Author).order_by(shop.Author.name)).verify(session)
    verdicts = {page.verdict for page in found.pages}
    # Elsewhere an index ends in the primary key.
    assert ("partly" in verdicts, found.served) == (
        (True, False) if db.backend == "postgresql" else (False, True)
    )


def test_an_order_by_groups_is_sought_before_grouping(shop, db) -> None:
    name = shop.Author.name
    pager = _pager(select(name).group_by(name).order_by(name))
    with shop.session() as session:
        session.execute(text("CREATE INDEX ix_author_name ON author (name)"))
        found = pager.verify(session)
    assert found.pages[0].verdict == "index"
    # MariaDB uses the index forwards only, of so few rows.
    sought = {page.verdict for page in found.pages[1:]}
    assert "index" in sought if db.backend == "mariadb" else found.served


def test_of_a_big_table_the_planners_own_choice_counts(db) -> None:
    metadata = MetaData()
    song = Table("song", metadata, Column("id", Integer, primary_key=True), _text("title"))
    index = Index("ix_song_title_id", song.c.title, song.c.id)
    engine = db.engine()
    metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [{"title": f"{number % 3_000}"} for number in range(15_000)]
        connection.execute(song.insert(), rows)
    with engine.begin() as connection:
        connection.execute(text(ANALYZE[db.backend]))
    pager = _pager(select(song).order_by(song.c.title.desc()))
    with engine.connect() as connection:
        found = pager.verify(connection)
        assert (found.served, found.pages[0].steered) == (True, False)
        index.drop(connection)
        assert not pager.verify(connection).served


def test_loader_criteria_count(filled) -> None:
    author = filled.Author
    stmt = select(author).options(with_loader_criteria(author, author.rank == 7)).order_by("id")
    with filled.session() as session:
        found = _pager(stmt).verify(session)
    assert all("author.rank = " in page.statement for page in found.pages)


def test_deep_pages_and_backward_ones_are_looked_at(filled) -> None:
    with filled.session() as session:
        found = _pager(select(filled.Author).order_by(filled.Author.id)).verify(session)
    assert [page.page for page in found.pages] == [
        "the first page",
        "the page behind row 10",
        "the page behind row 10, read backwards",
        "a page further on",
        "a page further on, read backwards",
    ]


def test_stretches_of_null_are_looked_at(filled) -> None:
    with filled.session() as session:
        found = _pager(select(filled.Author).order_by(filled.Author.seen)).verify(session)
    assert any("is null" in page.statement.lower() for page in found.pages)


def test_no_value_is_shown(filled) -> None:
    author = filled.Author
    stmt = select(author).where(author.name != "very-secret").order_by(author.level)
    with filled.session() as session:
        found = _pager(stmt).verify(session)
    shown = [str(found), repr(found)] + [repr(page.plan) for page in found.pages]
    assert not any("very-secret" in one for one in shown)


def test_the_transaction_is_left_as_it_was(shop, db) -> None:
    author = shop.Author
    with shop.session() as session:
        session.execute(text("UPDATE author SET level = 77"))
        _pager(select(author).order_by(author.name.desc(), author.level)).verify(session)
        assert session.scalar(select(func.min(author.level))) == 77
        if db.backend == "postgresql":
            assert session.scalar(text("SHOW enable_sort")) == "on"
        session.rollback()
        assert session.scalar(select(func.max(author.level))) == 3


def test_what_the_transaction_made_counts(shop) -> None:
    author = shop.Author
    with shop.connection() as connection, connection.begin():
        connection.execute(text("CREATE INDEX made_here ON author (level, id)"))
        stmt = select(author.id, author.level).where(author.level.is_not(None)).order_by("level")
        assert "made_here" in repr(_pager(stmt).verify(connection).pages[0].plan)


def test_a_connection_without_transactions_can_be_asked(shop) -> None:
    engine = shop.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        assert _pager(select(shop.Author).order_by(shop.Author.email)).verify(connection).served
        assert not _pager(select(shop.Author).order_by(shop.Author.name)).verify(connection).served


def test_the_applications_metadata_stay_as_they_are(filled) -> None:
    before = set(filled.Author.__table__.indexes)
    with filled.session() as session:
        found = _pager(select(filled.Author).order_by(filled.Author.name)).verify(session)
    assert isinstance(found.index, Index)
    assert set(filled.Author.__table__.indexes) == before


def test_nothing_of_it_is_recorded(shop) -> None:
    perf = sa_perf.install(shop.engine)
    try:
        with shop.session() as session:
            _pager(select(shop.Author).order_by(shop.Author.name)).verify(session)
            _pager(select(shop.Author).order_by(shop.Author.id)).verify(session)
        assert [one.statement for one in perf.snapshot().queries] == []
    finally:
        perf.uninstall()


def test_an_async_session_can_be_asked(async_db) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    song = Table("song", MetaData(), Column("id", Integer, primary_key=True), _text("title"))

    async def ask() -> tuple[bool, bool]:
        engine = async_db.async_engine()
        async with engine.begin() as connection:
            await connection.run_sync(song.metadata.create_all)
        async with AsyncSession(engine) as session:
            one = await _pager(select(song).order_by(song.c.id)).averify(session)
            other = await _pager(select(song).order_by(song.c.title)).averify(session)
            return one.served, other.served

    assert async_db.run(ask()) == (True, False)


def _text(name: str) -> Column[str]:
    return Column(name, String(20), nullable=False)


# The warning


@pytest.fixture(autouse=True)
def _no_order_met_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_met", set())


def test_the_first_page_of_an_unindexed_order_warns(filled) -> None:
    pager = _pager(select(filled.Author).order_by(filled.Author.name), warn_unindexed=True)
    with (
        filled.session() as session,
        pytest.warns(UnindexedPageWarning, match=r"add this index: CREATE INDEX") as given,
    ):
        page = pager.page(session)
    assert len(page) == 10
    assert [one.filename for one in given] == [__file__]


def test_an_order_warns_once(filled) -> None:
    author = filled.Author
    with filled.session() as session, pytest.warns(UnindexedPageWarning) as given:
        for _ in range(2):
            pager = _pager(select(author).order_by(author.name), warn_unindexed=True)
            pager.page(session)
            pager.page(session)
    assert len(given) == 1


def test_an_indexed_order_does_not_warn(filled) -> None:
    pager = _pager(select(filled.Author).order_by(filled.Author.id), warn_unindexed=True)
    with filled.session() as session, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(pager.page(session)) == 10


def test_without_the_word_nothing_is_explained(shop) -> None:
    sent: list[str] = []
    pager = _pager(select(shop.Author).order_by(shop.Author.name))
    event.listen(shop.engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    with shop.session() as session:
        pager.page(session)
    assert len(sent) == 1
    assert "EXPLAIN" not in sent[0]


def test_a_check_that_fails_leaves_the_page_alone(shop, caplog) -> None:
    pager = _pager(select(shop.Author).order_by(shop.Author.name), warn_unindexed=True)

    def refuse(*given: Any) -> None:
        if given[2].startswith("EXPLAIN"):
            raise RuntimeError("no EXPLAIN here")

    event.listen(shop.engine, "before_cursor_execute", refuse)
    with shop.session() as session:
        assert len(pager.page(session)) == 10
        assert session.scalar(select(func.count()).select_from(shop.Author)) == 60
    assert "could not be told" in caplog.text


def test_a_statement_that_fails_within_the_check_leaves_the_transaction_alone(shop) -> None:
    author = shop.Author
    pager = _pager(select(author).order_by(author.id), warn_unindexed=True)

    def refuse(*given: Any) -> tuple[str, Any]:
        spoilt = given[2].replace("EXPLAIN", "EXPLAINS", 1)
        return spoilt, given[3]

    event.listen(shop.engine, "before_cursor_execute", refuse, retval=True)
    with Session(shop.engine) as session:
        session.execute(text("UPDATE author SET level = 77"))
        assert len(pager.page(session)) == 10
        assert session.scalar(select(func.min(author.level))) == 77
