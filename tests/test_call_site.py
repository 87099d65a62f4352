"""The application line that issued a statement."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
import types

import pytest

from sa_perf import call_site as call_site_module
from sa_perf.call_site import CallSite, LastLine, NearestLine, call_site


def line() -> int:
    """Line number of the caller."""
    return sys._getframe(1).f_lineno


def as_module(name: str, source: str, **names: object) -> types.ModuleType:
    """Run a source as if it were the module of that name."""
    module = types.ModuleType(name)
    vars(module).update(names)
    exec(compile(source, f"/somewhere/{name}.py", "exec"), vars(module))  # noqa: S102
    return module


def test_the_caller_is_the_call_site() -> None:
    site, expected = call_site(), line()
    assert site.line == expected
    assert site.file.endswith("test_call_site.py")
    assert site.function.endswith("test_the_caller_is_the_call_site")


def test_a_call_site_reads_as_file_line_and_function() -> None:
    assert str(CallSite(file="shop/views.py", line=7, function="index")) == (
        "shop/views.py:7 in index"
    )


@pytest.mark.parametrize(
    "library",
    [
        "sqlalchemy.orm.query",
        "sqlalchemy",
        "sa_perf.queries.recorder",
        "psycopg.cursor",
        "pymysql.cursors",
        "sqlite3",
        "asyncio.base_events",
        "contextlib",
        "threading",
        "alembic.op",
    ],
)
def test_frames_of_libraries_are_passed_over(library: str) -> None:
    module = as_module(library, "def run(function): return function()")
    site, expected = module.run(call_site), line()
    assert (site.file.rpartition("/")[2], site.line) == ("test_call_site.py", expected)


def test_frames_of_the_standard_library_are_passed_over() -> None:
    with contextlib.ExitStack() as stack:
        found = []
        stack.callback(lambda: None)
        site = functools.partial(call_site)()
        found.append(site)
    assert found[0].function.endswith("passed_over")


@pytest.mark.parametrize("name", ["__main__", "shop.views", "sa_perfection", "sqlalchemy_shop"])
def test_a_module_of_the_application_is_found(name: str) -> None:
    module = as_module(name, "\n\ndef run(function):\n    return function()")
    site = module.run(call_site)
    assert (site.file, site.line, site.function) == (f"/somewhere/{name}.py", 4, "run")


def test_the_demonstration_plays_an_application() -> None:
    module = as_module("sa_perf.demo.application", "def run(function): return function()")
    assert module.run(call_site).file.endswith("sa_perf.demo.application.py")


def test_a_stack_of_libraries_alone_has_no_call_site() -> None:
    source = "import threading\ndef work(function, found): found.append(function())\n"
    module = as_module("sqlalchemy.pool", source)
    found: list[CallSite | None] = []
    thread = module.threading.Thread(target=module.work, args=(call_site, found))
    thread.start()
    thread.join()
    assert found == [None]


def test_a_deep_recursion_of_libraries_is_given_up() -> None:
    source = "def run(function, n): return run(function, n - 1) if n else function()"
    module = as_module("sqlalchemy.deep", source)
    assert module.run(call_site, 150) is not None
    assert module.run(call_site, 250) is None


def test_the_path_is_relative_to_the_longest_import_path(monkeypatch, tmp_path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "views.py").write_text("def run(function):\n    return function()\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path.parent), str(tmp_path), *sys.path])
    names: dict[str, object] = {"__name__": "shop.views"}
    path = package / "views.py"
    exec(compile(path.read_text(), str(path), "exec"), names)  # noqa: S102
    assert names["run"](call_site).file == "shop/views.py"


def test_the_call_site_outside_a_greenlet_is_found() -> None:
    greenlet = pytest.importorskip("greenlet")
    module = as_module("sqlalchemy.util.concurrency", "def run(function): return function()")
    found = []

    def switch() -> None:
        inner = greenlet.greenlet(functools.partial(module.run, call_site))
        found.append(inner.switch())

    switch()
    assert found[0].function.endswith("switch")


def test_a_coroutine_is_the_call_site_of_what_it_awaits() -> None:
    async def handler() -> CallSite | None:
        await asyncio.sleep(0)
        return call_site()

    assert asyncio.run(handler()).function.endswith("handler")


# Templates


PAGE = """\
<h1>{{ title }}</h1>
{% for name in names %}
  <li>
    {{ order.lines }}
  </li>
{% endfor %}
{% block footer %}
{{ order.lines }}
{% endblock %}
"""


#: Stands for a mapped class: the frames between a template and the driver are the ORM's.
ORDER = """
class Order:
    def __init__(self, find):
        self.find, self.sites = find, []
    @property
    def lines(self):
        self.sites.append(self.find())
        return ""
