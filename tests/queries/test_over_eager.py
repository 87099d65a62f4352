"""Eager loads that nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from n_plus_one.library import Author, Base, Company, Engineer
from n_plus_one.recording import Library
from sqlalchemy import make_url, select
from sqlalchemy.orm import Session, joinedload, selectinload
from sqlalchemy.orm.attributes import InstrumentedAttribute

import sa_perf
from sa_perf.queries.over_eager import EagerLoadStats


@pytest.fixture
def install(library, capture: str) -> Iterator[Callable[..., sa_perf.Instrumentation]]:
    """Install sa_perf on the library's engine or another one, and take it away again."""
    installed: list[sa_perf.Instrumentation] = []

    def make(engine=library.engine, **settings: object) -> sa_perf.Instrumentation:
        chosen = {"explain": False, "capture": capture, "over_eager": True, **settings}
        installed.append(sa_perf.install(engine, **chosen))
        return installed[-1]

    yield make
    for perf in installed:
        health = perf.snapshot().health
        perf.uninstall()
        assert (health.faults, health.last_fault) == (0, None)
    attributes = [
        attribute
        for mapper in Base.registry.mappers
        for attribute in mapper.class_manager.values()
        if isinstance(attribute, InstrumentedAttribute)
    ]
    assert {type(attribute).__name__ for attribute in attributes} == {"InstrumentedAttribute"}


@pytest.fixture
def session(library) -> Iterator[Session]:
    with Session(library.engine) as session:
        yield session


@pytest.fixture
def other(library, tmp_path) -> Iterator[Library]:
    """Another database with the same rows."""
    made = Library.at(make_url(f"sqlite:///{tmp_path / 'other.db'}"), library.async_url)
    yield made
    made.engine.dispose()


def eager_loads(perf: sa_perf.Instrumentation) -> list[tuple[str, int, int]]:
    """Relationship, runs, and runs in vain."""
    return sorted(map(_line, perf.snapshot().eager_loads))


def _line(one: EagerLoadStats) -> tuple[str, int, int]:
    return f"{one.entity}.{one.attribute}", one.runs, one.unused_runs


def authors(session: Session, option=selectinload) -> list[Author]:
    return list(session.scalars(select(Author).options(option(Author.books))).unique())


@pytest.mark.parametrize("option", [selectinload, joinedload])
def test_what_nobody_reads_is_found(install, session, option) -> None:
    perf = install()
    with sa_perf.scope("GET /authors"):
        authors(session, option)
    assert eager_loads(perf) == [("Author.books", 1, 1)]
    (finding,) = perf.snapshot().findings
    assert finding.kind == "over_eager"
    assert "Author.books is loaded eagerly and not read: 1 of 1 loads" in finding.message


@pytest.mark.parametrize("option", [selectinload, joinedload])
def test_what_is_read_of_one_object_is_none(install, session, option) -> None:
    perf = install()
    with sa_perf.scope("GET /authors"):
        assert authors(session, option)[0].books
    assert eager_loads(perf) == [("Author.books", 1, 0)]
    assert not perf.snapshot().findings


def test_what_is_read_in_a_scope_inside_is_read(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /authors"):
        found = authors(session)
        with sa_perf.scope("render"):
            assert found[0].books
    assert eager_loads(perf) == [("Author.books", 1, 0)]


def test_what_a_subclass_inherits_is_read_by_it(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /engineers"):
        for engineer in session.scalars(select(Engineer).options(selectinload(Engineer.company))):
            assert engineer.company
    assert eager_loads(perf) == [("Employee.company", 1, 0)]


def test_a_few_runs_that_read_it_are_reason_enough(install, session) -> None:
    perf = install()
    for n in range(10):
        with sa_perf.scope("GET /companies"):
            found = session.scalars(select(Company).options(selectinload(Company.employees))).all()
            assert n or found[0].employees
        session.expunge_all()
    assert eager_loads(perf) == [("Company.employees", 10, 9)]
    assert not perf.snapshot().findings


def test_one_that_is_taken_away_leaves_the_others_watching(install, library, other) -> None:
    first, second = install(), install(other.engine)

    def read() -> None:
        for engine in (library.engine, other.engine):
            with sa_perf.scope("GET /authors"), Session(engine) as session:
                assert authors(session)[0].books

    read()
    first.uninstall()
    read()
    assert eager_loads(second) == [("Author.books", 2, 0)]


def test_each_counts_the_loads_of_its_own_engine(install, library, other) -> None:
    first, second = install(), install(other.engine)
    with sa_perf.scope("GET /authors"), Session(other.engine) as session:
        authors(session)
    assert eager_loads(first) == []
    assert eager_loads(second) == [("Author.books", 1, 1)]
