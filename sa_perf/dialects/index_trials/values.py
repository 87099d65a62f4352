"""Values for a statement's placeholders, taken from rows of its tables.

For databases that plan for given values only, and for running statements of which nothing but the
shape is known. A placeholder that is compared with a column gets that column's value in some row,
so that keys exist and frequent values come up often; one of a LIMIT gets a page's size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sa_perf.dialects.parsing import quiet_sqlglot
from sa_perf.errors import ExplainError

if TYPE_CHECKING:
    from sqlglot import exp

    from sa_perf.dialects.base import Dialect

__all__ = ["Row", "Shape"]

#: Column in lower case -> value.
Row: TypeAlias = "Mapping[str, object]"

_PAGE_ROWS = 20
_MAX_PARSED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A placeholder: the columns that it may be compared with, or a number.

    Attributes:
        columns: (table as it is written, column in lower case), the likeliest first.
        lower: it is the lower end of a range.
        number: a number to take instead.
    """

    columns: tuple[tuple[str, str], ...] = ()
    lower: bool = False
    number: int | None = None


class Shape:
    """A statement whose values are not known.

    Args:
        statement: as it goes to the driver, or its shape, where ``?`` stands for a literal as well.
        dialect: of the database and its driver.
        mark: placeholder of the driver's that takes its values by position, ``?`` or ``%s``.
        page_rows: what a LIMIT takes.

    Raises:
        ExplainError: it cannot be read.
    """

    def __init__(
        self, statement: str, dialect: Dialect, *, mark: str, page_rows: float | None = None
    ) -> None:
        lexer = dialect.lexer
        marked = lexer.rewrite(statement, dialect.paramstyle, lambda key: "?")
        names: list[str] = []

        def name(key: str | int) -> str:
            names.append(f"p{len(names)}")
            return f":{names[-1]}"

        tree = _parsed(lexer.rewrite(marked, "qmark", name), dialect)
        places = _places(tree, max(1, round(page_rows or _PAGE_ROWS)))
        self._places = [places.get(one, _Place()) for one in names]
        doubled = marked.replace("%", "%%") if "%" in mark else marked
        #: The statement with a placeholder for each value.
        self.text = lexer.rewrite(doubled, "qmark", lambda key: mark)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables whose rows are needed, as the statement writes them."""
        named = (table for place in self._places for table, _ in place.columns)
        return tuple(dict.fromkeys(named))

    def values(self, rows: Callable[[str], Sequence[Row]]) -> tuple[object, ...]:
        """A value for each placeholder; None where nothing is known of it.

        Args:
            rows: gives some rows of a table: the first is taken, and for the ends of a range the
                least and the greatest value of all.
        """
        return tuple(_value(place, rows) for place in self._places)

    def unknown(self, rows: Callable[[str], Sequence[Row]]) -> tuple[str, ...]:
        """Columns that placeholders are compared with, and of which no row has a value.

        Args:
            rows: as for `values`; of a table without rows nothing is missed.
        """
        return tuple(
            dict.fromkeys(
                column
                for place in self._places
                if place.number is None and _value(place, rows) is None
                for table, column in place.columns
                if any(column in row for row in rows(table))
            )
        )


def _value(place: _Place, rows: Callable[[str], Sequence[Row]]) -> object:
    if place.number is not None:
        return place.number
    for table, column in place.columns:
        found = [row[column] for row in rows(table) if row.get(column) is not None]
        if not found:
            continue
        if not place.lower:
            return found[0]
        try:
            return min(found)  # type: ignore[type-var]  # of one column, so of one type
        except TypeError:
            return found[0]
    return None


def _parsed(text: str, dialect: Dialect) -> exp.Expr:
    import sqlglot
    from sqlglot.errors import SqlglotError

    if len(text) > _MAX_PARSED:
        raise ExplainError("its values are not known, and it is too long to find some that fit")
    try:
        with quiet_sqlglot():
            trees = sqlglot.parse(text, read=dialect.sqlglot_name)
    except (SqlglotError, RecursionError) as error:
        raise ExplainError(
            "its values are not known, and it could not be read to find some that fit"
        ) from error
    if len(trees) != 1 or trees[0] is None:
        raise ExplainError("its values are not known, and it is more than one statement")
    return trees[0]


def _places(tree: exp.Expr, page_rows: int) -> dict[str, _Place]:
    from sqlglot import exp

    tables = [
        ((table.alias or table.name).casefold(), _written(table))
        for table in tree.find_all(exp.Table)
        if table.name
    ]
    return {
        place.name: _place(place, tables, page_rows) for place in tree.find_all(exp.Placeholder)
    }


def _place(place: exp.Expr, tables: Sequence[tuple[str, str]], page_rows: int) -> _Place:
    from sqlglot import exp

    if place.find_ancestor(exp.Offset) is not None:
        return _Place(number=0)
    if place.find_ancestor(exp.Limit, exp.Fetch) is not None:
        return _Place(number=page_rows)
    if isinstance(place.parent, exp.EQ) and isinstance(place.parent.parent, exp.Update):
        comparison: exp.Expr | None = place.parent
    else:
        comparison = place.find_ancestor(exp.Predicate, exp.Between, exp.In, exp.Select)
    if comparison is None or isinstance(comparison, exp.Select):
        return _Place()
    columns = tuple(
        (written, column.name.casefold())
        for column in comparison.find_all(exp.Column)
        for alias, written in tables
        if not column.table or column.table.casefold() == alias
    )
    lower = isinstance(comparison, (exp.GT, exp.GTE)) or (
        isinstance(comparison, exp.Between) and comparison.args.get("low") is place
    )
    return _Place(columns=columns, lower=lower)


def _written(table: exp.Table) -> str:
    return f"{table.db}.{table.name}" if table.db else table.name
