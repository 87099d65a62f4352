"""The demonstration's requests: which, how often, with which values.

The values are drawn from the database with a fixed seed, so that two runs ask the same and a
mended request can be compared with the faulty one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import TypeAlias

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

import sa_perf
from sa_perf.demo import application
from sa_perf.demo.models import Flight

__all__ = ["Answer", "Request", "Route", "answer", "routes", "shuffled"]

Request: TypeAlias = Callable[[Session], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One kind of request.

    Attributes:
        name: of the scope in which each request runs.
        requests: one function a request.
        mended: as ``requests``, each with the mended form; empty where the code stays.
        change: what the mended form does, in a line; empty where there is none.
    """

    name: str
    requests: tuple[Request, ...]
    mended: tuple[Request, ...] = ()
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request that was answered.

    Attributes:
        seconds: from opening the session to closing it.
        rows: what the request returned.
    """

    seconds: float
    rows: Sequence[object]


def answer(
    engine: Engine,
    name: str,
    request: Request,
    *,
    now: Callable[[], float] = time.perf_counter,
) -> Answer:
    """Answer one request as a web server would: a scope, a session of its own."""
    began = now()
    with sa_perf.scope(name), Session(engine) as session:
        result = request(session)
        rows = list(result) if isinstance(result, (list, Iterator)) else [result]
    return Answer(seconds=now() - began, rows=rows)


def routes(engine: Engine, *, rounds: int = 1, seed: int = 2013) -> tuple[Route, ...]:
    """Draw the requests of all routes.

    Args:
        engine: the filled database; one that is not measured, because this reads from it.
        rounds: multiplies the number of requests, >= 1.
        seed: of the values.
    """
    with Session(engine) as session:
        return _Draw(session, rounds, random.Random(seed)).routes()  # noqa: S311 - no secret


def shuffled(routes: Iterable[Route], *, seed: int = 2013) -> list[tuple[Route, int]]:
    """All requests of all routes, by number, mixed as visitors would send them."""
    requests = [(route, number) for route in routes for number in range(len(route.requests))]
    random.Random(seed).shuffle(requests)  # noqa: S311 - no secret
    return requests


class _Draw:
    """Draws values that exist in the database."""

    def __init__(self, session: Session, rounds: int, chance: random.Random) -> None:
        self._session = session
        self._rounds = rounds
        self._chance = chance
        first, last, self._flights = session.execute(
            select(
                func.min(Flight.scheduled_departure),
                func.max(Flight.scheduled_departure),
                func.count(),
            )
        ).one()
        self._first: date = first.date()
        self._days = (last.date() - self._first).days + 1

    def routes(self) -> tuple[Route, ...]:
        return (*self._mendable(), *self._others())

    def _mendable(self) -> tuple[Route, ...]:
        lists = [{"origin": self._origin(), "day": self._day()} for _ in self._times(12)]
        pages = self._pages(10)
        months = [{"month": self._day().month} for _ in self._times(8)]
        spans = [self._span(30) for _ in self._times(6)]
        return (
            Route(
                name="GET /flights",
                requests=_calls(application.flight_list, lists),
                mended=_calls(application.flight_list_loaded, lists),
                change="joinedload(Flight.airline), joinedload(Flight.plane)",
            ),
            Route(
                name="GET /flights/pages/{page}",
                requests=_calls(application.flights_page, [{"page": page} for page in pages]),
                mended=_calls(application.flights_after, map(self._place, pages)),
                change="keyset: (scheduled_departure, id) > (the last seen)",
            ),
            Route(
                name="GET /delays/{month}",
                requests=_calls(application.worst_delays, months),
                mended=_calls(application.worst_delays_between, months),
                change="a range of scheduled_departure, not its month",
            ),
            Route(
                name="GET /aircraft/idle",
                requests=_calls(application.idle_aircraft, spans),
                mended=_calls(application.idle_aircraft_known, spans),
                change="tail_number IS NOT NULL within the NOT IN",
            ),
        )

    def _others(self) -> tuple[Route, ...]:
        boards = [
            {"origin": self._origin(), "day": self._day(), "page": self._chance.randint(1, 4)}
            for _ in self._times(60)
        ]
        airports = [{"faa": self._origin()} for _ in self._times(40)]
        weather = [{"flight_id": self._flight()} for _ in self._times(40)]
        alerts = [
            {"flight_ids": [self._flight() for _ in range(200)], "address": f"p{n}@example.org"}
            for n in self._times(6)
        ]
        sent = [{"flight_id": self._flight()} for _ in self._times(6)]
        calls: dict[str, tuple[Request, ...]] = {
            "GET /aircraft/{tail}": _calls(application.aircraft_history, self._aircraft(12)),
            "GET /search": _calls(application.flights_to, self._words(6)),
            "GET /reports/carriers": _calls(application.carrier_delays, [{}] * 3),
            "GET /departures/{origin}": _calls(application.departures_board, boards),
            "GET /export.csv": _calls(application.export_flights, [self._span(3)] * 3),
            "GET /airports/{code}": _calls(application.airport_details, airports),
            "GET /flights/{id}/weather": _calls(application.weather_at_departure, weather),
            "POST /alerts": _calls(application.add_alerts, alerts),
            "POST /alerts/sent": _calls(application.mark_alerts_sent, sent),
        }
        return tuple(Route(name=name, requests=requests) for name, requests in calls.items())

    def _times(self, count: int) -> range:
        return range(count * self._rounds)

    def _origin(self) -> str:
        return self._chance.choice(("EWR", "JFK", "LGA"))

    def _day(self) -> date:
        return self._first + timedelta(days=self._chance.randrange(self._days))

    def _span(self, days: int) -> dict[str, object]:
        first = self._chance.randrange(max(1, self._days - days))
        begin = self._first + timedelta(days=first)
        return {"first": begin, "last": begin + timedelta(days=days - 1)}

    def _flight(self) -> int:
        return self._chance.randint(1, self._flights)

    def _pages(self, count: int) -> list[int]:
        """Pages of fifty in the last tenth, where readers of an archive and crawlers go."""
        last = max(2, self._flights // 50)
        return [self._chance.randint(max(2, last * 9 // 10), last) for _ in self._times(count)]

    def _place(self, page: int) -> dict[str, object]:
        """Where the page before ended: what a keyset page link carries."""
        *_, last = application.flights_page(self._session, page=page - 1)
        return {"after": (last["departure"], last["id"])}

    def _aircraft(self, count: int) -> list[dict[str, object]]:
        known = self._session.scalars(
            select(Flight.tail_number)
            .where(Flight.tail_number.is_not(None))
            .distinct()
            .order_by(Flight.tail_number)
        ).all()
        return [{"tail_number": self._chance.choice(known)} for _ in self._times(count)]

    def _words(self, count: int) -> list[dict[str, object]]:
        words = ("Lauderdale", "land", "International", "San ", "Hartsfield", "Beach", "City")
        return [{"name_part": self._chance.choice(words)} for _ in self._times(count)]


def _calls(
    function: Callable[..., object], values: Iterable[Mapping[str, object]]
) -> tuple[Request, ...]:
    return tuple(partial(function, **value) for value in values)
