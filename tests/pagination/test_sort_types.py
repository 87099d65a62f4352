"""Every column type that has an order sorts pages without losing a row."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Unicode,
    Uuid,
    select,
)
from sqlalchemy.dialects import mysql, postgresql

from sa_perf.pagination import CursorSigner, keyset

SIGNER = CursorSigner(["a key that only these tests have, of some length"])
UTC = timezone.utc


class Colour(enum.Enum):
    """Its names and its values sort in different ways."""

    red = "c"
    green = "b"
    blue = "a"


@dataclass(frozen=True)
class Money:
    """A value object."""

    cents: int


class MoneyType(TypeDecorator[Money]):
    """Stores cents."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        """To cents."""
        return None if value is None else value.cents

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """From cents."""
        return None if value is None else Money(value)


class Upper(TypeDecorator[str]):
    """Loses what it reads: the value in Python is not that of the database."""

    impl = String(20)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Shout."""
        return None if value is None else value.upper()


EVERYWHERE: dict[str, tuple[Any, list[Any]]] = {
    "integer": (Integer, [3, -1, 0, 2**31 - 1]),
    "small": (SmallInteger, [3, -1, 0]),
    "big": (BigInteger, [2**62, -(2**63), 5, 2**53 + 1, 2**53]),
    "boolean": (Boolean, [True, False]),
    "float": (Float, [0.1, -2.5, 1.5, 0.3, 100.25]),
    "double": (Double, [0.1, 0.1 + 2**-55, 1e300, -1e-300, 3.0]),
    "single": (REAL, [0.1, 0.2, 0.3, 1.7, -5.5]),
    "float as decimal": (Float(asdecimal=True), [Decimal("0.1"), Decimal("2.5"), Decimal("0.7")]),
    "numeric": (
        Numeric(20, 6),
        [Decimal("0.100001"), Decimal("0.100002"), Decimal("-7"), Decimal("123456789.5")],
    ),
    "numeric as float": (Numeric(20, 6, asdecimal=False), [0.25, 0.1, -7.0]),
    "text": (Text, ["b", "a\r\nc", "", "ä", "snow ☃", "a'b"]),
    "string": (String(50), ["b", "B", "a", "aa", "a b", "\t"]),
    "unicode": (Unicode(50), ["é", "e", "z"]),
    "char": (CHAR(5), ["b", "abc", "abcde", ""]),
    "bytes": (LargeBinary(20), [b"", b"\x00\xff", b"abc", b"\n"]),
    "date": (Date, [date(2026, 1, 1), date(1999, 12, 31), date(2026, 1, 2)]),
    "time": (Time, [time(0, 0), time(23, 59, 59), time(12, 30, 1)]),
    "datetime": (DateTime, [datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 1)]),
    "interval": (Interval, [timedelta(days=2), timedelta(seconds=1), timedelta(hours=30)]),
    "enum": (Enum(Colour), list(Colour)),
    "enum as text": (Enum(Colour, native_enum=False, length=9), list(Colour)),
    "enum of words": (Enum("low", "high", "mid", name="level"), ["low", "high", "mid"]),
    "uuid": (Uuid, [UUID(int=2), UUID(int=1 << 127), UUID(int=77)]),
    "uuid as text": (Uuid(as_uuid=False), [str(UUID(int=2)), str(UUID(int=1 << 100))]),
    "value object": (MoneyType, [Money(5), Money(-1), Money(900)]),
    "read with a loss": (Upper, ["a", "B", "c", "A"]),
}
SOME: dict[str, dict[str, tuple[Any, list[Any]]]] = {
    "sqlite": {
        "infinity": (Float, [math.inf, -math.inf, 1.0]),
        "microseconds": (DateTime, [datetime(2026, 1, 1, 0, 0, 0, at) for at in (0, 1, 999999)]),
        "json": (JSON, ["a", "é", 1, 2.5, True]),
    },
    "postgresql": {
        "infinity": (Double, [math.inf, -math.inf, math.nan, 1.0]),
        "numeric without a limit": (
            Numeric,
            [Decimal("1.00000000000000000001"), Decimal("1"), Decimal("NaN"), Decimal("1.10")],
        ),
        "microseconds": (DateTime, [datetime(2026, 1, 1, 0, 0, 0, at) for at in (0, 1, 999999)]),
        "aware": (
            DateTime(timezone=True),
            [
                datetime(2026, 1, 1, tzinfo=UTC),
                datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5, minutes=30))),
                datetime(2025, 12, 31, 23, 0, 0, 1, tzinfo=UTC),
            ],
        ),
        "aware time": (Time(timezone=True), [time(1, tzinfo=UTC), time(2, tzinfo=UTC)]),
        "array": (ARRAY(Integer), [[1, 2], [1], [], [3]]),
        "array of texts": (ARRAY(Text), [["b"], ["a", "c"], ["a'"]]),
        "jsonb": (postgresql.JSONB, ["a", 1, 2.5, True, {"b": [1, None]}, [1]]),
        "address": (postgresql.INET, ["10.0.0.1", "10.0.0.0/8", "::1"]),
        "long interval": (
            postgresql.INTERVAL,
            [timedelta(days=400), timedelta(microseconds=1), timedelta(days=-3)],
        ),
        "bits": (postgresql.BIT(3), ["101", "001", "111"]),
    },
    "mariadb": {
        "microseconds": (
            mysql.DATETIME(fsp=6),
            [datetime(2026, 1, 1, 0, 0, 0, at) for at in (0, 1, 999999)],
        ),
        "unsigned": (mysql.BIGINT(unsigned=True), [2**64 - 1, 0, 2**63]),
        "json": (JSON, ["a", "é", 1, 2.5, True]),
        "more than a day": (
            mysql.TIME(fsp=6),
            [timedelta(hours=30), timedelta(hours=-1), timedelta(hours=29, microseconds=5)],
        ),
        "fractions of a time": (
            mysql.TIME(fsp=6),
            [time(1, 0, 0, 5), time(1), time(23, 59, 59, 999999)],
        ),
    },
}
TYPES = [("everywhere", name) for name in EVERYWHERE] + [
    (backend, name) for backend, types in SOME.items() for name in types
]


