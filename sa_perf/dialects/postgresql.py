"""PostgreSQL: EXPLAIN (FORMAT JSON), with the real values or for any.

A plain EXPLAIN takes the locks of its statement and holds them to the end of the transaction, so
each runs in a read-only transaction with time limits that is rolled back at once. Plain EXPLAIN of
a write is allowed there; EXPLAIN ANALYZE of one is not, and nextval() neither (PostgreSQL 18
manual, SET TRANSACTION). Node types are those of src/backend/commands/explain.c up to version 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from sa_perf.dialects.base import Dialect
from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.json_answers import decoded
from sa_perf.dialects.plan import PlanNode
from sa_perf.dialects.postgresql_nodes import node_from
from sa_perf.dialects.question import Answer, Question
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.facts import ColumnFacts, TableFacts

__all__ = ["PostgreSQL", "read_only"]

_CANCELED = "57014"
_LOCK_NOT_AVAILABLE = "55P03"
_UNDEFINED_TABLE = "42P01"
_GENERIC_PLAN_VERSION = 16
_FORCE_GENERIC_VERSION = 12
_prepared = count(1)


class PostgreSQL(Dialect):
    """PostgreSQL from 12 on; a plan without parameters by GENERIC_PLAN or a prepared statement."""

    default_name = "postgresql"
    default_paramstyle = "pyformat"
    title = "PostgreSQL"
    sqlglot_name = "postgres"
    dollar_strings = True
    nested_comments = True
    explains = True
    analyzes = True
    expression_indexes = True
    pattern_indexes_on_expressions = True
    partial_indexes = True
    operator_classes = True
    included_columns = True
    concurrent_indexes = True
    sort_memory_setting = "SET LOCAL work_mem = '{megabytes}MB'"
    _plain_texts: ClassVar[frozenset[str]] = frozenset(
        {"Relation Name", "Schema", "Alias", "Index Name", "CTE Name", "Function Name", "Node Type"}
    )
    _application_noise: ClassVar[re.Pattern[str]] = re.compile(
        r"\s*(?:SELECT\s+(?:1|\$1|\?)\s*;?\s*\Z|SET\b|SHOW\b|RESET\b|SAVEPOINT\b|RELEASE\b"
        r"|ROLLBACK\b|BEGIN\b|COMMIT\b|START\b|DISCARD\b|LISTEN\b|UNLISTEN\b|NOTIFY\b|DEALLOCATE\b"
        r"|EXPLAIN\b|VACUUM\b|ANALYZE\b"
        r"|SELECT\s+(?:pg_catalog\.)?(?:version|current_schema|current_database)\s*\(\s*\))"
        r"|.*\b(?:pg_catalog|information_schema)\.(?!version\b)",
        re.IGNORECASE | re.DOTALL,
    )

    def server_version(self, dbapi_connection: DBAPIConnection) -> str:
        """Version as ``SHOW server_version`` gives it."""
        return str(fetch(dbapi_connection, "SHOW server_version")[0][0])

    def is_timeout(self, error: BaseException) -> bool:
        """Whether ``statement_timeout`` or ``lock_timeout`` ran out."""
        return super().is_timeout(error) or _sqlstate(error) in (_CANCELED, _LOCK_NOT_AVAILABLE)

    def is_busy(self, error: BaseException) -> bool:
        """Whether a lock was not to be had in time."""
        return _sqlstate(error) == _LOCK_NOT_AVAILABLE

    def explain_sql(self, statement: str, *, analyze: bool = False, generic: bool = False) -> str:
        """``EXPLAIN (FORMAT JSON, ...)`` before the statement."""
        options = "FORMAT JSON"
        if analyze:
            options += ", ANALYZE, BUFFERS"
        elif generic:
            options += ", GENERIC_PLAN"
        return f"EXPLAIN ({options}) {statement}"

    def _ask(self, dbapi_connection: DBAPIConnection, question: Question) -> Answer:
        """Ask in a read-only transaction that is rolled back."""
        statement, style = question.statement, question.paramstyle
        generic = question.values is None and bool(self.lexer.placeholders(statement, style))
        if generic and question.analyze:
            raise ExplainRefused("the statement has parameters, and to run it they are needed")
        with read_only(dbapi_connection, question.timeout_seconds):
            version = self.server_version(dbapi_connection)
            if generic:
                rows = self._generic(dbapi_connection, statement, style, _major(version))
            else:
                if question.values is None:
                    statement = self.lexer.rewrite(statement, style, str)
                sql = self.explain_sql(statement, analyze=question.analyze)
                rows = fetch(dbapi_connection, sql, question.values)
        if not rows or not rows[0]:
            raise ExplainError("the server gave no plan")
        return Answer(raw=decoded(rows[0][0]), server_version=version, generic=generic)

    def parse_plan(self, raw: object) -> PlanNode:
        """Make a tree of the JSON, as text or as Python's values.

        Raises:
            ExplainError: it is no plan.
        """
        answer = decoded(raw)
        item = answer[0] if isinstance(answer, list) and answer else answer
        plan = item.get("Plan") if isinstance(item, Mapping) else None
        if not isinstance(plan, Mapping):
            raise ExplainError("the answer holds no 'Plan'")
        return node_from(plan)

    def table_facts(
        self, dbapi_connection: DBAPIConnection, tables: Iterable[str]
    ) -> dict[str, TableFacts]:
        """See `Dialect.table_facts`. Reads the catalog only, in a read-only transaction."""
        from sa_perf.dialects.postgresql_catalog import table_facts

        with read_only(dbapi_connection, 2.0):
            return table_facts(dbapi_connection, tables)

    def is_indexable(self, type_name: str) -> bool:
        """B-trees take no json, arrays and geometry; jsonb would need its own kind of index."""
        return super().is_indexable(type_name) and not type_name.endswith("[]")

    def pattern_needs(self, column: ColumnFacts) -> str | None:
        """``text_pattern_ops``, unless the collation is C (manual, 11.10 Operator Classes)."""
        if column.collation in ("C", "POSIX", "ucs_basic"):
            return None
        long = column.type.startswith(("character varying", "varchar"))
        return "varchar_pattern_ops" if long else "text_pattern_ops"

    def substring_index(
        self, table: str, columns: Sequence[str], *, expression: str | None = None
    ) -> str:
        """A trigram index; one on several columns answers conditions on each of them."""
        name = self.quote(f"ix_{table}_{'_'.join(columns)}"[:58] + "_trgm")
        keys = [self.quote(column) for column in columns]
        if expression is not None:
            keys = [f"({expression})"]
        listed = ", ".join(f"{key} gin_trgm_ops" for key in keys)
        return (
            "CREATE EXTENSION IF NOT EXISTS pg_trgm; "
            f"CREATE INDEX {name} ON {self.quote(table)} USING gin ({listed})"
        )

    def _generic(
        self, dbapi_connection: DBAPIConnection, statement: str, style: str, version: int
    ) -> list[tuple[object, ...]]:
        """Plan a statement for any values."""
        keys: list[str | int] = []

        def numbered(key: str | int) -> str:
            if style == "numeric_dollar":
                keys.extend(k for k in range(int(key) + 1) if k not in keys)
                return f"${int(key) + 1}"
            if key not in keys:
                keys.append(key)
            return f"${keys.index(key) + 1}"

        text = self.lexer.rewrite(statement, style, numbered)
        return self.explain_for_any(
            dbapi_connection, text, len(keys), version=version, paramstyle=style
        )

    def explain_for_any(
        self,
        dbapi_connection: DBAPIConnection,
        statement: str,
        parameters: int,
        *,
        version: int,
        paramstyle: str,
    ) -> list[tuple[object, ...]]:
        """Ask for the plan that a statement gets whatever its values are.

        Args:
            dbapi_connection: in a transaction that will be rolled back.
            statement: its parameters as ``$1``, ``$2`` and so on.
            parameters: how many there are.
            version: of the server, its first number.
            paramstyle: the driver's.

        Raises:
            ExplainError: the server is too old for that.
        """
        if version < _FORCE_GENERIC_VERSION:
            raise ExplainError(
                f"PostgreSQL {version} cannot plan a statement without the values of its "
                f"parameters; {_FORCE_GENERIC_VERSION} and later can"
            )
        # asyncpg sends all by the extended protocol, where GENERIC_PLAN wants values after all.
        if version >= _GENERIC_PLAN_VERSION and paramstyle == "pyformat":
            return fetch(dbapi_connection, self.explain_sql(statement, generic=True))
        name = f"sa_perf_{next(_prepared)}"
        fetch(dbapi_connection, f"PREPARE {name} AS {statement}")
        try:
            fetch(dbapi_connection, "SET LOCAL plan_cache_mode = force_generic_plan")
            nulls = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
            return fetch(dbapi_connection, self.explain_sql(f"EXECUTE {name}{nulls}"))
        finally:
            # Rolling back would not take it away. In a failed transaction this fails too; the
            # connection is then closed by its owner.
            with suppress(Exception):
                fetch(dbapi_connection, f"DEALLOCATE {name}")

    def _message(self, error: BaseException) -> str:
        first = error.args[0] if error.args else None
        text = str(first.get("M", "")) if isinstance(first, Mapping) else str(error)
        # SQLAlchemy 2.0 puts asyncpg's class before the message.
        text = re.sub(r"<class '[\w.]+'>: ", "", text)
        if _sqlstate(error) == _UNDEFINED_TABLE:
            lines = text.splitlines() or [""]
            text = f"{lines[0]} (a temporary table, or one outside of this search_path?)"
        return text


@contextmanager
def read_only(dbapi_connection: DBAPIConnection, timeout_seconds: float) -> Iterator[None]:
    """A read-only transaction with limits, rolled back at its end.

    Args:
        dbapi_connection: in no transaction.
        timeout_seconds: limit for each statement and each wait for a lock, > 0.
    """
    milliseconds = max(1, round(timeout_seconds * 1_000))
    # A driver in autocommit mode begins no transaction, without which SET LOCAL does nothing.
    autocommit = bool(getattr(dbapi_connection, "autocommit", False))
    begin = "BEGIN TRANSACTION READ ONLY" if autocommit else "SET TRANSACTION READ ONLY"
    try:
        fetch(dbapi_connection, begin)
        fetch(dbapi_connection, f"SET LOCAL statement_timeout = {milliseconds}")
        fetch(dbapi_connection, f"SET LOCAL lock_timeout = {milliseconds}")
        yield
    finally:
        if autocommit:
            fetch(dbapi_connection, "ROLLBACK")
        else:
            dbapi_connection.rollback()


def _sqlstate(error: BaseException) -> str | None:
    """The error's code by whatever name the driver gives it."""
    source = error.__cause__ if isinstance(error, ExplainError) and error.__cause__ else error
    for name in ("sqlstate", "pgcode"):
        code = getattr(source, name, None)
        if isinstance(code, str):
            return code
    first = source.args[0] if source.args else None
    code = first.get("C") if isinstance(first, Mapping) else None
    return code if isinstance(code, str) else None


def _major(version: str) -> int:
    match = re.match(r"\d+", version)
    return int(match.group()) if match else 0
