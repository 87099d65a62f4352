"""Where a range of a walk ends: neither behind the walk's end nor behind too many rows."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, delete, func, insert, select

from sa_perf.dialects.seeking import seeking_for
from sa_perf.retention.ranges import Walk, WalkSQL

ROWS = [(at // 3 if at < 30 else 10 if at < 70 else at, at) for at in range(100)]


@pytest.fixture
def event(engine: Engine) -> Table:
    """Rows by moment and key: threes that share a moment, forty that do, then one for each."""
    table = Table(
        "event",
        MetaData(),
        Column("at", Integer, index=True),
        Column("id", Integer, primary_key=True, autoincrement=False),
    )
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"at": at, "id": id_} for at, id_ in ROWS])
    return table


def along_time(table: Table, engine: Engine, *, before: int = 1_000) -> WalkSQL:
    old = table.c.at < before
    walk = Walk(name="time", table=table, columns=(table.c.at, table.c.id), expired=old, within=old)
    return WalkSQL(walk, seeking_for(engine.dialect))


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 39, 41, 60])
def test_a_range_counted_by_the_moment_alone_has_no_row_too_many(
    engine: Engine, event: Table, rows: int
) -> None:
    sql = along_time(event, engine)
    with engine.connect() as connection:
        for after in ROWS:
            counted = sql.last_before(after, rows)
            assert counted is not None
            upto = connection.execute(*counted).first()
            if upto is None:  # too many share a moment, or there are no more rows
                continue
            found = sql.range(after, tuple(upto))
            stmt = select(func.count()).select_from(event).where(found.condition)
            assert 1 <= connection.execute(stmt, found.parameters).scalar_one() <= rows


def test_a_range_counted_by_the_moment_alone_is_whole_where_none_share_it(
    engine: Engine, event: Table
) -> None:
    counted = along_time(event, engine).last_before((75, 75), 10)
    assert counted is not None
    with engine.begin() as connection:
        connection.execute(delete(event).where(event.c.at <= 75))
        assert tuple(connection.execute(*counted).one()) == (85, 85)


def test_counting_by_the_moment_alone_stops_where_rows_are_too_young(
    engine: Engine, event: Table
) -> None:
    counted = along_time(event, engine, before=80).last_before((75, 75), 10)
    assert counted is not None
    with engine.connect() as connection:
        assert connection.execute(*counted).first() is None


def test_the_last_range_along_the_key_ends_at_the_youngest_row_that_expired(
    engine: Engine, event: Table
) -> None:
    walk = Walk(
        name="key",
        table=event,
        columns=(event.c.id,),
        expired=event.c.at < 50,
        within=event.c.id <= 90,
    )
    found = WalkSQL(walk, seeking_for(engine.dialect)).range((80,), None)
    with engine.connect() as connection:
        stmt = select(event.c.id).where(found.condition)
        ids = connection.scalars(stmt, found.parameters).all()
    assert sorted(ids) == list(range(81, 91))
