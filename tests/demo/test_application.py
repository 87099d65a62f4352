from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from sa_perf.demo import application

DAY = date(2013, 1, 7)
FIRST, LAST = date(2013, 1, 7), date(2013, 1, 13)


@pytest.fixture
def statements(session: Session) -> Iterator[list[str]]:
    """The statements that the session's connection has run, in order."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    yield seen
    event.remove(connection, "before_cursor_execute", note)


def plain(session: Session, sql: str, **parameters: object) -> list[Any]:
    """The first column of a statement written by hand."""
    return list(session.scalars(text(sql), parameters))


def test_departures_board_is_one_page_of_a_day(session: Session, statements: list[str]) -> None:
    board = application.departures_board(session, origin="JFK", day=DAY, page=2)

    expected = plain(
        session,
        "SELECT carrier || number FROM flights WHERE origin = 'JFK' AND scheduled_departure"
        " LIKE '2013-01-07%' ORDER BY scheduled_departure, id LIMIT 50 OFFSET 50",
    )
    assert [row["flight"] for row in board] == expected
    assert len(expected) == 50
    assert len(statements) == 2


def test_flight_list_asks_once_for_each_aircraft(session: Session, statements: list[str]) -> None:
    flights = application.flight_list(session, origin="LGA", day=DAY)
    asked = len(statements)

    # Once for the list, each airline and each known aircraft, and every time for an unknown one.
    (expected,) = plain(
        session,
        "SELECT 1 + count(DISTINCT carrier) + count(DISTINCT p.tail_number)"
        " + count(*) FILTER (WHERE f.tail_number IS NOT NULL AND p.tail_number IS NULL)"
        " FROM flights f LEFT JOIN planes p USING (tail_number)"
        " WHERE origin = 'LGA' AND scheduled_departure LIKE '2013-01-07%'",
    )
    assert asked == expected
    assert asked > 150
    assert len(flights) == 284


def test_loaded_flight_list_is_the_same_in_one_statement(
    session: Session, statements: list[str]
) -> None:
    loaded = application.flight_list_loaded(session, origin="LGA", day=DAY)
    assert len(statements) == 1

    session.expunge_all()
    assert loaded == application.flight_list(session, origin="LGA", day=DAY)


def test_aircraft_history_is_newest_first(session: Session) -> None:
    history = application.aircraft_history(session, tail_number="N14228")

    assert [row["id"] for row in history] == plain(
        session,
        "SELECT id FROM flights WHERE tail_number = 'N14228' ORDER BY scheduled_departure DESC, id",
    )
    assert history


@pytest.mark.parametrize("part", ["Lauderdale", "land", "100%", "no such place"])
def test_flights_to_searches_names_of_airports(part: str, session: Session) -> None:
    found = application.flights_to(session, name_part=part)

    assert [row["id"] for row in found] == plain(
        session,
        "SELECT f.id FROM flights f JOIN airports a ON a.faa = f.destination"
        " WHERE instr(a.name, :part) ORDER BY f.distance_miles DESC, f.id LIMIT 20",
        part=part,
    )


def test_carrier_delays_counts_every_flight_once(session: Session) -> None:
    report = application.carrier_delays(session)

    assert sum(row["flights"] for row in report) == 27_004  # type: ignore[misc]
    assert [row["name"] for row in report] == plain(
        session,
        "SELECT name FROM flights JOIN airlines USING (carrier) GROUP BY name"
        " ORDER BY avg(arrival_delay) DESC",
    )
    assert sum(row["cancelled"] for row in report) == 521  # type: ignore[misc]


@pytest.mark.parametrize("worst", [application.worst_delays, application.worst_delays_between])
def test_worst_delays_are_the_twenty_longest(
    worst: Callable[..., list[application.Record]], session: Session
) -> None:
    rows = worst(session, month=1)

    assert [row["delay"] for row in rows] == plain(
        session,
        "SELECT departure_delay FROM flights WHERE departure_delay IS NOT NULL"
        " ORDER BY departure_delay DESC, id LIMIT 20",
    )
    assert rows[0]["delay"] == 1301


@pytest.mark.parametrize("worst", [application.worst_delays, application.worst_delays_between])
@pytest.mark.parametrize("month", [2, 12])
def test_worst_delays_of_a_month_without_flights_are_none(
    month: int, worst: Callable[..., list[application.Record]], session: Session
) -> None:
    assert worst(session, month=month) == []


def test_keyset_page_equals_the_page_by_offset(session: Session) -> None:
    before = application.flights_page(session, page=200)[-1]

    after = application.flights_after(session, after=(before["departure"], before["id"]))  # type: ignore[arg-type]

    assert after == application.flights_page(session, page=201)
    assert len(after) == 50


def test_pages_together_are_all_flights(session: Session) -> None:
    pages = [application.flights_page(session, page=n, size=10_000) for n in (1, 2, 3, 4)]

    assert [row["id"] for page in pages for row in page] == list(range(1, 27_005))


def test_not_in_over_missing_tail_numbers_finds_no_aircraft(session: Session) -> None:
    assert application.idle_aircraft(session, first=FIRST, last=LAST) == []


def test_idle_aircraft_are_those_without_a_flight(session: Session) -> None:
    idle = application.idle_aircraft_known(session, first=FIRST, last=LAST)

    assert [row["tail_number"] for row in idle] == plain(
        session,
        "SELECT tail_number FROM planes EXCEPT SELECT tail_number FROM flights"
        " WHERE scheduled_departure >= '2013-01-07' AND scheduled_departure < '2013-01-14'"
        " ORDER BY tail_number",
    )
    assert idle


def test_export_has_a_line_for_each_flight(session: Session) -> None:
    header, *lines = application.export_flights(session, first=FIRST, last=LAST)

    assert header.startswith("departure,carrier,number")
    assert [len(lines)] == plain(
        session,
        "SELECT count(*) FROM flights WHERE scheduled_departure BETWEEN '2013-01-07'"
        " AND '2013-01-14'",
    )
    assert lines[0].startswith("2013-01-07 05:00:00,")


def test_airport_is_found_by_its_code(session: Session) -> None:
    assert application.airport_details(session, faa="IAH") == {
        "faa": "IAH",
        "name": "George Bush Intercontinental",
        "time_zone": "America/Chicago",
    }
    assert application.airport_details(session, faa="???") is None


def test_weather_is_that_of_the_hour_of_departure(session: Session) -> None:
    assert application.weather_at_departure(session, flight_id=1) == {
        "temperature_f": 39.02,
        "wind_mph": 12.658579999999999,
    }
    assert application.weather_at_departure(session, flight_id=999_999_999) is None


def test_alerts_are_inserted_at_once_and_marked_by_flight(
    session: Session, statements: list[str]
) -> None:
    added = application.add_alerts(session, flight_ids=[1, 2, 2], address="a@example.org")
    inserts = [statement for statement in statements if statement.startswith("INSERT")]
    application.mark_alerts_sent(session, flight_id=2)

    assert added == 3
    assert len(inserts) == 1
    assert plain(session, "SELECT sent FROM alerts ORDER BY flight_id") == [0, 1, 1]
