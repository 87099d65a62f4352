"""PostgreSQL: indexes tried by HypoPG, in one session, never built.

HypoPG keeps hypothetical indexes in the memory of the session, outside of any transaction, and
shows them to the planner of EXPLAIN only; making one takes an ACCESS SHARE lock and is allowed in a
read-only transaction. Each statement is prepared after its indexes are there, since the plan that
a prepared statement keeps does not change with them. Needs HypoPG 1.1.4 (2020), which knows
expressions, INCLUDE, materialized views and partitioned tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sa_perf.dialects.dbapi import fetch
from sa_perf.dialects.index_trials.base import IndexTrial, TrialPlan
from sa_perf.dialects.index_trials.postgresql_shapes import NumberedStatement, numbered
from sa_perf.dialects.index_trials.postgresql_statistics import matched_share, table_statistics
from sa_perf.dialects.json_answers import decoded
from sa_perf.dialects.postgresql import PostgreSQL, read_only
from sa_perf.dialects.postgresql_catalog import literal
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.index_trials.definition import IndexDefinition
    from sa_perf.dialects.plan import Plan

__all__ = ["HypoPGTrial"]

_OLDEST = (1, 1, 4)
_OLDEST_SERVER = 12
_EXTENSION = """
SELECT pg_catalog.current_setting('server_version'), e.extversion, n.nspname,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
       AND (SELECT bool_and(pg_catalog.has_function_privilege(f.oid, 'EXECUTE'))
              FROM pg_catalog.pg_proc f
             WHERE f.pronamespace = n.oid
               AND f.proname IN ('hypopg_create_index', 'hypopg_reset', 'hypopg_relation_size')),
       e.oid IS NOT NULL OR EXISTS (
       SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = 'hypopg')
  FROM (VALUES (1)) AS one (row)
  LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'hypopg'
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
"""


class HypoPGTrial(IndexTrial):
    """Tries indexes by the extension HypoPG, where the database has it."""

    def __init__(
        self,
        dialect: Dialect,
        dbapi_connection: DBAPIConnection,
        facts: Mapping[str, TableFacts],
        *,
        timeout_seconds: float = 2.0,
    ) -> None:
        super().__init__(dialect, dbapi_connection, facts, timeout_seconds=timeout_seconds)
        self._state: _State | None = None
        self._left_over = False

    @property
    def unverified(self) -> str | None:
        """Why indexes cannot be tried here. Asks the database once."""
        return self._known().unverified

    def plan(
        self,
        statement: str,
        indexes: Sequence[IndexDefinition] = (),
        *,
        rows_returned: float | None = None,
    ) -> TrialPlan:
        """See `IndexTrial.plan`. Sends up to eight statements and one for each index."""
        state = self._known()
        if indexes and state.unverified is not None:
            raise ExplainRefused(state.unverified)
        self.dialect.require_explainable(statement)
        asked = numbered(
            self.dialect.lexer, statement, self.dialect.paramstyle, rows_returned=rows_returned
        )
        with self._errors(statement), self._session(state, indexes) as hypothetical:
            raw = self._ask(asked, state.version)
        return self._answer(statement, asked, raw, hypothetical, state)

    def matched_share(self, table: str, columns: Sequence[str]) -> float | None:
        """See `IndexTrial.matched_share`. Of rows whose value is NULL none is drawn."""
        with self._errors(""), read_only(self.dbapi_connection, self.timeout_seconds):
            statistics = table_statistics(self.dbapi_connection, table, columns)
        return matched_share(statistics, columns)

    def close(self) -> None:
        """Take the hypothetical indexes out of the session, if any is left."""
        if self._left_over and self._state is not None:
            with read_only(self.dbapi_connection, self.timeout_seconds):
                fetch(self.dbapi_connection, f"SELECT {self._state.schema}.hypopg_reset()")
            self._left_over = False

    def _known(self) -> _State:
        if self._state is None:
            with self._errors(""), read_only(self.dbapi_connection, self.timeout_seconds):
                row = fetch(self.dbapi_connection, _EXTENSION)[0]
            self._state = self._probed(row)
        return self._state

    def _probed(self, row: Sequence[object]) -> _State:
        """What the catalog says, and whether the library can be loaded."""
        state = _State(row, self.dialect)
        if state.unverified is None:
            try:
                with self._errors(""), read_only(self.dbapi_connection, self.timeout_seconds):
                    fetch(self.dbapi_connection, f"SELECT {state.schema}.hypopg_reset()")
            except ExplainError as error:
                state.unverified = f"HypoPG is installed in this database but cannot run: {error}"
        return state

    @contextmanager
    def _session(
        self, state: _State, indexes: Sequence[IndexDefinition]
    ) -> Iterator[dict[str, IndexDefinition]]:
        """A read-only transaction in which the indexes seem to exist, by HypoPG's names."""
        names: dict[str, IndexDefinition] = {}
        try:
            with read_only(self.dbapi_connection, self.timeout_seconds):
                if indexes:
                    self._left_over = True
                    fetch(self.dbapi_connection, f"SELECT {state.schema}.hypopg_reset()")
                for index in indexes:
                    names[self._create(state, index)] = index
                yield names
        finally:
            self.close()

    def _create(self, state: _State, index: IndexDefinition) -> str:
        sql = index.create_sql(self.dialect)
        call = f"{state.schema}.hypopg_create_index({literal(sql)})"
        asked = f"SELECT indexname FROM {call}"  # noqa: S608 -- both are quoted
        try:
            rows = fetch(self.dbapi_connection, asked)
        except Exception as error:
            reason = self.dialect.reason(error, sql, None)
            raise ExplainRefused(f"{index.name} cannot be tried: {reason}") from error
        return str(rows[0][0])

    def _ask(self, asked: NumberedStatement, version: int) -> object:
        dialect = self.dialect
        if asked.parameters and isinstance(dialect, PostgreSQL):
            rows = dialect.explain_for_any(
                self.dbapi_connection,
                asked.text,
                asked.parameters,
                version=version,
                paramstyle=dialect.paramstyle,
            )
        else:
            rows = fetch(self.dbapi_connection, dialect.explain_sql(asked.text))
        if not rows or not rows[0]:
            raise ExplainError("the server gave no plan")
        return decoded(rows[0][0])

    def _answer(
        self,
        statement: str,
        asked: NumberedStatement,
        raw: object,
        hypothetical: Mapping[str, IndexDefinition],
        state: _State,
    ) -> TrialPlan:
        used: dict[str, IndexDefinition] = {}
        plan = self.dialect.plan_from(
            _with_real_names(raw, hypothetical, used),
            statement=statement,
            server_version=state.server_version,
            generic=asked.parameters > 0,
        )
        return TrialPlan(
            plan=plan,
            cost=_cost(plan),
            used=tuple(used.values()),
            notes=(*asked.notes, *self._notes(tuple(used.values()))),
        )

    def _notes(self, used: Sequence[IndexDefinition]) -> Iterator[str]:
        for index in used:
            if None in index.columns:
                yield (
                    f"{self.dialect.analyze_command(index.table)} must run after {index.name} is "
                    "made: until then the planner has no statistics of its expression."
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


class _State:
    """What is known of the server and of the extension."""

    def __init__(self, row: Sequence[object], dialect: Dialect) -> None:
        self.server_version = str(row[0])
        leading = re.match(r"\d+", self.server_version)
        self.version = int(leading.group()) if leading else 0
        self.schema = '"' + str(row[2]).replace('"', '""') + '"'
        self.unverified = self._reason(row)

    def _reason(self, row: Sequence[object]) -> str | None:
        extension, allowed, available = row[1], row[3], row[4]
        if self.version < _OLDEST_SERVER:
            return f"PostgreSQL {self.version} plans no statement without values; 12 and later do."
        if not available:
            return (
                "HypoPG is not available on this server; its package (on Debian "
                f"postgresql-{self.version}-hypopg) and CREATE EXTENSION hypopg would let indexes "
                "be verified."
            )
        if extension is None:
            return (
                "HypoPG is not installed in this database; CREATE EXTENSION hypopg would let "
                "indexes be verified."
            )
        if tuple(int(part) for part in re.findall(r"\d+", str(extension))) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            return f"HypoPG {extension} is too old; indexes can be verified with {oldest} or later."
        if not allowed:
            return (
                "This role may not use HypoPG; GRANT USAGE on its schema and EXECUTE on its "
                "functions would let indexes be verified."
            )
        return None


def _with_real_names(
    raw: object, hypothetical: Mapping[str, IndexDefinition], used: dict[str, IndexDefinition]
) -> object:
    """The same JSON with the names that the indexes will have; ``used`` gets those found."""
    if isinstance(raw, list):
        return [_with_real_names(item, hypothetical, used) for item in raw]
    if not isinstance(raw, Mapping):
        return raw
    result = {
        key: value
        if isinstance(value, (str, int, float))
        else _with_real_names(value, hypothetical, used)
        for key, value in raw.items()
    }
    name = raw.get("Index Name")
    index = hypothetical.get(name) if isinstance(name, str) else None
    if index is not None:
        used[str(name)] = index
        result["Index Name"] = index.name
    return result


def _cost(plan: Plan) -> float | None:
    cost = plan.root.estimated_cost
    return None if cost is None else max(cost, 1e-6)


def _in_words(reason: str) -> str:
    if "could not determine data type" in reason or "is not unique" in reason:
        return f"{reason} (the shape does not tell the type of a literal that stood there)"
    return reason
