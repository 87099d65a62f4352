"""`assert_keyset_indexed`, as an application's tests would call it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Integer, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sa_perf.pagination import keyset
from sa_perf.testing import assert_keyset_indexed


class Base(DeclarativeBase):
    """The tests' own model."""


class Song(Base):
    """Indexed by year, not by title."""

    __tablename__ = "song"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    title: Mapped[str] = mapped_column(String(30))
    code: Mapped[str] = mapped_column(String(12), unique=True)


@pytest.fixture
def session(db) -> Iterator[Session]:
    engine = db.engine()
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


def test_an_indexed_list_passes(session) -> None:
    assert_keyset_indexed(session, select(Song).order_by(Song.code))


def test_a_pager_may_be_given_and_needs_no_key(session) -> None:
    assert_keyset_indexed(session, keyset(select(Song).order_by(Song.id.desc()), size=5))


def test_a_connection_will_do(session) -> None:
    assert_keyset_indexed(session.connection(), select(Song.id).order_by(Song.id))


def test_the_text_names_statement_reason_and_index(session) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_keyset_indexed(session, select(Song).order_by(Song.title.desc()))
    lines = str(raised.value).splitlines()
    assert lines[:2] == [
        "no index serves pages ordered by song.title DESC, song.id DESC",
        "the first page: all rows behind it are read and sorted",
    ]
    assert lines[2].startswith("  SELECT song.id")
    assert lines[-1] == "add this index: CREATE INDEX ix_song_title_id ON song (title, id)"


def test_with_that_index_it_passes(session) -> None:
    stmt = select(Song).order_by(Song.title.desc())
    keyset(stmt, signer="unsigned").verify(session).index.create(session.connection())
    assert_keyset_indexed(session, stmt)


def test_rows_change_nothing(session) -> None:
    for number in range(30):
        session.add(Song(title="t", code=str(number)))
    session.flush()
    assert_keyset_indexed(session, select(Song).order_by(Song.code))
    with pytest.raises(AssertionError, match="ix_song_title_id"):
        assert_keyset_indexed(session, select(Song).order_by(Song.title))


def test_sqlite_without_a_file_will_do() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.connect() as connection:
        assert_keyset_indexed(connection, select(Song).order_by(Song.code))
    engine.dispose()
