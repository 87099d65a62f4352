"""MySQL and MariaDB: no index can be tried; plans for values that exist.

Both plan for given values only, and answer "impossible WHERE" for a key that no row has, so values
are taken from the tables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sa_perf.dialects.dbapi import fetch
from sa_perf.dialects.index_trials.base import IndexTrial, TrialPlan
from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.dialects.index_trials.values import Row, Shape
from sa_perf.errors import ExplainError, ExplainRefused

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts

__all__ = ["MySQLTrial"]

#: Rows of either end of a table from which the share of common values is told.
_SAMPLED_ROWS = 2_000
#: Rows of either end from which values are taken; those of the first, where it has them.
_ROWS_FOR_VALUES = 50
_MAX_KEY_BYTES = 3_072
_CHARACTER_BYTES = 4
_PLAIN_BYTES = 8
_SIZED = re.compile(r"((?:var)?(?:char|binary))\((\d+)\)")


class MySQLTrial(IndexTrial):
    """Plans statements as they are; no cost, for its unit differs between versions."""

    def __init__(
        self,
        dialect: Dialect,
        dbapi_connection: DBAPIConnection,
        facts: Mapping[str, TableFacts],
        *,
        timeout_seconds: float = 2.0,
    ) -> None:
        super().__init__(dialect, dbapi_connection, facts, timeout_seconds=timeout_seconds)
        self._rows: dict[str, list[Row]] = {}

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
        unknown = shape.unknown(self._some_rows)
        if unknown:
            # Compared with NULL it would have no plan but "impossible WHERE".
            raise ExplainError(
                f"{self.dialect.title} plans for given values only, and no row that was looked at "
                f"has one in {', '.join(unknown)}"
            )
        plan = self.dialect.explain(
            self.dbapi_connection,
            shape.text,
            shape.values(self._some_rows) or None,
            paramstyle="format",
            timeout_seconds=self.timeout_seconds,
        )
        return TrialPlan(plan=plan, cost=None)

    def can_be_made(self, index: IndexDefinition) -> bool:
        """See `IndexTrial.can_be_made`; InnoDB's keys have 3,072 bytes at most."""
        facts = self._facts_of(_written(index.table, index.schema))
        if facts is None:
            return True
        names = (*index.columns, *index.include)
        columns = [facts.column(name) for name in names if name is not None]
        return sum(_key_bytes(one.type) for one in columns if one is not None) <= _MAX_KEY_BYTES

    def matched_share(self, table: str, columns: Sequence[str]) -> float | None:
        """See `IndexTrial.matched_share`; by some thousand rows at both ends of the primary key.

        Of rows with a NULL none is drawn, since nothing is equal to it.
        """
        facts = self._facts_of(table)
        if facts is None:
            return None
        try:
            rows = self._ends(table, facts, columns, _SAMPLED_ROWS)
        except ExplainError:
            return None
        counts = Counter(row for row in rows if None not in row)
        drawn = sum(counts.values())
        if not drawn:
            return None
        return float(sum(count * count for count in counts.values())) / drawn / len(rows)

    def _some_rows(self, table: str) -> Sequence[Row]:
        facts = self._facts_of(table)
        if facts is None:
            return ()
        if table not in self._rows:
            names = [column.name for column in facts.columns]
            keys = [name.casefold() for name in names]
            found = self._ends(table, facts, names, _ROWS_FOR_VALUES)
            self._rows[table] = [dict(zip(keys, row, strict=True)) for row in found]
        return self._rows[table]

    def _ends(
        self, table: str, facts: TableFacts, columns: Sequence[str], limit: int
    ) -> list[tuple[object, ...]]:
        """Rows at both ends of the primary key; of a table without one, any."""
        quote = self.dialect.quote
        schema, _, name = table.rpartition(".")
        target = self.dialect.quote(name, schema or None)
        whole = f"SELECT {', '.join(map(quote, columns))} FROM {target}"  # noqa: S608 -- quoted
        key = next((index.columns[0] for index in facts.indexes if index.primary), None)
        parts = [f"({whole} LIMIT {limit})"]
        if key is not None:
            parts = [f"({whole} ORDER BY {quote(key)}{way} LIMIT {limit})" for way in ("", " DESC")]
        return self._fetched(" UNION ALL ".join(parts))

    def _facts_of(self, table: str) -> TableFacts | None:
        known = {name.casefold(): one for name, one in self.facts.items()}
        return known.get(table.casefold())

    def _fetched(self, sql: str) -> list[tuple[object, ...]]:
        try:
            return fetch(self.dbapi_connection, sql)
        except Exception as error:
            raise ExplainError(self.dialect.reason(error, "", None)) from error
        finally:
            self.dbapi_connection.rollback()


def _written(table: str, schema: str | None) -> str:
    return table if schema is None else f"{schema}.{table}"


def _key_bytes(type_name: str) -> int:
    """What a value takes in a key; characters are taken for those of utf8mb4."""
    match = _SIZED.match(type_name)
    if match is None:
        return _PLAIN_BYTES
    return int(match.group(2)) * (1 if match.group(1).endswith("binary") else _CHARACTER_BYTES)
