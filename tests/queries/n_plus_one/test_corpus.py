"""Every program of the corpus: exactly its faults are found, and their remedies end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from n_plus_one.corpus import Program, loader_options
from n_plus_one.programs import PROGRAMS
from n_plus_one.recording import (
    Library,
    described,
    expected,
    found,
    place_of,
    recorded,
    recorded_async,
)

if TYPE_CHECKING:
    from sa_perf.snapshot import Snapshot

SYNC = [one for one in PROGRAMS if not one.is_async]
ASYNC = [one for one in PROGRAMS if one.is_async]


@pytest.fixture(params=["in a scope", "in a transaction"])
def scoped(request: pytest.FixtureRequest) -> bool:
    return request.param == "in a scope"


def test_the_corpus_is_large_and_half_of_it_has_a_fault() -> None:
    faulty = [one for one in PROGRAMS if one.faults]
    assert len({one.name for one in PROGRAMS}) == len(PROGRAMS) >= 120
    assert 0.4 <= len(faulty) / len(PROGRAMS) <= 0.6


@pytest.mark.async_driver
def test_a_part_of_the_corpus_is_asynchronous() -> None:
    assert len(ASYNC) >= 20


@pytest.mark.parametrize("program", SYNC, ids=lambda one: one.name)
def test_exactly_the_faults_are_found_and_their_remedies_end_them(
    program: Program, library: Library, capture: str, scoped: bool
) -> None:
    def record(function: Callable[..., Any], *options: Any) -> Snapshot:
        return recorded(library.engine, function, *options, capture=capture, scope=scope)

    scope = program.name if scoped else None
    faults = expected(program, scoped=scoped)

    before = record(program.function)

    assert described(before) == faults
    if program.faults:
        function, options = remedied(program, before, scoped=scoped)
        assert_ended(program, before, record(function, *options), faults)


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
        before = await record(program.function)
        assert described(before) == faults
        if program.faults:
            function, options = remedied(program, before, scoped=scoped)
            assert_ended(program, before, await record(function, *options), faults)

    scope = program.name if scoped else None
    faults = expected(program, scoped=scoped)
    asyncio.run(check())


def remedied(
    program: Program, snapshot: Snapshot, *, scoped: bool
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The program as the remedies of its findings would have it."""
    remedies = {(one.kind, place_of(one)): one.remedy for one in found(snapshot)}
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
