"""Rows are deleted, overwritten or marked: those, and only those, that the policy names."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from retention_world import NOW, SMALL, ago, before_batch, fill, ids, values
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    DateTime,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    event,
    func,
    literal_column,
    null,
    select,
)

from sa_perf.errors import RetentionError
from sa_perf.retention.audit import batches_of, history, status
from sa_perf.retention.holds import place
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.results import Hooks, RetentionRun
from sa_perf.retention.runner import run


def _table(*policies: RetentionPolicy) -> Table:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime),
        Column("kind", String(20)),
        Column("name", String(50)),
        Column("gone_at", DateTime),
        Column("gone_on", Date),
        Column("gone", BigInteger),
    )
    Index("ix_event_at", table.c.at)
    declare(table, *policies)
    return table


def _policy(**options: Any) -> RetentionPolicy:
    return RetentionPolicy(**{"days": 30, "by": "at", "nulls": "keep", "batch": SMALL, **options})


def _fill(engine: Engine, table: Table, ages: list[float | None], **other: list[Any]) -> None:
    table.metadata.create_all(engine)
    for number, age in enumerate(ages):
        row = {name: given[number] for name, given in other.items()}
        moment = None if age is None else ago(age)
        fill(engine, table, {"id": number + 1, "at": moment, **row})


# Rows without a moment


@pytest.mark.parametrize(("nulls", "left"), [("keep", [2, 3, 5]), ("expire", [2, 5])])
def test_rows_without_a_moment_are_what_the_policy_says(
    shared_engine: Engine, nulls: str, left: list[int]
) -> None:
    table = _table(_policy(nulls=nulls))
    _fill(shared_engine, table, [40, 20, None, 40, 20])
    run(shared_engine, table, at=NOW)
    assert ids(shared_engine, table) == left


def test_the_walk_for_rows_without_a_moment_goes_on_where_it_stopped(
    shared_engine: Engine,
) -> None:
    table = _table(_policy(nulls="expire"))
    _fill(shared_engine, table, [40] * 4 + [None] * 12)
    assert run(shared_engine, table, at=NOW, max_rows=8).rows_changed == 8
    assert '"walk": "timeless"' in str(status(shared_engine)[0].position)
    assert run(shared_engine, table, at=NOW).rows_changed == 8
    assert ids(shared_engine, table) == []


# Anonymise


@pytest.mark.parametrize("by_sql", [False, True])
def test_old_rows_lose_what_names_a_person(shared_engine: Engine, by_sql: bool) -> None:
    new: dict[str, object] = {"kind": "-", "name": None}
    if by_sql:
        new["name"] = func.lower(literal_column("'NOBODY'"))
    table = _table(_policy(action="anonymise", anonymise=new))
    names = [f"person {at}" for at in range(12)]
    _fill(shared_engine, table, [40] * 8 + [20] * 4, name=names, kind=["k"] * 12)
    result = run(shared_engine, table, at=NOW)
    assert result.rows_changed == 8
    wanted = "nobody" if by_sql else None
    assert values(shared_engine, table.c.name) == [wanted] * 8 + names[8:]
    assert values(shared_engine, table.c.kind) == ["-"] * 8 + ["k"] * 4
    assert run(shared_engine, table, at=NOW).rows_changed == 0


def test_a_row_that_has_some_of_the_new_values_is_not_done(shared_engine: Engine) -> None:
    table = _table(_policy(action="anonymise", anonymise={"kind": "-", "name": None}))
    _fill(shared_engine, table, [40, 40, 40], kind=["-", "-", "x"], name=["a", None, None])
    assert run(shared_engine, table, at=NOW).rows_changed == 2
    assert values(shared_engine, table.c.name) == [None] * 3


def _payloads(type_: Any, value: object) -> Table:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
        Column("payload", type_),
    )
    declare(table, _policy(action="anonymise", anonymise={"payload": value}))
    return table


def test_none_is_written_as_null_whatever_the_type_makes_of_it(shared_engine: Engine) -> None:
    table = _payloads(JSON(), None)
    _fill(shared_engine, table, [40, 20], payload=[{"a": 1}, {"b": 2}])
    assert run(shared_engine, table, at=NOW).rows_changed == 1
    with shared_engine.connect() as connection:
        empty = connection.scalar(
            select(func.count()).select_from(table).where(table.c.payload.is_(null()))
        )
    assert empty == 1
    assert run(shared_engine, table, at=NOW).rows_changed == 0


class Salted(TypeDecorator[str]):
    """As an encrypting type does, it writes a value otherwise each time."""

    impl = String(50)
    cache_ok = True
    numbers = itertools.count()

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else f"{next(self.numbers)}:{value}"


def test_a_value_that_is_written_otherwise_each_time_is_refused(shared_engine: Engine) -> None:
    table = _payloads(Salted(), "-")
    _fill(shared_engine, table, [40], payload=["x"])
    (policy,) = run(shared_engine, table, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("failed", 0)
    assert "'payload' to a value that its type (Salted) writes otherwise each" in str(policy.reason)
    table = _payloads(Salted(), None)
    assert run(shared_engine, table, at=NOW).rows_changed == 1


def test_children_of_anonymised_rows_stay_as_they_are(shared_engine: Engine) -> None:
    table = _table(_policy(action="anonymise", anonymise={"name": "-"}))
    child = Table(
        "child",
        table.metadata,
        Column("id", Integer, primary_key=True),
        Column("event_id", ForeignKey("event.id", ondelete="CASCADE")),
    )
    _fill(shared_engine, table, [40])
    fill(shared_engine, child, {"id": 1, "event_id": 1})
    assert run(shared_engine, table, at=NOW).rows_changed == 1
    assert values(shared_engine, child.c.event_id) == [1]


def test_the_moment_itself_may_be_overwritten(shared_engine: Engine) -> None:
    table = _table(_policy(action="anonymise", anonymise={"at": None, "name": "-"}))
    _fill(shared_engine, table, [40] * 7 + [20])
    assert run(shared_engine, table, at=NOW).rows_changed == 7
    assert values(shared_engine, table.c.name) == ["-"] * 7 + [None]


# Mark as deleted


@pytest.mark.parametrize(
    ("column", "options", "moment"),
    [
        ("gone_at", {}, lambda found: found.replace(tzinfo=timezone.utc)),
        (
            "gone_at",
            {"timezone": "Asia/Tokyo"},
            lambda found: (found - timedelta(hours=9)).replace(tzinfo=timezone.utc),
        ),
        ("gone", {"epoch": "seconds"}, lambda found: datetime.fromtimestamp(found, timezone.utc)),
        (
            "gone",
            {"epoch": "milliseconds"},
            lambda found: datetime.fromtimestamp(found / 1_000, timezone.utc),
        ),
    ],
)
def test_old_rows_are_marked_with_the_moment_of_the_run(
    shared_engine: Engine,
    column: str,
    options: dict[str, Any],
    moment: Callable[[Any], datetime],
) -> None:
    table = _table(_policy(action="soft_delete", soft_delete=column, **options))
    _fill(shared_engine, table, [40] * 5 + [20])
    result = run(shared_engine, table, at=NOW)
    assert result.rows_changed == 5
    marks = values(shared_engine, table.c[column])
    assert marks[5] is None
    # The database may keep no fractions of a second.
    assert {abs(moment(one) - result.started_at) < timedelta(seconds=2) for one in marks[:5]} == {
        True
    }


def test_a_mark_may_be_a_day(shared_engine: Engine) -> None:
    table = _table(_policy(action="soft_delete", soft_delete="gone_on"))
    _fill(shared_engine, table, [40])
    result = run(shared_engine, table, at=NOW)
    assert values(shared_engine, table.c.gone_on) == [result.started_at.date()]


def test_a_row_that_was_marked_just_now_is_not_purged_for_its_mark(shared_engine: Engine) -> None:
    table = _table(
        _policy(action="soft_delete", soft_delete="gone_at", name="a", days=1),
        _policy(by="gone_at", name="b", days=30),
    )
    _fill(shared_engine, table, [400])
    result = run(shared_engine, table, at=NOW - timedelta(days=90))
    assert [one.rows_changed for one in result.policies] == [1, 0]
    assert run(shared_engine, table).rows_changed == 0
    assert ids(shared_engine, table) == [1]


def test_a_mark_stays_as_it_is(shared_engine: Engine) -> None:
    table = _table(_policy(action="soft_delete", soft_delete="gone_at"))
    _fill(shared_engine, table, [40, 40], gone_at=[ago(5), None])
    assert run(shared_engine, table, at=NOW).rows_changed == 1
    marks = values(shared_engine, table.c.gone_at)
    assert marks[0] == ago(5)
    assert marks[1] is not None


# Keep the last


@pytest.mark.parametrize(
    ("ages", "kinds", "options", "left"),
    [
        ([90, 80, 70, 60, 50], "aaaaa", {"keep_last": 2}, [4, 5]),
        ([50, 60, 70, 80, 90], "aaaaa", {"keep_last": 2}, [1, 2]),
        ([90, 80, 70, 10, 5], "aaaaa", {"keep_last": 1}, [4, 5]),
        ([40, 40, 40, 40], "aaaa", {"keep_last": 2}, [3, 4]),
        ([90, 80, 70, 60, 50], "ababa", {"keep_last": 1, "per": ["kind"]}, [4, 5]),
        ([90, 80, 70, 60], "a--a", {"keep_last": 1, "per": ["kind"]}, [3, 4]),
        ([90, None, 70, None], "aaaa", {"keep_last": 1}, [2, 3, 4]),
        ([90, None, 70, None], "aaaa", {"keep_last": 1, "nulls": "expire"}, [3]),
        ([None, None, None], "aaa", {"keep_last": 2, "nulls": "expire"}, [2, 3]),
        ([90, 80, 70], "aaa", {"keep_last": 5}, [1, 2, 3]),
        ([90, 80, 1], "aaa", {"keep_last": 1, "days": 0}, [3]),
    ],
)
def test_the_youngest_of_a_group_stay(
    shared_engine: Engine,
    ages: list[float | None],
    kinds: str,
    options: dict[str, Any],
    left: list[int],
) -> None:
    table = _table(_policy(**options))
    _fill(shared_engine, table, ages, kind=[None if one == "-" else one for one in kinds])
    assert run(shared_engine, table, at=NOW).ok
    assert ids(shared_engine, table) == left


def test_rows_that_are_marked_already_are_not_among_the_last(shared_engine: Engine) -> None:
    table = _table(_policy(action="soft_delete", soft_delete="gone_at", keep_last=1))
    _fill(shared_engine, table, [90, 80, 70], gone_at=[None, None, ago(60)])
    assert run(shared_engine, table, at=NOW).rows_changed == 1
    first, second, third = values(shared_engine, table.c.gone_at)
    assert (first is not None, second, third) == (True, None, ago(60))


# Several policies, and how runs end


def test_several_policies_on_one_table_each_take_their_rows(shared_engine: Engine) -> None:
    table = _table(
        _policy(days=60),
        _policy(days=10, where=lambda columns: columns.kind == "debug"),
        _policy(days=30, action="anonymise", anonymise={"name": "-"}),
    )
    _fill(
        shared_engine,
        table,
        [70, 40, 40, 20, 20, 5],
        kind=["info", "debug", "info", "debug", "info", "debug"],
    )
    result = run(shared_engine, table, at=NOW)
    assert [one.policy for one in result.policies] == ["event", "event_2", "event_3"]
    assert [one.rows_changed for one in result.policies] == [1, 2, 1]
    assert ids(shared_engine, table) == [3, 5, 6]
    assert values(shared_engine, table.c.name) == ["-", None, None]


def test_only_the_policies_that_are_named_are_run(shared_engine: Engine) -> None:
    table = _table(_policy(name="one"), _policy(name="two", days=10))
    _fill(shared_engine, table, [40, 20])
    result = run(shared_engine, table, at=NOW, policies=["two"])
    assert [one.policy for one in result.policies] == ["two"]


def test_a_policy_that_fails_does_not_keep_the_others(shared_engine: Engine) -> None:
    table = _table(_policy(name="bad"), _policy(name="good"))
    _fill(shared_engine, table, [40, 20])

    def fail(name: str, _: int) -> None:
        if name == "bad":
            raise RuntimeError("no")

    result = run(shared_engine, table, at=NOW, hooks=Hooks(before_batch=fail))
    assert not result.ok
    assert [(one.policy, one.outcome, one.reason) for one in result.policies] == [
        ("bad", "failed", "RuntimeError: no"),
        ("good", "done", None),
    ]
    assert ids(shared_engine, table) == [2]


def test_a_table_that_is_missing_fails_its_policy_alone(shared_engine: Engine) -> None:
    metadata = MetaData()
    tables = [
        Table(
            name,
            metadata,
            Column("id", Integer, primary_key=True),
            Column("at", DateTime, nullable=False),
        )
        for name in ("here", "missing")
    ]
    for one in tables:
        declare(one, RetentionPolicy(days=30, by="at"))
    tables[0].create(shared_engine)
    fill(shared_engine, tables[0], {"id": 1, "at": ago(40)})
    outcomes = {one.policy: one.outcome for one in run(shared_engine, metadata, at=NOW).policies}
    assert outcomes == {"here": "done", "missing": "failed"}


@pytest.mark.parametrize("hook", ["after_batch", "after_policy", "before_policy"])
def test_a_hook_that_raises_fails_its_policy_and_keeps_what_is_done(
    shared_engine: Engine, hook: str
) -> None:
    table = _table(_policy(name="one"), _policy(name="two", days=10))
    _fill(shared_engine, table, [40] * 6 + [20])
    calls: list[object] = []

    def fail(*given: object) -> None:
        calls.append(given)
        if len(calls) == 1:
            raise RuntimeError("no")

    result = run(shared_engine, table, at=NOW, hooks=Hooks(**{hook: fail}))
    assert [one.outcome for one in result.policies] == ["failed", "done"]
    assert ids(shared_engine, table) == []


def test_a_run_ends_at_its_deadline(shared_engine: Engine) -> None:
    table = _table(_policy())
    _fill(shared_engine, table, [40, 40])
    past = datetime.now(timezone.utc) - timedelta(seconds=1)
    (policy,) = run(shared_engine, table, at=NOW, deadline=past).policies
    assert (policy.outcome, policy.rows_changed) == ("limited", 0)
    assert "its deadline" in str(policy.reason)


def test_a_run_ends_outside_its_window(shared_engine: Engine) -> None:
    table = _table(_policy())
    _fill(shared_engine, table, [40, 40])
    hour = datetime.now(timezone.utc)
    start, end = hour + timedelta(hours=2), hour + timedelta(hours=3)
    result = run(shared_engine, table, at=NOW, window=f"{start:%H:%M}-{end:%H:%M}")
    assert result.policies[0].outcome == "limited"
    assert ids(shared_engine, table) == [1, 2]


def test_a_run_waits_while_there_is_a_reason_and_keeps_its_lease(shared_engine: Engine) -> None:
    table = _table(_policy())
    _fill(shared_engine, table, [40, 40])
    reasons = iter(["busy", "still busy"])
    slept: list[float] = []
    told: list[str | None] = []
    result = run(
        shared_engine,
        table,
        at=NOW,
        waits=[lambda: next(reasons, None)],
        sleep=slept.append,
        progress=lambda progress: told.append(progress.waiting),
    )
    assert result.rows_changed == 2
    assert told[:2] == ["busy", "still busy"]
    assert slept[:2] == [1.0, 1.0]


def test_rows_of_all_policies_count_for_the_limit(shared_engine: Engine) -> None:
    table = _table(_policy(days=60), _policy(days=10))
    _fill(shared_engine, table, [70] * 6 + [20] * 6)
    result = run(shared_engine, table, at=NOW, max_rows=8)
    assert [one.rows_changed for one in result.policies] == [6, 2]


# Where a run stands


def test_a_batch_that_failed_is_not_passed_over_by_the_next_run(shared_engine: Engine) -> None:
    table = _table(_policy())
    _fill(shared_engine, table, [60 - at for at in range(25)])

    def fail(connection: Any, _: object, statement: str, *__: object) -> None:
        if statement.startswith("DELETE FROM event"):
            count.append(1)
            if len(count) == 3:
                raise RuntimeError("in the middle")

    count: list[int] = []
    event.listen(shared_engine, "after_cursor_execute", fail)
    assert run(shared_engine, table, at=NOW).policies[0].outcome == "failed"
    event.remove(shared_engine, "after_cursor_execute", fail)
    left = len(ids(shared_engine, table))
    assert 0 < left < 25
    assert run(shared_engine, table, at=NOW).rows_changed == left
    assert ids(shared_engine, table) == []


@pytest.mark.parametrize("order", ["time", "key"])
def test_rows_that_expire_behind_the_place_where_a_run_stopped_are_taken(
    shared_engine: Engine, order: str
) -> None:
    table = _table(_policy(order=order))
    _fill(shared_engine, table, [60 - at for at in range(25)])
    assert run(shared_engine, table, at=NOW, max_rows=12).policies[0].outcome == "limited"
    fill(shared_engine, table, {"id": -5, "at": ago(90)})
    assert run(shared_engine, table, at=NOW).policies[0].outcome == "done"
    assert ids(shared_engine, table) == []
    assert status(shared_engine)[0].position is None


def test_a_place_on_a_way_that_is_gone_is_forgotten(shared_engine: Engine) -> None:
    table = _table(_policy(name="one", order="time"))
    _fill(shared_engine, table, [60 - at for at in range(25)])
    run(shared_engine, table, at=NOW, max_rows=12)
    other = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("gone", BigInteger),
        Column("at", DateTime, nullable=False),
    )
    declare(other, RetentionPolicy(days=30, by="at", name="one", order="key", batch=SMALL))
    assert run(shared_engine, other, at=NOW).rows_changed == 13


def test_a_run_in_the_future_is_refused(shared_engine: Engine) -> None:
    table = _table(_policy())
    _fill(shared_engine, table, [40])
    future = datetime.now(timezone.utc) + timedelta(days=1)
    with pytest.raises(RetentionError, match="rows that are too young would count as expired"):
        run(shared_engine, table, at=future)


# Rows that cannot go


def _refuse_two(engine: Engine, table: Table) -> None:
    """A trigger that keeps row 2, without an error."""
    if engine.dialect.name == "sqlite":
        statements = [
            "CREATE TRIGGER keep BEFORE DELETE ON event WHEN old.id = 2 "
            "BEGIN SELECT RAISE(IGNORE); END"
        ]
    else:
        statements = [
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF old.id = 2 THEN RETURN NULL; END IF; RETURN old; END $$",
            "CREATE TRIGGER keep BEFORE DELETE ON event FOR EACH ROW EXECUTE FUNCTION keep()",
        ]
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_rows_that_a_trigger_keeps_are_counted_and_the_run_ends(shared_engine: Engine) -> None:
    if shared_engine.dialect.name not in ("sqlite", "postgresql"):
        pytest.skip("a trigger there can only fail")
    table = _table(_policy())
    _fill(shared_engine, table, [40] * 8 + [20])
    _refuse_two(shared_engine, table)
    (policy,) = run(shared_engine, table, at=NOW).policies
    if shared_engine.dialect.name == "postgresql":
        with shared_engine.begin() as connection:
            connection.exec_driver_sql("DROP FUNCTION keep CASCADE")
    assert (policy.outcome, policy.rows_changed, policy.rows_refused) == ("done", 7, 1)
    assert ids(shared_engine, table) == [2, 9]
    assert history(shared_engine)[0].rows_refused == 1


# Order


@pytest.mark.parametrize(
    ("order", "first"), [("time", [5, 6, 7]), ("key", [1, 2, 3]), ("auto", None)]
)
def test_the_order_is_the_policys(
    shared_engine: Engine, order: str, first: list[int] | None
) -> None:
    table = _table(_policy(order=order))
    _fill(shared_engine, table, [35, 34, 33, 32, 60, 59, 58])
    run(shared_engine, table, at=NOW, max_rows=3)
    gone = sorted(set(range(1, 8)) - set(ids(shared_engine, table)))
    assert len(gone) == 3
    assert first is None or gone == first


# Held, whatever the action


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"action": "anonymise", "anonymise": {"name": "-"}},
        {"action": "soft_delete", "soft_delete": "gone_at"},
        {"keep_last": 1},
        {"nulls": "expire"},
    ],
)
def test_no_action_touches_a_row_under_hold(shared_engine: Engine, options: dict[str, Any]) -> None:
    table = _table(_policy(**options))
    _fill(shared_engine, table, [40, 40, 40, None, 1])
    place(shared_engine, table, 2, reason="a case")
    place(shared_engine, table, 4, reason="a case")
    with shared_engine.connect() as connection:
        held = table.select().where(table.c.id.in_([2, 4]))
        before = connection.execute(held).all()
    assert run(shared_engine, table, at=NOW).rows_changed > 0
    with shared_engine.connect() as connection:
        assert connection.execute(held).all() == before


def test_a_hold_that_is_placed_during_a_run_is_kept(shared_engine: Engine) -> None:
    if shared_engine.dialect.name == "sqlite" and shared_engine.url.database in (None, ""):
        pytest.skip("one connection cannot do both")
    table = _table(_policy(order="key"))
    _fill(shared_engine, table, [40] * 20)
    hooks = before_batch(lambda: place(shared_engine, table, 20, reason="a case"), number=3)
    run(shared_engine, table, at=NOW, hooks=hooks)
    assert ids(shared_engine, table) == [20]


# What is written down


def test_the_audit_adds_up(shared_engine: Engine) -> None:
    table = _table(_policy())
    _fill(shared_engine, table, [40] * 11 + [20] * 3)
    (policy,) = run(shared_engine, table, at=NOW).policies
    (record,) = history(shared_engine)
    batches = batches_of(shared_engine, record.id)
    assert policy.rows_changed == record.rows_changed == 11
    assert sum(one.rows_changed for one in batches) == 11
    assert sum(one.rows_scanned for one in batches) == record.rows_scanned
    assert record.batches == policy.batches == len(batches)


def test_a_run_knows_what_it_did_as_plain_values(shared_engine: Engine) -> None:
    table = _table(_policy())
    _fill(shared_engine, table, [40])
    result: RetentionRun = run(shared_engine, table, at=NOW, stop=threading.Event())
    found = result.to_dict()
    assert found["ok"] is True
    assert found["policies"][0]["cutoff"] == (NOW - timedelta(days=30)).isoformat()
