"""PostgreSQL: indexes tried by HypoPG, in one session, never built.

HypoPG keeps hypothetical indexes in the memory of the session, outside of any transaction, and
shows them to the planner of EXPLAIN only; making one takes an ACCESS SHARE lock and is allowed in a
read-only transaction. Each statement is prepared after its indexes are there, since the plan that
a prepared statement keeps does not change with them. Needs HypoPG 1.1.4 (2020), which knows
expressions, INCLUDE, materialized views and partitioned tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from sa_perf.dialects.dbapi import fetch
from sa_perf.dialects.index_trials.base import IndexTrial, TrialPlan
from sa_perf.dialects.index_trials.hypopg_extension import Extension
from sa_perf.dialects.index_trials.postgresql_corrections import Correction, corrected
from sa_perf.dialects.index_trials.postgresql_shapes import NumberedStatement, numbered
from sa_perf.dialects.index_trials.postgresql_sizes import index_bytes
from sa_perf.dialects.index_trials.postgresql_statistics import (
    ExpressionStatistics,
    expression_statistics,
    matched_share,
    table_statistics,
)
from sa_perf.dialects.index_trials.postgresql_suppositions import nodes
from sa_perf.dialects.index_trials.postgresql_variants import LEAST_COST, Asker, Variants
from sa_perf.dialects.postgresql import PostgreSQL, read_only
from sa_perf.dialects.postgresql_catalog import literal
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.index_trials.definition import IndexDefinition

__all__ = ["HypoPGTrial"]

#: Where the planner expects so many times fewer rows than came, its costs tell nothing.
_FAR_OFF = 10.0


class HypoPGTrial(IndexTrial):
    """Tries indexes by the extension HypoPG, where the database has it.

    A statement is planned for more than one set of values where its own are not known. Without
    indexes the cost is that of the first; with some it is as many times that as for those values
    where they gain least.
    """

    def __init__(
        self,
        dialect: Dialect,
        dbapi_connection: DBAPIConnection,
        facts: Mapping[str, TableFacts],
        *,
        timeout_seconds: float = 2.0,
    ) -> None:
        super().__init__(dialect, dbapi_connection, facts, timeout_seconds=timeout_seconds)
        self._state: Extension | None = None
        self._left_over = False
        self._variants: dict[tuple[NumberedStatement, float | None], Variants] = {}
        self._rows: dict[str, float] = {}
        self._expressions: dict[tuple[str, str], ExpressionStatistics | None] = {}

    @property
    def unverified(self) -> str | None:
        """Why indexes cannot be tried here. Asks the database once."""
        return self._extension().unverified

    def plan(
        self,
        statement: str,
        indexes: Sequence[IndexDefinition] = (),
        *,
        rows_returned: float | None = None,
    ) -> TrialPlan:
        """See `IndexTrial.plan`. Some ten statements a new one, then as many for its indexes.

        Raises:
            ExplainRefused: also where many more rows came than the planner expects for any values
                that the statistics know.
        """
        extension = self._extension()
        if indexes and extension.unverified is not None:
            raise ExplainRefused(extension.unverified)
        self.dialect.require_explainable(statement)
        asked, variants = self._planned(statement, rows_returned)
        if indexes:
            with self._errors(statement):
                return self._with(indexes, statement, asked, variants, rows_returned)
        plan = self._trial_plan(statement, asked, variants.all[0].raw, {})
        return replace(plan, notes=(*asked.notes, *variants.notes))

    def matched_share(self, table: str, columns: Sequence[str]) -> float | None:
        """See `IndexTrial.matched_share`. Of rows whose value is NULL none is drawn."""
        with self._errors(""), read_only(self.dbapi_connection, self.timeout_seconds):
            statistics = table_statistics(self.dbapi_connection, table, columns)
        return matched_share(statistics, columns)

    def size_bytes(self, index: IndexDefinition) -> int | None:
        """See `IndexTrial.size_bytes` and, for what is counted, `btree_bytes`.

        Expressions are looked up in a sample of some pages of the table. None where the statistics
        cannot be read, or there are none.
        """
        expressions = [
            None
            if key.expression is None
            else self._expression(_table(self.dialect, index), key.expression)
            for key in index.keys
        ]
        version = self._extension().version
        with self._errors(""), read_only(self.dbapi_connection, self.timeout_seconds):
            return index_bytes(
                self.dbapi_connection, self.dialect, index, expressions, version=version
            )

    def close(self) -> None:
        """Take the hypothetical indexes out of the session, if any is left."""
        if self._left_over and self._state is not None:
            with read_only(self.dbapi_connection, self.timeout_seconds):
                fetch(self.dbapi_connection, f"SELECT {self._state.schema}.hypopg_reset()")
            self._left_over = False

    def _extension(self) -> Extension:
        """What the catalog says, and whether the library can be loaded."""
        if self._state is None:
            with self._errors(""), read_only(self.dbapi_connection, self.timeout_seconds):
                state = Extension(self.dbapi_connection)
            if state.unverified is None:
                try:
                    with self._errors(""), read_only(self.dbapi_connection, self.timeout_seconds):
                        fetch(self.dbapi_connection, f"SELECT {state.schema}.hypopg_reset()")
                except ExplainError as error:
                    state.unverified = f"HypoPG is installed here but cannot run: {error}"
            self._state = state
        return self._state

    def _asker(self) -> Asker:
        if not isinstance(self.dialect, PostgreSQL):
            raise ExplainRefused(f"{self.dialect.name!r} is not PostgreSQL")
        return Asker(
            self.dialect,
            self.dbapi_connection,
            version=self._extension().version,
            timeout_seconds=self.timeout_seconds,
        )

    def _planned(
        self, statement: str, rows_returned: float | None
    ) -> tuple[NumberedStatement, Variants]:
        """The statement made plannable, and the values that it is planned for."""
        lexer, style = self.dialect.lexer, self.dialect.paramstyle
        asked = numbered(lexer, statement, style, rows_returned=rows_returned)
        typed = numbered(lexer, statement, style, rows_returned=rows_returned, numeric_cases=True)
        try:
            return asked, self._variants_of(statement, asked, rows_returned)
        except ExplainError:
            if typed == asked:
                raise
        return typed, self._variants_of(statement, typed, rows_returned)

    def _variants_of(
        self, statement: str, asked: NumberedStatement, rows_returned: float | None
    ) -> Variants:
        key = (asked, rows_returned)
        if key not in self._variants:
            with self._errors(statement):
                self._variants[key] = self._asker().variants(asked, rows_returned)
        return self._variants[key]

    def _with(
        self,
        indexes: Sequence[IndexDefinition],
        statement: str,
        asked: NumberedStatement,
        variants: Variants,
        rows_returned: float | None,
    ) -> TrialPlan:
        """The plan with the indexes for those values where they gain least."""
        asker = self._asker()
        with self._session(indexes) as tried:
            raws = [asker.ask(variant.statement) for variant in variants.all]
        full = _is_full(asked, raws[0], rows_returned)
        plans = [self._corrected(statement, asked, raw, tried, full=full) for raw in raws]
        shares = [(p.cost or v.cost) / v.cost for p, v in zip(plans, variants.all, strict=True)]
        worst = max(range(len(plans)), key=lambda i: shares[i])
        plan = plans[worst]
        for index in plan.used:
            self._require_statistics(index)
        cost = variants.all[0].cost * shares[worst]
        if plan.used and variants.expected_rows is not None:
            cost *= _rows_correction(variants.expected_rows, rows_returned or 0.0)
        return replace(plan, cost=cost, notes=(*asked.notes, *variants.notes, *plan.notes))

    def _corrected(
        self,
        statement: str,
        asked: NumberedStatement,
        raw: object,
        tried: Mapping[str, IndexDefinition],
        *,
        full: bool,
    ) -> TrialPlan:
        plan = self._trial_plan(statement, asked, raw, tried)
        root = next(nodes(raw), None)
        if root is None or not plan.used:
            return plan

        def share_of(name: str) -> float | None:
            index = tried.get(name)
            if index is None or index.keys[0].expression is None:
                return None
            expression = self._expression(_table(self.dialect, index), index.keys[0].expression)
            return None if expression is None else expression.share

        correction: Correction = corrected(root, tried, full=full, share_of=share_of)
        return replace(plan, cost=correction.cost, notes=(*plan.notes, *correction.notes))

    def _require_statistics(self, index: IndexDefinition) -> None:
        """Refuse where the planner knows nothing of a table: it takes it for ten pages or more."""
        table = f"{index.schema}.{index.table}" if index.schema else index.table
        if table not in self._rows:
            with read_only(self.dbapi_connection, self.timeout_seconds):
                self._rows[table] = table_statistics(self.dbapi_connection, table, []).rows
        if not self._rows[table]:
            raise ExplainRefused(
                f"cannot say, because {index.table} has no rows or was never analyzed; run "
                f"{self.dialect.analyze_command(index.table, index.schema)}"
            )

    def _expression(self, table: str, expression: str) -> ExpressionStatistics | None:
        key = (table, expression)
        if key not in self._expressions:
            with self._errors(expression), read_only(self.dbapi_connection, self.timeout_seconds):
                self._expressions[key] = expression_statistics(self.dbapi_connection, *key)
        return self._expressions[key]

    @contextmanager
    def _session(self, indexes: Sequence[IndexDefinition]) -> Iterator[dict[str, IndexDefinition]]:
        """A read-only transaction in which the indexes seem to exist, by HypoPG's names."""
        tried: dict[str, IndexDefinition] = {}
        schema = self._extension().schema
        try:
            with read_only(self.dbapi_connection, self.timeout_seconds):
                self._left_over = True
                fetch(self.dbapi_connection, f"SELECT {schema}.hypopg_reset()")
                for index in indexes:
                    tried[self._create(schema, index)] = index
                yield tried
        finally:
            self.close()

    def _create(self, schema: str, index: IndexDefinition) -> str:
        sql = index.create_sql(self.dialect)
        call = f"{schema}.hypopg_create_index({literal(sql)})"
        asked = f"SELECT indexname FROM {call}"  # noqa: S608 -- both are quoted
        try:
            rows = fetch(self.dbapi_connection, asked)
        except Exception as error:
            reason = self.dialect.reason(error, sql, None)
            raise ExplainRefused(f"{index.name} cannot be tried: {reason}") from error
        return str(rows[0][0])

    def _trial_plan(
        self,
        statement: str,
        asked: NumberedStatement,
        raw: object,
        tried: Mapping[str, IndexDefinition],
    ) -> TrialPlan:
        used: dict[str, IndexDefinition] = {}
        plan = self.dialect.plan_from(
            _with_real_names(raw, tried, used),
            statement=statement,
            server_version=self._extension().server_version,
            generic=asked.parameters > 0,
        )
        return TrialPlan(
            plan=plan,
            cost=max(plan.root.estimated_cost or 0.0, LEAST_COST),
            used=tuple(used.values()),
            notes=tuple(
                f"{self.dialect.analyze_command(index.table, index.schema)} must run after "
                f"{index.name} is made: until then the planner has no statistics of its expression."
                for index in used.values()
                if None in index.columns
            ),
        )

    @contextmanager
    def _errors(self, statement: str) -> Iterator[None]:
        """Turn a driver's error into an `ExplainError` without values."""
        try:
            yield
        except (ExplainError, ExplainRefused):
            raise
        except Exception as error:
            reason = self.dialect.reason(error, statement, None)
            raise ExplainError(_in_words(reason)) from error


