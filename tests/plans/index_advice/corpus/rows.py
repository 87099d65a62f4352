"""Rows as expressions of their number, the same on each database.

A schema says what a row holds as SQLAlchemy expressions of ``n``; the database makes the rows by
one INSERT ... SELECT a table. Whatever looks random is a function of ``n`` and a salt in whole
numbers, so a row is the same everywhere and every time. Cost: some 10 s a schema at full size.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    MetaData,
    String,
    Table,
    case,
    cast,
    column,
    func,
    insert,
    literal,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.functions import FunctionElement

__all__ = [
    "BEGIN", "END", "SPAN", "Document", "Moment", "Rows", "chosen", "drawn", "fill", "key_of_rank",
    "mixed", "one_of", "skewed", "written",
]  # fmt: skip

#: What the data tell of: two years, up to "now".
BEGIN = dt.datetime(2024, 1, 1)
END = dt.datetime(2026, 1, 1)
#: Seconds of it.
SPAN = int((END - BEGIN).total_seconds())

_PRIME = 2_147_483_647
_UNIT = 1 << 20
#: Of the statistics of a column, in PostgreSQL; 100 is its default.
_LARGEST_TARGET = 500
#: Neighbours in rank are strangers by key; no table has a multiple of it in rows.
_STRIDE = 7_919

#: Rows of each table by its name.
Rows: TypeAlias = Mapping[str, int]
#: A column of whole numbers; most of what is done with it can be done with an int as well.
Number: TypeAlias = Any


class Moment(FunctionElement[dt.datetime]):
    """`BEGIN` and some seconds."""

    type = DateTime()
    name = "moment"
    inherit_cache = True


@compiles(Moment)
def _moment(element: Moment, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(timestamp '{BEGIN}' + ({seconds}) * interval '1 second')"


@compiles(Moment, "sqlite")
def _moment_as_text(element: Moment, compiler: Any, **kw: Any) -> str:
    epoch = int(BEGIN.replace(tzinfo=dt.timezone.utc).timestamp())
    seconds = compiler.process(element.clauses, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%S', {epoch} + ({seconds}), 'unixepoch') || '.000000'"


@compiles(Moment, "mariadb")
@compiles(Moment, "mysql")
def _moment_by_interval(element: Moment, compiler: Any, **kw: Any) -> str:
    return f"(timestamp('{BEGIN}') + INTERVAL ({compiler.process(element.clauses, **kw)}) SECOND)"


class Document(FunctionElement[Any]):
    """A text of JSON as the column takes it."""

    type = String()
    name = "document"
    inherit_cache = True


@compiles(Document)
def _document(element: Document, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(element.clauses, **kw))


@compiles(Document, "postgresql")
def _document_as_jsonb(element: Document, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(cast(element.clauses.clauses[0], JSONB), **kw))


def mixed(n: Number, salt: int, below: int = _PRIME) -> Number:
    """A whole number that looks random, 0 <= it < ``below``."""
    whole = (n * n % _PRIME * 48_271 + n * (salt * 1_299_709 % _PRIME) + salt * 15_485_863) % _PRIME
    return whole if below == _PRIME else whole % below


def skewed(n: Number, salt: int, count: int) -> Number:
    """A key from 1 to ``count``, few of which are frequent: the first in rank has 1.7% of 200,000.

    By the cube of an even draw, so the k-th in rank is met as often as k ** (-2/3).
    """
    draw = mixed(n, salt, _UNIT)
    rank = draw * draw // _UNIT * draw // _UNIT * count // _UNIT
    return (rank * _STRIDE + 13) % count + 1


def key_of_rank(rank: int, count: int) -> int:
    """The key that `skewed` gives to a rank, 0 being the most frequent."""
    return (rank * _STRIDE + 13) % count + 1


def drawn(count: int, draw: float) -> int:
    """The key that `skewed` gives to a draw, 0 <= it < 1."""
    return key_of_rank(int(count * draw**3), count)


def one_of(draw: Number, *values: str) -> ColumnElement[str]:
    """One of the values; ``draw`` is from 0 to below their number."""
    return case(dict(enumerate(values)), value=draw)


def chosen(draw: Number, shares: Mapping[Any, int], otherwise: Any) -> ColumnElement[Any]:
    """Each value with its share of the ``draw``, in the draw's unit."""
    whens, upto = [], 0
    for value, share in shares.items():
        upto += share
        whens.append((draw < upto, value if isinstance(value, ColumnElement) else literal(value)))
    return case(*whens, else_=otherwise)


