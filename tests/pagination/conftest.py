"""A small shop of users and articles, filled alike on every database."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    """The tests' own models."""


class Author(Base):
    """Few names, so that many rows sort alike; NULLs in what may be NULL."""

    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    email: Mapped[str] = mapped_column(String(40), unique=True)
    seen: Mapped[datetime | None]
    active: Mapped[bool]
    rank: Mapped[int | None]
    level: Mapped[int | None]
    articles: Mapped[list[Article]] = relationship(back_populates="author")


class Article(Base):
    """None to three of each author."""

    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    stars: Mapped[int | None]
    author: Mapped[Author] = relationship(back_populates="articles")


class Shelf(Base):
    """Always loaded with its labels, by a join that no statement asks for."""

    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[int]
    labels: Mapped[list[Label]] = relationship(lazy="joined")


class Label(Base):
    """Two of each shelf."""

    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id"))


class Shop:
    """The models and an engine with their tables."""

    Base = Base
    Author = Author
    Article = Article
    Shelf = Shelf

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def session(self) -> Session:
        """A session on the filled tables."""
        return Session(self.engine)

    def connection(self) -> Connection:
        """A connection to them."""
        return self.engine.connect()


def fill(engine: Engine) -> None:
    """Make the tables and 60 authors with their articles."""
    Base.metadata.create_all(engine)
    chance = random.Random(1)
    with Session(engine) as session:
        for number in range(60):
            day = datetime(2026, 1, chance.randint(1, 5), 1, 2, 3)
            author = Author(
                name=chance.choice("abcDE") * 2,
                email=f"{number}@example.org",
                seen=chance.choice([None, day]),
                active=chance.random() < 0.5,
                rank=chance.choice([None, 1, 2, 3]),
                level=chance.choice([None, 1, 2, 3]),
            )
            count = chance.randint(0, 3)
            author.articles = [Article(stars=chance.choice([None, 1, 2])) for _ in range(count)]
            session.add(author)
        session.add_all([Shelf(room=at % 3, labels=[Label(), Label()]) for at in range(20)])
        session.commit()


@pytest.fixture(scope="module")
def filled(shared_db) -> Iterator[Shop]:
    """The shop on each database in turn, for tests that only read."""
    engine = shared_db.engine()
    fill(engine)
    yield Shop(engine)
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def shop(db) -> Shop:
    """The shop on each database in turn, for tests that write."""
    engine = db.engine()
    fill(engine)
    return Shop(engine)
