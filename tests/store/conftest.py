"""A store in each database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, make_url
from store_world import NOON, Store

from sa_perf import migration
from sa_perf.store.place import Place
from sa_perf.store.tables import TABLES


def _made(url: Any, engine: Engine) -> Store:
    migration.upgrade(engine)
    return Store(engine=engine, place=Place(url.render_as_string(hide_password=False)))


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
)
def made(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Store]:
    """A store in each database in turn, made once for the tests of a module."""
    if request.param == "sqlite":
        url = make_url(f"sqlite:///{tmp_path_factory.mktemp('store') / 'perf.db'}")
        engine = create_engine(url)
        yield _made(url, engine)
        engine.dispose()
        return
    server = request.getfixturevalue(f"{request.param}_server")
    with server.database(request.param) as database:
        yield _made(database.url, database.engine())


@pytest.fixture
def store(made: Store) -> Store:
    """An empty store in each database in turn, at noon."""
    made.execute(*(delete(table) for table in reversed(TABLES)))
    made.clock.now = NOON
    return made


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """An empty store in a file."""
    engine = create_engine(sqlite_url)
    yield _made(make_url(sqlite_url), engine)
    engine.dispose()