def _filled(database: Any, type_: Any, values: list[Any]) -> tuple[Any, Table]:
    """A table in which each value stands thrice and NULL four times."""
    engine = database.engine()
    metadata = MetaData()
    table = Table(
        "sorted_things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("value", type_, nullable=True),
    )
    metadata.drop_all(engine)
    metadata.create_all(engine)
    rows = [*values, *values, *values, None, None, None, None]
    with engine.begin() as connection:
        # One by one: SQLite's executemany and NaN apart, each row goes its own way.
        for at, value in enumerate(rows):
            connection.execute(table.insert(), {"id": at + 1, "value": value})
    return engine, table


@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
@pytest.mark.parametrize(("where", "name"), TYPES, ids=[f"{a} {b}" for a, b in TYPES])
def test_values_of_a_type_sort_pages(
    shared_db: Any, where: str, name: str, descending: bool
) -> None:
    if where not in ("everywhere", shared_db.backend):
        pytest.skip(f"a type of {where}")
    type_, values = (EVERYWHERE if where == "everywhere" else SOME[where])[name]
    engine, table = _filled(shared_db, type_, values)
    key = table.c.value.desc() if descending else table.c.value
    stmt = select(table.c.id, table.c.value).order_by(key, table.c.id)
    try:
        with engine.connect() as connection:
            expected = [row.id for row in connection.execute(stmt)]
            pager = keyset(stmt, size=3, signer=SIGNER)
            pages = [pager.page(connection)]
            while pages[-1].next_cursor is not None and len(pages) < 50:
                pages.append(pager.page(connection, pages[-1].next_cursor))
            assert [row.id for page in pages for row in page] == expected
            back = [pages[-1]]
            while back[0].previous_cursor is not None and len(back) < 50:
                back.insert(0, pager.page(connection, back[0].previous_cursor))
            assert [row.id for page in back for row in page] == expected
    finally:
        table.drop(engine)
        engine.dispose()


def test_texts_that_stand_for_datetimes_are_taken_as_they_are(sqlite_database: Any) -> None:
    engine, table = _filled(sqlite_database, DateTime, [])
    with engine.begin() as connection:
        for at, text in enumerate(
            ["2026-01-01 00:00:00", "2026-01-01 00:00:00.000000", "2026-01-01 00:00:00"] * 3
        ):
            connection.exec_driver_sql("INSERT INTO sorted_things VALUES (?, ?)", (100 + at, text))
    stmt = select(table).order_by(table.c.value, table.c.id)
    with engine.connect() as connection:
        expected = [row.id for row in connection.execute(stmt)]
        pages = keyset(stmt, size=2, signer=SIGNER).pages(connection)
        assert [row.id for page in pages for row in page] == expected
