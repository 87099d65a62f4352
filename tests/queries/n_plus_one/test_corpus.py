"""Every program of the corpus: exactly its faults are found, and their remedies end them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from n_plus_one.corpus import PROGRAMS, Program, known_function, loader_options
from n_plus_one.library import Base, fill
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import sa_perf

if TYPE_CHECKING:
    from sa_perf.finding import Finding
    from sa_perf.snapshot import Snapshot

for _file in sorted((Path(__file__).parent / "programs").glob("*.py")):
    importlib.import_module(f"n_plus_one.programs.{_file.stem}")

SYNC = [one for one in PROGRAMS if not one.is_async]
ASYNC = [one for one in PROGRAMS if one.is_async]
KINDS = {
    "n_plus_one", "deferred_one_by_one", "expired_one_by_one", "same_select", "single_inserts",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Library:
    """A database with all rows; programs share it, since none changes what another reads."""

    engine: Engine
    async_url: URL


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def library(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Library]:
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            url = make_url(f"sqlite:///{tmp_path_factory.mktemp('library') / 'library.db'}")
            async_url = url.set(drivername="sqlite+aiosqlite")
        else:
            server = request.getfixturevalue("postgresql_server")
            database = stack.enter_context(server.database("postgresql"))
            url, async_url = database.url, database.async_url
        engine = create_engine(url)
        stack.callback(engine.dispose)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            fill(session)
        yield Library(engine=engine, async_url=async_url)


@pytest.fixture(params=["dialect_events", "cursor_events"])
def capture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["in a scope", "in a transaction"])
def scoped(request: pytest.FixtureRequest) -> bool:
    return request.param == "in a scope"


def test_the_corpus_is_large_and_half_of_it_has_a_fault() -> None:
    faulty = [one for one in PROGRAMS if one.faults]
    assert len({one.name for one in PROGRAMS}) == len(PROGRAMS) >= 120
    assert 0.4 <= len(faulty) / len(PROGRAMS) <= 0.6
    assert len(ASYNC) >= 20


@pytest.mark.parametrize("program", SYNC, ids=lambda one: one.name)
def test_exactly_the_faults_are_found_and_their_remedies_end_them(
    program: Program, library: Library, capture: str, scoped: bool
) -> None:
    def record(function: Callable[..., Any], *options: Any) -> Snapshot:
        return recorded(library.engine, function, *options, capture=capture, scope=scope)

    scope = program.name if scoped else None
    faults = expected(program, scoped=scoped)

    found = record(program.function)

    assert described(found) == faults
    if program.faults:
        function, options = remedied(program, found, scoped=scoped)
        assert_ended(program, found, record(function, *options), faults)


@pytest.mark.async_driver
@pytest.mark.parametrize("program", ASYNC, ids=lambda one: one.name)
def test_the_same_holds_under_asyncio(
    program: Program, library: Library, capture: str, scoped: bool
) -> None:
    async def record(function: Callable[..., Any], *options: Any) -> Snapshot:
        return await recorded_async(
            library.async_url, function, *options, capture=capture, scope=scope
        )

    async def check() -> None:
        found = await record(program.function)
        assert described(found) == faults
        if program.faults:
            function, options = remedied(program, found, scoped=scoped)
            assert_ended(program, found, await record(function, *options), faults)

    scope = program.name if scoped else None
    faults = expected(program, scoped=scoped)
    asyncio.run(check())


# What is expected, and what is found, in one form


def expected(program: Program, *, scoped: bool) -> list[str]:
    """A line for each fault that has to be found."""
    return sorted(
        _line(fault.kind, fault.place, fault.known_path, fault.times, program.function_of(fault))
        for fault in program.faults
        if scoped or not fault.needs_scope
    )


def described(snapshot: Snapshot) -> list[str]:
    """A line for each finding."""
    assert (snapshot.health.faults, snapshot.health.last_fault) == (0, None)
    return sorted(
        _line(
            one.kind,
            place_of(one),
            one.evidence["path"],
            one.evidence["max_calls"],
            known_function(str(one.evidence["call_site"]).partition(" in ")[2]),
        )
        for one in snapshot.findings
        if one.kind in KINDS
    )


def place_of(finding: Finding) -> str | None:
    """``Author.books`` of ``relationship Author.books``."""
    return None if finding.place is None else finding.place.partition(" ")[2]


def _line(kind: str, place: str | None, path: str | None, times: int, function: str) -> str:
    return f"{kind} of {place} by {path}, {times} times in {function}"


def remedied(
    program: Program, found: Snapshot, *, scoped: bool
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The program as the remedies of its findings would have it."""
    remedies = {
        (one.kind, place_of(one)): one.remedy or "" for one in found.findings if one.kind in KINDS
    }
    for fault in program.faults:
        if scoped or not fault.needs_scope:
            assert remedies[fault.kind, fault.place].startswith(fault.remedy or "")
    if program.without_fault is not None:
        return program.without_fault, ()
    return program.function, tuple(
        option for remedy in remedies.values() for option in loader_options(remedy)
    )


def assert_ended(program: Program, before: Snapshot, after: Snapshot, faults: list[str]) -> None:
    """Nothing is found any more, and few statements took the place of many."""
    assert described(after) == []
    if faults:
        assert after.calls <= before.calls - sum(fault.times for fault in program.faults) / 2


# Running


def recorded(
    engine: Engine,
    function: Callable[..., Any],
    *options: Any,
    scope: str | None,
    **settings: Any,
) -> Snapshot:
    """What is recorded while a program runs."""
    perf = sa_perf.install(engine, explain=False, slow_seconds=60, **settings)
    try:
        with in_scope(scope), Session(engine) as session:
            function(session, *options)
        return perf.snapshot()
    finally:
        perf.uninstall()


async def recorded_async(
    url: URL, function: Callable[..., Any], *options: Any, scope: str | None, **settings: Any
) -> Snapshot:
    """The same of an asynchronous one."""
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    engine = create_async_engine(url, poolclass=NullPool)
    perf = sa_perf.install(engine, explain=False, slow_seconds=60, **settings)
    try:
        with in_scope(scope):
            async with AsyncSession(engine) as session:
                await function(session, *options)
        return perf.snapshot()
    finally:
        perf.uninstall()
        await engine.dispose()


def in_scope(name: str | None) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext() if name is None else sa_perf.scope(name)
