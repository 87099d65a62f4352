"""The mapped classes of the corpus and their rows: each kind of relationship once.

Ten of everything, so that what is loaded one by one is loaded ten times. Nothing but `Note` is
written by programs, so all of them share one database.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Table, and_, func, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.declarative import ConcreteBase
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    Session,
    WriteOnlyMapped,
    column_property,
    mapped_column,
    relationship,
)

try:
    from sqlalchemy.ext.asyncio import AsyncAttrs
except ImportError:  # it needs greenlet

    class AsyncAttrs:
        """What a synchronous application lacks."""


#: Rows of most tables.
MANY = 10
#: Rows of `Sensor`: an eager load of all of them is sent in several chunks.
SENSORS = 3_100
#: Key of the folder at the end of a chain.
DEEPEST = 10_011


class Base(AsyncAttrs, DeclarativeBase):
    pass


book_genre = Table(
    "book_genre",
    Base.metadata,
    Column("book_id", ForeignKey("book.id"), primary_key=True),
    Column("genre_id", ForeignKey("genre.id"), primary_key=True),
)


class Publisher(Base):
    __tablename__ = "publisher"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    authors: Mapped[list[Author]] = relationship(back_populates="publisher", order_by="Author.id")


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    biography: Mapped[str] = mapped_column(deferred=True)
    photo: Mapped[str] = mapped_column(deferred=True, deferred_group="media")
    voice: Mapped[str] = mapped_column(deferred=True, deferred_group="media")
    publisher_id: Mapped[int] = mapped_column(ForeignKey("publisher.id"))
    publisher: Mapped[Publisher] = relationship(back_populates="authors")
    profile: Mapped[Profile] = relationship(back_populates="author")
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")
    letters: DynamicMapped[Letter] = relationship(back_populates="author")
    awards: WriteOnlyMapped[Award] = relationship()
    titles: AssociationProxy[list[str]] = association_proxy("books", "title")


class Profile(Base):
    __tablename__ = "profile"

    id: Mapped[int] = mapped_column(primary_key=True)
    motto: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"), unique=True)
    author: Mapped[Author] = relationship(back_populates="profile")


class Letter(Base):
    __tablename__ = "letter"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="letters")


class Award(Base):
    """An attribute has another name than its column."""

    __tablename__ = "award"

    id: Mapped[int] = mapped_column(primary_key=True)
    winner_id: Mapped[int] = mapped_column("author_id", ForeignKey("author.id"))


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    pages: Mapped[int]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")
    genres: Mapped[list[Genre]] = relationship(secondary=book_genre, back_populates="books")
    reviews: Mapped[list[Review]] = relationship(back_populates="book", order_by="Review.id")
    editions: Mapped[list[Edition]] = relationship(back_populates="book")

    @hybrid_property
    def byline(self) -> str:
        return f"{self.title} by {self.author.name}"


class Genre(Base):
    __tablename__ = "genre"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(secondary=book_genre, back_populates="genres")


class Reader(Base):
    __tablename__ = "reader"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    reviews: Mapped[list[Review]] = relationship(back_populates="reader")
    memberships: Mapped[list[Membership]] = relationship(back_populates="reader")
    review_count: Mapped[int]


class Review(Base):
    """Forty: each book has four, each reader too."""

    __tablename__ = "review"

    id: Mapped[int] = mapped_column(primary_key=True)
    stars: Mapped[int]
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"))
    book: Mapped[Book] = relationship(back_populates="reviews")
    reader: Mapped[Reader] = relationship(back_populates="reviews")


class Club(Base):
    __tablename__ = "club"

    id: Mapped[int] = mapped_column(primary_key=True)
    memberships: Mapped[list[Membership]] = relationship(back_populates="club")
    readers: AssociationProxy[list[Reader]] = association_proxy("memberships", "reader")


class Membership(Base):
    """An association object."""

    __tablename__ = "membership"

    club_id: Mapped[int] = mapped_column(ForeignKey("club.id"), primary_key=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"), primary_key=True)
    since: Mapped[int]
    club: Mapped[Club] = relationship(back_populates="memberships")
    reader: Mapped[Reader] = relationship(back_populates="memberships")


class Edition(Base):
    """Has a key of two columns."""

    __tablename__ = "edition"

    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    book: Mapped[Book] = relationship(back_populates="editions")
    printings: Mapped[list[Printing]] = relationship(back_populates="edition")


class Printing(Base):
    __tablename__ = "printing"
    __table_args__ = (
        ForeignKeyConstraint(["book_id", "number"], ["edition.book_id", "edition.number"]),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int]
    number: Mapped[int]
    edition: Mapped[Edition] = relationship(back_populates="printings")


class Folder(Base):
    """A tree: a root, ten below it, and ten below each of these; and a chain of eleven."""

    __tablename__ = "folder"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id"))
    parent: Mapped[Folder | None] = relationship(back_populates="children", remote_side=[id])
    children: Mapped[list[Folder]] = relationship(back_populates="parent", order_by=id)


class Company(Base):
    __tablename__ = "company"

    id: Mapped[int] = mapped_column(primary_key=True)
    employees: Mapped[list[Employee]] = relationship(
        back_populates="company", order_by="Employee.id"
    )


class Employee(Base):
    """Joined-table inheritance."""

    __tablename__ = "employee"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    notes: Mapped[str] = mapped_column(deferred=True)
    company_id: Mapped[int] = mapped_column(ForeignKey("company.id"))
    company: Mapped[Company] = relationship(back_populates="employees")
    badges: Mapped[list[Badge]] = relationship()


class Engineer(Employee):
    __tablename__ = "engineer"
    __mapper_args__ = {"polymorphic_identity": "engineer"}

    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    language: Mapped[str]
    diploma: Mapped[str] = mapped_column(deferred=True)
    machines: Mapped[list[Machine]] = relationship()


class Manager(Employee):
    __tablename__ = "manager"
    __mapper_args__ = {"polymorphic_identity": "manager"}

    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    budget: Mapped[int]


class Badge(Base):
    __tablename__ = "badge"

    id: Mapped[int] = mapped_column(primary_key=True)
    employee_id: Mapped[int] = mapped_column(ForeignKey("employee.id"))


class Machine(Base):
    __tablename__ = "machine"

    id: Mapped[int] = mapped_column(primary_key=True)
    engineer_id: Mapped[int] = mapped_column(ForeignKey("engineer.id"))


class Vehicle(Base):
    """Single-table inheritance."""

    __tablename__ = "vehicle"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    owner_id: Mapped[int] = mapped_column(ForeignKey("publisher.id"))
    owner: Mapped[Publisher] = relationship()


class Truck(Vehicle):
    __mapper_args__ = {"polymorphic_identity": "truck"}

    loads: Mapped[list[Load]] = relationship()


class Load(Base):
    __tablename__ = "load"

    id: Mapped[int] = mapped_column(primary_key=True)
    truck_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"))


class Paper(ConcreteBase, Base):
    """Concrete inheritance."""

    __tablename__ = "paper"
    __mapper_args__ = {"polymorphic_identity": "paper", "concrete": True}

    id: Mapped[int] = mapped_column(primary_key=True)


class Invoice(Paper):
    __tablename__ = "invoice"
    __mapper_args__ = {"polymorphic_identity": "invoice", "concrete": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    lines: Mapped[list[InvoiceLine]] = relationship()


class InvoiceLine(Base):
    __tablename__ = "invoice_line"

    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoice.id"))


class Sensor(Base):
    __tablename__ = "sensor"

    id: Mapped[int] = mapped_column(primary_key=True)
    readings: Mapped[list[Reading]] = relationship()


class Reading(Base):
    __tablename__ = "reading"

    id: Mapped[int] = mapped_column(primary_key=True)
    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))


class Note(Base):
    """What programs write."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]
    tags: Mapped[list[Tag]] = relationship()