def _table(dialect: Dialect, index: IndexDefinition) -> str:
    schema = f"{dialect.quote(index.schema)}." if index.schema else ""
    return schema + dialect.quote(index.table)


def _with_real_names(
    raw: object, tried: Mapping[str, IndexDefinition], used: dict[str, IndexDefinition]
) -> object:
    """The same JSON with the names that the indexes will have; ``used`` gets those found."""
    if isinstance(raw, list):
        return [_with_real_names(item, tried, used) for item in raw]
    if not isinstance(raw, Mapping):
        return raw
    result = {
        key: value if isinstance(value, (str, int, float)) else _with_real_names(value, tried, used)
        for key, value in raw.items()
    }
    name = raw.get("Index Name")
    index = tried.get(name) if isinstance(name, str) else None
    if index is not None:
        used[str(name)] = index
        result["Index Name"] = index.name
    return result


def _rows_correction(expected: float, observed: float) -> float:
    """How many times dearer a plan is for the rows that came instead of those expected.

    Raises:
        ExplainRefused: they are too many for that.
    """
    factor = observed / max(expected, 1.0)
    if factor > _FAR_OFF:
        raise ExplainRefused(
            f"cannot say, because the planner expects {expected:,.0f} rows and {observed:,.0f} came"
        )
    return max(1.0, factor)


def _is_full(asked: NumberedStatement, raw: object, rows_returned: float | None) -> bool:
    """Whether the outermost LIMIT was reached whenever the statement ran.

    Where its number is not known, a mean of whole rows tells that: it would be broken if there
    had been fewer now and then.
    """
    if not rows_returned or rows_returned < 1:
        return False
    if asked.limit is not None:
        return float(rows_returned).is_integer()
    limit = next((node for node in nodes(raw) if node.get("Node Type") == "Limit"), {})
    rows = limit.get("Plan Rows")
    return isinstance(rows, (int, float)) and rows_returned >= 0.99 * rows


def _in_words(reason: str) -> str:
    if "could not determine data type" in reason or "is not unique" in reason:
        return f"{reason} (the shape does not tell the type of a literal that stood there)"
    return reason
