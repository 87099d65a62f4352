"""Comments behind statements: their form, what they leave alone, what caches see."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, literal, select, text

import sa_perf
from sa_perf.queries.comments import statement_tags


@pytest.fixture
def sent(record: Callable[..., Any]) -> Callable[..., tuple[Any, list[str]]]:
    """A recorded engine with comments, and the statements as they went to the driver."""

    def make(tags: str, **settings: object) -> tuple[Any, list[str]]:
        recorded = record(settings={"comment_tags": tags, **settings})
        return recorded, driver_statements(recorded.engine)

    return make


def driver_statements(engine: Engine) -> list[str]:
    found: list[str] = []
    dialect = engine.dialect
    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        plain = getattr(dialect, name)

        def noting(cursor: Any, statement: str, *rest: Any, plain: Any = plain) -> None:
            found.append(statement)
            plain(cursor, statement, *rest)

        setattr(dialect, name, noting)
    return found


def test_tags_stand_behind_the_statement_sorted_and_encoded(sent) -> None:
    recorded, statements = sent("scope,application,route", service="it's a shop")
    with sa_perf.scope("GET /ä*/%s"), sa_perf.scope("inner"), recorded.engine.connect() as conn:
        conn.execute(select(recorded.items))

    (statement,) = [one for one in statements if "items" in one]
    comment = statement[statement.index("/*") :].replace("%%", "%")
    assert comment == (
        "/*application='it%27s%20a%20shop',route='GET%20%2F%C3%A4%2A%2F%25s',scope='inner'*/"
    )


def test_values_with_percent_signs_and_parameters_reach_the_database(sent) -> None:
    recorded, _ = sent("route")
    with sa_perf.scope("100 % of 'all' :x ? %(y)s"), recorded.engine.connect() as conn:
        assert conn.execute(select(literal("50 %"))).scalar_one() == "50 %"
        assert conn.execute(text("SELECT count(*) FROM items WHERE id > :low"), {"low": 0}).one()
        assert conn.exec_driver_sql("SELECT count(*) FROM items").one()


@pytest.mark.parametrize(
    "value",
    [
        "*/ DROP TABLE items; /*",
        "' OR '1'='1",
        "a\r\nb",
        "\x00",
        "%s %(x)s ? :x $1",
        "\ud800",
        "é\n--",
    ],
)
def test_no_value_leaves_its_comment(sent, value: str) -> None:
    recorded, statements = sent("route")
    with statement_tags(route=value), recorded.engine.connect() as conn:
        conn.exec_driver_sql("SELECT 6 FROM items").all()
        conn.execute(select(recorded.items.c.id).where(recorded.items.c.id == 1)).one()

    commented = [one for one in statements if "/*" in one]
    assert len(commented) == 2
    for one in commented:
        written = one.partition("/*")[2]
        assert re.fullmatch(r"route='[\w.%~-]+'\*/", written), written


def test_a_semicolon_stays_at_the_end_and_a_line_comment_takes_nothing_in(sent) -> None:
    recorded, statements = sent("route")
    with sa_perf.scope("job"), recorded.engine.connect() as conn:
        conn.exec_driver_sql("SELECT 7 FROM items;").all()
        conn.exec_driver_sql("SELECT 8 FROM items -- all of them").all()

    assert "SELECT 7 FROM items /*route='job'*/;" in statements
    assert "SELECT 8 FROM items -- all of them\n/*route='job'*/" in statements


def test_a_statement_without_parameters_has_its_percent_signs_once(sent) -> None:
    recorded, statements = sent("route")
    with sa_perf.scope("a b"), recorded.engine.connect() as conn:
        conn.execution_options(no_parameters=True).exec_driver_sql("SELECT 9 FROM items").all()

    assert "SELECT 9 FROM items /*route='a%20b'*/" in statements


def test_a_comment_and_executemany_are_left_alone(sent) -> None:
    recorded, statements = sent("route")
    with sa_perf.scope("job"), recorded.engine.begin() as conn:
        conn.exec_driver_sql("SELECT 1 /* mine */")
        conn.execute(insert(recorded.owners), [{"id": 101}, {"id": 102}])

    assert "SELECT 1 /* mine */" in statements
    assert not any("job" in one for one in statements if one.startswith("INSERT"))


def test_given_tags_win_over_scopes_and_end_with_their_block(sent) -> None:
    recorded, statements = sent("route,traceparent")
    with recorded.engine.connect() as conn:
        with sa_perf.scope("GET /"), statement_tags(traceparent="00-ab-cd-01", route="GET /{id}"):
            conn.exec_driver_sql("SELECT 2 FROM items")
        conn.exec_driver_sql("SELECT 3 FROM items")

    plain = [one.replace("%%", "%") for one in statements]
    assert "SELECT 2 FROM items /*route='GET%20%2F%7Bid%7D',traceparent='00-ab-cd-01'*/" in plain
    assert "SELECT 3 FROM items" in plain


def test_statements_count_under_the_same_shape_and_compile_once(sent) -> None:
    recorded, _ = sent("traceparent")
    compiled: list[object] = []

    def note(*arguments: Any) -> None:
        compiled.append(arguments[4].compiled)

    event.listen(recorded.engine, "after_cursor_execute", note)
    with recorded.engine.connect() as conn:
        for number in range(5):
            with statement_tags(traceparent=f"00-{number}"):
                conn.execute(select(recorded.items.c.name)).all()
                conn.exec_driver_sql("SELECT owner_id FROM items").all()

    assert [query.calls for query in recorded.queries("SELECT")] == [5, 5]
    assert len({id(one) for one in compiled if one is not None}) == 1


def test_a_value_that_cannot_be_written_does_not_reach_the_application(sent, caplog) -> None:
    class Broken(str):
        def __str__(self) -> str:
            raise ValueError

    recorded, _ = sent("route")
    with (
        caplog.at_level(logging.CRITICAL, "sa_perf"),
        statement_tags(route=Broken("x")),
        recorded.engine.connect() as conn,
    ):
        assert conn.exec_driver_sql("SELECT count(*) FROM items").scalar_one() == 10

    faults = recorded.perf.faults
    assert faults.last == "comments: ValueError"
    faults.count, faults.last = 0, None


def test_uninstalling_takes_the_comments_away(sent) -> None:
    recorded, statements = sent("route")
    recorded.perf.uninstall()
    with sa_perf.scope("job"), recorded.engine.connect() as conn:
        conn.exec_driver_sql("SELECT 4 FROM items")

    assert "SELECT 4 FROM items" in statements
