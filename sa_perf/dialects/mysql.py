"""MySQL and MariaDB: EXPLAIN FORMAT=JSON.

The values are interpolated by most drivers, so plans hold them as literals until they are redacted;
without values there is no plan. The MySQL forms (5.7, 8 and 9, JSON versions 1 and 2) are read as
the reference manual documents them and were not recorded from a server; those of MariaDB were.

EXPLAIN takes metadata locks, so each runs in a transaction of its own that is rolled back at once,
read only for a SELECT: both servers may evaluate constant parts of a query while they plan it, and
MySQL before 5.7 materialises derived tables for EXPLAIN (MySQL 5.6 manual, 13.8.2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from sa_perf.dialects.base import Dialect
from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.mysql_iterators import iterator_from
from sa_perf.dialects.mysql_nodes import block_from, decoded
from sa_perf.dialects.plan import PlanNode
from sa_perf.dialects.question import Answer, Question
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.facts import TableFacts

__all__ = ["MariaDB", "MySQL"]

#: Query killed (1317), lock wait (1205), max_statement_time (1969), max_execution_time (3024).
_TIMEOUTS = frozenset({1205, 1317, 1969, 3024})
_LOCK_WAIT = 1205
_WRITES = frozenset({"insert", "update", "delete", "replace", "merge"})


class MySQL(Dialect):
    """MySQL from 5.7 on; behaves as `MariaDB` where it finds one behind a ``mysql://`` URL."""

    default_name = "mysql"
    default_paramstyle = "format"
    title = "MySQL"
    sqlglot_name = "mysql"
    backslash_escapes = True
    hash_comments = True
    double_quoted_strings = True
    quote_character = "`"
    explains = True
    expression_indexes = True
    number_defeats_text_index = True
    #: Names, sizes and costs.
    _plain_texts: ClassVar[frozenset[str]] = frozenset(
        {
            "table_name", "key", "possible_keys", "used_key_parts", "ref", "used_columns",
            "access_type", "key_length", "filtered", "buffer_size", "r_buffer_size",
            "query_cost", "read_cost", "eval_cost", "prefix_cost", "sort_cost",
            "data_read_per_join", "index_name", "schema_name", "alias", "key_columns",
            "lookup_columns", "json_schema_version",
        }
    )  # fmt: skip
    _application_noise: ClassVar[re.Pattern[str]] = re.compile(
        r"\s*(?:SELECT\s+(?:1|\?|%s|DATABASE\(\)|VERSION\(\)|@@[\w.]+(?:\s*,\s*@@[\w.]+)*)\s*;?\s*\Z"
        r"|SET\b|SHOW\b|SAVEPOINT\b|RELEASE\b|ROLLBACK\b|BEGIN\b|COMMIT\b|START\b|USE\b|DESC\b"
        r"|DESCRIBE\b|EXPLAIN\b|ANALYZE\b|OPTIMIZE\b)"
        r"|.*\b(?:information_schema|performance_schema)\b\.",
        re.IGNORECASE | re.DOTALL,
    )

    def server_version(self, dbapi_connection: DBAPIConnection) -> str:
        """Version as ``SELECT VERSION()`` gives it; holds the word MariaDB where it is one."""
        return str(fetch(dbapi_connection, "SELECT VERSION()")[0][0])

    def is_timeout(self, error: BaseException) -> bool:
        """Whether the statement or a lock took longer than the limit."""
        return super().is_timeout(error) or _code(error) in _TIMEOUTS

    def is_busy(self, error: BaseException) -> bool:
        """Whether a lock was not to be had in time."""
        return _code(error) == _LOCK_WAIT

    def explain_sql(self, statement: str, *, analyze: bool = False, generic: bool = False) -> str:
        """``EXPLAIN FORMAT=JSON``, or MariaDB's ``ANALYZE FORMAT=JSON``, before the statement."""
        return f"{'ANALYZE' if analyze else 'EXPLAIN'} FORMAT=JSON {statement}"

    def _ask(self, dbapi_connection: DBAPIConnection, question: Question) -> Answer:
        """Ask in a transaction that is rolled back; parameters need their values."""
        text = question.statement
        reads = self._reads(question)
        if question.analyze and not reads:
            raise ExplainRefused("ANALYZE would carry out this write; explain it without")
        if question.values is None:
            text = self._without_placeholders(text, question.paramstyle)
        sql = self.explain_sql(text, analyze=question.analyze)
        version = self.server_version(dbapi_connection)
        mariadb = "mariadb" in version.lower()
        if mariadb:
            # For this one statement; a limit of the session would outlive it in a proxy.
            sql = f"SET STATEMENT {_limits(question.timeout_seconds)} FOR {sql}"
        else:
            _limit_session(dbapi_connection, question.timeout_seconds)
        with _transaction(dbapi_connection, read_only=reads):
            rows = fetch(dbapi_connection, sql, question.values)
        if not rows or not rows[0]:
            raise ExplainError("the server gave no plan")
        return Answer(
            raw=decoded(rows[0][0]),
            server_version=version,
            database=MariaDB.default_name if mariadb else None,
        )

    def _without_placeholders(self, statement: str, style: str) -> str:
        if self.lexer.placeholders(statement, style):
            raise ExplainError(
                f"{self.title} plans for given values only, and those of this statement's "
                "parameters are not known"
            )
        return self.lexer.rewrite(statement, style, str)

    def parse_plan(self, raw: object) -> PlanNode:
        """Make a tree of the JSON, as text or as Python's values, whichever server gave it.

        Raises:
            ExplainError: it is no plan.
        """
        answer = decoded(raw)
        if not isinstance(answer, Mapping):
            raise ExplainError("the answer is no object")
        if "query_block" in answer:
            return block_from(answer["query_block"])
        if "query_plan" in answer or "operation" in answer:
            return iterator_from(answer.get("query_plan", answer))
        raise ExplainError("the answer holds neither 'query_block' nor 'query_plan'")

    def table_facts(
        self, dbapi_connection: DBAPIConnection, tables: Iterable[str]
    ) -> dict[str, TableFacts]:
        """See `Dialect.table_facts`. Reads information_schema; the sizes are InnoDB's estimates."""
        from sa_perf.dialects.mysql_catalog import table_facts

        with _transaction(dbapi_connection, read_only=True):
            return table_facts(dbapi_connection, tables)

    def analyze_command(self, table: str, schema: str | None = None) -> str:
        """``ANALYZE TABLE``."""
        return f"ANALYZE TABLE {self.quote(table, schema)}"

    def is_indexable(self, type_name: str) -> bool:
        """Not TEXT, which takes an index on its first characters only."""
        texts = ("text", "tinytext", "mediumtext", "longtext", "tinyblob", "mediumblob", "longblob")
        return super().is_indexable(type_name) and not type_name.startswith(texts)

    def is_text(self, type_name: str) -> bool:
        """Text, ENUM and SET: a number turns their indexes off, or is taken for a position."""
        return super().is_text(type_name) or type_name.endswith("text")

    def substring_index(
        self, table: str, columns: Sequence[str], *, expression: str | None = None
    ) -> str:
        """A full-text index: it finds words and their beginnings."""
        name = self.quote(f"ft_{table}_{'_'.join(columns)}"[:64])
        listed = ", ".join(self.quote(column) for column in columns)
        return (
            f"CREATE FULLTEXT INDEX {name} ON {self.quote(table)} ({listed}), and search whole "
            f"words with MATCH ({listed}) AGAINST (? IN BOOLEAN MODE)"
        )

    def _reads(self, question: Question) -> bool:
        if question.kind in _WRITES:
            return False
        return question.kind != "with" or not (self.lexer.words(question.statement) & _WRITES)

    def _message(self, error: BaseException) -> str:
        text = str(error.args[-1] if error.args else error)
        # A syntax error quotes the statement from the fault on, values and all.
        return re.sub(r"\s+near\s+'.*", "", text, flags=re.DOTALL)


