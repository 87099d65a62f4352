from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, exists, func, literal, select, true, values
from sqlalchemy import column as sql_column
from sqlalchemy.ext.declarative import ConcreteBase
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    contains_eager,
    joinedload,
    mapped_column,
    relationship,
    with_polymorphic,
)

from sa_perf.errors import PaginationError
from sa_perf.pagination import keyset, offset


class Base(DeclarativeBase):
    """The tests' own models."""


class Writer(Base):
    __tablename__ = "writer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="writer")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    writer_id: Mapped[int] = mapped_column(ForeignKey("writer.id"))
    sequel_of_id: Mapped[int | None] = mapped_column(ForeignKey("book.id"))
    writer: Mapped[Writer] = relationship(back_populates="books", lazy="joined")
    sequel_of: Mapped[Book | None] = relationship(remote_side=[id])


class Worker(Base):
    __tablename__ = "worker"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(9))
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "worker"}  # noqa: RUF012


class Smith(Worker):
    __tablename__ = "smith"
    id: Mapped[int] = mapped_column(ForeignKey("worker.id"), primary_key=True)
    forge: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "smith"}  # noqa: RUF012


class Vehicle(ConcreteBase, Base):
    __tablename__ = "vehicle"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "vehicle", "concrete": True}  # noqa: RUF012


class Car(Vehicle):
    __tablename__ = "car"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    doors: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "car", "concrete": True}  # noqa: RUF012


book, writer = Book.__table__, Writer.__table__

NOT_JOINED: dict[str, tuple[Callable[[], Any], str]] = {
    "objects": (lambda: select(Book).order_by(Writer.name), "'writer'"),
    "columns": (lambda: select(Book.id).order_by(Book.title, Writer.name.desc()), "'writer'"),
    "tables": (lambda: select(book.c.id).order_by(writer.c.name), "'writer'"),
    "in an expression": (lambda: select(Book).order_by(func.lower(Writer.name)), "'writer'"),
    "a joined load is no join": (
        lambda: select(Book).options(joinedload(Book.writer)).order_by(Writer.name),
        "'writer'",
    ),
    "the table where an alias is joined": (
        lambda: select(Book).join(aliased(Writer), true()).order_by(Writer.name),
        "'writer'",
    ),
    "an alias": (lambda: select(Book).order_by(aliased(Writer).name), "an alias of 'writer'"),
    "a subquery": (
        lambda: select(Book).order_by(select(Writer.name).subquery("names").c.name),
        "'names'",
    ),
    "a subclass's table": (lambda: select(Worker).order_by(Smith.forge), "'smith'"),
    "limited": (lambda: select(Book).order_by(Writer.name).limit(5), "'writer'"),
    "limited columns": (lambda: select(Book.id).order_by(Writer.name).limit(5), "'writer'"),
    "distinct": (lambda: select(Book.id).distinct().order_by(Writer.name), "'writer'"),
    "in a window": (
        lambda: select(Book.id).order_by(func.row_number().over(order_by=Writer.name)),
        "'writer'",
    ),
}
JOINED: dict[str, Callable[[], Any]] = {
    "join": lambda: select(Book).join(Book.writer).order_by(Writer.name),
    "outer join": lambda: select(Book.id).outerjoin(Book.writer).order_by(Writer.name),
    "contains_eager": lambda: (
        select(Book).join(Book.writer).options(contains_eager(Book.writer)).order_by(Writer.name)
    ),
    "where": lambda: select(Book).where(Book.writer_id == Writer.id).order_by(Writer.name),
    "select_from": lambda: (
        select(Book.id).select_from(Writer).join(Writer.books).order_by(Writer.name)
    ),
    "alias": lambda: (
        (other := aliased(Writer))
        and select(Book).join(Book.writer.of_type(other)).order_by(other.name)
    ),
    "subquery": lambda: (
        (names := select(Writer.id, Writer.name).subquery()) is not None
        and select(Book).join(names, names.c.id == Book.writer_id).order_by(names.c.name)
    ),
    "cte": lambda: (
        (names := select(Writer.id, Writer.name).cte("names")) is not None
        and select(Book).join(names, names.c.id == Book.writer_id).order_by(names.c.name)
    ),
    "correlated subquery": lambda: select(Book).order_by(
        select(Writer.name).where(Writer.id == Book.writer_id).scalar_subquery()
    ),
    "subquery of its own": lambda: select(Book).order_by(
        select(func.max(Writer.id)).scalar_subquery() - Book.id
    ),
    "exists": lambda: select(Writer).order_by(
        exists().where(Book.writer_id == Writer.id), Writer.books.any(Book.id > 3)
    ),
    "joined inheritance": lambda: select(Smith).order_by(Smith.name, Smith.forge),
    "column of the parent": lambda: select(Smith).order_by(Worker.name),
    "column of the parent's table": lambda: select(Smith).order_by(Worker.__table__.c.name),
    "columns of both": lambda: select(Smith.forge).order_by(Worker.name),
    "with_polymorphic": lambda: (
        (all_ := with_polymorphic(Worker, "*")) and select(all_).order_by(all_.Smith.forge)
    ),
    "with_polymorphic, flat": lambda: (
        (all_ := with_polymorphic(Worker, "*", aliased=True, flat=True))
        and select(all_).order_by(all_.Smith.forge, all_.name)
    ),
    "alias of a subclass": lambda: (
        (other := aliased(Smith, flat=True)) and select(other).order_by(other.name)
    ),
    "concrete": lambda: select(Vehicle).order_by(Vehicle.name),
    "concrete subclass": lambda: select(Car).order_by(Car.name, Car.doors),
    "label": lambda: select(Book.id, func.lower(Book.title).label("low")).order_by("low"),
    "constant": lambda: select(Book).order_by(literal(1), Book.title),
    "values": lambda: (
        (ranks := values(sql_column("at"), name="ranks").data([(1,)])) is not None
        and select(Book).join(ranks, ranks.c["at"] == Book.id).order_by(ranks.c["at"])
    ),
    "groups": lambda: (
        select(Writer.name, func.count())
        .join(Writer.books)
        .group_by(Writer.name)
        .order_by(func.max(Book.id))
    ),
}


