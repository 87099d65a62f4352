"""Held rows stay, with what they hang on, until they are released."""

from __future__ import annotations

import enum
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from retention_world import NOW, SMALL, add_own_tables, ago, fill, ids
from sqlalchemy import (
    Column,
    Date,
    DateTime,
    Engine,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Time,
    TypeDecorator,
    Uuid,
    text,
)

from sa_perf.errors import MissingTables, RetentionError
from sa_perf.retention.holds import list_holds, place, release
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.runner import run
from sa_perf.retention.tables import holds


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Prefixed(TypeDecorator[str]):
    """A key that an application sees otherwise than the database."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else value.removeprefix("ev_")

    def process_result_value(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else f"ev_{value}"


def _table(*key: Any) -> Table:
    columns = [
        Column(f"k{at}", type_, primary_key=True, autoincrement=False)
        for at, type_ in enumerate(key)
    ]
    table = Table("event", MetaData(), *columns, Column("at", DateTime, nullable=False))
    declare(table, RetentionPolicy(days=30, by="at", batch=SMALL))
    return table


def _count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM event")).scalar_one())


# (type, keys of two rows, how a command line writes the first)
KEYS: dict[str, tuple[Any, list[Any], str]] = {
    "int": (Integer(), [-5, 5], "-5"),
    "str": (String(20), ["5", "b'\"\N{SNOWMAN}"], "5"),
    "uuid": (Uuid(), [UUID(int=5), UUID(int=6)], str(UUID(int=5))),
    "decimal": (Numeric(8, 2), [Decimal("1.50"), Decimal("2.5")], "1.5"),
    "float": (Float(53), [1.5, 2.25], "1.5"),
    "datetime": (
        DateTime(),
        [datetime(2026, 1, 1, 12), datetime(2026, 1, 1, 13)],
        "2026-01-01 12:00:00",
    ),
    "date": (Date(), [date(2026, 1, 1), date(2026, 1, 2)], "2026-01-01"),
    "time": (Time(), [time(12), time(13)], "12:00"),
    "enum": (Enum(Colour, name="held_colour"), [Colour.RED, Colour.BLUE], "RED"),
    "wrapped": (Prefixed(), ["ev_1", "ev_2"], "ev_1"),
    "bytes": (LargeBinary(8), [b"\x00\xff", b"a"], "00ff"),
}


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("kind", sorted(KEYS))
def test_a_row_is_held_by_a_key_of_any_type(
    shared_engine: Engine, kind: str, written: bool
) -> None:
    type_, keys, line = KEYS[kind]
    if kind == "bytes" and shared_engine.dialect.name in ("mysql", "mariadb"):
        pytest.skip("a BLOB is no key there")
    table = _table(type_)
    table.create(shared_engine)
    for key in keys:
        fill(shared_engine, table, {"k0": key, "at": ago(40)})
    place(shared_engine, table, line if written else keys[0], reason="a case")
    run(shared_engine, table, at=NOW)
    left = ids(shared_engine, table)
    table.drop(shared_engine)
    assert left == [keys[0]]


@pytest.mark.parametrize("key", [("a", 2), ["a", "2"], {"k0": "a", "k1": 2}, {"k1": 2, "k0": "a"}])
def test_a_row_is_held_by_a_key_of_several_columns(shared_engine: Engine, key: Any) -> None:
    table = _table(String(5), Integer())
    table.create(shared_engine)
    for one, other in (("a", 1), ("a", 2), ("b", 2)):
        fill(shared_engine, table, {"k0": one, "k1": other, "at": ago(40)})
    hold = place(shared_engine, table, key, reason="a case")
    assert hold.key == ("a", 2)
    run(shared_engine, table, at=NOW)
    assert ids(shared_engine, table) == ["a"]
    assert _count(shared_engine) == 1


@pytest.fixture
def event(shared_engine: Engine) -> Table:
    table = _table(Integer())
    table.create(shared_engine)
    fill(shared_engine, table, *({"k0": at, "at": ago(40)} for at in (1, 2, 3)))
    return table


def test_a_hold_says_who_placed_it_and_why(shared_engine: Engine, event: Table) -> None:
    hold = place(shared_engine, event, 2, reason="case 17", by="legal")
    assert (hold.table_name, hold.key, hold.reason, hold.placed_by) == (
        "event",
        (2,),
        "case 17",
        "legal",
    )
    assert list_holds(shared_engine) == [hold]
    assert list_holds(shared_engine, table_name="other") == []
    assert abs((hold.placed_at - datetime.now(timezone.utc)).total_seconds()) < 60


def test_a_row_goes_once_all_its_holds_are_released(shared_engine: Engine, event: Table) -> None:
    first = place(shared_engine, event, 2, reason="one")
    second = place(shared_engine, event, 2, reason="another")
    release(shared_engine, first.id, by="legal")
    run(shared_engine, event, at=NOW)
    assert ids(shared_engine, event) == [2]
    release(shared_engine, second.id)
    run(shared_engine, event, at=NOW)
    assert ids(shared_engine, event) == []
    assert [(one.id, one.released_by) for one in list_holds(shared_engine, released=True)] == [
        (second.id, None),
        (first.id, "legal"),
    ]
    assert list_holds(shared_engine) == []


def test_a_hold_is_released_once(shared_engine: Engine, event: Table) -> None:
    hold = place(shared_engine, event, 2, reason="one")
    release(shared_engine, hold.id)
    with pytest.raises(RetentionError, match=f"there is no hold {hold.id} that is not released"):
        release(shared_engine, hold.id)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (9, r"'event' has no row with key \(9,\) to hold"),
        ("x", "'x',.* is no key of 'event': invalid literal"),
        ((1, 2), "the key of 'event' is k0; 2 values are given"),
        ({"id": 1}, "the key of 'event' is k0$"),
        ((), "the key of 'event' is k0; 0 values are given"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(
    shared_engine: Engine, event: Table, key: object, fault: str
) -> None:
    with pytest.raises(RetentionError, match=fault):
        place(shared_engine, event, key, reason="a case")
    assert list_holds(shared_engine) == []


def test_a_hold_needs_a_reason(shared_engine: Engine, event: Table) -> None:
    with pytest.raises(RetentionError, match="a hold needs a reason"):
        place(shared_engine, event, 1, reason=" ")


def test_without_tables_of_ours_nothing_can_be_held(db: Any) -> None:
    with pytest.raises(MissingTables):
        place(db.engine(), _table(Integer()), 1, reason="a case")


@pytest.mark.exhaustive
def test_more_rows_are_held_than_a_statement_has_parameters(postgresql_database: Any) -> None:
    engine = postgresql_database.engine()
    add_own_tables(engine)
    table = _table(Integer())
    table.create(engine)
    fill(engine, table, *({"k0": at, "at": ago(40)} for at in range(1, 8)))
    held = {"table_name": "event", "reason": "a case", "placed_at": NOW}
    with engine.begin() as connection:
        numbers = [1, 2, *range(10_000, 78_000)]
        connection.execute(holds.insert(), [{**held, "row_key": f"[{at}]"} for at in numbers])
    (policy,) = run(engine, table, at=NOW, max_rows=3).policies
    assert (policy.rows_changed, policy.outcome) == (3, "limited"), policy.reason
    assert ids(engine, table)[:2] == [1, 2]
