"""The house rules of docs/explanation/architecture.md, read from the source with ``ast``.

Each rule is a function from a package's directory to a list of faults. It is run on sa_perf, where
it must find none, and on a small bad tree, where it must find the one that was put there. An import
counts wherever it stands: in a function, under ``TYPE_CHECKING``, in ``try``.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sa_perf"
Rule: TypeAlias = Callable[[Path], "list[str]"]

# Layers, lowest first, as the rooms that a room may import.
LEAVES = {"errors", "finding", "histogram", "json_values"}
GROUND = LEAVES | {"call_site", "connecting", "dialects", "settings", "tables"}
FEATURES = {"pagination", "plans", "queries", "resources", "retention", "views"}
READERS = {"migration", "snapshot", "store"}
# The composition root, in several files.
ROOT_ROOMS = {"housekeeping", "instrumentation", "monitoring", "post", "storing", "targets"}
CORE = GROUND | FEATURES | READERS | ROOT_ROOMS
FACE = CORE | {"__init__"}  # what an application sees, and the rooms that act as one
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "finding": set(),
    "json_values": set(),
    "histogram": {"json_values"},
    "call_site": {"dialects"},
    "settings": LEAVES,
    "tables": LEAVES | {"settings"},
    "dialects": LEAVES | {"settings", "tables"},
    "connecting": LEAVES | {"settings", "tables"},
    **{room: GROUND for room in FEATURES},
    "snapshot": GROUND | FEATURES,
    "store": GROUND | FEATURES | {"snapshot"},  # what it keeps are snapshots
    "migration": GROUND | FEATURES | {"store"},  # the tables of both
    "housekeeping": GROUND | FEATURES | READERS,
    "monitoring": GROUND | FEATURES | READERS | {"housekeeping"},
    "post": GROUND | FEATURES | READERS | {"monitoring"},
    "storing": GROUND | FEATURES | READERS,
    "targets": GROUND | FEATURES | READERS | {"post"},
    "instrumentation": CORE,
    "__init__": CORE,
    "demo": FACE,
    "exporters": FACE,
    "schedulers": FACE,
    "testing": FACE,
    "web": FACE,
    "cli": FACE | {"demo", "web"},  # `sa-perf demo` and `sa-perf serve` start them
    "__main__": {"cli"},
}

DATABASE_NAME = re.compile(
    r"(?i)(?<![a-z])(sqlite|postgres|postgresql|mysql|mariadb|oracle|mssql|aiosqlite|asyncpg"
    r"|psycopg2?|pg8000|pymysql|mysqldb|asyncmy|aiomysql|mysqlconnector)(?![a-z])"
)
# Literals outside dialects/ that may name a database: (path, lower-case name) -> reason.
NAMED_DATABASES: dict[tuple[str, str], str] = {
    ("demo/run.py", "sqlite"): "the demonstration makes its own SQLite file and says so",
}

CORE_DEPENDENCIES = {
    "alembic",
    "cbor2",
    "click",
    "itsdangerous",
    "psutil",
    "rich",
    "sqlalchemy",
    "sqlalchemy_utils",
    "sqlglot",
}
# Optional dependency -> the one file that imports it.
OWNERS: dict[str, str] = {
    "apscheduler": "schedulers/apscheduler.py",
    "celery": "schedulers/celery.py",
    "cryptography": "pagination/cursors/encryption.py",
    "fastapi": "web/fastapi.py",
    "flask": "web/flask.py",
    "fsspec": "retention/archive/remote.py",
    "greenlet": "call_site.py",
    "opentelemetry": "exporters/opentelemetry.py",
    "prometheus_client": "exporters/prometheus.py",
    "pyarrow": "retention/archive/parquet.py",
    "pydantic": "web/fastapi.py",
    "pytest": "testing/plugin.py",
    "starlette": "web/asgi.py",
    "zstandard": "retention/archive/zstd.py",
}
# Optional dependency -> the one that brings it along, whose file may import it too.
COMES_WITH = {"pydantic": "fastapi"}
LOADED_LATER = {
    *CORE_DEPENDENCIES - {"sqlalchemy"},
    "asyncio",
    "cryptography",
    "greenlet",
    "json",
    "mako",
    "sa_perf.pagination",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
}

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "alembic.ini",
    "docs",
    "migrations",
    "pyproject.toml",
    "sa_perf",
    "tests",
    "tox.ini",
}
WORDLESS_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_TITLE = 70
MAX_PUBLIC_NAMES = 12


# Rules


def arrows_point_down(package: Path) -> list[str]:
    """Every import between rooms is one of `ALLOWED`; a room that it does not list is a fault."""
    faults = []
    for source, target in _arrows(package):
        here, there = _room(package, source), _room(package, target)
        if here not in ALLOWED:
            faults.append(f"{source}: room {here!r} is not in the table")
        elif here != there and there not in ALLOWED[here]:
            faults.append(f"{source}: imports {target}, but {here!r} may not import {there!r}")
    rooms = {_room(package, _dotted(package, path)) for path in _modules(package)}
    return faults + [f"room {room!r} is not in the table" for room in sorted(rooms - set(ALLOWED))]


def imports_have_no_circle(package: Path) -> list[str]:
    """No module reaches itself along imports."""
    graph: dict[str, set[str]] = {}
    for source, target in _arrows(package):
        graph.setdefault(source, set()).add(target)
    faults = []
    for start in sorted(graph):
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        if start in seen:
            faults.append(f"{start}: imports itself by way of others")
    return faults


def database_names_stay_in_dialects(package: Path) -> list[str]:
    """No string outside dialects/ names a database or a driver; docstrings may."""
    faults = []
    for path in _modules(package):
        place = path.relative_to(package).as_posix()
        if place.startswith("dialects/"):
            continue
        for literal in _literals(_tree(path)):
            for name in DATABASE_NAME.findall(literal.value):
                if (place, name.lower()) not in NAMED_DATABASES:
                    faults.append(f"{place}:{literal.lineno}: names the database {name!r}")
    return faults


def optional_dependencies_have_one_owner(package: Path) -> list[str]:
    """Whatever is no core dependency is imported in the one file that owns it."""
    at_hand = CORE_DEPENDENCIES | sys.stdlib_module_names | {package.name, "__future__"}
    faults = []
    for path in _modules(package):
        place = path.relative_to(package).as_posix()
        for base, _, line in _imports(_tree(path), _dotted(package, path), path):
            top = base.partition(".")[0]
            if top not in at_hand and OWNERS.get(top) != place:
                owner = OWNERS.get(top, "no file")
                faults.append(f"{place}:{line}: imports {top!r}, which {owner} owns")
    return faults


def names_say_something(package: Path) -> list[str]:
    """No module is called by a word that says nothing."""
    parts = {path.relative_to(package).with_suffix("") for path in _modules(package)}
    return [f"{part}.py: says nothing" for part in parts if WORDLESS_NAMES & set(part.parts)]


def modules_open_with_a_title(package: Path) -> list[str]:
    """The first token of a module is its docstring, whose first line is short."""
    faults = []
    for path in _modules(package):
        place = path.relative_to(package).as_posix()
        docstring = ast.get_docstring(_tree(path))
        if not docstring or not path.read_text(encoding="utf-8").startswith(('"""', 'r"""')):
            faults.append(f"{place}: does not open with a docstring")
        elif len(docstring.splitlines()[0]) > MAX_TITLE:
            faults.append(f"{place}: its title is longer than {MAX_TITLE} characters")
    return faults


def modules_are_short(package: Path) -> list[str]:
    """Modules and functions keep to their number of lines; a function's docstring is free."""
    faults = []
    for path in _modules(package):
        place = path.relative_to(package).as_posix()
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_MODULE_LINES:
            faults.append(f"{place}: {lines} lines")
        for node in ast.walk(_tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                last = node.end_lineno or node.lineno
                first = node.body[0]
                docstring = (first.end_lineno or 0) - first.lineno + 1 if _is_text(first) else 0
                length = last - node.lineno + 1 - docstring
                if length > MAX_FUNCTION_LINES:
                    faults.append(f"{place}:{node.lineno}: {node.name} has {length} lines")
    return faults


def public_names_are_listed(package: Path) -> list[str]:
    """A module that defines public names lists them in ``__all__``; the package has few."""
    faults = []
    for path in _modules(package):
        place = path.relative_to(package).as_posix()
        listed = _listed_names(_tree(path))
        defined = {
            node.name
            for node in _tree(path).body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            and not node.name.startswith("_")
        }
        if defined and listed is None:
            faults.append(f"{place}: has no __all__")
        elif place == "__init__.py" and len(listed or ()) > MAX_PUBLIC_NAMES:
            faults.append(f"{place}: more than {MAX_PUBLIC_NAMES} public names")
        else:
            missing = sorted(defined - set(listed or ()))
            faults += [f"{place}: {name} is public but not in __all__" for name in missing]
    return faults


def nothing_lies_about(root: Path) -> list[str]:
    """The repository's root holds only what has a name in the plan."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False
    )
    known = {line.partition("/")[0] for line in listing.stdout.splitlines()}
    if listing.returncode != 0:  # unpacked from an archive: no git
        known = {path.name for path in root.iterdir() if path.suffix != ".egg-info"}
        known -= {".tox", ".venv", ".hypothesis", ".pytest_cache", "PKG-INFO", "build", "dist"}
    return [f"{name}: has no place in the plan" for name in sorted(known - TOP_LEVEL)]


PACKAGE_RULES: list[Rule] = [
    arrows_point_down,
    imports_have_no_circle,
    database_names_stay_in_dialects,
    optional_dependencies_have_one_owner,
    names_say_something,
    modules_open_with_a_title,
    modules_are_short,
    public_names_are_listed,
]


@pytest.mark.parametrize("rule", PACKAGE_RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    faults = rule(PACKAGE)
    assert not faults, "\n".join(["", *faults])


def test_every_room_has_its_place_in_the_written_plan() -> None:
    plan = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    rooms = {_room(PACKAGE, _dotted(PACKAGE, path)) for path in _modules(PACKAGE)}
    unplanned = {room for room in rooms if not re.search(rf"^  {room}(\.py|/)", plan, re.M)}
    assert unplanned == set()


def test_the_root_keeps_the_rule() -> None:
    assert nothing_lies_about(ROOT) == []


def test_importing_the_package_loads_only_what_recording_needs() -> None:
    extra = _modules_loaded_by("sa_perf") - _modules_loaded_by("sqlalchemy")
    assert extra & LOADED_LATER == set()


def test_a_needless_import_is_seen() -> None:
    assert "rich" in _modules_loaded_by("rich") & LOADED_LATER


@pytest.mark.parametrize("owner", sorted(OWNERS.values()))
def test_an_owner_that_exists_is_the_only_one(owner: str) -> None:
    owners = [name for name, place in OWNERS.items() if place == owner and name not in COMES_WITH]
    assert len(owners) == 1


def test_what_comes_with_another_dependency_is_used_where_that_is() -> None:
    assert {OWNERS[name] for name in COMES_WITH} == {OWNERS[name] for name in COMES_WITH.values()}


# Each rule can fail: small bad trees


BAD_TREES: list[tuple[Rule, dict[str, str], str]] = [
    (
        arrows_point_down,
        {"queries/recorder.py": "from sa_perf.plans import sampler", "plans/sampler.py": ""},
        "'queries' may not import 'plans'",
    ),
    (
        arrows_point_down,
        {"settings.py": "def f():\n    from . import snapshot", "snapshot.py": ""},
        "'settings' may not import 'snapshot'",
    ),
    (
        arrows_point_down,
        {"errors.py": "import sa_perf.settings", "settings.py": ""},
        "'errors' may not import 'settings'",
    ),
    (arrows_point_down, {"queries/x.py": "import sa_perf"}, "may not import '__init__'"),
    (arrows_point_down, {"attic/x.py": ""}, "room 'attic' is not in the table"),
    (
        imports_have_no_circle,
        {
            "plans/a.py": "from sa_perf.plans.b import B",
            "plans/b.py": "if TYPE_CHECKING:\n    from sa_perf.plans.a import A",
        },
        "plans.a: imports itself",
    ),
    (
        imports_have_no_circle,
        {"plans/__init__.py": "from .a import A", "plans/a.py": "from sa_perf.plans import B"},
        "plans.a: imports itself",
    ),
    (database_names_stay_in_dialects, {"plans/a.py": "X = 'sqlite'"}, "'sqlite'"),
    (database_names_stay_in_dialects, {"plans/a.py": "X = f'{y} on MariaDB'"}, "'MariaDB'"),
    (database_names_stay_in_dialects, {"plans/a.py": "X = {'a+asyncpg': 1}"}, "'asyncpg'"),
    (optional_dependencies_have_one_owner, {"web/asgi.py": "import flask"}, "web/flask.py owns"),
    (optional_dependencies_have_one_owner, {"cli/a.py": "from numpy import x"}, "no file owns"),
    (names_say_something, {"queries/utils.py": ""}, "says nothing"),
    (names_say_something, {"helpers/x.py": ""}, "says nothing"),
    (modules_open_with_a_title, {"errors.py": "# Header\n'''Title.'''"}, "does not open"),
    (modules_open_with_a_title, {"errors.py": '"""' + "x" * 71 + '"""'}, "its title is longer"),
    (modules_are_short, {"errors.py": "x = 1\n" * 401}, "401 lines"),
    (modules_are_short, {"errors.py": "def f():\n" + "    x = 1\n" * 40}, "f has 41 lines"),
    (public_names_are_listed, {"errors.py": "class E: ..."}, "has no __all__"),
    (public_names_are_listed, {"errors.py": "__all__ = []\nclass E: ..."}, "E is public"),
    (public_names_are_listed, {"__init__.py": f"__all__ = {list('abcdefghijklm')}"}, "more than"),
]


@pytest.mark.parametrize(("rule", "files", "fault"), BAD_TREES)
def test_each_rule_can_fail(rule: Rule, files: dict[str, str], fault: str, tmp_path: Path) -> None:
    package = tmp_path / "sa_perf"
    for name, source in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    assert fault in "\n".join(rule(package))


def test_a_stray_file_in_the_root_is_seen(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert nothing_lies_about(tmp_path) == ["notes.txt: has no place in the plan"]


def test_docstrings_may_name_a_database(tmp_path: Path) -> None:
    (tmp_path / "errors.py").write_text('"""SQLite."""\nx = 1\n"""MySQL."""\n', encoding="utf-8")
    assert database_names_stay_in_dialects(tmp_path) == []


# Reading


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def _dotted(package: Path, path: Path) -> str:
    """Name a module as an import would; a package's ``__init__`` by the package."""
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(package: Path, module: str) -> str:
    """Name the room of a module: the first name below the package."""
    return module.removeprefix(package.name).strip(".").partition(".")[0] or "__init__"


def _arrows(package: Path) -> Iterator[tuple[str, str]]:
    """Yield (importing module, imported module of ours), as dotted names."""
    ours = {_dotted(package, path) for path in _modules(package)}
    for path in _modules(package):
        source = _dotted(package, path)
        for base, name, _ in _imports(_tree(path), source, path):
            if base.partition(".")[0] == package.name:
                whole = f"{base}.{name}"
                yield source, whole if whole in ours else base


def _imports(tree: ast.Module, module: str, path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (module, name taken from it or nothing, line); relative modules are made whole."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                steps = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*steps, *filter(None, [node.module])])
            yield from ((base, alias.name, node.lineno) for alias in node.names)


def _literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the string constants that are not statements of their own, as docstrings are."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _listed_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def _modules_loaded_by(name: str) -> set[str]:
    script = f"import sys, {name}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())
