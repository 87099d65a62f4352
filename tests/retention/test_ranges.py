"""Ranges of a key, one behind the other, cover each row once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Uuid,
    create_engine,
    insert,
    select,
    true,
)
from sqlalchemy.pool import StaticPool

from sa_perf.dialects.seeking import seeking_for
from sa_perf.retention.position import Pass, passes, position_text
from sa_perf.retention.ranges import Key, Walk, WalkSQL, key_from, key_text

TYPES: dict[str, tuple[Any, Any]] = {
    "int": (Integer(), st.integers(-3, 3)),
    "str": (String(10), st.text("abzAZ", max_size=2)),
    "uuid": (Uuid(), st.integers(0, 5).map(lambda number: UUID(int=number))),
    "datetime": (
        DateTime(),
        st.integers(0, 4).map(lambda n: datetime(2026, 1, 1) + timedelta(seconds=n / 2)),
    ),
    "decimal": (Numeric(6, 2), st.integers(-3, 3).map(lambda number: Decimal(number) / 4)),
}


def _cut(connection: Any, walk: Walk, rows: int, end: Key | None = None) -> Iterator[list[Any]]:
    """The rows of each range, as a run goes through them."""
    sql = WalkSQL(walk, seeking_for(connection.dialect), end=end)
    after: Key | None = None
    while True:
        found = None
        quick = None if after is None else sql.last_before(after, rows)
        if quick is not None:  # it ends somewhere in the range, or gives nothing
            found = connection.execute(*quick).first()
        if found is None:
            found = connection.execute(*sql.last_of(after, rows)).first()
        upto = None if found is None else key_from(key_text(tuple(found)))
        some = sql.range(after, upto)
        conditions = [] if some.condition is None else [some.condition]
        stmt = select(walk.table.c.id).where(*conditions).order_by(*walk.columns)
        yield list(connection.scalars(stmt, some.parameters))
        if upto is None:
            return
        after = upto


def _check(engine: Engine, kinds: list[str], values: list[Any], rows: int) -> None:
    table = Table(
        "thing",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        *(Column(f"k{at}", TYPES[kind][0], nullable=False) for at, kind in enumerate(kinds)),
    )
    walk = Walk(
        name="key",
        table=table,
        columns=(*(table.c[f"k{at}"] for at in range(len(kinds))), table.c.id),
        expired=true(),
    )
    with engine.connect() as connection:
        table.create(connection)
        try:
            given_rows = [
                {"id": at, **{f"k{number}": one for number, one in enumerate(value)}}
                for at, value in enumerate(values)
            ]
            if given_rows:
                connection.execute(insert(table), given_rows)
            ordered = list(connection.scalars(select(table.c.id).order_by(*walk.columns)))
            ranges = list(_cut(connection, walk, rows))
            assert [id_ for some in ranges for id_ in some] == ordered
            assert all(0 < len(some) <= rows for some in ranges[:-1])
            assert len(ranges[0]) == min(rows, len(ordered))
            if len(ordered) > rows:
                sql = WalkSQL(walk, seeking_for(connection.dialect))
                key = connection.execute(*sql.last_of(None, rows)).one()
                part = list(_cut(connection, walk, 2, end=tuple(key)))
                assert [id_ for some in part for id_ in some] == ordered[:rows]
        finally:
            connection.rollback()
            table.drop(connection, checkfirst=True)
            connection.commit()


@st.composite
def _cases(draw: Any) -> tuple[list[str], list[Any], int]:
    kinds = draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=3))
    row = st.tuples(*(TYPES[kind][1] for kind in kinds))
    return kinds, draw(st.lists(row, max_size=14)), draw(st.integers(1, 5))


@given(_cases())
@settings(max_examples=150, deadline=None)
def test_ranges_cover_each_row_once_in_order(case: Any) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    _check(engine, *case)
    engine.dispose()


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("rows", [1, 3])
def test_ranges_cover_each_row_once_on_each_database(
    shared_engine: Engine, kind: str, rows: int
) -> None:
    values = {
        "int": [1, 1, 2, 3, 3, 3],
        "str": ["a", "B", "b ", "", "a", "z"],
        "uuid": [UUID(int=at // 2) for at in range(6)],
        "datetime": [datetime(2026, 1, 1, microsecond=500_000 * (at % 2)) for at in range(6)],
        "decimal": [Decimal(at // 2) / 4 for at in range(6)],
    }[kind]
    _check(shared_engine, [kind, "int"], [(one, at % 2) for at, one in enumerate(values)], rows)


KEYS: list[Key] = [
    (1, "a", None, True),
    (datetime(2026, 1, 1, 1, 2, 3, 4), datetime(2026, 1, 1, tzinfo=timezone.utc)),
    (date(2026, 1, 1), time(1, 2, 3), timedelta(days=1, seconds=1.5)),
    (Decimal("1.50"), UUID(int=7), b"\x00\xff"),
    (1.5, -(2**60)),
    ("\N{SNOWMAN}'\"", ""),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_comes_back_from_its_text(key: Key) -> None:
    found = key_from(key_text(key))
    assert found == key
    assert [type(one) for one in found or ()] == [type(one) for one in key]


def test_no_key_has_no_text() -> None:
    assert key_text(None) is None
    assert key_from(None) is None


@pytest.mark.parametrize("text", ["1", '"a"', "{}", "x"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        key_from(text)


# Where a run stands


def _walk(name: Any, *columns: str) -> Walk:
    table = Table("thing", MetaData(), Column("id", Integer), Column("at", DateTime))
    return Walk(
        name=name, table=table, columns=tuple(table.c[one] for one in columns), expired=true()
    )


KEY, TIME, TIMELESS = _walk("key", "id"), _walk("time", "at", "id"), _walk("timeless", "id")


def test_a_run_goes_around_to_where_another_one_stopped() -> None:
    found = passes([KEY, TIME, TIMELESS], position_text(TIME, (datetime(2026, 1, 1), 5)))
    place = (datetime(2026, 1, 1), 5)
    assert found == [
        Pass(walk=TIME, after=place),
        Pass(walk=TIMELESS),
        Pass(walk=KEY),
        Pass(walk=TIME, upto=place),
    ]


@pytest.mark.parametrize(
    "position",
    [
        None,
        "",
        "no JSON",
        "5",
        "{}",
        position_text(TIME, None),
        position_text(TIMELESS, (5,)),
        position_text(_walk("time", "id"), (5,)),
        '{"walk": "time", "key": "[1"}',
        '{"walk": "time", "key": "[{\\"odd\\": 1}]"}',
    ],
)
def test_a_place_that_says_nothing_is_the_start(position: str | None) -> None:
    assert passes([KEY, TIME], position) == [Pass(walk=KEY), Pass(walk=TIME)]
