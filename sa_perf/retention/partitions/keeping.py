"""Whether a partition holds a row that must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, FromClause, Table, inspect, literal, select
from sqlalchemy.sql.visitors import replacement_traverse

from sa_perf.errors import PartitionError
from sa_perf.retention.holds import held_keys
from sa_perf.retention.keys import among
from sa_perf.retention.tables import holds
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from sa_perf.dialects.partitioning import Part, Partitioning
    from sa_perf.retention.partitions.declaration import PartitionPlan

__all__ = ["Keeping"]


class Keeping:
    """What must stay of one table.

    Args:
        plan: of the table.
        kind: of the database.
        must_keep: a condition over the table or class, or what makes one of it.
    """

    def __init__(
        self,
        plan: PartitionPlan,
        kind: Partitioning,
        must_keep: ColumnElement[bool] | Callable[[Any], ColumnElement[bool]] | None,
    ) -> None:
        self._table = plan.table
        self._kind = kind
        self._condition: Any = must_keep
        if callable(must_keep) and not isinstance(must_keep, ColumnElement):
            self._condition = must_keep(plan.table.c if plan.entity is None else plan.entity)
        if hasattr(self._condition, "__clause_element__"):
            self._condition = self._condition.__clause_element__()
        if self._condition is not None and not isinstance(self._condition, ColumnElement):
            raise PartitionError(f"must_keep gives {self._condition!r}, which is no SQL condition")

    def within(self, connection: Connection, part: Part) -> str | None:
        """Why a partition of the table stays; None: nothing is in its way."""
        bounds = self._kind.within(part.lower, part.upper)
        return self._reason(connection, self._table, bounds)

    def among(self, connection: Connection, table: Table) -> str | None:
        """Why a table that was a partition stays."""
        return self._reason(connection, table, [])

    def _reason(
        self, connection: Connection, table: Table, bounds: list[ColumnElement[bool]]
    ) -> str | None:
        held = self._held(connection, table)
        if held is not None and _any(connection, table, [held, *bounds]):
            return "it has a row under legal hold"
        if self._condition is None:
            return None
        condition = self._moved(self._condition, table)
        if _any(connection, table, [condition, *bounds]):
            return "it has a row that must_keep names"
        return None

    def _held(self, connection: Connection, table: Table) -> ColumnElement[bool] | None:
        if not inspect(connection).has_table(holds.name, schema=holds.schema):
            return None
        keys = held_keys(connection, [self._table]).get(self._table.fullname)
        if not keys:
            return None
        columns = [table.columns[one.key] for one in self._table.primary_key.columns]
        return among(columns, keys, connection.dialect)

    def _moved(self, condition: ColumnElement[bool], table: Table) -> ColumnElement[bool]:
        """The same condition over another table of the same columns."""
        own = self._table.columns

        def replaced(element: Any, **_: object) -> Any:  # noqa: ANN401  # SQLAlchemy's own
            if isinstance(element, Column) and own.contains_column(element):
                return table.columns[element.key]
            return None

        if table is self._table:
            return condition
        moved: ColumnElement[bool] = replacement_traverse(condition, {}, replaced)
        return moved


def _any(connection: Connection, source: FromClause, conditions: list[ColumnElement[bool]]) -> bool:
    found = select(literal(1)).select_from(source).where(*conditions).limit(1)
    return connection.execute(found, execution_options=UNRECORDED).first() is not None
