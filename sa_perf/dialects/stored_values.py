"""Column values as a database keeps them, read and written exactly.

An archive must give back what was in the database, not what a type of SQLAlchemy or of the
application makes of it: so values are read below all their processing, as NULL, bool, int, float,
str or bytes. What a driver would round, shift or not be able to hold (an interval of months, the
date ``infinity``, a ``FLOAT`` of MySQL) is read as the database's own text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    CHAR,
    ColumnElement,
    Numeric,
    Text,
    TypeDecorator,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    tuple_,
    type_coerce,
)
from sqlalchemy import types as sqltypes
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import UserDefinedType

from sa_perf.errors import ArchiveError, UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Column, Connection, Select, Table, TableClause
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

__all__ = ["Stored", "StoredValues", "stored_values_for"]

#: The recorder leaves out statements that carry it.
_UNRECORDED = {"sa_perf_ignore": True}


class Stored(UserDefinedType[Any]):
    """A type that changes nothing on the way to the database and back."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Nothing is created with it."""
        raise NotImplementedError


class StoredValues:
    """How values of one kind of database are read and written as they are kept. Stateless.

    Args:
        dialect: SQLAlchemy's.

    Attributes:
        dialect: SQLAlchemy's.
        family: databases of one family read each other's stored values.
    """

    family: ClassVar[str] = ""

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self.dialect = dialect

    def read(self, source: Column[Any]) -> ColumnElement[Any]:
        """An expression that gives a column's value: NULL, bool, int, float, str or bytes."""
        return type_coerce(source, Stored())

    def write(self, target: Column[Any], value: BindParameter[Any]) -> ColumnElement[Any]:
        """An expression that gives the column what `read` gave, bound as it is."""
        return value

    def insert(
        self,
        target: Table,
        columns: Sequence[Column[Any]],
        *,
        constants: Mapping[Column[Any], object] | None = None,
    ) -> Insert:
        """An INSERT of values as `read` gives them; defaults of Python do not fire.

        Its parameters are called ``c0``, ``c1`` and so on, in the order of the columns.

        Args:
            target: where rows go.
            columns: of it.
            constants: further columns, with values as their types take them.
        """
        fixed = constants or {}
        values: dict[str, Any] = {
            one.name: self.write(one, bindparam(f"c{number}", type_=self._bound_type(one)))
            for number, one in enumerate(columns)
        }
        values.update((one.name, literal(value, one.type)) for one, value in fixed.items())
        return self._insert(self.plain_table(target, [*columns, *fixed])).values(values)

    def insert_from(
        self, target: Table, columns: Sequence[Column[Any]], source: Select[Any]
    ) -> Insert:
        """An INSERT of what a SELECT of the same columns gives."""
        names = [one.name for one in columns]
        return self._insert(self.plain_table(target, columns)).from_select(names, source)

    def plain_table(self, target: Table, columns: Sequence[Column[Any]]) -> TableClause:
        """A table with these columns and nothing else: no types, no defaults, no events."""
        return table(
            target.name, *(column(one.name, Stored()) for one in columns), schema=target.schema
        )

    def matches(
        self, columns: Sequence[Column[Any]], keys: Sequence[Sequence[object]]
    ) -> ColumnElement[bool]:
        """Whether columns hold one of these values, which are as `read` gives them."""
        plain = [type_coerce(one, self._bound_type(one)) for one in columns]
        if len(columns) == 1:
            return plain[0].in_([self._bound(columns[0], key[0]) for key in keys])
        rows = [
            tuple(self._bound(one, value) for one, value in zip(columns, key, strict=True))
            for key in keys
        ]
        return tuple_(*plain).in_(rows)

    def above(self, columns: Sequence[Column[Any]], key: Sequence[object]) -> ColumnElement[bool]:
        """Whether columns stand behind these values, which are as `read` gives them."""
        plain = [type_coerce(one, self._bound_type(one)) for one in columns]
        bounds = [
            self.write(one, bindparam(None, value, type_=self._bound_type(one)))
            for one, value in zip(columns, key, strict=True)
        ]
        if len(columns) == 1:
            return plain[0] > bounds[0]
        return tuple_(*plain) > tuple_(*bounds)

    def session(self, connection: Connection) -> dict[str, str]:
        """Settings of the session that the texts of values depend on; one statement at most.

        Raises:
            ArchiveError: with these settings some texts could not be read again.
        """
        return {}

    @contextmanager
    def within(self, connection: Connection, session: Mapping[str, str]) -> Iterator[None]:
        """Let values in a transaction read as they did in a session with these settings."""
        yield

    def kept_type(self, source: Column[Any]) -> TypeEngine[Any]:
        """A column's type below all decorators, as this database has it."""
        found = source.type.dialect_impl(self.dialect)
        while isinstance(found, TypeDecorator):
            found = found.type_engine(self.dialect)
        return found

    def type_name(self, source: Column[Any]) -> str:
        """A column's type as it stands in CREATE TABLE."""
        return source.type.compile(dialect=self.dialect)

    def _insert(self, target: TableClause) -> Insert:
        return insert(target)

    def _bound_type(self, target: Column[Any]) -> TypeEngine[Any]:
        return Stored()

    def _bound(self, target: Column[Any], value: object) -> object:
        """A value of a list for IN."""
        return value


class _SQLite(StoredValues):
    """Keeps NULL, integer, real, text and blob, whatever the column's type says."""

    family = "sqlite"


