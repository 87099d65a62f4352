"""The index that would give pages in order, or why none can. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, ColumnElement, FromClause, Index, MetaData, Select, Table
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnClause, True_
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import AliasedReturnsRows
from sqlalchemy.sql.util import _deep_deannotate

from sa_perf.pagination.ordering.uniqueness import columns_of

if TYPE_CHECKING:
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.page_plans import PagePlans
    from sa_perf.dialects.seeking import Seeking
    from sa_perf.pagination.ordering.keys import SortKey

__all__ = ["Advice", "advise", "base_table", "sort_sources"]

Expression: TypeAlias = ColumnElement[Any]

_AGGREGATES = frozenset(
    {
        "count", "sum", "avg", "min", "max", "total", "group_concat", "string_agg", "array_agg",
        "json_agg", "jsonb_agg", "bool_and", "bool_or", "every", "stddev", "variance",
        "aggregate_strings",
    }
)  # fmt: skip
_FEW_ROWS = 100
#: PostgreSQL keeps 63 bytes of a name, MySQL 64 characters.
_MAX_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do for an ordering that no index serves.

    Attributes:
        index: on a copy of the table, so that the application's metadata stay as they are.
        create: its CREATE INDEX.
        obstacle: why no index can serve; None where one can.
    """

    index: Index | None = None
    create: str | None = None
    obstacle: str | None = None


class _NoIndex(Exception):
    """No index can serve; the text says why."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One element of an index."""

    expression: Expression
    descending: bool = False
    nulls_first: bool | None = None


def base_table(selectable: Any) -> Table | None:  # noqa: ANN401  # what a column has as its table
    """The table itself that a FROM is, or is another name of; None of a subquery."""
    while isinstance(selectable, AliasedReturnsRows) and not isinstance(selectable, Table):
        selectable = selectable.element
    return selectable if isinstance(selectable, Table) else None


def sort_sources(keys: Sequence[SortKey]) -> list[FromClause]:
    """The tables, aliases and subqueries whose columns rows are sorted by; the first key's first.

    Without those of subqueries within a key.
    """
    found: dict[FromClause, None] = {}
    for key in keys:
        for column in sorted(columns_of(key.expression), key=lambda one: str(one.name)):
            table = column.table
            if table is not None and not _has(key.expression, "select"):
                found.setdefault(table)
    return list(found)


def advise(
    stmt: Select[Any],
    keys: Sequence[SortKey],
    seeking: Seeking,
    plans: PagePlans,
    facts: Mapping[str, TableFacts],
) -> Advice:
    """The index for an ordering: what WHERE holds constant first, then the sort keys.

    Args:
        stmt: that is paged.
        keys: by which it is sorted.
        seeking: how the database sorts.
        plans: what it can index.
        facts: of the tables, by their full names.
    """
    try:
        source, table = _only_table(stmt, keys)
        known = facts.get(table.fullname)
        if known is None:
            raise _NoIndex(f"{table.fullname} is no table of this database's catalog: a view?")
        parts = [*map(_Part, _constants(stmt, source, keys)), *_directed(keys, seeking, plans)]
        for part in parts:
            _require_indexable(part.expression, known, plans)
        index = _index(parts, source, table, known)
    except _NoIndex as reason:
        return Advice(obstacle=str(reason))
    existing = _existing(parts, known)
    if existing is not None:
        few = (known.rows_estimate or 0) < _FEW_ROWS
        return Advice(
            obstacle=f"{existing} has these columns in this order, and the planner did not use it "
            + ("so; with so few rows it may not, so look again with more" if few else "so")
        )
    create = str(CreateIndex(index).compile(dialect=plans.dialect)).strip()
    return Advice(index=index, create=create)


def _only_table(stmt: Select[Any], keys: Sequence[SortKey]) -> tuple[FromClause, Table]:
    """What all keys are columns of."""
    grouped = [getattr(one, "element", one) for one in stmt._group_by_clauses]
    for key in keys:
        text = " ".join(str(key.expression).split())
        if _has(key.expression, "select", "scalar_select", "over"):
            raise _NoIndex(f"rows are sorted by {text}; keep it in a column of the table")
        if _is_aggregate(key.expression) and not any(key.expression is one for one in grouped):
            raise _NoIndex(
                f"rows are sorted by {text}, which is computed from many rows; keep it in a "
                "column, or in a table or materialized view of its own"
            )
    sources = sort_sources(keys)
    if len(sources) > 1:
        names = " and ".join(sorted(str(getattr(one, "name", "a subquery")) for one in sources))
        raise _NoIndex(
            f"rows are sorted by columns of {names}, and an index holds those of one table; sort "
            "by columns of one of them, or keep a copy of the other's"
        )
    table = base_table(sources[0]) if sources else None
    if table is None:
        what = "a subquery's columns" if sources else "no column"
        raise _NoIndex(f"rows are sorted by {what}; an index holds columns of a table")
    return sources[0], table


def _constants(
    stmt: Select[Any], source: FromClause, keys: Sequence[SortKey]
) -> Iterator[Expression]:
    """Columns that WHERE compares with one value, in its order."""
    sorted_by = {key.expression for key in keys}
    seen: set[Expression] = set()
    for criterion in stmt._where_criteria:
        for one in _conjuncts(criterion):
            column = _constant_column(one)
            if column is None or (column.table is not source and column.table != source):
                continue
            if column not in sorted_by and column not in seen:
                seen.add(column)
                yield column


def _conjuncts(criterion: Any) -> Iterator[Any]:  # noqa: ANN401
    if getattr(criterion, "operator", None) is operators.and_:
        for one in criterion.get_children():
            yield from _conjuncts(one)
    else:
        yield criterion


