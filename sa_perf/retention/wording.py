"""Policies and faults in words: SQL for people, errors without values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_
from sqlalchemy.exc import CompileError, SQLAlchemyError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.sql.expression import ClauseElement

    from sa_perf.retention.steps import Step

__all__ = ["error_words", "predicate_text", "sql_text"]


def error_words(error: BaseException) -> str:
    """An error in one line, without the values of its statement."""
    source = getattr(error, "orig", None) or error
    lines = str(source).splitlines()
    return f"{type(source).__name__}: {lines[0] if lines else ''}"[:500]


def predicate_text(step: Step, dialect: Dialect) -> str:
    """What rows must meet to be changed, as SQL."""
    walks = [step.walk("key")]
    if step.target.policy.nulls == "expire":
        walks.append(step.walk("timeless"))
    return "\nOR ".join(sql_text(and_(*step.matching(walk)), dialect) for walk in walks)


def sql_text(element: ClauseElement, dialect: Dialect) -> str:
    """A statement or condition as SQL with its values written out, where that is possible."""
    options: dict[str, Any] = {"literal_binds": True}
    try:
        return str(element.compile(dialect=dialect, compile_kwargs=options))
    except (CompileError, SQLAlchemyError, NotImplementedError):
        return str(element.compile(dialect=dialect))
