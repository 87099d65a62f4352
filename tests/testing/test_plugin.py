"""The pytest plugin as an application's tests use it: each test here runs a pytest of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest_plugins = ["pytester"]

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


@pytest.fixture
def run(pytester: pytest.Pytester) -> Any:
    """Run the tests of a file beside the models."""

    def go(tests: str, *arguments: str, models: str = MODELS) -> pytest.RunResult:
        pytester.makepyfile(app=models, test_app=f"from app import *\n{tests}")
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-Werror", *arguments)

    return go


def test_a_block_beyond_its_budget_fails_with_statements_lines_and_the_fix(run) -> None:
    result = run("""
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


@pytest.mark.parametrize("arguments", ["max_call=2", "3", "max_calls=-1", "max_seconds=0"])
def test_a_marker_that_says_nothing_sensible_is_refused(run, arguments: str) -> None:
    result = run(f"""
@pytest.mark.query_budget({arguments})
def test_any():
    pass
""")
    assert result.ret != 0
    assert "query_budget takes" in str(result.stdout) or "is a number" in str(result.stdout)


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


def test_nothing_is_recorded_unless_a_test_asks_for_it(run) -> None:
    run("""
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
