"""Declared orders of pages, for which migrations make the index.

`KeysetPager.verify` asks a database whether an index serves; a declaration is read without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, MetaData, Table
from sqlalchemy import inspect as inspection
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from sa_perf.errors import PaginationError

__all__ = ["DeclaredOrder", "declare_order", "declared_orders"]

#: What a Table has its orders by, so that both go together; see `sa_perf.retention.policy`.
_KEPT = "_sa_perf_orders"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredOrder:
    """Columns that an index has to begin with for pages to be read from it.

    Attributes:
        table: whose rows they are.
        columns: those that are equal for all rows of a list, then those that sort it.
        descending: of each column.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    descending: tuple[bool, ...]

    def __str__(self) -> str:
        """``tenant_id, created_at DESC, id DESC``."""
        pairs = zip(self.columns, self.descending, strict=True)
        return ", ".join(f"{column.name}{' DESC' if down else ''}" for column, down in pairs)


class _Orders(list[DeclaredOrder]):
    """Of one table. A copy or pickle of the table has none."""

    def __reduce__(self) -> tuple[type[list[DeclaredOrder]], tuple[()]]:
        return list, ()


def declare_order(
    table_or_class: Table | type[Any],
    *order_by: Any,  # noqa: ANN401  # attributes, columns, and what desc() makes of them
    within: Sequence[Any] = (),
) -> DeclaredOrder:
    """Declare that pages of a table are read in an order, so that a migration makes its index.

    The primary key is added behind, as `sa_perf.pagination.keyset` does, in the last direction.

    Args:
        table_or_class: a table, or a class that is mapped to one.
        order_by: its columns, each as it is or with ``.desc()``; at least one.
        within: columns that WHERE holds equal to one value in every such list.

    Raises:
        PaginationError: one of them is no column of the table, or there is none.

    Example:
        >>> declare_order(Article, Article.created_at.desc(), within=[Article.tenant_id])
    """
    table = _table_of(table_or_class)
    if not order_by:
        raise PaginationError(f"no order is given for {table.fullname!r}; name its columns")
    constant = [_column(table, one)[0] for one in within]
    sorted_by = [_column(table, one) for one in order_by]
    known = {*constant, *(column for column, _ in sorted_by)}
    last = sorted_by[-1][1]
    keys = [
        *((column, sorted_by[0][1]) for column in constant),
        *sorted_by,
        *((column, last) for column in table.primary_key.columns if column not in known),
    ]
    found = DeclaredOrder(
        table=table,
        columns=tuple(column for column, _ in keys),
        descending=tuple(down for _, down in keys),
    )
    vars(table)[_KEPT] = _Orders([*vars(table).get(_KEPT, ()), found])
    return found


def declared_orders(metadata: MetaData) -> list[DeclaredOrder]:
    """The orders that are declared for a MetaData's tables, by table, as declared."""
    return [one for table in metadata.tables.values() for one in vars(table).get(_KEPT, ())]


def _table_of(given: Table | type[Any]) -> Table:
    if isinstance(given, Table):
        return given
    table = getattr(inspection(given, raiseerr=False), "local_table", None)
    if not isinstance(table, Table):
        raise PaginationError(f"{given!r} is neither a table nor a class mapped to one")
    return table


def _column(table: Table, given: Any) -> tuple[Column[Any], bool]:  # noqa: ANN401  # see above
    clause = given.__clause_element__() if hasattr(given, "__clause_element__") else given
    descending = False
    while isinstance(clause, UnaryExpression):
        descending |= clause.modifier is operators.desc_op
        clause = clause.element
    found = table.columns.get(getattr(clause, "key", "")) if hasattr(clause, "key") else None
    if found is None or not found.shares_lineage(clause):
        raise PaginationError(
            f"{clause!s} is no column of {table.fullname!r}; an order is declared by columns: "
            f"{', '.join(table.columns.keys())}"
        )
    return found, descending
