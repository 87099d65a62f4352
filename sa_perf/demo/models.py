"""Tables of the demonstration: the flights that left New York in 2013.

Departures are indexed, tail numbers and destinations are not: an application that grew, with faults
to find and healthy queries beside them.
"""

from __future__ import annotations

from datetime import datetime, time

from sqlalchemy import ForeignKey, Index, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

__all__ = ["Airline", "Airport", "Alert", "Base", "Flight", "Plane", "Weather"]


class Base(DeclarativeBase):
    """Root of the demonstration's models."""


class Airline(Base):
    """A carrier, by its two-letter code."""

    __tablename__ = "airlines"

    carrier: Mapped[str] = mapped_column(String(2), primary_key=True)
    name: Mapped[str] = mapped_column(String(60))


class Airport(Base):
    """An airport of the United States, by its FAA code."""

    __tablename__ = "airports"

    faa: Mapped[str] = mapped_column(String(3), primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    latitude: Mapped[float]
    longitude: Mapped[float]
    altitude_feet: Mapped[int]
    utc_offset_hours: Mapped[float]
    daylight_saving: Mapped[str] = mapped_column(String(1))
    time_zone: Mapped[str | None] = mapped_column(String(40))


class Plane(Base):
    """An aircraft of the FAA's registry, by its tail number."""

    __tablename__ = "planes"

    tail_number: Mapped[str] = mapped_column(String(6), primary_key=True)
    built: Mapped[int | None]
    type: Mapped[str] = mapped_column(String(40))
    manufacturer: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(40))
    engines: Mapped[int]
    seats: Mapped[int]
    speed: Mapped[int | None]
    engine: Mapped[str] = mapped_column(String(40))

    flights: Mapped[list[Flight]] = relationship(
        primaryjoin=lambda: Plane.tail_number == foreign(Flight.tail_number),
        back_populates="plane",
        viewonly=True,
    )


class Weather(Base):
    """One hour of weather at an airport that flights leave from."""

    __tablename__ = "weather"

    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"), primary_key=True)
    hour_utc: Mapped[datetime] = mapped_column(primary_key=True)
    temperature_f: Mapped[float | None]
    dew_point_f: Mapped[float | None]
    humidity_percent: Mapped[float | None]
    wind_direction_degrees: Mapped[int | None]
    wind_speed_mph: Mapped[float | None]
    wind_gust_mph: Mapped[float | None]
    precipitation_inches: Mapped[float | None]
    pressure_millibars: Mapped[float | None]
    visibility_miles: Mapped[float | None]


class Flight(Base):
    """One scheduled departure; a delay is in minutes, and NULL where it never left or arrived.

    ``destination`` and ``tail_number`` are no foreign keys: four airports and the aircraft of
    52,606 flights are missing in the source, and 2,512 flights have no tail number at all.
    """

    __tablename__ = "flights"
    __table_args__ = (
        Index("ix_flights_departure", "scheduled_departure"),
        Index("ix_flights_origin_departure", "origin", "scheduled_departure"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    carrier: Mapped[str] = mapped_column(ForeignKey("airlines.carrier"))
    number: Mapped[int]
    tail_number: Mapped[str | None] = mapped_column(String(6))
    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    destination: Mapped[str] = mapped_column(String(3))
    scheduled_departure: Mapped[datetime]
    scheduled_arrival: Mapped[time]
    hour_utc: Mapped[datetime]
    departure_delay: Mapped[int | None]
    arrival_delay: Mapped[int | None]
    air_time_minutes: Mapped[int | None]
    distance_miles: Mapped[int]

    airline: Mapped[Airline] = relationship()
    plane: Mapped[Plane | None] = relationship(
        primaryjoin=lambda: foreign(Flight.tail_number) == Plane.tail_number,
        back_populates="flights",
        viewonly=True,
    )
    airport: Mapped[Airport | None] = relationship(
        primaryjoin=lambda: foreign(Flight.destination) == Airport.faa, viewonly=True
    )
    weather: Mapped[Weather | None] = relationship(
        primaryjoin=lambda: (
            (foreign(Flight.origin) == Weather.origin)
            & (foreign(Flight.hour_utc) == Weather.hour_utc)
        ),
        viewonly=True,
    )
    alerts: Mapped[list[Alert]] = relationship(back_populates="flight")


class Alert(Base):
    """A passenger's wish to hear about a flight; the only table that the application writes."""

    __tablename__ = "alerts"

    id: Mapped[int] = mapped_column(primary_key=True)
    flight_id: Mapped[int] = mapped_column(ForeignKey("flights.id"), index=True)
    address: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent: Mapped[bool] = mapped_column(default=False)

    flight: Mapped[Flight] = relationship(back_populates="alerts")