class Tag(Base):
    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("note.id"))


# Relationships that are only read.
Author.long_books = relationship(
    Book,
    primaryjoin=and_(Author.id == Book.author_id, Book.pages > 150),
    viewonly=True,
    order_by=Book.id,
)
Author.genres = relationship(
    Genre,
    secondary=Book.__table__.join(book_genre, Book.id == book_genre.c.book_id),
    viewonly=True,
)
Publisher.book_count = column_property(
    select(func.count(Book.id))
    .join(Author, Author.id == Book.author_id)
    .where(Author.publisher_id == Publisher.id)
    .correlate_except(Book, Author)
    .scalar_subquery()
)


def fill(session: Session) -> None:
    """Write all rows."""
    numbers = range(1, MANY + 1)
    for n in numbers:
        author = Author(
            id=n, name=f"author {n}", biography="born", photo="jpg", voice="ogg", publisher_id=n
        )
        session.add_all([Publisher(id=n, name=f"publisher {n}"), author])
        session.add_all([Profile(id=n, motto="write", author_id=n), Genre(id=n, name=f"genre {n}")])
        session.add_all([Letter(id=n, text="Dear", author_id=n), Award(id=n, winner_id=n)])
        session.add(Book(id=n, title=f"book {n}", pages=100 + 10 * n, author_id=n))
        session.add(Reader(id=n, name=f"reader {n}", review_count=4))
        session.add_all(
            [Club(id=n), Company(id=n), Sensor(id=n), Paper(id=n), Invoice(id=n + MANY)]
        )
    session.flush()
    for n in numbers:
        session.add_all([Edition(book_id=n, number=1), Membership(club_id=n, reader_id=n, since=n)])
        session.add(Engineer(id=n, notes="", company_id=n, language="Python", diploma="yes"))
        session.add(Manager(id=n + MANY, notes="", company_id=n, budget=n))
        session.add_all([Truck(id=n, owner_id=n), Vehicle(id=n + MANY, owner_id=n)])
        session.add(InvoiceLine(id=n, invoice_id=n + MANY))
        session.add_all(
            Review(id=4 * n + k, stars=k, book_id=n, reader_id=(n + k) % MANY + 1) for k in range(4)
        )
    session.add(Folder(id=1))
    session.flush()
    session.add_all(Folder(id=1 + n, parent_id=1) for n in numbers)
    session.flush()
    session.add_all(Folder(id=100 * n + m, parent_id=1 + n) for n in numbers for m in numbers)
    for n in range(11):
        session.add(Folder(id=DEEPEST - 10 + n, parent_id=DEEPEST - 11 + n if n else None))
        session.flush()
    for n in numbers:
        session.add_all([Printing(id=n, book_id=n, number=1), Badge(id=n, employee_id=n)])
        session.add_all([Machine(id=n, engineer_id=n), Load(id=n, truck_id=n)])
        genres = {"book_id": n, "genre_id": n}
        session.execute(book_genre.insert().values(genres))
    session.add_all(Sensor(id=n) for n in range(MANY + 1, SENSORS + 1))
    session.flush()
    session.add_all(Reading(id=n, sensor_id=n) for n in range(1, SENSORS + 1))
    session.commit()
