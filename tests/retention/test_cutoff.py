"""Rows go only when they are certainly older, whatever zone their column is written in."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from retention_world import NOW, add_own_tables, ago, fill, ids
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Table,
    TypeDecorator,
    create_engine,
    func,
    insert,
    literal_column,
    text,
)

from sa_perf.dialects.column_types import UtcDateTime
from sa_perf.dialects.purging import purging_for, purging_of
from sa_perf.retention.cutoff import cutoff_of, moment_for, wall_time, written
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.runner import run

UTC = timezone.utc
BERLIN = "Europe/Berlin"
#: With a shift of half an hour, of two, at midnight, a day that never was, no shift.
ZONES = [
    BERLIN,
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "America/Havana",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "UTC",
]


def _at(text_: str) -> datetime:
    return datetime.fromisoformat(text_).replace(tzinfo=UTC)


def test_a_cutoff_is_the_moment_less_the_age() -> None:
    policy = RetentionPolicy(days=1.5, by="at")
    assert cutoff_of(policy, NOW) == NOW - timedelta(hours=36)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        cutoff_of(RetentionPolicy(days=1, by="at"), datetime(2026, 1, 1))


# Berlin: 2026-03-29 02:00 never was until 03:00 (01:00 UTC); 2026-10-25 02:00 to 03:00 was twice.


@pytest.mark.parametrize(
    ("moment", "wall"),
    [
        ("2026-07-01T10:00", "2026-07-01T12:00"),
        ("2026-01-01T11:00", "2026-01-01T12:00"),
        # Before the hour that comes twice, in it, in it again, behind it.
        ("2026-10-24T23:59", "2026-10-25T01:59"),
        ("2026-10-25T00:30", "2026-10-25T01:30"),
        ("2026-10-25T01:30", "2026-10-25T02:30"),
        ("2026-10-25T02:00", "2026-10-25T03:00"),
        # Before the hour that never was, behind it, an hour behind it.
        ("2026-03-29T00:59", "2026-03-29T01:59"),
        ("2026-03-29T01:00", "2026-03-29T02:00"),
        ("2026-03-29T01:30", "2026-03-29T02:30"),
        ("2026-03-29T02:00", "2026-03-29T04:00"),
    ],
)
def test_the_wall_clock_is_read_so_that_no_row_is_taken_early(moment: str, wall: str) -> None:
    assert wall_time(_at(moment), BERLIN) == datetime.fromisoformat(wall)


MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
NEAR = st.integers(-26 * 3600, 26 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@given(MOMENTS, NEAR, st.sampled_from(ZONES))
@example(_at("2026-10-25T00:30"), timedelta(hours=1), BERLIN)
@example(_at("2026-03-29T01:30"), timedelta(minutes=-15), BERLIN)
@example(_at("2011-12-30T10:30"), timedelta(hours=-2), "Pacific/Apia")
@settings(max_examples=300, deadline=None)
def test_a_reading_below_the_wall_time_is_older_for_certain(
    cutoff: datetime, near: timedelta, zone: str
) -> None:
    where = ZoneInfo(zone)
    limit = wall_time(cutoff, zone)
    reading = (cutoff + near).astimezone(where).replace(tzinfo=None, fold=0)
    if reading < limit:
        for fold in (0, 1):
            assert reading.replace(tzinfo=where, fold=fold).astimezone(UTC) < cutoff


@given(MOMENTS, NEAR, st.sampled_from(ZONES))
@settings(max_examples=300, deadline=None)
def test_a_row_is_kept_no_more_than_the_shift_of_a_clock_too_long(
    cutoff: datetime, near: timedelta, zone: str
) -> None:
    moment = cutoff + near
    reading = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    longest = timedelta(hours=24 if zone == "Pacific/Apia" else 2)
    if moment < cutoff - longest:
        assert reading < wall_time(cutoff, zone)


@given(MOMENTS, st.integers(-3, 3), st.sampled_from(ZONES))
@settings(max_examples=200, deadline=None)
def test_a_day_is_over_before_its_rows_go(cutoff: datetime, days: int, zone: str) -> None:
    engine = create_engine("sqlite://")
    policy = RetentionPolicy(days=0, by="day", timezone=zone, keep_last=1)
    limit: Any = moment_for(Date(), cutoff, policy, purging_for(engine.dialect))
    engine.dispose()
    day = cutoff.date() + timedelta(days=days)
    if day < limit:
        last = datetime.combine(day, datetime.max.time()).replace(tzinfo=ZoneInfo(zone), fold=1)
        assert last.astimezone(UTC) < cutoff


def test_numbers_count_from_1970() -> None:
    engine = create_engine("sqlite://")
    ways = purging_for(engine.dialect)
    cutoff = datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)
    for epoch, number in (("seconds", 1_767_225_600), ("milliseconds", 1_767_225_600_999)):
        policy = RetentionPolicy(days=1, by="at", epoch=epoch)  # type: ignore[arg-type]
        assert moment_for(BigInteger(), cutoff, policy, ways) == number
    engine.dispose()


def test_what_is_written_is_what_a_clock_shows() -> None:
    engine = create_engine("sqlite://")
    policy = RetentionPolicy(days=1, by="at", timezone=BERLIN)
    moment = _at("2026-10-25T00:30")
    shown = written(DateTime(), moment, policy, purging_for(engine.dialect))
    assert shown == datetime(2026, 10, 25, 2, 30)
    engine.dispose()


# On each database: rows a minute before and behind the cut-off


class _Wrapped(TypeDecorator[datetime]):
    impl = DateTime
    cache_ok = True


def _table(column: Column[Any], **options: Any) -> Table:
    table = Table("event", MetaData(), Column("id", Integer, primary_key=True), column)
    declare(table, RetentionPolicy(**{"days": 30, "by": "at", **options}))
    return table


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "America/New_York"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_column_without_a_zone_is_read_in_the_policys(
    shared_engine: Engine, zone: str, wrapped: bool
) -> None:
    type_ = _Wrapped() if wrapped else DateTime()
    table = _table(Column("at", type_, nullable=False, index=True), timezone=zone)
    table.create(shared_engine)
    cutoff = NOW - timedelta(days=30)
    for minutes in (-2, -1, 0, 1, 2):
        moment = (cutoff + timedelta(minutes=minutes)).astimezone(ZoneInfo(zone))
        fill(shared_engine, table, {"id": minutes + 3, "at": moment.replace(tzinfo=None)})
    _in_session_zone(shared_engine, "+05:00")
    assert run(shared_engine, table, at=NOW).rows_changed == 2
    assert ids(shared_engine, table) == [3, 4, 5]


@pytest.mark.parametrize("type_", [DateTime(timezone=True), UtcDateTime()])
def test_a_column_with_a_zone_is_read_in_its_own(shared_engine: Engine, type_: Any) -> None:
    table = _table(Column("at", type_, nullable=False, index=True))
    table.create(shared_engine)
    keeps = purging_of(shared_engine).keeps_zones or isinstance(type_, UtcDateTime)
    zones = [ZoneInfo(BERLIN), ZoneInfo("America/New_York")] if keeps else [UTC, UTC]
    cutoff = NOW - timedelta(days=30)
    for minutes in (-2, -1, 0, 1, 2):
        moment = (cutoff + timedelta(minutes=minutes)).astimezone(zones[minutes % 2])
        fill(shared_engine, table, {"id": minutes + 3, "at": moment})
    _in_session_zone(shared_engine, "+05:00")
    run(shared_engine, table, at=NOW)
    assert ids(shared_engine, table) == [3, 4, 5]


def _in_session_zone(engine: Engine, zone: str) -> None:
    """Change what an application's sessions are set to, on the connection in the pool."""
    statement = {
        "postgresql": f"SET TIME ZONE INTERVAL '{zone}' HOUR TO MINUTE",
        "mysql": f"SET SESSION time_zone = '{zone}'",
        "mariadb": f"SET SESSION time_zone = '{zone}'",
    }.get(engine.dialect.name)
    if statement is not None:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
            connection.commit()


