"""Bad input, broken parts and sudden ends: the application never suffers from us."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import sa_perf
from sa_perf import Snapshot
from sa_perf.queries import fingerprint, recorder, slow_log, statistics

numbers = Table("numbers", MetaData(), Column("n", Integer, primary_key=True))


@pytest.fixture(params=["dialect_events", "cursor_events"])
def capture(request) -> str:
    return request.param


def work(engine) -> list[object]:
    """Everything that an application does; what it sees."""
    seen: list[object] = []
    with engine.connect() as connection:
        connection.execute(text("DROP TABLE IF EXISTS numbers"))
        numbers.metadata.create_all(connection)
        seen.append(connection.execute(insert(numbers).values(n=1)).rowcount)
        connection.execute(insert(numbers), [{"n": 2}, {"n": 3}])
        rows = [{"n": n} for n in range(10, 14)]
        seen.append(connection.execute(insert(numbers).returning(numbers.c.n), rows).all())
        seen.append(connection.execute(select(numbers)).all())
        seen.append(connection.execute(select(numbers)).first())
        seen.append(connection.execute(text("SELECT n FROM numbers WHERE n = 1")).scalar())
        options = {"yield_per": 2}
        seen.append(list(connection.execute(select(numbers), execution_options=options)))
        seen.append(connection.exec_driver_sql("SELECT n FROM numbers").fetchmany(2))
        try:
            connection.execute(text("SELECT missing FROM numbers"))
        except DBAPIError as error:
            seen.append(type(error))
        connection.rollback()
    return seen


BREAKABLE: list[tuple[object, str]] = [
    (statistics.Statistics, "aggregate"),
    (statistics.Statistics, "fold"),
    (statistics.Statistics, "count_error"),
    (statistics.Statistics, "count_batches"),
    (fingerprint.Fingerprinter, "shape_of"),
    (recorder.Recorder, "_executed"),
    (recorder.Recorder, "_executed_many"),
    (recorder.Recorder, "_whole"),
    (recorder.Recorder, "_batch"),
    (recorder.Recorder, "slow"),
    (slow_log.SlowLog, "add"),
    (recorder, "call_site"),
    (recorder, "described"),
    (recorder, "current_scope"),
]


@pytest.mark.parametrize(
    ("owner", "name"), BREAKABLE, ids=lambda one: getattr(one, "__name__", one)
)
def test_a_part_that_fails_is_counted_and_the_application_sees_nothing(
    capture: str, owner: object, name: str, monkeypatch, caplog
) -> None:
    expected = work(create_engine("sqlite://"))

    def broken(*arguments: object, **named: object) -> None:
        raise RuntimeError("broken on purpose")

    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, capture=capture, slow_seconds=0, explain=False)
    monkeypatch.setattr(owner, name, broken)
    # Until the queue is full and folded by the application's thread.
    seen = [work(engine) for _ in range(40)]
    monkeypatch.undo()
    assert seen == [expected] * 40
    health = perf.snapshot().health
    assert health.faults > 0
    assert health.last_fault.endswith(": RuntimeError")
    # The housekeeping thread may look after engines of other tests as well.
    ours = [one for one in caplog.records if one.name == "sa_perf"]
    logged = [one for one in ours if one.args != ("housekeeping",)]
    places = [one.args for one in logged]
    assert ours
    assert len(places) == len(set(places))
    assert all(one.levelno == logging.ERROR and one.exc_info for one in logged)
    assert work(engine) == expected
    perf.uninstall()
    engine.dispose()


def test_a_logging_handler_that_fails_does_not_reach_the_application(capture: str) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError

    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, capture=capture, slow_seconds=0, explain=False)
    logger, handler = logging.getLogger("sa_perf.slow"), Broken()
    logger.addHandler(handler)
    try:
        assert work(engine) == work(create_engine("sqlite://"))
    finally:
        logger.removeHandler(handler)
    assert perf.snapshot().health.faults > 0
    perf.uninstall()


def test_a_snapshot_that_cannot_be_written_is_counted(tmp_path, caplog) -> None:
    engine = create_engine("sqlite://")
    path = str(tmp_path / "missing" / "x.json")
    perf = sa_perf.install(engine, snapshot_path=path, explain=False)
    perf.write_snapshot()
    perf.write_snapshot()
    assert perf.snapshot().health.write_failures == 2
    assert len([one for one in caplog.records if one.name == "sa_perf"]) == 1
    perf.uninstall()


# Statements beyond all bounds


def test_a_statement_of_ten_megabytes_is_recorded_short(capture: str) -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, capture=capture, slow_seconds=0, max_statement_length=200)
    with engine.connect() as connection:
        for length in (10_000_000, 10_000_001):
            found = connection.exec_driver_sql(f"SELECT '{'x' * length}'").scalar()
            assert len(found) == length
            connection.execute(text(f"SELECT 1 AS b -- {'y' * length}")).all()
    perf.wait_for_plans(60)
    snapshot = perf.snapshot()
    assert sorted(query.calls for query in snapshot.queries) == [2, 2]
    assert max(len(query.statement) for query in snapshot.queries) <= 200
    assert len(snapshot.to_json()) < 50_000
    assert snapshot.health.faults == 0
    perf.uninstall()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT '\x00'",
        "SELECT 1 \x00",
        "SELECT '\ud800'",
        "\udcff",
        "",
        " ",
        ";",
        "-- nothing",
        "'",
    ],
)
def test_strange_statements_behave_as_without_us(capture: str, statement: str) -> None:
    def outcome(engine) -> object:
        with engine.connect() as connection:
            try:
                return [tuple(row) for row in connection.exec_driver_sql(statement)]
            # Python 3.10 raises sqlite3.Warning, which is no Error of its module.
            except (SQLAlchemyError, ValueError, UnicodeError, sqlite3.Warning) as error:
                return type(error)

    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, capture=capture, slow_seconds=0, explain=False)
    assert outcome(engine) == outcome(create_engine("sqlite://"))
    snapshot = perf.snapshot()
    assert snapshot.health.faults == 0
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    perf.uninstall()


def test_strange_parameters_behave_as_without_us(capture: str) -> None:
    class Odd(str):
        def __repr__(self) -> str:
            raise RuntimeError

        def __len__(self) -> int:
            raise RuntimeError

    engine = create_engine("sqlite://")
    perf = sa_perf.install(
        engine, capture=capture, slow_seconds=0, parameters="full", explain=False
    )
    with engine.connect() as connection:
        for value in (Odd("x"), b"\xff\x00", "\x00", 10**18):
            assert connection.execute(text("SELECT :v"), {"v": value}).scalar() == value
    assert perf.snapshot().health.faults == 0
    perf.uninstall()


# Databases that die


def test_a_database_that_dies_in_the_middle_of_a_statement_is_an_error(
    postgresql_database, capture: str
) -> None:
    engine, killer = postgresql_database.engine(), postgresql_database.engine()
    perf = sa_perf.install(engine, capture=capture, explain=False)
    failures: list[type[BaseException]] = []

    def sleep() -> None:
        with engine.connect() as connection:
            try:
                connection.execute(text("SELECT pg_sleep(60)"))
            except DBAPIError as error:
                failures.append(type(error))

    thread = threading.Thread(target=sleep)
    thread.start()
    terminate = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    with killer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        wait_for(lambda: connection.execute(terminate).all())
    thread.join()
    assert len(failures) == 1
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    snapshot = perf.snapshot()
    (query,) = (one for one in snapshot.queries if "SLEEP" in one.statement.upper())
    assert (query.calls, query.errors, query.rows) == (1, 1, 0)
    assert snapshot.health.faults == 0
    perf.uninstall()


# psycopg cannot close the cursor of a connection that is gone, and says so; also without us.
@pytest.mark.filterwarnings("ignore:.*deleted while still open", "ignore::pytest.PytestWarning")
def test_a_connection_that_dies_while_a_result_is_streamed_is_an_error(
    postgresql_database, capture: str
) -> None:
    engine, killer = postgresql_database.engine(), postgresql_database.engine()
    perf = sa_perf.install(engine, capture=capture, explain=False)
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        result = connection.execution_options(yield_per=10).execute(
            text("SELECT generate_series(1, 1000000) AS streamed")
        )
        assert len(result.fetchmany(5)) == 5
        with killer.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
        with pytest.raises(DBAPIError):
            result.all()
    del result
    gc.collect()
    snapshot = perf.snapshot()
    (query,) = (one for one in snapshot.queries if "streamed" in one.statement)
    assert (query.calls, query.errors) == (1, 1)
    assert snapshot.health.faults == 0
    perf.uninstall()


# Processes


def wait_for(condition: Callable[[], object]) -> object:
    """Ask again and again until the answer is yes; a minute at most."""
    deadline = time.monotonic() + 60
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)
    return answer


def environment() -> dict[str, str]:
    paths = [str(Path(sa_perf.__file__).parents[1]), *filter(None, sys.path)]
    # From Python 3.13 on, an engine that is not disposed of at exit gives a ResourceWarning.
    warnings = "error,ignore::ResourceWarning"
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": warnings}


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], env=environment(), text=True
    )


def read(path: Path) -> Snapshot | None:
    return Snapshot.read(path) if path.exists() else None


PROGRAM = """
import sys, threading
from sqlalchemy import create_engine, text
import sa_perf
engine = create_engine("sqlite://")
perf = sa_perf.install(engine, snapshot_path=sys.argv[1], snapshot_seconds=float(sys.argv[2]))
with engine.connect() as connection:
    for _ in range(3):
        connection.execute(text("SELECT 1")).all()
