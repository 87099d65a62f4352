from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sa_perf.demo.workload import answer, routes, shuffled

MENDED = ["GET /flights", "GET /flights/pages/{page}", "GET /delays/{month}", "GET /aircraft/idle"]


def test_every_request_of_every_route_is_answered(january: Engine) -> None:
    drawn = routes(january)

    with january.connect() as connection, Session(connection) as session:
        for route in drawn:
            for request in route.requests:
                request(session)
        session.rollback()

    assert len({route.name for route in drawn}) == len(drawn) == 13


@pytest.mark.parametrize("name", MENDED[:3])
def test_mended_requests_return_the_same_rows(january: Engine, name: str) -> None:
    (route,) = (route for route in routes(january) if route.name == name)

    for request, mended in zip(route.requests, route.mended, strict=True):
        faulty = answer(january, name, request).rows
        assert answer(january, name, mended).rows == faulty


def test_only_the_null_in_not_in_changes_the_rows(january: Engine) -> None:
    (route,) = (route for route in routes(january) if route.name == "GET /aircraft/idle")

    assert not any(answer(january, route.name, request).rows for request in route.requests)
    assert all(answer(january, route.name, mended).rows for mended in route.mended)


def test_mended_routes_say_what_was_changed(january: Engine) -> None:
    assert [route.name for route in routes(january) if route.mended] == MENDED
    assert [route.name for route in routes(january) if route.change] == MENDED


def test_same_seed_draws_the_same_requests(january: Engine) -> None:
    def drawn(seed: int) -> list[tuple[str, str]]:
        mixed = shuffled(routes(january, seed=seed), seed=seed)
        return [(route.name, repr(route.requests[number])) for route, number in mixed]

    def values(seed: int) -> list[tuple[str, str]]:
        # Without the function's address, which a partial's repr shows.
        return [(name, text.partition(">")[2]) for name, text in drawn(seed)]

    assert values(1) == values(1)
    assert values(1) != values(2)


def test_rounds_multiply_the_requests_that_are_drawn(january: Engine) -> None:
    once = {route.name: len(route.requests) for route in routes(january)}
    thrice = {route.name: len(route.requests) for route in routes(january, rounds=3)}

    assert thrice["GET /flights"] == 3 * once["GET /flights"]
    assert thrice["GET /departures/{origin}"] == 3 * once["GET /departures/{origin}"]


def test_duration_of_an_answer_is_measured(january: Engine) -> None:
    ticks = iter((10.0, 12.5))

    answered = answer(january, "GET /", lambda session: [1, 2], now=lambda: next(ticks))

    assert answered.seconds == 2.5
    assert answered.rows == [1, 2]
