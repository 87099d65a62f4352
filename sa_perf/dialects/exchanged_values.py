"""Column values on their way between kinds of databases that differ.

What one kind keeps the other does not read, so values go as the Python objects of the columns'
types; JSON goes as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json import dumps, loads
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, column, table, type_coerce
from sqlalchemy import types as sqltypes
from sqlalchemy.types import UserDefinedType

from sa_perf.dialects.stored_values import StoredValues, stored_values_for

if TYPE_CHECKING:
    from sqlalchemy import Column, Table, TableClause
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.sql.dml import Insert
    from sqlalchemy.types import TypeEngine

__all__ = ["ExchangedValues"]


class ExchangedValues(StoredValues):
    """Values as the types' own Python objects: between kinds of databases that differ.

    JSON goes as text: an object could not tell NULL from JSON's null.
    """

    def read(self, source: Column[Any]) -> ColumnElement[Any]:
        """The column."""
        if self._is_json(source):
            return type_coerce(stored_values_for(self.dialect).read(source), _ExchangedJson())
        return source

    def plain_table(self, target: Table, columns: Sequence[Column[Any]]) -> TableClause:
        """The columns with their types."""
        return table(
            target.name,
            *(column(one.name, self._bound_type(one)) for one in columns),
            schema=target.schema,
        )

    def _insert(self, target: TableClause) -> Insert:
        return stored_values_for(self.dialect)._insert(target)

    def _bound_type(self, target: Column[Any]) -> TypeEngine[Any]:
        return _ExchangedJson() if self._is_json(target) else target.type

    def _is_json(self, source: Column[Any]) -> bool:
        return isinstance(self.kept_type(source), sqltypes.JSON)


class _JsonText:
    """The text of a JSON value; equal to another one whose value is the same.

    Databases write one value in several ways, and the object that a text stands for is None for
    SQL's NULL and for JSON's alike.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        """By value."""
        if not isinstance(other, _JsonText):
            return NotImplemented
        return self.text == other.text or loads(self.text) == loads(other.text)

    __hash__ = None  # type: ignore[assignment]  # no column of a key holds JSON


class _ExchangedJson(UserDefinedType[_JsonText]):
    """JSON as its text, which keeps JSON's null apart from NULL."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Nothing is created with it."""
        raise NotImplementedError

    def bind_processor(self, dialect: SQLAlchemyDialect) -> Callable[[Any], Any]:
        """To the text."""
        return lambda value: None if value is None else value.text

    def result_processor(self, dialect: SQLAlchemyDialect, coltype: object) -> Callable[[Any], Any]:
        """From the text; SQLite makes a number of one that looks so."""

        def process(value: object) -> _JsonText | None:
            if value is None:
                return None
            if isinstance(value, (bytes, bytearray)):
                value = value.decode("utf-8")
            return _JsonText(value if isinstance(value, str) else dumps(value))

        return process