def _constant_column(one: Any) -> ColumnClause[Any] | None:  # noqa: ANN401
    if isinstance(one, ColumnClause):
        return one  # a flag: WHERE published
    if not isinstance(one, BinaryExpression) or one.operator not in (operators.eq, operators.is_):
        return None
    sides = (one.left, one.right)
    columns = [side for side in sides if isinstance(side, ColumnClause)]
    values = [side for side in sides if isinstance(side, BindParameter | True_) or _is_null(side)]
    return columns[0] if len(columns) == 1 and len(values) == 1 else None


def _is_null(side: Any) -> bool:  # noqa: ANN401
    return side.__visit_name__ in ("null", "false")


def _directed(keys: Sequence[SortKey], seeking: Seeking, plans: PagePlans) -> list[_Part]:
    """The keys as parts of an index, which is read from either end: the plainer of both ways."""
    ways = [list(_oriented(keys, seeking, flipped=flipped)) for flipped in (False, True)]
    parts = min(ways, key=lambda way: sum(_modifiers(part) for part in way))
    for part in parts:
        if part.nulls_first is not None and not plans.nulls_in_indexes:
            raise _NoIndex(
                f"NULLs of {part.expression} are to stand where no index of {plans.ours.title} "
                "holds them; leave nulls_first() or nulls_last() out, or declare it NOT NULL"
            )
    if any(part.descending for part in parts) and not plans.descending_indexes:
        raise _NoIndex(
            f"directions are mixed, and the indexes of this version of {plans.ours.title} have "
            "one direction; sort all by desc() or none"
        )
    return parts


def _oriented(keys: Sequence[SortKey], seeking: Seeking, *, flipped: bool) -> Iterator[_Part]:
    for at, key in enumerate(keys):
        descending = key.descending != flipped
        nulls_first = key.nulls_first != flipped
        default = descending == seeking.nulls_largest
        # NULLs of the first key are a stretch of their own, see `seek`.
        placed = at > 0 and key.nullable and nulls_first != default
        yield _Part(key.expression, descending, nulls_first if placed else None)


def _modifiers(part: _Part) -> int:
    return part.descending + 10 * (part.nulls_first is not None)


def _require_indexable(expression: Expression, known: TableFacts, plans: PagePlans) -> None:
    if not isinstance(expression, ColumnClause):
        if not plans.ours.expression_indexes:
            raise _NoIndex(
                f"an index of {plans.ours.title} holds no expressions; add a generated column for "
                f"{expression} and sort by that"
            )
        return
    column = known.column(str(expression.name))
    if column is not None and not plans.ours.is_indexable(column.type):
        raise _NoIndex(
            f"{expression} is {column.type}, which has no plain index; sort by a shorter column"
        )


def _index(parts: Sequence[_Part], source: FromClause, table: Table, known: TableFacts) -> Index:
    """An index on a copy of the table that holds these columns only."""
    columns: dict[str, Column[Any]] = {}
    for part in parts:
        for column in sorted(columns_of(part.expression), key=lambda one: str(one.name)):
            columns.setdefault(str(column.name), Column(column.name))
    conventions = table.metadata.naming_convention
    copy = Table(
        table.name,
        MetaData(naming_convention=conventions),
        *columns.values(),
        schema=table.schema,
    )

    def moved(element: Any, **_: object) -> Any:  # noqa: ANN401
        return copy.c[element.name] if isinstance(element, ColumnClause) else None

    elements: list[Any] = []
    for part in parts:
        plain = _deep_deannotate(part.expression)
        element: Any = visitors.replacement_traverse(plain, {}, moved)
        element = element.desc() if part.descending else element
        if part.nulls_first is not None:
            element = element.nulls_first() if part.nulls_first else element.nulls_last()
        elements.append(element)
    words = [
        str(part.expression.name) if isinstance(part.expression, ColumnClause) else _word(part)
        for part in parts
    ]
    return Index(_name(table.name, words, known), *elements)


def _word(part: _Part) -> str:
    functions = [one for one in visitors.iterate(part.expression) if hasattr(one, "clause_expr")]
    names = [str(getattr(one, "name", "")) for one in functions]
    names += sorted(str(column.name) for column in columns_of(part.expression))
    return "_".join(name for name in names if name)


def _name(table: str, words: Sequence[str], known: TableFacts) -> str:
    """As SQLAlchemy names an index, with all columns; another where one has that name."""
    name = f"ix_{table}_{'_'.join(words)}"
    if len(name) > _MAX_NAME:
        digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        name = f"{name[: _MAX_NAME - 9]}_{digest}"
    return f"{name[: _MAX_NAME - 5]}_page" if known.index(name) is not None else name


def _existing(parts: Sequence[_Part], known: TableFacts) -> str | None:
    """An index that begins with these columns, where all have one direction."""
    if any(part.descending or part.nulls_first is not None for part in parts):
        return None
    names = [
        str(part.expression.name).casefold() if isinstance(part.expression, ColumnClause) else ""
        for part in parts
    ]
    for index in known.indexes:
        found = [(column or "?").casefold() for column in index.columns[: len(names)]]
        if found == names and index.predicate is None:
            return index.name
    return None


def _has(expression: Expression, *names: str) -> bool:
    return any(one.__visit_name__ in names for one in visitors.iterate(expression))


def _is_aggregate(expression: Expression) -> bool:
    return any(
        isinstance(one, FunctionElement) and str(getattr(one, "name", "")).lower() in _AGGREGATES
        for one in visitors.iterate(expression)
    )