def written(n: Number, digits: int = 0) -> ColumnElement[str]:
    """A number as text, with zeros before it up to so many digits."""
    if not digits:
        return cast(n, String(20))
    return func.substr(cast(n + 10**digits, String(20)), 2)


def fill(
    engine: Engine,
    metadata: MetaData,
    rows: Rows,
    contents: Mapping[str, Callable[[Number, Rows], Mapping[str, Any]]],
    *,
    views: Sequence[str] = (),
    statistics: bool = True,
) -> None:
    """Create the tables with their rows, then indexes, views and statistics.

    Args:
        engine: of an empty database.
        metadata: the tables.
        rows: how many each has.
        contents: by table: column -> expression of the row's number.
        views: the statements that create them.
        statistics: gather them, of all rows of a small table, so that no plan hangs on chance;
            without, PostgreSQL is kept from doing so by itself.
    """
    name = engine.dialect.name
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in _BEFORE.get(name, ()):
            connection.exec_driver_sql(statement).close()
        for one in metadata.sorted_tables:
            connection.execute(CreateTable(one))
        connection.exec_driver_sql("BEGIN")
        for one in metadata.sorted_tables:
            _insert(connection, one, rows, contents[one.name])
        connection.exec_driver_sql("COMMIT")
        for one in metadata.sorted_tables:
            for index in sorted(one.indexes, key=lambda index: str(index.name)):
                index.create(connection)
        for statement in (*views, *_AFTER.get(name, ())):
            connection.exec_driver_sql(statement).close()
        _gather(connection, metadata, rows if statistics else None)


def _insert(
    connection: Connection,
    into: Table,
    rows: Rows,
    contents: Callable[[Number, Rows], Mapping[str, Any]],
) -> None:
    source, n = _numbers(connection.dialect.name, rows[into.name])
    made = contents(n, rows)
    values = select(
        *(value if hasattr(value, "label") else literal(value) for value in made.values())
    )
    connection.execute(insert(into).from_select(list(made), values.select_from(source)))


def _numbers(dialect: str, count: int) -> tuple[Any, Number]:
    """A FROM of the numbers from 1, and the number."""
    if dialect == "postgresql":
        series = func.generate_series(cast(1, BigInteger), cast(count, BigInteger))
        source: Any = series.table_valued(column("n", BigInteger)).render_derived("numbers")
        return source, source.c.n
    if dialect == "sqlite":
        first = select(literal(1, BigInteger).label("n")).cte("numbers", recursive=True)
        source = first.union_all(select(first.c.n + 1).where(first.c.n < count))
        return source, source.c.n
    source = table(f"seq_1_to_{count}", column("seq", BigInteger))
    return source, source.c.seq


def _gather(connection: Connection, metadata: MetaData, rows: Rows | None) -> None:
    name = connection.dialect.name
    if name == "sqlite":
        if rows is not None:
            connection.execute(text("ANALYZE"))
        return
    for one in metadata.sorted_tables:
        if rows is None:
            if name == "postgresql":
                connection.exec_driver_sql(f"ALTER TABLE {one.name} SET (autovacuum_enabled = off)")
        elif name == "postgresql":
            _sample_all_of_a_small_table(connection, one, rows[one.name])
            connection.exec_driver_sql(f"VACUUM ANALYZE {one.name}")
        else:
            connection.exec_driver_sql(f"ANALYZE TABLE {one.name}").close()


def _sample_all_of_a_small_table(connection: Connection, of: Table, rows: int) -> None:
    """PostgreSQL takes 300 rows for each unit of the largest target of a table's columns.

    So a key's target makes it take all; those of the other columns stay.
    """
    target = -(-rows // 300)
    if target <= _LARGEST_TARGET:
        (key, *_) = of.primary_key
        altered = f"ALTER COLUMN {key.name} SET STATISTICS {max(target, 100)}"
        connection.exec_driver_sql(f"ALTER TABLE {of.name} {altered}")


#: Rows of which a foreign key is true by construction need not be looked up.
_BEFORE = {
    "sqlite": ("PRAGMA journal_mode = off", "PRAGMA synchronous = off"),
    "postgresql": ("SET session_replication_role = replica",),
    "mariadb": ("SET foreign_key_checks = 0", "SET unique_checks = 0"),
}
_AFTER = {
    "sqlite": ("PRAGMA journal_mode = delete",),
    "postgresql": ("SET session_replication_role = origin",),
    "mariadb": ("SET foreign_key_checks = 1", "SET unique_checks = 1"),
}