"""


def test_a_snapshot_is_written_at_exit(tmp_path) -> None:
    path = tmp_path / "{pid}.json"
    done = run(PROGRAM, path, 3_600)
    assert (done.returncode, done.stderr) == (0, "")
    (written,) = tmp_path.iterdir()
    snapshot = Snapshot.read(written)
    assert (snapshot.calls, written.name) == (3, f"{snapshot.pid}.json")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_snapshot_survives_a_process_that_is_killed(tmp_path, number: int) -> None:
    path = tmp_path / "x.json"
    process = start(PROGRAM + "threading.Event().wait()", path, 0.1)
    try:
        wait_for(lambda: (found := read(path)) and found.calls == 3)
    finally:
        process.send_signal(number)
        process.wait(60)
    assert process.returncode == -number
    assert read(path).calls == 3


def test_a_forked_child_counts_from_zero_and_keeps_house(tmp_path) -> None:
    program = """
import os, sys, threading
from pathlib import Path
from sqlalchemy import create_engine, text
import sa_perf
from sa_perf import housekeeping
folder = Path(sys.argv[1])
engine = create_engine(f"sqlite:///{folder}/test.db")
path = str(folder / "{pid}.json")
settings = dict(slow_seconds=0, log_slow=False)
perf = sa_perf.install(engine, snapshot_path=path, snapshot_seconds=0.1, **settings)
def run(count):
    with engine.connect() as connection:
        for _ in range(count):
            connection.execute(text("SELECT 1")).all()
