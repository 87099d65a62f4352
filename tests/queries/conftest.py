"""A database with numbers in it and an engine that is recorded, for both ways to see statements."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from n_plus_one.recording import Library
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    make_url,
)

import sa_perf
from sa_perf.queries.aggregate import QueryStats

#: Rows of the table ``items`` at the beginning of a test.
ITEMS = 10


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An engine with an instrumentation on it, and the tables of its database."""

    engine: Engine
    perf: sa_perf.Instrumentation
    items: Table
    owners: Table

    def queries(self, beginning: str = "") -> list[QueryStats]:
        """What was recorded of our tables, by statement; no PRAGMA, no ping."""
        found = [
            query
            for query in self.perf.snapshot().queries
            if query.statement.upper().startswith(beginning)
            and ("items" in query.statement or "owners" in query.statement)
        ]
        return sorted(found, key=lambda query: query.statement)

    def one(self, beginning: str = "") -> QueryStats:
        """The only statement that was recorded."""
        (query,) = self.queries(beginning)
        return query


def tables() -> tuple[MetaData, Table, Table]:
    metadata = MetaData()
    owners = Table("owners", metadata, Column("id", Integer, primary_key=True))
    items = Table(
        "items",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(50)),
        Column("owner_id", ForeignKey("owners.id")),
    )
    return metadata, items, owners


@pytest.fixture(params=["dialect_events", "cursor_events"])
def capture(request: pytest.FixtureRequest) -> str:
    """The setting of that name: each way to see an engine's statements in turn."""
    return request.param


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    """A database for the programs of the corpus, see `n_plus_one.corpus`."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            url = make_url(f"sqlite:///{tmp_path_factory.mktemp('library') / 'library.db'}")
            library = Library.at(url, url.set(drivername="sqlite+aiosqlite"))
        else:
            server = request.getfixturevalue("postgresql_server")
            database = stack.enter_context(server.database("postgresql"))
            library = Library.at(database.url, database.async_url)
        stack.callback(library.engine.dispose)
        yield library


@pytest.fixture
def record(capture: str, shared_db) -> Iterator[Any]:
    """Make a recorded engine on a database with ten items; ``options`` go to the engine."""
    made: list[Recorded] = []

    def make(*, settings: dict[str, object] | None = None, **options: object) -> Recorded:
        engine = shared_db.engine(**options)
        items, owners = fill(engine)
        chosen: dict[str, Any] = {"capture": capture, "explain": False, **(settings or {})}
        perf = sa_perf.install(engine, **chosen)
        made.append(Recorded(engine=engine, perf=perf, items=items, owners=owners))
        return made[-1]

    yield make
    for recorded in made:
        health = recorded.perf.snapshot().health
        recorded.perf.uninstall()
        assert (health.faults, health.last_fault) == (0, None)
    shared_db.close()


@pytest.fixture
def recorded(record) -> Recorded:
    """One recorded engine on each database."""
    return record()


def fill(engine: Engine) -> tuple[Table, Table]:
    """See to it that the tables are there, with ten items and two owners."""
    metadata, items, owners = tables()
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(delete(items))
        connection.execute(delete(owners))
        connection.execute(insert(owners), [{"id": number} for number in (1, 2)])
        connection.execute(
            insert(items),
            [{"id": n, "name": f"item {n}", "owner_id": n % 2 + 1} for n in range(1, ITEMS + 1)],
        )
    engine.clear_compiled_cache()
    return items, owners
