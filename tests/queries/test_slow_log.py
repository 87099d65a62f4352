"""The slow log: where, what, how long; never a bind value unless it was asked for."""

from __future__ import annotations

import gc
import json
import logging
from typing import Any

import pytest
from sqlalchemy import bindparam, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError

import sa_perf
from sa_perf.call_site import CallSite
from sa_perf.queries.aggregate import Aggregate
from sa_perf.queries.slow_log import SlowEntry, SlowExecution, SlowLog
from sa_perf.queries.statistics import Statistics

CANARY = "canary-7f3a"


def entry(number: int = 0, **changes: object) -> SlowEntry:
    values: dict[str, object] = {
        "aggregate": Aggregate("0123456789abcdef", "SELECT ?", "sqlite:///x", None),
        "fingerprint": "0123456789abcdef",
        "statement": "SELECT ?",
        "ended_ns": number,
        "duration_ns": 1_500_000_000,
        "fetch_ns": 500_000_000,
        "rows": number,
        "call_site": CallSite(file="shop/views.py", line=7, function="index"),
        "scope": ("part", "GET /"),
        "parameters": ("str(3)",),
    }
    return SlowEntry(**{**values, **changes})


@pytest.fixture
def log(caplog) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="sa_perf.slow")
    return caplog


# On an engine


def slow(recorded) -> list[SlowExecution]:
    """What is in the slow log of our tables, newest first."""
    return [
        one
        for one in recorded.perf.snapshot().slow
        if "items" in one.statement or "owners" in one.statement
    ]


@pytest.fixture
def all_slow(record) -> Any:
    """An engine on which every statement is slow."""
    return record(settings={"slow_seconds": 0})


def test_a_slow_statement_is_kept_with_its_place(all_slow) -> None:
    with all_slow.engine.connect() as connection, sa_perf.scope("GET /"), sa_perf.scope("part"):
        connection.execute(select(all_slow.items)).all()
    (one,) = slow(all_slow)
    query = all_slow.one()
    assert (one.fingerprint, one.statement, one.database) == (
        query.fingerprint,
        query.statement,
        query.database,
    )
    assert one.rows == 10
    assert one.duration_seconds == query.total_seconds
    assert one.fetch_seconds == query.fetch_seconds
    assert one.scope == ("part", "GET /")
    assert one.call_site.function.endswith("test_a_slow_statement_is_kept_with_its_place")
    assert one.call_site.file.endswith("test_slow_log.py")
    assert one.ended_at.utcoffset().total_seconds() == 0


def test_a_quick_statement_is_not_kept(record) -> None:
    recorded = record(settings={"slow_seconds": 3_600})
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
    assert slow(recorded) == []


def test_a_statement_that_is_slow_only_while_it_is_read_is_kept(record, monkeypatch) -> None:
    from sa_perf.queries import fetch

    recorded = record(settings={"slow_seconds": 60})
    ticks = iter(range(0, 10**15, 100 * 10**9))
    monkeypatch.setattr(fetch, "_clock", lambda: next(ticks))
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
    (one,) = slow(recorded)
    assert (one.rows, one.fetch_seconds) == (10, 100)
    assert one.call_site is not None


def test_writes_and_failures_are_kept(all_slow) -> None:
    with all_slow.engine.begin() as connection:
        connection.execute(insert(all_slow.items), [{"id": 100}, {"id": 101}])
        connection.execute(text("DELETE FROM items WHERE id >= 100"))
    with all_slow.engine.connect() as connection, pytest.raises(Exception):  # noqa: B017
        connection.execute(text("SELECT missing FROM items"))
    assert [(one.statement[:6], one.rows) for one in slow(all_slow)] == [
        ("SELECT", 0),
        ("DELETE", 2),
        ("INSERT", 2),
    ]


def test_a_result_that_was_dropped_in_the_middle_is_kept_with_its_rows(all_slow) -> None:
    with all_slow.engine.connect() as connection:
        connection.execute(select(all_slow.items)).fetchone()
        gc.collect(1)
    (one,) = slow(all_slow)
    assert one.rows == 1


