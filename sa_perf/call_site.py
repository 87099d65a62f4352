"""Which application line issued a statement, or took a connection.

The nearest frame that belongs to neither SQLAlchemy, nor a driver, nor a framework, nor the
standard library, nor sa_perf. On an async engine the application's frames are not on the listener's
stack: it runs in a greenlet, whose parent holds them. A Jinja template is the application's, and
what it reads of an object has the template's line.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import NamedTuple, TypeAlias

__all__ = ["CallSite", "LastLine", "Line", "NearestLine", "application_line", "call_site"]

_LIBRARIES = frozenset(
    {
        "sa_perf", "sqlalchemy", "sqlalchemy_utils", "alembic", "flask_sqlalchemy", "sqlmodel",
        "greenlet", "gevent", "eventlet", "anyio", "trio", "uvloop",
        "flask", "werkzeug", "jinja2", "markupsafe", "fastapi", "starlette", "uvicorn", "celery",
        "pydantic", "pydantic_core", "marshmallow", "graphene", "graphql", "strawberry",
    }
)  # fmt: skip
#: In the names of a template's module.
_TEMPLATE = "__jinja_template__"
#: Plays an application, so its frames count as one's.
_DEMONSTRATION = "sa_perf.demo.application"
_MAX_DEPTH = 200
_MAX_CACHED = 4_096
_MAX_WAYS = 4
_paths: dict[str, str] = {}
#: Names of modules that were seen on a stack and are no application's.
_library_modules: set[str] = set()
#: How many frames away, the code, and the instruction in it.
_Place: TypeAlias = "tuple[int, CodeType, int]"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite:
    """A line of the application.

    Attributes:
        file: path, relative to the import path where it lies below it.
        line: line number, from 1.
        function: qualified name where Python knows it (3.11), else the plain name.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Line(NamedTuple):
    """A line of code, cheap to find and to compare; `CallSite` is the same for people."""

    code: CodeType
    number: int
    is_template: bool = False

    def call_site(self) -> CallSite:
        """Where it stands."""
        name = getattr(self.code, "co_qualname", self.code.co_name)
        if self.is_template:
            name = f"template {self.code.co_name.removeprefix('block_')}"
        return CallSite(file=_path_of(self.code.co_filename), line=self.number, function=name)


class LastLine:
    """The application line of a statement that is mostly issued from the same one.

    Where it was last time is looked at first: a loop has the same frame at the same depth. That
    takes a tenth of walking the stack. On an async engine the application's frame is on the stack
    of the greenlet's parent; there both are looked at, the outermost frame here and that one.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        # One tuple, so that threads see a whole one: a frame here, the line, a frame outside.
        self._last: tuple[_Place, Line, _Place | None] | None = None

    @property
    def is_outside(self) -> bool:
        """Whether the line was on the stack of the greenlet's parent the last time."""
        return self._last is not None and self._last[2] is not None

    def find(self) -> Line | None:
        """The line that is running now; None where no frame is the application's."""
        last = self._last
        if last is not None:
            depth, code, instruction = last[0]
            try:
                frame = sys._getframe(depth)
            except ValueError:  # the stack is not as deep
                pass
            else:
                if (
                    frame.f_code is code
                    and frame.f_lasti == instruction
                    and (last[2] is None or (frame.f_back is None and _is_outside(last[2])))
                ):
                    return last[1]
        here = sys._getframe()
        found = _nearest(here)
        if found is None:
            return self._find_outside(here)
        line = _line_of(found[0])
        self._last = _place(*found), line, None
        return line

    def _find_outside(self, here: FrameType) -> Line | None:
        found = _outside_greenlet()
        if found is None:
            return None
        frame, depth, away = found
        line = _line_of(frame)
        if away == 1:
            outermost, depth_here = here, 0
            while outermost.f_back is not None:
                outermost, depth_here = outermost.f_back, depth_here + 1
            self._last = _place(outermost, depth_here), line, _place(frame, depth)
        return line