"""


@pytest.fixture
def order() -> object:
    return as_module("sqlalchemy.orm.attributes", ORDER).Order(call_site)


def test_a_template_is_the_call_site_of_what_it_reads(order, tmp_path) -> None:
    jinja2 = pytest.importorskip("jinja2")
    (tmp_path / "order.html").write_text(PAGE)
    loader = jinja2.FileSystemLoader(tmp_path)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("order.html")

    template.render(title="Orders", names=["one"], order=order)

    in_loop, in_block = order.sites
    assert in_loop.file == in_block.file == str(tmp_path / "order.html")
    assert (in_loop.line, in_loop.function) == (4, "template root")
    assert (in_block.line, in_block.function) == (8, "template footer")


def test_a_template_without_a_file_has_lines_too(order) -> None:
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Environment(autoescape=True).from_string(PAGE)

    template.render(title="Orders", names=["one", "two"], order=order)

    assert [(one.file, one.line) for one in order.sites] == [
        ("<template>", 4), ("<template>", 4), ("<template>", 8),
    ]  # fmt: skip


def test_a_filter_of_the_application_is_nearer_than_the_template(order) -> None:
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(autoescape=True)
    environment.filters["lines"] = lambda one: one.lines
    environment.from_string("{{ order | lines }}").render(order=order)
    assert order.sites[0].file.endswith("test_call_site.py")


@pytest.mark.parametrize(
    "library",
    ["jinja2.environment", "werkzeug.serving", "flask.app", "starlette.routing", "pydantic.main",
     "fastapi.routing", "celery.app.task", "marshmallow.schema", "graphene.types", "strawberry"],
)  # fmt: skip
def test_frames_of_frameworks_are_passed_over(library: str) -> None:
    module = as_module(library, "def run(function): return function()")
    site, expected = module.run(call_site), line()
    assert (site.file.rpartition("/")[2], site.line) == ("test_call_site.py", expected)


# The line of last time


def test_the_last_line_is_found_again() -> None:
    last = LastLine()
    found = [last.find() for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert found[1] is found[2]
    assert found[0].number == line() - 3


def test_another_line_is_told_from_the_last() -> None:
    last = LastLine()
    one, other = last.find(), last.find()
    again, expected = last.find(), line()
    assert one.number == other.number == expected - 1
    assert again.number == expected


def test_the_last_line_is_no_other_functions_at_the_same_depth() -> None:
    last = LastLine()

    def first() -> str:
        return last.find().call_site().function

    def second() -> str:
        return last.find().call_site().function

    assert [first(), second(), first()] == [
        f"{test_the_last_line_is_no_other_functions_at_the_same_depth.__qualname__}.<locals>.{one}"
        if sys.version_info >= (3, 11)
        else one
        for one in ("first", "second", "first")
    ]


def test_the_last_line_outside_of_a_greenlet_is_found_without_a_walk(monkeypatch) -> None:
    greenlet = pytest.importorskip("greenlet")
    library = as_module("sqlalchemy.util", "def run(f, n): return run(f, n - 1) if n else f()")
    last, walks, walk = LastLine(), [], call_site_module._nearest
    monkeypatch.setattr(call_site_module, "_nearest", lambda one: walks.append(1) or walk(one))

    def found(depth: int = 5) -> tuple[int, int]:
        walks.clear()
        inner = greenlet.greenlet(functools.partial(library.run, last.find, depth))
        return inner.switch().number, len(walks)

    def application() -> tuple[int, int]:
        walks.clear()
        inner = greenlet.greenlet(functools.partial(library.run, lambda: last.find(), 5))
        return inner.switch().number, len(walks)

    outside = found()[0]
    assert found() == (outside, 0)
    assert found(depth=3) == (outside, 2)
    nearer = application()[0]
    assert nearer != outside
    assert application() == (nearer, 0)
    assert found()[0] == outside
    assert found() == (outside, 0)


def test_the_last_line_is_found_where_the_stack_is_flat() -> None:
    last = LastLine()
    library = as_module("sqlalchemy.deep", "def run(f, n): return run(f, n - 1) if n else f()")
    deep = library.run(last.find, 100)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(last.find()))
    thread.start()
    thread.join()
    assert deep is not None
    assert found[0].call_site().line == deep.number + 2


# The lines of many callers


def test_many_lines_are_found_without_a_walk(monkeypatch) -> None:
    library = as_module("sqlalchemy.pool", "def run(f, n): return run(f, n - 1) if n else f()")
    nearest, walks, walk = NearestLine(), [], call_site_module._nearest
    monkeypatch.setattr(call_site_module, "_nearest", lambda one: walks.append(1) or walk(one))

    def first() -> int:
        return library.run(nearest.find, 5).number

    def second() -> int:
        return library.run(nearest.find, 5).number

    start = first.__code__.co_firstlineno + 1
    assert [first(), second(), first(), second()] == [start, start + 3, start, start + 3]
    assert len(walks) == 1
    # Ways of other lengths are learned, and do not take each other's place.
    lengths = [library.run(nearest.find, n).number for n in (0, 9, 30, 5, 0, 9, 30, 5)]
    assert len(set(lengths)) == 1
    assert len(walks) == 4


def test_a_nearest_line_without_libraries_between_is_the_caller_s() -> None:
    nearest = NearestLine()
    found, expected = [nearest.find().number for _ in range(2)], line()
    assert found == [expected, expected]


def test_a_library_s_frame_beyond_a_known_way_is_passed_over() -> None:
    inner = as_module("sqlalchemy.pool", "def run(f): return f()")
    outer = as_module("sqlalchemy.engine", "def run(run, f): return run(f)")
    nearest = NearestLine()
    assert inner.run(nearest.find).number == line()
    assert outer.run(inner.run, nearest.find).number == line()


def test_a_nearest_line_outside_of_a_greenlet_is_found_without_a_walk(monkeypatch) -> None:
    greenlet = pytest.importorskip("greenlet")
    library = as_module("sqlalchemy.util", "def run(f, n): return run(f, n - 1) if n else f()")
    nearest, walks, walk = NearestLine(), [], call_site_module._nearest
    monkeypatch.setattr(call_site_module, "_nearest", lambda one: walks.append(1) or walk(one))

    def found() -> tuple[int, int]:
        walks.clear()
        inner = greenlet.greenlet(functools.partial(library.run, nearest.find, 5))
        return inner.switch().number, len(walks)

    outside = found()[0]
    assert found() == (outside, 0)


def test_a_stack_of_libraries_alone_has_no_nearest_line() -> None:
    source = "import threading\ndef work(function, found): found.append(function())\n"
    module = as_module("sqlalchemy.pool", source)
    found: list[object] = []
    thread = module.threading.Thread(target=module.work, args=(NearestLine().find, found))
    thread.start()
    thread.join()
    assert found == [None]