def test_the_newest_come_first_and_the_oldest_go(record) -> None:
    recorded = record(settings={"slow_seconds": 0, "slow_log_size": 3})
    with recorded.engine.connect() as connection:
        for number in range(5):
            connection.execute(text(f"SELECT id AS c{number} FROM items")).all()
    assert [one.statement.split()[3] for one in recorded.perf.snapshot().slow] == ["c4", "c3", "c2"]


def test_a_size_of_zero_keeps_nothing_but_still_logs(record, log) -> None:
    recorded = record(settings={"slow_seconds": 0, "slow_log_size": 0})
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
    assert recorded.perf.snapshot().slow == ()
    assert any("items" in one.getMessage() for one in log.records)


@pytest.mark.parametrize(
    ("mode", "shown"), [("types", "str(11)"), ("truncated", CANARY), ("full", CANARY)]
)
def test_bind_values_are_shown_as_far_as_it_was_asked_for(record, mode: str, shown: str) -> None:
    recorded = record(settings={"slow_seconds": 0, "parameters": mode})
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items).where(recorded.items.c.name == CANARY)).all()
    (one,) = slow(recorded)
    assert shown in one.parameters[0]


def test_no_bind_value_and_no_literal_leaves_by_default(all_slow, log) -> None:
    items = all_slow.items
    mark = "?" if all_slow.engine.dialect.name == "sqlite" else "%s"
    with all_slow.engine.begin() as connection:
        connection.execute(select(items).where(items.c.name == CANARY)).all()
        connection.execute(text(f"SELECT id FROM items WHERE name = '{CANARY}'")).all()
        connection.execute(text("SELECT id FROM items WHERE name = :n"), {"n": CANARY}).all()
        connection.execute(select(items).where(items.c.name.in_([CANARY, CANARY + "2"]))).all()
        connection.exec_driver_sql(f"SELECT id FROM items WHERE name = {mark}", (CANARY,)).all()
        statement = items.update().where(items.c.name == bindparam("old"))
        connection.execute(statement.values(name=CANARY), [{"old": CANARY}, {"old": "x"}])
    with all_slow.engine.connect() as connection, pytest.raises(Exception):  # noqa: B017
        connection.execute(text(f"SELECT missing FROM items WHERE name = '{CANARY}'"))
    snapshot = all_slow.perf.snapshot()
    records = [json.dumps(vars(one), default=repr) for one in log.records]
    assert len(records) >= 5
    for told in (snapshot.to_json(), repr(snapshot), repr(all_slow.perf), *records):
        assert CANARY not in told


@pytest.mark.postgresql
def test_no_password_leaves() -> None:
    engine = create_engine("postgresql+psycopg://user:hunter2@127.0.0.1:1/shop?application_name=a")
    perf = sa_perf.install(engine, explain=False)
    with pytest.raises(Exception):  # noqa: B017
        engine.connect()
    snapshot = perf.snapshot()
    assert "hunter2" not in snapshot.to_json() + repr(snapshot) + repr(perf)
    assert [one.label for one in snapshot.databases] == ["postgresql://127.0.0.1:1/shop"]
    perf.uninstall()


# Log records


def test_a_record_of_a_result_that_is_still_to_be_fetched_names_no_rows(all_slow, log) -> None:
    with all_slow.engine.connect() as connection:
        connection.execute(select(all_slow.items)).all()
        connection.execute(text("SELECT name FROM items")).all()
    records = [one for one in log.records if "FROM items" in one.getMessage()]
    assert [one.sa_perf["rows"] for one in records] == [None, None]
    assert [one.getMessage() for one in records if " rows, " in one.getMessage()] == []
    assert [one.rows for one in slow(all_slow)] == [10, 10]


def test_a_record_of_a_write_names_the_rows_that_it_changed(all_slow, log) -> None:
    with all_slow.engine.connect() as connection:
        connection.execute(text("DELETE FROM items WHERE id < 4"))
    (record,) = [one for one in log.records if "DELETE" in one.getMessage()]
    assert record.sa_perf["rows"] == 3
    assert ", 3 rows, " in record.getMessage()


