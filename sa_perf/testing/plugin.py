"""The pytest plugin: budgets for queries, assertions on plans, a report.

Nothing is recorded before a test asks for it: by a fixture, by the marker ``query_budget``, or by
``--sa-perf-report`` for all of them. With pytest-xdist each worker measures its own tests, and the
report is of all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Select

    from sa_perf.pagination.sessions import Source
    from sa_perf.testing.measuring import Measurement

__all__ = [
    "assert_no_full_scan", "assert_plan_snapshot", "assert_uses_index", "pytest_addoption",
    "pytest_configure", "pytest_runtest_call", "pytest_sessionfinish", "pytest_terminal_summary",
    "pytest_testnodedown", "query_budget", "sa_perf_bind",
]  # fmt: skip

_MARKER = (
    "query_budget(max_calls=None, max_seconds=None, n_plus_one=0): fail the test if it sends more "
    "statements, spends more seconds in the database, or loads more one by one."
)
_LIMITS = frozenset({"max_calls", "max_seconds", "n_plus_one"})
#: A `RunReport`, or None.
_report = pytest.StashKey[Any]()
_recording = pytest.StashKey[ExitStack]()
_plans_of_test = pytest.StashKey[int]()
#: Fixtures that are taken for the database of a test, where there is one of these names.
_BINDS = ("session", "db_session", "dbsession", "connection", "engine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("sa_perf", "queries and plans")
    group.addoption(
        "--sa-perf-report",
        metavar="FILE",
        nargs="?",
        const="-",
        default=None,
        help="Measure every test and report: to the terminal, or to FILE (.json: as JSON).",
    )
    group.addoption(
        "--sa-perf-update-plans",
        action="store_true",
        help="Write the plans that assert_plan_snapshot finds over those that it knows.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known; begin to measure, if there is to be a report."""
    config.addinivalue_line("markers", _MARKER)
    config.stash[_report] = None
    if config.getoption("--sa-perf-report") is not None:
        from sa_perf.testing.measuring import recorded_everywhere
        from sa_perf.testing.report import RunReport

        config.stash[_report] = RunReport()
        stack = config.stash[_recording] = ExitStack()
        stack.enter_context(recorded_everywhere())
        config.add_cleanup(stack.close)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Measure a test that has a budget, or all where there is to be a report."""
    marker = item.get_closest_marker("query_budget")
    report = item.config.stash[_report]
    if marker is None and report is None:
        return (yield)
    from sa_perf.testing.budget import query_budget as budget

    limits = _limits(item, marker)
    with budget(**limits, name=item.nodeid) as measurement:
        try:
            return (yield)
        finally:
            if report is not None:
                # Filled when the block ends, which is behind this.
                report.add(item.nodeid, measurement)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's measurements to its controller; write the report's file."""
    report = session.config.stash.get(_report, None)
    if report is None:
        return
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["sa_perf"] = report.to_dict()
        return
    target = session.config.getoption("--sa-perf-report")
    if target != "-":
        report.write(Path(target))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401  # pytest-xdist's
    """Take the measurements of a worker."""
    report = node.config.stash.get(_report, None)
    found = getattr(node, "workeroutput", {}).get("sa_perf")
    if report is not None and found is not None:
        report.merge(found)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the report."""
    report = terminalreporter.config.stash.get(_report, None)
    if report is None:
        return
    terminalreporter.section("sa_perf")
    target = terminalreporter.config.getoption("--sa-perf-report")
    for line in report.lines():
        terminalreporter.write_line(line)
    if target != "-":
        terminalreporter.write_line(f"report written to {target}")


def _limits(item: pytest.Item, marker: pytest.Mark | None) -> dict[str, Any]:
    if marker is None:
        return {"n_plus_one": None}
    unknown = set(marker.kwargs) - _LIMITS
    if unknown or marker.args:
        given = ", ".join([*map(repr, marker.args), *sorted(unknown)])
        raise pytest.UsageError(
            f"{item.nodeid}: the marker query_budget takes {', '.join(sorted(_LIMITS))}, by name; "
            f"not {given}"
        )
    return dict(marker.kwargs)


# Fixtures


@pytest.fixture
def query_budget(
    request: pytest.FixtureRequest,
) -> Callable[..., AbstractContextManager[Measurement]]:
    """A context manager that fails the test if its block goes beyond a budget.

    Example:
        >>> def test_orders(query_budget, session):  # doctest: +SKIP
        ...     with query_budget(max_calls=3):
        ...         list_orders(session)
    """
    from sa_perf.testing.budget import query_budget as budget

    return partial(budget, name=request.node.nodeid)


@pytest.fixture
def sa_perf_bind(request: pytest.FixtureRequest) -> Iterator[Source]:
    """The session or connection that the assertions on plans ask; override it in conftest.py.

    By default the test's fixture ``session``, ``db_session``, ``dbsession``, ``connection`` or
    ``engine``, whichever it has first.
    """
    for name in _BINDS:
        try:
            found = request.getfixturevalue(name)
        except pytest.FixtureLookupError:
            continue
        if name != "engine":
            yield found
            return
        with found.connect() as connection:
            yield connection
        return
    raise pytest.UsageError(
        f"no fixture of the names {', '.join(_BINDS)} gives a database to ask for plans; define a "
        "fixture sa_perf_bind that returns a Session or a Connection"
    )


@pytest.fixture
def assert_no_full_scan(sa_perf_bind: Source) -> Callable[..., None]:
    """`sa_perf.testing.assert_no_full_scan` on the test's database: ``(statement, ignore=())``."""
    from sa_perf.testing.plans import assert_no_full_scan as check

    return partial(check, session=sa_perf_bind)


@pytest.fixture
def assert_uses_index(sa_perf_bind: Source) -> Callable[[Select[Any], str], None]:
    """`sa_perf.testing.assert_uses_index` on the test's database: ``(statement, index)``."""
    from sa_perf.testing.plans import assert_uses_index as check

    return lambda statement, index: check(statement, index, sa_perf_bind)


@pytest.fixture
def assert_plan_snapshot(
    request: pytest.FixtureRequest, sa_perf_bind: Source
) -> Callable[[Select[Any]], None]:
    """Compare a plan with that of the last time: ``(statement)``.

    Snapshots lie in ``__plans__`` beside the test, in a file named after it, to be committed.
    ``--sa-perf-update-plans`` writes them anew.
    """
    from sa_perf.testing.plans import assert_plan_snapshot as check

    node = request.node
    name = re.sub(r"[^\w.-]+", "_", f"{node.path.stem}-{node.name}")
    update = bool(request.config.getoption("--sa-perf-update-plans"))

    def compare(statement: Select[Any]) -> None:
        number = node.stash.get(_plans_of_test, 0) + 1
        node.stash[_plans_of_test] = number
        file = node.path.parent / "__plans__" / f"{name}{'' if number == 1 else f'-{number}'}.txt"
        check(statement, file, sa_perf_bind, update=update)

    return compare
