"""Every way to install, and what becomes of engines and their instrumentations."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import StringIO

import pytest
from rich.console import Console
from sqlalchemy import Engine, create_engine, create_pool_from_url, engine_from_config, event, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

import sa_perf
from sa_perf import instrumentation as instrumentation_of
from sa_perf.errors import ExplainError, InvalidSettings, NotInstalled
from sa_perf.instrumentation import Instrumentation

PLUGIN = "plugin=sa_perf&sa_perf_explain=false"


def run(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1")).all()


def calls(perf: Instrumentation) -> int:
    return perf.snapshot().calls


def standing(engine) -> Instrumentation | None:
    try:
        return instrumentation_of(engine)
    except NotInstalled:
        return None


@pytest.fixture(autouse=True)
def _uninstall_all() -> Iterator[None]:
    yield
    from sa_perf.instrumentation import _living

    for perf in list(_living.values()):
        perf.uninstall()


# The plugin


@pytest.mark.parametrize(
    "make",
    [
        lambda: create_engine(f"sqlite://?{PLUGIN}&sa_perf_slow_seconds=5"),
        lambda: create_engine("sqlite://", plugins=["sa_perf"], sa_perf_slow_seconds=5),
        lambda: create_engine(f"sqlite://?{PLUGIN}", plugins=["sa_perf"], sa_perf_slow_seconds="5"),
        lambda: create_engine("sqlite://?sa_perf_slow_seconds=5", plugins=["sa_perf"]),
        lambda: engine_from_config({"db.url": f"sqlite://?{PLUGIN}&sa_perf_slow_seconds=5"}, "db."),
    ],
    ids=["url", "plugins", "both", "plugins, settings in the url", "config"],
)
def test_the_plugin_installs(make) -> None:
    engine = make()
    run(engine)
    perf = instrumentation_of(engine)
    assert (calls(perf), perf.settings.slow_seconds) == (1, 5)
    assert not engine._has_events


@pytest.mark.async_driver
def test_the_plugin_installs_on_an_asynchronous_engine(sqlite_database) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite://?{PLUGIN}")

    async def work() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        await engine.dispose()

    sqlite_database.run(work())
    assert calls(instrumentation_of(engine)) == 1
    assert instrumentation_of(engine) is instrumentation_of(engine.sync_engine)


def test_a_pool_alone_can_be_made_of_a_url_with_the_plugin() -> None:
    pool = create_pool_from_url(f"sqlite://?{PLUGIN}", poolclass=NullPool)
    connection = pool.connect()
    connection.cursor().execute("SELECT 1")
    connection.close()


def test_our_arguments_never_reach_the_driver(tmp_path) -> None:
    path = tmp_path / "x.db"
    url = f"sqlite:///file:{path}?mode=rwc&uri=true&{PLUGIN}&sa_perf_service=shop"
    engine = create_engine(url)
    run(engine)
    assert path.exists()
    assert dict(engine.url.query) == {"mode": "rwc", "uri": "true"}
    arguments, options = engine.dialect.create_connect_args(engine.url)
    assert "sa_perf" not in repr((arguments, options))
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite://?plugin=sa_perf&sa_perf_slow_second=1", "did you mean 'sa_perf_slow_seconds'"),
        ("sqlite://?plugin=sa_perf&sa_perf_capture=x", "allowed is one of auto"),
        ("sqlite://?plugin=sa_perf&sa_perf_explain=1&sa_perf_explain=0", r"\('1', '0'\)"),
    ],
)
def test_a_wrong_setting_in_a_url_is_an_error_of_create_engine(url: str, problem: str) -> None:
    with pytest.raises(InvalidSettings, match=problem):
        create_engine(url)


def test_the_message_of_a_wrong_url_does_not_hold_its_password() -> None:
    url = "postgresql+psycopg://user:hunter2@host/db?plugin=sa_perf&sa_perf_slow_second=1"
    with pytest.raises(InvalidSettings) as refused:
        create_engine(url)
    assert "hunter2" not in str(refused.value)


def test_a_wrong_keyword_of_create_engine_is_an_error() -> None:
    with pytest.raises(InvalidSettings, match="unknown setting 'slow_second'"):
        create_engine("sqlite://", plugins=["sa_perf"], sa_perf_slow_second=1)


def test_without_the_plugin_its_arguments_are_an_error_of_sqlalchemy() -> None:
    with pytest.raises(TypeError):
        create_engine("sqlite://", sa_perf_slow_seconds=1)
    with pytest.raises(NoSuchModuleError):
        create_engine("sqlite://?plugin=sa_perfect")


# install()


def test_installing_again_gives_the_same_instrumentation() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, slow_seconds=1, explain=False)
    assert sa_perf.install(engine) is perf
    assert sa_perf.install(engine, slow_seconds=1) is perf
    assert sa_perf.install(engine, slow_seconds=1, explain=False) is perf
    assert sa_perf.install(engine.execution_options(a=1)) is perf


def test_installing_again_with_other_settings_is_refused() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, slow_seconds=1, explain=False)
    with pytest.raises(InvalidSettings, match=r"already installed with slow_seconds=1\.0;"):
        sa_perf.install(engine, slow_seconds=2)
    assert (standing(engine), perf.settings.slow_seconds) == (perf, 1)


def test_installing_by_hand_on_an_engine_of_the_plugin_gives_the_plugins() -> None:
    engine = create_engine(f"sqlite://?{PLUGIN}")
    assert sa_perf.install(engine) is instrumentation_of(engine)


def test_the_environment_counts_for_all_ways(monkeypatch) -> None:
    monkeypatch.setenv("SA_PERF_SERVICE", "shop")
    monkeypatch.setenv("SA_PERF_EXPLAIN", "no")
    by_hand = sa_perf.install(create_engine("sqlite://"))
    engine = create_engine("sqlite://?plugin=sa_perf&sa_perf_service=url")
    assert (by_hand.settings.service, by_hand.settings.explain) == ("shop", False)
    assert instrumentation_of(engine).snapshot().service == "url"


@pytest.mark.parametrize("wrong", ["sqlite://", None, 5, object()])
def test_something_that_is_no_engine_is_refused(wrong) -> None:
    with pytest.raises(TypeError, match="give an Engine, an AsyncEngine or the class Engine"):
        sa_perf.install(wrong)


def test_wrong_settings_leave_nothing_behind() -> None:
    engine = create_engine("sqlite://")
    before = dict(vars(engine.dialect))
    with pytest.raises(InvalidSettings):
        sa_perf.install(engine, slow_seconds=-1)
    assert vars(engine.dialect) == before
    assert standing(engine) is None


def test_asking_for_an_instrumentation_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(NotInstalled, match=r"sa_perf is not installed on an Engine; call sa_perf"):
        instrumentation_of(create_engine("sqlite://"))
    with pytest.raises(NotInstalled, match="not installed on Engine"):
        instrumentation_of(Engine)


def test_uninstalling_twice_is_harmless() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, explain=False)
    perf.uninstall()
    perf.uninstall()
    assert (standing(engine), perf.installed) == (None, False)
    run(engine)


# Everywhere


def test_the_class_engine_stands_for_all_engines() -> None:
    perf = sa_perf.install(Engine, explain=False)
    first, second = create_engine("sqlite://"), create_engine("sqlite:///:memory:")
    run(first)
    run(second)
    assert sa_perf.install(Engine) is perf
    assert instrumentation_of(first) is instrumentation_of(Engine) is perf
    assert (calls(perf), perf.everywhere) == (2, True)
    labels = [one.label for one in perf.snapshot().databases]
    assert labels == ["sqlite:///", "sqlite:///:memory:"]
    perf.uninstall()
    run(first)
    run(create_engine("sqlite://"))
    assert calls(perf) == 2


def test_an_engine_with_settings_of_its_own_leaves_the_rest() -> None:
    perf = sa_perf.install(Engine, explain=False)
    engine, other = create_engine("sqlite://"), create_engine("sqlite://")
    run(engine)
    own = sa_perf.install(engine, slow_seconds=7, explain=False)
    run(engine)
    run(other)
    assert own is not perf
    assert (calls(perf), calls(own)) == (2, 1)


@pytest.mark.async_driver
def test_an_asynchronous_engine_is_adopted_too(sqlite_database) -> None:
    perf = sa_perf.install(Engine, explain=False)

    async def work() -> None:
        engine = sqlite_database.async_engine()
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    sqlite_database.run(work())
    assert calls(perf) == 1


# What is kept alive


def test_an_engine_is_collected_and_takes_its_instrumentation_along() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, explain=False)
    run(engine)
    engine.dispose()
    gone = [weakref.ref(one) for one in (engine, engine.dialect, perf, perf.statistics)]
    del engine, perf
    gc.collect()
    assert [one() for one in gone] == [None] * 4


def test_engines_that_come_and_go_leave_nothing() -> None:
    perf = sa_perf.install(Engine, explain=False)
    gone = []
    for _ in range(20):
        engine = create_engine("sqlite://")
        run(engine)
        engine.dispose()
        gone.append(weakref.ref(engine))
        del engine
    gc.collect()
    assert [one() for one in gone] == [None] * 20
    assert len(perf._posts) == 0
    assert calls(perf) == 20


def test_an_instrumentation_that_outlives_its_engine_can_be_read() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, explain=False)
    run(engine)
    engine.dispose()
    del engine
    gc.collect()
    assert (calls(perf), perf.snapshot().databases) == (1, ())
    perf.uninstall()


def test_a_disposed_engine_goes_on_being_recorded(sqlite_database) -> None:
    engine = sqlite_database.engine()
    perf = sa_perf.install(engine, explain=False)
    run(engine)
    engine.dispose()
    run(engine)
    assert calls(perf) == 2


@pytest.mark.parametrize("waited", [True, False], ids=["when all is explained", "in the middle"])
def test_no_connection_of_ours_is_left_open(db, waited: bool) -> None:
    engine = db.engine()
    # Held here, so that none is closed by the garbage collector instead of by us.
    opened: list[object] = []
    event.listen(engine, "connect", lambda connection, _record: opened.append(connection))
    perf = sa_perf.install(engine, slow_seconds=0)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER)"))
        connection.execute(text("INSERT INTO numbers VALUES (1)"))
        for column in ("n", "n + 1", "missing"):
            with suppress(SQLAlchemyError), connection.begin_nested():
                connection.execute(text(f"SELECT {column} FROM numbers")).all()
        applications = connection.connection.dbapi_connection
    if waited:
        assert perf.wait_for_plans(60)
        sa_perf.explain(text("SELECT n FROM numbers"), engine, console=Console(file=StringIO()))
        with pytest.raises(ExplainError):
            sa_perf.explain(text("SELECT absent FROM numbers"), engine)
        assert perf.snapshot().plans
        assert len(opened) > 1 or db.name == "sqlite_memory"
    perf.uninstall()
    assert perf.wait_for_plans(60)
    assert [one for one in opened if _answers(engine, one)] == [applications]


def _answers(engine: Engine, dbapi_connection: object) -> bool:
    try:
        return engine.dialect.do_ping(dbapi_connection)
    except engine.dialect.loaded_dbapi.Error:
        return False


# Several threads


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns so often that what is not guarded breaks."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(*works: Callable[[], None]) -> None:
    """Run each in a thread of its own, all from the same moment on; their errors are raised."""
    together = threading.Barrier(len(works))

    def run_one(work: Callable[[], None]) -> None:
        together.wait()
        work()

    with ThreadPoolExecutor(len(works)) as threads:
        for future in [threads.submit(run_one, work) for work in works]:
            future.result()


def test_threads_that_install_at_once_get_the_same_instrumentation(hasty_threads) -> None:
    for _ in range(20):
        engine = create_engine("sqlite://")
        found: list[Instrumentation] = []
        at_once(
            *[lambda e=engine, f=found: f.append(sa_perf.install(e, explain=False))] * 6,
        )
        assert len(set(found)) == 1
        found[0].uninstall()


def test_a_scope_may_end_while_others_install(hasty_threads) -> None:
    def end_scopes() -> None:
        for _ in range(200):
            with sa_perf.scope("request"):
                pass

    def come_and_go() -> None:
        for _ in range(50):
            sa_perf.install(create_engine("sqlite://"), explain=False).uninstall()

    standing_by = [sa_perf.install(create_engine("sqlite://"), explain=False) for _ in range(300)]
    at_once(end_scopes, end_scopes, come_and_go)
    (request,) = standing_by[0].snapshot().scopes
    assert request.runs == 400


def test_a_snapshot_may_be_taken_while_engines_are_adopted(hasty_threads) -> None:
    perf = sa_perf.install(Engine, explain=False)
    engines = [create_engine("sqlite://") for _ in range(300)]

    def read() -> None:
        for _ in range(300):
            perf.fold()

    def adopt() -> None:
        for engine in engines:
            run(engine)

    at_once(read, read, adopt)
    assert (calls(perf), perf.faults.count) == (300, 0)
    for engine in engines:
        engine.dispose()


def test_a_door_is_not_changed_after_uninstalling() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, capture="dialect_events", explain=False)
    event.listen(engine, "do_execute", lambda *_: None, insert=True)
    (post,) = perf._posts.values()
    perf.uninstall()
    # As a thread does that was about to look.
    post.check_door()
    assert not engine._has_events


# The snapshot


def test_a_snapshot_says_where_and_since_when() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, service="shop", slow_seconds=3, explain=False)
    run(engine)
    first, second = perf.snapshot(), perf.snapshot()
    assert (first.service, first.slow_seconds) == ("shop", 3)
    assert first.started_at == second.started_at <= first.taken_at <= second.taken_at
    (database,) = first.databases
    assert (database.dialect, database.driver) == ("sqlite", "pysqlite")


@pytest.mark.postgresql
def test_the_label_of_a_database_holds_no_user_and_no_query() -> None:
    url = "postgresql+psycopg://user:hunter2@db.example:5433/shop?sslmode=disable"
    engine = create_engine(url)  # kept: an engine that nobody holds is forgotten
    perf = sa_perf.install(engine, explain=False)
    assert perf.snapshot().databases[0].label == "postgresql://db.example:5433/shop"


def test_the_public_names_are_those_that_are_documented() -> None:
    assert sorted(sa_perf.__all__) == [
        "Instrumentation", "SaPerfError", "Snapshot", "explain", "install", "instrumentation",
        "scope", "tracked",
    ]  # fmt: skip
    for name in sa_perf.__all__:
        assert getattr(sa_perf, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'missing'"):
        sa_perf.missing  # noqa: B018


def test_importing_alone_loads_nothing_of_databases_plans_and_snapshots() -> None:
    script = "import sys, sa_perf; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    unwanted = {"rich", "sa_perf.dialects", "sa_perf.plans", "sa_perf.snapshot", "sqlglot"}
    assert "sa_perf.instrumentation" in loaded
    assert loaded & unwanted == set()


def test_uninstalling_from_all_engines_leaves_no_event_flag_behind() -> None:
    before = DefaultDialect()._has_events
    sa_perf.install(Engine).uninstall()
    assert DefaultDialect()._has_events == before


def test_connections_that_failed_are_counted_for_each_engine_of_a_database(tmp_path) -> None:
    def refuse(*_arguments: object) -> None:
        raise sqlite3.OperationalError

    perf = sa_perf.install(Engine, explain=False)
    engines = [create_engine(f"sqlite:///{tmp_path / 'shared.db'}") for _ in range(3)]
    for failures, engine in enumerate(engines):
        run(engine)
        engine.dispose()
        event.listen(engine, "do_connect", refuse)
        for _ in range(failures):
            with pytest.raises(OperationalError):
                engine.connect()
    (database,) = perf.snapshot().databases
    assert database.connection_errors == 3
    perf.reset()
    (database,) = perf.snapshot().databases
    assert database.connection_errors == 0


def _shop(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INT)")
        rows = [(n, n * 7919 % 900) for n in range(100_000)]
        connection.exec_driver_sql("INSERT INTO orders VALUES (?, ?)", rows)
        connection.execute(text("SELECT * FROM orders WHERE customer_id = 7")).all()


def test_what_was_recorded_is_advised_and_nothing_more_is_recorded(sqlite_database) -> None:
    engine = sqlite_database.engine()
    perf = sa_perf.install(engine)
    _shop(engine)
    before = calls(perf)
    (report,) = perf.advise()
    assert [one.definition.columns for one in report.advice] == [("customer_id",)]
    assert report.database == perf.snapshot().databases[0].label
    assert calls(perf) == before
    assert perf.snapshot().advice == (report,)
    assert perf.advise(least_speedup=1e9)[0].advice == ()
    assert perf.snapshot().advice[0].advice == ()


def test_each_database_gets_a_report_of_its_own_statements(tmp_path) -> None:
    engines = [create_engine(f"sqlite:///{tmp_path / name}.db") for name in ("one", "two")]
    perf = sa_perf.install(Engine)
    _shop(engines[0])
    with engines[1].connect() as connection:
        connection.execute(text("SELECT 1 + 1"))
    reports = {one.database.rpartition("/")[2]: one for one in perf.advise()}
    assert len(reports["one.db"].advice) == 1
    assert reports["two.db"].advice == ()
    assert reports["two.db"].unadvised == ()
    for engine in engines:
        engine.dispose()


def test_an_engine_that_is_gone_is_not_advised() -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine)
    _shop(engine)
    del engine
    gc.collect()
    assert perf.advise() == ()