class _PostgreSQL(StoredValues):
    """Reads again what it writes as text, of any type, infinity and months included.

    A parameter without a type takes that of its column, as a quoted literal does ("unknown" in
    the manual, 10.3); drivers that prepare parameters with types of Python's own cannot do so.
    """

    family = "postgresql"
    #: That drivers give and take without loss.
    _native: ClassVar[tuple[type, ...]] = (
        sqltypes.Boolean,
        sqltypes.Float,
        sqltypes.Integer,
        sqltypes.LargeBinary,
        sqltypes.String,
    )

    def read(self, source: Column[Any]) -> ColumnElement[Any]:
        if isinstance(self.kept_type(source), self._native):
            return super().read(source)
        return type_coerce(cast(type_coerce(source, Stored()), Text), Stored())

    def session(self, connection: Connection) -> dict[str, str]:
        names = ("DateStyle", "IntervalStyle", "extra_float_digits", "TimeZone")
        asked = select(*(func.current_setting(name) for name in names))
        date, interval, digits, zone = connection.execute(
            asked, execution_options=_UNRECORDED
        ).one()
        if not date.startswith("ISO") or interval != "postgres" or int(digits) < 1:
            raise ArchiveError(
                f"values cannot be read exactly with DateStyle {date!r}, IntervalStyle "
                f"{interval!r} and extra_float_digits {digits!r}; connect with ISO, postgres and "
                "1, which are the defaults"
            )
        return {"TimeZone": zone}

    @contextmanager
    def within(self, connection: Connection, session: Mapping[str, str]) -> Iterator[None]:
        wanted = {"DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "extra_float_digits": "1"}
        settings = {**wanted, **session}
        asked = select(*(func.set_config(name, value, True) for name, value in settings.items()))
        connection.execute(asked, execution_options=_UNRECORDED)
        yield  # to the end of the transaction

    def _insert(self, target: TableClause) -> Insert:
        return _OverridingInsert(target)


class _MySQL(StoredValues):
    """Gives text for what it keeps as decimals and times; drivers make objects of those.

    ``FLOAT`` is shown with 6 digits (MySQL bug 87794) unless it is made a DOUBLE first. A
    ``TIMESTAMP`` is read as seconds since 1970, which no hour that comes twice can shift; to write
    it, be `within` a session.
    """

    family = "mysql"
    _as_text: ClassVar[tuple[type, ...]] = (
        sqltypes.Date,
        sqltypes.DateTime,
        sqltypes.Numeric,
        sqltypes.Time,
    )

    def read(self, source: Column[Any]) -> ColumnElement[Any]:
        kept = self.kept_type(source)
        plain = super().read(source)
        if isinstance(kept, sqltypes.Float):
            return type_coerce(plain.op("*")(literal_column("1e0")), Stored())
        if isinstance(kept, sqltypes.TIMESTAMP):
            return type_coerce(cast(func.unix_timestamp(plain), CHAR), Stored())
        if isinstance(kept, self._as_text):
            return type_coerce(cast(plain, CHAR), Stored())
        return plain

    def write(self, target: Column[Any], value: BindParameter[Any]) -> ColumnElement[Any]:
        if isinstance(self.kept_type(target), sqltypes.TIMESTAMP):
            return func.from_unixtime(cast(value, Numeric(20, 6)))
        return value

    @contextmanager
    def within(self, connection: Connection, session: Mapping[str, str]) -> Iterator[None]:
        """In UTC: in another zone no value gives the second of two hours that are called alike."""
        asked = text("SELECT @@session.time_zone")
        own = connection.execute(asked, execution_options=_UNRECORDED).scalar_one()
        put = text("SET time_zone = :zone")
        connection.execute(put, {"zone": "+00:00"}, execution_options=_UNRECORDED)
        try:
            yield
        finally:
            if not connection.invalidated:
                connection.execute(put, {"zone": own}, execution_options=_UNRECORDED)

    def _bound(self, target: Column[Any], value: object) -> object:
        if isinstance(self.kept_type(target), sqltypes.TIMESTAMP):
            return self.write(target, bindparam(None, value, type_=Stored()))
        return value


_FAMILIES: dict[str, type[StoredValues]] = {
    "sqlite": _SQLite,
    "postgresql": _PostgreSQL,
    "mysql": _MySQL,
    "mariadb": _MySQL,
}


def stored_values_for(dialect: SQLAlchemyDialect) -> StoredValues:
    """The reading and writing of stored values for a database.

    Args:
        dialect: SQLAlchemy's.

    Raises:
        UnsupportedDatabase: it is not known how its values can be read exactly.
    """
    family = _FAMILIES.get(dialect.name)
    if family is None:
        raise UnsupportedDatabase(
            f"how values of {dialect.name!r} are archived exactly is not known; archive rows of "
            f"{', '.join(sorted(_FAMILIES))}"
        )
    return family(dialect)


class _OverridingInsert(Insert):
    """Gives identity columns their archived values too (``GENERATED ALWAYS``)."""

    inherit_cache = True


@compiles(_OverridingInsert)
def _compile_overriding(
    element: Insert,
    compiler: SQLCompiler,
    **options: Any,  # noqa: ANN401  # SQLAlchemy's own
) -> str:
    statement: str = compiler.visit_insert(element, **options)  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    before = ") SELECT " if element.select is not None else ") VALUES ("
    return statement.replace(before, f") OVERRIDING SYSTEM VALUE{before[1:]}", 1)
