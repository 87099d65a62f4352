"""The fetch strategies against SQLAlchemy's own: same rows, same closing, same errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Result, create_engine, event, select, text
from sqlalchemy.exc import SQLAlchemyError

import sa_perf

Step = Callable[[Any], object]


def take(count: int) -> Step:
    """Read that many rows one by one."""
    return lambda result: [result.fetchone() for _ in range(count)]


#: Ways to read a result; each is a row of calls whose answers or exceptions are compared.
WAYS: dict[str, list[Step]] = {
    "all": [lambda r: r.all(), lambda r: r.all()],
    "all twice by fetchall": [lambda r: r.fetchall(), lambda r: r.fetchall()],
    "one by one": [take(12), take(1)],
    "fetchmany": [lambda r: r.fetchmany(4), lambda r: r.fetchmany(4), lambda r: r.fetchmany(4)],
    "fetchmany beyond the end": [lambda r: r.fetchmany(50), lambda r: r.fetchmany(50)],
    "fetchmany without size": [lambda r: r.fetchmany(), lambda r: r.fetchmany()],
    "fetchmany of none": [lambda r: r.fetchmany(0), take(1)],
    "mixed": [take(2), lambda r: r.fetchmany(3), lambda r: r.all(), take(1)],
    "iteration": [list, list],
    "iterator held across a change of strategy": [
        lambda r: [row for _, row in zip(range(3), r, strict=False)],
        lambda r: r.fetchmany(2),
        list,
    ],
    "next": [lambda r: next(r), lambda r: [*r], lambda r: next(r)],
    "first": [lambda r: r.first(), lambda r: r.all()],
    "one": [lambda r: r.one(), take(1)],
    "one_or_none": [lambda r: r.one_or_none(), take(1)],
    "scalar": [lambda r: r.scalar(), take(1)],
    "scalars": [lambda r: r.scalars().fetchmany(3), lambda r: r.scalars().all()],
    "mappings": [lambda r: r.mappings().fetchone(), lambda r: r.mappings().all()],
    "columns": [lambda r: r.columns(1).fetchmany(2), lambda r: r.columns(0).all()],
    "unique": [lambda r: r.unique().fetchmany(3), lambda r: r.unique().all()],
    "partitions": [lambda r: list(r.partitions(4)), lambda r: list(r.partitions(4))],
    "yield_per": [lambda r: r.yield_per(3).fetchmany(2), lambda r: r.fetchone(), list],
    "yield_per, then all": [lambda r: r.yield_per(3).all(), take(1)],
    "yield_per after reading": [take(2), lambda r: r.yield_per(3).all(), take(1)],
    "yield_per, then partitions": [lambda r: list(r.yield_per(3).partitions())],
    "yield_per twice": [lambda r: r.yield_per(2) and None, lambda r: r.yield_per(5).all()],
    "close": [take(1), lambda r: r.close(), take(1), lambda r: r.all()],
    "close unread": [lambda r: r.close(), take(1)],
    "soft close": [lambda r: r.all(), lambda r: r.closed, lambda r: r.close(), take(1)],
    "freeze": [lambda r: r.freeze()().all()],
    "keys": [lambda r: list(r.keys()), lambda r: r.all(), lambda r: list(r.keys())],
    "merge": [lambda r: r.merge().all()],
    "rowcount": [lambda r: r.all(), lambda r: r.returns_rows, lambda r: r.is_insert],
    "context manager": [lambda r: _inside(r), take(1)],
}

STATEMENTS = {
    "rows": text("SELECT id, name FROM numbers ORDER BY id"),
    "core": None,
    "no rows": text("SELECT id, name FROM numbers WHERE id < 0"),
    "one row": text("SELECT id, name FROM numbers WHERE id = 3"),
    "duplicates": text("SELECT id % 3, 'x' FROM numbers ORDER BY id"),
    "no result": text("UPDATE numbers SET name = 'y' WHERE id < 0"),
}

OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"stream_results": True},
    {"stream_results": True, "max_row_buffer": 2},
    {"yield_per": 3},
)


def _inside(result: Result[Any]) -> object:
    with result as entered:
        return entered.fetchmany(2)


def fail_at(number: int) -> int:
    if number >= 7:
        raise RuntimeError(number)
    return number


def answers(result: Any, way: list[Step]) -> list[object]:
    """What each step gives or raises, and the state of the result after it."""
    found: list[object] = []
    for step in way:
        try:
            answer = step(result)
            found.append(_plain(answer))
        except (SQLAlchemyError, StopIteration, NotImplementedError) as error:
            found.append(f"{type(error).__name__}: {error}")
        found.append((result._soft_closed, result.closed, result.cursor is None))
    return found


def _plain(answer: object) -> object:
    if isinstance(answer, (list, tuple)):
        return [_plain(one) for one in answer]
    return dict(answer) if hasattr(answer, "keys") else answer


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest) -> Iterator[dict[str, Engine]]:
    """The same in-memory database without us and through each door."""
    from sqlalchemy import Column, Integer, MetaData, String, Table

    numbers = Table(
        "numbers", MetaData(), Column("id", Integer, primary_key=True), Column("name", String)
    )
    STATEMENTS["core"] = select(numbers).order_by(numbers.c.id)
    made = {name: create_engine("sqlite://") for name in ("plain", "dialect", "cursor")}
    for name, engine in made.items():
        numbers.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.connection.dbapi_connection.create_function("fail_at", 1, fail_at)
            connection.execute(numbers.insert(), [{"id": n, "name": f"n{n}"} for n in range(10)])
        if name != "plain":
            sa_perf.install(engine, capture=f"{name}_events", explain=False)
    yield made
    for name, engine in made.items():
        if name != "plain":
            perf = sa_perf.instrumentation(engine)
            assert perf.snapshot().health.faults == 0
            perf.uninstall()
        engine.dispose()


@pytest.mark.parametrize("door", ["dialect", "cursor"])
@pytest.mark.parametrize("way", WAYS)
def test_results_behave_as_without_us(engines, door: str, way: str) -> None:
    for options in OPTIONS:
        for name, statement in STATEMENTS.items():
            found = []
            for engine in (engines["plain"], engines[door]):
                with engine.connect() as connection:
                    result = connection.execution_options(**options).execute(statement)
                    found.append(answers(result, WAYS[way]))
                    del result
            assert found[1] == found[0], (name, options)


@pytest.mark.parametrize("door", ["dialect", "cursor"])
@pytest.mark.parametrize("options", OPTIONS)
def test_an_error_while_fetching_is_the_same_as_without_us(engines, door: str, options) -> None:
    statement = text("SELECT fail_at(id) FROM numbers ORDER BY id")
    for way in ("all", "one by one", "fetchmany", "iteration", "yield_per", "partitions", "mixed"):
        found = []
        for engine in (engines["plain"], engines[door]):
            with engine.connect() as connection:
                result = connection.execution_options(**options).execute(statement)
                found.append(answers(result, WAYS[way]))
        assert found[1] == found[0], way
        assert "OperationalError" in str(found[0])


@pytest.mark.parametrize("door", ["dialect", "cursor"])
def test_an_error_while_fetching_reaches_the_handlers_once(engines, door: str) -> None:
    engine = engines[door]
    seen: list[str] = []

    def note(failure) -> None:
        seen.append(type(failure.original_exception).__name__)

    event.listen(engine, "handle_error", note)
    try:
        with engine.connect() as connection, pytest.raises(SQLAlchemyError):
            connection.exec_driver_sql("SELECT fail_at(id) FROM numbers").all()
    finally:
        event.remove(engine, "handle_error", note)
    assert seen == ["OperationalError"]


@pytest.mark.parametrize("door", ["dialect", "cursor"])
def test_a_connection_that_closes_with_its_result_does_so(engines, door: str) -> None:
    from sqlalchemy.orm import Session

    with Session(engines[door]) as session:
        rows = session.execute(STATEMENTS["rows"]).all()
        assert len(rows) == 10
        assert len(session.execute(STATEMENTS["rows"]).fetchmany(2)) == 2
    assert engines[door].pool.checkedout() == 0 if hasattr(engines[door].pool, "checkedout") else 1