run(5)
engine.dispose()
# As if another thread were counting while we fork.
perf.statistics.lock.acquire()
child = os.fork()
if not child:
    assert perf.snapshot().calls == 0
    run(2)
    assert perf.snapshot().calls == 2
    written = folder / f"{os.getpid()}.json"
    while not (written.exists() and sa_perf.Snapshot.read(written).calls == 2):
        threading.Event().wait(0.01)
    assert housekeeping._thread.is_alive()
    assert perf.wait_for_plans(30)
    os._exit(7)
perf.statistics.lock.release()
run(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert perf.snapshot().calls == 6
print("parent", os.getpid(), "child", child)
"""
    done = run(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    _, parent, _, child = done.stdout.split()
    assert Snapshot.read(tmp_path / f"{parent}.json").calls == 6
    assert Snapshot.read(tmp_path / f"{child}.json").calls == 2


def test_the_interpreter_ends_with_a_full_queue_of_plans(tmp_path) -> None:
    program = """
import sys
from sqlalchemy import create_engine, text
import sa_perf
engine = create_engine(f"sqlite:///{sys.argv[1]}/test.db")
perf = sa_perf.install(engine, slow_seconds=0, explain_queue_size=1000, log_slow=False)
with engine.connect() as connection:
    for number in range(1500):
        connection.execute(text(f"SELECT 1 AS c{number}")).all()
print(perf.snapshot().databases[0].plans.queued > 0)
"""
    done = run(program, tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "True\n")


def test_an_engine_that_is_disposed_of_under_the_worker_breaks_nothing(tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/test.db")
    perf = sa_perf.install(engine, slow_seconds=0, log_slow=False)
    for number in range(50):
        with engine.connect() as connection:
            connection.execute(text(f"SELECT 1 AS c{number}")).all()
        engine.dispose()
    assert perf.wait_for_plans(60)
    snapshot = perf.snapshot()
    assert (snapshot.calls, snapshot.health.faults) == (50, 0)
    perf.uninstall()


def test_uninstalling_with_a_full_queue_of_plans_ends(tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/test.db")
    perf = sa_perf.install(engine, slow_seconds=0, log_slow=False)
    with engine.connect() as connection:
        for number in range(60):
            connection.execute(text(f"SELECT 1 AS c{number}")).all()
        perf.uninstall()
        assert connection.execute(text("SELECT 2")).scalar() == 2
    assert perf.snapshot().calls == 60
    assert json.loads(perf.snapshot().to_json())["databases"] is not None
    engine.dispose()
