"""Rows that the database deletes along, counted before it does.

Each row once, however many ways lead to it: a message refers to its sender and to its receiver, and
goes once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, func, select, union

from sa_perf.retention.keys import as_stored

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from sa_perf.retention.children import Child

__all__ = ["rows_along"]

Condition: TypeAlias = ColumnElement[bool]
Path: TypeAlias = "tuple[Child, ...]"


def rows_along(
    connection: Connection,
    children: Sequence[Child],
    conditions: Sequence[Condition],
    parameters: Mapping[str, Any],
) -> dict[str, int]:
    """Rows that go by ON DELETE CASCADE, at any depth, by their table's full name.

    Locks those that may have rows below them. Of a table without a primary key rows count for each
    way that leads to them. A statement for each table, where only one way does.

    Args:
        connection: in the transaction that is to delete.
        children: of the policy's table.
        conditions: which rows of the policy's table go; they are locked already.
        parameters: of these conditions.
    """
    ways: dict[str, list[Path]] = {}
    for path in _paths(children):
        ways.setdefault(path[-1].table.fullname, []).append(path)
    counter = _Counter(connection, conditions, parameters)
    found: dict[str, int] = {}
    # Above before below: what is locked gets no more rows, so that none is missed.
    for name, paths in sorted(ways.items(), key=lambda item: max(map(len, item[1]))):
        known = [path for path in paths if len(path) == 1 or found[path[-2].table.fullname]]
        found[name] = counter.rows(known) if known else 0
    return {name: rows for name, rows in found.items() if rows}


def _paths(children: Sequence[Child], above: Path = ()) -> Iterator[Path]:
    for child in children:
        if child.how == "cascade":
            yield (*above, child)
            yield from _paths(child.children, (*above, child))


class _Counter:
    """Counts rows at the ends of paths that begin at some rows."""

    def __init__(
        self,
        connection: Connection,
        conditions: Sequence[Condition],
        parameters: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._conditions = conditions
        self._parameters = parameters

    def rows(self, paths: Sequence[Path]) -> int:
        """Rows of one table."""
        child = paths[0][-1]
        if child.children:
            return self._locked(paths)
        if len(paths) > 1 and child.key:
            every = union(*(self._select(path, self._keys(child)) for path in paths)).subquery()
            return self._scalar(select(func.count()).select_from(every))
        return sum(self._scalar(self._select(path, [func.count()])) for path in paths)

    def _locked(self, paths: Sequence[Path]) -> int:
        keys: set[tuple[Any, ...]] = set()
        for path in paths:
            child = path[-1]
            stmt = self._select(path, self._keys(child)).with_for_update(of=child.rows)
            found = self._connection.execute(stmt, self._parameters).all()
            keys.update(tuple(row) for row in found)
        return len(keys)

    def _scalar(self, stmt: Select[Any]) -> int:
        return int(self._connection.execute(stmt, self._parameters).scalar_one())

    def _keys(self, child: Child) -> Sequence[Any]:
        return as_stored(child.named(child.identity), self._connection.dialect)

    def _select(self, path: Path, shown: Sequence[Any]) -> Select[Any]:
        joined: Any = path[0].above
        for one in path:
            joined = joined.join(one.rows, one.joined())
        return select(*shown).select_from(joined).where(*self._conditions)
