"""Many statements of one shape that are as they should be: batches, chunks, single keys."""

from __future__ import annotations

from n_plus_one.corpus import Fault, program
from n_plus_one.library import Author, Book, Reading, Review, Sensor
from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session, selectinload


@program()
def chunks_of_an_eager_load(session: Session) -> None:
    sensors = session.scalars(select(Sensor).options(selectinload(Sensor.readings))).all()
    assert sum(len(sensor.readings) for sensor in sensors) == 3_100


@program()
def yield_per_with_an_eager_load(session: Session) -> None:
    stmt = select(Sensor).options(selectinload(Sensor.readings)).execution_options(yield_per=100)
    assert sum(len(sensor.readings) for sensor in session.scalars(stmt)) == 3_100


@program()
def partitions(session: Session) -> None:
    stmt = select(Sensor).execution_options(yield_per=500)
    for sensors in session.scalars(stmt).partitions():
        keys = [sensor.id for sensor in sensors]
        assert session.scalars(select(Reading).where(Reading.sensor_id.in_(keys))).all()


@program(
    Fault(
        place="Sensor.readings",
        remedy="select(Sensor).options(selectinload(Sensor.readings))",
        times=200,
    )
)
def yield_per_with_lazy_loads(session: Session, *options) -> None:
    stmt = select(Sensor).where(Sensor.id <= 200).options(*options)
    for sensor in session.scalars(stmt.execution_options(yield_per=50)):
        assert sensor.readings


@program()
def pages_by_limit_and_offset(session: Session) -> None:
    for page in range(10):
        stmt = select(Sensor).order_by(Sensor.id).limit(10).offset(10 * page)
        assert session.scalars(stmt).all()


@program()
def pages_by_key(session: Session) -> None:
    last, seen = 0, 0
    while True:
        stmt = select(Sensor).where(Sensor.id > last).order_by(Sensor.id).limit(200)
        sensors = session.scalars(stmt).all()
        if not sensors:
            break
        last, seen = sensors[-1].id, seen + len(sensors)
    assert seen == 3_100


@program()
def pages_by_key_with_an_eager_load(session: Session) -> None:
    for last in range(0, 100, 10):
        stmt = select(Sensor).where(Sensor.id > last).order_by(Sensor.id).limit(10)
        stmt = stmt.options(selectinload(Sensor.readings))
        assert all(sensor.readings for sensor in session.scalars(stmt))


@program(
    Fault(
        place="Sensor.readings",
        remedy="select(Sensor).options(selectinload(Sensor.readings))",
        times=100,
    )
)
def pages_by_key_with_lazy_loads(session: Session, *options) -> None:
    for last in range(0, 100, 10):
        stmt = select(Sensor).where(Sensor.id > last).order_by(Sensor.id).limit(10)
        for sensor in session.scalars(stmt.options(*options)):
            assert sensor.readings


@pages_by_key_with_lazy_loads.mended
def _whole_pages(session: Session) -> None:
    for last in range(0, 100, 10):
        stmt = select(Sensor).where(Sensor.id > last).order_by(Sensor.id).limit(10)
        for sensor in session.scalars(stmt.options(selectinload(Sensor.readings))):
            assert sensor.readings


@program()
def get_in_a_loop(session: Session) -> None:
    for key in range(1, 11):
        assert session.get(Author, key)


@program()
def get_of_what_the_session_has(session: Session) -> None:
    author = session.get(Author, 1)
    assert [session.get(Author, 1) for _ in range(10)] == [author] * 10


@program()
def lists_of_keys(session: Session) -> None:
    for first in range(1, 100, 10):
        keys = list(range(first, first + 10))
        assert session.scalars(select(Sensor).where(Sensor.id.in_(keys))).all()


@program()
def a_query_for_each_of_a_list(session: Session) -> None:
    stmt = select(Book).where(Book.pages > bindparam("pages"))
    for pages in range(100, 190, 10):
        assert session.scalars(stmt, {"pages": pages}).all()


@program()
def raw_text_with_other_values(session: Session) -> None:
    for key in range(10):
        session.execute(text("SELECT id FROM author WHERE id = :key"), {"key": key}).all()


@program()
def raw_text_with_values_in_it(session: Session) -> None:
    for key in range(10):
        session.execute(text(f"SELECT id FROM author WHERE id = {key}")).all()


@program()
def other_lines_each(session: Session) -> None:
    """Each line loads one or two: no loop."""
    first, second, third = session.scalars(select(Author).order_by(Author.id).limit(3))
    assert first.books
    assert first.profile
    assert second.books
    assert second.profile
    assert third.books
    assert third.profile


@program(
    Fault(place="Review.book", remedy="select(Review).options(joinedload(Review.book))"),
    Fault(place="Review.reader", remedy="select(Review).options(joinedload(Review.reader))"),
)
def two_relationships_on_one_line(session: Session, *options) -> None:
    for review in session.scalars(select(Review).options(*options)):
        assert review.book.title + review.reader.name
