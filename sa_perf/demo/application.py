"""The demonstration's application: what a site about flights asks.

Each function answers one kind of request and returns plain values, as a web view would put them
in a page. Some have the faults of real applications; beside each stands the mended form, and both
return the same rows (the one exception says so).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import TypeAlias

from sqlalchemy import (
    ColumnElement,
    and_,
    extract,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session, joinedload

from sa_perf.demo.models import Airline, Airport, Alert, Flight, Plane, Weather

__all__ = [
    "add_alerts",
    "aircraft_history",
    "airport_details",
    "carrier_delays",
    "departures_board",
    "export_flights",
    "flight_list",
    "flight_list_loaded",
    "flights_after",
    "flights_page",
    "flights_to",
    "idle_aircraft",
    "idle_aircraft_known",
    "mark_alerts_sent",
    "weather_at_departure",
    "worst_delays",
    "worst_delays_between",
]

Value: TypeAlias = "str | int | float | bool | datetime | None"
Record: TypeAlias = dict[str, Value]

_BY_DEPARTURE = (Flight.scheduled_departure, Flight.id)
_BY_DELAY = (Flight.departure_delay.desc(), Flight.id)


def departures_board(session: Session, *, origin: str, day: date, page: int = 1) -> list[Record]:
    """One page of an airport's departures on a day; healthy: index and joined load."""
    query = (
        select(Flight)
        .where(Flight.origin == origin, _between(day, day))
        .order_by(*_BY_DEPARTURE)
        .options(joinedload(Flight.airline, innerjoin=True))
        .limit(50)
        .offset((page - 1) * 50)
    )
    return [
        {
            "departure": flight.scheduled_departure,
            "airline": flight.airline.name,
            "flight": f"{flight.carrier}{flight.number}",
            "to": flight.destination,
            "delay": flight.departure_delay,
        }
        for flight in session.scalars(query).all()
    ]


def flight_list(session: Session, *, origin: str, day: date) -> list[Record]:
    """A day's flights with airline and aircraft; lazy loads: one statement an aircraft (N+1)."""
    query = (
        select(Flight).where(Flight.origin == origin, _between(day, day)).order_by(*_BY_DEPARTURE)
    )
    return [_with_aircraft(flight) for flight in session.scalars(query).all()]


def flight_list_loaded(session: Session, *, origin: str, day: date) -> list[Record]:
    """The same as :func:`flight_list` in one statement, by a loader option."""
    query = (
        select(Flight)
        .where(Flight.origin == origin, _between(day, day))
        .order_by(*_BY_DEPARTURE)
        .options(joinedload(Flight.airline, innerjoin=True), joinedload(Flight.plane))
    )
    return [_with_aircraft(flight) for flight in session.scalars(query).all()]


def aircraft_history(session: Session, *, tail_number: str) -> list[Record]:
    """All flights of one aircraft, newest first; no index has the tail number."""
    query = (
        select(Flight)
        .where(Flight.tail_number == tail_number)
        .order_by(Flight.scheduled_departure.desc(), Flight.id)
    )
    return [_brief(flight) for flight in session.scalars(query).all()]


def flights_to(session: Session, *, name_part: str) -> list[Record]:
    """The twenty longest flights to airports whose name holds a text; leading wildcard."""
    query = (
        select(Flight, Airport.name)
        .join(Airport, Airport.faa == Flight.destination)
        .where(Airport.name.contains(name_part, autoescape=True))
        .order_by(Flight.distance_miles.desc(), Flight.id)
        .limit(20)
    )
    return [{**_brief(flight), "airport": name} for flight, name in session.execute(query).all()]


def carrier_delays(session: Session) -> list[Record]:
    """Flights, mean delay and cancellations by airline, over the whole year."""
    query = (
        select(
            Airline.name,
            func.count().label("flights"),
            func.avg(Flight.arrival_delay).label("mean_delay"),
            (func.count() - func.count(Flight.departure_delay)).label("cancelled"),
        )
        .join(Flight, Flight.carrier == Airline.carrier)
        .group_by(Airline.name)
        .order_by(func.avg(Flight.arrival_delay).desc())
    )
    return [dict(row) for row in session.execute(query).mappings().all()]


def worst_delays(session: Session, *, month: int) -> list[Record]:
    """The twenty worst delays of a month of 2013; a function on the column hides its index."""
    query = (
        select(Flight)
        .where(extract("month", Flight.scheduled_departure) == month)
        .where(Flight.departure_delay.is_not(None))
        .order_by(*_BY_DELAY)
        .limit(20)
    )
    return [_brief(flight) for flight in session.scalars(query).all()]


def worst_delays_between(session: Session, *, month: int) -> list[Record]:
    """The same as :func:`worst_delays` with a range that the index answers."""
    first = date(2013, month, 1)
    query = (
        select(Flight)
        .where(_between(first, first.replace(day=monthrange(2013, month)[1])))
        .where(Flight.departure_delay.is_not(None))
        .order_by(*_BY_DELAY)
        .limit(20)
    )
    return [_brief(flight) for flight in session.scalars(query).all()]


