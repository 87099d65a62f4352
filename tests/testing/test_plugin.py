"""The pytest plugin as an application's tests use it: each test here runs a pytest of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

PYTHONPATH = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]

MODELS = """
import pytest
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm import selectinload
from sqlalchemy.pool import StaticPool

class Base(DeclarativeBase):
    pass

class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    city: Mapped[str]
    orders: Mapped[list["Order"]] = relationship()

class Order(Base):
    __tablename__ = "order"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))

def names(session, *options):
    found = []
    for user in session.scalars(select(User).options(*options)):
        found.append(len(user.orders))
    return found

@pytest.fixture(scope="session")
def engine():
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([User(name=f"u{n}", city="x", orders=[Order()]) for n in range(12)])
        session.commit()
    yield engine
    engine.dispose()

@pytest.fixture
def session(engine):
    with Session(engine) as session:
        yield session
"""


Started = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def forks() -> Iterator[subprocess.Popen[str] | None]:
    """A process that has imported everything and forks; None where the system cannot fork."""
    if not hasattr(os, "fork"):
        yield None
        return
    script = Path(__file__).with_name("pytest_forks.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def forked(forks: subprocess.Popen[str] | None, pytester: pytest.Pytester) -> Started:
    """Run pytest in a fork, as `Pytester.runpytest_subprocess` does in a process begun anew."""
    if forks is None:
        return pytester.runpytest_subprocess

    def go(*arguments: str) -> pytest.RunResult:
        folder = pytester.path
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *PYTHONPATH])}
        given = [f"--basetemp={folder / 'basetemp'}", *arguments]
        task = {"folder": str(folder), "arguments": given, "environment": environment}
        begun = time.monotonic()
        forks.stdin.write(f"{json.dumps(task)}\n")
        forks.stdin.flush()
        code = int(forks.stdout.readline())
        lines = [(folder / name).read_text().splitlines() for name in ("stdout", "stderr")]
        return pytest.RunResult(code, *lines, time.monotonic() - begun)

    return go


def _run(pytester: pytest.Pytester, start: Started) -> Started:
    def go(tests: str, *arguments: str, models: str = MODELS) -> pytest.RunResult:
        pytester.makepyfile(app=models, test_app=f"from app import *\n{tests}")
        return start("-p", "no:cacheprovider", "-Werror", *arguments)

    return go


@pytest.fixture
def run(pytester: pytest.Pytester, forked: Started) -> Started:
    """Run the tests of a file beside the models."""
    return _run(pytester, forked)


@pytest.fixture
def run_anew(pytester: pytest.Pytester) -> Started:
    """The same in a process that has imported nothing yet, as a user starts it."""
    return _run(pytester, pytester.runpytest_subprocess)


def test_a_block_beyond_its_budget_fails_with_statements_lines_and_the_fix(run_anew) -> None:
    result = run_anew("""
def test_names(session, query_budget):
    with query_budget(max_calls=2):
        names(session)
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: 13 statements, of 2 in the budget",
            "*1 loaded one by one, of 0 in the budget:",
            "*User.orders is loaded one by one: 12 SELECTs in one run of "
            "'test_app.py::test_names', at app.py:* in names*",
            "*fix: select(User).options(selectinload(User.orders))",
            "*statements (13 calls, * ms):",
            "*12 x  SELECT *",
            "*12 x app.py:* in names*",
        ]
    )


def test_the_named_fix_keeps_the_budget(run) -> None:
    run("""
@pytest.mark.query_budget(max_calls=2)
def test_names(session):
    assert names(session, selectinload(User.orders)) == [1] * 12
""").assert_outcomes(passed=1)


def test_a_marker_bounds_the_whole_test_and_not_its_fixtures(run) -> None:
    result = run("""
@pytest.fixture
def filled(session):
    names(session)
    session.rollback()

@pytest.mark.query_budget(max_calls=0)
def test_none(filled):
    pass

@pytest.mark.query_budget(n_plus_one=1, max_seconds=60)
def test_one(session):
    names(session)

@pytest.mark.query_budget
def test_any(session):
    names(session)
""")
    result.assert_outcomes(passed=2, failed=1)


