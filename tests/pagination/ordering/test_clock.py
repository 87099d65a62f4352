from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    case,
    func,
    literal,
    literal_column,
    select,
    text,
    union,
)
from sqlalchemy.sql.functions import FunctionElement

from sa_perf.errors import PaginationError
from sa_perf.pagination import CursorSigner, keyset, offset

SIGNER = CursorSigner(["a key that only these tests have, of some length"])
news = Table(
    "news",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", DateTime, nullable=False),
    Column("score", Integer, nullable=False),
)
at = news.c.at


class utcnow(FunctionElement[datetime]):  # as SQLAlchemy's manual writes it
    type = DateTime()
    inherit_cache = True


CLOCKS: dict[str, Any] = {
    "now": func.now() - at,
    "NOW": func.NOW() - at,
    "current_timestamp": func.current_timestamp(),
    "current_date": func.current_date() - at,
    "clock_timestamp": func.clock_timestamp() - at,
    "statement_timestamp": func.statement_timestamp() - at,
    "transaction_timestamp": func.transaction_timestamp() - at,
    "localtimestamp": func.localtimestamp(3) - at,
    "sysdate": func.sysdate() - at,
    "curdate": func.curdate() - at,
    "curtime": func.curtime() - at,
    "unix_timestamp": func.unix_timestamp() - news.c.score,
    "julianday": func.julianday("now") - func.julianday(at),
    "julianday ": func.julianday(" NOW ") - func.julianday(at),
    "julianday()": func.julianday() - func.julianday(at),
    "julianday literal": func.julianday(literal_column("'now'")),
    "julianday text": func.julianday(text("'now'")),
    "date": func.date("now", "-1 day"),
    "time": func.time("now"),
    "datetime": func.datetime("now"),
    "strftime": func.strftime("%s", "now") - func.strftime("%s", at),
    "strftime without a time": func.strftime("%s"),
    "unixepoch": func.unixepoch("subsec"),
    "timediff": func.timediff("now", at),
    "age": func.age(at),
    "a function of one's own": utcnow() - at,
    "within": news.c.score / func.power(func.extract("epoch", func.now() - at), 2),
    "case": case((at > func.now(), 0), else_=1).desc(),
    "literal column": literal_column("now() - at"),
    "literal column ": literal_column("CURRENT_TIMESTAMP"),
    "labelled": (func.now() - at).label("age"),
    "subquery": select(func.count()).where(news.alias().c.at < func.now()).scalar_subquery(),
}
NO_CLOCKS: dict[str, Any] = {
    "a moment": literal(datetime(2026, 1, 1)) - at,
    "julianday": func.julianday(at),
    "julianday of a constant": func.julianday("2026-01-01") - func.julianday(at),
    "strftime": func.strftime("%Y", at),
    "strftime of now as a format": func.strftime("now", at),
    "unix_timestamp": func.unix_timestamp(at),
    "age": func.age(literal(datetime(2026, 1, 1)), at),
    "date": func.date(at),
    "literal column": literal_column("known(at)"),
    "timediff": func.timediff(at, "2026-01-01"),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_the_clock_in_order_by_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(PaginationError, match=r"ORDER BY .*constant, the same for all pages"):
        keyset(select(news).order_by(at, CLOCKS[name]), signer=SIGNER)


@pytest.mark.parametrize("name", NO_CLOCKS)
def test_what_only_looks_like_the_clock_is_taken(name: str) -> None:
    keyset(select(news).order_by(NO_CLOCKS[name]), signer=SIGNER)


def test_the_clock_behind_a_name_is_refused() -> None:
    age = (func.now() - at).label("age")
    by_name = select(news.c.id, age).order_by(text("age"))
    for stmt in (
        select(news.c.id, age).order_by("age"),
        select(news.c.id, age).order_by(age.desc()).limit(10),
        union(select(news.c.id, age), select(news.c.id, news.c.score)).order_by("age"),
    ):
        with pytest.raises(PaginationError, match=r"ORDER BY now\(\)"):
            keyset(stmt, signer=SIGNER)
    with pytest.raises(PaginationError, match="cannot be read"):
        keyset(by_name, signer=SIGNER)


def test_pages_by_number_compare_no_values_so_the_clock_may_order_them() -> None:
    offset(select(news).order_by(func.now() - at))


def test_a_constant_moment_gives_all_rows(sqlite_database: Any) -> None:
    age = func.julianday("2026-03-01") - func.julianday(at)
    with sqlite_database.engine().connect() as connection:
        news.create(connection)
        connection.execute(
            news.insert(), [{"at": datetime(2026, 1, 1 + day % 7), "score": 1} for day in range(20)]
        )
        pager = keyset(select(news.c.id).order_by(age), size=3, signer=SIGNER)
        found = [item for page in pager.pages(connection) for item in page]
        assert found == list(connection.scalars(select(news.c.id).order_by(age, news.c.id)))
