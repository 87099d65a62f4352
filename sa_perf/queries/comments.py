"""Tags in a comment behind each statement, for the server's own logs.

The form is sqlcommenter's (https://google.github.io/sqlcommenter/spec/): sorted, percent-encoded,
``/*route='GET%20%2Fa'*/``. The comment is added as the statement goes to the driver, so that
SQLAlchemy's cache of compiled statements does not see it. Caches by text do, those of prepared
statements in drivers (psycopg, asyncpg, sqlite3): ``application``, ``route`` and ``scope`` have few
values, each with entries of its own there; ``traceparent`` is another one each time, and nothing is
found again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import event

from sa_perf.queries.recorder import IGNORE
from sa_perf.queries.scopes import current_scope

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPICursor

    from sa_perf.queries.execution import Context
    from sa_perf.queries.faults import Faults
    from sa_perf.queries.shape import Parameters

__all__ = ["Comments", "statement_tags"]

_LONGEST_VALUE = 200
_LINE_COMMENT = re.compile(r"(?:--|#)[^\n]*\Z")
_MAX_ENCODED = 4_096
_given: ContextVar[dict[str, str] | None] = ContextVar("sa_perf_statement_tags", default=None)


@contextmanager
def statement_tags(**tags: str) -> Iterator[None]:
    """Say the values of tags for the statements of this block, over those of scopes.

    Which of them are written is for the setting ``comment_tags`` to say.

    Example:
        >>> trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        >>> with statement_tags(traceparent=trace):
        ...     pass
    """
    token = _given.set({**(_given.get() or {}), **tags})
    try:
        yield
    finally:
        _given.reset(token)


class Comments:
    """A listener on one engine that adds the comment.

    Statements that have a comment at their end already are left as they are, and so are those of
    ``executemany``: drivers rewrite these by their text (PyMySQL to one INSERT of many rows), which
    a comment would prevent.

    Args:
        engine: to listen to.
        tags: names of those to write; ``route`` is the outermost scope, ``scope`` the innermost.
        application: value of the tag of that name; None: none.
        faults: where faults of our own are counted.
    """

    def __init__(
        self, engine: Engine, tags: tuple[str, ...], *, application: str | None, faults: Faults
    ) -> None:
        self._engine = engine
        self._tags = sorted(tags)
        self._application = application
        self._faults = faults
        # What a driver takes for the beginning of a parameter is written twice.
        self._doubled = engine.dialect.paramstyle in ("format", "pyformat")
        self._encoded: dict[str, str] = {}

    def open(self) -> None:
        """Put the listener in place."""
        event.listen(self._engine, "before_cursor_execute", self._add, retval=True)

    def close(self) -> None:
        """Take it away."""
        event.remove(self._engine, "before_cursor_execute", self._add)

    def _add(
        self,
        conn: Connection,
        cursor: DBAPICursor,
        statement: str,
        parameters: Parameters,
        context: Context,
        executemany: bool,
    ) -> tuple[str, Parameters]:
        if executemany:
            return statement, parameters
        try:
            options = context.execution_options
            comment = "" if IGNORE in options else self._comment()
            if comment and not statement.rstrip().endswith("*/"):
                if self._doubled and (parameters or not options.get("no_parameters", False)):
                    comment = comment.replace("%", "%%")
                return _behind(statement.rstrip(), comment), parameters
        except Exception as error:
            self._faults.note("comments", error)
        return statement, parameters

    def _comment(self) -> str:
        given = _given.get() or {}
        run = current_scope()
        names = [one.name for one in run.enclosing() if not one.ended_ns] if run is not None else []
        values = {
            "application": self._application,
            "route": names[-1] if names else None,
            "scope": names[0] if names else None,
            **given,
        }
        found = [(tag, values.get(tag)) for tag in self._tags]
        written = ",".join(f"{tag}='{self._quoted(value)}'" for tag, value in found if value)
        return f"/*{written}*/" if written else ""

    def _quoted(self, value: Any) -> str:  # noqa: ANN401  # an application's own
        text = str(value)[:_LONGEST_VALUE]
        quoted = self._encoded.get(text)
        if quoted is None:
            if len(self._encoded) >= _MAX_ENCODED:
                self._encoded.clear()
            quoted = self._encoded[text] = quote(text, safe="", errors="replace")
        return quoted


def _behind(statement: str, comment: str) -> str:
    """In front of a semicolon, which some statements must end with: MERGE, blocks of PL/SQL."""
    end = ";" if statement.endswith(";") else ""
    # A comment to the end of the line would take it in.
    between = "\n" if _LINE_COMMENT.search(statement) else " "
    return f"{statement.removesuffix(';')}{between}{comment}{end}"