@pytest.mark.parametrize("paged", [keyset, offset])
@pytest.mark.parametrize("name", NOT_JOINED)
def test_order_by_a_table_that_is_not_joined_is_refused(name: str, paged: Any) -> None:
    stmt, named = NOT_JOINED[name]
    with pytest.raises(PaginationError, match=rf"{named}.* not in FROM.*\.join\("):
        paged(stmt())


@pytest.mark.parametrize("paged", [keyset, offset])
@pytest.mark.parametrize("name", JOINED)
def test_order_by_what_is_joined_or_stands_alone_is_taken(name: str, paged: Any) -> None:
    paged(JOINED[name](), unique=True)


def test_order_by_a_table_that_is_not_joined_is_refused_if_unique_too() -> None:
    with pytest.raises(PaginationError, match="not in FROM"):
        offset(select(Book).order_by(Writer.name), unique=True)


@pytest.mark.parametrize("paged", [keyset, offset])
def test_order_by_a_relationship_is_refused_with_what_to_do(paged: Any) -> None:
    other = aliased(Book)
    for stmt, named in (
        (select(Book).order_by(Book.writer), r"Book\.writer.*\.join\(Book\.writer\).*of Writer"),
        (select(Book).order_by(Book.sequel_of), r"Book\.sequel_of.*of Book"),
        (select(Writer).order_by(Writer.books), r"Writer\.books"),
        (select(other).order_by(other.writer), r"Book\.writer"),
        (select(Book).join(Book.writer).order_by(Book.writer).limit(3), r"Book\.writer"),
    ):
        with pytest.raises(PaginationError, match=named):
            paged(stmt)