def test_days_go_when_they_are_over(shared_engine: Engine) -> None:
    table = _table(Column("at", Date, nullable=False, index=True), timezone="Asia/Tokyo")
    table.create(shared_engine)
    for day in (29, 30, 31):
        fill(shared_engine, table, {"id": day, "at": date(2026, 9, 1) + timedelta(days=day)})
    run(shared_engine, table, at=datetime(2026, 11, 1, 14, 59, tzinfo=UTC))
    assert ids(shared_engine, table) == [31]


@pytest.mark.parametrize(("epoch", "factor"), [("seconds", 1), ("milliseconds", 1_000)])
def test_numbers_are_moments_too(shared_engine: Engine, epoch: str, factor: int) -> None:
    table = _table(Column("at", BigInteger, nullable=False, index=True), epoch=epoch)
    table.create(shared_engine)
    cutoff = int((NOW - timedelta(days=30)).timestamp())
    for seconds in (-2, -1, 0, 1):
        fill(shared_engine, table, {"id": seconds + 3, "at": (cutoff + seconds) * factor})
    run(shared_engine, table, at=NOW)
    assert ids(shared_engine, table) == [3, 4]


# SQLite keeps moments as texts, of whatever form was written


def _texts(engine: Engine, *moments: object, index: bool = True, **options: Any) -> Table:
    table = _table(Column("at", DateTime, index=index), **{"nulls": "keep", **options})
    table.create(engine)
    with engine.begin() as connection:
        for number, moment in enumerate(moments, 1):
            connection.execute(
                text("INSERT INTO event VALUES (:id, :at)"), {"id": number, "at": moment}
            )
    return table


