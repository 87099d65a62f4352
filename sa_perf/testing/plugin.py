"""The pytest plugin: budgets for queries, assertions on plans, a report.

Nothing is recorded before a test asks for it: by a fixture, by the marker ``query_budget``, or by
``--sa-perf-report`` for all of them. With pytest-xdist each worker measures its own tests, and the
report is of all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Select

    from sa_perf.pagination.sessions import Source
    from sa_perf.testing.measuring import Measurement

__all__ = [
    "assert_no_full_scan", "assert_plan_snapshot", "assert_uses_index", "pytest_addoption",
    "pytest_configure", "pytest_runtest_call", "query_budget", "sa_perf_bind",
]  # fmt: skip

_MARKER = (
    "query_budget(max_calls=None, max_seconds=None, n_plus_one=0): fail the test if it sends more "
    "statements, spends more seconds in the database, or loads more one by one."
)
_LIMITS = frozenset({"max_calls", "max_seconds", "n_plus_one"})
#: A `Measurement` of a test that has ended; None before.
_measured = pytest.StashKey[Any]()
#: A file's name may have 255 bytes.
_LONGEST_NAME = 120
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
    target = config.getoption("--sa-perf-report")
    if target is not None:
        config.pluginmanager.register(_Reporting(config, target), "sa_perf_report")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Measure a test that has a budget, or all where there is to be a report."""
    __tracebackhide__ = True
    marker = item.get_closest_marker("query_budget")
    if marker is None and not item.config.pluginmanager.has_plugin("sa_perf_report"):
        return (yield)
    from sa_perf.testing.budget import query_budget as budget

    item.stash[_measured] = None
    measurement = None
    try:
        with budget(**_limits(item, marker), name=item.nodeid) as measurement:
            return (yield)
    finally:
        item.stash[_measured] = measurement


class _Reporting:
    """Collects what tests sent, by their reports: these come from pytest-xdist's workers too.

    Args:
        config: of this run.
        target: a file, or "-" for the terminal alone.
    """

    def __init__(self, config: pytest.Config, target: str) -> None:
        from sa_perf.testing.measuring import recorded_everywhere
        from sa_perf.testing.report import RunReport

        self._path = None if target == "-" else _report_path(config, target)
        self._is_worker = hasattr(config, "workerinput")
        self._report = RunReport()
        self._failure: OSError | None = None
        stack = ExitStack()
        stack.enter_context(recorded_everywhere())
        config.add_cleanup(stack.close)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the measurement into the test's report."""
        from sa_perf.testing.report import described

        made = yield
        measurement = item.stash.get(_measured, None) if call.when == "call" else None
        if measurement is not None:
            made.sa_perf = described(item.nodeid, measurement)  # type: ignore[attr-defined]  # ours
        return made

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take it from there, in the process that has the terminal."""
        found = getattr(report, "sa_perf", None)
        if found is not None:
            self._report.tests.append(found)

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        if self._path is not None and not self._is_worker:
            try:
                self._report.write(self._path)
            except OSError as error:
                self._failure = error

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the report."""
        terminalreporter.section("sa_perf")
        for line in self._report.lines():
            terminalreporter.write_line(line)
        if self._failure is not None:
            message = f"the report could not be written to {self._path}: {self._failure}"
            terminalreporter.write_line(message, red=True)
        elif self._path is not None:
            terminalreporter.write_line(f"report written to {self._path}")


def _report_path(config: pytest.Config, target: str) -> Path:
    """Where to write; refuses the tests' own files, which an option in front of them takes."""
    path = config.invocation_params.dir / target.partition("::")[0]
    if path.suffix == ".py" or path.is_dir() or "::" in target:
        raise pytest.UsageError(
            f"--sa-perf-report would write over {target!r}: put it behind the tests, or name a "
            "file, --sa-perf-report=report.json"
        )
    return path


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
        if hasattr(found, "sync_engine"):
            raise pytest.UsageError(
                "the fixture engine is an AsyncEngine, which a plan cannot be asked of; define a "
                "fixture sa_perf_bind that returns a Session or a Connection of a synchronous one"
            )
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

    folder, name = request.node.path.parent / "__plans__", _snapshot_name(request.node)
    update = bool(request.config.getoption("--sa-perf-update-plans"))
    numbers = count(1)

    def compare(statement: Select[Any]) -> None:
        __tracebackhide__ = True
        number = next(numbers)
        file = folder / f"{name}{'' if number == 1 else f'-{number}'}.txt"
        check(statement, file, sa_perf_bind, update=update)

    return compare


def _snapshot_name(node: pytest.Item) -> str:
    """A file's name for a test: its module, classes, name and parameters."""
    classes = [one.name for one in node.listchain() if isinstance(one, pytest.Class)]
    whole = "-".join([node.path.stem, *classes, node.name])
    plain = re.sub(r"[\[\]]", "_", whole)
    name = re.sub(r"[^\w.-]+", "_", plain)
    if name == plain and len(name) <= _LONGEST_NAME:
        return name
    # Another test's name may become the same.
    digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{name[:_LONGEST_NAME]}-{digest}"