class MariaDB(MySQL):
    """MariaDB from 10.2 on."""

    default_name = "mariadb"
    title = "MariaDB"
    analyzes = True
    # MariaDB indexes generated columns, not expressions (MDEV-6017, MDEV-35616).
    expression_indexes = False


def _limits(timeout_seconds: float) -> str:
    # Lock limits are whole seconds.
    seconds = max(1, math.ceil(timeout_seconds))
    return (
        f"max_statement_time={timeout_seconds:.3f}, lock_wait_timeout={seconds}, "
        f"innodb_lock_wait_timeout={seconds}"
    )


def _limit_session(dbapi_connection: DBAPIConnection, timeout_seconds: float) -> None:
    seconds = max(1, math.ceil(timeout_seconds))
    milliseconds = max(1, round(timeout_seconds * 1_000))
    fetch(
        dbapi_connection,
        f"SET SESSION lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}, "
        f"max_execution_time = {milliseconds}",
    )


@contextmanager
def _transaction(dbapi_connection: DBAPIConnection, *, read_only: bool) -> Iterator[None]:
    """A transaction that is rolled back; MariaDB explains no write in a read-only one."""
    fetch(dbapi_connection, f"START TRANSACTION{' READ ONLY' if read_only else ''}")
    try:
        yield
    finally:
        fetch(dbapi_connection, "ROLLBACK")


def _code(error: BaseException) -> int | None:
    source = error.__cause__ if isinstance(error, ExplainError) and error.__cause__ else error
    for value in (*source.args[:1], getattr(source, "errno", None)):
        if isinstance(value, int):
            return value
    return None
