from __future__ import annotations

from datetime import datetime, time

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from sa_perf.demo.models import Alert, Flight, Plane


def test_columns_come_back_as_their_python_types(session: Session) -> None:
    flight = session.get_one(Flight, 1)

    assert flight.scheduled_departure == datetime(2013, 1, 1, 5, 15)
    assert flight.scheduled_arrival == time(8, 19)
    assert flight.hour_utc == datetime(2013, 1, 1, 10)


def test_flight_knows_its_airline_aircraft_airport_and_weather(session: Session) -> None:
    flight = session.get_one(Flight, 1)

    assert flight.airline.name == "United Air Lines Inc."
    assert flight.plane is not None
    assert flight.plane.model == "737-824"
    assert flight.airport is not None
    assert flight.airport.name == "George Bush Intercontinental"
    assert flight.weather is not None
    assert flight.weather.temperature_f == 39.02


def test_flight_with_an_unknown_tail_number_has_no_aircraft(session: Session) -> None:
    unknown = select(Flight).where(
        Flight.tail_number.is_not(None), Flight.tail_number.not_in(select(Plane.tail_number))
    )
    flight = session.scalars(unknown.limit(1)).one()

    assert flight.plane is None


def test_aircraft_knows_its_flights(session: Session) -> None:
    plane = session.get_one(Plane, "N14228")
    plain = text("SELECT id FROM flights WHERE tail_number = 'N14228'")

    flights = {flight.id for flight in plane.flights}

    assert flights == set(session.scalars(plain))
    assert all(flight.plane is plane for flight in plane.flights)


def test_alert_belongs_to_its_flight_and_has_a_time(session: Session) -> None:
    flight = session.get_one(Flight, 1)
    flight.alerts.append(Alert(address="a@example.org"))
    session.commit()

    alert = session.scalars(select(Alert)).one()

    assert alert.flight is flight
    assert not alert.sent
    assert alert.created_at.year >= 2013
