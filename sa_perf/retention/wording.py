"""Policies and faults in words: SQL for people, errors without values."""

from __future__ import annotations

import re
from copy import copy
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_
from sqlalchemy.exc import CompileError, SQLAlchemyError

from sa_perf.errors import RetentionError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.sql.expression import ClauseElement

    from sa_perf.retention.steps import Step

__all__ = ["error_words", "logged", "predicate_text", "sql_text"]

#: Of an error in words, in characters.
_LONGEST = 500
#: Where drivers have the database's code.
_CODES = ("sqlstate", "pgcode", "errno")
#: What a driver's adaption writes before the message.
_CLASS = re.compile(r"^<class '[\w.]+'>: ")
#: A quoted word; an apostrophe within a word begins none.
_QUOTED = re.compile(r"""(?<!\w)(?:"[^"]*"|'[^']*'|["'])""")
#: Words behind which a quoted one is a name.
_NAMED = re.compile(
    r"\b(?:table|column|relation|constraint|key|index|database|schema|function|type|trigger|rule|"
    r"role|user|server (?:at|on))\s$",
    re.IGNORECASE,
)

#: In SQL: a text, or the mark of a value.
_LITERAL_OR_NAME = re.compile(r"'(?:[^']|'')*'|:\w+")


def error_words(error: BaseException) -> str:
    """An error in one line, without values of statements or rows.

    Of a database's error that is its class, its code and what its message says before the first
    value; names of tables, columns and constraints stay.
    """
    source: BaseException = getattr(error, "orig", None) or error
    kind = type(source).__name__
    if source is error and not isinstance(error, SQLAlchemyError):
        return f"{kind}: {_first_line(str(error))}"[:_LONGEST]
    code, message = _said(source)
    message = _without_values(_first_line(message))
    return f"{kind}{'' if code is None else f' {code}'}: {message}"[:_LONGEST]


def logged(error: BaseException) -> BaseException:
    """An error for ``exc_info`` of a log: itself, or its words at its place.

    The messages of a chain are all written, and one from a statement has the statement's values.
    """
    seen: BaseException | None = error
    chain: list[BaseException] = []
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    if not any(isinstance(one, SQLAlchemyError) for one in chain):
        return error
    return RetentionError(error_words(error)).with_traceback(error.__traceback__)


def _said(source: BaseException) -> tuple[object, str]:
    """The code and the message of a driver's error."""
    if len(source.args) > 1 and isinstance(source.args[0], int):
        return source.args[0], str(source.args[1])  # its text is that of a tuple
    code = next((found for name in _CODES if (found := getattr(source, name, None))), None)
    return code, str(source)


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0]


def _without_values(message: str) -> str:
    """A message up to the first quoted word that is no name: a quote in a value is not doubled."""
    message = _CLASS.sub("", message)
    for found in _QUOTED.finditer(message):
        if not _NAMED.search(message[: found.start()]):
            return f"{message[: found.start()].rstrip()} ..."
    return message


def predicate_text(step: Step, dialect: Dialect) -> str:
    """What rows must meet to be changed, as SQL."""
    walks = [step.walk("key")]
    if step.target.policy.nulls == "expire":
        walks.append(step.walk("timeless"))
    return "\nOR ".join(sql_text(and_(*step.matching(walk)), dialect) for walk in walks)


def sql_text(element: ClauseElement, dialect: Dialect) -> str:
    """A statement or condition as SQL with its values written out, where that is possible."""
    options: dict[str, Any] = {"literal_binds": True}
    named = _with_names(dialect)
    try:
        compiled: Any = element.compile(dialect=named, compile_kwargs=options)
        # SQLAlchemy 2.1 drops the option in IS DISTINCT FROM on some databases.
        left = {f":{name}": bind for name, bind in compiled.binds.items()}
        return _LITERAL_OR_NAME.sub(
            lambda found: (
                compiled.render_literal_bindparam(left[found[0]]) if found[0] in left else found[0]
            ),
            str(compiled),
        )
    except (CompileError, SQLAlchemyError, NotImplementedError):
        return str(element.compile(dialect=dialect))


def _with_names(dialect: Dialect) -> Dialect:
    """A dialect whose SQL has no doubled percent signs, and no mark of a value without a name."""
    named = copy(dialect)
    vars(named).pop("_type_memos", None)  # what types remember of a dialect is not to be shared
    named.paramstyle, named.positional = "named", False
    named.identifier_preparer = named.preparer(named)
    return named
