"""Which columns tell the rows of a statement apart: tie-breaks. Pure.

A page can only continue behind a row if no other row sorts alike. What makes rows unique is read
from the tables: primary keys, unique constraints, equalities in ON and WHERE (an article determines
its author, so the author's key is not needed), GROUP BY and DISTINCT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, FromClause, Index, Join, Select, UniqueConstraint
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BindParameter, BooleanClauseList, ColumnClause
from sqlalchemy.sql.selectable import (
    AliasedReturnsRows,
    CompoundSelect,
    FromGrouping,
    SelectBase,
    TableClause,
)

from sa_perf.errors import PaginationError
from sa_perf.pagination.ordering.froms import (
    bare,
    elements_of,
    groups,
    groups_by_sets,
    is_made_up,
    roots,
    unlabelled,
)

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import NamedFromClause

__all__ = ["Rows", "columns_of", "require_once"]

Column: TypeAlias = ColumnElement[Any]

_EQUALITIES = (operators.eq, operators.is_not_distinct_from)


def columns_of(expression: Column) -> set[ColumnClause[Any]]:
    """The columns that an expression is made of."""
    return {one for one in visitors.iterate(expression) if isinstance(one, ColumnClause)}


def require_once(stmt: Select[Any]) -> None:
    """Refuse joins that repeat objects whose collections are loaded by a join too.

    SQLAlchemy would make one object of its repeated rows, so pages would have too few items, and
    with contains_eager() the collections would end where the page does.

    Raises:
        PaginationError: says which join it is and what to do.
    """
    try:
        missing = Rows(stmt).missing([unlabelled(column) for column in stmt.selected_columns])
    except PaginationError:
        repeats = "no key is known that tells rows apart"
    else:
        if not missing:
            return
        repeats = f"a join gives one for each {', '.join(map(str, missing))}"
    raise PaginationError(
        "joinedload() or contains_eager() loads a collection, so each object must come once; here "
        f"{repeats}. Load the collection with selectinload(), or put the joined condition into an "
        "EXISTS: .where(Parent.children.any(...))"
    )


@dataclass(eq=False)
class _Leaf:
    """One table, subquery or the like of a FROM clause."""

    selectable: FromClause
    #: Column sets of which each tells its rows apart; the best first.
    keys: list[tuple[Column, ...]]

    def owns(self, column: Column) -> bool:
        return getattr(column, "table", None) is self.selectable


class Rows:
    """The rows of a Select, by what tells them apart.

    Args:
        stmt: loader options are left out of account.
    """

    def __init__(self, stmt: Select[Any]) -> None:
        self._stmt = bare(stmt)
        froms = roots(stmt)
        self._leaves = [_Leaf(one, _keys(one)) for root in froms for one in elements_of(root)]
        #: (known, found): who knows the first column knows the second.
        self._pairs: list[tuple[Column, Column]] = []
        self._constants: set[Column] = set()
        for root in froms:
            self._read_joins(root)
        for criterion in self._stmt._where_criteria:
            self._read(criterion, outer=None)

    def missing(self, known: Sequence[Column]) -> list[Column]:
        """What must be added to some expressions so that together they tell all rows apart.

        Args:
            known: expressions that are there already.

        Raises:
            PaginationError: nothing would do; says why and what to do.
        """
        targets = self._targets()
        if targets is None:
            return self._missing_keys(known)
        chosen = sorted(targets, key=self._is_key_column, reverse=True)
        if not self._tells(known, chosen, targets):
            raise AssertionError(chosen)
        for one in reversed(chosen.copy()):
            fewer = [other for other in chosen if other is not one]
            if self._tells(known, fewer, targets):
                chosen = fewer
        return chosen

    def keys(self) -> list[Column]:
        """What tells the rows of the tables apart, whatever is made of them.

        Raises:
            PaginationError: a table has no key that is known.
        """
        return self._missing_keys(())

    def _targets(self) -> list[Column] | None:
        """Expressions that make a row of a grouped or distinct statement; None for others."""
        stmt = self._stmt
        if stmt._distinct_on:
            return list(stmt._distinct_on)
        if stmt._distinct:
            return [unlabelled(column) for column in stmt.selected_columns]
        if stmt._group_by_clauses:
            return groups(stmt)
        return None

    def _missing_keys(self, known: Sequence[Column]) -> list[Column]:
        lost = [leaf for leaf in self._leaves if leaf not in self._determined(known, ())]
        kept = lost.copy()
        for leaf in reversed(lost):
            fewer = [other for other in kept if other is not leaf]
            if len(self._determined(known, fewer)) == len(self._leaves):
                kept = fewer
        extra: list[Column] = []
        for leaf in kept:
            if not leaf.keys:
                raise _no_key(leaf.selectable)
            covered = self._covered([*known, *extra], self._determined([*known, *extra], ()))
            extra += [one for one in leaf.keys[0] if one not in covered]
        return extra

    def _tells(
        self, known: Sequence[Column], chosen: Sequence[Column], targets: Iterable[Column]
    ) -> bool:
        given = [*known, *chosen]
        leaves = self._determined(given, ())
        covered = self._covered(given, leaves)
        return all(self._follows(target, given, covered, leaves) for target in targets)

    def _follows(
        self,
        target: Column,
        given: Sequence[Column],
        covered: set[Column],
        leaves: set[_Leaf],
    ) -> bool:
        if any(target is one or target.compare(one) for one in given):
            return True
        parts = columns_of(target)
        if not parts or any(not isinstance(one, ColumnClause) for one in parts):
            return False
        owned = [any(leaf.owns(part) for leaf in leaves) or part in covered for part in parts]
        return all(owned) and not _acts_on_many_rows(target)

    def _is_key_column(self, column: Column) -> bool:
        # `in` would compare a function with == and make SQL of it.
        if not isinstance(column, ColumnClause):
            return False
        return any(column in key for leaf in self._leaves for key in leaf.keys[:1])

    def _covered(self, known: Iterable[Column], leaves: set[_Leaf]) -> set[Column]:
        """The columns whose values follow from those that are known."""
        covered = {one for one in known if isinstance(one, ColumnClause)} | self._constants
        grown = True
        while grown:
            grown = False
            for source, found in self._pairs:
                if found in covered:
                    continue
                if source in covered or any(leaf.owns(source) for leaf in leaves):
                    covered.add(found)
                    grown = True
        return covered

    def _determined(self, known: Iterable[Column], given: Iterable[_Leaf]) -> set[_Leaf]:
        """The leaves whose row follows from known columns and given leaves."""
        known = list(known)
        found = set(given)
        while True:
            covered = self._covered(known, found)
            new = {
                leaf
                for leaf in self._leaves
                if leaf not in found and any(set(key) <= covered for key in leaf.keys)
            }
            if not new:
                return found
            found |= new

    def _read_joins(self, root: FromClause) -> None:
        if isinstance(root, FromGrouping):
            root = root.element
        if not isinstance(root, Join):
            return
        self._read_joins(root.left)
        self._read_joins(root.right)
        if root.onclause is not None and not root.full:
            outer = set(elements_of(root.right)) if root.isouter else None
            self._read(root.onclause, outer=outer)

    def _read(self, criterion: Any, *, outer: set[FromClause] | None) -> None:  # noqa: ANN401
        """Take note of equalities; those of an outer join tell only of its optional side."""
        if isinstance(criterion, BooleanClauseList):
            if criterion.operator is operators.and_:
                for one in criterion.clauses:
                    self._read(one, outer=outer)
            return
        if getattr(criterion, "operator", None) not in _EQUALITIES:
            return
        left, right = criterion.left, criterion.right
        for source, found in ((left, right), (right, left)):
            if not isinstance(found, ColumnClause):
                continue
            if outer is not None and found.table not in outer:
                continue
            if isinstance(source, BindParameter):
                self._constants.add(found)
            elif isinstance(source, ColumnClause):
                self._pairs.append((source, found))


def _keys(selectable: FromClause) -> list[tuple[Column, ...]]:
    """Column sets that tell the rows of one FROM apart, the primary key first."""
    if isinstance(selectable, TableClause):
        return list(_table_keys(selectable))
    if not isinstance(selectable, AliasedReturnsRows):
        return []
    element: Any = selectable.element
    if isinstance(element, SelectBase):
        inner = _output_key(element)
        keys = [] if inner is None else [inner]
    else:
        keys = _keys(element)
    found = []
    for key in keys:
        mapped = [_corresponding(selectable, column) for column in key]
        if all(column is not None for column in mapped):
            found.append(tuple(column for column in mapped if column is not None))
    return found


def _corresponding(selectable: NamedFromClause, column: Column) -> Column | None:
    return selectable.corresponding_column(column)  # type: ignore[arg-type]  # a KeyedColumnElement


def _table_keys(table: TableClause) -> Iterator[tuple[Column, ...]]:
    primary = tuple(table.primary_key)
    if primary:
        yield primary
    constraints: Iterable[Any] = getattr(table, "constraints", ())
    indexes: Iterable[Index] = getattr(table, "indexes", ())
    uniques: list[Any] = [one for one in constraints if isinstance(one, UniqueConstraint)]
    # An index with options of a dialect may be partial.
    uniques += [one for one in indexes if one.unique and not one.dialect_kwargs]
    for unique in sorted(uniques, key=lambda one: (len(one.columns), str(one.name))):
        columns = tuple(unique.columns)
        plain = len(columns) == len(getattr(unique, "expressions", columns))
        if columns and plain and not any(column.nullable for column in columns):
            yield columns


def _output_key(inner: SelectBase) -> tuple[Column, ...] | None:
    """The output columns of a subquery that tell its rows apart; None where none do."""
    if isinstance(inner, CompoundSelect):
        distinct = not inner.keyword.name.endswith("_ALL")
        return tuple(inner.selected_columns) if distinct else None
    if not isinstance(inner, Select) or groups_by_sets(inner):
        return None
    outputs = list(inner.selected_columns)
    try:
        missing = Rows(inner).missing([unlabelled(column) for column in outputs])
        if missing:
            return None
        needed = Rows(inner).missing([])
    except PaginationError:
        return None
    key = []
    for one in needed:
        column = next((output for output in outputs if _same(unlabelled(output), one)), None)
        if column is None:  # it follows from others, as missing() said above
            return tuple(outputs)
        key.append(column)
    return tuple(key)


def _same(one: Column, other: Column) -> bool:
    return one is other or bool(one.compare(other))


def _acts_on_many_rows(expression: Column) -> bool:
    """Whether a value belongs to more than one row: windows, aggregates, any function."""
    names = {one.__visit_name__ for one in visitors.iterate(expression)}
    return bool(names & {"over", "function", "withingroup", "funcfilter", "select"})


def _no_key(selectable: FromClause) -> PaginationError:
    name = getattr(selectable, "name", None)
    named = "a part of FROM that has no name"
    if isinstance(name, str) and not is_made_up(name):
        named = repr(name)
    return PaginationError(
        f"rows that sort alike cannot be told apart: {named} has no primary key or unique columns "
        "that sa_perf knows of; add columns to ORDER BY that make each row unique and pass "
        "unique=True"
    )
