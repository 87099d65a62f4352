"""Small programs, each with what has to be found in it and how it ends.

A program takes a session and loader options for its query. Decorated by ``program()`` it has no
fault; a `Fault` says which there is. Its remedy is tried: loader options are given to the program
as they stand in the remedy; where it is no option, `Program.mended` takes a second function that
does what the remedy says.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from n_plus_one import library
from sqlalchemy import orm

__all__ = ["PROGRAMS", "Fault", "Program", "known_function", "loader_options", "program"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What has to be found.

    Attributes:
        kind: of the finding.
        place: of the finding, without "relationship" or "class".
        remedy: of the finding, or how it begins; None: any.
        path: to the relationship, where it is more than one step.
        times: statements of the worst occurrence.
        function: qualified name of the function at fault; None: the program.
        needs_scope: there is nothing to see in a single transaction.
    """

    kind: str = "n_plus_one"
    place: str | None = None
    remedy: str | None = None
    path: str | None = None
    times: int = library.MANY
    function: str | None = None
    needs_scope: bool = False

    @property
    def known_path(self) -> str | None:
        """The path of a relationship."""
        return self.path or (self.place if self.kind == "n_plus_one" else None)


@dataclass(kw_only=True)
class Program:
    """One program of the corpus."""

    function: Callable[..., Any]
    faults: tuple[Fault, ...]
    without_fault: Callable[..., Any] | None = field(default=None)

    @property
    def name(self) -> str:
        """Module and function."""
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    @property
    def is_async(self) -> bool:
        """Whether it takes an ``AsyncSession``."""
        return inspect.iscoroutinefunction(self.function)

    def mended(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Take the same program without the fault."""
        self.without_fault = function
        return function

    def function_of(self, fault: Fault) -> str:
        """Qualified name of the function where a fault has to be found."""
        return known_function(fault.function or self.function.__qualname__)


def known_function(name: str) -> str:
    """A function's qualified name without the comprehension in it, as far as Python knows it.

    Python 3.12 has no frames of their own for comprehensions, 3.10 no qualified names.
    """
    name = re.sub(r"(\.<locals>)?\.?<(genexpr|listcomp|setcomp|dictcomp)>$", "", name)
    return name if sys.version_info >= (3, 11) else ""


PROGRAMS: list[Program] = []


def program(*faults: Fault) -> Callable[[Callable[..., Any]], Program]:
    """Add a program to the corpus."""

    def add(function: Callable[..., Any]) -> Program:
        PROGRAMS.append(Program(function=function, faults=faults))
        return PROGRAMS[-1]

    return add


class _Asked:
    """Stands for ``select()`` where a remedy is read: only its loader options are looked at."""

    def __init__(self, entity: type[Any]) -> None:
        self.entity = entity

    def options(self, *options: Any) -> tuple[Any, ...]:
        return options


def loader_options(remedy: str) -> tuple[Any, ...]:
    """The loader options in a remedy, for a query of the entity that it names."""
    names = {**vars(orm), **vars(library), "select": _Asked}
    found = eval(remedy, names)  # noqa: S307  # our own code
    assert isinstance(found, tuple), remedy
    return found
