"""Runs programs of the corpus under sa_perf, and tells what is found in one form."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from n_plus_one.corpus import Program, known_function
from n_plus_one.library import Base, fill
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import sa_perf

if TYPE_CHECKING:
    from sa_perf.finding import Finding
    from sa_perf.snapshot import Snapshot

__all__ = ["Library", "described", "expected", "found", "place_of", "recorded", "recorded_async"]

KINDS = {
    "n_plus_one", "deferred_one_by_one", "expired_one_by_one", "same_select", "single_inserts",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Library:
    """A database with all rows; programs share it, since none changes what another reads."""

    engine: Engine
    async_url: URL

    @classmethod
    def at(cls, url: URL, async_url: URL) -> Library:
        """Write all rows into an empty database."""
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            fill(session)
        return cls(engine=engine, async_url=async_url)


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
        with _in_scope(scope), Session(engine) as session:
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
        with _in_scope(scope):
            async with AsyncSession(engine) as session:
                await function(session, *options)
        return perf.snapshot()
    finally:
        perf.uninstall()
        await engine.dispose()


def _in_scope(name: str | None) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext() if name is None else sa_perf.scope(name)


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
        for one in found(snapshot)
    )


def found(snapshot: Snapshot) -> list[Finding]:
    """The findings about what is issued one by one."""
    return [one for one in snapshot.findings if one.kind in KINDS]


def place_of(finding: Finding) -> str | None:
    """``Author.books`` of ``relationship Author.books``."""
    return None if finding.place is None else finding.place.partition(" ")[2]


def _line(kind: str, place: str | None, path: str | None, times: int, function: str) -> str:
    return f"{kind} of {place} by {path}, {times} times in {function}"
