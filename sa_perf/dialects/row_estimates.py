"""How many rows a statement gives, by each database's own statistics.

PostgreSQL, MySQL and MariaDB are asked for a plan: for a whole table the planner answers from the
statistics too (``pg_class.reltuples`` at today's size, InnoDB's row count), and it sees partitions,
schemas and row security, which a look into the catalog would not. SQLite's planner gives no row
counts, so there ``sqlite_stat1``, which ANALYZE writes, answers for whole tables only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, MetaData, Select, String, Table, func, literal_column, select
from sqlalchemy.ext.compiler import compiles

from sa_perf.dialects import dialect_for

if TYPE_CHECKING:
    from sqlalchemy import Connection, FromClause
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.sql.compiler import SQLCompiler

    from sa_perf.dialects.plan import PlanNode

    #: Runs a statement where the estimate is wanted.
    Execute: TypeAlias = Callable[[Select[Any]], Any]

__all__ = ["RowEstimates", "row_estimates_for"]

#: The recorder leaves out statements that carry it.
_UNRECORDED = {"sa_perf_ignore": True}
_JOINS = frozenset({"nested_loop", "hash_join", "merge_join"})
_PASS_ON = frozenset({"query", "filter", "sort", "project"})
#: Of a table that is read for at most one match: it multiplies nothing.
_SEMI_JOINS = ("first_match", "loosescan", "not_exists")


class RowEstimates:
    """A database of whose statistics nothing is known.

    Args:
        dialect: SQLAlchemy's.
    """

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self._dialect = dialect

    def rows(
        self, execute: Execute, counted: FromClause, whole_table: FromClause | None
    ) -> float | None:
        """Rows that a subquery is expected to give; None where the database cannot tell.

        Args:
            execute: runs a statement on the database.
            counted: the subquery.
            whole_table: the table that it reads, if it gives each row of it once.
        """
        return None

    @contextmanager
    def contained(self, connection: Connection) -> Iterator[None]:
        """Let a statement that fails leave the transaction as it was."""
        yield


class _SQLite(RowEstimates):
    """Each row of ``sqlite_stat1`` begins with the rows of its index; a partial one has fewer."""

    def rows(
        self, execute: Execute, counted: FromClause, whole_table: FromClause | None
    ) -> float | None:
        name = getattr(whole_table, "name", None)
        if name is None:
            return None
        schema = getattr(whole_table, "schema", None)
        # As full tables: schema_translate_map holds for these alone.
        master = Table("sqlite_master", MetaData(), Column("name", String), schema=schema)
        analyzed = select(master.c.name).where(master.c.name == "sqlite_stat1")
        if not execute(_unrecorded(analyzed)).all():
            return None
        columns = (Column("tbl", String), Column("stat", String))
        statistics = Table("sqlite_stat1", MetaData(), *columns, schema=schema)
        stats = select(statistics.c.stat).where(func.lower(statistics.c.tbl) == str(name).lower())
        counts = [str(row[0] or "").partition(" ")[0] for row in execute(_unrecorded(stats))]
        return max((float(one) for one in counts if one.isdecimal()), default=None)


class _Explaining(RowEstimates):
    """A database whose plans hold the rows that the planner expects."""

    def rows(
        self, execute: Execute, counted: FromClause, whole_table: FromClause | None
    ) -> float | None:
        asked = _Explained(literal_column("1")).select_from(counted)
        answer = execute(_unrecorded(asked)).all()
        if not answer:
            return None
        found = self._of(dialect_for(self._dialect).parse_plan(answer[0][0]))
        return found if found is not None and math.isfinite(found) else None

    def _of(self, root: PlanNode) -> float | None:
        return root.estimated_rows


class _PostgreSQL(_Explaining):
    """The root of the plan has the rows of the statement."""

    @contextmanager
    def contained(self, connection: Connection) -> Iterator[None]:
        """A savepoint: one failed statement would fail all that follow in the transaction."""
        if getattr(connection.connection.dbapi_connection, "autocommit", False):
            yield
            return
        with connection.begin_nested():
            yield


class _MySQL(_Explaining):
    """Each table of the plan has the rows that it adds to each row before it."""

    def _of(self, root: PlanNode) -> float | None:
        return _leaving(root)


_KNOWN: dict[str, type[RowEstimates]] = {
    "sqlite": _SQLite,
    "postgresql": _PostgreSQL,
    "mysql": _MySQL,
    "mariadb": _MySQL,
}
_WORDS = {
    "postgresql": "EXPLAIN (FORMAT JSON)",
    "mysql": "EXPLAIN FORMAT=JSON",
    "mariadb": "EXPLAIN FORMAT=JSON",
}


def row_estimates_for(dialect: SQLAlchemyDialect) -> RowEstimates:
    """The statistics of a database; of one that sa_perf does not know, none."""
    return _KNOWN.get(dialect.name, RowEstimates)(dialect)


class _Explained(Select[Any]):
    """Asks for the plan of a SELECT; to sessions and their listeners it is that SELECT."""

    inherit_cache = True


@compiles(_Explained)
def _explain(element: _Explained, compiler: SQLCompiler, **keywords: Any) -> str:  # noqa: ANN401
    text: str = compiler.visit_select(element, **keywords)  # type: ignore[no-untyped-call]
    return f"{_WORDS[compiler.dialect.name]} {text}"


def _unrecorded(stmt: Select[Any]) -> Select[Any]:
    return stmt.execution_options(**_UNRECORDED)


def _leaving(node: PlanNode) -> float | None:
    """Rows that leave a node of MySQL's or MariaDB's plan; None where the plan does not say.

    Derived tables, grouping and DISTINCT are such places: their rows are guessed from what they
    read.
    """
    if node.operation == "result":
        return 0.0 if node.label.startswith("Impossible") else None
    feeding = [child for child in node.children if child.operation != "subquery"]
    if node.operation in _JOINS:
        parts = [_leaving(child) for child in feeding]
        return None if None in parts else math.prod(part for part in parts if part is not None)
    if node.operation in _PASS_ON:
        return _leaving(feeding[0]) if len(feeding) == 1 else None
    if node.relation is None or any(name in node.detail for name in _SEMI_JOINS):
        return None
    full = node.operation in ("full_scan", "index_full_scan")
    if full and node.filter is not None and node.estimated_rows == node.examined_rows:
        return None  # nothing is known of what the condition keeps
    return node.estimated_rows
