"""What a cursor is bound to: an order, in lasting words. Pure.

SQLAlchemy's cache key holds the ids of objects, and its SQL text changes from version to version,
so neither would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Join, Select
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ColumnClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import CompoundSelect, FromGrouping, SelectBase

from sa_perf.pagination.ordering.froms import groups, is_made_up, roots
from sa_perf.pagination.ordering.shapes import Shapes

if TYPE_CHECKING:
    from sqlalchemy import FromClause

    from sa_perf.pagination.ordering.keys import SortKey

__all__ = ["binding_of"]


_shapes: Shapes[str] = Shapes()


def binding_of(stmt: Select[Any], keys: Sequence[SortKey], database: str) -> str:
    """The order in words: FROM, columns, operators, functions and constants, but no SQL text."""
    constants = [
        _constant(one.effective_value)
        for key in keys
        for one in visitors.iterate(key.expression)
        if isinstance(one, BindParameter)
    ]
    # The same ORDER BY gives more keys or fewer, as the caller vouches that it is unique or not.
    shape = _shapes.of(stmt, database, len(keys), find=lambda: _of_shape(stmt, keys))
    return "\n".join([database, shape, *constants])


def _of_shape(stmt: Select[Any], keys: Sequence[SortKey]) -> str:
    words = _Words()
    parts = [" ".join(words.of_rows(stmt))]
    for key in keys:
        direction = "desc" if key.descending else "asc"
        nulls = "first" if key.nulls_first else "last"
        parts.append(f"{' '.join(words.of(key.expression))} {direction} nulls {nulls}")
    return "\n".join(parts)


class _Words:
    """Words for the parts of one statement, but for its constants.

    What SQLAlchemy names itself has another name in each process: it goes by its number.
    """

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}

    def of_rows(self, stmt: SelectBase) -> Iterator[str]:
        """Which rows a statement has: FROM, WHERE, GROUP BY, HAVING."""
        if isinstance(stmt, CompoundSelect):
            yield stmt.keyword.name
            for one in stmt.selects:
                yield from self.of_rows(one)
        if not isinstance(stmt, Select):
            return
        for root in roots(stmt):
            yield "from"
            yield from self.of_from(root)
        clauses = {
            "where": stmt._where_criteria,
            "group": groups(stmt),
            "having": stmt._having_criteria,
        }
        for keyword, elements in clauses.items():
            for element in elements:
                yield keyword
                yield from self.of(element)

    def of_from(self, root: FromClause) -> Iterator[str]:
        """A FROM: tables, kinds of joins, their conditions; what a subquery without name holds."""
        if isinstance(root, FromGrouping):
            root = root.element
        if isinstance(root, Join):
            yield from self.of_from(root.left)
            yield "full join" if root.full else "outer join" if root.isouter else "join"
            yield from self.of_from(root.right)
            if root.onclause is not None:
                yield "on"
                yield from self.of(root.onclause)
            return
        known = len(self._numbers)
        yield self._name(root)
        element = getattr(root, "element", None)
        if len(self._numbers) > known and isinstance(element, SelectBase):
            yield from self.of_rows(element)

    def of(self, expression: Any) -> Iterator[str]:  # noqa: ANN401
        """An expression, without its constants."""
        one: Any
        for one in visitors.iterate(expression):
            if isinstance(one, ColumnClause):
                yield f"{self._name(one.table)}.{_column_name(one)}"
            elif isinstance(one, FunctionElement):
                yield f"{getattr(one, 'name', '')}()"
            elif isinstance(one, BindParameter):
                yield "?"
            elif getattr(one, "operator", None) is not None:
                yield getattr(one.operator, "__name__", str(one.operator))
            elif one.__visit_name__ == "cast":
                yield f"cast {type(one.type).__name__}"
            elif one.__visit_name__ == "collation":
                yield str(getattr(one, "collation", ""))

    def _name(self, selectable: Any) -> str:  # noqa: ANN401  # a FROM, or none
        name = getattr(selectable, "fullname", getattr(selectable, "name", None))
        if selectable is None or (name is not None and not is_made_up(name)):
            return str(name or "")
        # The ORM's notes make copies of an alias.
        number = self._numbers.setdefault(selectable._deannotate(), len(self._numbers))
        return f"{getattr(getattr(selectable, 'element', None), 'name', '')}#{number}"


def _column_name(column: ColumnClause[Any]) -> str:
    """A column's name, or its place in a subquery that does not name it."""
    if not is_made_up(column.name) or column.table is None:
        return str(column.name)
    return f"#{[one.key for one in column.table.c].index(column.key)}"


def _constant(value: object) -> str:
    """A constant in words; of a set, whose order is by chance, in order."""
    if isinstance(value, (list, set, frozenset)):
        return " ".join(sorted(map(repr, value)))
    return repr(value)
