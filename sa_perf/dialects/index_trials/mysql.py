"""MySQL and MariaDB: no index can be tried; plans for values that exist.

Both plan for given values only, and answer "impossible WHERE" for a key that no row has, so values
are taken from the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sa_perf.dialects.dbapi import fetch
from sa_perf.dialects.index_trials.base import IndexTrial, TrialPlan
from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.dialects.index_trials.values import Row, Shape
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.facts import TableFacts

__all__ = ["MySQLTrial"]

#: Rows of either end of a table from which the share of common values is told.
_SAMPLED_ROWS = 2_000


class MySQLTrial(IndexTrial):
    """Plans statements as they are; no cost, for its unit differs between versions."""

    def plan(
        self,
        statement: str,
        indexes: Sequence[IndexDefinition] = (),
        *,
        rows_returned: float | None = None,
    ) -> TrialPlan:
        """See `IndexTrial.plan`; refused with indexes."""
        if indexes:
            raise ExplainRefused(self.unverified or "")
        shape = Shape(statement, self.dialect, mark="%s", page_rows=rows_returned)
        plan = self.dialect.explain(
            self.dbapi_connection,
            shape.text,
            shape.values(self._some_row) or None,
            paramstyle="format",
            timeout_seconds=self.timeout_seconds,
        )
        return TrialPlan(plan=plan, cost=None)

    def matched_share(self, table: str, columns: Sequence[str]) -> float | None:
        """See `IndexTrial.matched_share`; by some thousand rows at both ends of the primary key."""
        facts = self._facts_of(table)
        if facts is None:
            return None
        listed = ", ".join(self.dialect.quote(column) for column in columns)
        target = self._target(table)
        key = next((index.columns[0] for index in facts.indexes if index.primary), None)
        parts = [f"(SELECT {listed} FROM {target} LIMIT {_SAMPLED_ROWS})"]  # noqa: S608 -- quoted
        if key is not None:
            name = self.dialect.quote(key)
            parts = [
                f"(SELECT {listed} FROM {target} ORDER BY {name}{way} LIMIT {_SAMPLED_ROWS})"  # noqa: S608 -- quoted
                for way in ("", " DESC")
            ]
        rows = self._fetched(" UNION ALL ".join(parts))
        if not rows:
            return None
        counts: dict[tuple[object, ...], int] = {}
        for row in rows:
            counts[row] = counts.get(row, 0) + 1
        return float(sum(count * count for count in counts.values())) / len(rows) ** 2

    def _some_row(self, table: str) -> Sequence[Row]:
        facts = self._facts_of(table)
        if facts is None:
            return ()
        names = [column.name for column in facts.columns]
        listed = ", ".join(map(self.dialect.quote, names))
        rows = self._fetched(f"SELECT {listed} FROM {self._target(table)} LIMIT 1")  # noqa: S608 -- quoted
        keys = [name.casefold() for name in names]
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def _facts_of(self, table: str) -> TableFacts | None:
        known = {name.casefold(): one for name, one in self.facts.items()}
        return known.get(table.casefold())

    def _target(self, table: str) -> str:
        return ".".join(map(self.dialect.quote, table.split(".")))

    def _fetched(self, sql: str) -> list[tuple[object, ...]]:
        try:
            return fetch(self.dbapi_connection, sql)
        except Exception as error:
            raise ExplainError(self.dialect.reason(error, "", None)) from error
        finally:
            self.dbapi_connection.rollback()
