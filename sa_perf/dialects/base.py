"""What differs between databases, with an answer that is safe anywhere.

A `Dialect` holds the SQL that sa_perf writes for one database. It speaks through raw DBAPI cursors
on a connection that it is given, so no listener of SQLAlchemy ever sees its statements. Instances
hold no connection and may be shared between threads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from sa_perf.dialects.dbapi import DBAPIConnection
from sa_perf.dialects.json_answers import redacted_json
from sa_perf.dialects.plan import Plan, PlanNode
from sa_perf.dialects.question import Answer, Question
from sa_perf.dialects.relations import resolve, tables_by_alias
from sa_perf.dialects.reserved_words import reserved_words
from sa_perf.dialects.statement import Lexer, first_parameters, written_values
from sa_perf.errors import ExplainError, ExplainRefused, UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy import URL

    from sa_perf.dialects.facts import ColumnFacts, TableFacts

__all__ = ["Dialect"]

#: Longer texts are not explained: reading them would cost more than the plan is worth.
MAX_STATEMENT_CHARACTERS = 200_000
_MAX_REASON = 400
_QUOTED = re.compile(r"(?<!\w)(?:'[^']*'|\"[^\"]*\"|`[^`]*`)(?!\w)")
_ALL_QUOTED = re.compile(r"(?<!\w)['\"`].*['\"`](?!\w)|(?<!\w)['\"`].*\Z", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])-?\d[\w.:+-]*")
#: What errors quote that is no name of the statement's.
_PLACES = frozenset({"field list", "where clause", "on clause", "order clause", "having clause"})


class Dialect:
    """A database of which sa_perf knows nothing; the base of those that it knows.

    Args:
        name: SQLAlchemy's name of the database; by default the class's own.
        paramstyle: of the driver, by PEP 249, or SQLAlchemy's ``"numeric_dollar"``; by default
            that of the database's most used driver.
    """

    default_name: ClassVar[str] = "unknown"
    default_paramstyle: ClassVar[str] = "qmark"

    #: What a person calls it.
    title: ClassVar[str] = ""
    #: Grammar by which sqlglot reads it; None: its generic one.
    sqlglot_name: ClassVar[str | None] = None
    #: A backslash in a string takes the next character along.
    backslash_escapes: ClassVar[bool] = False
    #: ``#`` begins a comment.
    hash_comments: ClassVar[bool] = False
    #: ``/* ... /* ... */ ... */`` is one comment.
    nested_comments: ClassVar[bool] = False
    #: ``"..."`` may be a string.
    double_quoted_strings: ClassVar[bool] = False
    #: ``$tag$...$tag$`` is a string.
    dollar_strings: ClassVar[bool] = False
    #: ``[...]`` is a name.
    bracketed_names: ClassVar[bool] = False
    #: Encloses a name that is no plain word.
    quote_character: ClassVar[str] = '"'
    #: Some way to ask for a plan is known.
    explains: ClassVar[bool] = False
    #: The database can run a statement and report what each step did.
    analyzes: ClassVar[bool] = False
    #: An index may be made on an expression.
    expression_indexes: ClassVar[bool] = False
    #: An index may hold the rows of one condition only.
    partial_indexes: ClassVar[bool] = False
    #: An index may carry columns along that are no keys; operator classes stand behind keys.
    included_columns: ClassVar[bool] = False
    operator_classes: ClassVar[bool] = False
    #: An index can be made, and dropped, while others write: ``CONCURRENTLY``.
    concurrent_indexes: ClassVar[bool] = False
    #: LIKE takes ``a`` for ``A``, whatever the column's collation.
    like_ignores_case: ClassVar[bool] = False
    #: An index on an expression answers ``expression LIKE 'abc%'``.
    pattern_indexes_on_expressions: ClassVar[bool] = False
    #: Comparing a text column with a number turns the index on it off.
    number_defeats_text_index: ClassVar[bool] = False
    #: The memory that a sort may take, as a statement with ``{megabytes}``; None: no such setting.
    sort_memory_setting: ClassVar[str | None] = None
    #: Members of a plan in JSON whose texts hold no literal.
    _plain_texts: ClassVar[frozenset[str]] = frozenset()
    #: Functions that a reading statement may call but that change something, or wait.
    _acting_functions: ClassVar[re.Pattern[str]] = re.compile(
        r"nextval|setval|set_config|txid_current|get_lock|release_(?:all_)?locks?|sleep|benchmark"
        r"|load_file|load_extension|writefile|edit|lo_\w+|dblink\w*|pg_(?:try_)?advisory\w*"
        r"|pg_(?:sleep|terminate|cancel|reload|rotate|switch|create|drop|logical|replication|notify"
        r"|promote|wal|backup|start|stop|import|copy|write|file|current_xact|stat_\w*reset|log"
        r"|export|clear|restore|sync|prewarm)\w*|query_to_xml\w*",
        re.IGNORECASE,
    )
    _application_noise: ClassVar[re.Pattern[str]] = re.compile(
        r"\s*(?:SELECT\s+(?:1|\?)\s*;?\s*\Z|SET\b|SHOW\b|SAVEPOINT\b|RELEASE\b|ROLLBACK\b"
        r"|BEGIN\b|COMMIT\b|START\b)|.*\binformation_schema\b",
        re.IGNORECASE | re.DOTALL,
    )

    def __init__(self, name: str | None = None, *, paramstyle: str | None = None) -> None:
        self.name = name or self.default_name
        self.paramstyle = paramstyle or self.default_paramstyle
        self.lexer = Lexer(
            backslash_escapes=self.backslash_escapes,
            hash_comments=self.hash_comments,
            nested_comments=self.nested_comments,
            double_quoted_strings=self.double_quoted_strings,
            dollar_strings=self.dollar_strings,
            bracketed_names=self.bracketed_names,
        )
        #: For what the database writes itself: no ``#`` comments, but numbered subqueries.
        self.plan_lexer = Lexer(
            backslash_escapes=self.backslash_escapes,
            double_quoted_strings=self.double_quoted_strings,
            dollar_strings=self.dollar_strings,
            numbered_names=True,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, paramstyle={self.paramstyle!r})"

    # Questions

    def server_version(self, dbapi_connection: DBAPIConnection) -> str:
        """Ask the server for its version, as it words it."""
        raise self._unsupported()

    def is_in_memory(self, url: URL) -> bool:
        """Whether a second connection to this URL would see another, empty database."""
        return False

    def is_private(self, dbapi_connection: DBAPIConnection) -> bool:
        """Whether only this open connection sees its database. Sends one statement at most."""
        return False

    def is_application_statement(self, statement: str) -> bool:
        """Whether a statement is the application's own business.

        Settings, pings, catalog reads and transaction control are not: drivers, pools and
        reflection send them.
        """
        return not self._application_noise.match(statement[:2_000])

    def is_timeout(self, error: BaseException) -> bool:
        """Whether an error says that a time limit was reached."""
        return isinstance(error, TimeoutError)

    def is_busy(self, error: BaseException) -> bool:
        """Whether an error says that a lock stood in the way, so that later may do."""
        return False

    def acts(self, function: str) -> bool:
        """Whether a function is known to change something, or to wait, when it is called."""
        return self._acting_functions.fullmatch(function) is not None

    def begin_session(self, dbapi_connection: DBAPIConnection, timeout_seconds: float) -> None:
        """Make a connection of sa_perf's own ready: limits that hold for all that it does."""

    # Plans

    def require_explainable(self, statement: str) -> str:
        """Return the statement's kind, its first keyword in lower case, or refuse it.

        Raises:
            ExplainRefused: the statement is none that has a plan, or is too long to be read.
            UnsupportedDatabase: no way to ask this database is known.
        """
        if not self.explains:
            raise self._unsupported()
        if len(statement) > MAX_STATEMENT_CHARACTERS:
            raise ExplainRefused(
                f"the statement has {len(statement)} characters; at most "
                f"{MAX_STATEMENT_CHARACTERS} are explained"
            )
        if "\0" in statement:
            raise ExplainRefused("the statement holds a NUL character")
        return self.lexer.require_explainable(statement)

    def explain_sql(self, statement: str, *, analyze: bool = False, generic: bool = False) -> str:
        """The statement that asks for the plan of ``statement``.

        Args:
            statement: one statement, its placeholders as the driver takes them.
            analyze: run it and report what each step did.
            generic: plan it without values for its parameters.
        """
        raise self._unsupported()

    def parse_plan(self, raw: object) -> PlanNode:
        """Make a tree of what the database answered. Pure.

        Raises:
            ExplainError: it is no plan.
        """
        raise self._unsupported()

    def explain(
        self,
        dbapi_connection: DBAPIConnection,
        statement: str,
        parameters: object = None,
        *,
        paramstyle: str | None = None,
        timeout_seconds: float = 2.0,
        analyze: bool = False,
        keep_literals: bool = False,
    ) -> Plan:
        """Ask the database how it would run a statement.

        The connection must be in no transaction: one is opened and rolled back. (In SQLite none
        is opened, so there the connection may be in use.) Nothing is executed unless ``analyze``.

        Args:
            dbapi_connection: as the driver gives it, or SQLAlchemy's adapter of an async one.
            statement: as it goes to the driver.
            parameters: as they go to the driver; None if they are not known.
            paramstyle: the driver's; by default this dialect's.
            timeout_seconds: given to the server as its time and lock limit, > 0.
            analyze: run the statement and report what each step did.
            keep_literals: keep strings and numbers in the plan's texts.

        Raises:
            ExplainRefused: the statement is none that has a plan.
            ExplainError: the database gave no plan; the driver's error is its cause.
            UnsupportedDatabase: no way to ask this database is known.
        """
        kind = self.require_explainable(statement)
        if analyze and not self.analyzes:
            raise ExplainRefused(f"{self.title} cannot run a statement and report on its steps")
        question = Question(
            statement=statement,
            kind=kind,
            values=first_parameters(parameters),
            paramstyle=paramstyle or self.paramstyle,
            timeout_seconds=timeout_seconds,
            analyze=analyze,
        )
        with self._errors(statement, parameters):
            answer = self._ask(dbapi_connection, question)
        plan = self.plan_from(
            answer.raw,
            statement=statement,
            server_version=answer.server_version,
            generic=answer.generic,
            analyzed=analyze,
            keep_literals=keep_literals,
        )
        return plan if answer.database is None else replace(plan, database=answer.database)

    # Catalog

    def table_facts(
        self, dbapi_connection: DBAPIConnection, tables: Iterable[str]
    ) -> dict[str, TableFacts]:
        """Sizes, columns and indexes of tables; what is not found is left out.

        Args:
            dbapi_connection: in no transaction, see `explain`.
            tables: names, ``schema.name`` where the statement says so.
        """
        return {}

    def quote(self, name: str, schema: str | None = None) -> str:
        """A name as it must stand in SQL, behind its schema's."""
        if schema is not None:
            return f"{self.quote(schema)}.{self.quote(name)}"
        if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in reserved_words(self.name):
            return name
        mark = self.quote_character
        return mark + name.replace(mark, mark * 2) + mark

    def analyze_command(self, table: str, schema: str | None = None) -> str:
        """The statement that renews the planner's statistics of a table."""
        return f"ANALYZE {self.quote(table, schema)}"

    def is_text(self, type_name: str) -> bool:
        """Whether a catalog's type name is one of text."""
        return type_name.startswith(("char", "varchar", "text", "character", "nchar", "nvarchar"))

    def is_indexable(self, type_name: str) -> bool:
        """Whether a plain index can be made on a whole column of this type."""
        return not type_name.startswith(("json", "xml", "blob", "point", "geometry", "bytea"))

    def pattern_needs(self, column: ColumnFacts) -> str | None:
        """What must stand behind a column in an index that answers ``LIKE 'abc%'``.

        Returns:
            Empty for a plain index with another name, e.g. an operator class or a collation;
            None where a plain index on the column does.
        """
        return None

    def substring_index(
        self, table: str, columns: Sequence[str], *, expression: str | None = None
    ) -> str:
        """How to find a text in the middle of columns fast, as words or a statement.

        Args:
            table: its name.
            columns: of text, one at least.
            expression: of the only column, where that is what LIKE looks at.
        """
        listed = ", ".join(columns)
        return f"Search {listed} of {table} with a full-text index instead of LIKE"

    # For those below

    def plan_from(
        self,
        raw: object,
        *,
        statement: str,
        server_version: str,
        generic: bool = False,
        analyzed: bool = False,
        keep_literals: bool = False,
    ) -> Plan:
        """Make a plan of what the database answered. Pure.

        Raises:
            ExplainError: it is no plan.
        """
        tables = tables_by_alias(self.lexer.names_and_marks(statement))
        plan = Plan(
            database=self.name,
            server_version=server_version,
            statement=statement,
            root=resolve(self.parse_plan(raw), tables),
            raw=self._raw_text(raw),
            generic=generic,
            analyzed=analyzed,
        )
        return plan if keep_literals else self.redacted(plan)

    def redacted(self, plan: Plan) -> Plan:
        """The same plan without literals."""
        return replace(
            plan,
            statement=self.lexer.redact(plan.statement),
            root=plan.root.redacted(self.plan_lexer.redact),
            raw=self._redact_raw(plan.raw),
        )

    def reason(self, error: BaseException, statement: str, parameters: object) -> str:
        """An error in words that hold no bind value and no literal of the statement.

        Quoted parts and numbers are kept only where they are words of the statement's own.
        """
        known = self.lexer.words(self.lexer.redact(statement[:MAX_STATEMENT_CHARACTERS]))
        lines = self._message(error).strip().splitlines()
        text = lines[0] if lines else ""
        for value in written_values(parameters):
            if len(value) > 3:
                text = text.replace(value, "?")
        quoted = _QUOTED.findall(text)
        if not all(_last_name(part) in known | _PLACES for part in quoted):
            # A value may hold quotes itself, so all between the first and the last goes.
            text = _ALL_QUOTED.sub("?", text)
        return f"{type(error).__name__}: {_NUMBER.sub('?', text)}"[:_MAX_REASON]

    def _message(self, error: BaseException) -> str:
        return str(error)

    def _raw_text(self, raw: object) -> str:
        return raw if isinstance(raw, str) else json.dumps(raw)

    def _redact_raw(self, raw: str) -> str:
        return redacted_json(raw, self.plan_lexer.redact, self._plain_texts)

    def _ask(self, dbapi_connection: DBAPIConnection, question: Question) -> Answer:
        """Each database's own part of `explain`; what a driver raises becomes an `ExplainError`."""
        raise self._unsupported()

    def _unsupported(self) -> UnsupportedDatabase:
        return UnsupportedDatabase(f"no way to ask {self.name!r} for a plan is known")

    @contextmanager
    def _errors(self, statement: str, parameters: object) -> Iterator[None]:
        """Turn a driver's error into an `ExplainError` without values."""
        try:
            yield
        except (ExplainError, ExplainRefused):
            raise
        except Exception as error:
            raise ExplainError(self.reason(error, statement, parameters)) from error


def _last_name(quoted: str) -> str:
    return quoted.strip("'\"`").rpartition(".")[2].casefold()