OLD = f"{ago(40):%Y-%m-%d %H:%M:%S}"


@pytest.fixture
def sqlite(sqlite_url: str) -> Any:
    engine = create_engine(sqlite_url)
    add_own_tables(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "odd",
    [
        f"{ago(40):%Y-%m-%dT%H:%M:%S}",
        f"{OLD}+02:00",
        f"{OLD}Z",
        f"{OLD} PM",
        f"{ago(40):%Y-%m-%d}",
        f"{ago(1):%d.%m.%Y %H:%M:%S}",
        1767254400,
        2461000.5,
        "",
        "never",
    ],
)
def test_texts_that_do_not_compare_as_time_are_refused(sqlite: Engine, odd: object) -> None:
    table = _texts(sqlite, OLD, odd, OLD)
    (policy,) = run(sqlite, table, at=NOW).policies
    assert policy.outcome == "failed"
    assert "does not compare with other moments as time; rewrite" in str(policy.reason)
    assert ids(sqlite, table) == [1, 2, 3]


def test_a_text_that_no_look_finds_is_not_taken_either(sqlite: Engine) -> None:
    table = _texts(sqlite, index=True)
    with sqlite.begin() as connection:
        connection.execute(
            insert(table), [{"id": at, "at": ago(200 - at / 100)} for at in range(1, 4_001)]
        )
        connection.execute(
            text("INSERT INTO event VALUES (5000, :at)"), {"at": f"{ago(180):%Y-%m-%dT%H:%M:%S}"}
        )
    (policy,) = run(sqlite, table, at=NOW).policies
    assert policy.rows_changed == 4_000
    assert ids(sqlite, table) == [5000]


def test_moments_with_and_without_fractions_compare_as_time(sqlite: Engine) -> None:
    cutoff = ago(30)
    before = cutoff - timedelta(seconds=1)
    table = _texts(
        sqlite,
        f"{before:%Y-%m-%d %H:%M:%S}",
        f"{before:%Y-%m-%d %H:%M:%S}.999999",
        f"{cutoff:%Y-%m-%d %H:%M}",
        f"{cutoff:%Y-%m-%d %H:%M:%S}",
        f"{cutoff:%Y-%m-%d %H:%M:%S}.000000",
        f"{cutoff:%Y-%m-%d %H:%M:%S}.000001",
    )
    run(sqlite, table, at=NOW)
    assert ids(sqlite, table) == [3, 4, 5, 6]


def test_texts_behind_an_expression_are_looked_at_too(sqlite: Engine) -> None:
    by = func.coalesce(literal_column("at", DateTime()), literal_column("NULL", DateTime()))
    table = _texts(sqlite, OLD, f"{ago(30):%Y-%m-%d}T08:00:00", by=by, index=False)
    assert run(sqlite, table, at=NOW).policies[0].outcome == "failed"


def test_days_that_hold_times_are_refused(sqlite: Engine) -> None:
    table = _table(Column("at", Date, nullable=False))
    table.create(sqlite)
    with sqlite.begin() as connection:
        connection.execute(text("INSERT INTO event VALUES (1, :at)"), {"at": OLD})
    assert run(sqlite, table, at=NOW).policies[0].outcome == "failed"
    assert ids(sqlite, table) == [1]


def test_a_wrapped_column_is_looked_at_too(sqlite: Engine) -> None:
    table = _table(Column("at", _Wrapped, nullable=False))
    table.create(sqlite)
    with sqlite.begin() as connection:
        connection.execute(text("INSERT INTO event VALUES (1, '2020-01-01T00:00:00')"))
    assert run(sqlite, table, at=NOW).policies[0].outcome == "failed"