def test_a_test_that_fails_by_itself_fails_for_its_own_reason(run) -> None:
    result = run("""
@pytest.mark.query_budget(max_calls=0)
def test_wrong(session):
    names(session)
    assert 1 == 2
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2"])
    result.stdout.no_fnmatch_line("*in the budget*")


@pytest.mark.parametrize(
    "arguments",
    [
        "max_call=2", "3", "max_calls=-1", "max_seconds=0", "max_calls='3'", "max_calls=1.5",
        "n_plus_one=True", "max_seconds=float('nan')",
    ],
)  # fmt: skip
def test_a_marker_that_says_nothing_sensible_is_refused(run, arguments: str) -> None:
    result = run(f"""
@pytest.mark.query_budget({arguments})
def test_any():
    pass
""")
    assert result.ret != 0
    assert "query_budget takes" in str(result.stdout) or "is a number" in str(result.stdout)


def test_a_failure_shows_the_block_and_no_frame_of_the_plugin(run) -> None:
    result = run("""
@pytest.mark.query_budget(max_calls=1)
def test_marked(session):
    names(session)

def test_block(session, query_budget):
    with query_budget(max_calls=1):
        names(session)
""")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([">       with query_budget(max_calls=1):"])
    assert "measuring.py" not in str(result.stdout)
    assert "contextlib" not in str(result.stdout)
    assert "wrapper=True" not in str(result.stdout)


def test_the_nearest_marker_counts_also_of_classes_modules_and_parameters(run) -> None:
    result = run("""
pytestmark = pytest.mark.query_budget(max_calls=0)

def test_of_the_module(session):
    names(session)

@pytest.mark.query_budget(n_plus_one=None)
class TestClass:
    def test_of_the_class(self, session):
        names(session)

    @pytest.mark.query_budget(max_calls=1)
    def test_of_the_function(self, session):
        names(session)

@pytest.mark.parametrize(
    "number", [1, pytest.param(2, marks=pytest.mark.query_budget(n_plus_one=1))]
)
def test_of_the_parameter(session, number):
    names(session)
""")
    result.assert_outcomes(passed=2, failed=3)


def test_requests_in_one_test_are_not_one_loop(run) -> None:
    run("""
import sa_perf

def get_user(engine, key):
    with sa_perf.scope("GET /users/{id}"), Session(engine) as session:
        return len(session.get_one(User, key).orders)

@pytest.mark.query_budget
def test_requests(engine):
    for key in range(1, 11):
        assert get_user(engine, key) == 1

@pytest.mark.xfail(strict=True, raises=AssertionError)
@pytest.mark.query_budget
def test_one_request(engine):
    with sa_perf.scope("GET /users"), Session(engine) as session:
        names(session)
""").assert_outcomes(passed=1, xfailed=1)


def test_a_block_counts_what_is_in_it(run) -> None:
    run("""
@pytest.mark.query_budget(n_plus_one=None)
def test_block(session, query_budget):
    users = session.scalars(select(User)).all()
    for number, user in enumerate(users):
        if number == 4:
            with query_budget(max_calls=1) as measurement:
                user.orders
        else:
            user.orders
    assert measurement.calls == 1
""").assert_outcomes(passed=1)


def test_what_comes_and_goes_in_the_block_counts(run) -> None:
    run("""
import gc
import sa_perf

def ask(**options):
    engine = create_engine("sqlite://", **options)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()

def test_engines(query_budget):
    with query_budget() as measurement:
        ask()
        ask(plugins=["sa_perf"])
        gc.collect()
    assert measurement.calls == 2

def test_an_instrumentation(engine, query_budget):
    with query_budget() as measurement:
        perf = sa_perf.install(engine)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
        perf.uninstall()
    assert measurement.calls == 1
""").assert_outcomes(passed=2)


def test_threads_may_measure_at_once(run) -> None:
    run("""
import threading
from sa_perf.testing import query_budget

def test_threads():
    inside, gone, found = threading.Event(), threading.Event(), []

    def first():
        with query_budget():
            inside.set()
            second_in.wait(20)
        gone.set()

    def second():
        inside.wait(20)
        with query_budget() as measurement:
            second_in.set()
            gone.wait(20)
            engine = create_engine("sqlite://")
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
            engine.dispose()
        found.append(measurement.calls)

    second_in = threading.Event()
    threads = [threading.Thread(target=one) for one in (first, second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [1]
""").assert_outcomes(passed=1)


def test_a_call_in_many_batches_has_its_line_once(run) -> None:
    run("""
def test_many(session, query_budget):
    with query_budget() as measurement:
        session.add_all(User(name=str(n), city="x") for n in range(3_000))
        session.flush()
    session.rollback()
    (one,) = [one for one in measurement.statements if "INSERT" in one.statement]
    assert [number for _, number in one.lines] == [one.calls] == [1]
""").assert_outcomes(passed=1)


def test_a_default_that_the_database_computes_is_no_fault(run) -> None:
    run("""
from sqlalchemy import Column, Integer, MetaData, Table, func, literal

def test_default(engine, query_budget):
    numbers = select(func.max(literal(3))).scalar_subquery()
    table = Table("numbers", MetaData(), Column("id", Integer, primary_key=True),
                  Column("a", Integer, default=numbers), implicit_returning=False)
    table.create(engine)
    with query_budget(), engine.begin() as connection:
        connection.execute(table.insert(), {})
        assert connection.execute(select(func.max(literal(1))).select_from(table)).scalar() == 1
    table.drop(engine)
""").assert_outcomes(passed=1)


def test_an_instrumentation_of_the_application_is_left_alone(run) -> None:
    run("""
import sa_perf

def test_installed(engine, session, query_budget):
    with query_budget(max_calls=13, n_plus_one=None) as measurement:
        perf = sa_perf.install(engine, slow_seconds=0.5)
        names(session)
    assert measurement.calls == 13
    with query_budget(max_calls=13, n_plus_one=None) as measurement:
        session.expire_all()
        names(session)
    assert perf.settings.slow_seconds == 0.5
    assert sa_perf.instrumentation(engine) is perf
    assert perf.snapshot().calls == 26
    perf.uninstall()
""").assert_outcomes(passed=1)


def test_nothing_is_recorded_unless_a_test_asks_for_it(run_anew) -> None:
    run_anew("""
def test_plain(engine, session):
    names(session)
    assert getattr(engine.dialect, "_sa_perf", None) is None
    import sys
    assert "sa_perf.testing.measuring" not in sys.modules
""").assert_outcomes(passed=1)


def test_async_engines_count(run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("aiosqlite")
    run("""
import asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

def test_async(query_budget):
    async def use():
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            for _ in range(3):
                await session.scalars(select(User))
        await engine.dispose()
    with query_budget() as measurement:
        asyncio.run(use())
    assert sum(one.calls for one in measurement.statements if "city" in one.statement
               and one.statement.startswith("SELECT")) == 3
""").assert_outcomes(passed=1)


ASYNC = """
import asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

async def lazily():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add_all(User(name=f"u{n}", city="x", orders=[Order()]) for n in range(12))
        await session.commit()
        session.expunge_all()
        await session.run_sync(names)
    await engine.dispose()

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
@pytest.mark.query_budget
async def test_marked():
    await lazily()

@pytest.mark.anyio
async def test_block(query_budget):
    with query_budget():
        await lazily()

@pytest.mark.anyio
@pytest.mark.query_budget(n_plus_one=1)
async def test_allowed():
    await lazily()
"""


def test_asynchronous_tests_have_budgets(run) -> None:
    pytest.importorskip("anyio")
    pytest.importorskip("aiosqlite")
    result = run(ASYNC)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*User.orders is loaded one by one: 12 SELECTs in one *"])


# Plans


def test_assertions_on_plans_use_the_tests_own_database(run) -> None:
    result = run("""
def test_by_index(assert_no_full_scan, assert_uses_index):
    found = select(User).where(User.name == "u1")
    assert_no_full_scan(found)
    assert_uses_index(found, "ix_user_name")

def test_whole(assert_no_full_scan):
    assert_no_full_scan(select(User).where(User.city == "x"))

def test_small(assert_no_full_scan):
    assert_no_full_scan(select(User).where(User.city == "x"), ignore=("user",))

def test_other_index(assert_uses_index):
    assert_uses_index(select(User).where(User.name == "u1"), "ix_user_city")
""")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*AssertionError: user is read whole by:"])
    result.stdout.fnmatch_lines(
        ["*AssertionError: index 'ix_user_city' is not used (used: ix_user_name) by:"]
    )


def test_a_plan_that_changed_fails_until_it_is_written_anew(run, pytester: pytest.Pytester) -> None:
    tests = """
def test_plan(assert_plan_snapshot):
    assert_plan_snapshot(select(User).where(User.name == "u1"))
    assert_plan_snapshot(select(Order).where(Order.user_id == 1))
"""
    run(tests).assert_outcomes(passed=1)
    first = pytester.path / "__plans__" / "test_app-test_plan.txt"
    assert first.read_text() == "[sqlite]\nquery\n  index scan on user using ix_user_name\n"
    assert (pytester.path / "__plans__" / "test_app-test_plan-2.txt").exists()
    run(tests).assert_outcomes(passed=1)

    without = MODELS.replace("mapped_column(index=True)", "mapped_column()")
    result = run(tests, models=without)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*-  index scan on user using ix_user_name", "*+  full scan on user"]
    )
    run(tests, "--sa-perf-update-plans", models=without).assert_outcomes(passed=1)
    run(tests, models=without).assert_outcomes(passed=1)


def test_tests_of_one_name_have_snapshots_of_their_own(run, pytester: pytest.Pytester) -> None:
    tests = """
class TestNames:
    def test_plan(self, assert_plan_snapshot):
        assert_plan_snapshot(select(User).where(User.name == "u1"))

class TestCities:
    def test_plan(self, assert_plan_snapshot):
        assert_plan_snapshot(select(User).where(User.city == "x"))

@pytest.mark.parametrize("column", [User.name, User.city], ids=["a/b", "a b"])
def test_columns(assert_plan_snapshot, column):
    assert_plan_snapshot(select(User).where(column == "x"))

@pytest.mark.parametrize("number", [1], ids=["n" * 300])
def test_long(assert_plan_snapshot, number):
    assert_plan_snapshot(select(User))
"""
    for _ in range(2):
        run(tests).assert_outcomes(passed=5)
    assert len(list((pytester.path / "__plans__").iterdir())) == 5


def test_a_file_that_is_no_snapshot_is_named(run, pytester: pytest.Pytester) -> None:
    file = pytester.path / "__plans__" / "test_app-test_plan.txt"
    file.parent.mkdir()
    file.write_text("<<<<<<< HEAD\n[sqlite]\nquery\n")
    result = run("""
def test_plan(assert_plan_snapshot):
    assert_plan_snapshot(select(User))
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_app-test_plan.txt is no snapshot of a plan: it begins*"])


def test_an_asynchronous_engine_is_refused_with_what_to_define(run) -> None:
    pytest.importorskip("aiosqlite")
    result = run(
        """
def test_plan(assert_no_full_scan):
    pass
""",
        models="""
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

@pytest.fixture
def engine():
    return create_async_engine("sqlite+aiosqlite://")
""",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*define a fixture sa_perf_bind that returns a Session*"])


def test_without_a_fixture_of_a_known_name_the_error_says_what_to_define(run) -> None:
    result = run(
        """
def test_plan(assert_no_full_scan):
    pass
""",
        models="import pytest",
    )
    result.stdout.fnmatch_lines(["*define a fixture sa_perf_bind*"])


# The report


def test_the_report_names_statements_repetitions_and_tests(run, pytester) -> None:
    tests = """
def test_names(session):
    names(session)

def test_again(session):
    names(session)

def test_nothing():
    pass
"""
    result = run(tests, "--sa-perf-report")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*26 statements in *, in 3 tests",
            "top statements:",
            "issued one by one:",
            "*User.orders is loaded one by one: 12 SELECTs*(in 2 tests)",
            "*fix: select(User).options(selectinload(User.orders))",
            "tests by time in the database:",
            "*13 x  test_app.py::test_*",
        ]
    )


def test_a_report_goes_to_a_file_as_json_or_text(run, pytester: pytest.Pytester) -> None:
    tests = """
def test_names(session):
    names(session)
"""
    run(tests, "--sa-perf-report=out/report.json").assert_outcomes(passed=1)
    (test,) = json.loads((pytester.path / "out" / "report.json").read_text())["tests"]
    assert (test["test"], test["calls"]) == ("test_app.py::test_names", 13)
    assert [one["kind"] for one in test["findings"]] == ["n_plus_one"]
    run(tests, "--sa-perf-report=report.txt").assert_outcomes(passed=1)
    assert "13 statements" in (pytester.path / "report.txt").read_text()


def test_each_test_of_a_report_has_its_own_name_and_number(run, pytester: pytest.Pytester) -> None:
    run(
        """
def test_all(session):
    names(session)

def test_few(session):
    for user in session.scalars(select(User).limit(6)):
        user.orders

def test_fails(session):
    names(session)
    assert False

def test_skips(session):
    names(session)
    pytest.skip("not now")
""",
        "--sa-perf-report=report.json",
    ).assert_outcomes(passed=2, failed=1, skipped=1)
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [(one["test"].partition("::")[2], one["calls"]) for one in tests] == [
        ("test_all", 13), ("test_few", 7), ("test_fails", 13), ("test_skips", 13),
    ]  # fmt: skip
    for one in tests[:2]:
        (finding,) = one["findings"]
        assert f"{one['calls'] - 1} SELECTs in one run of '{one['test']}'" in finding["message"]


def test_a_run_that_stops_at_the_first_failure_has_a_report(run, pytester) -> None:
    result = run(
        """
@pytest.mark.query_budget(max_calls=1)
def test_first(session):
    names(session)

def test_never(session):
    names(session)
""",
        "-x",
        "--sa-perf-report=report.json",
    )
    result.assert_outcomes(failed=1)
    (test,) = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert test["test"] == "test_app.py::test_first"


@pytest.mark.parametrize("taken", ["test_app.py", "test_app.py::test_any", "."])
def test_a_report_does_not_write_over_tests(run, pytester: pytest.Pytester, taken: str) -> None:
    result = run("def test_any(): pass\n", "--sa-perf-report", taken)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--sa-perf-report would write over '{taken}'*"])
    assert "def test_any" in (pytester.path / "test_app.py").read_text()


def test_a_report_that_cannot_be_written_is_told_at_the_end(run) -> None:
    result = run("def test_any(): pass\n", "--sa-perf-report=app.py/report.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the report could not be written to *report.json: *"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_report_lies_where_pytest_was_started(run, pytester: pytest.Pytester) -> None:
    run(
        """
import os

def test_moves(tmp_path):
    os.chdir(tmp_path)
""",
        "--sa-perf-report=report.txt",
    ).assert_outcomes(passed=1)
    assert (pytester.path / "report.txt").exists()


# With pytest-xdist


@pytest.fixture
def run_distributed(run) -> Any:
    """Run the tests of a file in two processes."""
    pytest.importorskip("xdist")
    return lambda tests, *arguments: run(tests, "-n", "2", *arguments)


DISTRIBUTED = """
@pytest.mark.parametrize("number", range(4))
def test_names(session, number):
    names(session)

@pytest.mark.query_budget(max_calls=2)
def test_budget(session):
    names(session)

@pytest.mark.query_budget(max_calls=2)
def test_in_budget(session):
    names(session, selectinload(User.orders))
"""


def test_a_budget_fails_in_a_worker(run_distributed) -> None:
    result = run_distributed(DISTRIBUTED)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: 13 statements, of 2 in the budget",
            "*fix: select(User).options(selectinload(User.orders))",
        ]
    )
    result.stdout.no_fnmatch_line("*tests by time in the database:*")


def test_the_report_has_the_tests_of_all_workers(run_distributed, pytester) -> None:
    result = run_distributed(DISTRIBUTED, "--sa-perf-report")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*67 statements in *, in 6 tests",
            "top statements:",
            "*User.orders is loaded one by one: 12 SELECTs*(in 5 tests)",
            "*13 x  test_app.py::test_*",
        ]
    )
    assert str(result.stdout).count("in 6 tests") == 1

    run_distributed(DISTRIBUTED, "--sa-perf-report=report.json")
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert sorted((one["test"].partition("::")[2], one["calls"]) for one in tests) == [
        ("test_budget", 13),
        ("test_in_budget", 2),
        *((f"test_names[{n}]", 13) for n in range(4)),
    ]


def test_a_worker_that_crashes_takes_no_other_test_from_the_report(
    run_distributed, pytester: pytest.Pytester
) -> None:
    result = run_distributed(
        """
import os

@pytest.mark.parametrize("number", range(4))
def test_names(session, number):
    names(session)

def test_crash():
    os._exit(3)
""",
        "--sa-perf-report=report.json",
    )
    result.assert_outcomes(passed=4, failed=1)
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert sorted(one["test"].partition("::")[2] for one in tests) == [
        f"test_names[{n}]" for n in range(4)
    ]
