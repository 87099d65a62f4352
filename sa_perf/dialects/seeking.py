"""How each database sorts and seeks: forms, NULLs, exact values.

A page that continues behind a row needs that row's sort values exactly as the database holds them:
what a driver or a type rounds on the way (SQLite's decimals and datetimes, MySQL's FLOAT, floats
that stand for NUMERIC) loses rows. `SortValue` says how to read such a value and how to send it
back. The forms were measured, see docs/explanation/pagination.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from sqlalchemy import bindparam, cast, literal_column, type_coerce
from sqlalchemy import types as sqltypes

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.types import TypeEngine

    Expression: TypeAlias = ColumnElement[Any]
    Number: TypeAlias = sqltypes.Numeric[Any] | sqltypes.Float[Any]

__all__ = ["Seeking", "SortValue", "seeking_for"]


def _as_it_is(expression: Expression) -> Expression:
    return expression


@dataclass(frozen=True, slots=True, kw_only=True)
class SortValue:
    """How the values of one sort key travel.

    Attributes:
        kind: what a cursor has to expect, see `sa_perf.pagination.cursors.payload`.
        parameter: makes the bind parameter of a given name, in the form that comparisons need.
        read: the expression to fetch in place of the key's own; None where that is exact.
        compare: the expression to compare with the parameter.
    """

    kind: str
    parameter: Callable[[str], Expression]
    read: Callable[[Expression], Expression] | None = None
    compare: Callable[[Expression], Expression] = _as_it_is


class Seeking:
    """The rules of a database of which nothing special is known.

    Args:
        dialect: SQLAlchemy's.
    """

    #: ``(a, b) > (x, y)`` seeks on all its columns.
    row_values: ClassVar[bool] = False
    #: Where directions differ, ``a > x OR (a = x AND b < y)`` seeks and a nested AND does not.
    expanded: ClassVar[bool] = False
    #: Where a leading value repeats over pages, rows that share it are sought by equality first.
    equality_first: ClassVar[bool] = True
    #: NULL sorts as if larger than every value.
    nulls_largest: ClassVar[bool] = False
    #: A key that IS NULL is known to be constant, so that an index has the keys behind it in order.
    null_is_constant: ClassVar[bool] = True
    #: ``NULLS FIRST`` and ``NULLS LAST`` are understood.
    nulls_clause: ClassVar[bool] = True

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self._dialect = dialect

    def sort_value(self, type_: TypeEngine[Any]) -> SortValue:
        """How values of a type are read and sent.

        Those of a ``TypeDecorator`` travel as it hands them to its implementation, so that a value
        object needs no codec.
        """
        outer = type_.dialect_impl(self._dialect)
        plain: TypeEngine[Any] = outer
        while isinstance(plain, sqltypes.TypeDecorator):
            plain = plain.impl_instance
        declared = type_
        while isinstance(declared, sqltypes.TypeDecorator):
            declared = declared.impl_instance
        found = self._of(plain, declared)
        if plain is outer or found.read is not None:
            return found
        return _retyped(found, plain)

    def _of(self, plain: TypeEngine[Any], declared: TypeEngine[Any]) -> SortValue:
        if isinstance(plain, (sqltypes.Numeric, sqltypes.Float)):
            return self._of_number(plain, declared)
        if isinstance(plain, sqltypes.Enum):
            return _raw("text", sqltypes.String())
        return _typed(_kind(plain), plain)

    def _of_number(self, plain: Number, declared: TypeEngine[Any]) -> SortValue:
        """Decimals made of floats, and floats made of decimals, are not exact: read their own."""
        is_float = isinstance(declared, sqltypes.Float)
        if plain.asdecimal == is_float:
            own: TypeEngine[Any]
            own = sqltypes.Double() if is_float else sqltypes.Numeric(asdecimal=True)
            return _raw("float" if is_float else "decimal", own)
        return _typed("float" if is_float else "decimal", plain)


class _SQLite(Seeking):
    """SQLite seeks a row value on its first column only, and its types are conventions.

    Datetimes are texts of whatever form was written (CURRENT_TIMESTAMP has no microseconds), and
    decimals are floats, so both travel as they are stored.
    """

    def _of(self, plain: TypeEngine[Any], declared: TypeEngine[Any]) -> SortValue:
        if isinstance(plain, sqltypes.DateTime):
            return _raw("datetime_text", sqltypes.NullType())
        if isinstance(plain, (sqltypes.Date, sqltypes.Time, sqltypes.JSON)):
            return _raw("any", sqltypes.NullType())
        return super()._of(plain, declared)

    def _of_number(self, plain: Number, declared: TypeEngine[Any]) -> SortValue:
        if isinstance(declared, sqltypes.Float) and not plain.asdecimal:
            return _typed("any", sqltypes.NullType())
        return _raw("any", sqltypes.NullType())


class _PostgreSQL(Seeking):
    """PostgreSQL seeks by row values, and compares nothing without its right type."""

    row_values = True
    nulls_largest = True
    null_is_constant = False

    def _of(self, plain: TypeEngine[Any], declared: TypeEngine[Any]) -> SortValue:
        if isinstance(plain, sqltypes.Enum) and not plain.native_enum:
            return _raw("text", sqltypes.String())
        if isinstance(plain, sqltypes.Enum):
            return SortValue(
                kind="text",
                parameter=lambda name: cast(bindparam(name, type_=sqltypes.String()), plain),
                read=lambda expression: type_coerce(expression, sqltypes.String()),
            )
        known = (sqltypes.NullType, sqltypes.Numeric, sqltypes.Float)
        if _kind(plain) == "any" and not isinstance(plain, known):
            # What has no exact form in Python has one as text: JSONB, INET, ranges, ...
            return SortValue(
                kind="text",
                parameter=lambda name: cast(bindparam(name, type_=sqltypes.Text()), plain),
                read=lambda expression: cast(expression, sqltypes.Text()),
            )
        return super()._of(plain, declared)

    def _of_number(self, plain: Number, declared: TypeEngine[Any]) -> SortValue:
        # The dialect's own type no longer says so.
        single = isinstance(declared, sqltypes.REAL) or (
            isinstance(declared, sqltypes.Float) and 0 < (declared.precision or 0) <= 24
        )
        found = super()._of_number(plain, declared)
        if not single:
            return found
        # 0.1 as double precision is not the 0.1 that a REAL holds.
        return SortValue(
            kind="float",
            parameter=lambda name: cast(bindparam(name, type_=sqltypes.Double()), sqltypes.REAL()),
            read=found.read,
        )


class _MySQL(Seeking):
    """MySQL and MariaDB scan for row values, and round FLOAT on its way out."""

    expanded = True
    equality_first = False
    nulls_clause = False

    def _of(self, plain: TypeEngine[Any], declared: TypeEngine[Any]) -> SortValue:
        if isinstance(plain, sqltypes.Enum) and plain.native_enum:
            # It sorts by its number, but compares with a text as a text.
            number = sqltypes.Integer()

            def numbered(expression: Expression) -> Expression:
                return type_coerce(expression, number) + literal_column("0", number)

            return SortValue(
                kind="int",
                parameter=lambda name: bindparam(name, type_=number),
                read=numbered,
                compare=numbered,
            )
        if isinstance(plain, sqltypes.Time):
            # A TIME may be negative, or days; SQLAlchemy folds it to a time of day.
            return _raw("interval", sqltypes.NullType())
        if isinstance(plain, sqltypes.JSON):
            return self._of_json(plain)
        return super()._of(plain, declared)

    def _of_json(self, plain: sqltypes.JSON) -> SortValue:
        text = sqltypes.Text()
        if getattr(self._dialect, "is_mariadb", False):  # there JSON is text by another name
            return _raw("text", text)
        return SortValue(
            kind="text",
            parameter=lambda name: cast(bindparam(name, type_=text), plain),
            read=lambda expression: cast(expression, sqltypes.CHAR()),
        )

    def _of_number(self, plain: Number, declared: TypeEngine[Any]) -> SortValue:
        if not isinstance(declared, sqltypes.Float) or isinstance(declared, sqltypes.Double):
            return super()._of_number(plain, declared)
        double: TypeEngine[float] = sqltypes.Double()
        # MySQL prints a FLOAT with six digits, a sum with all of them.
        return SortValue(
            kind="float",
            parameter=lambda name: bindparam(name, type_=double),
            read=lambda expression: type_coerce(expression, double) + literal_column("0e0", double),
            compare=lambda expression: type_coerce(expression, double),
        )


_RULES: dict[str, type[Seeking]] = {
    "sqlite": _SQLite,
    "postgresql": _PostgreSQL,
    "mysql": _MySQL,
    "mariadb": _MySQL,
}


def seeking_for(dialect: SQLAlchemyDialect) -> Seeking:
    """The rules of a database; of one that sa_perf does not know, the portable ones."""
    return _RULES.get(dialect.name, Seeking)(dialect)


def _typed(kind: str, type_: TypeEngine[Any]) -> SortValue:
    return SortValue(kind=kind, parameter=lambda name: bindparam(name, type_=type_))


def _raw(kind: str, type_: TypeEngine[Any]) -> SortValue:
    """As the database holds it, without what the key's own type would make of it."""
    return _retyped(_typed(kind, type_), type_)


def _retyped(found: SortValue, type_: TypeEngine[Any]) -> SortValue:
    def retyped(expression: Expression) -> Expression:
        return type_coerce(expression, type_)

    return SortValue(kind=found.kind, parameter=found.parameter, read=retyped, compare=retyped)


_KINDS: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (sqltypes.Date, "date"),
    (sqltypes.Time, "time"),
    (sqltypes.Interval, "interval"),
    (sqltypes.Boolean, "bool"),
    (sqltypes.Integer, "int"),
    (sqltypes.String, "text"),
    (sqltypes.LargeBinary, "bytes"),
    (sqltypes.ARRAY, "list"),
)


def _kind(plain: TypeEngine[Any]) -> str:
    if isinstance(plain, sqltypes.DateTime):
        return "aware" if plain.timezone else "naive"
    if isinstance(plain, sqltypes.Uuid):
        return "uuid" if plain.as_uuid else "text"
    for type_, kind in _KINDS:
        if isinstance(plain, type_):
            return kind
    return "any"
