"""A store by a setting: what an application does to have one, and what it is spared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.pool import NullPool

import sa_perf
from sa_perf import migration
from sa_perf.errors import InvalidSettings
from sa_perf.store import tables
from sa_perf.store.tables import MINUTE

PROGRAM = """
import os, sys
from sqlalchemy import create_engine, text
engine = create_engine("sqlite://", plugins=["sa_perf"])
def work(times):
    with engine.connect() as connection:
        for _ in range(times):
            connection.execute(text("SELECT 1")).all()
work(3)
{more}
engine.dispose()
"""


def calls(engine: Engine) -> int:
    with engine.connect() as connection:
        return sum(connection.scalars(select(tables.queries[MINUTE].c.calls)))


def processes(engine: Engine) -> list[tuple]:
    chosen = [tables.processes.c[name] for name in ("service", "release_name", "flush")]
    with engine.connect() as connection:
        return [tuple(one) for one in connection.execute(select(*chosen))]


@pytest.fixture
def kept(sqlite_url: str) -> Iterator[Engine]:
    """An engine on the file of a store that is not there yet."""
    engine = create_engine(sqlite_url)
    yield engine
    engine.dispose()


def run(kept: Engine, more: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SA_PERF_STORE": str(kept.url), "SA_PERF_RELEASE": "1.2"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(more=more)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_setting_is_all_that_is_needed(kept) -> None:
    ended = run(kept)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert calls(kept) == 3
    assert processes(kept) == [(None, "1.2", 1)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_parent_and_child_each_send_their_own(kept) -> None:
    more = "pid = os.fork()\nwork(1 if pid else 5)\nif pid: os.waitpid(pid, 0)"
    ended = run(kept, more)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert calls(kept) == 3 + 1 + 5
    assert len(processes(kept)) == 2


def test_a_reset_forgets_nothing_that_the_store_should_have(kept) -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, store=str(kept.url))
    for _ in range(2):
        with engine.connect() as connection, sa_perf.scope("GET /"):
            connection.execute(text("SELECT 1")).all()
        perf.reset()
    assert perf.snapshot().calls == 0
    assert perf.flush()
    perf.uninstall()
    engine.dispose()
    assert calls(kept) == 2
    with kept.connect() as connection:
        assert sum(connection.scalars(select(tables.scopes[MINUTE].c.runs))) == 2


def test_uninstalling_sends_what_is_left(kept) -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, store=str(kept.url), service="shop")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1")).all()
    perf.uninstall()
    engine.dispose()
    assert (calls(kept), processes(kept)) == (1, [("shop", None, 1)])


def test_the_store_may_be_the_applications_own_database(db) -> None:
    if db.name == "sqlite_memory":
        pytest.skip("no other connection sees it")
    engine = db.engine()
    migration.upgrade(engine)
    perf = sa_perf.install(engine, store="application")
    with engine.begin() as connection:
        connection.execute(text("SELECT 1")).all()
    assert perf.flush(), perf.snapshot().store
    snapshot = perf.snapshot()
    perf.uninstall()
    # What the store itself sends is no statement, and no transaction, of the application.
    assert [one.calls for one in snapshot.queries] == [1]
    assert snapshot.transactions.commits == 1
    assert calls(db.engine()) == 1


def test_an_asynchronous_application_has_its_store_too(async_db) -> None:
    if async_db.name.startswith("sqlite_memory"):
        pytest.skip("no other connection sees it")
    if async_db.name == "mariadb+aiomysql":
        pytest.skip("aiomysql cannot send bytes beside the newest PyMySQL, whoever asks it to")
    plain = create_engine(async_db.url, poolclass=NullPool)
    migration.upgrade(plain)

    async def work() -> tuple[bool, sa_perf.Snapshot]:
        engine = async_db.async_engine()
        perf = sa_perf.install(engine, store="application")
        async with engine.connect() as connection:
            (await connection.execute(text("SELECT 1"))).all()
        stored = perf.flush()
        perf.uninstall()
        return stored, perf.snapshot()

    stored, snapshot = async_db.run(work())
    assert (stored, snapshot.store.last_error) == (True, None)
    # Of a new engine some are the driver's questions to the server.
    assert 1 <= calls(plain) == snapshot.calls


def test_a_store_for_all_engines_of_a_process(kept) -> None:
    perf = sa_perf.install(Engine, store=str(kept.url))
    engines = [create_engine("sqlite://") for _ in range(2)]
    try:
        for engine in engines:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1")).all()
        assert perf.flush()
        assert perf.flush()
        # The engine of the store itself is none of the application's.
        assert len(perf.snapshot().databases) == 1
    finally:
        perf.uninstall()
        for engine in engines:
            engine.dispose()
    assert calls(kept) == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "the database URL cannot be read"),
        ("sqlite://", "no other connection sees"),
        ("application", "no other connection sees"),
        ("postgresql+psycopg://user:p@ssword@host/name", "the @ of a password is to be written"),
    ],
)
def test_a_store_that_cannot_be_is_refused_at_once(url: str, said: str) -> None:
    engine = create_engine("sqlite://")
    with pytest.raises(InvalidSettings, match=said) as refused:
        sa_perf.install(engine, store=url)
    assert "p@ss" not in str(refused.value)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_the_application_as_store_needs_one_engine() -> None:
    with pytest.raises(InvalidSettings, match="installed on all"):
        sa_perf.install(Engine, store="application")


def test_the_password_of_the_store_is_shown_nowhere(tmp_path: Path) -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, store="postgresql+psycopg://me:hush@127.0.0.1:1/perf")
    try:
        assert not perf.flush(5)
        shown = repr(perf.settings) + perf.snapshot().to_json()
        assert "hush" not in shown
        assert "127.0.0.1:1/perf" in shown
    finally:
        perf.uninstall()
        engine.dispose()