def test_a_slow_statement_is_explained_without_rows_that_nobody_has_counted(all_slow) -> None:
    offered: list[tuple[str, int | None]] = []
    (post,) = all_slow.perf._posts.values()

    def offer(*, statement: str, rows: int | None, **_others: object) -> bool:
        offered.append((statement[:6], rows))
        return True

    post.recorder.offer = offer
    with all_slow.engine.connect() as connection:
        connection.execute(select(all_slow.items)).all()
        connection.execute(text("DELETE FROM items WHERE id < 4"))
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT missing FROM items"))
    assert offered == [("SELECT", None), ("DELETE", 3), ("SELECT", None)]


def test_a_result_of_which_nothing_was_fetched_has_no_rows_in_a_snapshot(all_slow) -> None:
    with all_slow.engine.connect() as connection:
        result = connection.execute(select(all_slow.items))
        (one,) = slow(all_slow)
        result.close()
    assert one.rows == 0


def test_a_record_says_how_long_how_many_where_and_what(log) -> None:
    SlowLog(10).add(entry(4))
    (record,) = log.records
    assert record.name == "sa_perf.slow"
    assert record.getMessage() == "1.500 s, 4 rows, shop/views.py:7 in index: SELECT ?"


def test_a_record_without_rows_says_the_rest(log) -> None:
    SlowLog(10).add(entry(rows=-1))
    assert log.records[0].getMessage() == "1.500 s, shop/views.py:7 in index: SELECT ?"
    assert log.records[0].sa_perf["rows"] is None


def test_a_record_carries_the_facts_as_values(log) -> None:
    SlowLog(10).add(entry(4))
    facts = log.records[0].sa_perf
    assert json.loads(json.dumps(facts)) == {
        "fingerprint": "0123456789abcdef",
        "statement": "SELECT ?",
        "database": "sqlite:///x",
        "duration_seconds": 1.5,
        "fetch_seconds": 0.5,
        "rows": 4,
        "call_site": "shop/views.py:7 in index",
        "scope": ["part", "GET /"],
        "parameters": ["str(3)"],
        "suppressed": 0,
    }


def test_a_statement_without_call_site_says_so(log) -> None:
    SlowLog(10).add(entry(call_site=None))
    assert "no application frame" in log.records[0].getMessage()
    assert log.records[0].sa_perf["call_site"] is None


def test_a_long_statement_is_cut_in_the_message(log) -> None:
    SlowLog(10).add(entry(statement="x" * 10_000))
    assert len(log.records[0].getMessage()) < 500


def test_a_percent_sign_in_a_statement_breaks_no_record(log) -> None:
    SlowLog(10).add(entry(statement="SELECT a %s %(b)s %d"))
    assert log.records[0].getMessage().endswith("SELECT a %s %(b)s %d")


def test_ten_records_a_second_are_written_and_the_rest_counted(log) -> None:
    now = [100.0]
    slow_log = SlowLog(1_000, now=lambda: now[0])
    for number in range(25):
        slow_log.add(entry(number))
    assert len(log.records) == 10
    now[0] += 1
    slow_log.add(entry(99))
    assert log.records[-1].sa_perf["suppressed"] == 15
    slow_log.add(entry(100))
    assert log.records[-1].sa_perf["suppressed"] == 0
    assert len(slow_log.executions(Statistics(10))) == 27


def test_log_records_can_be_switched_off(log) -> None:
    slow_log = SlowLog(10, log=False)
    slow_log.add(entry())
    assert log.records == []
    assert len(slow_log.executions(Statistics(10))) == 1


def test_a_logger_that_is_switched_off_costs_no_formatting(caplog) -> None:
    caplog.set_level(logging.ERROR, logger="sa_perf.slow")
    slow_log = SlowLog(10, now=lambda: pytest.fail("formatted"))
    slow_log.add(entry())
    assert caplog.records == []


def test_forgetting_empties_the_log() -> None:
    slow_log = SlowLog(10, log=False)
    slow_log.add(entry())
    slow_log.clear()
    assert slow_log.executions(Statistics(10)) == ()
