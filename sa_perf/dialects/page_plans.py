"""Plans of a page's statements, within the application's transaction.

`Dialect.explain` opens a transaction and rolls it back; here none of the application's is touched,
so that its uncommitted tables and rows count too. A planner that takes a small table for one that
is best sorted can be steered towards indexes, which tells whether one would do. Nothing is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement, Executable

from sa_perf.dialects import dialect_for
from sa_perf.dialects.dbapi import fetch
from sa_perf.errors import ExplainError, UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy import Connection, FromClause
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.sql.compiler import SQLCompiler

    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.plan import Plan, PlanNode

__all__ = ["PagePlans", "page_plans_for"]

#: The recorder leaves these statements out, and a plan is read at once.
_OPTIONS = {"sa_perf_ignore": True, "stream_results": False}
_numbers = count(1)
_PARTIAL_SORT = re.compile(r"Incremental Sort|USE TEMP B-TREE FOR (?:LAST|RIGHT PART)")
#: Subqueries that do not feed rows to the statement around them.
_ASIDE = re.compile(r"(?:CORRELATED|SCALAR|LIST|REUSE) ")


class PagePlans:
    """A database that gives no plans; the base of those that do.

    Args:
        dialect: SQLAlchemy's.
    """

    #: An index can hold NULLs at the end that is not the database's own.
    nulls_in_indexes = False

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self.dialect = dialect
        self.ours = dialect_for(dialect)

    @property
    def explains(self) -> bool:
        """Whether plans are to be had."""
        return self.ours.explains

    @property
    def descending_indexes(self) -> bool:
        """Whether the columns of an index may have different directions."""
        return True

    def plan(
        self, connection: Connection, stmt: Select[Any], parameters: Mapping[str, object]
    ) -> Plan:
        """How the planner would run a statement now.

        Raises:
            ExplainError: there is no plan; the transaction is as it was.
            UnsupportedDatabase: no way to ask this database is known.
        """
        with self.contained(connection):
            return self._asked(connection, stmt, parameters)

    def steered(
        self,
        connection: Connection,
        stmt: Select[Any],
        parameters: Mapping[str, object],
        tables: Mapping[FromClause, TableFacts],
    ) -> Iterator[Plan]:
        """Plans of the same statement with sorts and scans made unattractive; may be none.

        Args:
            connection: in whatever transaction.
            stmt: the statement.
            parameters: its values.
            tables: what it is sorted by, as the statement names it, with what the catalog says.
        """
        return iter(())

    def facts(self, connection: Connection, tables: Iterable[Table]) -> dict[str, TableFacts]:
        """What the catalog says about tables, by their full names."""
        names = [table.fullname for table in tables]
        with self.contained(connection) as dbapi_connection:
            return self._facts(dbapi_connection, names)

    def main_line(self, plan: Plan) -> Iterator[PlanNode]:
        """The steps that a page's rows come through, without subqueries for single values."""
        waiting = [plan.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [child for child in reversed(node.children) if not self._is_aside(child)]

    def sorts_partly(self, node: PlanNode) -> bool:
        """Whether a sort works on rows that an index gives in order but for its last keys."""
        return _PARTIAL_SORT.match(node.label) is not None

    def seek_condition(self, plan: Plan, node: PlanNode) -> str:
        """By what an index is entered, in lower case; empty where it is read from its end."""
        return (node.index_condition or "").lower()

    def _is_aside(self, node: PlanNode) -> bool:
        return _ASIDE.match(node.label) is not None

    @contextmanager
    def contained(self, connection: Connection) -> Iterator[DBAPIConnection]:
        """Leave the transaction as it was, whatever happens."""
        yield _dbapi(connection)

    def _facts(self, dbapi_connection: DBAPIConnection, names: list[str]) -> dict[str, TableFacts]:
        return {}

    def _raw(self, rows: list[tuple[object, ...]]) -> object:
        return rows[0][0]

    def _mark(self) -> str:
        """What stands before the statement."""
        return ""

    def _asked(
        self, connection: Connection, stmt: Select[Any], parameters: Mapping[str, object]
    ) -> Plan:
        if not self.explains:
            raise UnsupportedDatabase(f"no way to ask {self.ours.name!r} for a plan is known")
        try:
            result = connection.execute(
                _Explained(stmt, self._mark()), dict(parameters), execution_options=_OPTIONS
            )
            # Not through SQLAlchemy: it would take the plan's columns for those of the statement.
            rows = [tuple(row) for row in result.cursor.fetchall()]
            result.close()
        except DBAPIError as error:
            reason = self.ours.reason(error.orig or error, error.statement or "", error.params)
            raise ExplainError(reason) from error.orig
        if not rows:
            raise ExplainError("the server gave no plan")
        version = connection.dialect.server_version_info or ()
        return self.ours.plan_from(
            self._raw(rows),
            statement=str(stmt.compile(dialect=connection.dialect)),
            server_version=".".join(map(str, version)),
        )


class _SQLite(PagePlans):
    """The planner reckons with a million rows unless ANALYZE told it otherwise."""

    def _facts(self, dbapi_connection: DBAPIConnection, names: list[str]) -> dict[str, TableFacts]:
        from sa_perf.dialects.sqlite_catalog import table_facts

        return table_facts(dbapi_connection, names)

    def _raw(self, rows: list[tuple[object, ...]]) -> object:
        return rows

    def _mark(self) -> str:
        """A comment that no other has: a cached EXPLAIN does not see that an index went."""
        return f"/* {next(_numbers)} */ "


class _PostgreSQL(PagePlans):
    """Settings steer it; a savepoint takes them back and a failed statement with them."""

    nulls_in_indexes = True

    def steered(
        self,
        connection: Connection,
        stmt: Select[Any],
        parameters: Mapping[str, object],
        tables: Mapping[FromClause, TableFacts],
    ) -> Iterator[Plan]:
        """See `PagePlans.steered`: without sorts and scans unless nothing else is possible."""
        with self.contained(connection) as dbapi_connection:
            for setting in ("seqscan", "sort", "bitmapscan"):
                fetch(dbapi_connection, f"SET LOCAL enable_{setting} = off")
            plan = self._asked(connection, stmt, parameters)
        yield plan

    def _is_aside(self, node: PlanNode) -> bool:
        place = node.detail.get("Parent Relationship")
        named = str(node.detail.get("Subplan Name", "")).startswith("CTE ")
        return place in ("SubPlan", "InitPlan") and not named

    @contextmanager
    def contained(self, connection: Connection) -> Iterator[DBAPIConnection]:
        dbapi_connection = _dbapi(connection)
        autocommit = bool(getattr(dbapi_connection, "autocommit", False))
        begin = "BEGIN" if autocommit else "SAVEPOINT sa_perf_page_plans"
        end = ["ROLLBACK"] if autocommit else [
            "ROLLBACK TO SAVEPOINT sa_perf_page_plans", "RELEASE SAVEPOINT sa_perf_page_plans",
        ]  # fmt: skip
        fetch(dbapi_connection, begin)
        try:
            yield dbapi_connection
        finally:
            for one in end:
                fetch(dbapi_connection, one)

    def _facts(self, dbapi_connection: DBAPIConnection, names: list[str]) -> dict[str, TableFacts]:
        from sa_perf.dialects.postgresql_catalog import table_facts

        return table_facts(dbapi_connection, names)


class _MySQL(PagePlans):
    """A hint makes every way but one index look expensive; each index is tried.

    Where tables are joined, the one that FROM names first is read first as well.
    """

    @property
    def descending_indexes(self) -> bool:
        """From MySQL 8.0 and MariaDB 10.8 on; before, DESC was read and ignored."""
        version = tuple(self.dialect.server_version_info or ())
        return version >= ((10, 8) if self.ours.name == "mariadb" else (8, 0))

    def steered(
        self,
        connection: Connection,
        stmt: Select[Any],
        parameters: Mapping[str, object],
        tables: Mapping[FromClause, TableFacts],
    ) -> Iterator[Plan]:
        """See `PagePlans.steered`: two for each index of the tables."""
        for named, facts in tables.items():
            for index in facts.indexes:
                if index.method != "btree":
                    continue
                name = self.ours.quote(index.name)
                hinted = stmt.with_hint(named, f"FORCE INDEX ({name})")
                yield self.plan(connection, hinted, parameters)
                straight = hinted.prefix_with("STRAIGHT_JOIN")
                yield self.plan(connection, straight, parameters)

    def seek_condition(self, plan: Plan, node: PlanNode) -> str:
        """The columns by which the index is entered: what it filters by is no seek."""
        if node.operation == "index_full_scan" or node.index is None:
            return ""
        names = {node.alias, node.relation}
        for table in _tables(json.loads(plan.raw)):
            if table.get("key") == node.index and table.get("table_name") in names:
                conditions = (node.filter or "") + (node.index_condition or "")
                if table.get("using_index_for_group_by") and not table.get("attached_condition"):
                    return ""  # from group to group, from the first on
                parts = table.get("used_key_parts")
                if isinstance(parts, list):
                    return ", ".join(map(str, parts)).lower()
                # Of an index with descending columns MariaDB does not tell its parts.
                return conditions.lower()
        return ""

    def _is_aside(self, node: PlanNode) -> bool:
        return node.operation == "subquery"

    def _facts(self, dbapi_connection: DBAPIConnection, names: list[str]) -> dict[str, TableFacts]:
        from sa_perf.dialects.mysql_catalog import table_facts

        return table_facts(dbapi_connection, names)


_KNOWN: dict[str, type[PagePlans]] = {
    "sqlite": _SQLite,
    "postgresql": _PostgreSQL,
    "mysql": _MySQL,
    "mariadb": _MySQL,
}


def page_plans_for(dialect: SQLAlchemyDialect) -> PagePlans:
    """How a database is asked; of one that sa_perf does not know, one that gives no plans."""
    return _KNOWN.get(dialect.name, PagePlans)(dialect)


class _Explained(Executable, ClauseElement):
    """Asks for the plan of a SELECT, with its parameters."""

    inherit_cache = False

    def __init__(self, stmt: Select[Any], mark: str) -> None:
        self.stmt = stmt
        self.mark = mark


@compiles(_Explained)
def _explain(element: _Explained, compiler: SQLCompiler, **keywords: Any) -> str:  # noqa: ANN401
    statement = compiler.process(element.stmt, **keywords)
    return dialect_for(compiler.dialect).explain_sql(f"{element.mark}{statement}")


def _dbapi(connection: Connection) -> DBAPIConnection:
    found: DBAPIConnection = connection.connection.dbapi_connection  # type: ignore[assignment]
    return found


def _tables(item: object) -> Iterator[Mapping[str, object]]:
    """Every table of a plan in JSON."""
    if isinstance(item, dict):
        if "table_name" in item:
            yield item
        for value in item.values():
            yield from _tables(value)
    elif isinstance(item, list):
        for value in item:
            yield from _tables(value)