def flights_page(session: Session, *, page: int, size: int = 50) -> list[Record]:
    """One page of all flights by departure; OFFSET reads every earlier page again."""
    query = select(Flight).order_by(*_BY_DEPARTURE).limit(size).offset((page - 1) * size)
    return [_brief(flight) for flight in session.scalars(query).all()]


def flights_after(session: Session, *, after: tuple[datetime, int], size: int = 50) -> list[Record]:
    """The page after a flight, as :func:`flights_page` returns it; starts where it ended.

    Args:
        session: of the demonstration's database.
        after: departure and id of the last flight of the page before.
        size: flights a page, >= 1.
    """
    key = tuple_(Flight.scheduled_departure, Flight.id)
    query = select(Flight).where(key > tuple_(*after)).order_by(*_BY_DEPARTURE).limit(size)
    return [_brief(flight) for flight in session.scalars(query).all()]


def idle_aircraft(session: Session, *, first: date, last: date) -> list[Record]:
    """Aircraft without a flight between two days, both included: always none.

    A cancelled flight may have no tail number, and ``x NOT IN (..., NULL)`` is never true.
    """
    flown = select(Flight.tail_number).where(_between(first, last))
    query = select(Plane).where(Plane.tail_number.not_in(flown)).order_by(Plane.tail_number)
    return [_aircraft(plane) for plane in session.scalars(query).all()]


def idle_aircraft_known(session: Session, *, first: date, last: date) -> list[Record]:
    """What :func:`idle_aircraft` meant: flights without a tail number count for no aircraft."""
    flown = select(Flight.tail_number).where(_between(first, last), Flight.tail_number.is_not(None))
    query = select(Plane).where(Plane.tail_number.not_in(flown)).order_by(Plane.tail_number)
    return [_aircraft(plane) for plane in session.scalars(query).all()]


def export_flights(session: Session, *, first: date, last: date) -> Iterator[str]:
    """Lines of a CSV export, read from the database in parts of 1,000; healthy."""
    query = select(Flight).where(_between(first, last)).order_by(Flight.id)
    yield "departure,carrier,number,origin,destination,departure_delay,arrival_delay"
    for flight in session.scalars(query.execution_options(yield_per=1_000)):
        yield ",".join(
            str(value)
            for value in (
                *(flight.scheduled_departure, flight.carrier, flight.number, flight.origin),
                *(flight.destination, flight.departure_delay, flight.arrival_delay),
            )
        )


def airport_details(session: Session, *, faa: str) -> Record | None:
    """One airport by its primary key; healthy. None where the code is unknown."""
    airport = session.get(Airport, faa)
    if airport is None:
        return None
    return {"faa": airport.faa, "name": airport.name, "time_zone": airport.time_zone}


def weather_at_departure(session: Session, *, flight_id: int) -> Record | None:
    """The weather that a flight left in; healthy: two primary keys. None where unmeasured."""
    query = (
        select(Weather)
        .join(Flight, (Flight.origin == Weather.origin) & (Flight.hour_utc == Weather.hour_utc))
        .where(Flight.id == flight_id)
    )
    weather = session.scalar(query)
    if weather is None:
        return None
    return {"temperature_f": weather.temperature_f, "wind_mph": weather.wind_speed_mph}


def add_alerts(session: Session, *, flight_ids: Sequence[int], address: str) -> int:
    """Watch many flights at once, in one executemany; returns how many rows were inserted."""
    rows = [{"flight_id": n, "address": address} for n in flight_ids]
    session.execute(insert(Alert), rows)
    session.commit()
    return len(rows)


def mark_alerts_sent(session: Session, *, flight_id: int) -> None:
    """Note that a flight's alerts went out; healthy: indexed UPDATE."""
    query = update(Alert).where(Alert.flight_id == flight_id, Alert.sent.is_(False))
    session.execute(query.values(sent=True), execution_options={"synchronize_session": False})
    session.commit()


def _between(first: date, last: date) -> ColumnElement[bool]:
    """Scheduled to leave on one of the days from first to last."""
    midnight = datetime.combine(first, time())
    end = datetime.combine(last + timedelta(days=1), time())
    return and_(Flight.scheduled_departure >= midnight, Flight.scheduled_departure < end)


def _aircraft(plane: Plane) -> Record:
    return {"tail_number": plane.tail_number, "model": plane.model, "seats": plane.seats}


def _brief(flight: Flight) -> Record:
    return {
        "id": flight.id,
        "departure": flight.scheduled_departure,
        "flight": f"{flight.carrier}{flight.number}",
        "from": flight.origin,
        "to": flight.destination,
        "delay": flight.departure_delay,
    }


def _with_aircraft(flight: Flight) -> Record:
    return {
        **_brief(flight),
        "airline": flight.airline.name,
        "aircraft": flight.plane.model if flight.plane else None,
    }
