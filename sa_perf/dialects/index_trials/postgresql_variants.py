"""Asks PostgreSQL for plans, with the values that they are made for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sa_perf.dialects.dbapi import DBAPIConnection, fetch
from sa_perf.dialects.index_trials.postgresql_shapes import NumberedStatement
from sa_perf.dialects.index_trials.postgresql_statistics import (
    ColumnStatistics,
    table_statistics,
)
from sa_perf.dialects.index_trials.postgresql_suppositions import (
    Condition,
    Supposition,
    conditions,
    fits,
    nodes,
    plain_rows,
    unfavourable,
)
from sa_perf.dialects.json_answers import decoded
from sa_perf.dialects.postgresql import PostgreSQL, read_only
from sa_perf.dialects.relations import tables_by_alias
from sa_perf.errors import ExplainError

__all__ = ["LEAST_COST", "Asker", "Variant", "Variants"]

#: No plan is taken to cost less: costs are divided by each other.
LEAST_COST = 0.01

#: Expected and observed rows that differ less are taken for the same.
_SAME = 2.0
#: Values fit where they give the observed rows within this factor; where fewer came than expected,
#: those do as well that come half of the way.
_FIT = 3.0
_NOTE_FITTED = "It is planned for values that give about as many rows as were observed, or more."
_NOTE_UNFAVOURABLE = (
    "It is planned for average values, and for frequent ones and wide ranges; what speaks less "
    "for an index counts."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A statement with some values, and its plan as the database is.

    Attributes:
        statement: what is planned.
        raw: PostgreSQL's plan in JSON, read.
    """

    statement: NumberedStatement
    raw: object

    @property
    def rows(self) -> float:
        """That are expected, at least a half; infinite where that is not comparable."""
        rows = plain_rows(self.raw)
        return math.inf if rows is None else max(rows, 0.5)

    @property
    def cost(self) -> float:
        """Of the whole plan, > 0."""
        cost = next(nodes(self.raw), {}).get("Total Cost")
        return max(float(cost), LEAST_COST) if isinstance(cost, (int, float)) else LEAST_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """The values that a statement is planned for.

    Attributes:
        all: one at least.
        expected_rows: by the planner, where it could not be brought to expect what was observed;
            None where it was, or where nothing was observed.
        notes: what was supposed, as sentences.
    """

    all: tuple[Variant, ...]
    expected_rows: float | None = None
    notes: tuple[str, ...] = ()


class Asker:
    """Asks for plans.

    Args:
        dialect: of the database.
        dbapi_connection: in no transaction.
        version: of the server, its first number.
        timeout_seconds: limit for each question, > 0.
    """

    def __init__(
        self,
        dialect: PostgreSQL,
        dbapi_connection: DBAPIConnection,
        *,
        version: int,
        timeout_seconds: float,
    ) -> None:
        self._dialect = dialect
        self._connection = dbapi_connection
        self._version = version
        self._timeout = timeout_seconds

    def ask(self, statement: NumberedStatement) -> object:
        """The plan in JSON, read; to be called in a transaction that will be rolled back.

        Raises:
            ExplainError: the server gave none.
        """
        raw = self._asked(statement)
        if any(node.get("Subplans Removed") for node in nodes(raw)):
            # Up to version 15 the statement must be executed to be explained, so partitions go
            # that have no row for the values that it does not have. Its costs hold them all.
            fetch(self._connection, "SET LOCAL enable_partition_pruning = off")
            raw = self._asked(statement)
        return raw

    def _asked(self, statement: NumberedStatement) -> object:
        if statement.parameters:
            rows = self._dialect.explain_for_any(
                self._connection,
                statement.text,
                statement.parameters,
                version=self._version,
                paramstyle=self._dialect.paramstyle,
            )
        else:
            rows = fetch(self._connection, self._dialect.explain_sql(statement.text))
        if not rows or not rows[0]:
            raise ExplainError("the server gave no plan")
        return decoded(rows[0][0])

    def variants(self, statement: NumberedStatement, rows_returned: float | None) -> Variants:
        """Find values that a statement without values should be planned for.

        Args:
            statement: any of whose parameters may get a value.
            rows_returned: on average, where that was observed.
        """
        average = self._variant(statement)
        expected = plain_rows(average.raw)
        factor = None
        if rows_returned == 0 and next(nodes(average.raw), {}).get("Node Type") == "ModifyTable":
            rows_returned = None  # not every driver counts the rows that it changes
        if rows_returned is not None and expected is not None:
            factor = max(rows_returned, 0.5) / max(expected, 1.0)
            if 1 / _SAME <= factor <= _SAME:
                return Variants(all=(average,))
        found = conditions(average.raw) if statement.parameters else []
        known = self._statistics(statement.text, found)
        if factor is None:
            other = self._tried(statement, unfavourable(found, known))
            if other is None:
                return Variants(all=(average,))
            return Variants(all=(average, other), notes=(_NOTE_UNFAVOURABLE,))
        wanted = factor * max(expected or 0.0, 1.0)
        fitting: tuple[Variant, ...] = ()
        if factor > 1.0 or not _unexplained(statement, found, known):
            tried = [self._tried(statement, values) for values in fits(found, known, factor)]
            most = max(_FIT * wanted, math.sqrt(wanted * (expected or 0.0)))
            fitting = tuple(v for v in tried if v and wanted / _FIT <= v.rows <= most)
        if fitting:
            return Variants(all=fitting, notes=(_NOTE_FITTED,))
        return Variants(all=(average,), expected_rows=expected)

    def _variant(self, statement: NumberedStatement) -> Variant:
        with read_only(self._connection, self._timeout):
            return Variant(statement=statement, raw=self.ask(statement))

    def _tried(self, statement: NumberedStatement, values: Supposition) -> Variant | None:
        """The statement with these values; None where there are none, or they do not fit in it."""
        if not values:
            return None
        try:
            return self._variant(statement.with_values(self._dialect.lexer, values))
        except ExplainError:
            raise
        except Exception as error:
            if self._dialect.is_timeout(error):
                raise
            return None

    def _statistics(
        self, text: str, found: Sequence[Condition]
    ) -> Mapping[tuple[str, str], ColumnStatistics]:
        written = tables_by_alias(self._dialect.lexer.names_and_marks(text))
        known: dict[tuple[str, str], ColumnStatistics] = {}
        if not found:
            return known
        with read_only(self._connection, self._timeout):
            for condition in found:
                table = written.get(condition.alias.casefold(), condition.relation)
                read = table_statistics(self._connection, table, [condition.column])
                for column in read.columns.values():
                    known[condition.alias, condition.column] = column
        return known


def _unexplained(
    statement: NumberedStatement,
    found: Sequence[Condition],
    known: Mapping[tuple[str, str], ColumnStatistics],
) -> bool:
    """Whether few rows may be due to a parameter of which the statistics tell nothing."""
    explained = {
        number
        for condition in found
        if (condition.alias, condition.column) in known
        for number in (*condition.equal, *condition.above, *condition.below)
    }
    return len(explained) < statement.parameters
