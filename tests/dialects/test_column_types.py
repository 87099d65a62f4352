"""Column types of sa_perf's own tables: what goes in comes out, alike on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, Connection, MetaData, Table, func, select
from sqlalchemy.exc import StatementError

from sa_perf.dialects.column_types import TABLE_OPTIONS, Key, LongText, UtcDateTime, exact_text

MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=timezone.utc)


@pytest.fixture
def table(db) -> Iterator[tuple[Table, Connection]]:
    one = Table(
        "kept",
        MetaData(),
        Column("id", Key, primary_key=True),
        Column("name", exact_text(200), unique=True),
        Column("text", LongText),
        Column("moment", UtcDateTime),
        **TABLE_OPTIONS,
    )
    engine = db.engine()
    one.create(engine)
    with engine.begin() as connection:
        yield one, connection


def test_a_moment_comes_back_in_utc_to_the_microsecond(table) -> None:
    kept, connection = table
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    connection.execute(kept.insert(), [{"moment": MOMENT}, {"moment": elsewhere}, {"moment": None}])
    found = connection.scalars(select(kept.c.moment).order_by(kept.c.id)).all()
    assert found == [MOMENT, MOMENT, None]
    assert {one.tzinfo for one in found[:2]} == {timezone.utc}


def test_moments_compare_as_time_not_as_text(table) -> None:
    kept, connection = table
    earlier = (MOMENT - timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=9)))
    connection.execute(kept.insert(), [{"moment": MOMENT}, {"moment": earlier}])
    found = connection.scalars(select(kept.c.moment).where(kept.c.moment < MOMENT)).all()
    assert found == [earlier]


def test_a_moment_without_a_zone_is_refused(table) -> None:
    kept, connection = table
    with pytest.raises((ValueError, StatementError), match="has no time zone"):
        connection.execute(kept.insert(), {"moment": MOMENT.replace(tzinfo=None)})


def test_names_that_differ_in_case_or_accents_are_two(table) -> None:
    kept, connection = table
    names = ["event", "Event", "évent", "\N{SNOWMAN}\U0001f600"]
    connection.execute(kept.insert(), [{"name": name} for name in names])
    for name in names:
        assert connection.scalar(select(func.count()).where(kept.c.name == name)) == 1


def test_a_long_text_is_kept_whole(table) -> None:
    kept, connection = table
    connection.execute(kept.insert(), {"text": "\N{SNOWMAN}" * 100_000})
    assert connection.scalar(select(kept.c.text)) == "\N{SNOWMAN}" * 100_000


def test_keys_count_up_by_themselves(table) -> None:
    kept, connection = table
    keys = [
        connection.execute(kept.insert(), {"name": name}).inserted_primary_key[0] for name in "ab"
    ]
    assert keys == [1, 2]