class NearestLine:
    """The application line of what many lines call, but in few ways.

    Of the ways through SQLAlchemy from the application's frame to here, the last ones are kept: how
    many frames, and the code of the outermost. Where one fits, the frame beyond it is the
    application's, and the others need not be looked at; that takes a fifth of walking the stack.
    """

    __slots__ = ("_outside", "_ways")

    def __init__(self) -> None:
        self._ways: tuple[tuple[int, CodeType], ...] = ()
        self._outside = LastLine()

    def find(self) -> Line | None:
        """The line that is running now; None where no frame is the application's."""
        for depth, code in self._ways:
            try:
                entry = sys._getframe(depth)
            except ValueError:  # the stack is not as deep
                continue
            if entry.f_code is code and (frame := entry.f_back) is not None:
                module = frame.f_globals.get("__name__", "")
                if module not in _library_modules and not _is_of_library(module):
                    return _line_of(frame)
        found = None if self._outside.is_outside else _nearest(sys._getframe())
        if found is None:
            return self._outside.find()
        frame, depth = found
        if depth:
            way = depth - 1, sys._getframe(depth - 1).f_code
            others = [one for one in self._ways if one != way]
            self._ways = (way, *others[: _MAX_WAYS - 1])
        return _line_of(frame)


def _place(frame: FrameType, depth: int) -> _Place:
    return depth, frame.f_code, frame.f_lasti


def _is_outside(place: _Place) -> bool:
    """Whether this is still the application's frame on the stack of the greenlet's parent."""
    depth, code, instruction = place
    parent = sys.modules["greenlet"].getcurrent().parent
    frame: FrameType | None = None if parent is None else parent.gr_frame
    for _ in range(depth):
        frame = None if frame is None else frame.f_back
    return frame is not None and frame.f_code is code and frame.f_lasti == instruction


def application_line() -> Line | None:
    """The application line that is running now; None where no frame is the application's.

    Walks the stack: 0.1 us a frame.
    """
    found = _nearest(sys._getframe(1)) or _outside_greenlet()
    return None if found is None else _line_of(found[0])


def _line_of(frame: FrameType) -> Line:
    template = frame.f_globals.get(_TEMPLATE)
    if template is None:
        return Line(frame.f_code, frame.f_lineno)
    return Line(frame.f_code, template.get_corresponding_lineno(frame.f_lineno), is_template=True)


def call_site() -> CallSite | None:
    """The same for people. Called for slow statements only."""
    line = application_line()
    return None if line is None else line.call_site()


def _nearest(frame: FrameType | None) -> tuple[FrameType, int] | None:
    """The application's frame that is nearest to one, and how many frames away it is."""
    for depth in range(_MAX_DEPTH):
        if frame is None:
            return None
        module = frame.f_globals.get("__name__", "")
        if module not in _library_modules:
            if not _is_of_library(module):
                return frame, depth
            _library_modules.add(module)
        frame = frame.f_back
    return None


def _is_of_library(module: str) -> bool:
    return module.partition(".")[0] in _not_application() and module != _DEMONSTRATION


@functools.cache
def _not_application() -> frozenset[str]:
    # Not at the top: whoever only imports sa_perf needs nothing of the databases.
    from sa_perf.dialects.drivers import DRIVER_PACKAGES

    return _LIBRARIES | DRIVER_PACKAGES | sys.stdlib_module_names - {"__main__"}


def _outside_greenlet() -> tuple[FrameType, int, int] | None:
    """The same on the stacks of the greenlets around this one, and how many of them away."""
    if "greenlet" not in sys.modules:
        return None
    parent = sys.modules["greenlet"].getcurrent().parent
    away = 1
    while parent is not None:
        found = _nearest(parent.gr_frame)
        if found is not None:
            return *found, away
        parent, away = parent.parent, away + 1
    return None


def _path_of(filename: str) -> str:
    path = _paths.get(filename)
    if path is None:
        if len(_paths) >= _MAX_CACHED:
            _paths.clear()
        path = _paths[filename] = _below_import_path(filename)
    return path


def _below_import_path(filename: str) -> str:
    roots = [os.path.abspath(entry) for entry in sys.path]
    below = [root for root in roots if filename.startswith(root + os.sep)]
    return os.path.relpath(filename, max(below, key=len)) if below else filename
